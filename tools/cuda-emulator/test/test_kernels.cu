// Kernels of the emulator's own tests (test.cpp).
struct P {
    float a;
    int n;
    double b;
};

__device__ float helper(float x) { return x; }

extern "C" __global__ void __launch_bounds__(256) t_block_sum(const float *__restrict__ x, float *o, int n) {
    __shared__ float s[256];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    s[threadIdx.x] = i < n ? helper(x[i]) : 0.f;
    __syncthreads();
    for (int k = 128; k > 0; k >>= 1) {
        if (threadIdx.x < k)
            s[threadIdx.x] += s[threadIdx.x + k];
        __syncthreads();
    }
    if (threadIdx.x == 0)
        o[blockIdx.x] = s[0];
}

extern "C" __global__ void t_warp(const float *x, float *o, int n) {
    __shared__ float s[32];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float v = i < n ? x[i] : 0.f;
    unsigned m = __ballot_sync(threadIdx.x / 32 == blockDim.x / 32 ? (1u << blockDim.x % 32) - 1 : 0xffffffffu, 1);
    for (int k = 16; k > 0; k >>= 1) {
        float u = __shfl_down_sync(m, v, k);
        if (threadIdx.x % 32 + k < 32 && (m >> (threadIdx.x % 32 + k) & 1))
            v += u;
    }
    if (threadIdx.x % 32 == 0)
        s[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0) {
        float t = 0;
        for (int k = 0; k < (blockDim.x + 31) / 32; k++)
            t += s[k];
        o[blockIdx.x] = t;
    }
}

extern "C" __global__ void t_axpy(float *x, P p) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.n)
        x[i] = p.a * x[i] + (float)p.b;
}

extern "C" __global__ void t_deadlock(float *x, P p) {
    if (threadIdx.x == 32)
        __syncwarp(3);
    else if (threadIdx.x <= 33)
        __syncthreads();
}

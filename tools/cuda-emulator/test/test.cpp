// Tests of the emulated device, through the headers of the toolkit: products, convolutions, kernels with barriers and
// warp operations, graphs, and the mistakes that it must report. Run by ../test.sh.
#include <cuda.h>
#include <cublas_v2.h>
#include <cudnn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <vector>
#include <string>
#define CK(e)                                                                                                          \
    do {                                                                                                               \
        int r_ = (int)(e);                                                                                             \
        if (r_) {                                                                                                      \
            printf("FAIL line %d: %s = %d\n", __LINE__, #e, r_);                                                       \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)
#define EX(e, want)                                                                                                    \
    do {                                                                                                               \
        int r_ = (int)(e);                                                                                             \
        if (r_ != (want)) {                                                                                            \
            printf("FAIL line %d: %s = %d, expected %d\n", __LINE__, #e, r_, (int)(want));                             \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)
#define TRUE(e)                                                                                                        \
    do {                                                                                                               \
        if (!(e)) {                                                                                                    \
            printf("FAIL line %d: %s\n", __LINE__, #e);                                                                \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)
static CUstream st;

static CUdeviceptr up(const std::vector<float> &v) {
    CUdeviceptr p;
    CK(cuMemAllocAsync(&p, v.size() * 4, st));
    CK(cuMemcpyHtoDAsync(p, v.data(), v.size() * 4, st));
    return p;
}

static std::vector<float> down(CUdeviceptr p, size_t n) {
    std::vector<float> v(n);
    CK(cuMemcpyDtoHAsync(v.data(), p, n * 4, st));
    CK(cuStreamSynchronize(st));
    return v;
}

static float rnd() { return (float)(rand() % 2000 - 1000) / 500.f; }

static void conv_test(int N, int C, int H, int W, int K, int R, int S, int pad, int str, int dil, bool nhwc,
                      cudnnHandle_t h) {
    int P = (H + 2 * pad - ((R - 1) * dil + 1)) / str + 1, Q = (W + 2 * pad - ((S - 1) * dil + 1)) / str + 1;
    cudnnTensorDescriptor_t xd, yd;
    cudnnFilterDescriptor_t wd;
    cudnnConvolutionDescriptor_t cd;
    CK(cudnnCreateTensorDescriptor(&xd));
    CK(cudnnCreateTensorDescriptor(&yd));
    CK(cudnnCreateFilterDescriptor(&wd));
    CK(cudnnCreateConvolutionDescriptor(&cd));
    auto f = nhwc ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW;
    CK(cudnnSetTensor4dDescriptor(xd, f, CUDNN_DATA_FLOAT, N, C, H, W));
    CK(cudnnSetTensor4dDescriptor(yd, f, CUDNN_DATA_FLOAT, N, K, P, Q));
    CK(cudnnSetFilter4dDescriptor(wd, CUDNN_DATA_FLOAT, f, K, C, R, S));
    CK(cudnnSetConvolution2dDescriptor(cd, pad, pad, str, str, dil, dil, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    std::vector<float> x(N * C * H * W), w(K * C * R * S), y(N * K * P * Q), dx(x.size()), dw(w.size()), ry(y.size());
    for (auto &v : x)
        v = rnd();
    for (auto &v : w)
        v = rnd();
    for (auto &v : y)
        v = rnd();
    auto xi = [&](int n, int c, int i, int j) {
        return nhwc ? ((n * H + i) * W + j) * C + c : ((n * C + c) * H + i) * W + j;
    };
    auto wi = [&](int k, int c, int i, int j) {
        return nhwc ? ((k * R + i) * S + j) * C + c : ((k * C + c) * R + i) * S + j;
    };
    auto yi = [&](int n, int c, int i, int j) {
        return nhwc ? ((n * P + i) * Q + j) * K + c : ((n * K + c) * P + i) * Q + j;
    };
    std::vector<double> fy(y.size()), fdx(x.size()), fdw(w.size());
    for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++)
            for (int p = 0; p < P; p++)
                for (int q = 0; q < Q; q++)
                    for (int c = 0; c < C; c++)
                        for (int r = 0; r < R; r++)
                            for (int s = 0; s < S; s++) {
                                int i = p * str - pad + r * dil, j = q * str - pad + s * dil;
                                if (i < 0 || j < 0 || i >= H || j >= W)
                                    continue;
                                fy[yi(n, k, p, q)] += (double)x[xi(n, c, i, j)] * w[wi(k, c, r, s)];
                                fdx[xi(n, c, i, j)] += (double)y[yi(n, k, p, q)] * w[wi(k, c, r, s)];
                                fdw[wi(k, c, r, s)] += (double)y[yi(n, k, p, q)] * x[xi(n, c, i, j)];
                            }
    CUdeviceptr X = up(x), Wp = up(w), DY = up(y), Y, DX, DW, ws;
    CK(cuMemAllocAsync(&Y, y.size() * 4, st));
    CK(cuMemAllocAsync(&DX, x.size() * 4, st));
    CK(cuMemAllocAsync(&DW, w.size() * 4, st));
    CK(cuMemAllocAsync(&ws, 4096, st));
    float one = 1, zero = 0;
    size_t n;
    cudnnConvolutionFwdAlgoPerf_t pf[8];
    int got;
    CK(cudnnGetConvolutionForwardAlgorithm_v7(h, xd, wd, cd, yd, 8, &got, pf));
    TRUE(got > 0);
    CK(cudnnGetConvolutionForwardWorkspaceSize(h, xd, wd, cd, yd, pf[0].algo, &n));
    CK(cudnnConvolutionForward(h, &one, xd, (void *)X, wd, (void *)Wp, cd, pf[0].algo, (void *)ws, n, &zero, yd,
                               (void *)Y));
    cudnnConvolutionBwdDataAlgoPerf_t pd[8];
    CK(cudnnGetConvolutionBackwardDataAlgorithm_v7(h, wd, yd, cd, xd, 6, &got, pd));
    CK(cudnnConvolutionBackwardData(h, &one, wd, (void *)Wp, yd, (void *)DY, cd, pd[0].algo, (void *)ws, n, &zero, xd,
                                    (void *)DX));
    cudnnConvolutionBwdFilterAlgoPerf_t pw[8];
    CK(cudnnGetConvolutionBackwardFilterAlgorithm_v7(h, xd, yd, cd, wd, 7, &got, pw));
    CK(cudnnConvolutionBackwardFilter(h, &one, xd, (void *)X, yd, (void *)DY, cd, pw[0].algo, (void *)ws, n, &zero, wd,
                                      (void *)DW));
    auto a = down(Y, y.size()), b = down(DX, x.size()), c = down(DW, w.size());
    for (size_t i = 0; i < a.size(); i++)
        TRUE(fabs(a[i] - fy[i]) < 1e-3);
    for (size_t i = 0; i < b.size(); i++)
        TRUE(fabs(b[i] - fdx[i]) < 1e-3);
    for (size_t i = 0; i < c.size(); i++)
        TRUE(fabs(c[i] - fdw[i]) < 1e-3 * (1 + fabs(fdw[i])));
    float two = 2, half = .5f;
    CK(cudnnConvolutionForward(h, &two, xd, (void *)X, wd, (void *)Wp, cd, pf[0].algo, (void *)ws, n, &half, yd,
                               (void *)Y));
    a = down(Y, y.size());
    for (size_t i = 0; i < a.size(); i++)
        TRUE(fabs(a[i] - 2.5 * fy[i]) < 4e-3);
    for (auto p : {X, Wp, DY, Y, DX, DW, ws})
        CK(cuMemFreeAsync(p, st));
    printf("conv %d %d %d %d k%d %dx%d pad%d str%d dil%d %s ok\n", N, C, H, W, K, R, S, pad, str, dil,
           nhwc ? "NHWC" : "NCHW");
}

static const int N = 10000;

struct AxpyArgs {
    float a;
    int n;
    double b;
};

static cublasHandle_t bl;
static cudnnHandle_t dn;
static CUmodule M;
static CUfunction sum, axpy, warpk;
static CUdeviceptr X, O;
static std::vector<float> v;

static void test_gemm() {
    for (int ta = 0; ta < 2; ta++)
        for (int tb = 0; tb < 2; tb++)
            for (int it = 0; it < 20; it++) {
                int m = 1 + rand() % 90, n = 1 + rand() % 90, k = 1 + rand() % 600, b = 1 + rand() % 3,
                    lda = (ta ? k : m) + rand() % 3, ldb = (tb ? n : k) + rand() % 3, ldc = m + rand() % 3;
                long sa = (long)lda * (ta ? m : k), sb = (long)ldb * (tb ? k : n), sc = (long)ldc * n;
                std::vector<float> A(sa * b), B(sb * b), C(sc * b);
                for (auto &v : A)
                    v = rnd();
                for (auto &v : B)
                    v = rnd();
                for (auto &v : C)
                    v = rnd();
                CUdeviceptr a = up(A), bb = up(B), cc = up(C);
                float al = 1.5f, be = it & 1 ? .5f : 0.f;
                CK(cublasGemmStridedBatchedEx(bl, ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N, m, n,
                                              k, &al, (void *)a, CUDA_R_32F, lda, sa, (void *)bb, CUDA_R_32F, ldb, sb,
                                              &be, (void *)cc, CUDA_R_32F, ldc, sc, b, CUBLAS_COMPUTE_32F,
                                              CUBLAS_GEMM_DEFAULT));
                auto R = down(cc, C.size());
                for (int q = 0; q < b; q++)
                    for (int i = 0; i < m; i++)
                        for (int j = 0; j < n; j++) {
                            double s = 0;
                            for (int l = 0; l < k; l++)
                                s += (double)A[q * sa + (ta ? l + (long)i * lda : i + (long)l * lda)] *
                                     B[q * sb + (tb ? j + (long)l * ldb : l + (long)j * ldb)];
                            double w = al * s + be * C[q * sc + i + (long)j * ldc];
                            TRUE(fabs(R[q * sc + i + (long)j * ldc] - w) < 2e-3 * (1 + fabs(w)));
                        }
                CK(cuMemFreeAsync(a, st));
                CK(cuMemFreeAsync(bb, st));
                CK(cuMemFreeAsync(cc, st));
            }
    printf("gemm ok\n");
}

static void test_conv() {
    for (int nh = 0; nh < 2; nh++) {
        conv_test(2, 3, 9, 7, 5, 3, 3, 1, 1, 1, nh, dn);
        conv_test(3, 8, 8, 8, 20, 1, 1, 0, 1, 1, nh, dn);
        conv_test(2, 4, 11, 10, 6, 3, 2, 2, 2, 1, nh, dn);
        conv_test(1, 4, 12, 12, 6, 3, 3, 2, 1, 2, nh, dn);
    }
}

static void load_kernels(const char *ptx_file) {
    FILE *F = fopen(ptx_file, "rb");
    std::string ptx;
    char buf[65536];
    size_t nn;
    while ((nn = fread(buf, 1, sizeof buf, F)) > 0)
        ptx.append(buf, nn);
    fclose(F);
    CK(cuModuleLoadData(&M, ptx.c_str()));
    CUfunction nosync;
    CK(cuModuleGetFunction(&sum, M, "t_block_sum"));
    CK(cuModuleGetFunction(&axpy, M, "t_axpy"));
    CK(cuModuleGetFunction(&warpk, M, "t_warp"));
    EX(cuModuleGetFunction(&nosync, M, "t_nothing"), CUDA_ERROR_NOT_FOUND);
}

static void test_kernels() {
    v.resize(N);
    double want = 0;
    for (auto &x : v) {
        x = rnd();
        want += x;
    }
    X = up(v);
    CK(cuMemAllocAsync(&O, 40 * 4, st));
    int n = N;
    void *pa[] = {&X, &O, &n};
    CK(cuLaunchKernel(sum, 40, 1, 1, 256, 1, 1, 0, st, pa, 0));
    auto r = down(O, 40);
    double s = 0;
    for (auto x : r)
        s += x;
    TRUE(fabs(s - want) < 1e-2);
    printf("block sum ok\n");
    CK(cuLaunchKernel(warpk, 40, 1, 1, 250, 1, 1, 0, st, pa, 0));
    r = down(O, 40);
    s = 0;
    for (auto x : r)
        s += x;
    double w2 = 0;
    for (int b = 0; b < 40; b++)
        for (int t = 0; t < 250; t++)
            w2 += v[b * 250 + t];
    TRUE(fabs(s - w2) < 1e-2);
    printf("warp sum ok\n");
    EX(cuLaunchKernel(sum, 40, 1, 1, 2000, 1, 1, 0, st, pa, 0), CUDA_ERROR_INVALID_VALUE);
    EX(cuLaunchKernel(sum, 0, 1, 1, 32, 1, 1, 0, st, pa, 0), CUDA_ERROR_INVALID_VALUE);
    AxpyArgs ps = {2.f, N, 1.};
    void *pb[] = {&X, &ps};
    CK(cuLaunchKernel(axpy, 79, 1, 1, 128, 1, 1, 0, st, pb, 0));
    auto x2 = down(X, N);
    for (int i = 0; i < N; i++)
        TRUE(x2[i] == 2.f * v[i] + 1.f);
    printf("struct argument ok\n");
}

static void test_graph() {
    AxpyArgs ps = {2.f, N, 1.};
    std::vector<float> x2 = down(X, N);
    CUdeviceptr T;
    CUgraph G;
    CUgraphExec E;
    CK(cuStreamBeginCapture(st, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    CK(cuMemAllocAsync(&T, N * 4, st));
    CK(cuMemcpyDtoDAsync(T, X, N * 4, st));
    ps.a = 3.f;
    void *pc[] = {&T, &ps};
    CK(cuLaunchKernel(axpy, 79, 1, 1, 128, 1, 1, 0, st, pc, 0));
    ps.a = 99.f;
    CK(cuMemcpyDtoDAsync(X, T, N * 4, st));
    CK(cuMemFreeAsync(T, st));
    CK(cuStreamEndCapture(st, &G));
    auto x3 = down(X, N);
    TRUE(x3 == x2);
    CK(cuGraphInstantiate(&E, G, 0));
    CK(cuGraphLaunch(E, st));
    CK(cuGraphLaunch(E, st));
    x3 = down(X, N);
    for (int i = 0; i < N; i++)
        TRUE(x3[i] == 3.f * (3.f * x2[i] + 1.f) + 1.f);
    size_t ng;
    CK(cuGraphGetNodes(G, 0, &ng));
    TRUE(ng == 5);
    CK(cuGraphExecDestroy(E));
    CK(cuGraphDestroy(G));
    printf("graph ok\n");
}

// Each of these calls is a mistake that must be reported.
static void test_errors() {
    CUdeviceptr T;
    CUgraph G;
    CUevent ev;
    CK(cuEventCreate(&ev, CU_EVENT_DISABLE_TIMING));
    AxpyArgs ps = {2.f, N, 1.};
    void *pb[] = {&X, &ps};
    CK(cuStreamBeginCapture(st, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    EX(cuMemFreeAsync(X, st), CUDA_ERROR_INVALID_VALUE);
    CK(cuStreamEndCapture(st, &G));
    CK(cuGraphDestroy(G));
    CK(cuStreamBeginCapture(st, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    EX(cuStreamSynchronize(st), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    EX(cuMemAllocAsync(&T, 4, st), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    EX(cuStreamEndCapture(st, &G), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CK(cuStreamBeginCapture(st, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    EX(cuMemAlloc(&T, 64), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    EX(cuStreamEndCapture(st, &G), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CK(cuStreamBeginCapture(st, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    EX(cuMemcpyDtoHAsync(v.data(), X, 4, st), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    EX(cuStreamEndCapture(st, &G), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CK(cuEventRecord(ev, st));
    CK(cuStreamBeginCapture(st, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    EX(cuStreamWaitEvent(st, ev, 0), CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    EX(cuStreamEndCapture(st, &G), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    EX(cuMemcpyDtoHAsync(v.data(), X + 39996, 8, st), CUDA_ERROR_INVALID_VALUE);
    CK(cuMemFreeAsync(O, st));
    EX(cuMemFreeAsync(O, st), CUDA_ERROR_INVALID_VALUE);
    EX(cuMemcpyDtoHAsync(v.data(), O, 8, st), CUDA_ERROR_INVALID_VALUE);
    CUfunction dead;
    CK(cuModuleGetFunction(&dead, M, "t_deadlock"));
    EX(cuLaunchKernel(dead, 1, 1, 1, 64, 1, 1, 0, st, pb, 0), CUDA_ERROR_LAUNCH_FAILED);
    ((float *)X)[N] = 1;       // past the end
    CK(cuMemFreeAsync(X, st)); // the canary is found
}

int main(int argc, char **argv) {
    if (argc != 2) {
        printf("usage: test KERNELS.ptx\n");
        return 2;
    }
    CK(cuInit(0));
    CUdevice d;
    CK(cuDeviceGet(&d, 0));
    CUcontext c;
    CK(cuDevicePrimaryCtxRetain(&c, d));
    CK(cuCtxSetCurrent(c));
    CK(cuStreamCreate(&st, CU_STREAM_NON_BLOCKING));
    CK(cublasCreate(&bl));
    CK(cublasSetStream(bl, (cudaStream_t)st));
    CK(cudnnCreate(&dn));
    CK(cudnnSetStream(dn, (cudaStream_t)st));
    test_gemm();
    test_conv();
    load_kernels(argv[1]);
    test_kernels();
    test_graph();
    printf("---- errors expected from here\n");
    fflush(stdout);
    fprintf(stderr, "---- errors expected from here\n");
    test_errors();
    printf("ALL OK\n");
    return 0;
}

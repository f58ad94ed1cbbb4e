// The small kernels around cuDNN's convolutions and cuBLAS's matrix products. They are compiled at build time without
// contraction of multiply and add, so that the arithmetic equals the CPU's. All tensors are contiguous, images channels
// last.

typedef unsigned int u32;
typedef unsigned long long u64;

#define THREADS 256
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)
// A grid-stride loop: a thread processes every element whose index is its own modulo the number of all threads.
#define EACH(i, n) for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)

// ---- sums within a block, in one order ------------------------------------------------------------------------------

__device__ float block_sum(float value, float *shared) {
    shared[threadIdx.x] = value;
    __syncthreads();
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    return shared[0];
}

// ---- convolutions' surroundings -------------------------------------------------------------------------------------

#define ENTRIES 24

// A table of matrices [rows, cols] with memory for the results. Kernels [k, k, in, out] are matrices [k·k·in, out],
// whose transposes are the layout that cuDNN needs, [out, k, k, in].
struct Matrices {
    const float *from[ENTRIES];
    float *to[ENTRIES];
    u32 rows[ENTRIES], cols[ENTRIES];
};

// Transposes one matrix for each y of the grid; a block processes tiles of 32 x 32 values.
KERNEL transpose(Matrices m) {
    __shared__ float tile[32][33];
    const float *from = m.from[blockIdx.y];
    float *to = m.to[blockIdx.y];
    u32 rows = m.rows[blockIdx.y], cols = m.cols[blockIdx.y];
    u32 across = (cols + 31) / 32, tiles = across * ((rows + 31) / 32);
    u32 x = threadIdx.x % 32, y = threadIdx.x / 32;
    for (u32 t = blockIdx.x; t < tiles; t += gridDim.x) {
        u32 row = t / across * 32, col = t % across * 32;
        for (u32 i = y; i < 32; i += THREADS / 32)
            if (row + i < rows && col + x < cols) tile[i][x] = from[(row + i) * cols + col + x];
        __syncthreads();
        for (u32 i = y; i < 32; i += THREADS / 32)
            if (col + i < cols && row + x < rows) to[(col + i) * rows + row + x] = tile[x][i];
        __syncthreads();
    }
}

// Leaky ReLU; with slope 1 it is the identity.
__device__ float leaky(float x, float slope) { return x > 0.0f ? x : x * slope; }

// out ← leaky(x + bias), where out may be x.
KERNEL bias_leaky(const float *x, const float *bias, float *out, u32 n, u32 channels, float slope) {
    EACH(i, n) out[i] = leaky(x[i] + bias[i % channels], slope);
}

// Applies bias and leaky ReLU to x in place, and writes the means over 2x2 blocks of the result to down. n is the
// number of means, width that of x.
KERNEL bias_leaky_down(float *x, const float *bias, float *down, u32 n, u32 channels, u32 width, float slope) {
    EACH(i, n) {
        u32 c = i % channels, pixel = i / channels, half = width / 2;
        u32 first = ((pixel / half) * 2 * width + (pixel % half) * 2) * channels + c;
        u32 at[4] = {first, first + channels, first + width * channels, first + (width + 1) * channels};
        float sum = 0.0f, b = bias[c];
        for (u32 j = 0; j < 4; j++) {
            float value = leaky(x[at[j]] + b, slope);
            x[at[j]] = value;
            sum += value;
        }
        down[i] = sum * 0.25f;
    }
}

// Applies bias and leaky ReLU to x in place, and writes the result upscaled by two to up. n is the number of elements
// of x.
KERNEL bias_leaky_up(float *x, const float *bias, float *up, u32 n, u32 channels, u32 width, float slope) {
    EACH(i, n) {
        u32 c = i % channels, pixel = i / channels, row = pixel / width, col = pixel % width;
        float value = leaky(x[i] + bias[c], slope);
        x[i] = value;
        u32 first = (row * 2 * 2 * width + col * 2) * channels + c;
        up[first] = up[first + channels] = value;
        up[first + 2 * width * channels] = up[first + (2 * width + 1) * channels] = value;
    }
}

// Sums over 2x2 blocks and multiplies by a factor. n is the number of results, width that of the result.
KERNEL downscale(const float *x, float *out, u32 n, u32 channels, u32 width, float factor) {
    EACH(i, n) {
        u32 c = i % channels, pixel = i / channels, row = pixel / width, col = pixel % width;
        const float *at = x + (row * 4 * width + col * 2) * channels + c;
        u32 below = 2 * width * channels;
        out[i] = (at[0] + at[channels] + at[below] + at[below + channels]) * factor;
    }
}

// Repeats each pixel in a 2x2 block and multiplies by a factor. n is the number of results, width that of x.
KERNEL upscale(const float *x, float *out, u32 n, u32 channels, u32 width, float factor) {
    EACH(i, n) {
        u32 c = i % channels, pixel = i / channels, row = pixel / (2 * width), col = pixel % (2 * width);
        out[i] = x[((row / 2) * width + col / 2) * channels + c] * factor;
    }
}

// The layout of a gradient in `gate`: like y, like y's means over 2x2 blocks, or like y upscaled by two.
#define PLAIN 0
#define OF_MEAN 1
#define OF_UPSCALED 2

__device__ float gradient_at(const float *grad, u32 row, u32 c, u32 channels, u32 width, u32 layout) {
    if (layout == PLAIN) return grad[row * channels + c];
    u32 y = row / width, x = row % width;
    // The rows of all images are numbered consecutively, which is valid because sides to be halved are even.
    if (layout == OF_MEAN) return grad[((y / 2) * (width / 2) + x / 2) * channels + c] * 0.25f;
    const float *at = grad + (y * 4 * width + x * 2) * channels + c;
    u32 below = 2 * width * channels;
    return at[0] + at[channels] + at[below] + at[below + channels];
}

// Takes the gradient of y = leaky(x + bias) back to x, and sums it for the bias: a block processes `share` pixels and
// writes its sums to partial[block, channels], unless partial is null.
KERNEL gate(const float *grad, const float *y, float *out, float *partial, u32 pixels, u32 share, u32 channels,
            u32 width, u32 layout, float slope) {
    __shared__ float sums[THREADS];
    u32 begin = blockIdx.x * share, end = min(begin + share, pixels);
    u32 abreast = channels < THREADS ? THREADS / channels : 1;
    u32 c = threadIdx.x % channels, lane = threadIdx.x / channels;
    for (u32 first = 0; first < channels; first += THREADS) {
        // In narrow layers a block processes several pixels at a time, in wide layers one pixel and one group of
        // channels after the other.
        if (channels >= THREADS) c = first + threadIdx.x, lane = 0;
        float sum = 0.0f;
        if (lane < abreast && c < channels)
            for (u32 row = begin + lane; row < end; row += abreast) {
                float g = gradient_at(grad, row, c, channels, width, layout);
                g = y[row * channels + c] > 0.0f ? g : g * slope;
                out[row * channels + c] = g;
                sum += g;
            }
        if (partial) {
            sums[threadIdx.x] = sum;
            __syncthreads();
            if (lane == 0 && c < channels) {
                for (u32 other = 1; other < abreast; other++) sum += sums[other * channels + threadIdx.x];
                partial[blockIdx.x * channels + c] = sum;
            }
            __syncthreads();
        }
    }
}

// Sums over the rows of matrices and writes the sums to to[cols]: one matrix for each y of the grid, 32 columns per
// block.
KERNEL sum_rows(Matrices m) {
    __shared__ float sums[THREADS];
    u32 rows = m.rows[blockIdx.y], cols = m.cols[blockIdx.y];
    const float *from = m.from[blockIdx.y];
    u32 lane = threadIdx.x / 32;
    for (u32 first = blockIdx.x * 32; first < cols; first += gridDim.x * 32) {
        u32 col = first + threadIdx.x % 32;
        float sum = 0.0f;
        if (col < cols)
            for (u32 row = lane; row < rows; row += THREADS / 32) sum += from[row * cols + col];
        sums[threadIdx.x] = sum;
        __syncthreads();
        if (lane == 0 && col < cols) {
            for (u32 other = 1; other < THREADS / 32; other++) sum += sums[other * 32 + threadIdx.x];
            m.to[blockIdx.y][col] = sum;
        }
        __syncthreads();
    }
}

// ---- losses ---------------------------------------------------------------------------------------------------------

// Each block writes its sum of (a - b)² to partial[block].
KERNEL squared_error(const float *a, const float *b, float *partial, u32 n) {
    __shared__ float shared[THREADS];
    float sum = 0.0f;
    EACH(i, n) {
        float d = a[i] - b[i];
        sum += d * d;
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// Sums n values and multiplies by a factor, in one block.
KERNEL total(const float *values, float *out, u32 n, float factor) {
    __shared__ float shared[THREADS];
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < n; i += THREADS) sum += values[i];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) out[0] = sum * factor;
}

// out ← factor·grad·(a - b), with grad a scalar.
KERNEL squared_error_back(const float *a, const float *b, const float *grad, float *out, u32 n, float factor) {
    float scale = grad[0] * factor;
    EACH(i, n) out[i] = (a[i] - b[i]) * scale;
}

// Computes the mean softmax cross entropy of logits [batch, classes] and labels [batch], and its gradient, in one
// block. A label that is too large makes the loss NaN.
KERNEL cross_entropy(const float *logits, const u32 *labels, float *loss, float *gradient, u32 batch, u32 classes) {
    __shared__ float shared[THREADS];
    float sum = 0.0f;
    for (u32 row = threadIdx.x; row < batch; row += THREADS) {
        const float *l = logits + row * classes;
        float largest = l[0], normaliser = 0.0f;
        for (u32 c = 1; c < classes; c++) largest = fmaxf(largest, l[c]);
        for (u32 c = 0; c < classes; c++) normaliser += expf(l[c] - largest);
        u32 label = labels[row];
        sum += logf(normaliser) - (label < classes ? l[label] - largest : nanf(""));
        for (u32 c = 0; c < classes; c++)
            gradient[row * classes + c] = (expf(l[c] - largest) / normaliser - (c == label ? 1.0f : 0.0f)) / batch;
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) loss[0] = sum / batch;
}

// out ← x·factor, with the factor a scalar on the device.
KERNEL scale(const float *x, const float *factor, float *out, u32 n) {
    EACH(i, n) out[i] = x[i] * factor[0];
}

// ---- Adam -----------------------------------------------------------------------------------------------------------

struct Trained {
    float *value[ENTRIES];
    const float *gradient[ENTRIES];
    float *m[ENTRIES], *v[ENTRIES];
    u32 n[ENTRIES];
};

// Updates one parameter for each y of the grid. If `clock` is not null, the step size is read from the device.
KERNEL adam(Trained t, const float *clock, float rate, float decay1, float rest1, float decay2, float rest2,
            float epsilon) {
    if (clock) rate = clock[0];
    float *value = t.value[blockIdx.y], *m = t.m[blockIdx.y], *v = t.v[blockIdx.y];
    const float *gradient = t.gradient[blockIdx.y];
    EACH(i, t.n[blockIdx.y]) {
        float g = gradient[i];
        float first = m[i] * decay1 + rest1 * g;
        float second = v[i] * decay2 + rest2 * g * g;
        m[i] = first;
        v[i] = second;
        value[i] -= rate * first / (sqrtf(second) + epsilon);
    }
}

// Sets the clock to a step (set != 0) or advances it by one, and computes Adam's step size for the next update. The
// learning rate rises to `peak` over `warmup` steps, and falls along half a cosine to the fraction `floor` of it, from
// the fraction `from` of the run's `steps` on.
KERNEL tick(u64 *step, float *rate, u64 to, u32 set, double peak, double warmup, double from, double floor, double steps,
            double decay1, double decay2) {
    if (threadIdx.x > 0) return;
    u64 now = set ? to : *step + 1;
    double t = (double)(now + 1);
    double rising = t < warmup ? t / warmup : 1.0;
    double done = fmin(fmax(((double)now / steps - from) / (1.0 - from), 0.0), 1.0);
    double left = floor + (1.0 - floor) * 0.5 * (1.0 + cos(3.14159265358979323846 * done));
    *step = now;
    *rate = (float)(peak * rising * left * sqrt(1.0 - pow(decay2, t)) / (1.0 - pow(decay1, t)));
}

// ---- random draws ---------------------------------------------------------------------------------------------------

// Philox4x32-10 at the counter (index, step, stream), the same as in lerp-core.
__device__ void philox(u32 index, u64 step, u32 stream, u64 seed, u32 out[4]) {
    u32 c0 = index, c1 = (u32)step, c2 = (u32)(step >> 32), c3 = stream;
    u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
    for (u32 round = 0; round < 10; round++) {
        u64 a = (u64)c0 * 0xD2511F53u, b = (u64)c2 * 0xCD9E8D57u;
        c0 = (u32)(b >> 32) ^ c1 ^ k0;
        c1 = (u32)b;
        c2 = (u32)(a >> 32) ^ c3 ^ k1;
        c3 = (u32)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

// In the three kernels of draws, the step is read from the device if `clock` is not null.
KERNEL draw_uniform(float *out, u32 n, u64 seed, u32 stream, u64 step, const u64 *clock) {
    if (clock) step = *clock;
    EACH(block, (n + 3) / 4) {
        u32 words[4];
        philox(block, step, stream, seed, words);
        for (u32 i = 0; i < 4 && block * 4 + i < n; i++) out[block * 4 + i] = (float)(words[i] >> 8) / 16777216.0f;
    }
}

KERNEL draw_uniform_f64(double *out, u32 n, u64 seed, u32 stream, u64 step, const u64 *clock) {
    if (clock) step = *clock;
    EACH(block, (n + 1) / 2) {
        u32 words[4];
        philox(block, step, stream, seed, words);
        for (u32 i = 0; i < 2 && block * 2 + i < n; i++) {
            u64 bits = (u64)words[2 * i] << 32 | words[2 * i + 1];
            out[block * 2 + i] = (double)(bits >> 11) / 9007199254740992.0;
        }
    }
}

KERNEL draw_normal(float *out, u32 n, u64 seed, u32 stream, u64 step, const u64 *clock) {
    if (clock) step = *clock;
    EACH(block, (n + 3) / 4) {
        u32 words[4];
        philox(block, step, stream, seed, words);
        for (u32 i = 0; i < 4; i += 2) {
            u32 at = block * 4 + i;
            double radius = sqrt(-2.0 * log(((double)words[i] + 0.5) / 4294967296.0));
            double sine, cosine;
            sincos(6.283185307179586 * (double)words[i + 1] / 4294967296.0, &sine, &cosine);
            if (at < n) out[at] = (float)(radius * cosine);
            if (at + 1 < n) out[at + 1] = (float)(radius * sine);
        }
    }
}

// ---- lines ----------------------------------------------------------------------------------------------------------

#define TAU 6.283185307179586

// Whether b lies in [from, to), with both bounds truncated to integers and `from` limited to the image.
__device__ bool within(double from, double to, double b) { return b >= trunc(fmax(from, 0.0)) && b < trunc(to); }

// Draws lines of width `thickness` pixels from the image's centre at the angles TAU·turn, one pixel per thread; the
// same as lerp-data's `draw_line`.
KERNEL draw_lines(const double *turns, float *out, u32 n, u32 height, u32 width, double thickness) {
    EACH(i, n) {
        double angle = turns[i / (height * width)] * TAU;
        u32 y = i / width % height, x = i % width;
        double row = height * 0.5, column = width * 0.5;
        double end_row = row - (row - 1.0) * sin(angle), end_column = column + (column - 1.0) * cos(angle);
        bool along_rows = fabs(end_column - column) < fabs(end_row - row);
        double a0 = along_rows ? row : column, b0 = along_rows ? column : row;
        double a1 = along_rows ? end_row : end_column, b1 = along_rows ? end_column : end_row;
        double a = along_rows ? y : x, b = along_rows ? x : y;
        if (a1 < a0) {
            double swap = a0;
            a0 = a1, a1 = swap;
            swap = b0;
            b0 = b1, b1 = swap;
        }
        b0 -= thickness / 2.0;
        b1 -= thickness / 2.0;
        double slope = (b1 - b0) / (a1 - a0), value = 0.0;
        if (within(floor(a0), ceil(a1), a)) {
            double weight = a < ceil(a0) ? ceil(a0) - a0 : 1.0;
            double start = b0 + (a - a0 - 0.5) * slope, end = start + thickness;
            if (within(floor(start), ceil(start), b)) value += 2.0 * weight * (ceil(start) - start);
            if (within(ceil(start), floor(end), b)) value += 2.0 * weight * 1.0;
            if (within(floor(end), ceil(end), b)) value += 2.0 * weight * (end - floor(end));
        }
        out[i] = (float)fmin(fmax(value - 1.0, -1.0), 1.0);
    }
}

// Computes the classes of lines at the angles TAU·turn, which are tenths of the circle; the same as lerp-data's
// `line_label`.
KERNEL line_labels(const double *turns, u32 *out, u32 n, u32 classes) {
    EACH(i, n) out[i] = min((u32)(10.0 * (turns[i] * TAU) / (TAU - 1e-6)), classes - 1);
}

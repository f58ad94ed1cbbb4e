// cuDNN: forward and backward convolutions in two dimensions of 4-d float tensors.
// Rules: shapes of input, filter and output agree; an NHWC filter only with packed NHWC tensors and algorithms 0 and 1;
// every algorithm requires a workspace of 4096 bytes, which is overwritten with NaN; operands within live allocations.
#include "internal.h"
#include <cudnn.h>

struct cudnnContext {
    CUstream s;
    CUcontext ctx;
};

struct cudnnTensorStruct {
    cudnnDataType_t t;
    int d[4], s[4];
    bool set = false;
};

struct cudnnFilterStruct {
    cudnnDataType_t t;
    cudnnTensorFormat_t f;
    int d[4];
    bool set = false;
};

struct cudnnConvolutionStruct {
    int p[2], s[2], l[2];
    cudnnConvolutionMode_t mode;
    cudnnDataType_t t;
    cudnnMathType_t math = CUDNN_DEFAULT_MATH;
    int groups = 1;
    bool set = false;
};

static const size_t WORKSPACE_BYTES = 4096;

API size_t cudnnGetVersion() { return CUDNN_VERSION; }

API size_t cudnnGetCudartVersion() { return CUDA_VERSION; }

API cudnnStatus_t cudnnOpsVersionCheck() { return CUDNN_STATUS_SUCCESS; }

API cudnnStatus_t cudnnCnnVersionCheck() { return CUDNN_STATUS_SUCCESS; }

API cudnnStatus_t cudnnAdvVersionCheck() { return CUDNN_STATUS_SUCCESS; }

API const char *cudnnGetErrorString(cudnnStatus_t s) {
    switch (s) {
    case CUDNN_STATUS_SUCCESS:
        return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM:
        return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED:
        return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_EXECUTION_FAILED:
        return "CUDNN_STATUS_EXECUTION_FAILED";
    default:
        return "CUDNN_STATUS";
    }
}

API cudnnStatus_t cudnnCreate(cudnnHandle_t *h) {
    CUcontext c;
    cuCtxGetCurrent(&c);
    if (!c) {
        report_error("cudnnCreate without a current context");
        return CUDNN_STATUS_NOT_INITIALIZED;
    }
    if (not_during_capture("cudnnCreate"))
        return CUDNN_STATUS_INTERNAL_ERROR;
    *h = new cudnnContext{nullptr, c};
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnDestroy(cudnnHandle_t h) {
    delete h;
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t s) {
    h->s = (CUstream)s;
    return CUDNN_STATUS_SUCCESS;
}

#define BAD(...)                                                                                                       \
    do {                                                                                                               \
        report_error(__VA_ARGS__);                                                                                     \
        return CUDNN_STATUS_BAD_PARAM;                                                                                 \
    } while (0)
#define NOS(...)                                                                                                       \
    do {                                                                                                               \
        report_error(__VA_ARGS__);                                                                                     \
        return CUDNN_STATUS_NOT_SUPPORTED;                                                                             \
    } while (0)

API cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *d) {
    *d = new cudnnTensorStruct;
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t d) {
    delete d;
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t o, cudnnDataType_t t, int n, int c, int h, int w,
                                               int sn, int sc, int sh, int sw) {
    if (n <= 0 || c <= 0 || h <= 0 || w <= 0)
        BAD("cudnnSetTensor4dDescriptor: dimensions %d %d %d %d", n, c, h, w);
    o->t = t;
    int d[4] = {n, c, h, w}, s[4] = {sn, sc, sh, sw};
    memcpy(o->d, d, sizeof d);
    memcpy(o->s, s, sizeof s);
    o->set = true;
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t o, cudnnTensorFormat_t f, cudnnDataType_t t, int n,
                                             int c, int h, int w) {
    if (f == CUDNN_TENSOR_NCHW)
        return cudnnSetTensor4dDescriptorEx(o, t, n, c, h, w, c * h * w, h * w, w, 1);
    if (f == CUDNN_TENSOR_NHWC)
        return cudnnSetTensor4dDescriptorEx(o, t, n, c, h, w, c * h * w, 1, w * c, c);
    NOS("cudnnSetTensor4dDescriptor: format %d", f);
}

API cudnnStatus_t cudnnSetTensorNdDescriptor(cudnnTensorDescriptor_t o, cudnnDataType_t t, int nb, const int *d,
                                             const int *s) {
    if (nb != 4)
        NOS("cudnnSetTensorNdDescriptor: %d dimensions are not emulated", nb);
    return cudnnSetTensor4dDescriptorEx(o, t, d[0], d[1], d[2], d[3], s[0], s[1], s[2], s[3]);
}

API cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *d) {
    *d = new cudnnFilterStruct;
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t d) {
    delete d;
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t o, cudnnDataType_t t, cudnnTensorFormat_t f, int k,
                                             int c, int h, int w) {
    if (k <= 0 || c <= 0 || h <= 0 || w <= 0)
        BAD("cudnnSetFilter4dDescriptor: dimensions %d %d %d %d", k, c, h, w);
    if (f != CUDNN_TENSOR_NCHW && f != CUDNN_TENSOR_NHWC)
        NOS("cudnnSetFilter4dDescriptor: format %d", f);
    o->t = t;
    o->f = f;
    int d[4] = {k, c, h, w};
    memcpy(o->d, d, sizeof d);
    o->set = true;
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetFilterNdDescriptor(cudnnFilterDescriptor_t o, cudnnDataType_t t, cudnnTensorFormat_t f,
                                             int nb, const int *d) {
    if (nb != 4)
        NOS("cudnnSetFilterNdDescriptor: %d dimensions are not emulated", nb);
    return cudnnSetFilter4dDescriptor(o, t, f, d[0], d[1], d[2], d[3]);
}

API cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *d) {
    *d = new cudnnConvolutionStruct;
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t d) {
    delete d;
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t o, int ph, int pw, int sh, int sw,
                                                  int dh, int dw, cudnnConvolutionMode_t m, cudnnDataType_t t) {
    if (ph < 0 || pw < 0 || sh <= 0 || sw <= 0 || dh <= 0 || dw <= 0)
        BAD("cudnnSetConvolution2dDescriptor: pad %d %d stride %d %d dilation %d %d", ph, pw, sh, sw, dh, dw);
    *o = cudnnConvolutionStruct{};
    o->p[0] = ph;
    o->p[1] = pw;
    o->s[0] = sh;
    o->s[1] = sw;
    o->l[0] = dh;
    o->l[1] = dw;
    o->mode = m;
    o->t = t;
    o->set = true;
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetConvolutionNdDescriptor(cudnnConvolutionDescriptor_t o, int n, const int *p, const int *s,
                                                  const int *d, cudnnConvolutionMode_t m, cudnnDataType_t t) {
    if (n != 2)
        NOS("cudnnSetConvolutionNdDescriptor: %d dimensions are not emulated", n);
    return cudnnSetConvolution2dDescriptor(o, p[0], p[1], s[0], s[1], d[0], d[1], m, t);
}

API cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t o, cudnnMathType_t m) {
    o->math = m;
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t o, int g) {
    o->groups = g;
    return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(const cudnnConvolutionDescriptor_t c,
                                                        const cudnnTensorDescriptor_t x,
                                                        const cudnnFilterDescriptor_t w, int *n, int *k, int *h,
                                                        int *ww) {
    *n = x->d[0];
    *k = w->d[0];
    *h = (x->d[2] + 2 * c->p[0] - ((w->d[2] - 1) * c->l[0] + 1)) / c->s[0] + 1;
    *ww = (x->d[3] + 2 * c->p[1] - ((w->d[3] - 1) * c->l[1] + 1)) / c->s[1] + 1;
    return CUDNN_STATUS_SUCCESS;
}

static bool nhwc(const cudnnTensorStruct &t) {
    return t.s[1] == 1 && t.s[3] == t.d[1] && t.s[2] == t.d[1] * t.d[3] && t.s[0] == t.d[1] * t.d[3] * t.d[2];
}

static cudnnStatus_t check(const char *fn, cudnnHandle_t h, const cudnnTensorStruct *x, const cudnnFilterStruct *w,
                           const cudnnConvolutionStruct *c, const cudnnTensorStruct *y) {
    if (!h || !x || !w || !c || !y || !x->set || !w->set || !c->set || !y->set)
        BAD("%s: a descriptor is not set", fn);
    CUcontext cur;
    cuCtxGetCurrent(&cur);
    if (cur != h->ctx)
        report_error("%s: the handle is of another context than the current one", fn);
    if (x->t != CUDNN_DATA_FLOAT || w->t != CUDNN_DATA_FLOAT || y->t != CUDNN_DATA_FLOAT || c->t != CUDNN_DATA_FLOAT)
        NOS("%s: only float is emulated (types x %d w %d y %d compute %d)", fn, x->t, w->t, y->t, c->t);
    if (c->groups != 1)
        NOS("%s: groups are not emulated", fn);
    if (x->d[1] != w->d[1])
        BAD("%s: the input has %d channels and the filter %d", fn, x->d[1], w->d[1]);
    if (y->d[1] != w->d[0])
        BAD("%s: the output has %d channels and the filter makes %d", fn, y->d[1], w->d[0]);
    if (x->d[0] != y->d[0])
        BAD("%s: batch %d and %d", fn, x->d[0], y->d[0]);
    int n, k, oh, ow;
    cudnnGetConvolution2dForwardOutputDim((cudnnConvolutionDescriptor_t)c, (cudnnTensorDescriptor_t)x,
                                          (cudnnFilterDescriptor_t)w, &n, &k, &oh, &ow);
    if (oh != y->d[2] || ow != y->d[3])
        BAD("%s: the output should be %dx%d and the descriptor says %dx%d (input %dx%d, filter %dx%d, pad %d,%d stride "
            "%d,%d dilation %d,%d)",
            fn, oh, ow, y->d[2], y->d[3], x->d[2], x->d[3], w->d[2], w->d[3], c->p[0], c->p[1], c->s[0], c->s[1],
            c->l[0], c->l[1]);
    if (w->f == CUDNN_TENSOR_NHWC && (!nhwc(*x) || !nhwc(*y)))
        NOS("%s: an NHWC filter needs packed NHWC tensors", fn);
    return CUDNN_STATUS_SUCCESS;
}

static size_t span(const cudnnTensorStruct &t) {
    size_t n = 1;
    for (int i = 0; i < 4; i++)
        n += (size_t)(t.d[i] - 1) * t.s[i];
    return n * 4;
}

enum Dir { FWD, BWD_D, BWD_F };

static void run(Dir dir, const cudnnTensorStruct &x, const cudnnFilterStruct &w, const cudnnConvolutionStruct &c,
                const cudnnTensorStruct &y, float *X, float *W, float *Y, float alpha, float beta) {
    int C = x.d[1], H = x.d[2], Wd = x.d[3], K = w.d[0], R = w.d[2], S = w.d[3], P = y.d[2], Q = y.d[3], N = x.d[0],
        RSC = R * S * C, M = P * Q;
    // The filter as [RSC][K], in the order r, s, c.
    std::vector<float> wt((size_t)RSC * K), dw;
    long ws[4];
    if (w.f == CUDNN_TENSOR_NHWC) {
        ws[0] = (long)R * S * C;
        ws[1] = 1;
        ws[2] = (long)S * C;
        ws[3] = C;
    } else {
        ws[0] = (long)C * R * S;
        ws[1] = (long)R * S;
        ws[2] = S;
        ws[3] = 1;
    }
    auto wi = [&](int k, int ch, int r, int s) {
        if (c.mode == CUDNN_CONVOLUTION) {
            r = R - 1 - r;
            s = S - 1 - s;
        }
        return k * ws[0] + ch * ws[1] + r * ws[2] + s * ws[3];
    };
    if (dir != BWD_F)
        for (int r = 0; r < R; r++)
            for (int s = 0; s < S; s++)
                for (int ch = 0; ch < C; ch++)
                    for (int k = 0; k < K; k++)
                        wt[((size_t)(r * S + s) * C + ch) * K + k] = W[wi(k, ch, r, s)];
    else
        dw.assign((size_t)RSC * K, 0.f);
    std::vector<float> pt((size_t)M * RSC), dx;
    for (int n = 0; n < N; n++) {
        float *xn = X + (long)n * x.s[0], *yn = Y + (long)n * y.s[0];
        if (dir != BWD_D)
            for (int p = 0; p < P; p++)
                for (int q = 0; q < Q; q++) {
                    float *d = &pt[(size_t)(p * Q + q) * RSC];
                    for (int r = 0; r < R; r++)
                        for (int s = 0; s < S; s++, d += C) {
                            int h = p * c.s[0] - c.p[0] + r * c.l[0], v = q * c.s[1] - c.p[1] + s * c.l[1];
                            if (h < 0 || h >= H || v < 0 || v >= Wd) {
                                memset(d, 0, C * 4);
                                continue;
                            }
                            const float *e = xn + (long)h * x.s[2] + (long)v * x.s[3];
                            for (int ch = 0; ch < C; ch++)
                                d[ch] = e[(long)ch * x.s[1]];
                        }
                }
        // Output positions are contiguous in p,q when s[2] == Q*s[3]; otherwise they are processed row by row.
        bool flat = y.s[2] == Q * y.s[3];
        for (int p = 0; p < (flat ? 1 : P); p++) {
            int m = flat ? M : Q;
            float *yp = yn + (long)p * y.s[2];
            float *pp = pt.data() + (size_t)p * Q * RSC;
            if (dir == FWD)
                sgemm(m, K, RSC, pp, RSC, 1, wt.data(), K, 1, yp, y.s[3], y.s[1], alpha, beta);
            else if (dir == BWD_F)
                sgemm(RSC, K, m, pp, 1, RSC, yp, y.s[3], y.s[1], dw.data(), K, 1, 1.f, 1.f);
            else
                sgemm(m, RSC, K, yp, y.s[3], y.s[1], wt.data(), 1, K, pp, RSC, 1, 1.f, 0.f);
        }
        if (dir == BWD_D) {
            dx.assign((size_t)H * Wd * C, 0.f);
            for (int p = 0; p < P; p++)
                for (int q = 0; q < Q; q++) {
                    const float *d = &pt[(size_t)(p * Q + q) * RSC];
                    for (int r = 0; r < R; r++)
                        for (int s = 0; s < S; s++, d += C) {
                            int h = p * c.s[0] - c.p[0] + r * c.l[0], v = q * c.s[1] - c.p[1] + s * c.l[1];
                            if (h < 0 || h >= H || v < 0 || v >= Wd)
                                continue;
                            float *e = &dx[((size_t)h * Wd + v) * C];
                            for (int ch = 0; ch < C; ch++)
                                e[ch] += d[ch];
                        }
                }
            for (int h = 0; h < H; h++)
                for (int v = 0; v < Wd; v++)
                    for (int ch = 0; ch < C; ch++) {
                        float *e = xn + (long)h * x.s[2] + (long)v * x.s[3] + (long)ch * x.s[1];
                        float val = alpha * dx[((size_t)h * Wd + v) * C + ch];
                        *e = beta == 0.f ? val : val + beta * *e;
                    }
        }
    }
    if (dir == BWD_F)
        for (int r = 0; r < R; r++)
            for (int s = 0; s < S; s++)
                for (int ch = 0; ch < C; ch++)
                    for (int k = 0; k < K; k++) {
                        float *e = W + wi(k, ch, r, s);
                        float v = alpha * dw[((size_t)(r * S + s) * C + ch) * K + k];
                        *e = beta == 0.f ? v : v + beta * *e;
                    }
}

static cudnnStatus_t launch(const char *fn, Dir dir, cudnnHandle_t h, const void *alpha, const void *beta,
                            cudnnTensorDescriptor_t xd, const void *X, cudnnFilterDescriptor_t wd, const void *W,
                            cudnnConvolutionDescriptor_t cd, cudnnTensorDescriptor_t yd, const void *Y, int algo,
                            void *ws, size_t wsn) {
    cudnnStatus_t st = check(fn, h, xd, wd, cd, yd);
    if (st)
        return st;
    if (!ws || wsn < WORKSPACE_BYTES)
        BAD("%s: workspace %p of %zu bytes, algorithm %d needs %zu", fn, ws, wsn, algo, WORKSPACE_BYTES);
    cudnnTensorStruct x = *xd, y = *yd;
    cudnnFilterStruct w = *wd;
    cudnnConvolutionStruct c = *cd;
    float a = *(const float *)alpha, b = *(const float *)beta;
    if (!X || !W || !Y)
        BAD("%s: null pointer", fn);
    CUresult r = submit(h->s, NODE_CONV, fn, [=] {
        bool ok = range_ok(X, span(x), fn);
        ok &= range_ok(Y, span(y), fn);
        ok &= range_ok(W, (size_t)w.d[0] * w.d[1] * w.d[2] * w.d[3] * 4, fn);
        ok &= range_ok(ws, WORKSPACE_BYTES, fn);
        if (!ok)
            return CUDA_ERROR_ILLEGAL_ADDRESS;
        memset(ws, 0xFF, WORKSPACE_BYTES);
        run(dir, x, w, c, y, (float *)X, (float *)W, (float *)Y, a, b);
        return CUDA_SUCCESS;
    });
    return r ? CUDNN_STATUS_EXECUTION_FAILED : CUDNN_STATUS_SUCCESS;
}

// The algorithms that an NHWC filter allows.
static bool algo_ok(Dir d, int a, const cudnnFilterStruct *w) {
    if (w->f == CUDNN_TENSOR_NHWC)
        return d == FWD ? a == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM ||
                              a == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM
                        : a == 0 || a == 1;
    return d == FWD     ? a != CUDNN_CONVOLUTION_FWD_ALGO_DIRECT && a >= 0 && a < CUDNN_CONVOLUTION_FWD_ALGO_COUNT
           : d == BWD_D ? a >= 0 && a < CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT
                        : a >= 0 && a < CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT &&
                              a != CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD;
}

template <class P> static void fill(P *p, int want, int *got, std::vector<int> ids, const cudnnConvolutionStruct *c) {
    *got = std::min(want, (int)ids.size());
    for (int i = 0; i < *got; i++) {
        memset(&p[i], 0, sizeof p[i]);
        p[i].algo = (decltype(p[i].algo))ids[i];
        p[i].status = CUDNN_STATUS_SUCCESS;
        p[i].time = -1.f;
        p[i].memory = WORKSPACE_BYTES;
        p[i].determinism = CUDNN_DETERMINISTIC;
        p[i].mathType = c->math;
    }
}

API cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t h, const cudnnTensorDescriptor_t x,
                                                         const cudnnFilterDescriptor_t w,
                                                         const cudnnConvolutionDescriptor_t c,
                                                         const cudnnTensorDescriptor_t y, const int n, int *got,
                                                         cudnnConvolutionFwdAlgoPerf_t *p) {
    cudnnStatus_t s = check(__func__, h, x, w, c, y);
    if (!s)
        fill(p, n, got, {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM},
             c);
    return s;
}

// The first of these is marked as not deterministic, like ALGO_0 of the real library.

API cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t h, const cudnnFilterDescriptor_t w,
                                                              const cudnnTensorDescriptor_t y,
                                                              const cudnnConvolutionDescriptor_t c,
                                                              const cudnnTensorDescriptor_t x, const int n, int *got,
                                                              cudnnConvolutionBwdDataAlgoPerf_t *p) {
    cudnnStatus_t s = check(__func__, h, x, w, c, y);
    if (!s) {
        fill(p, n, got, {0, 1}, c);
        p[0].determinism = CUDNN_NON_DETERMINISTIC;
    }
    return s;
}

API cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t h, const cudnnTensorDescriptor_t x,
                                                                const cudnnTensorDescriptor_t y,
                                                                const cudnnConvolutionDescriptor_t c,
                                                                const cudnnFilterDescriptor_t w, const int n, int *got,
                                                                cudnnConvolutionBwdFilterAlgoPerf_t *p) {
    cudnnStatus_t s = check(__func__, h, x, w, c, y);
    if (!s) {
        fill(p, n, got, {0, 1}, c);
        p[0].determinism = CUDNN_NON_DETERMINISTIC;
    }
    return s;
}

#define WSZ(D)                                                                                                         \
    cudnnStatus_t s = check(__func__, h, x, w, c, y);                                                                  \
    if (s)                                                                                                             \
        return s;                                                                                                      \
    if (!algo_ok(D, a, w))                                                                                             \
        NOS("%s: algorithm %d", __func__, a);                                                                          \
    *n = WORKSPACE_BYTES;                                                                                              \
    return s;

API cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t h, const cudnnTensorDescriptor_t x,
                                                          const cudnnFilterDescriptor_t w,
                                                          const cudnnConvolutionDescriptor_t c,
                                                          const cudnnTensorDescriptor_t y, cudnnConvolutionFwdAlgo_t a,
                                                          size_t *n){WSZ(FWD)}

API cudnnStatus_t
    cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t h, const cudnnFilterDescriptor_t w,
                                                 const cudnnTensorDescriptor_t y, const cudnnConvolutionDescriptor_t c,
                                                 const cudnnTensorDescriptor_t x, cudnnConvolutionBwdDataAlgo_t a,
                                                 size_t *n){WSZ(BWD_D)}

API cudnnStatus_t
    cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t h, const cudnnTensorDescriptor_t x,
                                                   const cudnnTensorDescriptor_t y,
                                                   const cudnnConvolutionDescriptor_t c,
                                                   const cudnnFilterDescriptor_t w, cudnnConvolutionBwdFilterAlgo_t a,
                                                   size_t *n){WSZ(BWD_F)}

API cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t h, const void *al, const cudnnTensorDescriptor_t xd,
                                          const void *x, const cudnnFilterDescriptor_t wd, const void *w,
                                          const cudnnConvolutionDescriptor_t c, cudnnConvolutionFwdAlgo_t a, void *ws,
                                          size_t n, const void *be, const cudnnTensorDescriptor_t yd, void *y) {
    if (!algo_ok(FWD, a, wd))
        NOS("%s: algorithm %d", __func__, a);
    return launch(__func__, FWD, h, al, be, xd, x, wd, w, c, yd, y, a, ws, n);
}

API cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t h, const void *al, const cudnnFilterDescriptor_t wd,
                                               const void *w, const cudnnTensorDescriptor_t yd, const void *y,
                                               const cudnnConvolutionDescriptor_t c, cudnnConvolutionBwdDataAlgo_t a,
                                               void *ws, size_t n, const void *be, const cudnnTensorDescriptor_t xd,
                                               void *x) {
    if (!algo_ok(BWD_D, a, wd))
        NOS("%s: algorithm %d", __func__, a);
    return launch(__func__, BWD_D, h, al, be, xd, x, wd, w, c, yd, y, a, ws, n);
}

API cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t h, const void *al, const cudnnTensorDescriptor_t xd,
                                                 const void *x, const cudnnTensorDescriptor_t yd, const void *y,
                                                 const cudnnConvolutionDescriptor_t c,
                                                 cudnnConvolutionBwdFilterAlgo_t a, void *ws, size_t n, const void *be,
                                                 const cudnnFilterDescriptor_t wd, void *w) {
    if (!algo_ok(BWD_F, a, wd))
        NOS("%s: algorithm %d", __func__, a);
    return launch(__func__, BWD_F, h, al, be, xd, x, wd, w, c, yd, y, a, ws, n);
}

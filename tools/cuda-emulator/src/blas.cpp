// cuBLAS: products of float and double matrices (gemm, batched with strides, gemv), computed in the type itself.
// Rules: sizes and leading dimensions; operands within live allocations; the handle is of the current context; batches
// of the result do not overlap. cublasLt has handles only.
#include "internal.h"
#include <cublas_v2.h>
#include <cublasLt.h>
#include <math.h>

// C[i*cs0+j*cs1] = alpha * sum_k A[i*as0+k*as1] * B[k*bs0+j*bs1] + beta * C

template <class T>
static void gemm_core(int M, int N, int K, const T *A, long as0, long as1, const T *B, long bs0, long bs1, T *C,
                      long cs0, long cs1, T alpha, T beta) {
    if (M <= 0 || N <= 0)
        return;
    // Makes the inner dimension (columns) the longer one.
    if (N < 8 && M > N) {
        gemm_core<T>(N, M, K, B, bs1, bs0, A, as1, as0, C, cs1, cs0, alpha, beta);
        return;
    }
    const int NB = 64, MB = 4, KB = 256;
    std::vector<T> bp((size_t)KB * NB), acc((size_t)M * NB), ap((size_t)MB * KB);
    for (int j0 = 0; j0 < N; j0 += NB) {
        int nb = std::min(NB, N - j0);
        std::fill(acc.begin(), acc.end(), T(0));
        for (int k0 = 0; k0 < K; k0 += KB) {
            int kb = std::min(KB, K - k0);
            for (int k = 0; k < kb; k++) {
                T *b = &bp[(size_t)k * NB];
                const T *s = B + (long)(k0 + k) * bs0 + (long)j0 * bs1;
                for (int j = 0; j < nb; j++)
                    b[j] = s[j * bs1];
                for (int j = nb; j < NB; j++)
                    b[j] = 0;
            }
            for (int i0 = 0; i0 < M; i0 += MB) {
                int mb = std::min(MB, M - i0);
                for (int k = 0; k < kb; k++)
                    for (int i = 0; i < MB; i++)
                        ap[k * MB + i] = i < mb ? A[(long)(i0 + i) * as0 + (long)(k0 + k) * as1] : T(0);
                for (int jj = 0; jj < nb; jj += 16) {
                    T c[MB][16] = {};
                    for (int k = 0; k < kb; k++) {
                        const T *b = &bp[(size_t)k * NB + jj];
                        const T *a = &ap[k * MB];
                        for (int i = 0; i < MB; i++)
                            for (int j = 0; j < 16; j++)
                                c[i][j] += a[i] * b[j];
                    }
                    for (int i = 0; i < mb; i++)
                        for (int j = 0; j < 16; j++)
                            acc[(size_t)(i0 + i) * NB + jj + j] += c[i][j];
                }
            }
        }
        for (int i = 0; i < M; i++)
            for (int j = 0; j < nb; j++) {
                T *c = C + (long)i * cs0 + (long)(j0 + j) * cs1;
                T v = alpha * acc[(size_t)i * NB + j];
                *c = beta == T(0) ? v : v + beta * *c;
            }
    }
}

void sgemm(int M, int N, int K, const float *A, long as0, long as1, const float *B, long bs0, long bs1, float *C,
           long cs0, long cs1, float alpha, float beta) {
    gemm_core<float>(M, N, K, A, as0, as1, B, bs0, bs1, C, cs0, cs1, alpha, beta);
}

struct cublasContext {
    CUstream s;
    cublasPointerMode_t pm;
    CUcontext ctx;
};

API cublasStatus_t cublasCreate_v2(cublasHandle_t *h) {
    CUcontext c;
    cuCtxGetCurrent(&c);
    if (!c) {
        report_error("cublasCreate without a current context");
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    if (not_during_capture("cublasCreate"))
        return CUBLAS_STATUS_ALLOC_FAILED;
    *h = new cublasContext{nullptr, CUBLAS_POINTER_MODE_HOST, c};
    return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasDestroy_v2(cublasHandle_t h) {
    delete h;
    return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasSetStream_v2(cublasHandle_t h, cudaStream_t s) {
    h->s = (CUstream)s;
    return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t h, cublasPointerMode_t m) {
    h->pm = m;
    return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasGetPointerMode_v2(cublasHandle_t h, cublasPointerMode_t *m) {
    *m = h->pm;
    return CUBLAS_STATUS_SUCCESS;
}

static size_t extent(bool t, int rows, int cols, int ld) {
    int r = t ? cols : rows, c = t ? rows : cols;
    return r && c ? (size_t)(c - 1) * ld + r : 0;
}

template <class T>
static cublasStatus_t gemm(const char *fn, cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                           int k, const T *alpha, const T *A, int lda, long sa, const T *B, int ldb, long sb,
                           const T *beta, T *C, int ldc, long sc, int batch) {
    if (!h)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    CUcontext c;
    cuCtxGetCurrent(&c);
    if (c != h->ctx)
        report_error("%s: the handle is of another context than the current one", fn);
    if (m < 0 || n < 0 || k < 0 || batch < 0 || lda < std::max(1, ta ? k : m) || ldb < std::max(1, tb ? n : k) ||
        ldc < std::max(1, m)) {
        report_error("%s: bad sizes m %d n %d k %d lda %d ldb %d ldc %d batch %d ta %d tb %d", fn, m, n, k, lda, ldb,
                     ldc, batch, ta, tb);
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (!m || !n || !batch)
        return CUBLAS_STATUS_SUCCESS;
    if (batch > 1 && sc < (long)ldc * (n - 1) + m) {
        report_error("%s: the stride of C %ld lets the batches overlap", fn, sc);
    }
    bool dev = h->pm == CUBLAS_POINTER_MODE_DEVICE;
    T av = dev ? T(0) : *alpha, bv = dev ? T(0) : *beta;
    CUresult r = submit(h->s, NODE_GEMM, fn, [=] {
        T a = dev ? *alpha : av, b = dev ? *beta : bv;
        size_t ea = extent(ta, m, k, lda), eb = extent(tb, k, n, ldb), ec = extent(false, m, n, ldc);
        auto ok = [&](const void *p, size_t e, long s) {
            return e == 0 || range_ok(p, (e + (size_t)s * (batch - 1)) * sizeof(T), fn);
        };
        if ((a != T(0) && k && (!ok(A, ea, sa) || !ok(B, eb, sb))) || !ok(C, ec, sc))
            return CUDA_ERROR_ILLEGAL_ADDRESS;
        for (int i = 0; i < batch; i++)
            gemm_core<T>(m, n, a == T(0) ? 0 : k, A + i * sa, ta ? lda : 1, ta ? 1 : lda, B + i * sb, tb ? ldb : 1,
                         tb ? 1 : ldb, C + i * sc, 1, ldc, a, b);
        return CUDA_SUCCESS;
    });
    return r ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasSgemm_v2(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                                  const float *al, const float *A, int lda, const float *B, int ldb, const float *be,
                                  float *C, int ldc) {
    return gemm<float>(__func__, h, ta, tb, m, n, k, al, A, lda, 0, B, ldb, 0, be, C, ldc, 0, 1);
}

API cublasStatus_t cublasDgemm_v2(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                                  const double *al, const double *A, int lda, const double *B, int ldb,
                                  const double *be, double *C, int ldc) {
    return gemm<double>(__func__, h, ta, tb, m, n, k, al, A, lda, 0, B, ldb, 0, be, C, ldc, 0, 1);
}

API cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                                             int k, const float *al, const float *A, int lda, long long sa,
                                             const float *B, int ldb, long long sb, const float *be, float *C, int ldc,
                                             long long sc, int b) {
    return gemm<float>(__func__, h, ta, tb, m, n, k, al, A, lda, sa, B, ldb, sb, be, C, ldc, sc, b);
}

API cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                                             int k, const double *al, const double *A, int lda, long long sa,
                                             const double *B, int ldb, long long sb, const double *be, double *C,
                                             int ldc, long long sc, int b) {
    return gemm<double>(__func__, h, ta, tb, m, n, k, al, A, lda, sa, B, ldb, sb, be, C, ldc, sc, b);
}

API cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m,
                                              int n, int k, const void *al, const void *A, cudaDataType at, int lda,
                                              long long sa, const void *B, cudaDataType bt, int ldb, long long sb,
                                              const void *be, void *C, cudaDataType ct, int ldc, long long sc, int b,
                                              cublasComputeType_t comp, cublasGemmAlgo_t) {
    if (at == CUDA_R_32F && bt == CUDA_R_32F && ct == CUDA_R_32F &&
        (comp == CUBLAS_COMPUTE_32F || comp == CUBLAS_COMPUTE_32F_PEDANTIC || comp == CUBLAS_COMPUTE_32F_FAST_TF32 ||
         comp == CUBLAS_COMPUTE_32F_FAST_16F || comp == CUBLAS_COMPUTE_32F_FAST_16BF))
        return gemm<float>("cublasGemmStridedBatchedEx", h, ta, tb, m, n, k, (const float *)al, (const float *)A, lda,
                           sa, (const float *)B, ldb, sb, (const float *)be, (float *)C, ldc, sc, b);
    if (at == CUDA_R_64F && bt == CUDA_R_64F && ct == CUDA_R_64F &&
        (comp == CUBLAS_COMPUTE_64F || comp == CUBLAS_COMPUTE_64F_PEDANTIC))
        return gemm<double>("cublasGemmStridedBatchedEx", h, ta, tb, m, n, k, (const double *)al, (const double *)A,
                            lda, sa, (const double *)B, ldb, sb, (const double *)be, (double *)C, ldc, sc, b);
    report_error("cublasGemm...Ex: types %d %d %d with compute type %d are not emulated or not supported", at, bt, ct,
                 comp);
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

API cublasStatus_t cublasGemmEx(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                                const void *al, const void *A, cudaDataType at, int lda, const void *B, cudaDataType bt,
                                int ldb, const void *be, void *C, cudaDataType ct, int ldc, cublasComputeType_t comp,
                                cublasGemmAlgo_t g) {
    return cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, al, A, at, lda, 0, B, bt, ldb, 0, be, C, ct, ldc, 0, 1, comp,
                                      g);
}

template <class T>
static cublasStatus_t gemv(const char *fn, cublasHandle_t h, cublasOperation_t t, int m, int n, const T *al, const T *A,
                           int lda, const T *x, int incx, const T *be, T *y, int incy) {
    if (lda < std::max(1, m) || incx < 1 || incy < 1) {
        report_error("%s: bad sizes", fn);
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    T a = *al, b = *be;
    int M = t ? n : m, K = t ? m : n;
    CUresult r = submit(h->s, NODE_GEMM, fn, [=] {
        if (!range_ok(A, extent(false, m, n, lda) * sizeof(T), fn) ||
            !range_ok(x, ((size_t)(K - 1) * incx + 1) * sizeof(T), fn) ||
            !range_ok(y, ((size_t)(M - 1) * incy + 1) * sizeof(T), fn))
            return CUDA_ERROR_ILLEGAL_ADDRESS;
        gemm_core<T>(M, 1, K, A, t ? lda : 1, t ? 1 : lda, x, incx, 0, y, incy, 0, a, b);
        return CUDA_SUCCESS;
    });
    return r ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasSgemv_v2(cublasHandle_t h, cublasOperation_t t, int m, int n, const float *al, const float *A,
                                  int lda, const float *x, int ix, const float *be, float *y, int iy) {
    return gemv<float>(__func__, h, t, m, n, al, A, lda, x, ix, be, y, iy);
}

API cublasStatus_t cublasDgemv_v2(cublasHandle_t h, cublasOperation_t t, int m, int n, const double *al,
                                  const double *A, int lda, const double *x, int ix, const double *be, double *y,
                                  int iy) {
    return gemv<double>(__func__, h, t, m, n, al, A, lda, x, ix, be, y, iy);
}

API cublasStatus_t cublasLtCreate(cublasLtHandle_t *h) {
    *h = (cublasLtHandle_t)1;
    return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }

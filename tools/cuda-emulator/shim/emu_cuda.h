// Lets g++ compile plain CUDA C kernels for the host; force-included (-include). Variables, synchronisation, shuffles,
// atomics and intrinsics of CUDA C, as far as the kernels need them; the waiting itself is in ../src/block.cpp.
// Arithmetic is that of the host: no contraction to fused multiply-add, no fast math; half, bfloat16 and fp8 are
// absent.
#pragma once
#include <algorithm>
#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <math.h>
#include <cstdio>
#include <cstring>
#include <limits>
#include <stdint.h>
#include <string.h>
#include <tuple>
#include <type_traits>
#include <utility>
#include "../src/kernel_abi.h"
#define EMU 1
static thread_local emu_tls_t emu_t; // of this kernel library
#ifdef __EMU_SCAN__
#define __global__ __EMU_KERNEL__
#else
#define __global__ __attribute__((used, noinline))
#endif
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __constant__ static
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define __managed__ static
#undef assert
#define assert(e) ((e) ? (void)0 : emu_trap("assertion failed: " #e))
typedef emu_dim uint3;

struct dim3 {
    unsigned x, y, z;

    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

#define threadIdx (emu_t.tid)
#define blockIdx (emu_t.bid)
#define blockDim (emu_t.bdim)
#define gridDim (emu_t.gdim)
static const int warpSize = 32;
#define EMU_VEC(T, N)                                                                                                  \
    struct N##2 { T x, y; }                                                                                            \
    __attribute__((aligned(sizeof(T) * 2)));                                                                           \
    struct N##3 { T x, y, z; };                                                                                        \
    struct N##4 { T x, y, z, w; }                                                                                      \
    __attribute__((aligned(sizeof(T) * 4 > 16 ? 16 : sizeof(T) * 4)));                                                 \
    static inline N##2 make_##N##2(T x, T y) { return N##2 {x, y}; }                                                   \
    static inline N##3 make_##N##3(T x, T y, T z) { return N##3 {x, y, z}; }                                           \
    static inline N##4 make_##N##4(T x, T y, T z, T w) { return N##4 {x, y, z, w}; }
EMU_VEC(float, float)
EMU_VEC(double, double)
EMU_VEC(int, int)
EMU_VEC(signed char, char)
EMU_VEC(unsigned char, uchar)
EMU_VEC(short, short)
EMU_VEC(unsigned short, ushort)
EMU_VEC(long long, longlong)
EMU_VEC(unsigned long long, ulonglong)

struct uint2 {
    unsigned x, y;
} __attribute__((aligned(8)));

struct uint4 {
    unsigned x, y, z, w;
} __attribute__((aligned(16)));

static inline uint2 make_uint2(unsigned x, unsigned y) { return uint2{x, y}; }

static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return uint3{x, y, z}; }

static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return uint4{x, y, z, w}; }

// ---- synchronisation ----
static inline void __syncthreads() { emu_syncthreads(); }

static inline int __syncthreads_count(int p) { return emu_sync_count(p); }

static inline int __syncthreads_or(int p) { return emu_sync_count(p) != 0; }

static inline int __syncthreads_and(int p) { return emu_sync_count(!p) == 0; }

static inline void __syncwarp(unsigned m = 0xffffffffu) { emu_syncwarp(m); }

static inline void __threadfence() { __sync_synchronize(); }

static inline void __threadfence_block() { __sync_synchronize(); }

static inline void __threadfence_system() { __sync_synchronize(); }

template <class T> static inline T emu_shfl_t(unsigned m, T v, int src) {
    static_assert(sizeof(T) <= 8, "shuffle type");
    uint64_t u = 0;
    memcpy(&u, &v, sizeof(T));
    u = emu_shfl(m, u, src);
    T r;
    memcpy(&r, &u, sizeof(T));
    return r;
}

static inline int emu_lane() { return emu_t.lin & 31; }

template <class T> static inline T __shfl_sync(unsigned m, T v, int s, int w = 32) {
    int l = emu_lane();
    return emu_shfl_t(m, v, (l & ~(w - 1)) | (s & (w - 1)));
}

template <class T> static inline T __shfl_xor_sync(unsigned m, T v, int x, int w = 32) {
    int l = emu_lane();
    int s = l ^ x;
    if ((s & ~(w - 1)) > (l & ~(w - 1)))
        s = l;
    return emu_shfl_t(m, v, s);
}

template <class T> static inline T __shfl_down_sync(unsigned m, T v, unsigned d, int w = 32) {
    int l = emu_lane();
    int s = l + (int)d;
    if (s > (l | (w - 1)))
        s = l;
    return emu_shfl_t(m, v, s);
}

template <class T> static inline T __shfl_up_sync(unsigned m, T v, unsigned d, int w = 32) {
    int l = emu_lane();
    int s = l - (int)d;
    if (s < (l & ~(w - 1)))
        s = l;
    return emu_shfl_t(m, v, s);
}

static inline unsigned __ballot_sync(unsigned m, int p) { return emu_ballot(m, p); }

static inline int __any_sync(unsigned m, int p) { return emu_ballot(m, p) != 0; }

static inline int __all_sync(unsigned m, int p) { return emu_ballot(m, !p) == 0; }

static inline unsigned __activemask() { return 0xffffffffu; }

#define EMU_REDUCE(NAME, EXPR)                                                                                         \
    template <class T> static inline T NAME(unsigned m, T v) {                                                         \
        T a = 0;                                                                                                       \
        bool first = true;                                                                                             \
        for (int l = 0; l < 32; l++) {                                                                                 \
            T b = emu_shfl_t(m, v, l);                                                                                 \
            if (m >> l & 1) {                                                                                          \
                a = first ? b : (EXPR);                                                                                \
                first = false;                                                                                         \
            }                                                                                                          \
        }                                                                                                              \
        return a;                                                                                                      \
    }
EMU_REDUCE(__reduce_add_sync, a + b)
EMU_REDUCE(__reduce_max_sync, (a > b ? a : b))
EMU_REDUCE(__reduce_min_sync, (a < b ? a : b))

// ---- atomics ----
template <class T, class F> static inline T emu_rmw(T *p, F f) {
    typedef typename std::conditional<sizeof(T) == 8, uint64_t, uint32_t>::type U;
    U o = __atomic_load_n((U *)p, __ATOMIC_RELAXED), n;
    T t, r;
    do {
        memcpy(&t, &o, sizeof(T));
        r = f(t);
        memcpy(&n, &r, sizeof(T));
    } while (!__atomic_compare_exchange_n((U *)p, &o, n, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return t;
}
template <class T> using emu_id = typename std::common_type<T>::type;

template <class T> static inline T atomicAdd(T *p, emu_id<T> v) {
    return emu_rmw(p, [=](T o) { return (T)(o + v); });
}

template <class T> static inline T atomicSub(T *p, emu_id<T> v) {
    return emu_rmw(p, [=](T o) { return (T)(o - v); });
}

template <class T> static inline T atomicMax(T *p, emu_id<T> v) {
    return emu_rmw(p, [=](T o) { return o > v ? o : v; });
}

template <class T> static inline T atomicMin(T *p, emu_id<T> v) {
    return emu_rmw(p, [=](T o) { return o < v ? o : v; });
}

template <class T> static inline T atomicExch(T *p, emu_id<T> v) {
    return emu_rmw(p, [=](T) { return v; });
}

template <class T> static inline T atomicAnd(T *p, emu_id<T> v) {
    return emu_rmw(p, [=](T o) { return (T)(o & v); });
}

template <class T> static inline T atomicOr(T *p, emu_id<T> v) {
    return emu_rmw(p, [=](T o) { return (T)(o | v); });
}

template <class T> static inline T atomicXor(T *p, emu_id<T> v) {
    return emu_rmw(p, [=](T o) { return (T)(o ^ v); });
}

template <class T> static inline T atomicInc(T *p, emu_id<T> v) {
    return emu_rmw(p, [=](T o) { return o >= v ? (T)0 : (T)(o + 1); });
}

template <class T> static inline T atomicDec(T *p, emu_id<T> v) {
    return emu_rmw(p, [=](T o) { return (o == 0 || o > v) ? v : (T)(o - 1); });
}

template <class T> static inline T atomicCAS(T *p, emu_id<T> c, emu_id<T> v) {
    return emu_rmw(p, [=](T o) { return o == c ? v : o; });
}

// ---- loads and stores with hints ----
template <class T> static inline T __ldg(const T *p) { return *p; }

template <class T> static inline T __ldcs(const T *p) { return *p; }

template <class T> static inline T __ldca(const T *p) { return *p; }

template <class T> static inline T __ldcg(const T *p) { return *p; }

template <class T> static inline T __ldcv(const T *p) { return *(volatile const T *)p; }

template <class T> static inline T __ldlu(const T *p) { return *p; }

template <class T> static inline void __stcs(T *p, T v) { *p = v; }

template <class T> static inline void __stcg(T *p, T v) { *p = v; }

template <class T> static inline void __stwb(T *p, T v) { *p = v; }

template <class T> static inline void __stwt(T *p, T v) { *p = v; }

// ---- arithmetic ----
template <class A, class B>
static inline typename std::enable_if<std::is_arithmetic<A>::value && std::is_arithmetic<B>::value,
                                      typename std::common_type<A, B>::type>::type
max(A a, B b) {
    typedef typename std::common_type<A, B>::type C;
    if constexpr (std::is_floating_point<C>::value)
        return (C)std::fmax((C)a, (C)b);
    else
        return (C)a > (C)b ? (C)a : (C)b;
}

template <class A, class B>
static inline typename std::enable_if<std::is_arithmetic<A>::value && std::is_arithmetic<B>::value,
                                      typename std::common_type<A, B>::type>::type
min(A a, B b) {
    typedef typename std::common_type<A, B>::type C;
    if constexpr (std::is_floating_point<C>::value)
        return (C)std::fmin((C)a, (C)b);
    else
        return (C)a < (C)b ? (C)a : (C)b;
}

static inline float rsqrtf(float x) { return (float)(1.0 / std::sqrt((double)x)); }

static inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }

static inline float normcdff(float x) { return (float)(0.5 * std::erfc(-(double)x * M_SQRT1_2)); }

static inline double normcdf(double x) { return 0.5 * std::erfc(-x * M_SQRT1_2); }

#define __expf emu__expf

static inline float emu__expf(float x) { return expf(x); }

#define __exp10f emu__exp10f

static inline float emu__exp10f(float x) { return powf(10.f, x); }

#define __logf emu__logf

static inline float emu__logf(float x) { return logf(x); }

#define __log2f emu__log2f

static inline float emu__log2f(float x) { return log2f(x); }

#define __log10f emu__log10f

static inline float emu__log10f(float x) { return log10f(x); }

#define __sinf emu__sinf

static inline float emu__sinf(float x) { return sinf(x); }

#define __cosf emu__cosf

static inline float emu__cosf(float x) { return cosf(x); }

#define __tanf emu__tanf

static inline float emu__tanf(float x) { return tanf(x); }

#define __powf emu__powf

static inline float emu__powf(float x, float y) { return powf(x, y); }

static inline float __fdividef(float x, float y) { return x / y; }

static inline float fdividef(float x, float y) { return x / y; }

static inline float __saturatef(float x) { return x > 0.f ? (x < 1.f ? x : 1.f) : 0.f; }

#define EMU_RN(S)                                                                                                      \
    static inline float __fadd_##S(float a, float b) { return a + b; }                                                 \
    static inline float __fsub_##S(float a, float b) { return a - b; }                                                 \
    static inline float __fmul_##S(float a, float b) { return a * b; }                                                 \
    static inline float __fdiv_##S(float a, float b) { return a / b; }                                                 \
    static inline float __frcp_##S(float a) { return 1.f / a; }                                                        \
    static inline float __fsqrt_##S(float a) { return sqrtf(a); }                                                      \
    static inline float __fmaf_##S(float a, float b, float c) { return fmaf(a, b, c); }                                \
    static inline double __dadd_##S(double a, double b) { return a + b; }                                              \
    static inline double __dsub_##S(double a, double b) { return a - b; }                                              \
    static inline double __dmul_##S(double a, double b) { return a * b; }                                              \
    static inline double __ddiv_##S(double a, double b) { return a / b; }                                              \
    static inline double __drcp_##S(double a) { return 1. / a; }                                                       \
    static inline double __dsqrt_##S(double a) { return sqrt(a); }                                                     \
    static inline double __fma_##S(double a, double b, double c) { return fma(a, b, c); }
EMU_RN(rn)

static inline float __frsqrt_rn(float a) { return (float)(1.0 / std::sqrt((double)a)); }

static inline float __double2float_rn(double a) { return (float)a; }

static inline int __float2int_rn(float a) { return (int)rintf(a); }

static inline int __float2int_rz(float a) { return (int)a; }

static inline int __float2int_rd(float a) { return (int)floorf(a); }

static inline int __float2int_ru(float a) { return (int)ceilf(a); }

static inline unsigned __float2uint_rn(float a) { return (unsigned)rintf(a); }

static inline unsigned __float2uint_rz(float a) { return (unsigned)a; }

static inline float __int2float_rn(int a) { return (float)a; }

static inline float __uint2float_rn(unsigned a) { return (float)a; }

template <class D, class S> static inline D emu_bits(S s) {
    static_assert(sizeof(D) == sizeof(S), "bits");
    D d;
    memcpy(&d, &s, sizeof d);
    return d;
}

static inline int __float_as_int(float a) { return emu_bits<int>(a); }

static inline unsigned __float_as_uint(float a) { return emu_bits<unsigned>(a); }

static inline float __int_as_float(int a) { return emu_bits<float>(a); }

static inline float __uint_as_float(unsigned a) { return emu_bits<float>(a); }

static inline long long __double_as_longlong(double a) { return emu_bits<long long>(a); }

static inline double __longlong_as_double(long long a) { return emu_bits<double>(a); }

static inline int __clz(int a) { return a ? __builtin_clz(a) : 32; }

static inline int __clzll(long long a) { return a ? __builtin_clzll(a) : 64; }

static inline int __popc(unsigned a) { return __builtin_popcount(a); }

static inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }

static inline int __ffs(int a) { return __builtin_ffs(a); }

static inline unsigned __brev(unsigned a) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++)
        if (a >> i & 1)
            r |= 1u << (31 - i);
    return r;
}

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }

static inline int __mulhi(int a, int b) { return (int)(((int64_t)a * b) >> 32); }

static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}

static inline int __mul24(int a, int b) { return a * b; }

static inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned s) {
    return (unsigned)(((((uint64_t)hi << 32) | lo) << (s & 31)) >> 32);
}

static inline unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned s) {
    return (unsigned)((((uint64_t)hi << 32) | lo) >> (s & 31));
}

static inline float sinpif(float x) { return (float)std::sin(M_PI * (double)x); }

static inline float cospif(float x) { return (float)std::cos(M_PI * (double)x); }

static inline double sinpi(double x) { return std::sin(M_PI * x); }

static inline double cospi(double x) { return std::cos(M_PI * x); }

static inline float rnorm3df(float a, float b, float c) { return 1.f / sqrtf(a * a + b * b + c * c); }

static inline float rhypotf(float a, float b) { return 1.f / hypotf(a, b); }

static inline long long clock64() { return 0; }

static inline void __trap() { emu_trap("__trap()"); }

static inline size_t __cvta_generic_to_shared(const void *p) { return (size_t)p; }

#define CUDART_INF_F __builtin_inff()
#define CUDART_INF __builtin_inf()
#define CUDART_NAN_F __builtin_nanf("")

namespace cuda {
namespace std {
template <class T> using numeric_limits = ::std::numeric_limits<T>;
}
} // namespace cuda

// ---- kernel table ----
extern "C" __attribute__((visibility("default"))) emu_tls_t *emu_tls_addr(void) { return &emu_t; }

template <class... A, size_t... I> static inline void emu_call(void (*f)(A...), void **p, std::index_sequence<I...>) {
    f(*reinterpret_cast<typename std::remove_cv<A>::type *>(p[I])...);
}
template <auto F> struct emu_tramp;

template <class... A, void (*F)(A...)> struct emu_tramp<F> {
    static void call(void **p) { emu_call(F, p, std::index_sequence_for<A...>()); }

    static constexpr int n = sizeof...(A);
    static constexpr unsigned sizes[sizeof...(A) + 1] = {(unsigned)sizeof(A)..., 0};
};

#define EMU_K(NAME) {#NAME, emu_tramp<&NAME>::call, emu_tramp<&NAME>::n, emu_tramp<&NAME>::sizes},

// Initialisation, devices, contexts and error texts of the driver, the few functions of the CUDA runtime that register
// kernels at load, and the handles of cuRAND and NVRTC.
// Rules: cuInit comes first; calls that need a current context report its absence. The device says that it has compute
// capability 9.0 and 8 GiB; EMU_DEVICES=n makes n devices, EMU_NO_POOLS=1 a device without memory pools.
#include "internal.h"

static CUctx_st *primary_contexts[64];

int device_count() {
    int n = env_switch("EMU_DEVICES");
    return n > 0 ? n : 1;
}

API CUresult cuInit(unsigned) {
    initialised = true;
    return CUDA_SUCCESS;
}

API CUresult cuDriverGetVersion(int *v) {
    *v = CUDA_VERSION;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetCount(int *n) {
    NEED_INIT;
    *n = device_count();
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGet(CUdevice *d, int i) {
    NEED_INIT;
    if (i < 0 || i >= device_count())
        return CUDA_ERROR_INVALID_DEVICE;
    *d = i;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetName(char *s, int n, CUdevice) {
    snprintf(s, n, "Emulated");
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetUuid_v2(CUuuid *u, CUdevice d) {
    memset(u, 0, sizeof *u);
    u->bytes[0] = 'E';
    u->bytes[15] = (char)d;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceTotalMem_v2(size_t *n, CUdevice) {
    *n = DEVICE_BYTES;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetAttribute(int *v, CUdevice_attribute a, CUdevice d) {
    if (d < 0 || d >= device_count())
        return CUDA_ERROR_INVALID_DEVICE;
    switch ((int)a) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *v = 1024;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
        *v = 1024;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
        *v = 64;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
        *v = 2147483647;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
        *v = 65535;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
        *v = 49152;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
        *v = 232448;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
        *v = 233472;
        break;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
        *v = 32;
        break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
        *v = 132;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
        *v = 2048;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
        *v = 65536;
        break;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
        *v = 1980000;
        break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
        *v = 2619000;
        break;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
        *v = 5120;
        break;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
        *v = 52428800;
        break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        *v = 9;
        break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
        *v = 0;
        break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
        *v = env_switch("EMU_NO_POOLS") ? 0 : 1;
        break;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
        *v = 1;
        break;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
        *v = d + 1;
        break;
    default:
        *v = 0;
    }
    return CUDA_SUCCESS;
}

static CUctx_st *primary(int d) {
    std::lock_guard<std::mutex> l(object_mutex);
    if (!primary_contexts[d])
        primary_contexts[d] = new CUctx_st{d, true};
    return primary_contexts[d];
}

API CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) {
    NEED_INIT;
    if (d < 0 || d >= device_count())
        return CUDA_ERROR_INVALID_DEVICE;
    *c = primary(d);
    return CUDA_SUCCESS;
}

API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }

#if CUDA_VERSION >= 12050
API CUresult cuCtxCreate_v4(CUcontext *c, CUctxCreateParams *, unsigned, CUdevice d) {
    NEED_INIT;
    *c = new CUctx_st{d, false};
    current_context = *c;
    return CUDA_SUCCESS;
}
#endif

API CUresult cuCtxDestroy_v2(CUcontext) { return CUDA_SUCCESS; }

API CUresult cuCtxSetCurrent(CUcontext c) {
    current_context = c;
    return CUDA_SUCCESS;
}

API CUresult cuCtxGetCurrent(CUcontext *c) {
    *c = current_context;
    return CUDA_SUCCESS;
}

API CUresult cuCtxSetFlags(unsigned) { return CUDA_SUCCESS; }

API CUresult cuCtxGetStreamPriorityRange(int *a, int *b) {
    *a = 0;
    *b = -5;
    return CUDA_SUCCESS;
}

API CUresult cuCtxGetLimit(size_t *v, CUlimit) {
    *v = 0;
    return CUDA_SUCCESS;
}

API CUresult cuCtxSetLimit(CUlimit, size_t) { return CUDA_SUCCESS; }

API CUresult cuCtxGetCacheConfig(CUfunc_cache *c) {
    *c = CU_FUNC_CACHE_PREFER_NONE;
    return CUDA_SUCCESS;
}

API CUresult cuCtxSetCacheConfig(CUfunc_cache) { return CUDA_SUCCESS; }

API CUresult cuProfilerStart() { return CUDA_SUCCESS; }

API CUresult cuProfilerStop() { return CUDA_SUCCESS; }

#define ERROR(code, text) {code, #code, text}

static const struct {
    CUresult code;
    const char *name, *text;
} errors[] = {
    ERROR(CUDA_SUCCESS, "no error"),
    ERROR(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    ERROR(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    ERROR(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    ERROR(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    ERROR(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    ERROR(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    ERROR(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    ERROR(CUDA_ERROR_NOT_READY, "device not ready"),
    ERROR(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    ERROR(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
    ERROR(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
    ERROR(CUDA_ERROR_INVALID_PTX, "a PTX JIT compilation failed"),
    ERROR(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_MERGE, "operation would result in a merge of separate capture sequences"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not ended in the same stream as it began"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "dependency created on uncaptured work in another stream"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
          "operation would make the legacy stream depend on a capturing blocking stream"),
    ERROR(CUDA_ERROR_CAPTURED_EVENT, "operation not permitted on an event last recorded in a capturing stream"),
    ERROR(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
          "attempt to terminate a thread-local capture sequence from another thread"),
    ERROR(CUDA_ERROR_ILLEGAL_STATE, "the operation cannot be performed in the present state"),
};

#undef ERROR

API CUresult cuGetErrorName(CUresult code, const char **s) {
    *s = "CUDA_ERROR_UNKNOWN";
    for (auto &e : errors)
        if (e.code == code)
            *s = e.name;
    return CUDA_SUCCESS;
}

API CUresult cuGetErrorString(CUresult code, const char **s) {
    *s = "unknown error";
    for (auto &e : errors)
        if (e.code == code)
            *s = e.text;
    return CUDA_SUCCESS;
}

// ---- CUDA runtime: what a program with statically linked kernels needs to be loaded ----

API void **__cudaRegisterFatBinary(void *) {
    static void *h;
    return &h;
}

API void __cudaRegisterFatBinaryEnd(void **) {}

API void __cudaUnregisterFatBinary(void **) {}

API void __cudaRegisterFunction(void **, const char *, char *, const char *, int, void *, void *, void *, void *,
                                int *) {}

API void __cudaRegisterVar(void **, char *, char *, const char *, int, size_t, int, int) {}

API void __cudaRegisterHostVar(void **, const char *, char *, size_t) {}

API void __cudaRegisterManagedVar(void **, void **, char *, const char *, int, size_t, int, int) {}

API char __cudaInitModule(void **) { return 1; }

API int cudaRuntimeGetVersion(int *v) {
    *v = CUDA_VERSION;
    return 0;
}

API int cudaDriverGetVersion(int *v) {
    *v = CUDA_VERSION;
    return 0;
}

API int cudaGetLastError() { return 0; }

API int cudaPeekAtLastError() { return 0; }

API int cudaGetDeviceCount(int *n) {
    *n = device_count();
    return 0;
}

API int cudaGetDevice(int *d) {
    *d = current_context ? current_context->dev : 0;
    return 0;
}

API int cudaSetDevice(int d) {
    initialised = true;
    current_context = primary(d);
    return 0;
}

API const char *cudaGetErrorString(int) { return "emulated runtime error"; }

API const char *cudaGetErrorName(int) { return "cudaErrorEmulated"; }

// ---- cuRAND, NVRTC: handles only ----

API int curandCreateGenerator(void **g, int) {
    *g = new int;
    return 0;
}

API int curandDestroyGenerator(void *) { return 0; }

API int curandSetPseudoRandomGeneratorSeed(void *, unsigned long long) { return 0; }

API int curandSetGeneratorOffset(void *, unsigned long long) { return 0; }

API int curandSetStream(void *, void *) { return 0; }

API int nvrtcVersion(int *a, int *b) {
    *a = CUDA_VERSION / 1000;
    *b = CUDA_VERSION % 1000 / 10;
    return 0;
}

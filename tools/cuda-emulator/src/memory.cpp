// Device and pinned memory: allocation, free, pools, copies and sets, all in host memory.
// Rules: fresh memory is 0xFF bytes (NaN); canaries lie before and after each allocation and are checked at free, at
// exit and (EMU_CHECK=1) after each launch; double frees and frees of foreign pointers are errors; freed memory stays
// in a quarantine, filled with 0xFF, so that later uses are recognised; every copy and set lies in one live allocation.
// EMU_GUARD=1 ends each allocation at an unmapped page instead of canaries. Memory that is allocated in a capture is
// live only between its alloc node and its free in a launch of the graph.
#include "internal.h"
#include <sys/mman.h>

static const uint32_t CANARY = 0xFFC0FFEE; // a NaN
static const size_t CANARY_BYTES = 256;

static int guard_mode() {
    static int g = env_switch("EMU_GUARD");
    return g;
}

void poison(void *p, size_t n) { memset(p, 0xFF, n); }

void canary_write(uintptr_t p, const Alloc &a) {
    for (size_t i = 0; i < CANARY_BYTES / 4; i++)
        ((uint32_t *)(p - CANARY_BYTES))[i] = CANARY;
    for (size_t i = 0; i < CANARY_BYTES; i++)
        ((char *)(p + a.bytes))[i] = ((const char *)&CANARY)[i & 3];
}

static uintptr_t mem_new(size_t n, bool pinned, int dev) {
    Alloc a{n, nullptr, 0, pinned, false, true, dev};
    uintptr_t p;
    if (guard_mode()) {
        size_t pg = 4096, m = (n + 15) / 16 * 16, tot = (m + pg - 1) / pg * pg;
        a.raw_bytes = tot + 2 * pg;
        a.raw = (char *)mmap(0, a.raw_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (a.raw == MAP_FAILED)
            return 0;
        mprotect(a.raw + pg, tot, PROT_READ | PROT_WRITE);
        poison(a.raw + pg, tot);
        p = (uintptr_t)(a.raw + pg + tot - m);
    } else {
        a.raw_bytes = n + 2 * CANARY_BYTES + 256;
        if (posix_memalign((void **)&a.raw, 512, (a.raw_bytes + 511) / 512 * 512))
            return 0;
        p = (uintptr_t)a.raw + 256;
        canary_write(p, a);
        poison((void *)p, n);
    }
    std::lock_guard<std::mutex> l(memory_mutex);
    live_memory[p] = a;
    live_bytes += n;
    peak_bytes = std::max(peak_bytes, live_bytes);
    return p;
}

bool canary_ok(uintptr_t p, const Alloc &a, const char *when) {
    if (guard_mode())
        return true;
    for (size_t i = 0; i < CANARY_BYTES / 4; i++)
        if (((uint32_t *)(p - CANARY_BYTES))[i] != CANARY) {
            report_error("%s: memory BEFORE allocation %p (%zu bytes) was overwritten", when, (void *)p, a.bytes);
            return false;
        }
    for (size_t i = 0; i < CANARY_BYTES; i++)
        if (((char *)(p + a.bytes))[i] != ((const char *)&CANARY)[i & 3]) {
            report_error("%s: memory AFTER allocation %p (%zu bytes) was overwritten at +%zu", when, (void *)p, a.bytes,
                         a.bytes + i);
            return false;
        }
    return true;
}

static void mem_release(const Alloc &a) {
    if (guard_mode())
        munmap(a.raw, a.raw_bytes);
    else
        free(a.raw);
}

void mem_free_locked(AllocMap::iterator it, const char *fn) {
    uintptr_t p = it->first;
    Alloc a = it->second;
    canary_ok(p, a, fn);
    live_memory.erase(it);
    live_bytes -= a.bytes;
    if (guard_mode())
        mprotect(a.raw, a.raw_bytes, PROT_NONE);
    else
        poison((void *)p, a.bytes);
    quarantine[p] = a;
    quarantine_order.push_back(p);
    quarantine_bytes += a.bytes;
    size_t lim = (guard_mode() ? 4096ull : 256ull) << 20;
    while ((quarantine_bytes > lim || quarantine_order.size() > (guard_mode() ? 8000u : 30000u)) &&
           !quarantine_order.empty()) {
        uintptr_t q = quarantine_order.front();
        quarantine_order.pop_front();
        quarantine_bytes -= quarantine[q].bytes;
        mem_release(quarantine[q]);
        quarantine.erase(q);
    }
}

AllocMap::iterator find_in(AllocMap &m, uintptr_t p) {
    auto it = m.upper_bound(p);
    if (it == m.begin())
        return m.end();
    --it;
    if (p < it->first + it->second.bytes || p == it->first)
        return it;
    return m.end();
}

bool range_ok(const void *ptr, size_t n, const char *what) {
    uintptr_t p = (uintptr_t)ptr;
    std::lock_guard<std::mutex> l(memory_mutex);
    auto it = find_in(live_memory, p);
    if (it != live_memory.end()) {
        if (!it->second.live) {
            report_error("%s: %p is in graph memory %p that is not allocated at this point", what, ptr,
                         (void *)it->first);
            return false;
        }
        if (p + n <= it->first + it->second.bytes)
            return true;
        report_error("%s: %zu bytes at %p pass the end of allocation %p (%zu bytes) by %zu", what, n, ptr,
                     (void *)it->first, it->second.bytes, (size_t)(p + n - it->first - it->second.bytes));
        return false;
    }
    if (n == 0)
        return true;
    auto f = find_in(quarantine, p);
    if (f != quarantine.end())
        report_error("%s: %p is in FREED allocation %p (%zu bytes)", what, ptr, (void *)f->first, f->second.bytes);
    else
        report_error("%s: %p is not in a device allocation", what, ptr);
    return false;
}

static CUresult new_mem(CUdeviceptr *p, size_t n, const char *fn) {
    if (n == 0) {
        report_error("%s of 0 bytes", fn);
        *p = 0;
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (live_bytes + n > DEVICE_BYTES) {
        report_error("%s: %zu bytes: out of memory (%zu live)", fn, n, live_bytes);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *p = mem_new(n, false, current_context->dev);
    return *p ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

API CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t n) {
    NEED_CTX;
    CUresult r = not_during_capture(__func__);
    return r ? r : new_mem(p, n, __func__);
}

API CUresult cuMemAllocManaged(CUdeviceptr *p, size_t n, unsigned) {
    NEED_CTX;
    CUresult r = not_during_capture(__func__);
    return r ? r : new_mem(p, n, __func__);
}

API CUresult cuMemFree_v2(CUdeviceptr p) {
    NEED_CTX;
    CUresult r = not_during_capture(__func__);
    if (r)
        return r;
    if (!p)
        return CUDA_SUCCESS;
    std::lock_guard<std::mutex> l(memory_mutex);
    auto it = live_memory.find(p);
    if (it == live_memory.end() || it->second.pinned || !it->second.live) {
        report_error("cuMemFree: %p is not a live device allocation%s", (void *)p,
                     quarantine.count(p) ? " (freed before)" : "");
        return CUDA_ERROR_INVALID_VALUE;
    }
    mem_free_locked(it, "cuMemFree");
    return CUDA_SUCCESS;
}

API CUresult cuMemAllocAsync(CUdeviceptr *p, size_t n, CUstream s) {
    CUstream_st *o;
    CUresult r = check_stream(s, &o, __func__);
    if (r)
        return r;
    if (n == 0) {
        static std::atomic<int> reported{0};
        if (!reported++)
            report_note("warning: cuMemAllocAsync of 0 bytes: answered with a null pointer (reported once)");
        *p = 0;
        return CUDA_SUCCESS;
    }
    r = new_mem(p, n, __func__);
    if (r)
        return r;
    if (o->cap) {
        uintptr_t q = *p;
        {
            std::lock_guard<std::mutex> l(memory_mutex);
            live_memory[q].graph = true;
        }
        {
            std::lock_guard<std::mutex> l(object_mutex);
            o->cap->allocs.insert(q);
        }
        return submit(s, NODE_ALLOC, "alloc", [=] {
            std::lock_guard<std::mutex> l(memory_mutex);
            auto it = live_memory.find(q);
            if (it == live_memory.end()) {
                report_error("graph alloc node: memory gone");
                return CUDA_ERROR_INVALID_VALUE;
            }
            it->second.live = true;
            poison((void *)q, it->second.bytes);
            return CUDA_SUCCESS;
        });
    }
    return CUDA_SUCCESS;
}

API CUresult cuMemFreeAsync(CUdeviceptr p, CUstream s) {
    CUstream_st *o;
    CUresult r = check_stream(s, &o, __func__);
    if (r)
        return r;
    if (!p)
        return CUDA_SUCCESS;
    if (o->cap) {
        {
            std::lock_guard<std::mutex> l(object_mutex);
            if (!o->cap->allocs.count(p)) {
                report_error("cuMemFreeAsync on a capturing stream of %p, which was not allocated in this capture",
                             (void *)p);
                return CUDA_ERROR_INVALID_VALUE;
            }
            if (!o->cap->freed.insert(p).second) {
                report_error("cuMemFreeAsync: %p is freed twice in the capture", (void *)p);
                return CUDA_ERROR_INVALID_VALUE;
            }
        }
        return submit(s, NODE_FREE, "free", [=] {
            std::lock_guard<std::mutex> l(memory_mutex);
            auto it = live_memory.find(p);
            if (it == live_memory.end() || !it->second.live) {
                report_error("graph free node: %p is not allocated", (void *)p);
                return CUDA_ERROR_INVALID_VALUE;
            }
            canary_ok(p, it->second, "graph free node");
            it->second.live = false;
            poison((void *)p, it->second.bytes);
            return CUDA_SUCCESS;
        });
    }
    std::lock_guard<std::mutex> l(memory_mutex);
    auto it = live_memory.find(p);
    if (it == live_memory.end() || it->second.pinned) {
        report_error("cuMemFreeAsync: %p is not a live device allocation%s", (void *)p,
                     quarantine.count(p) ? " (freed before)" : "");
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (it->second.dev != current_context->dev)
        report_error("cuMemFreeAsync: %p is of device %d, the stream of device %d", (void *)p, it->second.dev,
                     current_context->dev);
    if (it->second.graph) {
        if (!it->second.live) {
            report_error("cuMemFreeAsync: %p is graph memory that is not allocated now", (void *)p);
            return CUDA_ERROR_INVALID_VALUE;
        }
        canary_ok(p, it->second, "cuMemFreeAsync");
        it->second.live = false;
        poison((void *)p, it->second.bytes);
        return CUDA_SUCCESS;
    }
    mem_free_locked(it, "cuMemFreeAsync");
    return CUDA_SUCCESS;
}

API CUresult cuMemHostAlloc(void **p, size_t n, unsigned) {
    NEED_CTX;
    CUresult r = not_during_capture(__func__);
    if (r)
        return r;
    if (!n)
        return CUDA_ERROR_INVALID_VALUE;
    *p = (void *)mem_new(n, true, -1);
    return *p ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

API CUresult cuMemFreeHost(void *p) {
    CUresult r = not_during_capture(__func__);
    if (r)
        return r;
    std::lock_guard<std::mutex> l(memory_mutex);
    auto it = live_memory.find((uintptr_t)p);
    if (it == live_memory.end() || !it->second.pinned) {
        report_error("cuMemFreeHost: %p is not a live pinned allocation", p);
        return CUDA_ERROR_INVALID_VALUE;
    }
    mem_free_locked(it, "cuMemFreeHost");
    return CUDA_SUCCESS;
}

API CUresult cuMemGetInfo_v2(size_t *f, size_t *t) {
    NEED_CTX;
    *t = DEVICE_BYTES;
    *f = DEVICE_BYTES - std::min(DEVICE_BYTES, (size_t)live_bytes);
    return CUDA_SUCCESS;
}

API CUresult cuMemPrefetchAsync_v2(CUdeviceptr, size_t, CUmemLocation, unsigned, CUstream) { return CUDA_SUCCESS; }

struct CUmemPoolHandle_st {
    int dev;
    cuuint64_t threshold;
};

static CUmemPoolHandle_st default_pools[64];

API CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *p, CUdevice d) {
    *p = &default_pools[d];
    return CUDA_SUCCESS;
}

API CUresult cuMemPoolCreate(CUmemoryPool *p, const CUmemPoolProps *) {
    *p = new CUmemPoolHandle_st{};
    return CUDA_SUCCESS;
}

API CUresult cuMemPoolDestroy(CUmemoryPool) { return CUDA_SUCCESS; }

API CUresult cuMemPoolSetAttribute(CUmemoryPool p, CUmemPool_attribute a, void *v) {
    if (a == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD)
        p->threshold = *(cuuint64_t *)v;
    return CUDA_SUCCESS;
}

API CUresult cuMemPoolGetAttribute(CUmemoryPool p, CUmemPool_attribute a, void *v) {
    switch (a) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        *(cuuint64_t *)v = p->threshold;
        break;
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
        *(cuuint64_t *)v = live_bytes;
        break;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
        *(cuuint64_t *)v = peak_bytes;
        break;
    default:
        *(int *)v = 1;
    }
    return CUDA_SUCCESS;
}

static bool is_pinned(const void *p) {
    std::lock_guard<std::mutex> l(memory_mutex);
    auto it = find_in(live_memory, (uintptr_t)p);
    return it != live_memory.end() && it->second.pinned;
}

static bool is_device(const void *p) {
    std::lock_guard<std::mutex> l(memory_mutex);
    auto it = find_in(live_memory, (uintptr_t)p);
    return it != live_memory.end() && !it->second.pinned;
}

static CUresult copy(CUstream s, void *d, const void *src, size_t n, bool cd, bool cs, const char *fn) {
    CUstream_st *o;
    CUresult r = check_stream(s, &o, fn);
    if (r)
        return r;
    if (n == 0)
        return CUDA_SUCCESS;
    if (o->cap && cs && !cd && !is_pinned(d))
        return unsupported(o, fn);
    if (o->cap && cd && !cs)
        report_note("warning: %s in a capture: a replay reads the host memory %p (%zu bytes) again%s", fn, src, n,
                    is_pinned(src) ? " (pinned)" : " (pageable)");
    if (!cd && is_device(d))
        report_error("%s: the host pointer %p is device memory", fn, d);
    if (!cs && is_device(src))
        report_error("%s: the host pointer %p is device memory", fn, src);
    string name = fn;
    return submit(s, NODE_MEMCPY, fn, [=] {
        if (cd && !range_ok(d, n, name.c_str()))
            return CUDA_ERROR_INVALID_VALUE;
        if (cs && !range_ok(src, n, name.c_str()))
            return CUDA_ERROR_INVALID_VALUE;
        memmove(d, src, n);
        return CUDA_SUCCESS;
    });
}

API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr d, const void *s, size_t n, CUstream st) {
    return copy(st, (void *)d, s, n, 1, 0, __func__);
}

API CUresult cuMemcpyDtoHAsync_v2(void *d, CUdeviceptr s, size_t n, CUstream st) {
    return copy(st, d, (void *)s, n, 0, 1, __func__);
}

API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream st) {
    return copy(st, (void *)d, (void *)s, n, 1, 1, __func__);
}

API CUresult cuMemcpyPeerAsync(CUdeviceptr d, CUcontext, CUdeviceptr s, CUcontext, size_t n, CUstream st) {
    return copy(st, (void *)d, (void *)s, n, 1, 1, __func__);
}

API CUresult cuMemsetD8Async(CUdeviceptr d, unsigned char v, size_t n, CUstream st) {
    if (n == 0)
        return CUDA_SUCCESS;
    string name = __func__;
    return submit(st, NODE_MEMSET, __func__, [=] {
        if (!range_ok((void *)d, n, name.c_str()))
            return CUDA_ERROR_INVALID_VALUE;
        memset((void *)d, v, n);
        return CUDA_SUCCESS;
    });
}

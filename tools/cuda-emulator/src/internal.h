// The declarations that the parts of the emulated device share: the objects behind the driver's handles, the state of
// the process, and the functions by which every emulated call reports errors, checks ranges of memory and submits work
// to a stream.
#pragma once
#include "kernel_abi.h"
#include <algorithm>
#include <atomic>
#include <cuda.h>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <thread>
#include <vector>

using std::string;

#define API extern "C" __attribute__((visibility("default")))

// ---- reports (state.cpp) ----

// Prints "EMU: ..." to stderr for a mistake of the program; with EMU_ABORT=1 it ends the process there.
void report_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
// The same for information and warnings; never ends the process.
void report_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
// The number in an environment variable, 0 if it is not set.
int env_switch(const char *name);
// Seconds of a steady clock.
double now();

// ---- objects behind the handles ----

enum NodeKind {
    NODE_KERNEL,
    NODE_MEMCPY,
    NODE_MEMSET,
    NODE_ALLOC,
    NODE_FREE,
    NODE_GEMM,
    NODE_CONV,
    NODE_HOST,
    NODE_EVENT,
    NODE_KINDS
};

struct Capture;

struct CUctx_st {
    int dev;
    bool primary;
};

struct CUstream_st {
    CUctx_st *ctx;
    bool nonblocking;
    std::shared_ptr<Capture> cap; // the capture that the stream takes part in
    bool joined_unwaited = false; // forked into a capture, with work that the origin has not waited for
    bool special = false; // a default stream
};

struct CUevent_st {
    CUctx_st *ctx;
    unsigned flags;
    bool recorded = false;
    double time = 0;
    std::shared_ptr<Capture> cap;
    CUstream_st *cap_stream = nullptr;
};

// A loaded library of kernels compiled for the host.
struct KernelLib {
    emu_tls_t *(*tls)();
    string path;
    const emu_kernel *kernels;
    int count;
    size_t tls_size; // thread-local memory of the library: its __shared__ variables
    size_t tls_module;
};

struct CUmod_st {
    CUctx_st *ctx;
    string ptx;
    KernelLib *lib;
    std::map<string, std::vector<unsigned>> entries; // kernel name -> sizes of its parameters, from the PTX
    std::map<string, CUfunction> funcs;
};

struct CUfunc_st {
    const emu_kernel *kernel;
    CUmod_st *mod;
    KernelLib *lib;
    string name;
    int max_dyn = 49152;
    double secs = 0;
    long launches = 0;
};

// One recorded operation.
struct Node {
    int kind;
    string name;
    std::function<CUresult()> run;
};

struct CUgraph_st {
    std::vector<Node> nodes;
    std::set<uintptr_t> allocs, unfreed;
};

struct CUgraphExec_st {
    std::shared_ptr<CUgraph_st> graph;
    bool autofree;
};

struct Capture {
    std::vector<Node> nodes;
    std::set<uintptr_t> allocs, freed;
    bool invalid = false;
    CUstream_st *origin;
    CUstreamCaptureMode mode;
    std::thread::id thread;
    std::set<CUstream_st *> streams;
    unsigned long long id;
};

struct Alloc {
    size_t bytes;
    char *raw;
    size_t raw_bytes;
    bool pinned, graph, live;
    int dev;
};

typedef std::map<uintptr_t, Alloc> AllocMap;

// ---- state of the process (state.cpp) ----

extern std::mutex object_mutex; // guards captures, graphs, modules, streams, events
extern std::map<CUgraph, std::shared_ptr<CUgraph_st>> graphs;
extern std::vector<std::shared_ptr<Capture>> captures;
extern std::set<void *> live_streams, live_events;
extern std::vector<CUfunc_st *> functions;

extern std::mutex memory_mutex; // guards all below
extern AllocMap live_memory;    // live allocations, and those that graphs own
extern AllocMap quarantine;     // freed allocations, kept to recognise pointers into them
extern std::deque<uintptr_t> quarantine_order;
extern size_t quarantine_bytes, live_bytes, peak_bytes;

extern bool initialised; // cuInit was called
extern thread_local CUctx_st *current_context;

#define NEED_INIT                                                                                                      \
    if (!initialised) {                                                                                                \
        report_error("%s before cuInit", __func__);                                                                    \
        return CUDA_ERROR_NOT_INITIALIZED;                                                                             \
    }
#define NEED_CTX                                                                                                       \
    if (!current_context) {                                                                                            \
        report_error("%s without a current context", __func__);                                                        \
        return CUDA_ERROR_INVALID_CONTEXT;                                                                             \
    }

// ---- memory (memory.cpp) ----

static const size_t DEVICE_BYTES = 8ull << 30; // memory of a device

// True when [p, p+n) lies in one live allocation; reports what is wrong otherwise.
bool range_ok(const void *p, size_t n, const char *what);
void poison(void *p, size_t n);
// The allocation that contains p; both need memory_mutex.
AllocMap::iterator find_in(AllocMap &m, uintptr_t p);
bool canary_ok(uintptr_t p, const Alloc &a, const char *when);
void canary_write(uintptr_t p, const Alloc &a);
void mem_free_locked(AllocMap::iterator it, const char *fn);

// ---- driver (driver.cpp) ----

int device_count();

// ---- streams and captures (streams.cpp) ----

// The stream of a handle; the default streams are made on first use.
CUstream_st *resolve(CUstream s);
bool is_legacy(CUstream s);
bool is_capturing(CUstream s);
// Checks a stream argument and gives its object.
CUresult check_stream(CUstream s, CUstream_st **o, const char *fn);
void invalidate(const std::shared_ptr<Capture> &c, const char *why);
// For calls that a real driver forbids while a capture goes on: an error, and the capture becomes invalid.
CUresult not_during_capture(const char *fn);
// For calls that are forbidden on a capturing stream.
CUresult unsupported(CUstream_st *s, const char *fn);
// Runs f now, or records it when the stream captures.
CUresult submit(CUstream s, int kind, const char *name, std::function<CUresult()> f);

// ---- kernels (block.cpp) ----

// Runs all blocks of a launch on this thread; false when the launch failed.
bool run_grid(CUfunc_st *f, emu_dim grid, emu_dim block, unsigned dyn, void **params);

// ---- linear algebra (blas.cpp) ----

// C[i*cs0+j*cs1] = alpha * sum_k A[i*as0+k*as1] * B[k*bs0+j*bs1] + beta * C
void sgemm(int M, int N, int K, const float *A, long as0, long as1, const float *B, long bs0, long bs1, float *C,
           long cs0, long cs1, float alpha, float beta);

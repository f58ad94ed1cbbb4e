// State of the process, reports, and what is checked when the process ends (canaries of all memory that is still
// allocated; EMU_STATS=1: launches and seconds per kernel, live and peak memory).
// All shared variables live in this one file, so that the check at exit comes before they are destroyed.
#include "internal.h"
#include <chrono>
#include <cstdarg>

std::mutex object_mutex;
std::map<CUgraph, std::shared_ptr<CUgraph_st>> graphs;
std::vector<std::shared_ptr<Capture>> captures;
std::set<void *> live_streams, live_events;
std::vector<CUfunc_st *> functions;
std::mutex memory_mutex;
AllocMap live_memory, quarantine;
std::deque<uintptr_t> quarantine_order;
size_t quarantine_bytes = 0, live_bytes = 0, peak_bytes = 0;
bool initialised = false;
thread_local CUctx_st *current_context = nullptr;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void report_error(const char *fmt, ...) {
    char b[2048];
    va_list a;
    va_start(a, fmt);
    vsnprintf(b, sizeof b, fmt, a);
    va_end(a);
    fprintf(stderr, "EMU: %s\n", b);
    if (env_switch("EMU_ABORT"))
        abort();
}

void report_note(const char *fmt, ...) {
    char b[2048];
    va_list a;
    va_start(a, fmt);
    vsnprintf(b, sizeof b, fmt, a);
    va_end(a);
    fprintf(stderr, "EMU: %s\n", b);
}

int env_switch(const char *n) {
    const char *s = getenv(n);
    return s ? (*s ? atoi(s) : 0) : 0;
}

extern "C" void emu_unimplemented(const char *n) {
    fprintf(stderr, "EMU: %s is not emulated\n", n);
    abort();
}

namespace {
struct AtExit {
    ~AtExit() {
        if (!initialised)
            return;
        for (auto &a : live_memory)
            canary_ok(a.first, a.second, "at exit");
        if (!env_switch("EMU_STATS"))
            return;
        auto v = functions;
        std::sort(v.begin(), v.end(), [](auto a, auto b) { return a->secs > b->secs; });
        report_note("statistics: %zu allocations live (%zu bytes), peak %zu bytes", live_memory.size(), live_bytes,
                    peak_bytes);
        for (auto f : v)
            if (f->launches)
                report_note("  %10ld launches %9.3f s  %s", f->launches, f->secs, f->name.c_str());
    }
} at_exit;
} // namespace

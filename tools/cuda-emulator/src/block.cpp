// The engine that runs the blocks of a launch: one block after the other on the calling thread, each thread of a block
// in a fiber where it waits and as a plain call where it does not. Threads start in rising order of their index, with
// EMU_ORDER=reverse in falling order.
// Rules: __syncthreads after threads have returned, deadlocks, and masks of warp operations without the own lane are
// errors; shared memory (static and dynamic) is filled with NaN before each launch, with EMU_STRICT=1 before each
// block. Needs x86-64: the switch between fibers is written in assembly.
#include "internal.h"
#include <sys/mman.h>

extern "C" void emu_switch(void **save, void *load);
asm(R"(
.text
.hidden emu_switch
.globl emu_switch
.type emu_switch,@function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch,.-emu_switch
)");

static const size_t STACK = 128 << 10;

struct Fiber {
    void *sp;
    char *stack;
};

enum ThreadState { T_NEW, T_RUN, T_BAR, T_WARP, T_EXIT };

// One per host thread. A fiber starts the threads of a block one after the other (body); when a thread must wait, the
// fiber is parked as that thread's (suspend) and run() goes on with another fiber. Blocks in which no thread waits run
// in one fiber without a switch.
struct Engine {
    // the launch
    void (*call)(void **);
    void **params;
    const char *name;
    emu_dim grid, block_dim;
    unsigned threads = 0; // in a block
    unsigned long block_index = 0, block_count = 0;
    bool reverse, strict;
    bool failed, warned;
    // the block
    unsigned next;            // threads started
    unsigned exited, arrived; // threads returned, threads at the barrier
    int votes, vote_result;   // of __syncthreads_count
    unsigned current;         // the thread that runs
    bool yielded;             // a thread of the block has waited
    unsigned sync_count;      // barriers and warp operations of the block
    // per thread
    std::vector<unsigned char> state;
    std::vector<Fiber *> fiber_of;
    std::vector<uint64_t> value, result; // of a warp operation
    std::vector<int> source_lane;        // of a shuffle; -1: none, -2: ballot
    std::vector<unsigned> pending;       // mask of the warp operation that the thread waits in, or 0
    std::vector<unsigned> ready;         // threads that may go on, from ready_i
    size_t ready_i;
    // fibers
    std::vector<Fiber *> idle, all;
    Fiber *current_fiber = nullptr;
    void *main_sp;
    // memory of the kernel library: its __shared__ variables, threadIdx and so on, dynamic shared memory
    void *tls = nullptr;
    size_t tls_bytes = 0;
    emu_tls_t *view = nullptr;
    std::vector<char> dyn;

    Fiber *get() {
        if (!idle.empty()) {
            Fiber *f = idle.back();
            idle.pop_back();
            return f;
        }
        Fiber *f = new Fiber;
        f->stack = (char *)mmap(0, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        all.push_back(f);
        reset(f);
        return f;
    }

    static void entry();

    void reset(Fiber *f) {
        void **top = (void **)(f->stack + STACK);
        top -= 2;
        top[0] = (void *)entry;
        top[1] = 0;
        void **sp = top - 6;
        for (int i = 0; i < 6; i++)
            sp[i] = 0;
        f->sp = sp;
    }

    unsigned next_x = 0, next_y = 0, next_z = 0, previous = ~0u;

    void set(unsigned t) {
        current = t;
        if (t == previous + 1 && t) {
            if (++next_x == block_dim.x) {
                next_x = 0;
                if (++next_y == block_dim.y) {
                    next_y = 0;
                    next_z++;
                }
            }
        } else {
            next_x = t % block_dim.x;
            unsigned r = t / block_dim.x;
            next_y = r % block_dim.y;
            next_z = r / block_dim.y;
        }
        previous = t;
        emu_tls_t &v = *view;
        v.lin = t;
        v.tid.x = next_x;
        v.tid.y = next_y;
        v.tid.z = next_z;
    }

    void begin_block() {
        next = exited = arrived = 0;
        votes = 0;
        ready.clear();
        ready_i = 0;
        yielded = false;
        view->bid.x = block_index % grid.x;
        view->bid.y = block_index / grid.x % grid.y;
        view->bid.z = block_index / grid.x / grid.y;
        if (strict && block_index) {
            emu_tls_t keep = *view;
            if (tls_bytes)
                memset(tls, 0xFF, tls_bytes);
            *view = keep;
            if (!dyn.empty())
                memset(dyn.data(), 0xFF, dyn.size());
        }
        if (sync_count || block_index == 0) {
            std::fill(state.begin(), state.end(), T_NEW);
            std::fill(pending.begin(), pending.end(), 0);
        }
        sync_count = 0;
    }

    void wake(unsigned t) {
        state[t] = T_RUN;
        ready.push_back(t);
    }

    void suspend() {
        yielded = true;
        fiber_of[current] = current_fiber;
        Fiber *f = current_fiber;
        unsigned t = current;
        emu_switch(&f->sp, main_sp);
        current_fiber = f;
        set(t);
    }

    void release_barrier() {
        vote_result = votes;
        votes = 0;
        arrived = 0;
        for (unsigned t = 0; t < threads; t++)
            if (state[t] == T_BAR)
                wake(t);
    }

    void barrier(int p) {
        sync_count++;
        votes += p != 0;
        arrived++;
        if (exited && !warned) {
            warned = true;
            report_error("kernel %s: __syncthreads after %u of %u threads have returned", name, exited, threads);
        }
        if (arrived == threads - exited) {
            release_barrier();
            return;
        }
        state[current] = T_BAR;
        suspend();
    }

    // Completes the group of mask m of warp w if all its live lanes have arrived.
    bool warp_try(unsigned w, unsigned m) {
        unsigned base = w * 32, present = 0;
        for (unsigned l = 0; l < 32; l++) {
            if (!(m >> l & 1))
                continue;
            unsigned t = base + l;
            if (t >= threads || state[t] == T_EXIT)
                continue;
            if (pending[t] != m)
                return false;
            present |= 1u << l;
        }
        unsigned ballot = 0;
        for (unsigned l = 0; l < 32; l++)
            if ((present >> l & 1) && value[base + l])
                ballot |= 1u << l;
        for (unsigned l = 0; l < 32; l++)
            if (present >> l & 1) {
                unsigned t = base + l;
                int s = source_lane[t];
                if (s == -2)
                    result[t] = ballot;
                else if (s >= 0 && s < 32 && (present >> s & 1))
                    result[t] = value[base + s];
                else if (s >= 0)
                    result[t] = ~0ull;
            }
        for (unsigned l = 0; l < 32; l++)
            if (present >> l & 1) {
                unsigned t = base + l;
                pending[t] = 0;
                if (t != current)
                    wake(t);
            }
        return true;
    }

    uint64_t warp(unsigned m, uint64_t v, int s) {
        sync_count++;
        unsigned t = current;
        if (!(m >> (t & 31) & 1))
            report_error("kernel %s: a warp operation's mask %08x lacks its own lane %u", name, m, t & 31);
        value[t] = v;
        source_lane[t] = s;
        pending[t] = m;
        if (!warp_try(t / 32, m)) {
            state[t] = T_WARP;
            suspend();
        }
        return result[t];
    }

    void on_exit() {
        state[current] = T_EXIT;
        exited++;
        if (!yielded)
            return;
        if (arrived && arrived == threads - exited) {
            if (!warned) {
                warned = true;
                report_error("kernel %s: %u threads wait in __syncthreads and the other %u have returned", name,
                             arrived, exited);
            }
            release_barrier();
        }
        unsigned w = current / 32;
        for (unsigned l = 0; l < 32 && w * 32 + l < threads; l++) {
            unsigned m = pending[w * 32 + l];
            if (m)
                warp_try(w, m);
        }
    }

    void body() { // runs in a fiber: starts threads until none is left
        for (;;) {
            while (next < threads) {
                unsigned t = reverse ? threads - 1 - next : next;
                next++;
                state[t] = T_RUN;
                set(t);
                call(params);
                on_exit();
            }
            if (!yielded && exited == threads) {
                if (++block_index == block_count)
                    break;
                begin_block();
                continue;
            }
            break;
        }
    }

    bool run() {
        failed = false;
        warned = false;
        block_index = 0;
        sync_count = 1;
        begin_block();
        for (;;) {
            Fiber *f;
            if (failed) {
                for (auto x : all)
                    reset(x);
                idle = all;
                return false;
            }
            if (block_index == block_count)
                return true;
            if (next < threads) {
                f = get();
            } else if (ready_i < ready.size()) {
                f = fiber_of[ready[ready_i++]];
                if (ready_i == ready.size()) {
                    ready.clear();
                    ready_i = 0;
                }
            } else if (exited == threads) {
                if (++block_index == block_count)
                    return true;
                begin_block();
                continue;
            } else {
                unsigned a = 0, c = 0;
                for (unsigned t = 0; t < threads; t++) {
                    a += state[t] == T_BAR;
                    c += state[t] == T_WARP;
                }
                report_error("kernel %s: deadlock in block %lu: %u threads wait in __syncthreads, %u in a warp "
                             "operation, %u have returned",
                             name, block_index, a, c, exited);
                failed = true;
                continue;
            }
            current_fiber = f;
            emu_switch(&main_sp, f->sp);
        }
    }
};

static thread_local Engine *engine = nullptr;

void Engine::entry() {
    for (;;) {
        Engine *e = engine;
        e->body();
        Fiber *f = e->current_fiber;
        e->idle.push_back(f);
        emu_switch(&f->sp, e->main_sp);
        engine->current_fiber = f;
    }
}

API void emu_syncthreads() { engine->barrier(0); }

API int emu_sync_count(int p) {
    engine->barrier(p);
    return engine->vote_result;
}

API void emu_syncwarp(unsigned m) { engine->warp(m, 0, -1); }

API uint64_t emu_shfl(unsigned m, uint64_t v, int s) { return engine->warp(m, v, s); }

API unsigned emu_ballot(unsigned m, int p) { return (unsigned)engine->warp(m, p != 0, -2); }

API void emu_trap(const char *why) {
    Engine *e = engine;
    report_error("kernel %s, block (%u,%u,%u) thread (%u,%u,%u): %s", e->name, e->view->bid.x, e->view->bid.y,
                 e->view->bid.z, e->view->tid.x, e->view->tid.y, e->view->tid.z, why);
    e->failed = true;
    void *x;
    emu_switch(&x, e->main_sp);
    __builtin_unreachable();
}

struct tls_index {
    unsigned long m, o;
};

extern "C" void *__tls_get_addr(tls_index *);

bool run_grid(CUfunc_st *f, emu_dim grid, emu_dim block, unsigned dyn, void **params) {
    static bool strict = env_switch("EMU_STRICT");
    static bool reverse = getenv("EMU_ORDER") && !strcmp(getenv("EMU_ORDER"), "reverse");
    if (!engine)
        engine = new Engine;
    Engine &e = *engine;
    e.call = f->kernel->call;
    e.params = params;
    e.name = f->name.c_str();
    e.grid = grid;
    e.block_dim = block;
    e.threads = block.x * block.y * block.z;
    e.block_count = (unsigned long)grid.x * grid.y * grid.z;
    e.reverse = reverse;
    e.strict = strict;
    if (e.state.size() != e.threads) {
        e.state.assign(e.threads, T_NEW);
        e.fiber_of.resize(e.threads);
        e.value.resize(e.threads + 32);
        e.result.resize(e.threads + 32);
        e.source_lane.resize(e.threads + 32);
        e.pending.assign(e.threads + 32, 0);
    }
    e.dyn.assign(dyn, (char)0xFF);
    e.tls_bytes = f->lib->tls_size;
    e.view = f->lib->tls();
    if (e.tls_bytes && f->lib->tls_module) {
        tls_index ti{f->lib->tls_module, 0};
        e.tls = __tls_get_addr(&ti);
        memset(e.tls, 0xFF, e.tls_bytes);
    } else
        e.tls_bytes = 0;
    e.view->bdim = block;
    e.view->gdim = grid;
    e.view->dyn = e.dyn.data();
    return e.run();
}

// Kernel launches.
// Rules: dimensions, threads per block and dynamic shared memory (48 KiB unless raised) within the limits of the
// device; stream and function of the current context; no argument that points into freed memory, into memory of another
// device or into graph memory that is not allocated at this point. EMU_TRACE=1 prints each launch with its arguments;
// EMU_CHECK=1 checks the canaries of all allocations after each launch, so that the kernel is named.
#include "internal.h"

static CUresult run_kernel(CUfunc_st *f, emu_dim g, emu_dim b, unsigned dyn, void **params) {
    static int trace = env_switch("EMU_TRACE"), check = env_switch("EMU_CHECK");
    if (trace) {
        string a;
        for (int i = 0; i < f->kernel->nparams; i++) {
            char s[64];
            unsigned z = f->kernel->sizes[i];
            if (z == 8)
                snprintf(s, sizeof s, " %#lx", *(unsigned long *)params[i]);
            else if (z == 4)
                snprintf(s, sizeof s, " %d(%g)", *(int *)params[i], *(float *)params[i]);
            else
                snprintf(s, sizeof s, " [%u bytes]", z);
            a += s;
        }
        report_note("launch %s grid (%u,%u,%u) block (%u,%u,%u) shared %u args%s", f->name.c_str(), g.x, g.y, g.z, b.x,
                    b.y, b.z, dyn, a.c_str());
    }
    {
        std::lock_guard<std::mutex> l(memory_mutex);
        for (int i = 0; i < f->kernel->nparams; i++)
            for (unsigned o = 0; o + 8 <= f->kernel->sizes[i]; o += 8) {
                uintptr_t p;
                memcpy(&p, (char *)params[i] + o, 8);
                if (p < 65536)
                    continue;
                auto it = find_in(live_memory, p);
                if (it != live_memory.end()) {
                    if (!it->second.live) {
                        report_error(
                            "kernel %s: argument %d points into graph memory %p that is not allocated at this point",
                            f->name.c_str(), i, (void *)it->first);
                    } else if (it->second.dev >= 0 && it->second.dev != f->mod->ctx->dev)
                        report_error("kernel %s: argument %d is memory of device %d", f->name.c_str(), i,
                                     it->second.dev);
                    continue;
                }
                auto q = find_in(quarantine, p);
                if (q != quarantine.end())
                    report_error("kernel %s: argument %d (%p) points into FREED memory %p (%zu bytes)", f->name.c_str(),
                                 i, (void *)p, (void *)q->first, q->second.bytes);
            }
    }
    double t0 = now();
    bool ok = run_grid(f, g, b, dyn, params);
    f->secs += now() - t0;
    f->launches++;
    if (check) {
        std::lock_guard<std::mutex> l(memory_mutex);
        for (auto &a : live_memory)
            if (!canary_ok(a.first, a.second, f->name.c_str()))
                canary_write(a.first, a.second); // so that the damage is reported only once
    }
    return ok ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
}

API CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                            unsigned dyn, CUstream s, void **params, void **extra) {
    NEED_CTX;
    if (f->mod->ctx != current_context) {
        report_error("kernel %s: of a module of another context", f->name.c_str());
        return CUDA_ERROR_INVALID_HANDLE;
    }
    const char *why = nullptr;
    if (!gx || !gy || !gz || !bx || !by || !bz)
        why = "a dimension is 0";
    else if (bx > 1024 || by > 1024 || bz > 64 || bx * by * bz > 1024)
        why = "too many threads in a block";
    else if (gx > 2147483647u || gy > 65535 || gz > 65535)
        why = "the grid is too large";
    else if ((int)dyn > f->max_dyn)
        why = "too much dynamic shared memory";
    if (why) {
        report_error("kernel %s: grid (%u,%u,%u) block (%u,%u,%u) shared %u: %s", f->name.c_str(), gx, gy, gz, bx, by,
                     bz, dyn, why);
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (extra) {
        report_error("cuLaunchKernel with extra is not emulated");
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    if (!params && f->kernel->nparams) {
        report_error("kernel %s: no parameters", f->name.c_str());
        return CUDA_ERROR_INVALID_VALUE;
    }
    emu_dim g{gx, gy, gz}, b{bx, by, bz};
    if (!is_capturing(s)) {
        CUstream_st *o;
        CUresult r = check_stream(s, &o, f->name.c_str());
        return r ? r : run_kernel(f, g, b, dyn, params);
    }
    auto buf = std::make_shared<std::vector<uint64_t>>();
    std::vector<size_t> off;
    for (int i = 0; i < f->kernel->nparams; i++) {
        off.push_back(buf->size());
        size_t w = (f->kernel->sizes[i] + 15) / 16 * 2;
        buf->resize(buf->size() + w);
        memcpy(buf->data() + off[i], params[i], f->kernel->sizes[i]);
    }
    return submit(s, NODE_KERNEL, f->name.c_str(), [=] {
        std::vector<void *> p;
        for (auto o : off)
            p.push_back(buf->data() + o);
        return run_kernel(f, g, b, dyn, p.data());
    });
}

API CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                       unsigned bz, unsigned dyn, CUstream s, void **p) {
    return cuLaunchKernel(f, gx, gy, gz, bx, by, bz, dyn, s, p, nullptr);
}

API CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **p, void **x) {
    return cuLaunchKernel(f, c->gridDimX, c->gridDimY, c->gridDimZ, c->blockDimX, c->blockDimY, c->blockDimZ,
                          c->sharedMemBytes, c->hStream, p, x);
}

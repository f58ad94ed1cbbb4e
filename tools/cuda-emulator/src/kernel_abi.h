// What libemu.so (the engine, block.cpp) and the libraries of host-compiled kernels share.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct emu_dim {
    unsigned x, y, z;
};

struct emu_tls_t {
    emu_dim tid, bid, bdim, gdim;
    unsigned lin; // linear thread index in the block
    void *dyn;    // dynamic shared memory of the block
};

struct emu_kernel {
    const char *name;
    void (*call)(void **params);
    int nparams;
    const unsigned *sizes;
};

extern "C" {
void emu_syncthreads(void);
void emu_syncwarp(unsigned mask);
// exchanges `v` over the warp: returns value of lane `src` after all lanes of mask have put theirs
uint64_t emu_shfl(unsigned mask, uint64_t v, int src);
unsigned emu_ballot(unsigned mask, int pred);
int emu_sync_count(int pred); // __syncthreads_count
void emu_trap(const char *why);
}

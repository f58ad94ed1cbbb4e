#pragma once

struct __nv_fp8_e4m3 {
    unsigned char __x;

    __nv_fp8_e4m3() {}

    explicit __nv_fp8_e4m3(float) : __x(0) { emu_trap("fp8 is not emulated"); }
};

#define __NV_E4M3 0

static inline int __nv_cvt_fp8_to_halfraw(unsigned char, int) {
    emu_trap("fp8 is not emulated");
    return 0;
}

static inline float __half2float(int) { return 0.f; }

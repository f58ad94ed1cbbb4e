//! Winograd's transforms in one dimension: F(2, 3) with four points (0, ±1, ∞) and F(4, 3) with six (0, ±3/4, ±3/2, ∞).
//!
//! `N` is the number of points, `N - 2` the outputs of a tile. The six points are those for which every constant of the
//! data's transform is exact in `f32` and rounding errors are near the least: half those of the usual points
//! 0, ±1, ±2, ∞ (Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution", 2020).
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]

use super::lanes::Lanes;

/// The nearer and the farther pair of F(4, 3), and their squares.
const A: f32 = 0.75;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;

/// What divides the points of kernels at these pairs.
const NEAR: f32 = 1.0 / (2.0 * AA * (AA - BB));
const FAR: f32 = 1.0 / (2.0 * BB * (BB - AA));

/// `Bᵀ·d`: points of the data.
#[inline(always)]
pub(super) unsafe fn input_points<L: Lanes, const N: usize>(d: [L; N]) -> [L; N] {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut p = d;
        if N == 4 {
            p[0] = d[0].sub(d[2]);
            p[1] = d[1].add(d[2]);
            p[2] = d[2].sub(d[1]);
            p[3] = d[1].sub(d[3]);
        } else {
            let (aa, bb) = (L::splat(-AA), L::splat(-BB));
            let (both, product) = (L::splat(-(AA + BB)), L::splat(AA * BB));
            let (even, odd) = (d[4].fma(bb, d[2]), d[3].fma(bb, d[1]));
            p[1] = even.fma(L::splat(A), odd);
            p[2] = even.fma(L::splat(-A), odd);
            let (even, odd) = (d[4].fma(aa, d[2]), d[3].fma(aa, d[1]));
            p[3] = even.fma(L::splat(B), odd);
            p[4] = even.fma(L::splat(-B), odd);
            p[0] = d[4].fma(both, d[2]).fma(product, d[0]);
            p[5] = d[5].fma(both, d[3]).fma(product, d[1]);
        }
        p
    }
}

/// `Aᵀ·m`: the outputs of a tile from products at its points; the first `N - 2` count.
#[inline(always)]
pub(super) unsafe fn output_points<L: Lanes, const N: usize>(m: [L; N]) -> [L; 4] {
    // SAFETY: passed on to the caller.
    unsafe {
        if N == 4 {
            let zero = L::splat(0.0);
            [m[0].add(m[1]).add(m[2]), m[1].sub(m[2]).sub(m[3]), zero, zero]
        } else {
            let (near, far) = (m[1].add(m[2]), m[3].add(m[4]));
            let (across, beyond) = (m[1].sub(m[2]), m[3].sub(m[4]));
            [
                m[0].add(near).add(far),
                across.mul(L::splat(A)).fma(L::splat(B), beyond),
                near.mul(L::splat(AA)).fma(L::splat(BB), far),
                m[5].fma(L::splat(A * AA), across).fma(L::splat(B * BB), beyond),
            ]
        }
    }
}

/// `A·g`: points of the gradients of a tile's outputs, of which the first `N - 2` count.
#[inline(always)]
pub(super) unsafe fn block_points<L: Lanes, const N: usize>(g: [L; 4]) -> [L; N] {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut p = [g[0]; N];
        if N == 4 {
            p[1] = g[0].add(g[1]);
            p[2] = g[0].sub(g[1]);
            p[3] = L::splat(0.0).sub(g[1]);
        } else {
            let (even, odd) = (g[0].fma(L::splat(AA), g[2]), g[1].fma(L::splat(AA), g[3]));
            p[1] = even.fma(L::splat(A), odd);
            p[2] = even.fma(L::splat(-A), odd);
            let (even, odd) = (g[0].fma(L::splat(BB), g[2]), g[1].fma(L::splat(BB), g[3]));
            p[3] = even.fma(L::splat(B), odd);
            p[4] = even.fma(L::splat(-B), odd);
            p[5] = g[3];
        }
        p
    }
}

/// `G·w`: points of a kernel.
#[inline(always)]
pub(super) unsafe fn kernel_points<L: Lanes, const N: usize>([a, b, c]: [L; 3]) -> [L; N] {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut p = [c; N];
        if N == 4 {
            let (outer, half) = (a.add(c), L::splat(0.5));
            p[0] = a;
            p[1] = outer.add(b).mul(half);
            p[2] = outer.sub(b).mul(half);
        } else {
            p[0] = a.mul(L::splat(1.0 / (AA * BB)));
            let (even, odd) = (a.fma(L::splat(AA), c).mul(L::splat(NEAR)), b.mul(L::splat(NEAR * A)));
            p[1] = even.add(odd);
            p[2] = even.sub(odd);
            let (even, odd) = (a.fma(L::splat(BB), c).mul(L::splat(FAR)), b.mul(L::splat(FAR * B)));
            p[3] = even.add(odd);
            p[4] = even.sub(odd);
        }
        p
    }
}

/// `Gᵀ·u`: the gradient of a kernel from those of its points.
#[inline(always)]
pub(super) unsafe fn kernel_from_points<L: Lanes, const N: usize>(u: [L; N]) -> [L; 3] {
    // SAFETY: passed on to the caller.
    unsafe {
        if N == 4 {
            let half = L::splat(0.5);
            let (even, odd) = (u[1].add(u[2]).mul(half), u[1].sub(u[2]).mul(half));
            [u[0].add(even), odd, u[3].add(even)]
        } else {
            let (near, far) = (u[1].add(u[2]).mul(L::splat(NEAR)), u[3].add(u[4]).mul(L::splat(FAR)));
            let across = u[1].sub(u[2]).mul(L::splat(NEAR * A));
            [
                u[0].mul(L::splat(1.0 / (AA * BB))).add(near).add(far),
                across.fma(L::splat(FAR * B), u[3].sub(u[4])),
                u[5].fma(L::splat(AA), near).fma(L::splat(BB), far),
            ]
        }
    }
}

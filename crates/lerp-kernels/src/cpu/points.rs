//! How a 3x3 convolution is computed in tiles: transforms in one dimension, which tiles apply to columns and rows.
//!
//! In each dimension the pixels under a tile and the kernel are taken to as many *points*, multiplied there, and the products
//! are taken back to the tile's outputs: a bilinear form of Winograd's kind. Which form fits depends on the map:
//!
//! * [`Four`], F(4, 3): 6 products for 4 outputs. Its points 0, ±3/4, ±3/2, ∞ are those for which every constant of the data's
//!   transform is exact in `f32` and rounding errors are near the least: half those of the usual points 0, ±1, ±2, ∞
//!   (Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution", 2020).
//! * [`Two`], F(2, 3): 4 products for 2 outputs, with the points 0, ±1, ∞.
//! * [`Whole`]: a map of two pixels, both of whose neighbours outside are zero. With `y₀ = w₁a + w₂b` and `y₁ = w₀a + w₁b`,
//!   the three products `w₁(a+b)`, `(w₂-w₁)b` and `(w₀-w₁)a` are enough.
//! * [`Enlarged`]: a map whose pixels are doubled first. With `s = w₀+w₁+w₂`, the two outputs over a pixel `x` between `l` and
//!   `r` are `s·x + w₀(l-x)` and `s·x + w₂(r-x)`: three products, of which two are of differences. [`Gathered`] is its
//!   transpose, for the gradient of the small map.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]

use super::lanes::Lanes;

/// The most pixels, points or outputs that a tile has a side. Arrays are as long for every tiling; what is behind its own
/// numbers is not used, and the compiler drops it.
pub(super) const MOST: usize = 6;

/// A way to compute tiles of a convolution, in one dimension.
pub(super) trait Tiling {
    /// Pixels that a tile reads.
    const PATCH: usize;
    /// Pixels from one tile's patch to the next.
    const STEP: usize;
    /// How many pixels before the first of its step the patch begins.
    const BEFORE: usize;
    /// Points that pixels and kernel are taken to.
    const POINTS: usize;
    /// Points at which there are products to take back: one where products are summed over all points.
    const PRODUCTS: usize;
    /// Outputs.
    const OUT: usize;

    /// The points of pixels.
    unsafe fn patch<L: Lanes>(d: [L; MOST]) -> [L; MOST];
    /// Outputs from products.
    unsafe fn outputs<L: Lanes>(m: [L; MOST]) -> [L; MOST];
    /// The transpose of [`Self::outputs`]: the points of the gradients of outputs.
    unsafe fn block<L: Lanes>(g: [L; MOST]) -> [L; MOST];
    /// The points of a kernel.
    unsafe fn kernel<L: Lanes>(w: [L; 3]) -> [L; MOST];
    /// The transpose of [`Self::kernel`]: the gradient of a kernel from those of its points.
    unsafe fn kernel_gradient<L: Lanes>(u: [L; MOST]) -> [L; 3];
}

/// A [`Tiling`], as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tiled {
    Four,
    Two,
    Whole,
    Enlarged,
    Gathered,
}

/// Evaluates an expression with the type of a tiling.
macro_rules! with_tiling {
    ($tiled:expr, $tiling:ident => $value:expr) => {
        match $tiled {
            Tiled::Four => {
                type $tiling = Four;
                $value
            }
            Tiled::Two => {
                type $tiling = Two;
                $value
            }
            Tiled::Whole => {
                type $tiling = Whole;
                $value
            }
            Tiled::Enlarged => {
                type $tiling = Enlarged;
                $value
            }
            Tiled::Gathered => {
                type $tiling = Gathered;
                $value
            }
        }
    };
}

pub(super) use with_tiling;

impl Tiled {
    /// Pixels that a tile reads, a side.
    pub fn patch(self) -> usize {
        with_tiling!(self, T => T::PATCH)
    }

    /// Pixels from one tile's patch to the next.
    pub fn step(self) -> usize {
        with_tiling!(self, T => T::STEP)
    }

    /// How many pixels before the first of its step a patch begins.
    pub fn before(self) -> usize {
        with_tiling!(self, T => T::BEFORE)
    }

    /// Points of a tile, in both dimensions.
    pub fn points(self) -> usize {
        with_tiling!(self, T => T::POINTS * T::POINTS)
    }

    /// Points at which there are products to take back.
    pub fn products(self) -> usize {
        with_tiling!(self, T => T::PRODUCTS * T::PRODUCTS)
    }

    /// Outputs of a tile, a side.
    pub fn out(self) -> usize {
        with_tiling!(self, T => T::OUT)
    }
}

/// The nearer and the farther pair of F(4, 3), and their squares.
const A: f32 = 0.75;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;

/// What divides the points of kernels at these pairs.
const NEAR: f32 = 1.0 / (2.0 * AA * (AA - BB));
const FAR: f32 = 1.0 / (2.0 * BB * (BB - AA));

/// F(4, 3).
pub(super) struct Four;

// SAFETY of every block below: passed on to the caller.
impl Tiling for Four {
    const PATCH: usize = 6;
    const STEP: usize = 4;
    const BEFORE: usize = 1;
    const POINTS: usize = 6;
    const PRODUCTS: usize = 6;
    const OUT: usize = 4;

    #[inline(always)]
    unsafe fn patch<L: Lanes>(d: [L; MOST]) -> [L; MOST] {
        unsafe {
            let (aa, bb) = (L::splat(-AA), L::splat(-BB));
            let (both, product) = (L::splat(-(AA + BB)), L::splat(AA * BB));
            let (even, odd) = (d[4].fma(bb, d[2]), d[3].fma(bb, d[1]));
            let (further, last) = (d[4].fma(aa, d[2]), d[3].fma(aa, d[1]));
            [
                d[4].fma(both, d[2]).fma(product, d[0]),
                even.fma(L::splat(A), odd),
                even.fma(L::splat(-A), odd),
                further.fma(L::splat(B), last),
                further.fma(L::splat(-B), last),
                d[5].fma(both, d[3]).fma(product, d[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn outputs<L: Lanes>(m: [L; MOST]) -> [L; MOST] {
        unsafe {
            let (near, far) = (m[1].add(m[2]), m[3].add(m[4]));
            let (across, beyond) = (m[1].sub(m[2]), m[3].sub(m[4]));
            let zero = L::splat(0.0);
            [
                m[0].add(near).add(far),
                across.mul(L::splat(A)).fma(L::splat(B), beyond),
                near.mul(L::splat(AA)).fma(L::splat(BB), far),
                m[5].fma(L::splat(A * AA), across).fma(L::splat(B * BB), beyond),
                zero,
                zero,
            ]
        }
    }

    #[inline(always)]
    unsafe fn block<L: Lanes>(g: [L; MOST]) -> [L; MOST] {
        unsafe {
            let (even, odd) = (g[0].fma(L::splat(AA), g[2]), g[1].fma(L::splat(AA), g[3]));
            let (further, last) = (g[0].fma(L::splat(BB), g[2]), g[1].fma(L::splat(BB), g[3]));
            [
                g[0],
                even.fma(L::splat(A), odd),
                even.fma(L::splat(-A), odd),
                further.fma(L::splat(B), last),
                further.fma(L::splat(-B), last),
                g[3],
            ]
        }
    }

    #[inline(always)]
    unsafe fn kernel<L: Lanes>([a, b, c]: [L; 3]) -> [L; MOST] {
        unsafe {
            let (even, odd) = (a.fma(L::splat(AA), c).mul(L::splat(NEAR)), b.mul(L::splat(NEAR * A)));
            let (further, last) = (a.fma(L::splat(BB), c).mul(L::splat(FAR)), b.mul(L::splat(FAR * B)));
            [
                a.mul(L::splat(1.0 / (AA * BB))),
                even.add(odd),
                even.sub(odd),
                further.add(last),
                further.sub(last),
                c,
            ]
        }
    }

    #[inline(always)]
    unsafe fn kernel_gradient<L: Lanes>(u: [L; MOST]) -> [L; 3] {
        unsafe {
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

/// F(2, 3).
pub(super) struct Two;

// SAFETY of every block below: passed on to the caller.
impl Tiling for Two {
    const PATCH: usize = 4;
    const STEP: usize = 2;
    const BEFORE: usize = 1;
    const POINTS: usize = 4;
    const PRODUCTS: usize = 4;
    const OUT: usize = 2;

    #[inline(always)]
    unsafe fn patch<L: Lanes>(d: [L; MOST]) -> [L; MOST] {
        unsafe { [d[0].sub(d[2]), d[1].add(d[2]), d[2].sub(d[1]), d[1].sub(d[3]), d[4], d[5]] }
    }

    #[inline(always)]
    unsafe fn outputs<L: Lanes>(m: [L; MOST]) -> [L; MOST] {
        unsafe { [m[0].add(m[1]).add(m[2]), m[1].sub(m[2]).sub(m[3]), m[2], m[3], m[4], m[5]] }
    }

    #[inline(always)]
    unsafe fn block<L: Lanes>(g: [L; MOST]) -> [L; MOST] {
        unsafe { [g[0], g[0].add(g[1]), g[0].sub(g[1]), L::splat(0.0).sub(g[1]), g[4], g[5]] }
    }

    #[inline(always)]
    unsafe fn kernel<L: Lanes>([a, b, c]: [L; 3]) -> [L; MOST] {
        unsafe {
            let (outer, half) = (a.add(c), L::splat(0.5));
            [a, outer.add(b).mul(half), outer.sub(b).mul(half), c, a, a]
        }
    }

    #[inline(always)]
    unsafe fn kernel_gradient<L: Lanes>(u: [L; MOST]) -> [L; 3] {
        unsafe {
            let half = L::splat(0.5);
            let (even, odd) = (u[1].add(u[2]).mul(half), u[1].sub(u[2]).mul(half));
            [u[0].add(even), odd, u[3].add(even)]
        }
    }
}

/// A map of two pixels a side.
pub(super) struct Whole;

// SAFETY of every block below: passed on to the caller.
impl Tiling for Whole {
    const PATCH: usize = 2;
    const STEP: usize = 2;
    const BEFORE: usize = 0;
    const POINTS: usize = 3;
    const PRODUCTS: usize = 3;
    const OUT: usize = 2;

    #[inline(always)]
    unsafe fn patch<L: Lanes>(d: [L; MOST]) -> [L; MOST] {
        unsafe { [d[0].add(d[1]), d[1], d[0], d[3], d[4], d[5]] }
    }

    #[inline(always)]
    unsafe fn outputs<L: Lanes>(m: [L; MOST]) -> [L; MOST] {
        unsafe { [m[0].add(m[1]), m[0].add(m[2]), m[2], m[3], m[4], m[5]] }
    }

    #[inline(always)]
    unsafe fn block<L: Lanes>(g: [L; MOST]) -> [L; MOST] {
        unsafe { [g[0].add(g[1]), g[0], g[1], g[3], g[4], g[5]] }
    }

    #[inline(always)]
    unsafe fn kernel<L: Lanes>([a, b, c]: [L; 3]) -> [L; MOST] {
        unsafe { [b, c.sub(b), a.sub(b), c, c, c] }
    }

    #[inline(always)]
    unsafe fn kernel_gradient<L: Lanes>(u: [L; MOST]) -> [L; 3] {
        unsafe { [u[2], u[0].sub(u[1]).sub(u[2]), u[1]] }
    }
}

/// A map whose pixels are doubled first: a tile is one pixel of the small map and two outputs of the large one.
pub(super) struct Enlarged;

// SAFETY of every block below: passed on to the caller.
impl Tiling for Enlarged {
    const PATCH: usize = 3;
    const STEP: usize = 1;
    const BEFORE: usize = 1;
    const POINTS: usize = 3;
    const PRODUCTS: usize = 3;
    const OUT: usize = 2;

    #[inline(always)]
    unsafe fn patch<L: Lanes>(d: [L; MOST]) -> [L; MOST] {
        unsafe { [d[1], d[0].sub(d[1]), d[2].sub(d[1]), d[3], d[4], d[5]] }
    }

    #[inline(always)]
    unsafe fn outputs<L: Lanes>(m: [L; MOST]) -> [L; MOST] {
        unsafe { Whole::outputs(m) }
    }

    #[inline(always)]
    unsafe fn block<L: Lanes>(g: [L; MOST]) -> [L; MOST] {
        unsafe { Whole::block(g) }
    }

    #[inline(always)]
    unsafe fn kernel<L: Lanes>([a, b, c]: [L; 3]) -> [L; MOST] {
        unsafe { [a.add(b).add(c), a, c, c, c, c] }
    }

    #[inline(always)]
    unsafe fn kernel_gradient<L: Lanes>(u: [L; MOST]) -> [L; 3] {
        unsafe { [u[0].add(u[1]), u[0], u[0].add(u[2])] }
    }
}

/// The transpose of [`Enlarged`]: a tile is two gradients of the large map with their neighbours, and one of the small map,
/// over all of whose points products are summed.
pub(super) struct Gathered;

// SAFETY of every block below: passed on to the caller.
impl Tiling for Gathered {
    const PATCH: usize = 4;
    const STEP: usize = 2;
    const BEFORE: usize = 1;
    const POINTS: usize = 3;
    const PRODUCTS: usize = 1;
    const OUT: usize = 1;

    #[inline(always)]
    unsafe fn patch<L: Lanes>(g: [L; MOST]) -> [L; MOST] {
        unsafe { [g[1].add(g[2]), g[3].sub(g[1]), g[0].sub(g[2]), g[3], g[4], g[5]] }
    }

    #[inline(always)]
    unsafe fn outputs<L: Lanes>(m: [L; MOST]) -> [L; MOST] {
        m
    }

    #[inline(always)]
    unsafe fn block<L: Lanes>(_: [L; MOST]) -> [L; MOST] {
        unreachable!("the weights' gradient is that of the enlarged form")
    }

    #[inline(always)]
    unsafe fn kernel<L: Lanes>(w: [L; 3]) -> [L; MOST] {
        unsafe { Enlarged::kernel(w) }
    }

    #[inline(always)]
    unsafe fn kernel_gradient<L: Lanes>(u: [L; MOST]) -> [L; 3] {
        unsafe { Enlarged::kernel_gradient(u) }
    }
}

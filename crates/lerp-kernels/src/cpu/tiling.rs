//! The bilinear forms of tiled 3x3 convolution: transforms in one dimension, which are applied to the columns and the
//! rows of a tile.
//!
//! In each dimension, the pixels under a tile and the kernel are transformed to the same number of *points*, multiplied
//! point by point, and the products are transformed back to the tile's outputs (a bilinear form of Winograd's kind).
//! The image size decides which tiling is used:
//!
//! * [`F43`], F(4, 3): 6 products for 4 outputs. With its points 0, ±3/4, ±3/2, ∞ every constant of the data's
//!   transform is exact in `f32`, and rounding errors are close to the smallest possible: half those of the usual
//!   points 0, ±1, ±2, ∞ (Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution", 2020).
//! * [`F23`], F(2, 3): 4 products for 2 outputs, with the points 0, ±1, ∞.
//! * [`TwoPixels`]: an image of two pixels `a` and `b`, both of whose outer neighbours are zero. With `y₀ = w₁a + w₂b`
//!   and `y₁ = w₀a + w₁b`, the three products `w₁(a+b)`, `(w₂-w₁)b` and `(w₀-w₁)a` are sufficient.
//! * [`Upscaled`]: an image that is upscaled by two first. With `s = w₀+w₁+w₂`, the two outputs over a pixel `x`
//!   between `l` and `r` are `s·x + w₀(l-x)` and `s·x + w₂(r-x)`: three products, two of which are of differences.
//!   [`UpscaledGradient`] is its transpose, for the gradient with respect to the small image.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]

use super::lanes::Lanes;

/// The largest number of pixels, points or outputs that a tile has per dimension. Arrays have this length for every
/// tiling; the compiler removes computations of the unused elements.
pub(super) const MAX_POINTS: usize = 6;

/// A tiling: a bilinear form of convolution, in one dimension.
pub(super) trait Tiling {
    /// Pixels that a tile reads (its patch).
    const PATCH: usize;
    /// Pixels from one tile's patch to the next.
    const STEP: usize;
    /// Pixels of the patch that precede the tile's own first pixel.
    const BEFORE: usize;
    /// Points to which pixels and kernel are transformed.
    const POINTS: usize;
    /// Points whose products are transformed back; 1 if the products are summed over all points.
    const PRODUCTS: usize;
    /// Outputs of a tile.
    const OUT: usize;

    /// Transforms pixels to points.
    unsafe fn patch<L: Lanes>(d: [L; MAX_POINTS]) -> [L; MAX_POINTS];
    /// Transforms products to outputs.
    unsafe fn outputs<L: Lanes>(m: [L; MAX_POINTS]) -> [L; MAX_POINTS];
    /// Transforms gradients of outputs to points: the transpose of [`Self::outputs`].
    unsafe fn block<L: Lanes>(g: [L; MAX_POINTS]) -> [L; MAX_POINTS];
    /// Transforms a kernel to points.
    unsafe fn kernel<L: Lanes>(w: [L; 3]) -> [L; MAX_POINTS];
    /// Transforms the gradients of a kernel's points to that of the kernel: the transpose of [`Self::kernel`].
    unsafe fn kernel_gradient<L: Lanes>(u: [L; MAX_POINTS]) -> [L; 3];
}

/// The choice of a [`Tiling`], as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TilingKind {
    F43,
    F23,
    TwoPixels,
    Upscaled,
    UpscaledGradient,
}

/// Evaluates an expression with the type of a tiling.
macro_rules! with_tiling {
    ($kind:expr, $tiling:ident => $value:expr) => {
        match $kind {
            TilingKind::F43 => {
                type $tiling = F43;
                $value
            }
            TilingKind::F23 => {
                type $tiling = F23;
                $value
            }
            TilingKind::TwoPixels => {
                type $tiling = TwoPixels;
                $value
            }
            TilingKind::Upscaled => {
                type $tiling = Upscaled;
                $value
            }
            TilingKind::UpscaledGradient => {
                type $tiling = UpscaledGradient;
                $value
            }
        }
    };
}

pub(super) use with_tiling;

impl TilingKind {
    /// Pixels that a tile reads, per dimension.
    pub fn patch(self) -> usize {
        with_tiling!(self, T => T::PATCH)
    }

    /// Pixels from one tile's patch to the next.
    pub fn step(self) -> usize {
        with_tiling!(self, T => T::STEP)
    }

    /// Pixels of a patch that precede the tile's own first pixel, per dimension.
    pub fn before(self) -> usize {
        with_tiling!(self, T => T::BEFORE)
    }

    /// Points of a tile, in both dimensions.
    pub fn points(self) -> usize {
        with_tiling!(self, T => T::POINTS * T::POINTS)
    }

    /// Points of a tile whose products are transformed back, in both dimensions.
    pub fn products(self) -> usize {
        with_tiling!(self, T => T::PRODUCTS * T::PRODUCTS)
    }

    /// Outputs of a tile, per dimension.
    pub fn out(self) -> usize {
        with_tiling!(self, T => T::OUT)
    }
}

/// The positive points of F(4, 3) and their squares.
const A: f32 = 0.75;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;

/// The normalising factors of a kernel's points at ±[`A`] and ±[`B`].
const NEAR: f32 = 1.0 / (2.0 * AA * (AA - BB));
const FAR: f32 = 1.0 / (2.0 * BB * (BB - AA));

/// Winograd's F(4, 3).
pub(super) struct F43;

// SAFETY of every block below: the requirements are passed on to the caller.
impl Tiling for F43 {
    const PATCH: usize = 6;
    const STEP: usize = 4;
    const BEFORE: usize = 1;
    const POINTS: usize = 6;
    const PRODUCTS: usize = 6;
    const OUT: usize = 4;

    #[inline(always)]
    unsafe fn patch<L: Lanes>(d: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
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
    unsafe fn outputs<L: Lanes>(m: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
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
    unsafe fn block<L: Lanes>(g: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
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
    unsafe fn kernel<L: Lanes>([a, b, c]: [L; 3]) -> [L; MAX_POINTS] {
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
    unsafe fn kernel_gradient<L: Lanes>(u: [L; MAX_POINTS]) -> [L; 3] {
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

/// Winograd's F(2, 3).
pub(super) struct F23;

// SAFETY of every block below: the requirements are passed on to the caller.
impl Tiling for F23 {
    const PATCH: usize = 4;
    const STEP: usize = 2;
    const BEFORE: usize = 1;
    const POINTS: usize = 4;
    const PRODUCTS: usize = 4;
    const OUT: usize = 2;

    #[inline(always)]
    unsafe fn patch<L: Lanes>(d: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
        unsafe { [d[0].sub(d[2]), d[1].add(d[2]), d[2].sub(d[1]), d[1].sub(d[3]), d[4], d[5]] }
    }

    #[inline(always)]
    unsafe fn outputs<L: Lanes>(m: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
        unsafe { [m[0].add(m[1]).add(m[2]), m[1].sub(m[2]).sub(m[3]), m[2], m[3], m[4], m[5]] }
    }

    #[inline(always)]
    unsafe fn block<L: Lanes>(g: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
        unsafe { [g[0], g[0].add(g[1]), g[0].sub(g[1]), L::splat(0.0).sub(g[1]), g[4], g[5]] }
    }

    #[inline(always)]
    unsafe fn kernel<L: Lanes>([a, b, c]: [L; 3]) -> [L; MAX_POINTS] {
        unsafe {
            let (outer, half) = (a.add(c), L::splat(0.5));
            [a, outer.add(b).mul(half), outer.sub(b).mul(half), c, a, a]
        }
    }

    #[inline(always)]
    unsafe fn kernel_gradient<L: Lanes>(u: [L; MAX_POINTS]) -> [L; 3] {
        unsafe {
            let half = L::splat(0.5);
            let (even, odd) = (u[1].add(u[2]).mul(half), u[1].sub(u[2]).mul(half));
            [u[0].add(even), odd, u[3].add(even)]
        }
    }
}

/// The tiling of an image of two pixels per dimension.
pub(super) struct TwoPixels;

// SAFETY of every block below: the requirements are passed on to the caller.
impl Tiling for TwoPixels {
    const PATCH: usize = 2;
    const STEP: usize = 2;
    const BEFORE: usize = 0;
    const POINTS: usize = 3;
    const PRODUCTS: usize = 3;
    const OUT: usize = 2;

    #[inline(always)]
    unsafe fn patch<L: Lanes>(d: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
        unsafe { [d[0].add(d[1]), d[1], d[0], d[3], d[4], d[5]] }
    }

    #[inline(always)]
    unsafe fn outputs<L: Lanes>(m: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
        unsafe { [m[0].add(m[1]), m[0].add(m[2]), m[2], m[3], m[4], m[5]] }
    }

    #[inline(always)]
    unsafe fn block<L: Lanes>(g: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
        unsafe { [g[0].add(g[1]), g[0], g[1], g[3], g[4], g[5]] }
    }

    #[inline(always)]
    unsafe fn kernel<L: Lanes>([a, b, c]: [L; 3]) -> [L; MAX_POINTS] {
        unsafe { [b, c.sub(b), a.sub(b), c, c, c] }
    }

    #[inline(always)]
    unsafe fn kernel_gradient<L: Lanes>(u: [L; MAX_POINTS]) -> [L; 3] {
        unsafe { [u[2], u[0].sub(u[1]).sub(u[2]), u[1]] }
    }
}

/// The tiling of an image that is upscaled by two first: a tile is one pixel of the small image and two outputs of the
/// large one.
pub(super) struct Upscaled;

// SAFETY of every block below: the requirements are passed on to the caller.
impl Tiling for Upscaled {
    const PATCH: usize = 3;
    const STEP: usize = 1;
    const BEFORE: usize = 1;
    const POINTS: usize = 3;
    const PRODUCTS: usize = 3;
    const OUT: usize = 2;

    #[inline(always)]
    unsafe fn patch<L: Lanes>(d: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
        unsafe { [d[1], d[0].sub(d[1]), d[2].sub(d[1]), d[3], d[4], d[5]] }
    }

    #[inline(always)]
    unsafe fn outputs<L: Lanes>(m: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
        unsafe { TwoPixels::outputs(m) }
    }

    #[inline(always)]
    unsafe fn block<L: Lanes>(g: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
        unsafe { TwoPixels::block(g) }
    }

    #[inline(always)]
    unsafe fn kernel<L: Lanes>([a, b, c]: [L; 3]) -> [L; MAX_POINTS] {
        unsafe { [a.add(b).add(c), a, c, c, c, c] }
    }

    #[inline(always)]
    unsafe fn kernel_gradient<L: Lanes>(u: [L; MAX_POINTS]) -> [L; 3] {
        unsafe { [u[0].add(u[1]), u[0], u[0].add(u[2])] }
    }
}

/// The transpose of [`Upscaled`]: a tile is two gradients of the large image with their neighbours, and one of the
/// small image, for which products are summed over all points.
pub(super) struct UpscaledGradient;

// SAFETY of every block below: the requirements are passed on to the caller.
impl Tiling for UpscaledGradient {
    const PATCH: usize = 4;
    const STEP: usize = 2;
    const BEFORE: usize = 1;
    const POINTS: usize = 3;
    const PRODUCTS: usize = 1;
    const OUT: usize = 1;

    #[inline(always)]
    unsafe fn patch<L: Lanes>(g: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
        unsafe { [g[1].add(g[2]), g[3].sub(g[1]), g[0].sub(g[2]), g[3], g[4], g[5]] }
    }

    #[inline(always)]
    unsafe fn outputs<L: Lanes>(m: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
        m
    }

    #[inline(always)]
    unsafe fn block<L: Lanes>(_: [L; MAX_POINTS]) -> [L; MAX_POINTS] {
        unreachable!("the gradient of the weights is computed by the tiling of the upscaled image")
    }

    #[inline(always)]
    unsafe fn kernel<L: Lanes>(w: [L; 3]) -> [L; MAX_POINTS] {
        unsafe { Upscaled::kernel(w) }
    }

    #[inline(always)]
    unsafe fn kernel_gradient<L: Lanes>(u: [L; MAX_POINTS]) -> [L; 3] {
        unsafe { Upscaled::kernel_gradient(u) }
    }
}

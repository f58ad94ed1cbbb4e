//! Matrix products of which one factor has a vector's lanes as columns.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]
// An index loop over a register array is unrolled and inlined with the instruction set; an iterator's closure is not.
#![allow(clippy::needless_range_loop)]

use super::lanes::{Isa, LANES, Lanes, on_isa};

/// The number of rows of a product is a multiple of this, which is a multiple of the rows that any instruction set
/// takes at a time.
pub(super) const ROW_BLOCK: usize = 8;

/// The initial value of sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Zero; the memory's previous values are overwritten.
    Zero,
    /// The memory's previous values.
    AsIs,
}

/// Computes the matrix product `out[t] = Σ_c a[t·depth + c]·panel[c]` for all rows `t`.
///
/// # Panics
/// If the sizes do not fit together, or the number of rows is not a multiple of [`ROW_BLOCK`].
pub(super) fn product(isa: Isa, a: &[f32], panel: &[[f32; LANES]], out: &mut [[f32; LANES]]) {
    assert!(
        out.len().is_multiple_of(ROW_BLOCK) && a.len() == out.len() * panel.len(),
        "product of unequal sizes"
    );
    // SAFETY: the sizes are checked above; this machine has the instruction set.
    unsafe {
        on_isa!(isa, product_body[8, 4, 4, 2](a: &[f32], panel: &[[f32; LANES]], out: &mut [[f32; LANES]]));
    }
}

/// The loop of [`product`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`product`].
#[inline(always)]
unsafe fn product_body<L: Lanes, const R: usize>(
    a: &[f32],
    panel: &[[f32; LANES]],
    out: &mut [[f32; LANES]],
) {
    // SAFETY: rows lie inside `a`, whose length is checked against `out` and `panel`; R divides the number of rows.
    unsafe {
        let depth = panel.len();
        for t in (0..out.len()).step_by(R) {
            let rows = a.as_ptr().add(t * depth);
            let mut sums = [L::splat(0.0); R];
            for (c, lanes) in panel.iter().enumerate() {
                let lanes = L::load(lanes.as_ptr());
                for r in 0..R {
                    sums[r] = sums[r].fma(L::splat(*rows.add(r * depth + c)), lanes);
                }
            }
            for r in 0..R {
                sums[r].store(out.as_mut_ptr().add(t + r).cast());
            }
        }
    }
}

/// Computes `sum[c] = Σ_t a[t·sum.len() + c]·b[t]`, the product of `a`'s transpose with `b`, which replaces `sum` or is
/// added to it.
///
/// # Panics
/// If the sizes do not fit together, `b` is empty, or the length of `sum` is not a multiple of [`LANES`].
pub(super) fn transposed_product(
    isa: Isa,
    a: &[f32],
    b: &[[f32; LANES]],
    sum: &mut [[f32; LANES]],
    start: Start,
) {
    assert!(
        !b.is_empty() && sum.len().is_multiple_of(LANES) && a.len() == sum.len() * b.len(),
        "product of unequal sizes"
    );
    // SAFETY: the sizes are checked above; this machine has the instruction set.
    unsafe {
        on_isa!(isa, transposed_product_body[16, 4, 4, 2](
            a: &[f32], b: &[[f32; LANES]], sum: &mut [[f32; LANES]], start: Start,
        ));
    }
}

/// The loop of [`transposed_product`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`transposed_product`].
#[inline(always)]
unsafe fn transposed_product_body<L: Lanes, const R: usize>(
    a: &[f32],
    b: &[[f32; LANES]],
    sum: &mut [[f32; LANES]],
    start: Start,
) {
    // SAFETY: as in `product_body`; R divides LANES, which divides the length of `sum`.
    unsafe {
        let width = sum.len();
        for c in (0..width).step_by(R) {
            let to: *mut f32 = sum.as_mut_ptr().add(c).cast();
            let mut sums = [L::splat(0.0); R];
            if start == Start::AsIs {
                for r in 0..R {
                    sums[r] = L::load(to.add(r * LANES));
                }
            }
            let mut from = a.as_ptr().add(c);
            for lanes in b {
                let lanes = L::load(lanes.as_ptr());
                for r in 0..R {
                    sums[r] = sums[r].fma(L::splat(*from.add(r)), lanes);
                }
                from = from.wrapping_add(width);
            }
            for r in 0..R {
                sums[r].store(to.add(r * LANES));
            }
        }
    }
}

//! L-BFGS, a quasi-Newton method for minimising smooth convex functions.

use std::collections::VecDeque;

use crate::Result;

/// The number of steps whose curvature is remembered (Nocedal, "Updating quasi-Newton matrices with limited
/// storage", 1980).
const MEMORY: usize = 10;
/// The number of steps over which the value must fall by more than the tolerance.
const PATIENCE: usize = 10;
/// The minimum value that the relative tolerance applies to: a function with its minimum at infinity would
/// otherwise decrease forever.
const MIN_VALUE: f64 = 1e-2;
/// The maximum number of halvings of a step in the line search.
const HALVINGS: usize = 30;

/// The result of a minimisation.
pub(crate) struct Minimum {
    pub(crate) at: Vec<f64>,
    pub(crate) iterations: usize,
    /// Whether it ended before the maximum number of iterations.
    pub(crate) converged: bool,
}

/// Minimises `f`, which returns value and gradient, starting at `at`. The minimisation ends when [`PATIENCE`] steps
/// lower the value by no more than `tolerance` times the value, or when no step lowers it.
///
/// # Errors
/// If `f` fails.
pub(crate) fn minimise(
    mut at: Vec<f64>,
    max_iterations: usize,
    tolerance: f64,
    f: impl Fn(&[f64]) -> Result<(f64, Vec<f64>)>,
) -> Result<Minimum> {
    let (mut value, mut gradient) = f(&at)?;
    let mut values = vec![value];
    let mut pairs: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::with_capacity(MEMORY);
    for iterations in 0..max_iterations {
        let direction = direction(&gradient, &pairs);
        let slope = dot(&gradient, &direction);
        // The gradient is zero, or not a number.
        if slope.is_nan() || slope >= 0.0 {
            return Ok(Minimum { at, iterations, converged: true });
        }
        let mut step = if pairs.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let mut accepted = None;
        for _ in 0..HALVINGS {
            let next: Vec<f64> = at.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
            let (next_value, next_gradient) = f(&next)?;
            if next_value <= value + 1e-4 * step * slope {
                accepted = Some((next, next_value, next_gradient));
                break;
            }
            step /= 2.0;
        }
        let Some((next, next_value, next_gradient)) = accepted else {
            // Further decreases would be smaller than the rounding errors of the value.
            return Ok(Minimum { at, iterations, converged: true });
        };
        let moved: Vec<f64> = next.iter().zip(&at).map(|(a, b)| a - b).collect();
        let turned: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&moved, &turned);
        if curvature > 1e-12 * dot(&turned, &turned).sqrt() * dot(&moved, &moved).sqrt() {
            if pairs.len() == MEMORY {
                pairs.pop_front();
            }
            pairs.push_back((moved, turned, curvature));
        }
        (at, value, gradient) = (next, next_value, next_gradient);
        values.push(value);
        if let Some(before) = values.len().checked_sub(PATIENCE + 1).map(|i| values[i])
            && before - value <= tolerance * value.abs().max(MIN_VALUE)
        {
            return Ok(Minimum { at, iterations: iterations + 1, converged: true });
        }
    }
    Ok(Minimum { at, iterations: max_iterations, converged: false })
}

/// Returns minus the gradient times an estimate of the inverse Hessian: the two-loop recursion of L-BFGS.
fn direction(gradient: &[f64], pairs: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut factors = Vec::with_capacity(pairs.len());
    for (moved, turned, curvature) in pairs.iter().rev() {
        let factor = dot(moved, &direction) / curvature;
        add(&mut direction, -factor, turned);
        factors.push(factor);
    }
    if let Some((_, turned, curvature)) = pairs.back() {
        let scale = curvature / dot(turned, turned);
        for d in &mut direction {
            *d *= scale;
        }
    }
    for ((moved, turned, curvature), factor) in pairs.iter().zip(factors.into_iter().rev()) {
        let back = dot(turned, &direction) / curvature;
        add(&mut direction, factor - back, moved);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, what: &[f64]) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += factor * what;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ill_conditioned_quadratic_is_minimised() {
        // The function is the sum of s_i (x_i - i)^2 with s from 1 to 10^4.
        let scales: Vec<f64> = (0..9).map(|i| 10_f64.powf(f64::from(i) / 2.0)).collect();
        let f = |x: &[f64]| {
            let off: Vec<f64> = x.iter().enumerate().map(|(i, x)| x - i as f64).collect();
            let value = off.iter().zip(&scales).map(|(o, s)| s * o * o).sum();
            Ok((value, off.iter().zip(&scales).map(|(o, s)| 2.0 * s * o).collect()))
        };
        let found = minimise(vec![0.0; 9], 500, 1e-12, f).unwrap();
        assert!(found.converged && found.iterations < 100, "{}", found.iterations);
        assert!(found.at.iter().enumerate().all(|(i, x)| (x - i as f64).abs() < 1e-5), "{:?}", found.at);
        assert!(!minimise(vec![0.0; 9], 3, 1e-12, f).unwrap().converged, "out of steps");
        assert_eq!(
            minimise((0..9).map(f64::from).collect(), 3, 1e-12, f).unwrap().iterations,
            0,
            "there already"
        );
    }
}

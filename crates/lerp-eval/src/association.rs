//! Spearman's rank correlation of two quantities, with a permutation test and a bootstrap interval.

use candle_core::Device;
use lerp_core::Draws;
use rayon::prelude::*;

use crate::{
    compare::{Weighted, quantile},
    ranks::shared_ranks,
    stats::Interval,
};

/// The maximum number of permutations that are enumerated, which is that of eight points; of more points, random
/// permutations are drawn.
const MAX_ENUMERATED: f64 = 40_320.0;
/// The number of random permutations, and of bootstrap resamples.
const RANDOM_RESAMPLES: u64 = 10_000;
/// The minimum number of points for an interval; with fewer it would be far too narrow.
const MIN_RESAMPLED: usize = 10;
/// The maximum number of points that [`Association::points_needed`] reports.
const MAX_POINTS: f64 = 100_000.0;

/// Points: a value of each of two quantities.
type Points = Vec<(f64, f64)>;

/// A rank correlation; see [`spearman`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Association {
    /// The rank correlation, from -1, where one quantity falls as the other rises, to 1, where both rise together.
    pub rho: f64,
    /// The two-sided p-value: the probability of a correlation at least as far from 0 if the two quantities are
    /// independent.
    pub p: f64,
    /// The 95 % interval of `rho`; `None` for fewer than ten points.
    pub interval: Option<Interval>,
    /// Number of points that it was computed from.
    pub points: usize,
    /// Approximate number of points, more than these, at which a correlation of this size differs from 0 at 5 %,
    /// two-sided, with a power of 80 %. `None` if the correlation is 0, or if it takes more than 100,000 points.
    pub points_needed: Option<usize>,
}

/// Returns Spearman's rank correlation of the first and the second values of points ("The proof and measurement of
/// association between two things", 1904). Equal values share the mean of their ranks. Points with a value that is
/// not finite are left out. Returns `None` if fewer than three points remain, or if all their first or all their
/// second values are equal. The result is deterministic.
///
/// The two-sided p-value is that of a permutation test: the share of permutations of the second values whose
/// correlation is at least as large in magnitude. From nine points on it is estimated from 10,000 random
/// permutations, with the observed order counted among them, so it is never below 1/10,001 (Davison and Hinkley,
/// "Bootstrap Methods and their Application", 1997, section 4.2).
///
/// The interval is the percentile bootstrap's, from 10,000 resamples of points, ranked anew (Efron and Tibshirani,
/// "An Introduction to the Bootstrap", 1993, chapter 13). Resamples in which all first or all second values are
/// equal are skipped. For few points the interval is too narrow, and for a perfect order it is a single number.
///
/// [`Association::points_needed`] uses Fisher's z with a variance of 1.06 / (n - 3) (Fieller, Hartley and Pearson,
/// "Tests for rank correlation coefficients. I", 1957).
///
/// ```
/// let points = [(1.0, 10.0), (2.0, 30.0), (3.0, 20.0), (4.0, 40.0)];
/// let found = lerp_eval::spearman(&points).expect("four different points have a correlation");
/// assert!((found.rho - 0.8).abs() < 1e-12);
/// assert!((found.p - 1.0 / 3.0).abs() < 1e-12, "8 of the 24 orders are at least as far from 0");
/// ```
pub fn spearman(points: &[(f64, f64)]) -> Option<Association> {
    let points = finite(points);
    if points.len() < 3 {
        return None;
    }
    let ranks = Ranks::of(&points)?;
    let rho = ranks.correlation();
    Some(Association {
        rho,
        p: permutation_p(&ranks),
        interval: (points.len() >= MIN_RESAMPLED).then(|| bootstrap_interval(&points)).flatten(),
        points: points.len(),
        points_needed: points_needed(rho, points.len()),
    })
}

/// Returns the correlation of [`spearman`] alone, for points that are not independent of each other, for which its
/// p-value and interval do not hold. Returns `None` as [`spearman`] does.
pub fn rank_correlation(points: &[(f64, f64)]) -> Option<f64> {
    let points = finite(points);
    if points.len() < 3 { None } else { Some(Ranks::of(&points)?.correlation()) }
}

/// Combines groups of measurements into one point for each candidate. Each group, such as a dataset, has a point
/// for every candidate, such as a variant, and values of different groups are not comparable. A candidate's point
/// is its mean rank over the groups, on both sides, with rank 1 for the lowest value. [`spearman`] of these points
/// measures the association over all groups, with the number of candidates as sample size, since measurements of
/// one candidate are not independent of each other.
///
/// # Panics
/// If groups differ in length: each must have a point for every candidate, in the same order.
pub fn within_groups(groups: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let candidates = groups.first().map_or(0, Vec::len);
    assert!(groups.iter().all(|group| group.len() == candidates), "a group lacks a candidate");
    let side = |of: fn(&(f64, f64)) -> f64| -> Vec<f64> {
        let ranks: Vec<Vec<f64>> =
            groups.iter().map(|group| shared_ranks(&group.iter().map(of).collect::<Vec<_>>())).collect();
        let mean = |i: usize| ranks.iter().map(|ranks| ranks[i]).sum::<f64>() / ranks.len() as f64;
        (0..candidates).map(mean).collect()
    };
    side(|point| point.0).into_iter().zip(side(|point| point.1)).collect()
}

fn finite(points: &[(f64, f64)]) -> Points {
    points.iter().copied().filter(|(a, b)| a.is_finite() && b.is_finite()).collect()
}

/// The centred ranks of the first and the second values.
struct Ranks {
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Ranks {
    /// Ranks the values of points. Returns `None` if all values of a side are equal.
    fn of(points: &[(f64, f64)]) -> Option<Self> {
        let mean = f64::midpoint(points.len() as f64, 1.0);
        let side = |of: fn(&(f64, f64)) -> f64| -> Vec<f64> {
            let values: Vec<f64> = points.iter().map(of).collect();
            shared_ranks(&values).into_iter().map(|rank| rank - mean).collect()
        };
        let ranks = Self { first: side(|point| point.0), second: side(|point| point.1) };
        let differ = |ranks: &[f64]| ranks.iter().any(|rank| *rank != 0.0);
        (differ(&ranks.first) && differ(&ranks.second)).then_some(ranks)
    }

    fn correlation(&self) -> f64 {
        let squares = dot(&self.first, &self.first) * dot(&self.second, &self.second);
        (dot(&self.first, &self.second) / squares.sqrt()).clamp(-1.0, 1.0)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Returns the p-value of the permutation test: the share of permutations of the second ranks whose correlation is
/// at least as large in magnitude as the observed one. Only the sum of products depends on the permutation.
fn permutation_p(Ranks { first, second }: &Ranks) -> f64 {
    let points = first.len();
    // The tolerance makes sums that differ only by rounding equal.
    let least = dot(first, second).abs() - 1e-12 * (points as f64).powi(3);
    if (1..=points).map(|i| i as f64).product::<f64>() <= MAX_ENUMERATED {
        let mut sums = Vec::new();
        enumerate(first, &mut second.clone(), 0.0, &mut sums);
        return sums.iter().filter(|sum| sum.abs() >= least).count() as f64 / sums.len() as f64;
    }
    let draws = Draws::new(0, &Device::Cpu);
    let drawn = |i: u64| {
        let keys = draws.at(i).words("orders", points).into_iter();
        let mut order: Vec<(u32, f64)> = keys.zip(second.iter().copied()).collect();
        order.sort_by_key(|(key, _)| *key);
        first.iter().zip(&order).map(|(a, (_, b))| a * b).sum::<f64>()
    };
    let as_far = (0..RANDOM_RESAMPLES).into_par_iter().filter(|i| drawn(*i).abs() >= least).count();
    (as_far + 1) as f64 / (RANDOM_RESAMPLES + 1) as f64
}

/// Appends to `sums` the sum of products of `first` with every permutation of `second`, each added to `sum`.
fn enumerate(first: &[f64], second: &mut [f64], sum: f64, sums: &mut Vec<f64>) {
    let Some((value, rest)) = first.split_first() else {
        sums.push(sum);
        return;
    };
    for i in 0..second.len() {
        second.swap(0, i);
        let sum = sum + value * second[0];
        enumerate(rest, &mut second[1..], sum, sums);
        second.swap(0, i);
    }
}

/// Returns the 95 % percentile interval over resamples of points; `None` if no resample has a correlation.
fn bootstrap_interval(points: &Points) -> Option<Interval> {
    let draws = Draws::new(0, &Device::Cpu);
    let count = points.len();
    let drawn = |i: u64| {
        let pick = |u: f64| points[((u * count as f64) as usize).min(count - 1)];
        let picks = draws.at(i).uniforms_f64("points", count).into_iter().map(pick);
        Ranks::of(&picks.collect::<Points>()).map(|ranks| ranks.correlation())
    };
    let weighted = |rho: f64| Weighted { value: rho, weight: 1.0 };
    let mut found: Vec<Weighted> =
        (0..RANDOM_RESAMPLES).into_par_iter().filter_map(|i| drawn(i).map(weighted)).collect();
    found.sort_by(|a, b| a.value.total_cmp(&b.value));
    let share = 0.025 * found.len() as f64;
    (!found.is_empty())
        .then(|| Interval { low: quantile(found.iter(), share), high: quantile(found.iter().rev(), share) })
}

/// Returns the number of points at which `rho` differs from 0: more than the `known` ones, and at least five,
/// because with four even a perfect order is not significant.
fn points_needed(rho: f64, known: usize) -> Option<usize> {
    // 1.96 and 0.8416 are the 97.5 % and 80 % quantiles of the standard normal distribution.
    let away = (1.96 + 0.8416) / rho.abs().atanh();
    let points = (1.06 * away.powi(2) + 3.0).ceil().max(5.0).max((known + 1) as f64);
    (rho != 0.0 && points <= MAX_POINTS).then_some(points as usize)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    /// Returns `n` pairs of normal values from a distribution with correlation `r`.
    fn normal(seed: u64, n: usize, r: f64) -> Points {
        let draws = Draws::new(seed, &Device::Cpu);
        let [a, b] = ["a", "b"].map(|stream| draws.normals(stream, n).into_iter().map(f64::from));
        a.zip(b).map(|(a, b)| (a, r * a + (1.0 - r * r).sqrt() * b)).collect()
    }

    fn zip(a: &[f64], b: &[f64]) -> Points {
        a.iter().copied().zip(b.iter().copied()).collect()
    }

    #[test]
    fn correlations_and_p_values_equal_scipys() {
        // scipy.stats.spearmanr(x, y).statistic                                        # SciPy 1.17
        // scipy.stats.permutation_test((x,), lambda x: abs(scipy.stats.spearmanr(x, y).statistic),
        //     permutation_type="pairings", n_resamples=50_000, alternative="greater").pvalue
        let x = [1.2, 0.4, 3.1, 2.2, 5.0, 2.9, 0.1];
        let found = spearman(&zip(&x, &[0.3, 0.5, 0.9, 0.2, 1.4, 1.1, 0.4])).unwrap();
        assert!((found.rho - 0.642_857_142_857_143).abs() < 1e-12, "{found:?}");
        assert!((found.p - 0.138_888_888_888_888_9).abs() < 1e-12, "{found:?}");
        // The second example has ties on both sides.
        let x = [1.0, 2.0, 2.0, 3.0, 5.0, 4.0, 4.0];
        let found = spearman(&zip(&x, &[0.1, 0.1, 0.1, 0.5, 0.4, 0.9, 0.2])).unwrap();
        assert!((found.rho - 0.735_980_072_193_987_3).abs() < 1e-12, "{found:?}");
        assert!((found.p - 0.085_714_285_714_285_71).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn random_permutations_approximate_all_permutations() {
        // x = np.arange(20.); y = x + 18 * np.sin(x * x)
        // scipy.stats.spearmanr(x, y), and permutation_test as above with n_resamples=40_000. The p-value of the
        // latter is 0.1471, and that of Student's t is 0.1484.
        let points: Points = (0..20).map(f64::from).map(|i| (i, i + 18.0 * (i * i).sin())).collect();
        let found = spearman(&points).unwrap();
        assert!((found.rho - 0.335_338_345_864_661_66).abs() < 1e-12, "{found:?}");
        assert!((found.p - 0.1475).abs() < 0.011, "{found:?}");
        assert_eq!(spearman(&points), Some(found), "the same every time");
    }

    #[test]
    fn correlations_depend_on_ranks_alone() {
        let rising: Points = (1..=6).map(f64::from).map(|i| (i, i.exp())).collect();
        let found = spearman(&rising).unwrap();
        // Two of the 6! permutations are perfect.
        assert_eq!((found.rho, found.p), (1.0, 2.0 / 720.0));
        assert_eq!((found.interval, found.points, found.points_needed), (None, 6, Some(7)));
        let falling: Points = (1..=30).map(f64::from).map(|i| (i, -i)).collect();
        let found = spearman(&falling).unwrap();
        assert_eq!((found.rho, found.p, found.points_needed), (-1.0, 1.0 / 10_001.0, Some(31)));
        // With a correlation of 0, every permutation is at least as far from it.
        let none = spearman(&zip(&[1.0, 2.0, 3.0], &[1.0, 2.0, 1.0])).unwrap();
        assert_eq!((none.rho, none.p, none.interval, none.points_needed), (0.0, 1.0, None, None));
    }

    #[test]
    fn the_number_of_points_for_significance() {
        // 3 + 1.06 * (2.8016 / atanh(0.5))^2 = 30.57, and 3 + 1.06 * (2.8016 / atanh(0.1))^2 = 829.4
        assert_eq!(
            (points_needed(0.5, 7), points_needed(-0.5, 7), points_needed(0.1, 7)),
            (Some(31), Some(31), Some(830))
        );
        // The result is more than the known points, and at least five.
        assert_eq!((points_needed(0.5, 40), points_needed(0.99, 3)), (Some(41), Some(5)));
        assert_eq!((points_needed(0.009, 7), points_needed(0.0, 7)), (None, None));
    }

    #[test]
    fn too_few_or_constant_values_have_no_correlation() {
        assert_eq!(spearman(&[]), None);
        assert_eq!(spearman(&[(1.0, 2.0), (2.0, 3.0)]), None);
        assert_eq!(spearman(&zip(&[1.0, 2.0, 3.0], &[5.0; 3])), None);
        assert_eq!(spearman(&zip(&[-0.0, 0.0, 0.0], &[1.0, 2.0, 3.0])), None);
        let gaps = zip(&[1.0, f64::NAN, 2.0, 9.0, 3.0], &[1.0, 2.0, 3.0, f64::INFINITY, 2.0]);
        assert_eq!(spearman(&gaps), spearman(&zip(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0])));
        assert_eq!(spearman(&gaps[..4]), None);
        assert_eq!(rank_correlation(&gaps), Some(0.5));
        assert_eq!(rank_correlation(&gaps[..2]), None);
    }

    #[test]
    fn candidates_of_several_groups_are_counted_once() {
        // The values fall within groups and rise over all points.
        let group =
            |level: f64| -> Points { (0..4).map(f64::from).map(|i| (level + i, level - i)).collect() };
        let groups = [group(0.0), group(100.0), group(200.0)];
        assert!(spearman(&groups.concat()).unwrap().rho > 0.5);
        let found = spearman(&within_groups(&groups)).unwrap();
        // Two of the 4! permutations of four candidates are perfect, however often the candidates were measured.
        assert_eq!((found.rho, found.p, found.points), (-1.0, 2.0 / 24.0, 4));
        let mixed = [zip(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]), zip(&[5.0, 9.0, 7.0], &[0.1, 0.2, 0.2])];
        assert_eq!(within_groups(&mixed), [(1.0, 1.0), (2.5, 2.75), (2.5, 2.25)]);
        assert!(within_groups(&[]).is_empty());
    }

    #[test]
    fn p_values_of_independent_values_are_uniform() {
        let p = |seed| permutation_p(&Ranks::of(&normal(seed, 14, 0.0)).unwrap());
        let all: Vec<f64> = (0..200).map(p).collect();
        let below = |level: f64| all.iter().filter(|p| **p < level).count();
        assert!((2..16).contains(&below(0.05)), "{}", below(0.05));
        assert!((80..120).contains(&below(0.5)), "{}", below(0.5));
    }

    #[test]
    fn intervals_contain_the_truth() {
        // The true Spearman correlation of normal values with Pearson correlation 0.6.
        let truth = 6.0 / PI * (0.6_f64 / 2.0).asin();
        let contains = |seed: &u64| {
            let found = spearman(&normal(*seed, 40, 0.6)).unwrap();
            let Interval { low, high } = found.interval.unwrap();
            assert!(low < found.rho && found.rho < high, "{found:?}");
            low <= truth && truth <= high
        };
        let right = (0..100).filter(contains).count();
        assert!(right >= 88, "{right} of 100");
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let points = normal(1, 20, 0.3);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| spearman(&points).unwrap())
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
    }
}

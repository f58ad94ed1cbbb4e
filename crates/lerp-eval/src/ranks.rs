//! Mean ranks over several tables, and tests of their differences (Demšar, "Statistical Comparisons of Classifiers
//! over Multiple Data Sets", 2006).

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Critical values of the studentised range over √2 at 5 %, for two to ten candidates: Demšar's table 5a.
const CRITICAL: [f64; 9] = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164];

/// The ranks of candidates in several tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// Ranks by table, 1 for the best; equal values share their mean rank.
    pub ranks: Vec<Vec<f64>>,
    /// The mean rank of each candidate.
    pub mean: Vec<f64>,
    /// The p-value of Friedman's test, corrected for ties: the probability of rank differences at least this large
    /// if all candidates are equally good. NaN if all values are equal in every table.
    pub friedman_p: f64,
    /// The critical difference of Nemenyi's test: two mean ranks that differ by less do not differ significantly at
    /// 5 %. `None` for more than ten candidates.
    pub critical_difference: Option<f64>,
}

/// Ranks candidates; each table has a value for each candidate, and lower values are better. Returns `None` if
/// there are fewer than two candidates or tables, if a value is NaN, or if tables differ in length.
///
/// ```
/// // Two tables with the values of three candidates each.
/// let tables = [vec![0.1, 0.3, 0.2], vec![0.5, 0.7, 0.7]];
/// let ranking = lerp_eval::rank(&tables).expect("the tables are complete");
/// assert_eq!(ranking.mean, [1.0, 2.75, 2.25]);
/// ```
pub fn rank(tables: &[Vec<f64>]) -> Option<Ranking> {
    let candidates = tables.first()?.len();
    let whole = |table: &Vec<f64>| table.len() == candidates && table.iter().all(|value| !value.is_nan());
    if tables.len() < 2 || candidates < 2 || !tables.iter().all(whole) {
        return None;
    }
    let ranks: Vec<Vec<f64>> = tables.iter().map(|table| shared_ranks(table)).collect();
    let (n, k) = (tables.len() as f64, candidates as f64);
    let sums: Vec<f64> = (0..candidates).map(|i| ranks.iter().map(|ranks| ranks[i]).sum()).collect();
    let squares: f64 = sums.iter().map(|sum| sum * sum).sum();
    // Each group of t equal values reduces the possible spread of ranks by t^3 - t.
    let ties: f64 = tables.iter().map(|table| tied(table)).sum();
    let spread = 1.0 - ties / (n * (k.powi(3) - k));
    let statistic = (12.0 / (n * k * (k + 1.0)) * squares - 3.0 * n * (k + 1.0)) / spread;
    let chi = ChiSquared::new(k - 1.0).ok()?;
    Some(Ranking {
        mean: sums.iter().map(|sum| sum / n).collect(),
        friedman_p: if spread > 0.0 { chi.sf(statistic) } else { f64::NAN },
        critical_difference: CRITICAL.get(candidates - 2).map(|q| q * (k * (k + 1.0) / (6.0 * n)).sqrt()),
        ranks,
    })
}

/// Returns the ranks of values, 1 for the lowest; equal values share their mean rank.
pub(crate) fn shared_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let (mut ranks, mut below) = (vec![0.0; values.len()], 0);
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        for i in equal {
            ranks[*i] = below as f64 + f64::midpoint(equal.len() as f64, 1.0);
        }
        below += equal.len();
    }
    ranks
}

/// Returns the sum of t^3 - t over groups of t equal values, computed as t^2 - 1 for each value of a group.
fn tied(values: &[f64]) -> f64 {
    let equal = |value: f64| values.iter().filter(|other| **other == value).count() as f64;
    values.iter().map(|value| equal(*value).powi(2) - 1.0).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_p_values_equal_scipys() {
        // Three candidates in four tables, with the p-value of
        // `scipy.stats.friedmanchisquare(*zip(*tables)).pvalue`.
        let tables = [[0.1, 0.3, 0.2], [0.1, 0.2, 0.2], [0.3, 0.2, 0.4], [0.1, 0.4, 0.2]].map(Vec::from);
        let found = rank(&tables).unwrap();
        assert_eq!(found.ranks[1], [1.0, 2.5, 2.5]);
        assert_eq!(found.mean, [1.25, 2.375, 2.375]);
        assert!((found.friedman_p - 0.165_298_888_221_586_53).abs() < 1e-12, "{}", found.friedman_p);
        // The expected critical difference is 2.343 * sqrt(3 * 4 / (6 * 4)).
        assert!((found.critical_difference.unwrap() - 1.6567).abs() < 1e-4);
    }

    #[test]
    fn incomplete_tables_are_not_ranked() {
        assert_eq!(rank(&[]), None);
        assert_eq!(rank(&[vec![1.0, 2.0]]), None);
        assert_eq!(rank(&[vec![1.0], vec![2.0]]), None);
        assert_eq!(rank(&[vec![1.0, 2.0], vec![2.0, f64::NAN]]), None);
        assert_eq!(rank(&[vec![1.0, 2.0], vec![2.0]]), None);
        let equal = rank(&[vec![1.0, 1.0], vec![2.0, 2.0]]).unwrap();
        assert!(equal.friedman_p.is_nan() && equal.mean == [1.5, 1.5]);
        let many: Vec<f64> = (0..11).map(f64::from).collect();
        assert_eq!(rank(&[many.clone(), many]).unwrap().critical_difference, None);
    }
}

//! The agreement of clusters with classes.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// Returns the share of examples whose cluster is matched to their class, with clusters and classes matched one to
/// one so that this share is largest (section 4.2).
///
/// The numbers of clusters and of classes may differ; clusters or classes in excess are matched to nothing.
///
/// # Shapes
/// `assigned` `[examples]`, cluster numbers; `labels` `[examples]`, class numbers. Both may be arbitrary numbers.
///
/// # Errors
/// If there are no examples or the lengths differ.
///
/// # Examples
/// ```
/// use lerp_eval::clustering::{matched_accuracy, normalised_mutual_information};
///
/// // Clusters 7 and 2 stand for the classes 0 and 1; one example is in the wrong one.
/// let (clusters, classes) = ([7, 7, 7, 2], [0, 0, 1, 1]);
/// assert_eq!(matched_accuracy(&clusters, &classes)?, 0.75);
/// assert!(normalised_mutual_information(&clusters, &classes)? < 1.0);
/// # Ok::<(), lerp_eval::Error>(())
/// ```
pub fn matched_accuracy(assigned: &[u32], labels: &[u32]) -> Result<f64> {
    let table = contingency(assigned, labels)?;
    Ok(largest_matching(&table) as f64 / assigned.len() as f64)
}

/// Returns the normalised mutual information of clusters and classes, from 0 to 1: their mutual information over
/// the arithmetic mean of their entropies; 1 if both entropies are 0, with one cluster and one class.
///
/// # Shapes
/// `assigned` `[examples]`, cluster numbers; `labels` `[examples]`, class numbers.
///
/// # Errors
/// If there are no examples or the lengths differ.
pub fn normalised_mutual_information(assigned: &[u32], labels: &[u32]) -> Result<f64> {
    let table = contingency(assigned, labels)?;
    let n = assigned.len() as f64;
    let rows: Vec<u64> = table.iter().map(|row| row.iter().sum()).collect();
    let columns: Vec<u64> = (0..table[0].len()).map(|j| table.iter().map(|row| row[j]).sum()).collect();
    let entropy = |counts: &[u64]| -> f64 {
        counts.iter().map(|c| *c as f64 / n).filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum()
    };
    let mean_entropy = f64::midpoint(entropy(&rows), entropy(&columns));
    if mean_entropy == 0.0 {
        return Ok(1.0);
    }
    let mut information = 0.0;
    for (row, row_sum) in table.iter().zip(&rows) {
        for (count, column_sum) in row.iter().zip(&columns).filter(|(count, _)| **count > 0) {
            let count = *count as f64;
            information += count / n * (count * n / (*row_sum as f64 * *column_sum as f64)).ln();
        }
    }
    Ok((information / mean_entropy).clamp(0.0, 1.0))
}

/// Returns the number of examples of each class in each cluster: a row per cluster and a column per class, both in
/// ascending order of their numbers.
fn contingency(assigned: &[u32], labels: &[u32]) -> Result<Vec<Vec<u64>>> {
    if assigned.len() != labels.len() || labels.is_empty() {
        let wanted = format!("[{}], one an example, and at least one", labels.len());
        return Err(Error::Shape { what: "cluster numbers", wanted, given: vec![assigned.len()] });
    }
    let index = |numbers: &[u32]| -> BTreeMap<u32, usize> {
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.into_iter().enumerate().map(|(i, number)| (number, i)).collect()
    };
    let (rows, columns) = (index(assigned), index(labels));
    let mut table = vec![vec![0; columns.len()]; rows.len()];
    for (cluster, class) in assigned.iter().zip(labels) {
        table[rows[cluster]][columns[class]] += 1;
    }
    Ok(table)
}

/// Returns the largest sum of entries of which no two share a row or a column, by the Hungarian method with
/// potentials and shortest augmenting paths (Kuhn 1955, Munkres 1957; in this form Jonker and Volgenant 1987).
fn largest_matching(table: &[Vec<u64>]) -> u64 {
    // The table is padded with zeros to a square. Index 0 is a sentinel for "none", so all indices are shifted by
    // one.
    let side = table.len().max(table[0].len());
    let gain = |row: usize, column: usize| -> i64 {
        table.get(row - 1).and_then(|r| r.get(column - 1)).map_or(0, |count| *count as i64)
    };
    let (mut row_potential, mut column_potential) = (vec![0_i64; side + 1], vec![0_i64; side + 1]);
    let mut row_of = vec![0; side + 1];
    for row in 1..=side {
        row_of[0] = row;
        let mut column = 0;
        let mut slack = vec![i64::MAX; side + 1];
        let mut came_from = vec![0; side + 1];
        let mut seen = vec![false; side + 1];
        while row_of[column] != 0 {
            seen[column] = true;
            let (from, mut step, mut next) = (row_of[column], i64::MAX, 0);
            for j in (1..=side).filter(|j| !seen[*j]) {
                // Costs are negative gains.
                let reduced = -gain(from, j) - row_potential[from] - column_potential[j];
                if reduced < slack[j] {
                    (slack[j], came_from[j]) = (reduced, column);
                }
                if slack[j] < step {
                    (step, next) = (slack[j], j);
                }
            }
            for j in 0..=side {
                if seen[j] {
                    row_potential[row_of[j]] += step;
                    column_potential[j] -= step;
                } else if j > 0 {
                    slack[j] -= step;
                }
            }
            column = next;
        }
        while column != 0 {
            row_of[column] = row_of[came_from[column]];
            column = came_from[column];
        }
    }
    (1..=side).map(|column| gain(row_of[column], column) as u64).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_renaming_of_classes_has_perfect_agreement() {
        let labels = [0, 0, 1, 1, 2, 2, 2, 9];
        let renamed: Vec<u32> = labels.iter().map(|l| 700 - 3 * l).collect();
        assert_eq!(matched_accuracy(&renamed, &labels).unwrap(), 1.0);
        assert!((normalised_mutual_information(&renamed, &labels).unwrap() - 1.0).abs() < 1e-15);
    }

    #[test]
    fn greedy_matching_is_not_enough() {
        // Cluster 0 has 5 examples of class 0 and 4 of class 1, and cluster 1 has 4 of class 0. A greedy choice of
        // the 5 first gives 5 in total, and the best matching 8.
        let assigned = [[0; 9].as_slice(), &[1; 4]].concat();
        let labels = [[0; 5].as_slice(), &[1; 4], &[0; 4]].concat();
        assert_eq!(matched_accuracy(&assigned, &labels).unwrap(), 8.0 / 13.0);
    }

    #[test]
    fn clusters_and_classes_may_differ_in_number() {
        // One cluster matches at most one class, and one class at most one cluster.
        assert_eq!(matched_accuracy(&[4; 6], &[0, 0, 0, 1, 1, 2]).unwrap(), 0.5);
        assert_eq!(matched_accuracy(&[0, 0, 0, 1, 1, 2], &[4; 6]).unwrap(), 0.5);
        assert_eq!(matched_accuracy(&[1, 2, 3], &[7, 7, 7]).unwrap(), 1.0 / 3.0, "three equally good ways");
        assert!(matched_accuracy(&[], &[]).is_err());
        assert!(matched_accuracy(&[1], &[1, 2]).unwrap_err().to_string().contains("[2]"));
    }

    #[test]
    fn mutual_information_equals_known_values() {
        let nmi = |a: &[u32], b: &[u32]| normalised_mutual_information(a, b).unwrap();
        assert_eq!(nmi(&[0, 0, 1, 1], &[0, 1, 0, 1]), 0.0, "independent");
        assert_eq!(nmi(&[3, 3], &[8, 8]), 1.0);
        assert_eq!(nmi(&[3, 3], &[8, 9]), 0.0);
        // The entropies are ln 2 and 3/2 ln 2, and the mutual information is ln 2.
        assert!((nmi(&[0, 0, 1, 1], &[0, 0, 1, 2]) - 0.8).abs() < 1e-15);
        assert!(normalised_mutual_information(&[0], &[0, 1]).is_err());
    }

    /// Returns the largest sum by trying all matchings.
    fn brute_force(table: &[Vec<u64>], row: usize, taken: u32) -> u64 {
        if row == table.len() {
            return 0;
        }
        let left_out = brute_force(table, row + 1, taken);
        let columns = (0..table[row].len()).filter(|j| taken >> j & 1 == 0);
        columns.map(|j| table[row][j] + brute_force(table, row + 1, taken | 1 << j)).fold(left_out, u64::max)
    }

    proptest! {
        #[test]
        fn matching_equals_brute_force(
            table in (1_usize..6, 1_usize..6)
                .prop_flat_map(|(r, c)| prop::collection::vec(prop::collection::vec(0_u64..12, c), r))
        ) {
            prop_assert_eq!(largest_matching(&table), brute_force(&table, 0, 0));
        }
    }
}

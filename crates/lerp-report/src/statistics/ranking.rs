//! Average ranks of the variants over all tables, and tests of whether they differ by more than chance (Demšar, 2006).

use lerp_eval::{Better, Quantity, Ranking, rank};

use crate::{
    reading::{RunGroup, SizedImageSet, Sweep, distinct, title_of},
    text::{fixed, p_value, unique_by},
};

/// A column of the ranking: a table's metric on lines or on an image set.
pub struct RankColumn<'a> {
    /// The metric that the table shows.
    pub metric: &'static Quantity,
    /// The image set; `None` for lines.
    pub set: Option<&'a SizedImageSet>,
    /// The name of the table that the numbers are from.
    pub table: &'static str,
}

impl RankColumn<'_> {
    /// Returns the heading of the column.
    pub fn name(&self) -> String {
        format!("{}: {}", title_of(self.set), self.metric.title.to_lowercase())
    }

    /// Returns a configuration's mean, negated if higher is better, so that lower is always better.
    fn value(&self, group: &RunGroup) -> Option<f64> {
        let mean = group.estimate(self.metric).mean().filter(|mean| mean.is_finite())?;
        Some(if self.metric.better == Better::Higher { -mean } else { mean })
    }
}

/// The ranking of the variants that have a number in every column.
pub struct Ranks<'a> {
    /// Titles of the variants with their configurations, the best average rank first.
    pub variants: Vec<(String, Vec<&'a RunGroup>)>,
    /// The columns that the ranks are over.
    pub columns: Vec<RankColumn<'a>>,
    /// The ranks, in the order of `variants`.
    pub ranking: Ranking,
}

impl<'a> Ranks<'a> {
    /// Ranks the variants of a sweep over `columns`, or returns `None` if fewer than two variants are in two tables.
    pub fn new(sweep: &'a Sweep, mut columns: Vec<RankColumn<'a>>) -> Option<Self> {
        let value = |column: &RankColumn, variant: &str| -> Option<(&'a RunGroup, f64)> {
            let group = sweep.only(column.set, variant)?;
            Some((group, column.value(group)?))
        };
        let variants = unique_by(&sweep.groups, |group| group.cell().variant.as_str());
        let mut names: Vec<(&str, String)> =
            variants.into_iter().map(|group| (group.cell().variant.as_str(), group.title())).collect();
        // A column that only few variants have is dropped; keeping it would exclude all other variants instead.
        columns.retain(|column| {
            let known = names.iter().filter(|(variant, _)| value(column, variant).is_some()).count();
            known >= 2 && 2 * known > names.len()
        });
        // Columns of one table on one dataset are too few to rank over.
        let first = columns.first()?;
        if columns.iter().all(|column| (column.set, column.table) == (first.set, first.table)) {
            return None;
        }
        names.retain(|(variant, _)| columns.iter().all(|column| value(column, variant).is_some()));
        let found: Vec<Vec<(&RunGroup, f64)>> = columns
            .iter()
            .map(|column| names.iter().filter_map(|(variant, _)| value(column, variant)).collect())
            .collect();
        let tables: Vec<Vec<f64>> =
            found.iter().map(|row| row.iter().map(|(_, value)| *value).collect()).collect();
        let mean = rank(&tables)?.mean;
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by(|a, b| mean[*a].total_cmp(&mean[*b]));
        let sorted: Vec<Vec<f64>> =
            tables.iter().map(|table| order.iter().map(|i| table[*i]).collect()).collect();
        let variants = order.iter().map(|i| {
            let groups = found.iter().map(|row| row[*i].0).collect();
            (names[*i].1.clone(), groups)
        });
        Some(Self { variants: variants.collect(), ranking: rank(&sorted)?, columns })
    }

    /// Returns all configurations that are ranked.
    pub fn groups(&self) -> Vec<&'a RunGroup> {
        distinct(self.variants.iter().flat_map(|(_, groups)| groups.iter().copied()))
    }

    /// Returns sentences on Friedman's test and on Nemenyi's critical difference.
    pub fn sentences(&self) -> String {
        let Ranking { friedman_p, critical_difference, .. } = self.ranking;
        let p = if friedman_p < 0.001 { "below 0.001".to_owned() } else { p_value(friedman_p) };
        let friedman = match friedman_p {
            p if p.is_nan() => "All are equal in every table.".to_owned(),
            value if value < 0.05 => {
                format!("That all are equally good is contradicted (Friedman's test, p = {p}).")
            }
            _ => format!("That all are equally good cannot be excluded (Friedman's test, p = {p})."),
        };
        let nemenyi = critical_difference.map(|critical| {
            format!(
                " Two whose average ranks differ by less than {} cannot be told apart (Nemenyi's test, 5 %).",
                fixed(critical, 2)
            )
        });
        friedman + &nemenyi.unwrap_or_default()
    }
}

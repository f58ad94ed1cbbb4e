//! Average ranks of the variants over all tables, and tests of whether they differ by more than chance (Demšar, 2006).

use lerp_eval::{Better, Quantity, Ranking, rank};
use polars::prelude::DataType;

use crate::{
    conditions::Selection,
    frame::{Frame, Value},
    images::ImageTable,
    provenance::{Provenance, command},
    set::Set,
    sheet::{Entry, Line, Part, Sheet},
    summary::{Group, Sweep, distinct},
    table::METRICS,
    text::{fixed, listed, number, two_digits},
};

/// A column of the ranking: a table's metric on lines or on an image set.
struct Column<'a> {
    metric: &'static Quantity,
    /// The image set; `None` for lines.
    set: Option<&'a Set>,
    /// The name of the table that the numbers are from.
    table: &'static str,
}

impl Column<'_> {
    /// Returns the heading of the column.
    fn name(&self) -> String {
        let place = self.set.map_or_else(|| "Lines".into(), Set::name);
        format!("{place}: {}", self.metric.title.to_lowercase())
    }

    /// Returns a configuration's mean, negated if higher is better, so that lower is always better.
    fn value(&self, group: &Group) -> Option<f64> {
        let mean = group.estimate(self.metric).mean().filter(|mean| mean.is_finite())?;
        Some(if self.metric.better == Better::Higher { -mean } else { mean })
    }
}

/// The ranking of the variants that have a number in every column.
pub struct Ranks<'a> {
    /// Titles of the variants with their configurations, the best average rank first.
    pub variants: Vec<(String, Vec<&'a Group>)>,
    columns: Vec<Column<'a>>,
    /// The ranks, in the order of `variants`.
    pub ranking: Ranking,
}

impl<'a> Ranks<'a> {
    /// Ranks the variants of a sweep, or returns `None` if fewer than two variants are in two tables.
    pub fn new(sweep: &'a Sweep) -> Option<Self> {
        let sets = sweep.sets();
        let lines = METRICS.iter().filter(|metric| metric.published);
        let lines = lines.map(|metric| Column { metric: metric.of, set: None, table: "Table 1" });
        let images = sets.iter().flat_map(|set| {
            ImageTable::ALL.map(|kind| Column { metric: kind.metric(), set: Some(*set), table: kind.name() })
        });
        let in_place = |column: &Column| -> Vec<&'a Group> {
            let set = column.set;
            sweep.groups.iter().filter(move |group| group.set.as_ref() == set).collect()
        };
        // A variant with several configurations is left out, since it is not clear which one to rank.
        let value = |column: &Column, variant: &str| -> Option<(&'a Group, f64)> {
            let here = in_place(column);
            let mut own = here.into_iter().filter(|group| group.cell().variant == variant);
            let (group, others) = (own.next()?, own.next());
            Some((group, column.value(group)?)).filter(|_| others.is_none())
        };
        let mut names: Vec<(&str, String)> = Vec::new();
        for group in &sweep.groups {
            if !names.iter().any(|(variant, _)| *variant == group.cell().variant) {
                names.push((&group.cell().variant, group.title()));
            }
        }
        // A column that only few variants have is dropped; keeping it would exclude all other variants instead.
        let columns: Vec<Column> = lines
            .chain(images)
            .filter(|column| {
                let known = names.iter().filter(|(variant, _)| value(column, variant).is_some()).count();
                known >= 2 && 2 * known > names.len()
            })
            .collect();
        // Columns of one table on one dataset are too few to rank over.
        let first = columns.first()?;
        if columns.iter().all(|column| (column.set, column.table) == (first.set, first.table)) {
            return None;
        }
        names.retain(|(variant, _)| columns.iter().all(|column| value(column, variant).is_some()));
        let found: Vec<Vec<(&Group, f64)>> = columns
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
    pub fn groups(&self) -> Vec<&'a Group> {
        distinct(self.variants.iter().flat_map(|(_, groups)| groups.iter().copied()))
    }

    /// Returns sentences on Friedman's test and on Nemenyi's critical difference.
    pub fn says(&self) -> String {
        let Ranking { friedman_p, critical_difference, .. } = self.ranking;
        let p = if friedman_p < 0.001 { "below 0.001".to_owned() } else { number(two_digits(friedman_p)) };
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

    /// Returns the table of ranks.
    pub fn sheet(&self, sweep: &Sweep) -> Sheet {
        let groups = self.groups();
        let provenance = Provenance::of(&groups, &command(&sweep.dir, None));
        let mut headings = vec!["Variant".to_owned(), "Average rank".to_owned()];
        headings.extend(self.columns.iter().map(Column::name));
        let line = |(i, (title, _)): (usize, &(String, Vec<&Group>))| {
            let ranks = self.ranking.ranks.iter().map(|ranks| Entry::number(number(ranks[i]), ranks[i]));
            let mean = self.ranking.mean[i];
            let own = [Entry::plain(title.clone()), Entry::number(fixed(mean, 2), mean)];
            Line { cells: own.into_iter().chain(ranks).collect(), first: false }
        };
        let mut tables: Vec<&str> = self.columns.iter().map(|column| column.table).collect();
        tables.sort_unstable();
        tables.dedup();
        let part = Part {
            name: "Ranks".into(),
            caption: format!(
                "Ranks over {} columns of {}, 1 for the best mean over seeds, and their average (Demšar, 2006). {} Columns of one dataset are \
                 measured on the same models and are not independent, so the tests make too much of them.",
                self.columns.len(),
                listed(&tables, 8, ", "),
                self.says()
            ),
            conditions: Selection { groups }.all_conditions(),
            label: "tab:ranks",
            wide: true,
            headings,
            left: 1,
            lines: self.variants.iter().enumerate().map(line).collect(),
            folded: Vec::new(),
            notes: Vec::new(),
            provenance: provenance.line(),
        };
        Sheet { id: "ranks", title: "Ranks", parts: vec![part], data: self.data(&provenance) }
    }

    fn data(&self, provenance: &Provenance) -> Frame {
        let mut frame = Frame::new(&[
            ("variant", DataType::String),
            ("title", DataType::String),
            ("average_rank", DataType::Float64),
            ("dataset", DataType::String),
            ("latent_dims", DataType::Int64),
            ("metric", DataType::String),
            ("rank", DataType::Float64),
            ("friedman_p", DataType::Float64),
            ("critical_difference", DataType::Float64),
        ]);
        for (i, (title, groups)) in self.variants.iter().enumerate() {
            for (column, ranks) in self.columns.iter().zip(&self.ranking.ranks) {
                let row: Vec<(&'static str, Value)> = vec![
                    ("variant", groups[0].cell().variant.clone().into()),
                    ("title", title.clone().into()),
                    ("average_rank", self.ranking.mean[i].into()),
                    ("dataset", column.set.map_or("lines", |set| &set.dataset).into()),
                    ("latent_dims", column.set.map(|set| set.dims).into()),
                    ("metric", column.metric.name().into()),
                    ("rank", ranks[i].into()),
                    ("friedman_p", self.ranking.friedman_p.into()),
                    ("critical_difference", self.ranking.critical_difference.into()),
                ];
                frame.push(row, Some(provenance));
            }
        }
        frame
    }
}

//! The table of user-defined metrics: a row for each configuration, a column for each metric.

use lerp_eval::{Better, Quantity};

use super::{
    columns,
    differences::NEAR,
    frame::Frame,
    lines::{samples, seeds},
    sheet::{Entry, Sheet, Table, TableLine},
};
use crate::{
    reading::{Estimate, RunGroup, SizedImageSet, Sweep, title_with_unit, user_metrics},
    statistics::Standings,
    text::{count, few, significant, unique},
    verdicts::Selection,
};

/// The table of user-defined metrics of one or more sweeps.
pub struct UserMetrics<'a> {
    /// The rows, as pairs of a sweep and a configuration.
    pub groups: Vec<(&'a Sweep, &'a RunGroup)>,
    /// The columns: metrics, each with the comparison of the rows with the best one, by dataset.
    columns: Vec<(&'a Quantity, Vec<OnSet<'a>>)>,
}

/// The comparison of the configurations on one image set, or on lines, with the best of them.
type OnSet<'a> = (Option<&'a SizedImageSet>, Standings<'a>);

impl<'a> UserMetrics<'a> {
    /// Builds the table of `sweeps`, or returns `None` if they have no user-defined metrics.
    pub fn new(sweeps: impl IntoIterator<Item = &'a Sweep>) -> Option<Self> {
        let groups =
            sweeps.into_iter().flat_map(|sweep| sweep.groups.iter().map(move |group| (sweep, group)));
        let groups: Vec<(&Sweep, &RunGroup)> = groups.collect();
        let sets: Vec<Option<&SizedImageSet>> = unique(groups.iter().map(|(_, group)| group.set.as_ref()));
        let on = |set: Option<&SizedImageSet>| -> Vec<&'a RunGroup> {
            groups.iter().map(|(_, group)| *group).filter(|group| group.set.as_ref() == set).collect()
        };
        let columns: Vec<_> = user_metrics(groups.iter().map(|(_, group)| *group))
            .into_iter()
            .map(|quantity| {
                let standings = sets.iter().map(|set| (*set, Standings::new(&on(*set), quantity)));
                (quantity, standings.collect())
            })
            .collect();
        (!columns.is_empty()).then_some(Self { groups, columns })
    }

    /// Returns the headings of all columns but the first.
    pub fn headings(&self) -> Vec<String> {
        let numbers = self.columns.iter().map(|(quantity, _)| title_with_unit(quantity));
        numbers.chain(["Seeds".into(), "Samples".into()]).collect()
    }

    /// Returns the cells of a row, without its name.
    pub fn row(&self, group: &RunGroup) -> Vec<Entry> {
        let entries = self.columns.iter().map(|(quantity, _)| self.entry(quantity, group));
        entries.chain([seeds(group), samples(group)]).collect()
    }

    /// Returns the comparison in `quantity` of the configurations on the same dataset as `group`.
    fn standings(&self, quantity: &Quantity, group: &RunGroup) -> Option<&Standings<'a>> {
        let (_, sets) = self.columns.iter().find(|(known, _)| *known == quantity)?;
        sets.iter().find(|(set, _)| *set == group.set.as_ref()).map(|(_, standings)| standings)
    }

    /// Returns the cell of a metric. Values that are equal as printed are equally good; a dataset's only configuration
    /// is not marked as best.
    fn entry(&self, quantity: &Quantity, group: &RunGroup) -> Entry {
        let estimate = group.estimate(quantity);
        let Some(mean) = estimate.mean() else { return Entry::plain(estimate.text(|_| String::new())) };
        let mut text = estimate.text(|value| significant(value, mean));
        let standings = self.standings(quantity, group);
        let best = standings.is_some_and(|all| {
            let best = all.best_of_several().and_then(|best| best.estimate(quantity).mean());
            best.is_some_and(|best| significant(best, best) == significant(mean, mean))
        });
        if !best && standings.is_some_and(|all| all.of(group).undecided()) {
            text += NEAR;
        }
        Entry { best, ..Entry::number(text, mean) }
    }

    /// Returns the caption, which describes each metric and how its numbers are computed.
    fn caption(&self) -> String {
        let mut caption = String::from(
            "Metrics of this study's own, which are not the paper's. Of those of each evaluation the median of the last 20 of \
             256 evaluations of a run (of a run with fewer, the same share, at least three), then mean ± standard deviation (divisor n) over \
             seeds. The best on each dataset in bold; ≈: the 95 % interval of the difference from it, by the paired bootstrap \
             over seeds, contains 0.",
        );
        for sentence in self.about() {
            caption += " ";
            caption += &sentence;
        }
        caption
    }

    /// Returns a sentence about each metric.
    pub fn about(&self) -> Vec<String> {
        let sentence = |(quantity, _): &(&Quantity, _)| {
            let better = match quantity.better.words() {
                "" => String::new(),
                words => format!(", {words}"),
            };
            format!("{}{better}: {}.", title_with_unit(quantity), quantity.caption.trim_end_matches('.'))
        };
        self.columns.iter().map(sentence).collect()
    }

    /// Returns notes on metrics whose descriptions differ between runs and on undefined values.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (quantity, _) in &self.columns {
            let other = |group: &&RunGroup| {
                group.user_metrics.iter().any(|own| own.key == quantity.key && own != *quantity)
            };
            if self.groups.iter().map(|(_, group)| *group).any(|group| other(&group)) {
                notes
                    .push(format!("{}: not all runs say the same of what it is.", title_with_unit(quantity)));
            }
        }
        let undefined = self.groups.iter().flat_map(|(_, group)| {
            self.columns.iter().filter_map(|(quantity, _)| {
                let measured = group.final_values(quantity).count();
                match group.estimate(quantity) {
                    Estimate::Known { n, .. } if n < measured => Some(format!(
                        "{}: {} is undefined in {} and over {n} only.",
                        group.name(),
                        title_with_unit(quantity),
                        count(measured - n, "run")
                    )),
                    _ => None,
                }
            })
        });
        notes.extend(few(undefined.collect(), "such numbers"));
        notes
    }

    /// Returns one row for each configuration and each user-defined metric that it has.
    fn data(&self, sweep: &Sweep) -> Frame {
        let own = ["dataset", "latent", "variant", "label", "metric", "title", "unit", "better"].into_iter();
        let shared = own.chain(["mean", "std", "seeds"]).chain(columns::CONDITIONS);
        let mut frame = Frame::new(shared.chain(columns::STANDING));
        for (_, group) in &self.groups {
            let provenance = sweep.provenance(&[group]);
            for (quantity, _) in self.columns.iter().filter(|(quantity, _)| group.has(quantity)) {
                let better = match quantity.better {
                    Better::Lower => "lower",
                    Better::Higher => "higher",
                    Better::Neither => "neither",
                };
                let mut row = columns::configuration(group, "latent");
                row.extend([
                    ("metric", (*quantity.key).into()),
                    ("title", (*quantity.title).into()),
                    ("unit", (*quantity.unit).into()),
                    ("better", better.into()),
                ]);
                row.extend(columns::estimate(group.estimate(quantity)));
                row.extend(columns::conditions(group.cell()));
                row.extend(columns::standing(self.standings(quantity, group), group));
                frame.push(row, Some(&provenance));
            }
        }
        frame
    }
}

/// Returns the sheet of a sweep, or `None` if its runs have no user-defined metrics.
pub fn sheet(sweep: &Sweep) -> Option<Sheet> {
    let table = UserMetrics::new([sweep])?;
    let line = |(_, group): &(&Sweep, &RunGroup)| {
        let name = Entry::plain(group.name());
        std::iter::once(name).chain(table.row(group)).collect::<TableLine>()
    };
    let selection = Selection { groups: sweep.groups.iter().collect() };
    let mut notes = table.notes();
    notes.extend(sweep.missing_notes(&selection));
    let sheet_table = Table {
        name: "Further metrics".into(),
        caption: table.caption(),
        conditions: selection.conditions(),
        label: "tab:further".into(),
        headings: std::iter::once("Configuration".to_owned()).chain(table.headings()).collect(),
        left: 1,
        lines: table.groups.iter().map(line).collect(),
        notes,
        provenance: sweep.provenance(&selection.groups).line(),
        ..Table::default()
    };
    Some(Sheet {
        id: "further",
        title: "Further metrics",
        data: table.data(sweep),
        tables: vec![sheet_table],
    })
}

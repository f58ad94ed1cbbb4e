//! The table of user-defined metrics: a row for each configuration, a column for each metric.

use lerp_eval::{Better, Quantity};
use polars::prelude::DataType;

use crate::{
    conditions::{self, Selection},
    frame::{Frame, Value},
    pairs::{self, NEAR, Standings},
    provenance::{Provenance, command},
    set::Set,
    sheet::{Entry, Line, Part, Sheet},
    summary::{Estimate, Group, Sweep},
    table::{samples, seeds},
    text::{count, few, significant},
};

/// The table of user-defined metrics of one or more sweeps.
pub struct Further<'a> {
    /// The rows, as pairs of a sweep and a configuration.
    pub groups: Vec<(&'a Sweep, &'a Group)>,
    /// The columns: metrics, each with the comparison of the rows with the best one, by dataset.
    columns: Vec<(&'a Quantity, Vec<OnSet<'a>>)>,
}

/// The comparison of the configurations on one image set, or on lines, with the best of them.
type OnSet<'a> = (Option<&'a Set>, Standings<'a>);

/// Returns the user-defined metrics of `groups`, each once. If runs describe a key differently, the first description
/// counts.
pub fn further<'a>(groups: impl IntoIterator<Item = &'a Group>) -> Vec<&'a Quantity> {
    let mut all: Vec<&Quantity> = Vec::new();
    for quantity in groups.into_iter().flat_map(|group| &group.further) {
        if !all.iter().any(|known| known.key == quantity.key) {
            all.push(quantity);
        }
    }
    all
}

/// Returns a quantity's title, with its unit if it has one.
pub fn named(quantity: &Quantity) -> String {
    match &*quantity.unit {
        "" => quantity.title.to_string(),
        unit => format!("{} ({unit})", quantity.title),
    }
}

impl<'a> Further<'a> {
    /// Builds the table of `sweeps`, or returns `None` if they have no user-defined metrics.
    pub fn new(sweeps: impl IntoIterator<Item = &'a Sweep>) -> Option<Self> {
        let groups =
            sweeps.into_iter().flat_map(|sweep| sweep.groups.iter().map(move |group| (sweep, group)));
        let groups: Vec<(&Sweep, &Group)> = groups.collect();
        let mut sets: Vec<Option<&Set>> = Vec::new();
        for (_, group) in &groups {
            if !sets.contains(&group.set.as_ref()) {
                sets.push(group.set.as_ref());
            }
        }
        let on = |set: Option<&Set>| -> Vec<&'a Group> {
            groups.iter().map(|(_, group)| *group).filter(|group| group.set.as_ref() == set).collect()
        };
        let columns: Vec<_> = further(groups.iter().map(|(_, group)| *group))
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
        let numbers = self.columns.iter().map(|(quantity, _)| named(quantity));
        numbers.chain(["Seeds".into(), "Samples".into()]).collect()
    }

    /// Returns the cells of a row, without its name.
    pub fn row(&self, group: &Group) -> Vec<Entry> {
        let entries = self.columns.iter().map(|(quantity, _)| self.entry(quantity, group));
        entries.chain([seeds(group), samples(group)]).collect()
    }

    /// Returns the comparison in `quantity` of the configurations on the same dataset as `group`.
    fn standings(&self, quantity: &Quantity, group: &Group) -> Option<&Standings<'a>> {
        let (_, sets) = self.columns.iter().find(|(known, _)| *known == quantity)?;
        sets.iter().find(|(set, _)| *set == group.set.as_ref()).map(|(_, standings)| standings)
    }

    /// Returns the cell of a metric. Values that are equal as printed are equally good; a dataset's only configuration
    /// is not marked as best.
    fn entry(&self, quantity: &Quantity, group: &Group) -> Entry {
        let Estimate::Known { mean, std, n } = group.estimate(quantity) else {
            let undefined = group.estimate(quantity) == Estimate::Undefined;
            return Entry::plain(if undefined { "undefined" } else { "–" });
        };
        let mut text = significant(mean, mean);
        if n > 1 {
            text = format!("{text} ± {}", significant(std, mean));
        }
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
             256 evaluations of a run (of the same share, at least 3, of fewer), then mean ± standard deviation (divisor n) over \
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
            format!("{}{better}: {}.", named(quantity), quantity.caption.trim_end_matches('.'))
        };
        self.columns.iter().map(sentence).collect()
    }

    /// Returns notes on metrics whose descriptions differ between runs and on undefined values.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (quantity, _) in &self.columns {
            let other =
                |group: &&Group| group.further.iter().any(|own| own.key == quantity.key && own != *quantity);
            if self.groups.iter().map(|(_, group)| *group).any(|group| other(&group)) {
                notes.push(format!("{}: not all runs say the same of what it is.", named(quantity)));
            }
        }
        let undefined = self.groups.iter().flat_map(|(_, group)| {
            self.columns.iter().filter_map(|(quantity, _)| {
                let measured = group.done().filter(|l| l.final_value(&quantity.key).is_some()).count();
                match group.estimate(quantity) {
                    Estimate::Known { n, .. } if n < measured => Some(format!(
                        "{}: {} is undefined in {} and over {n} only.",
                        group.name(),
                        named(quantity),
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
        let mut columns = vec![
            ("dataset", DataType::String),
            ("latent", DataType::Int64),
            ("variant", DataType::String),
            ("label", DataType::String),
            ("metric", DataType::String),
            ("title", DataType::String),
            ("unit", DataType::String),
            ("better", DataType::String),
            ("mean", DataType::Float64),
            ("std", DataType::Float64),
            ("seeds", DataType::Int64),
        ];
        columns.extend(conditions::COLUMNS);
        columns.extend(pairs::COLUMNS);
        let mut frame = Frame::new(&columns);
        for (_, group) in &self.groups {
            let provenance = Provenance::of(&[group], &command(&sweep.dir, None));
            for (quantity, _) in self.columns.iter().filter(|(quantity, _)| group.has(quantity)) {
                let (mean, std, seeds) = group.estimate(quantity).values();
                let cell = group.cell();
                let dataset = group.set.as_ref().map_or(&cell.dataset, |set| &set.dataset);
                let better = match quantity.better {
                    Better::Lower => "lower",
                    Better::Higher => "higher",
                    Better::Neither => "neither",
                };
                let mut row: Vec<(&str, Value)> = vec![
                    ("dataset", dataset.clone().into()),
                    ("latent", group.set.as_ref().map(|set| set.dims).into()),
                    ("variant", cell.variant.clone().into()),
                    ("label", group.label.clone().into()),
                    ("metric", (*quantity.key).into()),
                    ("title", (*quantity.title).into()),
                    ("unit", (*quantity.unit).into()),
                    ("better", better.into()),
                    ("mean", mean),
                    ("std", std),
                    ("seeds", seeds.into()),
                ];
                row.extend(conditions::values(cell));
                row.extend(self.standings(quantity, group).map(|all| all.values(group)).unwrap_or_default());
                frame.push(row, Some(&provenance));
            }
        }
        frame
    }
}

/// Returns the sheet of a sweep, or `None` if its runs have no user-defined metrics.
pub fn sheet(sweep: &Sweep) -> Option<Sheet> {
    let table = Further::new([sweep])?;
    let line = |(_, group): &(&Sweep, &Group)| {
        let name = Entry::plain(group.name());
        Line { cells: std::iter::once(name).chain(table.row(group)).collect(), first: false }
    };
    let selection = Selection { groups: sweep.groups.iter().collect() };
    let mut notes = table.notes();
    notes.extend(selection.missing());
    notes.extend(sweep.not_begun());
    notes.extend(sweep.not_counted());
    let part = Part {
        name: "Further metrics".into(),
        caption: table.caption(),
        conditions: selection.conditions(),
        label: "tab:further",
        wide: true,
        headings: std::iter::once("Configuration".to_owned()).chain(table.headings()).collect(),
        left: 1,
        lines: table.groups.iter().map(line).collect(),
        folded: Vec::new(),
        notes,
        provenance: Provenance::of(&selection.groups, &command(&sweep.dir, None)).line(),
    };
    Some(Sheet { id: "further", title: "Further metrics", data: table.data(sweep), parts: vec![part] })
}

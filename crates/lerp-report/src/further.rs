//! The table of metrics of one's own: a row for each configuration, a column for each quantity.

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

/// Metrics of one's own, of one or more sweeps.
pub struct Further<'a> {
    /// The rows: sweep and configuration.
    pub groups: Vec<(&'a Sweep, &'a Group)>,
    /// The columns, and how the rows stand to the best on their dataset.
    columns: Vec<(&'a Quantity, Vec<OnSet<'a>>)>,
}

/// How configurations on an image set, or on lines, stand.
type OnSet<'a> = (Option<&'a Set>, Standings<'a>);

/// All that `groups` measure besides Lerpbench's own, each once; the first to say what a key means is believed.
pub fn further<'a>(groups: impl IntoIterator<Item = &'a Group>) -> Vec<&'a Quantity> {
    let mut all: Vec<&Quantity> = Vec::new();
    for quantity in groups.into_iter().flat_map(|group| &group.further) {
        if !all.iter().any(|known| known.key == quantity.key) {
            all.push(quantity);
        }
    }
    all
}

/// A quantity's title, with its unit.
pub fn named(quantity: &Quantity) -> String {
    match &*quantity.unit {
        "" => quantity.title.to_string(),
        unit => format!("{} ({unit})", quantity.title),
    }
}

impl<'a> Further<'a> {
    /// The table of `sweeps`; none if none of them has such metrics.
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

    /// Headings of the columns of numbers.
    pub fn headings(&self) -> Vec<String> {
        let numbers = self.columns.iter().map(|(quantity, _)| named(quantity));
        numbers.chain(["Seeds".into(), "Samples".into()]).collect()
    }

    /// The numbers of a row.
    pub fn row(&self, group: &Group) -> Vec<Entry> {
        let entries = self.columns.iter().map(|(quantity, _)| self.entry(quantity, group));
        entries.chain([seeds(group), samples(group)]).collect()
    }

    fn standings(&self, quantity: &Quantity, group: &Group) -> Option<&Standings<'a>> {
        let (_, sets) = self.columns.iter().find(|(known, _)| *known == quantity)?;
        sets.iter().find(|(set, _)| *set == group.set.as_ref()).map(|(_, standings)| standings)
    }

    /// Equal printed values are equally good; the only one on its dataset is not the best of anything.
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

    /// What each quantity is, and how its numbers come about.
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

    /// A sentence about each quantity.
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

    /// What must be known of single rows.
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

    /// One row for each configuration and quantity that it measures.
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

/// The table of a sweep; none if its runs measure nothing of their own.
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

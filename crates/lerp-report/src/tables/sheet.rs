//! The content of tables, independent of the format that they are written in.

use serde::Serialize;

use super::frame::Frame;
use crate::{
    paper::PublishedNumber,
    reading::{RunGroup, Sweep},
    verdicts::{Selection, Verdict},
};

/// How much of a number a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The number with its deviation or interval.
    Full,
    /// The number alone, for tables with little room.
    Brief,
}

/// One cell of a table.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The text as printed.
    pub text: String,
    /// Whether the value is the best among those that it is compared with, which is set in bold.
    pub best: bool,
    /// Whether the value comes from no run of this sweep: a published number or a reference value.
    pub paper: bool,
    /// The sort key of the cell; `None` for a cell that is sorted by its text.
    pub sort: Option<f64>,
    /// The comparison of our number with the paper's, in the cell that states it.
    pub verdict: Option<Verdict>,
}

impl Entry {
    /// Returns a cell with text only.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), best: false, paper: false, sort: None, verdict: None }
    }

    /// Returns a cell without a value.
    pub fn dash() -> Self {
        Self::plain("–")
    }

    /// Returns a cell with a number, where `text` is the number as printed. A value that is not finite has no sort key.
    pub fn number(text: impl Into<String>, value: impl Into<Option<f64>>) -> Self {
        Self { sort: value.into().filter(|value| value.is_finite()), ..Self::plain(text) }
    }

    /// Returns a cell whose number is the paper's or comes from no run.
    pub fn paper(text: impl Into<String>, value: impl Into<Option<f64>>) -> Self {
        Self { paper: true, ..Self::number(text, value) }
    }

    /// Returns a cell with one of the paper's numbers, or with a dash if there is none. An unconfirmed mean has a
    /// dagger.
    pub fn published(number: Option<PublishedNumber>, detail: Detail) -> Self {
        let Some(PublishedNumber { mean, std, mean_checked }) = number else {
            return Self::paper("–", None);
        };
        let std =
            std.filter(|_| detail == Detail::Full).map(|std| format!(" ± {std:.2}")).unwrap_or_default();
        Self::paper(format!("{mean:.2}{std}{}", if mean_checked { "" } else { "†" }), mean)
    }

    /// Returns a cell with a verdict, or with a dash if there is none.
    pub fn verdict(verdict: Option<Verdict>) -> Self {
        let Some(verdict) = verdict else { return Self::dash() };
        let relation = verdict.relation;
        Self { verdict: Some(verdict), ..Self::number(relation.word(), relation.rank()) }
    }
}

/// One line of a table.
#[derive(Debug, Clone, Serialize)]
pub struct TableLine {
    /// The cells, one for each heading of the table.
    pub cells: Vec<Entry>,
    /// Whether this line is the first of a row that spans several lines.
    pub first: bool,
}

impl From<Vec<Entry>> for TableLine {
    fn from(cells: Vec<Entry>) -> Self {
        Self { cells, first: false }
    }
}

impl FromIterator<Entry> for TableLine {
    fn from_iter<T: IntoIterator<Item = Entry>>(cells: T) -> Self {
        cells.into_iter().collect::<Vec<_>>().into()
    }
}

/// One table.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Table {
    /// The table's name, such as `Table 2b`.
    pub name: String,
    /// The caption without the conditions of the runs.
    pub caption: String,
    /// The conditions of the runs, which a page states once for all tables and figures. Empty if the caption needs
    /// none.
    pub conditions: String,
    /// The table's LaTeX label.
    pub label: String,
    /// The column headings.
    pub headings: Vec<String>,
    /// The number of leading columns that hold text and are aligned to the left.
    pub left: usize,
    /// The lines of the table's body.
    pub lines: Vec<TableLine>,
    /// Published numbers on datasets that no run was trained on. The page folds them away; Markdown and LaTeX files
    /// omit them.
    pub folded: Vec<TableLine>,
    /// The notes under the table.
    pub notes: Vec<String>,
    /// The provenance of the numbers, as one line of text.
    pub provenance: String,
}

impl Table {
    /// Returns an empty table about `groups`, with the conditions and the provenance of their runs.
    pub fn about(sweep: &Sweep, groups: &[&RunGroup]) -> Self {
        let conditions = Selection { groups: groups.to_vec() }.all_conditions();
        Self { conditions, provenance: sweep.provenance(groups).line(), ..Self::default() }
    }

    /// Returns the caption followed by the conditions of the runs.
    pub fn whole_caption(&self) -> String {
        let gap = if self.conditions.is_empty() { "" } else { " " };
        format!("{}{gap}{}", self.caption, self.conditions)
    }
}

/// Tables that are published together, in one file per format.
#[derive(Debug, Clone, Serialize)]
pub struct Sheet {
    /// The name of the files and the anchor on the page.
    pub id: &'static str,
    /// The heading on the page.
    pub title: &'static str,
    /// The tables.
    pub tables: Vec<Table>,
    /// All numbers of the tables without formatting, for the CSV and parquet files.
    #[serde(skip)]
    pub data: Frame,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::{PublishedRow, published};

    #[test]
    fn unconfirmed_numbers_have_a_dagger() {
        let text = |table: &[PublishedRow], row: usize, variant: &str, detail| {
            Entry::published(table[row].number(variant), detail).text
        };
        let (classifier, clustering) = (&published().classifier, &published().clustering);
        assert_eq!(text(classifier, 3, "acai", Detail::Full), "85.14 ± 0.20");
        assert_eq!(text(classifier, 3, "vqvae", Detail::Full), "44.94 ± 20.42†");
        assert_eq!(text(classifier, 3, "vqvae", Detail::Brief), "44.94†");
        assert_eq!(text(clustering, 1, "vqvae", Detail::Full), "96.80†");
        assert_eq!(text(clustering, 1, "mine", Detail::Full), "–");
    }
}

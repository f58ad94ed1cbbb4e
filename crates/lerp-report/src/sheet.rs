//! What a table says, before it is set in a format.

use serde::Serialize;

use crate::{frame::Frame, verdict::Verdict};

/// A cell.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The text.
    pub text: String,
    /// Whether it is the best of those that it is compared with.
    pub best: bool,
    /// Whether it is no run's of ours: the paper's, or what a number can be.
    pub paper: bool,
    /// What a column is sorted by; none for text.
    pub sort: Option<f64>,
    /// How our number stands to the paper's, in the cell that says so.
    pub verdict: Option<Verdict>,
}

impl Entry {
    /// Text.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), best: false, paper: false, sort: None, verdict: None }
    }

    /// A number: `text` is how it is printed. One that is not finite is sorted as text.
    pub fn number(text: impl Into<String>, value: impl Into<Option<f64>>) -> Self {
        Self { sort: value.into().filter(|value| value.is_finite()), ..Self::plain(text) }
    }

    /// One of the paper's, or of no run.
    pub fn paper(text: impl Into<String>, value: impl Into<Option<f64>>) -> Self {
        Self { paper: true, ..Self::number(text, value) }
    }

    /// A verdict, a dash where there is none.
    pub fn verdict(verdict: Option<Verdict>) -> Self {
        let Some(verdict) = verdict else { return Self::plain("–") };
        let relation = verdict.relation;
        Self { verdict: Some(verdict), ..Self::number(relation.word(), relation.rank()) }
    }
}

/// A line of cells.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Them, as many as there are headings.
    pub cells: Vec<Entry>,
    /// Whether a row of several lines begins here.
    pub first: bool,
}

/// A table.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Its name, such as `Table 2b`.
    pub name: String,
    /// What it shows.
    pub caption: String,
    /// The conditions of its runs, which a page says once for all tables and figures; empty where the caption needs none.
    pub conditions: String,
    /// Its label in LaTeX.
    pub label: &'static str,
    /// Whether it is wider than a column of text.
    pub wide: bool,
    /// Headings of columns.
    pub headings: Vec<String>,
    /// How many columns are text, from the left.
    pub left: usize,
    /// Its lines.
    pub lines: Vec<Line>,
    /// Published numbers of datasets that no run is on: a page folds them away, files for people leave them out.
    pub folded: Vec<Line>,
    /// What stands under it.
    pub notes: Vec<String>,
    /// Where its numbers come from, in a line.
    pub provenance: String,
}

impl Part {
    /// The caption that stands by itself.
    pub fn whole_caption(&self) -> String {
        let gap = if self.conditions.is_empty() { "" } else { " " };
        format!("{}{gap}{}", self.caption, self.conditions)
    }
}

/// Tables that are read together: a file in each format.
#[derive(Debug, Clone, Serialize)]
pub struct Sheet {
    /// Name of the files and anchor on the page.
    pub id: &'static str,
    /// Heading on the page.
    pub title: &'static str,
    /// Its tables.
    pub parts: Vec<Part>,
    /// All numbers, plain.
    #[serde(skip)]
    pub data: Frame,
}

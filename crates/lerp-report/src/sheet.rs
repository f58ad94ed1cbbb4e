//! What a table says, before it is set in a format.

use serde::Serialize;

/// A cell.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The text.
    pub text: String,
    /// Whether it is the best of those that it is compared with.
    pub best: bool,
    /// Whether it is the paper's.
    pub paper: bool,
}

impl Entry {
    /// One that is not the best.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), best: false, paper: false }
    }

    /// One of the paper's.
    pub fn paper(text: impl Into<String>) -> Self {
        Self { text: text.into(), best: false, paper: true }
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
    /// What stands under it.
    pub notes: Vec<String>,
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
    pub csv: String,
}

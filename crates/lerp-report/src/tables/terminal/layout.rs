//! Layout of tables and text for a terminal of limited width.

use std::fmt::Write;

use lerp_files::printable;
use unicode_width::UnicodeWidthStr;

use crate::{
    TerminalStyle,
    tables::sheet::{Entry, TableLine},
    text::{LongWords, wrap},
    verdicts::Relation,
};

/// The width of the output, in terminal columns, which fits on any screen.
pub const WIDTH: usize = 100;

/// The number of spaces between table columns.
const GAP: usize = 2;

/// The least width to which a column of text is narrowed.
const NARROWEST: usize = 12;

/// Formats a table whose first `left` columns hold text. Long text in these is wrapped; columns that still do not fit
/// are continued in further tables below.
pub fn table(headings: &[String], left: usize, lines: &[TableLine], style: TerminalStyle) -> String {
    // Text from files might contain control sequences, which must not reach the terminal.
    let escaped = |entry: &Entry| Entry { text: printable(&entry.text).into_owned(), ..entry.clone() };
    let lines: Vec<TableLine> = lines
        .iter()
        .map(|line| TableLine { cells: line.cells.iter().map(escaped).collect(), first: line.first })
        .collect();
    let headings: Vec<String> = headings.iter().map(|text| printable(text).into_owned()).collect();
    let (lines, headings) = (&lines[..], &headings[..]);
    let widest = |c: usize| {
        let cells = lines.iter().map(|line| line.cells[c].text.width());
        cells.chain([headings[c].width()]).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..headings.len()).map(widest).collect();
    let room = |widths: &[usize]| {
        let total: usize = widths.iter().sum();
        WIDTH.checked_sub(total + GAP * widths.len().saturating_sub(1))
    };
    // Narrows the columns of text, the widest first, until the table fits or they are as narrow as they may be.
    while room(&widths).is_none() {
        let Some(c) = (0..left).filter(|c| widths[*c] > NARROWEST).max_by_key(|c| widths[*c]) else { break };
        widths[c] -= 1;
    }
    let mut out = String::new();
    let mut from = left;
    loop {
        let text: Vec<usize> = (0..left).collect();
        let mut chosen = text.clone();
        for c in from..headings.len() {
            let with: Vec<usize> = chosen.iter().chain([&c]).map(|c| widths[*c]).collect();
            if chosen.len() > left && room(&with).is_none() {
                break;
            }
            chosen.push(c);
        }
        if !out.is_empty() {
            out.push('\n');
        }
        from += chosen.len() - text.len();
        block(&mut out, &ColumnBlock { headings, lines, chosen: &chosen, widths: &widths, left, style });
        if from >= headings.len() || chosen.len() == left {
            return out;
        }
    }
}

/// Some columns of a table, which fit next to one another.
struct ColumnBlock<'a> {
    /// The headings of all columns of the table.
    headings: &'a [String],
    lines: &'a [TableLine],
    /// The numbers of the columns that are written.
    chosen: &'a [usize],
    /// The width of each column of the table.
    widths: &'a [usize],
    /// The number of leading columns that hold text, which is wrapped and aligned to the left.
    left: usize,
    style: TerminalStyle,
}

/// Writes the chosen columns as one table.
fn block(out: &mut String, block: &ColumnBlock) {
    let ColumnBlock { headings, lines, chosen, widths, left, style } = *block;
    let heading: Vec<Entry> = headings.iter().map(Entry::plain).collect();
    let rows = std::iter::once(&heading).chain(lines.iter().map(|line| &line.cells));
    for (i, cells) in rows.enumerate() {
        let broken: Vec<Vec<String>> = chosen
            .iter()
            .map(|c| {
                let text = &cells[*c].text;
                if *c < left { wrap(text, widths[*c], LongWords::Cut) } else { vec![text.clone()] }
            })
            .collect();
        for k in 0..broken.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = String::new();
            for (index, c) in chosen.iter().enumerate() {
                let text = broken[index].get(k).map_or("", String::as_str);
                let pad = " ".repeat(widths[*c].saturating_sub(text.width()));
                let text = match style {
                    TerminalStyle::Plain => text.to_owned(),
                    TerminalStyle::Colored => with_color(&cells[*c], text),
                };
                line += if index == 0 { "" } else { "  " };
                line += &if *c < left { text + &pad } else { pad + &text };
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
        if i == 0 {
            let ruled: usize = chosen.iter().map(|c| widths[*c] + GAP).sum();
            let _ = writeln!(out, "{}", "─".repeat(ruled.saturating_sub(GAP)));
        }
    }
}

/// Adds the escape codes for the bold type or colour of a cell.
fn with_color(entry: &Entry, text: &str) -> String {
    let code = match &entry.verdict {
        _ if text.is_empty() => return String::new(),
        Some(verdict) => match verdict.relation {
            Relation::Better | Relation::Reached | Relation::NearlyReached => "32",
            Relation::Worse | Relation::NotReached => "31",
            Relation::Same => "36",
            Relation::Incomparable | Relation::Spreadless => "2",
        },
        None if entry.best => "1",
        None if entry.paper => "2",
        None => return text.to_owned(),
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rows: &[&[&str]]) -> Vec<TableLine> {
        let cells = |row: &&[&str]| row.iter().map(|text| Entry::plain(*text)).collect();
        rows.iter().map(cells).collect()
    }

    #[test]
    fn wide_tables_are_split_without_losing_cells() {
        let headings = ["Variant", "one", "two"].map(String::from);
        let long = "ACAI (advweight=0.5, learning_rate=0.0001, reg=0.2, samples=16777216, batch=64, eval_every=65536)";
        let text =
            table(&headings, 1, &lines(&[&[long, "1.5", "2.5"], &["VAE", "3", "4"]]), TerminalStyle::Plain);
        assert!(text.lines().all(|line| line.width() <= WIDTH), "{text}");
        let words: String = text.split_whitespace().collect();
        assert!(
            words.contains("eval_every=65536)") && text.lines().nth(2).unwrap().ends_with("1.5  2.5"),
            "{text}"
        );

        let many: Vec<String> = (0..20).map(|i| format!("column {i}")).collect();
        let row: Vec<&str> = vec!["x"; 20];
        let text = table(&many, 1, &lines(&[&row]), TerminalStyle::Plain);
        assert!(text.lines().all(|line| line.width() <= WIDTH), "{text}");
        let words: Vec<&str> = text.split_whitespace().collect();
        for i in 1..20 {
            let times = words.windows(2).filter(|pair| *pair == ["column", &i.to_string()]).count();
            assert_eq!(times, 1, "column {i}: {text}");
        }
        // The column of text is repeated in each of the three tables.
        assert_eq!(text.matches("column 0").count(), 3, "{text}");
    }
}

//! Table 1 of several sweeps for a terminal.

use std::fmt::Write;

use crate::{
    summary::{Group, Sweep},
    table::{Entry, METRICS, Table, paper, seeds, source_note},
    text::thousands,
};

/// One table, the sweep in its first column if there are several; `color` allows bold type.
pub fn terminal(sweeps: &[Sweep], color: bool) -> String {
    let table = Table::new(sweeps);
    let names = names(sweeps);
    let several = sweeps.len() > 1;
    let name = |sweep: &Sweep| {
        let place = sweeps.iter().position(|s| std::ptr::eq(s, sweep)).unwrap_or(0);
        names[place].clone()
    };

    let mut headings = Vec::new();
    if several {
        headings.push("Sweep".to_owned());
    }
    headings.push("Variant".into());
    let metrics = || METRICS.iter().filter(|m| m.published);
    for metric in metrics() {
        headings
            .extend([metric.heading.replacen("Mean d", "D", 1).replacen("Mean s", "S", 1), "paper".into()]);
    }
    headings.extend(["Seeds".into(), "Samples".into()]);
    // What is text stands left, numbers right.
    let left = 1 + usize::from(several);

    let row = |(sweep, group): &(&Sweep, &Group)| {
        let mut row = Vec::new();
        if several {
            row.push(Entry::plain(name(sweep)));
        }
        row.push(Entry::plain(group.label.clone()));
        for metric in metrics() {
            row.extend([table.entry(group, metric), Entry::plain(paper(group, metric))]);
        }
        row.extend([Entry::plain(seeds(group)), Entry::plain(thousands(group.cell().samples))]);
        row
    };
    let mut rows = vec![headings.into_iter().map(Entry::plain).collect::<Vec<_>>()];
    rows.extend(table.groups.iter().map(row));

    let mut out = set(&rows, left, color);
    for (sweep, name) in sweeps.iter().zip(&names) {
        let unlike = sweep.unlike_the_paper().map(|s| format!(" {s}")).unwrap_or_default();
        let _ = writeln!(out, "\n{name}: {}{unlike}", sweep.conditions());
        for sentence in sweep.missing() {
            let _ = writeln!(out, "{name}: {sentence}");
        }
    }
    let _ = writeln!(out, "\n{}", source_note());
    out
}

/// Columns as wide as their widest entry; escape codes take no room.
fn set(rows: &[Vec<Entry>], left: usize, color: bool) -> String {
    let width = |text: &str| text.chars().count();
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().map(|row| width(&row[c].text)).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (c, entry) in row.iter().enumerate() {
            let pad = " ".repeat(widths[c] - width(&entry.text));
            let text = if entry.best && color {
                format!("\u{1b}[1m{}\u{1b}[0m", entry.text)
            } else {
                entry.text.clone()
            };
            line += if c == 0 { "" } else { "  " };
            line += &if c < left { text + &pad } else { pad + &text };
        }
        let _ = writeln!(out, "{}", line.trim_end());
        if i == 0 {
            let _ = writeln!(out, "{}", "─".repeat(widths.iter().sum::<usize>() + 2 * (columns - 1)));
        }
    }
    out
}

/// Names of the sweeps: their folders', or whole paths where two folders have the same name.
fn names(sweeps: &[Sweep]) -> Vec<String> {
    let short: Vec<String> = sweeps.iter().map(Sweep::name).collect();
    let path = |i: usize| sweeps[i].dir.display().to_string();
    (0..short.len())
        .map(
            |i| if short.iter().filter(|s| **s == short[i]).count() > 1 { path(i) } else { short[i].clone() },
        )
        .collect()
}

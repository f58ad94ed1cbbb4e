//! Tables of several sweeps for a terminal.

use std::fmt::Write;

use crate::{
    images::{Images, Kind},
    sheet::Entry,
    summary::{Group, Sweep},
    table::{METRICS, Table, paper, samples, seeds, source_note},
};

/// Table 1 if anything is on lines, then those of image sets; `color` allows bold type.
pub fn terminal(sweeps: &[Sweep], color: bool) -> String {
    let names = names(sweeps);
    let mut out = if sweeps.iter().any(|sweep| sweep.on_lines().next().is_some()) {
        lines(sweeps, &names, color)
    } else {
        String::new()
    };
    let (mut said, mut missing) = (Vec::new(), Vec::<String>::new());
    for kind in Kind::ALL {
        let named = sweeps
            .iter()
            .zip(&names)
            .map(|(sweep, name)| (if sweeps.len() > 1 { name.clone() } else { "ours".to_owned() }, sweep));
        let Some(table) = Images::new(kind, named.collect(), true) else { continue };
        if !out.is_empty() {
            out.push('\n');
        }
        images(&mut out, &table, (sweeps, &names), &mut said, color);
        for (sweep, name) in sweeps.iter().zip(&names) {
            for sentence in table.selection(sweep).missing() {
                let line = format!("{name}: {sentence}");
                if !missing.contains(&line) {
                    missing.push(line);
                }
            }
        }
    }
    if !missing.is_empty() {
        let _ = writeln!(out, "\n{}", missing.join("\n"));
    }
    out
}

/// One of the tables of image sets, and what was not `said` under one before: its conditions, and where the paper's numbers
/// are from.
fn images(
    out: &mut String,
    table: &Images,
    (sweeps, names): (&[Sweep], &[String]),
    said: &mut Vec<String>,
    color: bool,
) {
    let part = table.part();
    let what = match table.kind {
        Kind::Classifier => "accuracy of the single-layer classifier, %",
        Kind::Fitted => "accuracy of a single-layer classifier fitted afterwards, %",
        Kind::Clusters => "accuracy of clusters, %",
        Kind::Error => "mean squared error of reconstructions, ×10⁻³",
    };
    let _ = writeln!(out, "{}: {what}\n", part.name);
    let mut rows = vec![part.headings.iter().map(Entry::plain).collect::<Vec<_>>()];
    rows.extend(part.lines.iter().map(|line| line.cells.clone()));
    *out += &set(&rows, part.left, color);
    let mut remarks = Vec::new();
    for (sweep, name) in sweeps.iter().zip(names) {
        let selection = table.selection(sweep);
        if !selection.groups.is_empty() {
            remarks.push(format!("{name}: {}", selection.all_conditions()));
            let restarts = table.other_restarts(&selection);
            if !restarts.is_empty() {
                remarks.push(format!("{name}:{restarts}"));
            }
        }
    }
    remarks.extend(table.remarks());
    remarks.retain(|remark| !said.contains(remark));
    if !remarks.is_empty() {
        let _ = writeln!(out, "\n{}", remarks.join("\n"));
    }
    said.extend(remarks);
}

/// One table, the sweep in its first column if there are several.
fn lines(sweeps: &[Sweep], names: &[String], color: bool) -> String {
    let table = Table::new(sweeps);
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
            row.extend([table.entry(group, metric), paper(group, metric)]);
        }
        row.extend([seeds(group), samples(group)]);
        row
    };
    let mut rows = vec![headings.into_iter().map(Entry::plain).collect::<Vec<_>>()];
    rows.extend(table.groups.iter().map(row));

    let mut out = set(&rows, left, color);
    for (sweep, name) in sweeps.iter().zip(names) {
        let selection = sweep.lines();
        if selection.groups.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{name}: {}", selection.all_conditions());
        for sentence in selection.missing() {
            let _ = writeln!(out, "{name}: {sentence}");
        }
    }
    let _ = writeln!(out, "\n{}", source_note(1));
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

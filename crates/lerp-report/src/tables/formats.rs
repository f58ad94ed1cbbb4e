//! Tables as Markdown and LaTeX.

use std::fmt::Write;

use super::sheet::{Entry, Sheet, Table};
use crate::text;

/// Formats a sheet as GitHub Markdown.
pub fn markdown(sheet: &Sheet) -> String {
    sheet.tables.iter().map(markdown_table).collect::<Vec<_>>().join("\n")
}

fn markdown_table(table: &Table) -> String {
    let mut out = format!("**{}.** {}\n\n", table.name, text::markdown(&table.whole_caption()));
    let headings: Vec<String> = table.headings.iter().map(|heading| text::markdown(heading)).collect();
    let _ = writeln!(out, "| {} |", headings.join(" | "));
    let right = table.headings.len() - table.left;
    let _ = writeln!(out, "|{}{}", "---|".repeat(table.left), "---:|".repeat(right));
    let cell = |entry: &Entry| {
        let text = text::markdown(&entry.text);
        if entry.best { format!("**{text}**") } else { text }
    };
    for line in &table.lines {
        let cells: Vec<String> = line.cells.iter().map(cell).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
    for note in &table.notes {
        let _ = writeln!(out, "- {}", text::markdown(note));
    }
    let gap = if table.notes.is_empty() { "" } else { "\n" };
    let _ = writeln!(out, "{gap}Provenance: {}", text::markdown(&table.provenance));
    out
}

/// Formats a sheet as LaTeX floats, which need the packages booktabs and, since tables may be too wide for a page,
/// adjustbox.
pub fn latex(sheet: &Sheet) -> String {
    let tables: Vec<String> = sheet.tables.iter().map(latex_table).collect();
    format!("% needs \\usepackage{{booktabs}} and \\usepackage{{adjustbox}}\n{}", tables.join("\n"))
}

fn latex_table(table: &Table) -> String {
    let side = |index| if index < table.left { 'l' } else { 'r' };
    let headings = table.headings.iter().enumerate();
    let headings: Vec<String> = headings.map(|(index, text)| latex_heading(text, side(index))).collect();
    // The caption is the first sentence; the rest of it stands below the table in small type.
    let whole = table.whole_caption();
    let (caption, more) = whole.split_once(". ").unwrap_or((&whole, ""));
    let stop = if more.is_empty() { "" } else { "." };
    let mut out = String::from("\\begin{table*}\n\\centering\n");
    let _ = writeln!(out, "\\caption{{{}{stop}}}\n\\label{{{}}}", text::latex(caption), table.label);
    out += "\\smallskip\n\\footnotesize\n\\setlength{\\tabcolsep}{3pt}\n";
    out += "\\begin{adjustbox}{max width=\\linewidth}\n";
    let right = "r".repeat(headings.len() - table.left);
    let _ = writeln!(out, "\\begin{{tabular}}{{{}{right}}}", "l".repeat(table.left));
    let _ = writeln!(out, "\\toprule\n{} \\\\\n\\midrule", headings.join(" & "));
    let cell = |entry: &Entry| {
        let text = text::latex(&entry.text);
        if entry.best { format!("\\textbf{{{text}}}") } else { text }
    };
    for (i, line) in table.lines.iter().enumerate() {
        if line.first && i > 0 {
            out += "\\addlinespace\n";
        }
        let cells: Vec<String> = line.cells.iter().map(cell).collect();
        let _ = writeln!(out, "{} \\\\", cells.join(" & "));
    }
    out += "\\bottomrule\n\\end{tabular}\n\\end{adjustbox}\n";
    out += "\n\\smallskip\n\\begin{minipage}{\\linewidth}\n\\footnotesize\n";
    let more = Some(more).filter(|more| !more.is_empty());
    for note in more.into_iter().chain(table.notes.iter().map(String::as_str)) {
        let _ = writeln!(out, "{}\\par", text::latex(note));
    }
    let _ = writeln!(out, "\\scriptsize Provenance: {}\\par", text::latex(&table.provenance));
    out + "\\end{minipage}\n\\end{table*}\n"
}

/// Formats a heading in LaTeX: a long one in two lines, with its unit in the second.
fn latex_heading(heading: &str, side: char) -> String {
    const LONG: usize = 8;
    let (words, unit) = match heading.strip_suffix(" ×10⁻³") {
        Some(words) => (words, r"$\times 10^{-3}$"),
        None => (heading, ""),
    };
    let (first, second) = match words.split_once(' ') {
        _ if !unit.is_empty() => (words, String::new()),
        Some((first, second)) if words.chars().count() >= LONG => (first, text::latex(second)),
        _ => (words, String::new()),
    };
    match text::latex(first) {
        first if second.is_empty() && unit.is_empty() => first,
        first => format!("\\shortstack[{side}]{{{first}\\\\{second}{unit}}}"),
    }
}

//! Tables as Markdown and LaTeX.

use std::fmt::Write;

use crate::{
    sheet::{Entry, Part, Sheet},
    text,
};

/// Formats a sheet as GitHub Markdown.
pub fn markdown(sheet: &Sheet) -> String {
    sheet.parts.iter().map(markdown_part).collect::<Vec<_>>().join("\n")
}

fn markdown_part(part: &Part) -> String {
    let mut out = format!("**{}.** {}\n\n", part.name, text::markdown(&part.whole_caption()));
    let headings: Vec<String> = part.headings.iter().map(|heading| text::markdown(heading)).collect();
    let _ = writeln!(out, "| {} |", headings.join(" | "));
    let right = part.headings.len() - part.left;
    let _ = writeln!(out, "|{}{}", "---|".repeat(part.left), "---:|".repeat(right));
    let cell = |entry: &Entry| {
        let text = text::markdown(&entry.text);
        if entry.best { format!("**{text}**") } else { text }
    };
    for line in &part.lines {
        let cells: Vec<String> = line.cells.iter().map(cell).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
    for note in &part.notes {
        let _ = writeln!(out, "- {}", text::markdown(note));
    }
    let gap = if part.notes.is_empty() { "" } else { "\n" };
    let _ = writeln!(out, "{gap}Provenance: {}", text::markdown(&part.provenance));
    out
}

/// Formats a sheet as LaTeX floats, which need the booktabs package, and adjustbox if a table may be too wide for its
/// column.
pub fn latex(sheet: &Sheet) -> String {
    let adjusted = if sheet.parts.iter().any(|part| part.wide) { " and \\usepackage{adjustbox}" } else { "" };
    let parts: Vec<String> = sheet.parts.iter().map(latex_part).collect();
    format!("% needs \\usepackage{{booktabs}}{adjusted}\n{}", parts.join("\n"))
}

fn latex_part(part: &Part) -> String {
    let side = |place| if place < part.left { 'l' } else { 'r' };
    let headings = part.headings.iter().enumerate();
    let headings: Vec<String> = headings.map(|(place, text)| latex_heading(text, side(place))).collect();
    // The caption is the first sentence; the rest of it stands below the table in small type.
    let whole = part.whole_caption();
    let (caption, more) = whole.split_once(". ").unwrap_or((&whole, ""));
    let stop = if more.is_empty() { "" } else { "." };
    let float = if part.wide { "table*" } else { "table" };
    let mut out = format!("\\begin{{{float}}}\n\\centering\n");
    let _ = writeln!(out, "\\caption{{{}{stop}}}\n\\label{{{}}}", text::latex(caption), part.label);
    out += "\\smallskip\n\\footnotesize\n\\setlength{\\tabcolsep}{3pt}\n";
    if part.wide {
        out += "\\begin{adjustbox}{max width=\\linewidth}\n";
    }
    let right = "r".repeat(headings.len() - part.left);
    let _ = writeln!(out, "\\begin{{tabular}}{{{}{right}}}", "l".repeat(part.left));
    let _ = writeln!(out, "\\toprule\n{} \\\\\n\\midrule", headings.join(" & "));
    let cell = |entry: &Entry| {
        let text = text::latex(&entry.text);
        if entry.best { format!("\\textbf{{{text}}}") } else { text }
    };
    for (i, line) in part.lines.iter().enumerate() {
        if line.first && i > 0 {
            out += "\\addlinespace\n";
        }
        let cells: Vec<String> = line.cells.iter().map(cell).collect();
        let _ = writeln!(out, "{} \\\\", cells.join(" & "));
    }
    out += "\\bottomrule\n\\end{tabular}\n";
    if part.wide {
        out += "\\end{adjustbox}\n";
    }
    out += "\n\\smallskip\n\\begin{minipage}{\\linewidth}\n\\footnotesize\n";
    let more = Some(more).filter(|more| !more.is_empty());
    for note in more.into_iter().chain(part.notes.iter().map(String::as_str)) {
        let _ = writeln!(out, "{}\\par", text::latex(note));
    }
    let _ = writeln!(out, "\\scriptsize Provenance: {}\\par", text::latex(&part.provenance));
    let _ = writeln!(out, "\\end{{minipage}}\n\\end{{{float}}}");
    out
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

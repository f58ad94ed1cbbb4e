//! Table 1 as Markdown, LaTeX and CSV.

use std::fmt::Write;

use crate::{
    published::published,
    summary::{Estimate, Sweep},
    table::{METRICS, Table},
    text,
};

/// GitHub Markdown.
pub fn markdown(sweep: &Sweep) -> String {
    let table = Table::new([sweep]);
    let mut out = format!("**Table 1.** {}\n\n", text::markdown(&Table::caption(sweep)));
    let headings = Table::headings();
    let _ = writeln!(out, "| {} |", headings.join(" | "));
    let _ = writeln!(out, "|---|{}", "---:|".repeat(headings.len() - 1));
    for row in table.rows() {
        let cells: Vec<String> = row
            .iter()
            .map(
                |e| if e.best { format!("**{}**", text::markdown(&e.text)) } else { text::markdown(&e.text) },
            )
            .collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
    for note in table.notes() {
        let _ = writeln!(out, "- {}", text::markdown(&note));
    }
    out
}

/// A LaTeX float for the booktabs package.
pub fn latex(sweep: &Sweep) -> String {
    let table = Table::new([sweep]);
    let headings: Vec<String> =
        Table::headings().iter().map(|h| text::latex(&h.replace(" ×10⁻³", "")) + unit(h)).collect();
    let mut out = String::from("% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n");
    let _ = writeln!(out, "\\caption{{{}}}\n\\label{{tab:lines}}", text::latex(&Table::caption(sweep)));
    out += "\\footnotesize\n\\setlength{\\tabcolsep}{3pt}\n";
    let _ = writeln!(out, "\\begin{{tabular}}{{l{}}}", "r".repeat(headings.len() - 1));
    let _ = writeln!(out, "\\toprule\n{} \\\\\n\\midrule", headings.join(" & "));
    for row in table.rows() {
        let cells: Vec<String> =
            row.iter()
                .map(|e| {
                    if e.best {
                        format!("\\textbf{{{}}}", text::latex(&e.text))
                    } else {
                        text::latex(&e.text)
                    }
                })
                .collect();
        let _ = writeln!(out, "{} \\\\", cells.join(" & "));
    }
    out += "\\bottomrule\n\\end{tabular}\n\n\\smallskip\n\\begin{minipage}{\\linewidth}\n\\footnotesize\n";
    for note in table.notes() {
        let _ = writeln!(out, "{}\\par", text::latex(&note));
    }
    out + "\\end{minipage}\n\\end{table}\n"
}

/// The unit of a heading, in LaTeX.
fn unit(heading: &str) -> &'static str {
    if heading.ends_with(" ×10⁻³") { r" $\times 10^{-3}$" } else { "" }
}

/// One line for each row and metric, plain numbers: empty where no run is finished, `NaN` where undefined.
///
/// Mean distances are not scaled, neither ours nor the paper's.
pub fn csv(sweep: &Sweep) -> String {
    let mut out = String::from(
        "variant,label,metric,mean,std,seeds,samples,learning_rate,published_mean,published_std,published_mean_checked\n",
    );
    for group in sweep.on_lines() {
        for metric in &METRICS {
            let (mean, std, seeds) = match group.estimate(metric.name) {
                Estimate::Known { mean, n: 1, .. } => (text::number(mean), String::new(), 1),
                Estimate::Known { mean, std, n } => (text::number(mean), text::number(std), n),
                Estimate::Undefined => ("NaN".into(), String::new(), 0),
                Estimate::Missing => (String::new(), String::new(), 0),
            };
            let cell = group.cell();
            // Rounded, since dividing by 1000 is not exact.
            let unscaled = |v: f64| text::number((v / metric.factor * 1e9).round() / 1e9);
            let paper = published().lines(metric.name, &cell.variant).map_or(",,".into(), |n| {
                format!("{},{},{}", unscaled(n.mean), unscaled(n.std), n.mean_checked)
            });
            let _ = writeln!(
                out,
                "{},{},{},{mean},{std},{seeds},{},{},{paper}",
                text::csv(&cell.variant),
                text::csv(&group.label),
                metric.name,
                cell.samples,
                text::number(cell.learning_rate)
            );
        }
    }
    out
}

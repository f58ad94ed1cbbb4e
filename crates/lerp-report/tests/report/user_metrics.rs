//! User-defined metrics in tables, figures, on the page and in the terminal.

use std::{fs, path::Path};

use lerp_eval::{Better, Quantity};
use lerp_report::{ReportOptions, TerminalStyle, compare, report};
use lerp_train::State;

use crate::common::{
    Run, cells,
    images::{Fake, fake},
    measures, on_lines, read, row, value,
};

const SHARPNESS: Quantity = Quantity::new(
    "eval/sharpness",
    "Sharpness <b>|$x$",
    Better::Higher,
    "How sharp decoded images are.\u{1b}[31m",
);
const SPAN: Quantity = Quantity::new("final/span", "Span", Better::Lower, "How far latents reach.");

/// Writes a finished run on lines with a sharpness at each of 16 evaluations and a span at its end.
fn run(sweep: &Path, (variant, title): (&str, &str), seed: u64, sharpness: f64, span: Option<f64>) {
    let mut rows: Vec<_> = (1..=16)
        .flat_map(|i| [value(i, "eval/mean_distance", 0.001), value(i, "eval/sharpness", sharpness)])
        .collect();
    rows.extend(span.map(|span| value(16, "final/span", span)));
    let dir = Run::on_lines(on_lines(variant, seed), title, State::Done, rows).write(sweep);
    measures(&dir, &[SHARPNESS.in_unit("1/px"), SPAN]);
}

#[test]
fn user_defined_metrics_reach_every_output() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, sharpness) in [(0, 0.5), (1, 0.7)] {
        run(dir.path(), ("acai", "ACAI"), seed, sharpness, Some(1000.0 + seed as f64));
        run(dir.path(), ("mine", "Mine"), seed, 0.25, (seed == 1).then_some(f64::NAN));
    }
    // One run has no metrics of its own.
    let rows = (1..=16).map(|i| value(i, "eval/mean_distance", 0.002)).collect();
    Run::on_lines(on_lines("vae", 0), "VAE", State::Done, rows).write(dir.path());
    let outcome = report(dir.path(), &ReportOptions::default()).unwrap();
    assert!(outcome.left_out.is_empty(), "{outcome:?}");

    let table = read(&dir, "tables/further.md");
    assert!(
        table.contains("| Configuration | Sharpness &lt;b>\\|$x$ (1/px) | Span | Seeds | Samples |"),
        "{table}"
    );
    assert_eq!(cells(row(&table, "ACAI"))[1..4], ["**0.6000 ± 0.1000**", "1000 ± 0", "n=2"]);
    assert_eq!(cells(row(&table, "Mine"))[1..4], ["0.2500 ± 0.0000", "undefined", "n=2"]);
    assert_eq!(cells(row(&table, "VAE"))[1..4], ["–", "–", "n=1"]);
    assert!(
        table.contains("(1/px), higher is better: How sharp decoded images are.")
            && !table.contains('\u{1b}')
    );
    let latex = read(&dir, "tables/further.tex");
    assert!(
        latex.contains(r"\label{tab:further}") && latex.contains(r"\textbf{0.6000 $\pm$ 0.1000}"),
        "{latex}"
    );
    assert!(!latex.contains("$x$") && latex.contains(r"\$x\$"), "{latex}");
    let csv = read(&dir, "tables/further.csv");
    assert!(
        csv.starts_with("dataset,latent,variant,label,metric,title,unit,better,mean,std,seeds,samples,"),
        "{csv}"
    );
    let line =
        |of: &str| csv.lines().find(|line| line.starts_with(of)).unwrap_or_else(|| panic!("{of}: {csv}"));
    assert!(
        line("lines,,acai,ACAI,final/span,Span,,lower,")
            .contains(",1000.5,0.5,2,16777216,0.0001,constant,,ACAI,"),
        "{csv}"
    );
    assert!(line("lines,,mine,Mine,final/span,Span,,lower,").contains(",NaN,,0,"), "{csv}");
    assert!(!csv.contains("vae"), "{csv}");
    assert!(dir.path().join("tables/further.parquet").exists());

    let figure = read(&dir, "figures/curves.svg");
    assert!(figure.contains("Sharpness &lt;b&gt;|$x$ (1/px)") && !figure.contains("<b>"), "{figure:.300}");
    let page = read(&dir, "index.html");
    assert!(page.contains("id=\"further\"") && !page.contains("<b>|$x$"));
    assert!(
        page.contains("Then metrics of this study&#x27;s own")
            || page.contains("Then metrics of this study's own")
    );

    let text = compare(&[dir.path().to_owned()], TerminalStyle::Plain).unwrap().terminal;
    assert!(text.contains("Further metrics") && text.contains("0.6000 ± 0.1000"), "{text}");
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn sweeps_with_other_metrics_stand_side_by_side() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(one.path(), ("acai", "ACAI"), 0, 0.5, Some(3.0));
    Fake { data: "bbbb", ..fake(0, 0, 0.9) }.write(other.path());
    let image = fake(6, 0, 0.9).with("final/span", 7.0).write(other.path());
    measures(&image, &[Quantity { better: Better::Higher, ..SPAN }]);
    let dirs = [one.path().to_owned(), other.path().to_owned()];
    let outcome = compare(&dirs, TerminalStyle::Plain).unwrap();
    assert!(outcome.left_out.is_empty());
    let table = outcome.terminal.split("Further metrics").nth(1).unwrap();
    let numbers = |name: &str| {
        let line =
            table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {table}"));
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(numbers("ACAI")[2..4], ["0.5000", "3.000"]);
    assert_eq!(numbers("MNIST 32 ACAI")[2..4], ["–", "7.000"]);
    assert_eq!(numbers("MNIST 32 Baseline")[2..4], ["–", "–"]);
    assert!(table.contains("Span: not all runs say the same of what it is."), "{table}");
}

#[test]
fn a_record_with_an_invalid_metric_key_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), ("acai", "ACAI"), 0, 0.5, None);
    run(dir.path(), ("acai", "ACAI"), 1, 0.5, None);
    let bad = dir.path().join("runs").join(on_lines("acai", 1).id()).join("run.toml");
    let text = fs::read_to_string(&bad).unwrap();
    for key in ["eval/../x", "sharpness", "eval/"] {
        fs::write(&bad, text.replace("eval/sharpness", key)).unwrap();
        let outcome = report(dir.path(), &ReportOptions::default()).unwrap();
        assert!(outcome.left_out[0].contains("describes a quantity that is not valid"), "{outcome:?}");
    }
    // A key that was user-defined in an earlier version and has since become one of Lerpbench's is accepted.
    fs::write(&bad, text.replace("eval/sharpness", "eval/mean_distance")).unwrap();
    let outcome = report(dir.path(), &ReportOptions::default()).unwrap();
    assert!(outcome.left_out.is_empty(), "{outcome:?}");
}

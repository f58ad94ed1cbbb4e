//! Reports of sweeps on lines whose numbers are known.

use std::{
    fs,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use lerp_report::{ReportOptions, TerminalStyle, compare, report};
use lerp_train::{Cell, MetricRow, Metrics, State};

use crate::common::{self, Run, on_lines, pixels, read, row, value};

const DISTANCE: &str = "eval/mean_distance";
const SMOOTHNESS: &str = "eval/mean_smoothness";

/// A run to be written; by default it is finished, with a smoothness of 0.5 and the same mean distance at all 16
/// evaluations.
struct Fake {
    variant: &'static str,
    title: &'static str,
    seed: u64,
    state: State,
    distance: f64,
    smoothness: f64,
    rate: f64,
    evaluations: u64,
    advweight: Option<f64>,
}

fn fake(variant: &'static str, title: &'static str, seed: u64, distance: f64) -> Fake {
    Fake {
        variant,
        title,
        seed,
        state: State::Done,
        distance,
        smoothness: 0.5,
        rate: 1e-4,
        evaluations: 16,
        advweight: None,
    }
}

impl Fake {
    fn write(&self, sweep: &Path) -> PathBuf {
        let hyper = self.advweight.map(|v| ("advweight".to_owned(), v.into())).into_iter().collect();
        let cell = Cell { learning_rate: self.rate, hyper, ..on_lines(self.variant, self.seed) };
        let values = [(DISTANCE, self.distance), (SMOOTHNESS, self.smoothness)];
        let rows = (1..=self.evaluations)
            .flat_map(|i| values.map(|(metric, at)| value(i, metric, at)))
            .collect::<Vec<_>>();
        let (title, state, samples, evaluated) =
            (self.title, self.state, self.evaluations << 20, !rows.is_empty());
        let dir = Run { cell, title, state, samples, data: None, images: None, rows }.write(sweep);
        if evaluated {
            let images = Tensor::zeros((16, 32, 32, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
            images.save_safetensors("images", dir.join("interpolation.safetensors")).unwrap();
        }
        dir
    }
}

/// Writes a sweep of these runs and its report.
fn reported(runs: &[Fake]) -> tempfile::TempDir {
    common::reported(|sweep| {
        for run in runs {
            run.write(sweep);
        }
    })
}

#[test]
fn a_caption_names_hyperparameters_that_are_not_the_papers() {
    let dir = reported(&[
        Fake { advweight: Some(0.01), ..fake("aae", "AAE", 0, 0.005) },
        Fake { advweight: Some(0.5), ..fake("acai", "ACAI", 0, 0.005) },
    ]);
    let table = read(&dir, "tables/table1.md");
    let sentence = "These are not the paper's conditions: AAE's advweight 0.01 instead of 1.";
    assert!(table.contains(sentence), "{table}");
}

#[test]
fn means_deviations_and_the_best() {
    let dir = reported(&[
        fake("acai", "ACAI", 0, 0.0004),
        fake("acai", "ACAI", 1, 0.0002),
        fake("baseline", "Baseline", 0, 0.005),
        Fake { smoothness: 0.25, ..fake("vae", "VAE", 0, 0.003) },
    ]);
    let table = read(&dir, "tables/table1.md");
    let (baseline, vae, acai) = (row(&table, "Baseline"), row(&table, "VAE"), row(&table, "ACAI"));
    let begin = "| Baseline | 5.00 | 6.88 ± 0.21† | better | 0.50 | 0.44 ± 0.04† | same |";
    assert!(baseline.starts_with(begin), "{baseline}");
    assert!(vae.contains("| 3.00 |") && vae.contains("| **0.25** |"), "{vae}");
    assert!(acai.starts_with("| ACAI | **0.30 ± 0.10** | 0.24 ± 0.01† | same | 0.50 ± 0.00 |"), "{acai}");
    assert_eq!(table.matches("**").count(), 2 + 2 * 2, "the title and two best values: {table}");
    assert!(acai.contains("n=2") && table.contains("16,777,216 samples a run; seeds 0, 1;"), "{table}");
    assert!(!table.contains("not the paper's conditions"), "{table}");
    let order: Vec<_> = ["| Baseline", "| VAE", "| ACAI"].iter().map(|t| table.find(t).unwrap()).collect();
    assert!(order.is_sorted());
    let references = "mixed linearly; the decoder uses the direction of a latent alone. Perfect path: true lines that turn evenly.";
    assert!(table.contains(references), "{table}");

    let csv = read(&dir, "tables/table1.csv");
    let line = csv.lines().find(|l| l.starts_with("acai,ACAI,mean_distance,")).unwrap();
    let fields: Vec<&str> = line.split(',').collect();
    let mean: f64 = fields[3].parse().unwrap();
    assert!(
        (mean - 0.0003).abs() < 1e-12
            && fields[5..9] == ["2", "16777216", "0.0001", "constant"]
            && fields[9..14] == ["", "0.00024", "0.00001", "false", "same"]
    );
    let latex = read(&dir, "tables/table1.tex");
    assert!(latex.contains(r"\textbf{0.30 $\pm$ 0.10} & 0.24 $\pm$ 0.01$^\dagger$ &"), "{latex}");
    assert!(!latex.contains('⁻') && !latex.contains('†'), "{latex}");
    let terminal = compare(&[dir.path().to_owned()], TerminalStyle::Colored).unwrap().terminal;
    assert!(terminal.contains("\u{1b}[1m0.30 ± 0.10\u{1b}[0m"), "{terminal}");
    assert!(!compare(&[dir.path().to_owned()], TerminalStyle::Plain).unwrap().terminal.contains('\u{1b}'));
}

#[test]
fn the_median_of_the_end_is_the_final_value() {
    let dir = tempfile::tempdir().unwrap();
    let run = fake("baseline", "Baseline", 0, 0.005).write(dir.path());
    let values = (0..256_u64).map(|i| MetricRow {
        step: i,
        samples: i,
        metric: DISTANCE.into(),
        value: (256 - i) as f64 * 1e-3,
        wall_s: 0.0,
    });
    std::fs::write(run.join("metrics.parquet"), Metrics(values.collect()).parquet().unwrap()).unwrap();
    report(dir.path(), &ReportOptions::default()).unwrap();
    let table = read(&dir, "tables/table1.md");
    assert!(row(&table, "Baseline").contains("| 10.50 |"), "20 values from 20 to 1: {table}");
}

#[test]
fn unfinished_runs_are_stated_and_not_counted() {
    let dir = reported(&[
        Fake { state: State::Failed, ..fake("vae", "VAE", 0, 9.0) },
        Fake { state: State::Interrupted, ..fake("vae", "VAE", 1, 9.0) },
        fake("vae", "VAE", 2, 0.003),
        Fake { state: State::Running, evaluations: 0, ..fake("aae", "AAE", 0, 9.0) },
        Fake { smoothness: f64::NAN, ..fake("baseline", "Baseline", 0, 0.004) },
    ]);
    let table = read(&dir, "tables/table1.md");
    assert!(
        row(&table, "VAE").contains("| **3.00** |") && row(&table, "VAE").contains("n=1 of 3"),
        "{table}"
    );
    assert!(row(&table, "AAE").contains("| – |") && row(&table, "AAE").contains("n=0 of 1"), "{table}");
    assert!(row(&table, "Baseline").contains("| undefined |"), "{table}");
    assert!(
        table.contains("- VAE, seed 0: failed after 16,777,216 of 16,777,216 samples: loss &lt;b>became"),
        "{table}"
    );
    assert!(table.contains("- VAE, seed 1: interrupted at"), "{table}");
    assert!(table.contains("- AAE, seed 0: running, or killed, at 0 of"), "{table}");
    let csv = read(&dir, "tables/table1.csv");
    assert!(csv.lines().any(|l| l.starts_with("baseline,Baseline,mean_smoothness,NaN,,0,")), "{csv}");
    assert!(csv.lines().any(|l| l.starts_with("aae,AAE,mean_distance,,,0,")), "{csv}");
}

#[test]
fn other_variants_and_configurations_have_rows_of_their_own() {
    let dir = reported(&[
        fake("mine", "My_own & <best>", 0, 0.001),
        fake("baseline", "Baseline", 0, 0.004),
        Fake { rate: 1e-3, ..fake("baseline", "Baseline", 0, 0.005) },
    ]);
    let table = read(&dir, "tables/table1.md");
    row(&table, "Baseline (learning_rate=0.0001)");
    row(&table, "Baseline (learning_rate=0.001)");
    assert!(row(&table, "My_own &amp; &lt;best>").contains("| **1.00** | – |"), "{table}");
    assert!(table.contains("another learning rate than its 0.0001"), "{table}");
    assert!(read(&dir, "tables/table1.tex").contains(r"My\_own \& \textless{}best\textgreater{}"));
    let page = read(&dir, "index.html");
    assert!(page.contains("My_own &amp; &lt;best&gt;") && !page.contains("<best>"));
}

#[test]
fn the_page_needs_nothing_else_and_figures_are_pictures() {
    let dir = reported(&[fake("baseline", "Baseline", 0, 0.004), fake("baseline", "Baseline", 1, 0.006)]);
    let page = read(&dir, "index.html");
    for loading in ["<script src", "@import", "url(http", "url(\"", "src=\"http", "href=\"http", "fetch("] {
        assert!(!page.contains(loading), "{loading}");
    }
    assert_eq!(page.matches("<figure id=").count(), 5, "figures 2 and 3, curves, cost, speed");
    assert!(page.contains("2 runs: 2 finished") && page.contains("lerp sweep --out &lt;here&gt;"), "{page}");
    for name in ["figure3", "curves"] {
        let svg = read(&dir, &format!("figures/{name}.svg"));
        assert!(
            svg.len() < 500_000 && svg.trim_end().ends_with("</svg>") && svg.contains("Baseline"),
            "{name}"
        );
        let bytes = fs::read(dir.path().join(format!("figures/{name}.png"))).unwrap();
        let (pixels, width) = pixels(bytes);
        assert!(width > 1000, "{name}");
        assert!(pixels.iter().any(|v| *v < 60) && pixels[0] == 255, "{name} is drawn on white");
    }
}

#[test]
fn files_of_tables_that_a_sweep_has_no_more_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    fake("baseline", "Baseline", 0, 1e-3).write(dir.path());
    let tables = dir.path().join("tables");
    fs::create_dir_all(&tables).unwrap();
    let stale = ["table2.md", "table3.tex", "table4.csv", "further.parquet", "ranks.md"];
    let others = ["table6.md", "table2.txt", "mine.csv"];
    for file in stale.iter().chain(&others) {
        fs::write(tables.join(file), "old").unwrap();
    }
    report(dir.path(), &ReportOptions::default()).unwrap();
    for file in stale {
        assert!(!tables.join(file).exists(), "{file}");
    }
    for file in others {
        assert_eq!(read(&dir, &format!("tables/{file}")), "old", "{file}");
    }
    assert!(tables.join("table1.md").exists() && tables.join("cost.md").exists());
}

#[test]
fn unreportable_sweeps_are_refused_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |options: &ReportOptions| report(dir.path(), options).unwrap_err().to_string();
    let figure = |name: &str| ReportOptions { figure: Some(name.into()), terminal: None };
    assert!(refused(&ReportOptions::default()).contains("holds no runs"));
    let begun = Fake { evaluations: 0, state: State::Interrupted, ..fake("baseline", "Baseline", 0, 1.0) };
    let run = begun.write(dir.path());
    assert!(refused(&figure("4")).contains("no figure '4'; there are: 2, 2a,"));
    assert!(refused(&figure("3")).contains("cannot be drawn"));
    report(dir.path(), &ReportOptions::default()).unwrap();
    assert!(!dir.path().join("figures/figure3.svg").exists());
    fs::write(run.join("metrics.parquet"), "PAR1").unwrap();
    let error = refused(&ReportOptions::default());
    assert!(error.contains("can be read") && error.contains("metrics.parquet"), "{error}");
    assert!(error.contains("delete its run"), "{error}");
}

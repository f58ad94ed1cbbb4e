//! Verdicts, differences over seeds and provenance of sweeps whose numbers are known.

use std::{fs, path::Path};

use lerp_core::Precision;
use lerp_report::{ReportOptions, TerminalStyle, compare, report};
use lerp_train::{Cell, State};
use polars::prelude::{ParquetReader, SerReader};

use crate::common::{
    ACAI, BASELINE, Run, VAE, cells,
    images::{Fake, fake},
    on_lines, read, row, value,
};

/// Writes a finished run on lines under the paper's conditions, with a mean distance in 10⁻³ and a smoothness.
fn lines(sweep: &Path, (variant, title): (&str, &str), seed: u64, distance: f64, smoothness: f64) {
    run(
        sweep,
        (variant, title),
        seed,
        State::Done,
        &[("mean_distance", distance * 1e-3), ("mean_smoothness", smoothness)],
    );
}

fn run(sweep: &Path, variant: (&str, &str), seed: u64, state: State, metrics: &[(&str, f64)]) {
    run_in(Precision::F32, sweep, variant, seed, state, metrics);
}

fn run_in(
    precision: Precision,
    sweep: &Path,
    (variant, title): (&str, &str),
    seed: u64,
    state: State,
    metrics: &[(&str, f64)],
) {
    let cell = Cell { precision, ..on_lines(variant, seed) };
    let rows =
        (1..=16).flat_map(|i| metrics.iter().map(move |(name, v)| value(i, &format!("eval/{name}"), *v)));
    let rows = rows.collect();
    Run::on_lines(cell, title, state, rows).write(sweep);
}

/// Returns the cells of the row with this label.
fn row_cells<'a>(table: &'a str, label: &str) -> Vec<&'a str> {
    cells(row(table, label))
}

#[test]
fn runs_of_two_precisions_are_two_rows_and_both_say_so() {
    let dir = tempfile::tempdir().unwrap();
    for (precision, distance) in [(Precision::F32, 0.001), (Precision::Tf32, 0.002)] {
        for seed in 0..2 {
            run_in(precision, dir.path(), ACAI, seed, State::Done, &[("mean_distance", distance)]);
        }
    }
    lines(dir.path(), VAE, 0, 3.0, 0.5);
    report(dir.path(), &ReportOptions::default()).unwrap();
    let text = read(&dir, "tables/table1.md");
    assert!(row_cells(&text, "ACAI (precision=f32)")[1].contains("1.00 ± 0.00"), "{text}");
    assert!(row_cells(&text, "ACAI (precision=tf32)")[1].contains("2.00 ± 0.00"), "{text}");
    row(&text, "VAE");
}

#[test]
fn variants_are_compared_with_the_best_seed_by_seed() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, distance) in [(0, 0.20), (1, 0.30), (2, 0.25), (7, 0.26)] {
        lines(dir.path(), ACAI, seed, distance, 0.5);
    }
    // Worse by 0.9, 1.1 and 1.0 at the seeds in common. Seed 5 has no counterpart.
    for (seed, distance) in [(0, 1.10), (1, 1.40), (2, 1.25), (5, 9.0)] {
        lines(dir.path(), VAE, seed, distance, 0.4);
    }
    // Better than the best at one of three seeds.
    for (seed, distance) in [(0, 0.40), (1, 0.20), (2, 0.35)] {
        lines(dir.path(), BASELINE, seed, distance, 0.45);
    }
    lines(dir.path(), ("mine", "Mine"), 0, 3.0, f64::NAN);
    report(dir.path(), &ReportOptions::default()).unwrap();
    let text = read(&dir, "tables/table1.md");
    let (first, second) = text.split_once("**Table 1b.**").unwrap();
    assert_eq!(row_cells(first, "Baseline")[1], "0.32 ± 0.08 ≈");
    assert_eq!(row_cells(first, "ACAI")[1], "**0.25 ± 0.04**");
    assert!(
        !row_cells(first, "VAE")[1].contains('≈') && first.contains("≈: not to be told apart"),
        "{first}"
    );
    assert_eq!(row_cells(second, "VAE")[1..3], ["+1.00 [+0.90, +1.10]", "0 %"]);
    assert_eq!(row_cells(second, "ACAI")[1..3], ["**best**", "–"]);
    let baseline = row_cells(second, "Baseline");
    // The differences are 0.2, -0.1 and 0.1. Of 27 resamples, one is of -0.1 alone, and three are of -0.1 twice and
    // 0.1.
    assert_eq!(baseline[1], "+0.07 ≈ [−0.10, +0.20]");
    assert_eq!((baseline[2], baseline[5]), ("20 %", "3"));
    assert_eq!(row_cells(second, "Mine")[1..6], ["too few seeds", "–", "–", "–", "1"]);
    assert!(
        second.contains("of 3 seeds, all differences") && second.contains("in one of 4 cases"),
        "{second}"
    );
    // Smoothness has another best variant.
    assert_eq!(
        (row_cells(second, "VAE")[3], row_cells(second, "ACAI")[3]),
        ("**best**", "+0.10 [+0.10, +0.10]")
    );

    let file = fs::File::open(dir.path().join("tables/table1.parquet")).unwrap();
    let table = ParquetReader::new(file).finish().unwrap();
    let text = |name: &str, i: usize| table.column(name).unwrap().str().unwrap().get(i).map(String::from);
    let real = |name: &str, i: usize| table.column(name).unwrap().f64().unwrap().get(i);
    let whole = |name: &str, i: usize| table.column(name).unwrap().i64().unwrap().get(i);
    let find = |variant: &str, metric: &str| {
        let is = |i: &usize| text("variant", *i).unwrap() == variant && text("metric", *i).unwrap() == metric;
        (0..table.height()).find(is).unwrap()
    };
    let vae = find("vae", "mean_distance");
    assert!((real("minus_best", vae).unwrap() - 1e-3).abs() < 1e-12);
    assert_eq!((whole("common_seeds", vae), real("better_share", vae)), (Some(3), Some(0.0)));
    assert_eq!((text("best", vae), text("config", vae).unwrap().len()), (Some("ACAI".into()), 8));
    assert_eq!(
        (text("command", vae).unwrap().contains("report"), text("git", vae)),
        (true, Some("abc".into()))
    );
    let mine = find("mine", "mean_smoothness");
    assert!(real("mean", mine).unwrap().is_nan() && real("std", mine).is_none());
    assert_eq!((whole("seeds", mine), text("verdict", mine)), (Some(0), None));
    let csv = read(&dir, "tables/table1.csv");
    let names: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    assert_eq!(names, table.get_column_names().iter().map(|name| name.as_str()).collect::<Vec<_>>());
    assert_eq!(csv.lines().count(), 1 + table.height());
}

#[test]
fn verdicts_beside_the_papers_numbers() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, distance) in [(0, 0.20), (1, 0.21), (2, 0.20)] {
        lines(dir.path(), ACAI, seed, distance, 0.10);
    }
    lines(dir.path(), VAE, 0, 5.0, 0.49);
    // Without lines in the images, smoothness cannot be compared.
    lines(dir.path(), ("vqvae", "VQ-VAE"), 0, 30.0, 0.1);
    report(dir.path(), &ReportOptions::default()).unwrap();
    let table = read(&dir, "tables/table1.md");
    let verdicts = |label: &str| {
        let row = row_cells(&table, label);
        (row[3], row[6])
    };
    assert_eq!(verdicts("ACAI"), ("better", "same"));
    assert_eq!(verdicts("VAE"), ("worse", "same"));
    assert_eq!(verdicts("VQ-VAE"), ("worse", "n/c"));
    assert!(
        table.contains(
            "- better, same, worse: under the paper's conditions, by the 95 % interval of the difference"
        ),
        "{table}"
    );
    assert!(
        table.contains("- n/c, not comparable with the paper's: VQ-VAE: images hardly better"),
        "{table}"
    );
    assert!(
        table.contains("- Whether the best is better than the others by more than chance cannot be said"),
        "{table}"
    );
    assert!(!table.contains("Table 1b"), "{table}");

    // On image sets, verdicts are in a line of their own. The paper's Table 3 is of single runs.
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..2 {
        fake(0, seed, 0.949).with("final/cluster_accuracy", 0.8 + 0.01 * seed as f64).write(dir.path());
    }
    Fake { rate: 1e-3, ..fake(6, 0, 0.9) }.write(dir.path());
    fake(3, 0, 0.9).write(dir.path());
    report(dir.path(), &ReportOptions::default()).unwrap();
    let table = read(&dir, "tables/table2.md");
    let line = row_of(&table, "vs paper");
    assert_eq!(line[2..], ["same", "–", "–", "worse", "–", "–", "not reached"]);
    assert!(
        table.contains("- How the training differs from the paper's: MNIST 32 ACAI: another learning rate"),
        "{table}"
    );
    let table = read(&dir, "tables/table3.md");
    assert_eq!(row_of(&table, "vs paper")[2..], ["same", "–", "–", "no spread", "–", "–", "not reached"]);
    assert!(table.contains("- no spread: neither the paper"), "{table}");
    assert!(!read(&dir, "tables/table4.md").contains("vs paper"));
    let csv = read(&dir, "tables/table3.csv");
    assert!(csv.lines().any(|l| l.contains("vae") && l.contains(",no spread,")), "{csv}");
    assert!(
        csv.lines().any(|l| l.contains("acai")
            && l.contains(",not reached,")
            && l.contains("another learning rate")),
        "{csv}"
    );
}

/// Returns the cells of the line with this name in the second column of a table of image sets.
fn row_of<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    row_cells(table, &format!(" | {name}"))
}

#[test]
fn image_sets_are_compared_over_seeds_too() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, ours, best) in [(0, 0.90, 0.95), (1, 0.92, 0.95), (2, 0.91, 0.97)] {
        fake(0, seed, ours).write(dir.path());
        fake(6, seed, best).write(dir.path());
    }
    report(dir.path(), &ReportOptions::default()).unwrap();
    let text = read(&dir, "tables/table2.md");
    let part = text.split("**Table 2, differences.**").nth(1).unwrap();
    let cells = row_cells(part, "MNIST 32");
    assert_eq!((cells[1], cells[2]), ("minus the best", "−4.67 [−6.00, −3.00]"));
    assert_eq!((cells[3], cells[8]), ("–", "**best**"));
    assert_eq!(row_of(part, "better")[2], "0 %");
    assert_eq!(row_of(part, "seeds in common")[2], "3");
    let errors = read(&dir, "tables/table4.md");
    // Values are equal at every seed, and each tie counts half.
    assert_eq!(row_of(errors.split("differences.**").nth(1).unwrap(), "better")[8], "50 %");
    assert!(read(&dir, "tables/table2.tex").contains("$-$4.67 [$-$6.00, $-$3.00]"));
}

#[test]
fn provenance_is_in_every_table_and_figure() {
    let dir = tempfile::tempdir().unwrap();
    let run = fake(0, 0, 0.9);
    let path = run.write(dir.path());
    Fake { dataset: "svhn", data: "bbbbccccddddeeee", depth: 64, ..fake(0, 0, 0.3) }.write(dir.path());
    lines(dir.path(), BASELINE, 0, 5.0, 0.5);
    // One run was started on another day, and its revision is unknown.
    let record = fs::read_to_string(path.join("run.toml")).unwrap();
    let record = record.replace("git = \"abc\"", "git = \"\"").replace("2020-01-01", "2020-02-03");
    fs::write(path.join("run.toml"), record).unwrap();
    let all = || {
        report(dir.path(), &ReportOptions::default()).unwrap();
        let mut files = Vec::new();
        for folder in ["tables", "figures"] {
            for entry in fs::read_dir(dir.path().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                files.push((path.clone(), fs::read(path).unwrap()));
            }
        }
        files.sort();
        files
    };
    let files = all();
    assert_eq!(files, all(), "the same every time");
    let table = read(&dir, "tables/table2.md");
    let line = table.lines().find(|line| line.starts_with("Provenance: ")).unwrap();
    assert!(line.starts_with("Provenance: 2 runs, configuration "), "{line}");
    for words in [
        "; data MNIST aaaa, SVHN bbbbccccdddd; revision unknown, abc; lerp 1, candle 1; device cpu; started 2020-01-01 to \
         2020-02-03. Made by: cargo xtask report ",
        &dir.path().display().to_string(),
    ] {
        assert!(line.contains(words), "{words}: {line}");
    }
    assert!(read(&dir, "tables/table1.md").contains("data drawn; revision abc;"));
    assert!(read(&dir, "tables/table2.tex").contains("Provenance: 2 runs, configuration"));
    assert!(files.iter().any(|(path, _)| path.ends_with("table2.parquet")));

    let svg = read(&dir, "figures/curves.svg");
    assert!(
        svg.contains("<metadata>caption: Learning curves. ")
            && svg.contains("\nconfig: ")
            && svg.contains("\ndata: drawn\ngit: abc\n"),
        "{svg}"
    );
    assert!(svg.contains("--figure curves</metadata>") && svg.starts_with("<svg"), "{svg}");
    let png = fs::read(dir.path().join("figures/curves.png")).unwrap();
    let reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let chunk = |name: &str| {
        let found = reader.info().utf8_text.iter().find(|chunk| chunk.keyword == name);
        found.unwrap_or_else(|| panic!("{name}")).get_text().unwrap()
    };
    assert_eq!((chunk("data"), chunk("git"), chunk("config").len()), ("drawn".into(), "abc".into(), 8));
    assert!(chunk("command").ends_with("--figure curves"));
}

#[test]
fn missing_values_are_stated_and_never_divided_by() {
    let metrics = [("mean_distance", f64::NAN), ("mean_smoothness", f64::NAN)];
    let sweeps: [&dyn Fn(&Path); 4] = [
        // No run is finished.
        &|dir| {
            run(dir, ACAI, 0, State::Failed, &[("mean_distance", 1e-3)]);
            run(dir, VAE, 0, State::Interrupted, &[]);
        },
        // All values are undefined, over several seeds.
        &|dir| {
            for seed in 0..3 {
                run(dir, ACAI, seed, State::Done, &metrics);
                run(dir, VAE, seed, State::Done, &metrics);
            }
        },
        // No seed has runs of both variants.
        &|dir| {
            for seed in 0..3 {
                lines(dir, ACAI, seed, 0.2, 0.1);
                lines(dir, VAE, seed + 3, 0.3, 0.2);
            }
        },
        // There is one seed of one variant.
        &|dir| lines(dir, BASELINE, 0, 7.0, 0.4),
    ];
    for (i, write) in sweeps.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        report(dir.path(), &ReportOptions::default()).unwrap();
        for file in ["md", "tex"] {
            let text = read(&dir, &format!("tables/table1.{file}"));
            assert!(
                !text.contains("NaN |") && !text.contains("inf ") && !text.contains("Table 1b"),
                "{i}: {text}"
            );
        }
        let table = read(&dir, "tables/table1.md");
        let said =
            ["ACAI, seed 0: failed after", "| undefined |", "cannot be said: none has two", "| n=1 |"][i];
        assert!(table.contains(said), "{i}: {table}");
        let text = compare(&[dir.path().to_owned()], TerminalStyle::Plain).unwrap().terminal;
        assert!(text.contains("Table 1: ") && !text.contains("NaN "), "{text}");
    }
}

#[test]
fn a_terminal_tells_sweeps_apart_in_a_hundred_columns() {
    let both = tempfile::tempdir().unwrap();
    let [one, two] = ["a-sweep-with-a-long-name-of-its-own", "two"].map(|name| both.path().join(name));
    for seed in 0..5 {
        lines(&one, ACAI, seed, 0.2 + 0.01 * seed as f64, 0.1);
        lines(&one, VAE, seed, 5.0 + 0.1 * seed as f64, 0.5);
        lines(&two, ACAI, seed, 0.21 + 0.01 * seed as f64, 0.1);
        for (sweep, accuracy) in [(&one, 0.95), (&two, 0.93)] {
            for variant in 0..7 {
                fake(variant, seed, accuracy + 0.002 * (seed * variant as u64 % 5) as f64).write(sweep);
            }
        }
    }
    let dirs = [one, two];
    let text = compare(&dirs, TerminalStyle::Plain).unwrap().terminal;
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let squeezed: Vec<String> =
        text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let has = |begin: &str| assert!(squeezed.iter().any(|l| l.starts_with(begin)), "{begin}: {text}");
    has("Variant Sweep Distance");
    has("ACAI two 0.23 ± 0.01 0.24† same 0.10 ± 0.00 0.10†");
    // The second sweep's ACAI is worse by 0.01 at each seed.
    has("ACAI two +0.01 [+0.01, +0.01] 0 %");
    for table in ["Table 1: ", "Table 1b: ", "Table 2: ", "Table 2, differences", "Table 3: ", "Table 4: "] {
        has(table);
    }
    let painted = compare(&dirs, TerminalStyle::Colored).unwrap().terminal;
    assert!(
        painted.contains("\u{1b}[31mworse\u{1b}[0m") && painted.contains("\u{1b}[2m0.24†\u{1b}[0m"),
        "{painted}"
    );
    assert!(!text.contains('\u{1b}'));
}

//! Reports of sweeps on image sets whose numbers and images are known.

use std::{collections::HashMap, fs, path::Path};

use candle_core::{Device, Tensor};
use lerp_report::{PixelReference, ReportOptions, TerminalStyle, compare, report};
use lerp_train::{Cell, State};
use polars::prelude::{ParquetReader, SerReader};

use crate::common::{
    self, Run, cells,
    images::{Fake, fake},
    on_lines, picture, pixels, read, row, value,
};

/// Writes a sweep of these runs and its report.
fn reported(runs: &[Fake]) -> tempfile::TempDir {
    common::reported(|sweep| {
        for run in runs {
            run.write(sweep);
        }
    })
}

/// Returns the cells of the line below the one that begins with these cells.
fn below<'a>(table: &'a str, begin: &str) -> Vec<&'a str> {
    let first = row(table, begin);
    let mut lines = table.lines().skip_while(|line| *line != first);
    cells(lines.nth(1).unwrap())
}

#[test]
fn one_seed_has_an_interval_and_several_a_deviation() {
    let dir = reported(&[
        fake(0, 0, 0.975),
        fake(6, 0, 0.981).with("eval/reconstruction_mse", 0.02),
        fake(6, 1, 0.983).with("eval/reconstruction_mse", 0.03),
        Fake { channels: 16, ..fake(3, 0, 0.99) },
    ]);
    let table = read(&dir, "tables/table2.md");
    // Wilson's interval of 9750 of 10000, computed by hand.
    let ours = cells(row(&table, "MNIST 32 | ours"));
    assert_eq!(ours[2], "97.5 [97.2, 97.8]");
    assert_eq!(ours[3..8], ["not run"; 5]);
    assert_eq!(ours[8], "**98.20 ± 0.10**");
    let paper = below(&table, "MNIST 32 | ours");
    assert_eq!((paper[1], paper[2], paper[8]), ("paper", "94.90 ± 0.14†", "98.25 ± 0.11†"));
    // A row's only number is not the best of anything.
    let ours = cells(row(&table, "MNIST 256 | ours"));
    assert_eq!(ours[5], "99.0 [98.8, 99.2]");
    // Rows that the sweep does not have are folded away on the page and are missing from the Markdown file.
    let page = read(&dir, "index.html");
    let folded = page.split_once("<details>").unwrap().1.split_once("</details>").unwrap().0;
    for row in ["SVHN 32", "SVHN 256", "CIFAR-10 256", "CIFAR-10 1024"] {
        assert!(!table.contains(row) && folded.contains(row), "{row}");
    }
    assert!(folded.contains("22.74 ± 0.05<") && folded.contains("25.12 ± 1.05†<"), "{folded}");
    assert!(table.contains("Test images: 10,000.") && !table.contains("not the paper's cond"), "{table}");
    assert!(table.contains("- Numbers with ± are over n=2 runs."), "{table}");

    let fitted = &table[table.find("**Table 2b.**").unwrap()..];
    assert_eq!(cells(row(fitted, "MNIST 32 | ours"))[2], "**98.5 [98.2, 98.7]**");
    assert!(!fitted.contains("SVHN") && !fitted.contains("Raw pixels"), "{fitted}");

    let errors = read(&dir, "tables/table4.md");
    let ours = cells(row(&errors, "MNIST 32 | ours"));
    assert_eq!((ours[2], ours[8]), ("**12.30**", "25.00 ± 5.00"));
    assert!(!errors.contains("paper:"), "{errors}");

    let csv = read(&dir, "tables/table2.csv");
    let find = |begin: &str| {
        csv.lines().find(|l| l.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {csv}")).to_owned()
    };
    let baseline = find("mnist,32,baseline,Baseline,eval/classifier_accuracy,");
    let fields: Vec<&str> = baseline.split(',').collect();
    assert_eq!((fields[5], fields[6], fields[9], fields[14]), ("0.975", "", "1", "10000"));
    assert_eq!(fields[11..14], ["0.0001", "constant", ""]);
    assert!(fields[7].starts_with("0.971") && fields[8].starts_with("0.977"), "{baseline}");
    assert_eq!(fields[15..19], ["0.949", "0.0014", "false", "better"]);
    let absent = find("svhn,256,acai,ACAI,");
    assert!(
        absent.starts_with("svhn,256,acai,ACAI,eval/classifier_accuracy,,,,,0,,,,,,0.8514,0.002,true,,,"),
        "{absent}"
    );
    let count = |line: &str| line.split(',').count();
    assert!(csv.lines().all(|line| count(line) == count(csv.lines().next().unwrap())), "{csv}");
}

#[test]
fn clusters_state_their_restarts_and_their_information() {
    let few = |variant, accuracy| Fake {
        restarts: Some(64),
        ..fake(variant, 0, 0.9).with("final/cluster_accuracy", accuracy)
    };
    let dir = reported(&[few(0, 0.5), few(6, 0.9)]);
    let table = read(&dir, "tables/table3.md");
    assert!(table.contains("best of 64 restarts"), "{table}");
    assert!(table.contains("Restarts of k-means: 64 instead of the paper's 1,000."), "{table}");
    let ours = cells(row(&table, "MNIST 32 | ours"));
    assert_eq!((ours[2], ours[8]), ("50.0 [49.0, 51.0]", "**90.0 [89.4, 90.6]**"));
    assert_eq!(below(&table, "MNIST 32 | ours")[1..4], ["paper", "77.56†", "82.67†"]);
    assert!(table.contains("|  | NMI | 0.75 | – |"), "{table}");
    assert!(!table.contains("CIFAR"), "{table}");
    assert!(!read(&dir, "tables/table2.md").contains("estarts of k-means"));

    let table = read(&reported(&[fake(0, 0, 0.9)]), "tables/table3.md");
    assert!(table.contains("best of 1,000 restarts") && !table.contains("instead of"), "{table}");
}

#[test]
fn raw_pixels_are_shown_beside_the_fitted_classifier() {
    let dir = tempfile::tempdir().unwrap();
    fake(0, 0, 0.9).with("final/probe_converged", 0.0).write(dir.path());
    Fake { channels: 16, ..fake(0, 0, 0.9) }.write(dir.path());
    fs::create_dir(dir.path().join("pixels")).unwrap();
    let path = dir.path().join(PixelReference::path("mnist"));
    assert!(path.ends_with("pixels/mnist.toml"));
    // Another program may write whole numbers without a decimal point.
    let text = "dataset = \"mnist\"\ndata = \"bbbb\"\nprobe_accuracy = 0.92\nprobe_train_accuracy = 0.93\n\
                probe_iterations = 5000\nprobe_converged = false\ntest_images = 10000\ntrain_images = 60000\n\
                cluster_accuracy = 0.55\ncluster_information = 0.5\ncluster_restarts = 10\n";
    fs::write(&path, text).unwrap();
    report(dir.path(), &ReportOptions::default()).unwrap();
    let table = read(&dir, "tables/table2.md");
    let fitted = &table[table.find("**Table 2b.**").unwrap()..];
    assert!(fitted.contains("| ACAI | Raw pixels |"), "{fitted}");
    for begin in ["MNIST 32 | ours", "MNIST 256 | ours"] {
        assert_eq!(cells(row(fitted, begin))[9], "92.0 [91.5, 92.5]");
    }
    for sentence in [
        "Not converged, so perhaps too low: MNIST 32 Baseline (seed 0, after 321 iterations).",
        "MNIST: the classifier of raw pixels had not converged after 5,000 iterations.",
        "MNIST: the numbers of raw pixels are of other images (SHA-256 bbbb) than the runs.",
    ] {
        assert!(fitted.contains(sentence), "{sentence}: {fitted}");
    }
    assert!(!table[..table.find("**Table 2b.**").unwrap()].contains("aw pixels"), "{table}");
    let clusters = read(&dir, "tables/table3.md");
    assert_eq!(cells(row(&clusters, "MNIST 32 | ours"))[9], "55.0 [54.0, 56.0]");
    assert!(clusters.contains("|  | NMI | 0.75 | – | – | – | – | – | – | 0.50 |"), "{clusters}");
    assert!(clusters.contains("clusters of raw pixels, best of 10 restarts"), "{clusters}");

    for (broken, problem) in [
        (text.replace("mnist", "svhn"), "is the reference of 'svhn'"),
        (text.replace("0.92", "'much'"), "is not a reference of raw pixels"),
    ] {
        fs::write(&path, broken).unwrap();
        let error = report(dir.path(), &ReportOptions::default()).unwrap().left_out.join(" ");
        assert!(error.contains("mnist.toml") && error.contains(problem), "{error}");
    }
}

#[test]
fn cells_without_a_number_state_the_reason() {
    let mut early = fake(5, 0, 0.9);
    early.metrics.clear();
    let dir = reported(&[
        Fake { state: State::Failed, ..fake(0, 0, 0.9) },
        Fake { state: State::Interrupted, ..fake(1, 0, 0.9) },
        fake(3, 0, f64::NAN).with("final/cluster_accuracy", f64::NAN),
        fake(4, 0, f64::NAN),
        fake(4, 1, 0.7),
        Fake { state: State::Running, ..early },
        Fake { dataset: "svhn", depth: 64, ..fake(6, 0, 1.7) }.with("final/test_images", f64::NAN),
    ]);
    let table = read(&dir, "tables/table2.md");
    let ours = cells(row(&table, "MNIST 32 | ours"));
    assert_eq!(
        ours[2..],
        ["failed", "unfinished", "not run", "undefined", "70.0 [69.1, 70.9]", "unfinished", "not run"]
    );
    assert!(
        table.contains("- MNIST 32 Baseline, seed 0: failed after 16,777,216 of 16,777,216 samples: loss"),
        "{table}"
    );
    assert!(table.contains("- MNIST 32 AAE: undefined in 1 run and over 1 only."), "{table}");
    // An impossible accuracy has no interval, and does not stop the report.
    assert_eq!(cells(row(&table, "SVHN 32 | ours"))[8], "170.0");
    assert_eq!(cells(row(&read(&dir, "tables/table3.md"), "MNIST 32 | ours"))[5], "undefined");
    assert!(read(&dir, "index.html").contains("loss &lt;b&gt;became"));
}

#[test]
fn configurations_of_a_variant_have_lines_of_their_own() {
    let grid =
        |advweight: f64, accuracy| Fake { hyper: Some(("advweight", advweight)), ..fake(6, 0, accuracy) };
    let dir = reported(&[
        fake(0, 0, 0.95),
        grid(0.5, 0.96),
        grid(0.25, 0.97),
        Fake { channels: 16, ..grid(0.5, 0.9) },
    ]);
    let table = read(&dir, "tables/table2.md");
    let ours = cells(row(&table, "MNIST 32 | ours"));
    assert_eq!((ours[2], ours[8]), ("95.0 [94.6, 95.4]", "below"));
    assert_eq!(below(&table, "MNIST 32 | ours")[1], "ours (advweight=0.25)");
    let cells_of =
        |label: &str| cells(table.lines().find(|l| l.starts_with(&format!("|  | {label} |"))).unwrap());
    assert_eq!(cells_of("ours (advweight=0.25)")[7..], ["–", "**97.0 [96.6, 97.3]**"]);
    assert_eq!(cells_of("ours (advweight=0.5)")[8], "96.0 [95.6, 96.4]");
    // In another row the setting has nothing to be told apart from.
    assert_eq!(cells(row(&table, "MNIST 256 | ours"))[8], "90.0 [89.4, 90.6]");
    assert!(table.contains("ACAI's advweight 0.25 instead of 0.5"), "{table}");

    // If all configurations differ, there is no line without settings.
    let both = |v, rate, accuracy| Fake { rate, ..fake(v, 0, accuracy) };
    let dir = reported(&[both(0, 1e-3, 0.9), both(0, 1e-4, 0.8), both(1, 1e-3, 0.7), both(1, 1e-4, 0.6)]);
    let table = read(&dir, "tables/table2.md");
    let first = cells(row(&table, "MNIST 32 | ours (learning_rate=0.0001)"));
    assert_eq!(first[2..5], ["80.0 [79.2, 80.8]", "60.0 [59.0, 61.0]", "not run"]);
    assert!(!table.contains("| below |"), "{table}");
}

#[test]
fn image_counts_other_than_the_papers_are_stated() {
    let few = |v: usize| fake(v, 0, 0.9).with("eval/test_images", 256.0);
    let table = read(&reported(&[few(0)]), "tables/table2.md");
    // Evaluations used fewer test images than the measurement at the end.
    assert_eq!(cells(row(&table, "MNIST 32 | ours"))[2], "90.0 [85.7, 93.1]");
    assert!(table.contains("Test images: 256.") && !table.contains("training and"), "{table}");
    let dir = reported(&[Fake { images: Some([5_400, 600]), ..fake(0, 0, 0.9) }]);
    let table = read(&dir, "tables/table3.md");
    let said = "5,400 training and 600 test images of MNIST instead of its 60,000 and 10,000";
    assert!(table.contains(said), "{table}");
    assert!(cells(row(&table, "MNIST 32 | ours"))[2].starts_with("80.0 [79.2"), "{table}");
}

/// Counts how often a reader of the page sees conditions, not counting the metadata of drawings.
fn said(page: &str) -> usize {
    let seen =
        page.split("<metadata>").map(|part| part.split_once("</metadata>").map_or(part, |(_, seen)| seen));
    seen.map(|part| part.matches("samples a run; ").count()).sum()
}

#[test]
fn a_page_of_lines_and_images_says_the_conditions_of_each_once() {
    let dir = tempfile::tempdir().unwrap();
    fake(0, 0, 0.9).write(dir.path());
    let rows = vec![value(1, "eval/mean_distance", 0.005)];
    Run::on_lines(on_lines("baseline", 0), "Baseline", State::Done, rows).write(dir.path());
    report(dir.path(), &ReportOptions::default()).unwrap();
    let page = read(&dir, "index.html");
    for element in [
        "conditions\">Lines: 16,777,216 samples a run; ",
        "conditions\">Image sets: 16,777,216 samples a run; ",
    ] {
        assert_eq!(page.matches(element).count(), 1, "{element}");
    }
    assert_eq!(said(&page), 2);
}

#[test]
fn conditions_are_those_of_the_runs_shown() {
    let svhn = |v: usize| Fake {
        dataset: "svhn",
        depth: 64,
        samples: 1 << 20,
        rate: 1e-3,
        images: None,
        ..fake(v, 0, 0.3)
    };
    let dir = reported(&[
        fake(0, 0, 0.9),
        fake(6, 0, 0.9),
        svhn(0),
        Fake { data: "bbbb", depth: 16, ..svhn(6) },
        Fake { dataset: "cifar10", depth: 64, channels: 16, hyper: Some(("keep", 0.5)), ..fake(1, 0, 0.4) },
    ]);
    let table = read(&dir, "tables/table2.md");
    assert!(table.contains("learning rate 0.0001 (MNIST 32, CIFAR-10 256), 0.001 (SVHN 32)"), "{table}");
    assert!(table.contains("another network on SVHN (depth 16 instead of 64)"), "{table}");
    assert!(table.contains("Dropout's keep 0.5 instead of 0.75 on CIFAR-10"), "{table}");
    assert!(table.contains("SVHN: the runs are not all of the same images (SHA-256 aaaa, bbbb)"), "{table}");
    assert!(!table.contains("MNIST: the runs are not all"), "{table}");
    let caption = |figure: &str| read(&dir, &format!("figures/{figure}.svg"));
    assert!(caption("curves-mnist-32").contains("16,777,216 samples a run; seed 0; batch 64"));
    assert!(!caption("curves-mnist-32").contains("1,048,576"));
    assert!(caption("curves-svhn-32").contains("1,048,576 samples a run"));
    // The page states the conditions once.
    let page = read(&dir, "index.html");
    assert_eq!(said(&page), 1);
    assert!(page.contains(
        "<p class=\"soft small conditions\">16,777,216 (MNIST 32, CIFAR-10 256), 1,048,576 (SVHN 32)"
    ));
    for anchor in
        ["id=\"table2\"", "id=\"table3\"", "id=\"table4\"", "<th scope=\"col\">Dataset, latent</th>"]
    {
        assert!(page.contains(anchor), "{anchor}");
    }
    assert!(!dir.path().join("tables/table1.md").exists() && !page.contains("id=\"table1\""));
}

#[test]
fn lines_and_image_sets_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let line = Cell { test_samples: 5000, ..on_lines("baseline", 3) };
    let rows = (1..=16).map(|i| value(i, "eval/mean_distance", 0.005)).collect();
    Run::on_lines(line, "Baseline", State::Done, rows).write(dir.path());
    let table1 = || {
        report(dir.path(), &ReportOptions::default()).unwrap();
        ["md", "tex", "csv"].map(|ending| read(&dir, &format!("tables/table1.{ending}")))
    };
    let alone = table1();
    let only: Vec<String> = fs::read_dir(dir.path().join("tables"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("table"))
        .collect();
    assert_eq!(only.len(), 4, "{only:?}");
    fake(0, 0, 0.9).write(dir.path());
    Fake { rate: 1e-3, state: State::Failed, ..fake(6, 7, 0.9) }.write(dir.path());
    assert_eq!(table1(), alone);
    assert!(!read(&dir, "tables/table2.md").contains("seeds 0, 3"));
    let page = read(&dir, "index.html");
    let order = ["table1", "table2", "table3", "table4", "curves", "curves-mnist-32"]
        .map(|id| page.find(&format!("id=\"{id}\"")).unwrap());
    assert!(order.is_sorted(), "{order:?}");
    assert!(page.contains("<td>Lines</td>") && page.contains("<td>MNIST 32</td>"));

    let file = fs::File::open(dir.path().join("summary.parquet")).unwrap();
    let summary = ParquetReader::new(file).finish().unwrap();
    let text = |name: &str, i: usize| summary.column(name).unwrap().str().unwrap().get(i).unwrap().to_owned();
    let whole = |name: &str, i: usize| summary.column(name).unwrap().i64().unwrap().get(i).unwrap();
    let row = (0..summary.height())
        .find(|i| text("metric", *i) == "final/probe_iterations" && text("variant", *i) == "baseline")
        .unwrap();
    assert_eq!(
        (text("dataset", row), whole("latent_dims", row), whole("evaluations", row)),
        ("mnist".into(), 32, 1)
    );
    assert_eq!(summary.column("final").unwrap().f64().unwrap().get(row), Some(321.0));
    assert_eq!((text("dataset", 0), whole("latent_dims", 0)), ("lines".into(), 64));
}

#[test]
fn latex_has_as_many_cells_in_every_line_as_columns() {
    let dir = reported(&[fake(0, 0, 0.975), fake(6, 0, 0.98), fake(6, 1, 0.98)]);
    for (name, tables) in [("table2", 2), ("table3", 1), ("table4", 1)] {
        let latex = read(&dir, &format!("tables/{name}.tex"));
        let mut found = 0;
        for table in latex.split("\\begin{tabular}{").skip(1) {
            let columns = table.split('}').next().unwrap().len();
            let body = table.split("\\end{tabular}").next().unwrap();
            let lines: Vec<&str> = body.lines().filter(|line| line.ends_with("\\\\")).collect();
            assert!(lines.len() >= 2, "{latex}");
            for line in lines {
                assert_eq!(line.matches(" & ").count() + 1, columns, "{line}");
            }
            found += 1;
        }
        assert_eq!(found, tables, "{latex}");
        assert_eq!(latex.matches("\\begin{").count(), latex.matches("\\end{").count());
        assert_eq!(latex.matches('{').count(), latex.matches('}').count());
        assert!(!latex.contains(['⁻', '†', '±', '×']), "{latex}");
    }
}

#[test]
fn a_terminal_has_every_table_and_the_sweep_of_each_line() {
    let one = reported(&[fake(0, 0, 0.975), fake(6, 0, 0.98)]);
    let other = reported(&[fake(6, 0, 0.99), Fake { state: State::Failed, ..fake(3, 0, 0.9) }]);
    let text = compare(&[one.path().to_owned()], TerminalStyle::Plain).unwrap().terminal;
    let has = |line: &str| {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.lines().any(|l| squeezed(l) == line), "{line}: {text}");
    };
    has("Table 2: accuracy of the single-layer classifier, %");
    has("MNIST 32 ours 97.5 not run not run not run not run not run 98.0");
    has("paper 94.90† 96.45† 96.00† 96.56† 70.74† 97.50† 98.25†");
    has("Table 4: mean squared error of reconstructions, ×10⁻³");
    assert!(!text.contains("SVHN") && !text.contains("Table 1"), "{text}");
    let text =
        compare(&[one.path().to_owned(), other.path().to_owned()], TerminalStyle::Colored).unwrap().terminal;
    let names = [&one, &other].map(|dir| dir.path().file_name().unwrap().to_string_lossy().into_owned());
    let line = text.lines().find(|line| line.trim_start().starts_with(&names[1])).unwrap();
    assert!(line.contains("\u{1b}[1m99.0\u{1b}[0m") && line.contains("failed"), "{text}");
    assert!(!text.contains("\u{1b}[1m98.0"), "the best of both sweeps is bold: {text}");
    assert_eq!(text.matches("VAE, seed 0: failed after").count(), 1, "{text}");
}

/// Saves strips of uniform images: `left`, `right`, and `decoded` plus a hundredth for each position.
fn strips(run: &Path, channels: usize, left: f32, decoded: f32, right: f32) {
    let side = |value: f32| Tensor::full(value, (4, 32, 32, channels), &Device::Cpu).unwrap();
    let values: Vec<f32> =
        (0..4 * 16 * 1024 * channels).map(|i| decoded + 0.01 * (i / (1024 * channels) % 16) as f32).collect();
    let images = Tensor::from_vec(values, (4, 16, 32, 32, channels), &Device::Cpu).unwrap();
    let tensors = HashMap::from([("left", side(left)), ("right", side(right)), ("images", images)]);
    candle_core::safetensors::save(&tensors, run.join("interpolation.safetensors")).unwrap();
}

#[test]
fn strips_have_every_image_at_its_place() {
    let dir = tempfile::tempdir().unwrap();
    strips(&fake(0, 0, 0.9).write(dir.path()), 1, -1.0, 0.0, 2.0);
    strips(&fake(6, 1, 0.9).write(dir.path()), 1, -0.5, f32::NAN, 0.5);
    let early = Fake { state: State::Interrupted, ..fake(6, 0, 0.9) };
    strips(&early.write(dir.path()), 1, 1.0, 1.0, 1.0);
    let lone = Fake { channels: 16, state: State::Running, ..fake(3, 2, 0.9) };
    strips(&lone.write(dir.path()), 1, 1.0, 1.0, 1.0);
    report(dir.path(), &ReportOptions::default()).unwrap();
    let (gray, width) = picture(&dir, "figure6");
    assert_eq!(width, 18 * 32 + 2 * 2);
    assert_eq!(gray.len() / width, 4 * (2 * 32 + 2) + 3 * 10);
    let at = |x: usize, y: usize| gray[y * width + x];
    // From the left: the left test image, white, sixteen decoded images from a value of 0 on, white, and the right test
    // image, which is clipped.
    assert_eq!([at(0, 0), at(31, 31), at(32, 0), at(33, 31)], [0, 0, 255, 255]);
    for i in 0..16 {
        let gray = (127.5 * (1.0 + 0.01 * i as f32)).round() as u8;
        assert_eq!([at(34 + 32 * i, 0), at(34 + 32 * i + 31, 31)], [gray, gray], "position {i}");
    }
    let right = 34 + 16 * 32;
    assert_eq!([at(right, 5), at(right + 1, 5), at(right + 2, 5), at(width - 1, 5)], [255; 4]);
    // The second variant is below the first, and the next pair below both.
    assert_eq!([at(0, 33), at(0, 34), at(40, 40), at(width - 1, 65)], [255, 64, 0, 191]);
    assert_eq!([at(0, 66), at(0, 75), at(0, 76), at(0, 76 + 34)], [255, 255, 0, 64]);

    // The PNG shows the same picture with 4x4 pixels for each.
    let svg = read(&dir, "figures/figure6.svg");
    let image = &svg[svg.find("<image ").unwrap()..];
    let number = |name: &str| -> usize {
        image.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
    };
    let (left, top) = (2 * number("x"), 2 * number("y"));
    let (rgb, wide) = pixels(fs::read(dir.path().join("figures/figure6.png")).unwrap());
    for (i, gray) in gray.iter().enumerate() {
        let (x, y) = (left + 4 * (i % width) + 1, top + 4 * (i / width) + 1);
        assert_eq!(rgb[3 * (y * wide + x)], *gray, "pixel {i}");
    }
    let page = read(&dir, "index.html");
    for words in [
        "Figure 6. Example interpolations on MNIST with a latent dimensionality of 32 for (a) Baseline and (b) ACAI \
         autoencoders.",
        "The runs are not of the same test images.",
        "Models of seed 0 (Baseline), 1 (ACAI).",
        "Models of seed 2. Not finished: VAE (16,777,216 samples).",
        "in the last two of different classes.",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(svg.contains("(a) Baseline") && svg.contains("test image") && svg.contains("α = 0"));
}

#[test]
fn unlabelled_celeba_has_strips_in_colour_and_no_accuracies() {
    let dir = tempfile::tempdir().unwrap();
    let celeba = |v: usize| Fake { dataset: "celeba", depth: 64, ..fake(v, 0, 0.0) }.without_labels();
    for variant in [0, 6] {
        strips(&celeba(variant).write(dir.path()), 3, -1.2, 0.0, 1.0);
    }
    report(dir.path(), &ReportOptions::default()).unwrap();
    for table in ["table1", "table2", "table3"] {
        assert!(!dir.path().join(format!("tables/{table}.md")).exists(), "{table}");
    }
    assert!(read(&dir, "tables/table4.md").contains("| CelebA 32 | ours | **12.30** |"));
    let (rgb, width) = picture(&dir, "figure10");
    assert_eq!((width, rgb.len() / 3 / width), (580, 4 * 66 + 30));
    let at = |x: usize| &rgb[3 * x..3 * x + 3];
    // On CelebA, 1.2 is white, so 1 is not.
    assert_eq!([at(0), at(34), at(579)], [[0; 3], [128; 3], [234; 3]]);
    let (rgb, width) = picture(&dir, "figure4");
    assert_eq!((width, rgb.len() / 3 / width), (580, 66));
    let page = read(&dir, "index.html");
    let order =
        ["figure4", "figure10", "curves-celeba-32"].map(|f| page.find(&format!("id=\"{f}\"")).unwrap());
    assert!(order.is_sorted());
    assert!(page.contains("Values from -1.2 to 1.2") && !page.contains("different classes"));
    // There is one panel, since there is no accuracy to draw.
    let width = |name: &str| pixels(fs::read(dir.path().join(name)).unwrap()).1;
    assert_eq!(width("figures/curves-celeba-32.png"), 2 * 480);
}

#[test]
fn figures_of_a_sweep_are_chosen_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let run = Fake { dataset: "cifar10", depth: 64, channels: 64, ..fake(0, 0, 0.5) }.write(dir.path());
    let other = Fake { dataset: "images:/somewhere/my cats", ..fake(0, 0, 0.5) }.write(dir.path());
    let figure =
        |name: &str| report(dir.path(), &ReportOptions { figure: Some(name.into()), terminal: None });
    let error = figure("6").unwrap_err().to_string();
    let cats = format!("my-cats-{}-32", &lerp_files::digest(b"my cats")[..8]);
    let known = format!("there are: strips-cifar10-1024, strips-{cats}, curves-cifar10-1024, curves-{cats}");
    assert!(error.contains(&known), "{error}");
    let cats = format!("strips-{cats}");
    let error = figure("strips-cifar10-1024").unwrap_err().to_string();
    assert!(error.contains("cannot be drawn"), "{error}");
    strips(&run, 3, 0.0, 0.0, 0.0);
    strips(&other, 1, 0.0, 0.0, 0.0);
    figure("strips-cifar10-1024").unwrap();
    let drawn: Vec<_> = fs::read_dir(dir.path().join("figures")).unwrap().collect();
    assert_eq!(drawn.len(), 2);
    figure(&cats).unwrap();
    report(dir.path(), &ReportOptions::default()).unwrap();
    let table = read(&dir, "tables/table2.md");
    assert_eq!(below(&table, "my cats 32 | ours")[2..], ["–"; 7]);

    // A damaged file is named.
    let path = other.join("interpolation.safetensors");
    let lone = Tensor::zeros((16, 32, 32, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
    lone.save_safetensors("images", &path).unwrap();
    let error = figure(&cats).unwrap_err().to_string();
    assert!(error.contains("interpolation.safetensors holds interpolations without"), "{error}");
    let tensors = HashMap::from([("left", lone.clone()), ("right", lone.clone()), ("images", lone)]);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    assert!(figure(&cats).unwrap_err().to_string().contains("which are no strips"));
    fs::write(&path, "no tensors").unwrap();
    assert!(figure(&cats).unwrap_err().to_string().contains("is damaged"));
}

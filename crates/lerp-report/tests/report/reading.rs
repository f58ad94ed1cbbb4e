//! Reports of folders that are damaged, hostile or still growing.

use std::{fs, path::Path};

use candle_core::{DType, Device, Tensor};
use lerp_report::{ReportOptions, ReportOutcome, TerminalStyle, compare, report};
use lerp_train::State;

use crate::common::{
    ACAI, Run, VAE,
    images::{Fake, fake},
    on_lines, pixels, read, row, seal, value,
};

/// Writes a run on lines with a mean distance in 10⁻³ and returns its folder. A distance of 9 or more makes it a failed
/// run.
fn lines(sweep: &Path, (variant, title): (&str, &str), seed: u64, distance: f64) -> std::path::PathBuf {
    let rows = (1..=16).map(|i| value(i, "eval/mean_distance", distance * 1e-3)).collect();
    let state = if distance < 9.0 { State::Done } else { State::Failed };
    let dir = Run::on_lines(on_lines(variant, seed), title, state, rows).write(sweep);
    let images = Tensor::zeros((16, 32, 32, 1), DType::F32, &Device::Cpu).unwrap();
    images.save_safetensors("images", dir.join("interpolation.safetensors")).unwrap();
    dir
}

fn reported(dir: &tempfile::TempDir) -> ReportOutcome {
    report(dir.path(), &ReportOptions::default()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn untrustworthy_runs_are_named_and_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let good: Vec<_> = (0..3).map(|seed| lines(dir.path(), VAE, seed, 3.0)).collect();
    for run in &good {
        seal(run);
    }
    let outcome = reported(&dir);
    assert!(outcome.left_out.is_empty() && outcome.notices.is_empty(), "{outcome:?}");
    let table = read(&dir, "tables/table1.md");
    let before = row(&table, "VAE");
    assert!(before.contains("| **3.00 ± 0.00** |") || before.contains("| 3.00 ± 0.00 |"), "{before}");

    // Each bad run has another distance, which would change the mean if it were counted.
    let bad: Vec<_> = (10..16).map(|seed| lines(dir.path(), VAE, seed, 7.0)).collect();
    for run in &bad {
        seal(run);
    }
    copy(&good[0], &dir.path().join("runs/copy"));
    fs::copy(bad[0].join("metrics.parquet"), good[2].join("metrics.parquet")).unwrap();
    fs::write(bad[0].join("status.json"), "").unwrap();
    fs::remove_file(bad[1].join("status.json")).unwrap();
    fs::write(bad[2].join("run.toml"), "id = 3").unwrap();
    fs::remove_file(bad[3].join("metrics.parquet")).unwrap();
    fs::remove_file(bad[4].join("digests.json")).unwrap();
    let mut bytes = fs::read(bad[5].join("metrics.parquet")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(bad[5].join("metrics.parquet"), bytes).unwrap();
    let outcome = reported(&dir);
    let names = bad.iter().chain([&good[2]]).map(|run| run.file_name().unwrap().to_str().unwrap());
    for name in names.chain(["copy"]) {
        let told = outcome.left_out.iter().filter(|sentence| sentence.starts_with(name)).count();
        assert_eq!(told, 1, "{name}: {:?}", outcome.left_out);
    }
    assert_eq!(outcome.left_out.len(), 8, "{:?}", outcome.left_out);
    let (table, page) = (read(&dir, "tables/table1.md"), read(&dir, "index.html"));
    assert!(row(&table, "VAE").contains("n=2"), "{table}");
    assert!(row(&table, "VAE").contains("3.00 ± 0.00"), "{table}");
    for text in [&table, &page] {
        assert!(text.contains("copy is left out") && text.contains("delete"), "{text}");
    }
    let outcome = compare(&[dir.path().to_owned()], TerminalStyle::Plain).unwrap();
    let text = &outcome.terminal;
    assert!(text.contains("copy is left out") && outcome.left_out.len() == 8, "{text}");

    // A sweep of which no run is readable is an error.
    fs::write(good[0].join("run.toml"), "").unwrap();
    fs::write(good[1].join("run.toml"), "").unwrap();
    let error = report(dir.path(), &ReportOptions::default()).unwrap_err().to_string();
    assert!(error.contains("no run in") && error.contains("is left out") && !error.contains('\n'), "{error}");
}

#[test]
fn a_damaged_image_file_removes_only_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let (acai, vae) = (lines(dir.path(), ACAI, 0, 1.0), lines(dir.path(), VAE, 0, 2.0));
    fs::write(vae.join("paths.safetensors"), "no tensors").unwrap();
    seal(&acai);
    seal(&vae);
    for name in ["interpolation.safetensors", "samples.safetensors"] {
        fs::write(vae.join(name), "no tensors").unwrap();
    }
    let outcome = reported(&dir);
    let all = outcome.left_out.join("\n");
    for name in ["interpolation.safetensors", "samples.safetensors", "paths.safetensors"] {
        assert!(all.contains(name) && all.contains("lines-vae-s0"), "{name}: {all}");
    }
    assert_eq!(outcome.left_out.len(), 3, "{all}");
    let svg = read(&dir, "figures/figure3.svg");
    assert!(svg.contains("ACAI") && !svg.contains("VAE"));
    assert!(row(&read(&dir, "tables/table1.md"), "VAE").contains("2.00"));
    assert!(read(&dir, "index.html").contains("not all is shown"));
    let error = report(dir.path(), &ReportOptions { figure: Some("5".into()), terminal: None })
        .unwrap_err()
        .to_string();
    assert!(error.contains("samples.safetensors"), "{error}");
}

#[test]
fn a_missing_plan_is_ignored_and_a_damaged_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    lines(dir.path(), VAE, 0, 3.0);
    assert!(reported(&dir).left_out.is_empty());
    for text in ["", "cells = 3", "cells = [", "\u{1b}[2J"] {
        fs::write(dir.path().join("sweep.toml"), text).unwrap();
        let outcome = reported(&dir);
        assert!(outcome.left_out.len() == 1 && outcome.left_out[0].contains("sweep.toml"), "{outcome:?}");
        assert!(read(&dir, "tables/table1.md").contains("The plan of the sweep is not known"));
    }
    fs::write(dir.path().join("sweep.toml"), "cells = ['a\\u001b[2Jb']").unwrap();
    assert!(reported(&dir).left_out.is_empty());
}

#[test]
#[cfg(unix)]
fn symbolic_links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let untouched = || {
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    };
    for name in ["tables", "figures"] {
        let dir = tempfile::tempdir().unwrap();
        lines(dir.path(), VAE, 0, 3.0);
        symlink(elsewhere.path(), dir.path().join(name)).unwrap();
        let error = report(dir.path(), &ReportOptions::default()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("something else than a folder"), "{error}");
        untouched();
    }
    let dir = tempfile::tempdir().unwrap();
    let run = lines(dir.path(), VAE, 0, 9.5);
    let other = lines(dir.path(), ACAI, 0, 3.0);
    let outside = elsewhere.path().parent().unwrap();
    fs::create_dir_all(dir.path().join("tables")).unwrap();
    for name in
        ["index.html", "index.html.tmp", "summary.parquet.tmp", "tables/table1.csv", "tables/table1.csv.tmp"]
    {
        symlink(&secret, dir.path().join(name)).unwrap();
    }
    symlink(&secret, run.join("log.txt")).unwrap();
    symlink(&secret, dir.path().join("sweep.toml")).unwrap();
    symlink(outside, dir.path().join("pixels")).unwrap();
    symlink(&other, dir.path().join("runs/lines-link-s0")).unwrap();
    fake(0, 0, 0.9).write(dir.path());
    let all = reported(&dir).left_out.join("\n");
    untouched();
    for name in ["sweep.toml", "pixels", "lines-link-s0"] {
        assert!(all.contains(name), "{name}: {all}");
    }
    assert_eq!(all.matches("symbolic link").count(), 3, "{all}");
    assert!(!read(&dir, "index.html").contains("secret"));
    assert!(
        !dir.path().join("index.html").is_symlink() && !dir.path().join("tables/table1.csv").is_symlink()
    );

    // A symbolic link does not count as the folder of runs.
    let dir = tempfile::tempdir().unwrap();
    symlink(outside, dir.path().join("runs")).unwrap();
    assert!(report(dir.path(), &ReportOptions::default()).unwrap_err().to_string().contains("not a folder"));
}

#[test]
fn text_from_files_cannot_control_a_terminal_or_become_a_path() {
    let dir = tempfile::tempdir().unwrap();
    let evil = ("mine", "My\u{1b}[2J\nown\u{202e}");
    lines(dir.path(), evil, 0, 3.0);
    let failed = lines(dir.path(), evil, 1, 9.5);
    let status = fs::read_to_string(failed.join("status.json")).unwrap();
    let status = status.replace("loss <b>", r"\u001b]0;x\u0007\n\nloss ");
    fs::write(failed.join("status.json"), status).unwrap();
    Fake { dataset: "images:a/pets\u{1b}[2J", variant: evil, ..fake(0, 0, 0.9) }.write(dir.path());
    for variant in ["x/../..", "../../x", ".hidden", "a\nb"] {
        let run = lines(dir.path(), ("odd", "Odd"), 5, 1.0);
        let text = fs::read_to_string(run.join("run.toml")).unwrap();
        let text = text.replace("variant = \"odd\"", &format!("variant = {variant:?}"));
        fs::write(run.join("run.toml"), text).unwrap();
        let outcome = reported(&dir);
        assert!(outcome.left_out.len() == 1 && outcome.left_out[0].contains("lines-odd-s5"), "{outcome:?}");
        assert!(!outcome.left_out[0].contains(char::is_control), "{outcome:?}");
    }
    let outcome = compare(&[dir.path().to_owned()], TerminalStyle::Plain).unwrap();
    let text = &outcome.terminal;
    let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(bad) && text.contains(r"\u{1b}[2J"), "{text:?}");
    assert!(text.lines().any(|line| line.contains(r"My\u{1b}[2J\nown")), "{text}");
    assert!(outcome.left_out.iter().all(|sentence| !sentence.contains(bad)));
    let painted = compare(&[dir.path().to_owned()], TerminalStyle::Colored).unwrap().terminal;
    assert!(!painted.contains("\u{1b}[2J") && !painted.contains("\u{1b}]"), "{painted:?}");
    for file in ["tables/table1.md", "tables/table1.tex", "figures/figure3.svg", "tables/table4.md"] {
        assert!(!read(&dir, file).contains(bad), "{file}");
    }
}

#[test]
fn names_of_any_script_are_shown_and_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let long: &'static str = Box::leak(format!("images:{}", "猫".repeat(80)).into_boxed_str());
    let names = ["images:4/my pets", "images:4/my-pets", "images:x/Кошки", "images:x/ねこ", long];
    for (i, name) in names.into_iter().enumerate() {
        Fake { dataset: name, data: ["a", "b", "c", "d", "e"][i], ..fake(0, 0, 0.9) }.write(dir.path());
    }
    lines(dir.path(), ("мой", "Мой 自"), 0, 3.0);
    assert!(reported(&dir).left_out.is_empty());
    let table = read(&dir, "tables/table4.md");
    for title in ["my pets 32", "my-pets 32", "Кошки 32", "ねこ 32"] {
        assert_eq!(
            table.lines().filter(|line| line.starts_with(&format!("| {title} |"))).count(),
            1,
            "{table}"
        );
    }
    let latex = read(&dir, "tables/table4.tex") + &read(&dir, "tables/table1.tex");
    assert!(latex.contains("Koshki 32") && latex.contains("neko 32") && latex.contains("Moi Zi"), "{latex}");
    assert!(latex.lines().all(|line| !line.contains('?')), "{latex}");
    assert!(latex.chars().all(|c| c <= 'ÿ'), "a plain LaTeX stops at other characters");
    let figures: Vec<String> = fs::read_dir(dir.path().join("figures"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let curves = figures.iter().filter(|name| name.starts_with("curves-") && name.contains(".svg"));
    assert_eq!(curves.count(), names.len(), "{figures:?}");
    assert!(figures.iter().any(|name| name == "curves-кошки-32.png"), "{figures:?}");
    assert!(
        read(&dir, "figures/figure3.svg").contains("Мой 自") && read(&dir, "index.html").contains("Мой 自")
    );
    // The second row's name is drawn in the PNG, to the left of its images.
    let (pixels, width) = pixels(fs::read(dir.path().join("figures/figure3.png")).unwrap());
    let rows: Vec<&[u8]> = pixels.chunks_exact(3 * width).collect();
    let dark = rows[rows.len() / 2..].iter().flat_map(|row| &row[..3 * 150]).filter(|v| **v < 128).count();
    assert!(dark > 30, "{dark}");
}

#[test]
fn images_that_moved_are_the_same_set() {
    let dir = tempfile::tempdir().unwrap();
    let at = |dataset, seed, accuracy: f64, data| Fake { dataset, data, ..fake(0, seed, accuracy) };
    at("images:before/pets", 0, 0.4, "aaaa").write(dir.path());
    at("images:before/pets", 1, 0.4, "aaaa").write(dir.path());
    at("images:after/pets", 2, 0.7, "aaaa").write(dir.path());
    assert!(reported(&dir).left_out.is_empty());
    let table = read(&dir, "tables/table2.md");
    assert_eq!(table.matches("pets 32 |").count(), 2, "in Table 2 and 2b: {table}");
    assert!(table.contains("| pets 32 | ours | 50.00 ± 14.14 |") && !table.contains("dataset="), "{table}");
    // A second run of the same seed is left out.
    let twin = at("images:after/pets", 0, 0.9, "aaaa").write(dir.path());
    let record = fs::read_to_string(twin.join("run.toml")).unwrap();
    fs::write(twin.join("run.toml"), record.replace("2020-", "2021-")).unwrap();
    let outcome = reported(&dir);
    assert!(outcome.left_out.len() == 1, "{outcome:?}");
    assert!(read(&dir, "tables/table2.md").contains("| 50.00 ± 14.14 |"));
    fs::remove_dir_all(twin).unwrap();
    // Other images in the old folder are another dataset, not further seeds.
    at("images:before/pets", 3, 0.1, "bbbb").write(dir.path());
    assert!(reported(&dir).left_out.is_empty());
    let table = read(&dir, "tables/table2.md");
    assert!(table.contains("(images=aaaa) | **50.00 ± 14.14** |"), "{table}");
}

#[test]
fn costs_are_listed_under_the_name_that_all_tables_use_for_moved_images() {
    let dir = tempfile::tempdir().unwrap();
    // Both began at the same time, so the last of the names in alphabetical order counts.
    for (seed, dataset) in ["images:after/pets", "images:before/pets"].into_iter().enumerate() {
        Fake { dataset, ..fake(0, seed as u64, 0.5) }.write(dir.path());
    }
    reported(&dir);
    for file in ["tables/cost.csv", "tables/table2.csv"] {
        let table = read(&dir, file);
        assert!(
            table.contains("\nimages:before/pets,") && !table.contains("\nimages:after/pets,"),
            "{table}"
        );
    }
}

#[test]
fn a_set_of_one_class_has_no_tables_of_accuracies() {
    let dir = tempfile::tempdir().unwrap();
    let one = |loss| Fake { dataset: "images:x/cats", ..fake(0, 0, 1.0) }.with("final/probe_loss", loss);
    one(0.0).write(dir.path());
    reported(&dir);
    assert!(!dir.path().join("tables/table2.md").exists() && !dir.path().join("tables/table3.md").exists());
    let table = read(&dir, "tables/table4.md");
    assert!(table.contains("cats 32: all images are of one class"), "{table}");
    one(1e-9).write(dir.path());
    reported(&dir);
    assert!(read(&dir, "tables/table2.md").contains("cats 32"));
}

#[test]
fn four_reports_at_once_all_succeed() {
    let dir = tempfile::tempdir().unwrap();
    for (variant, seed) in [(VAE, 0), (VAE, 1), (ACAI, 0)] {
        seal(&lines(dir.path(), variant, seed, 3.0));
    }
    reported(&dir);
    let files = || {
        let mut all = Vec::new();
        for folder in ["", "tables", "figures"] {
            for entry in fs::read_dir(dir.path().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    all.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        all.sort();
        all
    };
    let before = files();
    std::thread::scope(|scope| {
        let reports: Vec<_> =
            (0..4).map(|_| scope.spawn(|| report(dir.path(), &ReportOptions::default()))).collect();
        for report in reports {
            assert!(report.join().unwrap().unwrap().left_out.is_empty());
        }
    });
    assert!(before == files(), "the same files, and no others");
}

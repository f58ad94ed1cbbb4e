//! Reports of sweeps with very many runs.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use candle_core::{DType, Device, Tensor};
use lerp_report::{ReportOptions, TerminalStyle, compare, report, text::thousands};
use lerp_train::{Cell, State};

use crate::common::{Run, SEVEN, on_lines, read, seal, value};

/// Writes finished runs on lines of the seven variants, with `settings` learning rates and `seeds` seeds each.
fn sweep(dir: &Path, settings: u64, seeds: u64) {
    let images = Tensor::zeros((16, 32, 32, 1), DType::F32, &Device::Cpu).unwrap();
    let profile = Tensor::arange(1_f32, 4097.0, &Device::Cpu).unwrap().reshape((256, 16)).unwrap();
    let paths = ["norm", "distance", "angle"].map(|name| (name.to_owned(), profile.clone()));
    let paths: HashMap<String, Tensor> = paths.into_iter().collect();
    fs::create_dir_all(dir).unwrap();
    let at = |name: &str| dir.join(name);
    images.save_safetensors("images", at("i")).unwrap();
    candle_core::safetensors::save(&paths, at("p")).unwrap();
    for setting in 0..settings {
        for seed in 0..seeds {
            for (v, (variant, title)) in SEVEN.into_iter().enumerate() {
                let cell = Cell {
                    samples: 1 << 20,
                    learning_rate: 1e-4 * (setting + 1) as f64,
                    eval_every: 1 << 18,
                    checkpoint_every: 1 << 18,
                    ..on_lines(variant, seed)
                };
                let names = [
                    "eval/mean_distance",
                    "eval/mean_smoothness",
                    "eval/mean_smoothness_valid",
                    "eval/valid_fraction",
                    "eval/detour",
                    "eval/reconstruction_mse",
                    "eval/classifier_accuracy",
                    "loss/autoencoder",
                    "loss/classifier",
                ];
                let noise = |i: u64| ((seed * 31 + setting * 17 + i * 7 + v as u64) % 97) as f64 * 1e-5;
                let rows =
                    (1..=4).flat_map(|i| names.map(|name| value(i, name, 0.002 * (v + 1) as f64 + noise(i))));
                let rows = rows.collect();
                let run = Run::on_lines(cell, title, State::Done, rows);
                let folder = run.write(dir);
                fs::hard_link(at("i"), folder.join("interpolation.safetensors")).unwrap();
                fs::hard_link(at("p"), folder.join("paths.safetensors")).unwrap();
                seal(&folder);
            }
        }
    }
    fs::remove_file(at("i")).unwrap();
    fs::remove_file(at("p")).unwrap();
}

#[test]
fn very_many_runs_make_a_page_that_opens() {
    // One sweep has few configurations of many seeds, the other many configurations of few.
    for (settings, seeds) in [(1, 60), (100, 2)] {
        let dir = tempfile::tempdir().unwrap();
        sweep(dir.path(), settings, seeds);
        let begun = Instant::now();
        let left_out = report(dir.path(), &ReportOptions::default()).unwrap().left_out;
        assert!(left_out.is_empty(), "{left_out:?}");
        let text = compare(&[dir.path().to_owned()], TerminalStyle::Plain).unwrap().terminal;
        let seconds = begun.elapsed().as_secs_f64();
        assert!(seconds < 60.0, "{seconds} s");
        let page = read(&dir, "index.html");
        assert!(page.len() < 4_000_000, "{} bytes", page.len());
        let table = read(&dir, "tables/table1.md");
        let rows = table.lines().filter(|line| line.starts_with("| ACAI")).count() as u64;
        assert_eq!(rows, 2 * settings, "in Table 1 and 1b");
        assert!(table.lines().filter(|line| !line.starts_with('|')).map(str::len).sum::<usize>() < 40_000);
        if settings == 1 {
            assert!(table.contains("seeds 0 to 59;") && text.contains("seeds 0 to 59;"), "{table}");
        } else {
            assert!(page.contains("The first 500 of 700 lines"));
            assert!(page.contains("These are the first 40 of 700 configurations."));
        }
        let runs = 7 * settings * seeds;
        assert!(page.contains(&format!("Here are 200 of {} runs", thousands(runs))));
        let id = fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().file_name();
        let id = id.to_str().unwrap();
        let run = read(&dir, &format!("pages/{id}.html"));
        assert!(
            run.contains("<h3>Curves</h3>") && run.contains("<svg") && run.contains("../index.html#runs"),
            "{run}"
        );
        assert!(read(&dir, "pages/index.html").contains(&format!("href=\"{id}.html\"")));
        assert_eq!(fs::read_dir(dir.path().join("pages")).unwrap().count() as u64, runs + 2);
    }
}

#[test]
#[cfg(unix)]
fn pages_of_runs_are_not_written_through_a_link() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sweep(dir.path(), 1, 30);
    std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("pages")).unwrap();
    let error = report(dir.path(), &ReportOptions::default()).unwrap_err().to_string();
    assert!(error.contains("pages") && error.contains("something else than a folder"), "{error}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

/// Makes a sweep of 12,005 runs in the folder `LERP_MANY`, to measure `lerp report` of it with `/usr/bin/time -v`:
/// `LERP_MANY=DIR cargo test --release -p lerp-report --test report many`. `LERP_MANY_SETTINGS=343` makes 343
/// configurations of each variant with 5 seeds instead of one with 1,715.
#[test]
fn twelve_thousand_runs_to_measure() {
    let Some(folder) = std::env::var_os("LERP_MANY").map(PathBuf::from) else {
        return lerp_test::skip(
            "many",
            "LERP_MANY names no folder for the runs, which only serve to measure",
        );
    };
    let settings = std::env::var("LERP_MANY_SETTINGS").map_or(1, |text| text.parse().unwrap());
    sweep(&folder, settings, 1_715 / settings);
    report(&folder, &ReportOptions::default()).unwrap();
    assert!(fs::metadata(folder.join("index.html")).unwrap().len() < 15_000_000);
}

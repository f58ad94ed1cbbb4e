//! Runs for tests, written without training.

pub mod images;

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use lerp_core::{Hyper, Network, Precision, Schedule};
use lerp_eval::Quantity;
use lerp_report::{ReportOptions, report};
use lerp_train::{Cell, MetricRow, Metrics, Provenance, RunRecord, State, Status};

/// The names and titles of the paper's seven variants.
pub const SEVEN: [(&str, &str); 7] =
    [BASELINE, ("dropout", "Dropout"), ("denoising", "Denoising"), VAE, ("aae", "AAE"), VQVAE, ACAI];
pub const BASELINE: (&str, &str) = ("baseline", "Baseline");
pub const VAE: (&str, &str) = ("vae", "VAE");
pub const VQVAE: (&str, &str) = ("vqvae", "VQ-VAE");
pub const ACAI: (&str, &str) = ("acai", "ACAI");

/// Writes a sweep and its report.
pub fn reported(write: impl FnOnce(&Path)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    report(dir.path(), &ReportOptions::default()).unwrap();
    dir
}

/// A run to be written.
pub struct Run<'a> {
    pub cell: Cell,
    pub title: &'a str,
    pub state: State,
    /// The number of samples trained on.
    pub samples: u64,
    /// The digest of the data.
    pub data: Option<&'a str>,
    /// The numbers of training and test images.
    pub images: Option<[usize; 2]>,
    pub rows: Vec<MetricRow>,
}

/// Returns the cell of a run on lines under the paper's conditions.
pub fn on_lines(variant: &str, seed: u64) -> Cell {
    Cell {
        dataset: "lines".into(),
        variant: variant.into(),
        seed,
        samples: 1 << 24,
        batch: 64,
        learning_rate: 1e-4,
        eval_every: 1 << 20,
        checkpoint_every: 1 << 20,
        test_samples: 100,
        cluster_restarts: None,
        precision: Precision::F32,
        ema: None,
        schedule: Schedule::default(),
        origin: lerp_train::Origin::default(),
        network: Network { scales: if variant == "vqvae" { 3 } else { 4 }, depth: 16, latent: 16 }.into(),
        hyper: Hyper::new(),
    }
}

impl<'a> Run<'a> {
    /// Creates a run on lines that has trained on all of its cell's samples.
    pub fn on_lines(cell: Cell, title: &'a str, state: State, rows: Vec<MetricRow>) -> Self {
        Self { samples: cell.samples, cell, title, state, data: None, images: None, rows }
    }
}

impl Run<'_> {
    /// Writes the run into the folder of a sweep, and returns the run's folder.
    pub fn write(self, sweep: &Path) -> PathBuf {
        let provenance = Provenance {
            version: "1".into(),
            git: "abc".into(),
            candle: "1".into(),
            data: self.data.map(String::from),
            images: self.images,
            started: "2020-01-01T00:00:00Z".into(),
            command: "lerp sweep --out <here>".into(),
            ..Provenance::unknown()
        };
        let reason = (self.state == State::Failed).then(|| "loss <b>became</b> 50 % NaN".to_owned());
        let status = Status {
            state: self.state,
            samples: self.samples,
            wall_s: 60.0,
            reason,
            peak_memory: Some(123_400_000),
        };
        let record = RunRecord { digests: false, ..RunRecord::new(self.cell, self.title, provenance) };
        let dir = sweep.join("runs").join(&record.id);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("run.toml"), toml::to_string(&record).unwrap()).unwrap();
        fs::write(dir.join("status.json"), serde_json::to_string(&status).unwrap()).unwrap();
        if !self.rows.is_empty() {
            std::fs::write(dir.join("metrics.parquet"), Metrics(self.rows).parquet().unwrap()).unwrap();
        }
        dir
    }
}

/// Records in the run in `dir` that it measures these user-defined metrics.
pub fn measures(dir: &Path, quantities: &[Quantity]) {
    let path = dir.join("run.toml");
    let record: RunRecord = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let record = RunRecord { quantities: quantities.to_vec(), ..record };
    fs::write(&path, toml::to_string(&record).unwrap()).unwrap();
}

/// Writes digests of the files of the run in `dir`, as current versions do.
pub fn seal(dir: &Path) {
    let path = dir.join("run.toml");
    let record: RunRecord = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let record = RunRecord { digests: true, ..record };
    fs::write(&path, toml::to_string(&record).unwrap()).unwrap();
    let files: serde_json::Map<_, _> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let digest = lerp_files::digest(&fs::read(entry.path()).unwrap());
            (entry.file_name().into_string().unwrap(), serde_json::json!([digest]))
        })
        .collect();
    let list = serde_json::json!({"run": record.id, "files": files});
    fs::write(dir.join("digests.json"), list.to_string()).unwrap();
}

/// Returns the value of a metric at the `i`th evaluation.
pub fn value(i: u64, metric: &str, value: f64) -> MetricRow {
    MetricRow { step: i << 14, samples: i << 20, metric: metric.into(), value, wall_s: i as f64 }
}

/// Reads a file of a sweep.
pub fn read(dir: &tempfile::TempDir, file: &str) -> String {
    fs::read_to_string(dir.path().join(file)).unwrap()
}

/// Returns the line of a Markdown table that begins with these cells.
pub fn row<'a>(table: &'a str, begin: &str) -> &'a str {
    let begin = format!("| {begin} |");
    table.lines().find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("{begin}: {table}"))
}

/// Returns the cells of a line of a Markdown table.
pub fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split(" | ").map(str::trim).collect()
}

/// Returns the picture embedded in a figure, gray or with three channels, and its width.
pub fn picture(dir: &tempfile::TempDir, file: &str) -> (Vec<u8>, usize) {
    let svg = read(dir, &format!("figures/{file}.svg"));
    let data = svg.split("data:image/png;base64,").nth(1).unwrap().split('"').next().unwrap();
    pixels(BASE64_STANDARD.decode(data).unwrap())
}

/// Decodes a PNG image, and returns its pixels and its width.
pub fn pixels(bytes: Vec<u8>) -> (Vec<u8>, usize) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    (pixels, reader.info().width as usize)
}

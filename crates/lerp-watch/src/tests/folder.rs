//! A synthetic folder of a sweep.

use std::{
    fs,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use lerp_core::Network;
use lerp_train::{Cell, MetricRow, Metrics, Provenance, RunRecord, State, Status};
use ratatui::{Terminal, backend::TestBackend};
use tempfile::TempDir;

use crate::{app::App, draw::draw, now, palette::Palette, sweep_view::SweepView};

/// Total training samples of every cell.
pub const SAMPLES: u64 = 16_384;

/// A folder of a sweep, which is deleted when this is dropped.
pub struct Folder {
    dir: TempDir,
}

impl Folder {
    /// Creates an empty folder.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Returns the path of the sweep's folder.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("quick")
    }

    /// Writes `sweep.toml` with one cell per variant.
    pub fn plan(self, variants: &[&str]) -> Self {
        let cells: Vec<String> = variants.iter().map(|variant| cell(variant).id()).collect();
        let text = format!(
            "format = \"lerp sweep 1\"\nabout = \"seven variants\"\ndevices = [\"cpu\"]\ncells = {cells:?}\n"
        );
        fs::create_dir_all(self.path()).unwrap();
        fs::write(self.path().join("sweep.toml"), text).unwrap();
        self
    }

    /// Returns the folder of a variant's cell.
    pub fn run(&self, variant: &str) -> PathBuf {
        self.path().join("runs").join(cell(variant).id())
    }

    /// Writes a run that has been trained on `samples`, with a log, and with metrics and images if `samples` is not 0.
    pub fn with(self, variant: &str, state: State, samples: u64) -> Self {
        let dir = self.run(variant);
        fs::create_dir_all(&dir).unwrap();
        let record = RunRecord {
            digests: false,
            ..RunRecord::new(cell(variant), &variant.to_uppercase(), Provenance::unknown())
        };
        fs::write(dir.join("run.toml"), toml::to_string(&record).unwrap()).unwrap();
        let reason =
            (state == State::Failed).then(|| "loss/autoencoder became NaN; lower the learning rate".into());
        let status = Status { state, samples, wall_s: samples as f64 / 100.0, reason, peak_memory: None };
        fs::write(dir.join("status.json"), serde_json::to_string(&status).unwrap()).unwrap();
        let log: Vec<String> = (0..40).map(|i| format!("log line {i}")).collect();
        fs::write(dir.join("log.txt"), log.join("\n")).unwrap();
        if samples > 0 {
            std::fs::write(dir.join("metrics.parquet"), metrics(samples).parquet().unwrap()).unwrap();
            images(&dir);
        }
        self
    }

    /// Writes the progress file of a variant's cell as a worker wrote it `age` seconds ago.
    pub fn live(self, variant: &str, samples: u64, age: f64) -> Self {
        let at = now() - age;
        let text = format!(
            r#"{{"samples":{samples},"samples_per_s":250.0,"losses":[["loss/autoencoder",0.125]],"phase":"training","at":{at}}}"#
        );
        let path = self.run(variant).join("progress.json");
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs_f64(at)).unwrap();
        self
    }

    /// Opens and reads the sweep.
    pub fn sweep(&self) -> SweepView {
        let mut sweep = SweepView::open(&self.path()).unwrap();
        sweep.refresh(now());
        sweep
    }

    /// Returns an interactive view of the sweep.
    pub fn app(&self) -> App {
        let mut app = App::new(self.sweep(), Palette::True);
        app.refresh(now());
        app
    }
}

/// Returns a cell on lines.
pub fn cell(variant: &str) -> Cell {
    Cell {
        dataset: "lines".into(),
        variant: variant.into(),
        seed: 0,
        samples: SAMPLES,
        batch: 64,
        learning_rate: 1e-3,
        eval_every: 1024,
        checkpoint_every: 4096,
        test_samples: 64,
        cluster_restarts: None,
        precision: lerp_core::Precision::F32,
        ema: None,
        schedule: lerp_core::Schedule::default(),
        origin: lerp_train::Origin::default(),
        network: Network { scales: 3, depth: 4, latent: 4 }.into(),
        hyper: serde_json::from_str("{}").unwrap(),
    }
}

/// Returns decreasing values of four metrics, one every 1024 samples, and a fifth metric that is always NaN.
fn metrics(samples: u64) -> Metrics {
    let row = |n: u64, metric: &str, value: f64| MetricRow {
        step: n * 16,
        samples: n * 1024,
        metric: metric.into(),
        value,
        wall_s: n as f64,
    };
    let values = (1..=samples.div_ceil(1024)).flat_map(|n| {
        [
            row(n, "loss/autoencoder", 0.2 / n as f64),
            row(n, "eval/mean_distance", 0.01 / n as f64),
            row(n, "eval/mean_smoothness", 1.0 / n as f64),
            row(n, "eval/reconstruction_mse", 0.1 / n as f64),
            row(n, "eval/detour", f64::NAN),
        ]
    });
    Metrics(values.collect())
}

/// Writes one pair in the format of earlier versions: sixteen images of increasing brightness.
fn images(dir: &Path) {
    let values: Vec<f32> = (0..16 * 32 * 32).map(|i| (i / 1024) as f32 / 7.5 - 1.0).collect();
    let images = Tensor::from_vec(values, (16, 32, 32, 1), &Device::Cpu).unwrap();
    let bytes = safetensors::serialize([("images", images)], None).unwrap();
    fs::write(dir.join("interpolation.safetensors"), bytes).unwrap();
}

/// Returns the text on a screen of `width` by `height` characters, without colours.
pub fn screen(app: &mut App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    let buffer = terminal.backend().buffer();
    let mut out = String::new();
    for y in 0..height {
        let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        out += line.trim_end();
        out.push('\n');
    }
    out
}

//! The runs of a sweep, grouped by configuration, and their final values.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use lerp_data::Lines;
use lerp_eval::{final_value, mean_std};
use lerp_train::{Cell, Metrics, Run, State, runs_in};
use polars::prelude::{Column, DataFrame, ParquetWriter};

use crate::{
    Error, Result,
    conditions::Selection,
    frame::Value,
    pixels::PixelReference,
    published::published,
    set::{Set, latent_dims},
    text::count,
};

/// A run with its metrics.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Record and status.
    pub run: Run,
    /// What was measured.
    pub metrics: Metrics,
}

impl Loaded {
    /// The run's final value of a metric; none if it was never measured, NaN if it is undefined.
    pub fn final_value(&self, metric: &str) -> Option<f64> {
        let values: Vec<f64> = self.metrics.series(metric).map(|row| row.value).collect();
        (!values.is_empty()).then(|| final_value(&values))
    }
}

/// Runs that differ in the seed alone.
#[derive(Debug, Clone)]
pub struct Group {
    /// Name in tables: the variant's, and what tells it from its other configurations.
    pub label: String,
    /// What tells it from the variant's other configurations, such as `learning_rate=0.001`; empty if there are none.
    pub telling: String,
    /// The image set and the size of its latents; none on lines.
    pub set: Option<Set>,
    /// Its runs, by seed.
    pub runs: Vec<Loaded>,
}

/// A number in a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Estimate {
    /// No run is finished.
    Missing,
    /// The metric is undefined in every finished run.
    Undefined,
    /// Mean and standard deviation over `n` finished runs.
    Known {
        /// Mean.
        mean: f64,
        /// Standard deviation over seeds, with divisor n as in the paper.
        std: f64,
        /// Number of runs in it.
        n: usize,
    },
}

impl Estimate {
    /// The mean, if there is one.
    pub fn mean(self) -> Option<f64> {
        if let Self::Known { mean, .. } = self { Some(mean) } else { None }
    }

    /// Mean, standard deviation and number of runs for a file: nothing where no run is finished, not a number where
    /// undefined.
    pub fn values(self) -> (Value, Value, usize) {
        match self {
            Self::Known { mean, n: 1, .. } => (mean.into(), Value::None, 1),
            Self::Known { mean, std, n } => (mean.into(), std.into(), n),
            Self::Undefined => (f64::NAN.into(), Value::None, 0),
            Self::Missing => (Value::None, Value::None, 0),
        }
    }
}

impl Group {
    /// The first run's cell: all of them but for the seed.
    pub fn cell(&self) -> &Cell {
        &self.runs[0].run.record.cell
    }

    /// Its name among those of all datasets: the label, on image sets behind the set.
    pub fn name(&self) -> String {
        self.set.as_ref().map(|set| format!("{} ", set.name())).unwrap_or_default() + &self.label
    }

    /// Its finished runs.
    pub fn done(&self) -> impl Iterator<Item = &Loaded> {
        self.runs.iter().filter(|loaded| loaded.run.status.state == State::Done)
    }

    /// Its runs, by seed, finished ones before others: the first that has something stands for the configuration.
    pub fn preferred(&self) -> impl Iterator<Item = &Loaded> {
        self.done().chain(self.runs.iter().filter(|loaded| loaded.run.status.state != State::Done))
    }

    /// Whether any run has ever measured a metric.
    pub fn has(&self, metric: &str) -> bool {
        self.runs.iter().any(|loaded| loaded.metrics.series(metric).next().is_some())
    }

    /// A metric over the finished runs; those in which it is undefined are left out.
    pub fn estimate(&self, metric: &str) -> Estimate {
        let finals: Vec<f64> = self.done().filter_map(|loaded| loaded.final_value(metric)).collect();
        let known: Vec<f64> = finals.iter().copied().filter(|v| v.is_finite()).collect();
        match (finals.is_empty(), known.is_empty()) {
            (true, _) => Estimate::Missing,
            (false, true) => Estimate::Undefined,
            (false, false) => {
                let (mean, std) = mean_std(&known);
                Estimate::Known { mean, std, n: known.len() }
            }
        }
    }
}

/// A sweep as its folder tells it.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// The folder.
    pub dir: PathBuf,
    /// Configurations, on lines, then on image sets; in the paper's order of variants.
    pub groups: Vec<Group>,
    /// The references of raw pixels, by dataset.
    pub pixels: BTreeMap<String, PixelReference>,
    /// Names of planned cells that have not begun.
    pub waiting: Vec<String>,
}

impl Sweep {
    /// Reads all runs in `dir`.
    ///
    /// # Errors
    /// If there are none, or a run's files are damaged.
    pub fn read(dir: &Path) -> Result<Self> {
        if !dir.is_dir() {
            return Err(Error::NoFolder(dir.to_owned()));
        }
        let mut groups: BTreeMap<(usize, String), Vec<Loaded>> = BTreeMap::new();
        for run in runs_in(dir)?.runs {
            let metrics = run.metrics()?;
            let cell = &run.record.cell;
            let mut seedless = Cell { seed: 0, ..cell.clone() };
            seedless.hyper.sort_keys();
            let key = serde_json::to_string(&seedless).unwrap_or_default();
            let place = published().place(&cell.variant);
            groups
                .entry((place, format!("{} {key}", cell.variant)))
                .or_default()
                .push(Loaded { run, metrics });
        }
        if groups.is_empty() {
            return Err(match planned(dir).len() {
                0 => Error::NoRuns(dir.to_owned()),
                cells => Error::NotBegun { dir: dir.to_owned(), cells },
            });
        }
        let datasets: BTreeSet<String> =
            groups.values().flatten().map(|loaded| loaded.run.record.cell.dataset.clone()).collect();
        let mut groups: Vec<Group> = groups
            .into_values()
            .map(|mut runs| {
                runs.sort_by_key(|loaded| loaded.run.record.cell.seed);
                let cell = &runs[0].run.record.cell;
                let set = (cell.dataset != Lines::NAME)
                    .then(|| Set::new(&cell.dataset, latent_dims(cell), &datasets));
                Group { label: String::new(), telling: String::new(), set, runs }
            })
            .collect();
        label(&mut groups);
        // By number where a number differs: 9 before 10.
        groups.sort_by(|a, b| {
            let place = |g: &Group| (published().place(&g.cell().variant), g.cell().variant.clone());
            let sets = match (&a.set, &b.set) {
                (Some(a), Some(b)) => a.order(b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            };
            sets.then_with(|| place(a).cmp(&place(b))).then_with(|| natural(&a.label, &b.label))
        });
        let mut pixels = BTreeMap::new();
        for dataset in datasets {
            if let Some(reference) = PixelReference::read(dir, &dataset)? {
                pixels.insert(dataset, reference);
            }
        }
        let begun = |id: &String| groups.iter().flat_map(|g| &g.runs).any(|l| l.run.record.id == *id);
        let waiting = planned(dir).into_iter().filter(|id| !begun(id)).collect();
        Ok(Self { dir: dir.to_owned(), groups, pixels, waiting })
    }

    /// All runs.
    pub fn runs(&self) -> impl Iterator<Item = &Loaded> {
        self.groups.iter().flat_map(|group| &group.runs)
    }

    /// The sweep's name: its folder's.
    pub fn name(&self) -> String {
        let path = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The configurations on lines.
    pub fn on_lines(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.set.is_none())
    }

    /// The same, for words about them.
    pub fn lines(&self) -> Selection<'_> {
        Selection { groups: self.on_lines().collect() }
    }

    /// The image sets, each size of latents by itself, in the paper's order.
    pub fn sets(&self) -> Vec<&Set> {
        let mut sets: Vec<&Set> = self.groups.iter().filter_map(|group| group.set.as_ref()).collect();
        sets.dedup();
        sets
    }

    /// The configurations on an image set.
    pub fn on(&self, set: &Set) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| {
            group.set.as_ref().is_some_and(|s| (&s.dataset, s.dims) == (&set.dataset, set.dims))
        })
    }

    /// How many runs are in which state, in words.
    pub fn states(&self) -> String {
        let of = |state, word: &str| {
            let n = self.runs().filter(|l| l.run.status.state == state).count();
            (n > 0).then(|| format!("{n} {word}"))
        };
        let parts = [
            of(State::Done, "finished"),
            of(State::Failed, "failed"),
            of(State::Interrupted, "interrupted"),
            of(State::Running, "running or killed"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let waiting = self.not_begun().map(|sentence| format!(". {}", sentence.trim_end_matches('.')));
        format!("{}: {}{}", count(self.runs().count(), "run"), parts.join(", "), waiting.unwrap_or_default())
    }

    /// A sentence about planned cells that have not begun, if there are any.
    pub fn not_begun(&self) -> Option<String> {
        const NAMED: usize = 5;
        let more = self.waiting.len().saturating_sub(NAMED);
        let names = self.waiting.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!self.waiting.is_empty())
            .then(|| format!("Planned and not begun: {names}{more}; sweep again to train them."))
    }

    /// `summary.parquet`: one row for each run and metric.
    pub(crate) fn parquet(&self) -> Result<Vec<u8>> {
        let mut rows: Vec<(&Loaded, String, f64, i64)> = Vec::new();
        for loaded in self.runs() {
            let names: BTreeSet<&str> = loaded.metrics.0.iter().map(|row| row.metric.as_str()).collect();
            for name in names {
                let count = loaded.metrics.series(name).count() as i64;
                rows.push((loaded, name.to_owned(), loaded.final_value(name).unwrap_or(f64::NAN), count));
            }
        }
        let text = |name: &str, of: &dyn Fn(&Loaded) -> String| {
            Column::new(name.into(), rows.iter().map(|(l, ..)| of(l)).collect::<Vec<_>>())
        };
        let whole = |name: &str, of: &dyn Fn(&Loaded) -> i64| {
            Column::new(name.into(), rows.iter().map(|(l, ..)| of(l)).collect::<Vec<_>>())
        };
        let real = |name: &str, of: &dyn Fn(&Loaded) -> f64| {
            Column::new(name.into(), rows.iter().map(|(l, ..)| of(l)).collect::<Vec<_>>())
        };
        let columns = vec![
            text("id", &|l| l.run.record.id.clone()),
            text("dataset", &|l| l.run.record.cell.dataset.clone()),
            whole("latent_dims", &|l| latent_dims(&l.run.record.cell) as i64),
            text("variant", &|l| l.run.record.cell.variant.clone()),
            text("title", &|l| l.run.record.title.clone()),
            whole("seed", &|l| l.run.record.cell.seed as i64),
            whole("samples_planned", &|l| l.run.record.cell.samples as i64),
            whole("samples_done", &|l| l.run.status.samples as i64),
            text("state", &|l| format!("{:?}", l.run.status.state).to_lowercase()),
            real("learning_rate", &|l| l.run.record.cell.learning_rate),
            text("hyper", &|l| serde_json::to_string(&l.run.record.cell.hyper).unwrap_or_default()),
            text("device", &|l| l.run.record.provenance.device.clone()),
            text("git", &|l| l.run.record.provenance.git.clone()),
            real("wall_s", &|l| l.run.status.wall_s),
            Column::new("metric".into(), rows.iter().map(|(_, name, ..)| name.as_str()).collect::<Vec<_>>()),
            Column::new("final".into(), rows.iter().map(|(_, _, value, _)| *value).collect::<Vec<_>>()),
            Column::new("evaluations".into(), rows.iter().map(|(.., count)| *count).collect::<Vec<_>>()),
        ];
        let mut bytes = Vec::new();
        DataFrame::new(rows.len(), columns)
            .and_then(|mut table| ParquetWriter::new(&mut bytes).finish(&mut table))
            .map_err(Error::draw("summary.parquet"))?;
        Ok(bytes)
    }
}

/// Names of the cells that the last sweep into a folder planned; none where no sweep has recorded any.
fn planned(dir: &Path) -> Vec<String> {
    let read = || {
        let text = fs::read_to_string(dir.join("sweep.toml")).ok()?;
        let plan: toml::Table = toml::from_str(&text).ok()?;
        let cells = plan.get("cells")?.as_array()?;
        Some(cells.iter().filter_map(|cell| cell.as_str().map(String::from)).collect())
    };
    read().unwrap_or_default()
}

/// Names groups: by the variant, and by what differs where a variant has several on lines or one image set.
fn label(groups: &mut [Group]) {
    let settings: Vec<BTreeMap<String, String>> = groups.iter().map(|g| flat(g.cell())).collect();
    let places: Vec<(Option<Set>, String)> =
        groups.iter().map(|g| (g.set.clone(), g.cell().variant.clone())).collect();
    for (i, group) in groups.iter_mut().enumerate() {
        let title = group.runs[0].run.record.title.clone();
        let twins: Vec<usize> = (0..places.len()).filter(|j| places[*j] == places[i]).collect();
        let telling: Vec<String> = settings[i]
            .iter()
            .filter(|(key, value)| twins.iter().any(|j| settings[*j].get(*key) != Some(*value)))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        group.telling = telling.join(", ");
        group.label = if telling.is_empty() { title } else { format!("{title} ({})", group.telling) };
    }
}

/// The settings of a cell by name, the seed left out.
fn flat(cell: &Cell) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    if let Ok(serde_json::Value::Object(table)) = serde_json::to_value(cell) {
        for (key, value) in table {
            match value {
                _ if key == "seed" => {}
                serde_json::Value::Object(inner) => {
                    all.extend(inner.into_iter().map(|(key, value)| (key, value.to_string())));
                }
                other => {
                    all.insert(key, other.to_string());
                }
            }
        }
    }
    // Records leave out full f32.
    all.insert("precision".into(), cell.precision.to_string());
    all
}

/// Order of labels that compares the numbers in them as numbers.
pub fn natural(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<String> {
        text.split(['=', ',', ')']).map(|part| part.trim().to_owned()).collect()
    };
    for (x, y) in parts(a).iter().zip(&parts(b)) {
        let order = match (x.parse::<f64>(), y.parse::<f64>()) {
            (Ok(x), Ok(y)) => x.total_cmp(&y),
            _ => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.cmp(b)
}

//! The runs of a sweep, grouped by configuration, and their final values.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use lerp_data::{Dataset, Lines};
use lerp_eval::{final_value, mean_std};
use lerp_train::{Cell, Metrics, Run, State, runs_in};
use polars::prelude::{Column, DataFrame, ParquetWriter};

use crate::{
    Error, Result,
    published::published,
    text::{count, number, thousands, two_digits},
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
}

impl Group {
    /// The first run's cell: all of them but for the seed.
    pub fn cell(&self) -> &Cell {
        &self.runs[0].run.record.cell
    }

    /// Its finished runs.
    pub fn done(&self) -> impl Iterator<Item = &Loaded> {
        self.runs.iter().filter(|loaded| loaded.run.status.state == State::Done)
    }

    /// A metric, named without its `eval/`, over the finished runs; those in which it is undefined are left out.
    pub fn estimate(&self, metric: &str) -> Estimate {
        let metric = format!("eval/{metric}");
        let finals: Vec<f64> = self.done().filter_map(|loaded| loaded.final_value(&metric)).collect();
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
    /// Configurations, in the paper's order of variants.
    pub groups: Vec<Group>,
}

impl Sweep {
    /// Reads all runs in `dir`.
    ///
    /// # Errors
    /// If there are none, or a run's files are damaged.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut groups: BTreeMap<(usize, String), Vec<Loaded>> = BTreeMap::new();
        for run in runs_in(dir)? {
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
            return Err(Error::NoRuns(dir.to_owned()));
        }
        let mut groups: Vec<Group> = groups
            .into_values()
            .map(|mut runs| {
                runs.sort_by_key(|loaded| loaded.run.record.cell.seed);
                Group { label: String::new(), runs }
            })
            .collect();
        label(&mut groups);
        // By number where a number differs: 9 before 10.
        groups.sort_by(|a, b| {
            let place = |g: &Group| (published().place(&g.cell().variant), g.cell().variant.clone());
            place(a).cmp(&place(b)).then_with(|| natural(&a.label, &b.label))
        });
        Ok(Self { dir: dir.to_owned(), groups })
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

    /// The configurations on lines, which table and figures are about.
    pub fn on_lines(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.cell().dataset == Lines::NAME)
    }

    /// What is said about the conditions under a table or figure: samples, seeds, rates, device, revision.
    pub fn conditions(&self) -> String {
        let seeds: BTreeSet<u64> = self.runs().map(|l| l.run.record.cell.seed).collect();
        let seeds: Vec<String> = seeds.into_iter().map(|s| s.to_string()).collect();
        format!(
            "{} samples a run; seed{} {}; batch {}; learning rate {}; device {}; revision {}.",
            self.by_variant(|l| thousands(l.run.record.cell.samples)),
            if seeds.len() == 1 { "" } else { "s" },
            seeds.join(", "),
            self.by_variant(|l| l.run.record.cell.batch.to_string()),
            self.by_variant(|l| number(l.run.record.cell.learning_rate)),
            self.by_variant(|l| l.run.record.provenance.device.clone()),
            self.by_variant(|l| l.run.record.provenance.git.clone()),
        )
    }

    /// A setting: its value, or each value with the variants that have it: `0.001 (Baseline, VAE), 0.0003 (ACAI)`.
    fn by_variant(&self, of: impl Fn(&Loaded) -> String) -> String {
        let mut values: Vec<(String, Vec<&str>)> = Vec::new();
        for loaded in self.runs() {
            let (value, title) = (of(loaded), loaded.run.record.title.as_str());
            match values.iter_mut().find(|(known, _)| *known == value) {
                Some((_, titles)) if titles.contains(&title) => {}
                Some((_, titles)) => titles.push(title),
                None => values.push((value, vec![title])),
            }
        }
        if let [(value, _)] = values.as_slice() {
            return value.clone();
        }
        let texts: Vec<String> =
            values.iter().map(|(value, titles)| format!("{value} ({})", titles.join(", "))).collect();
        texts.join(", ")
    }

    /// How the runs differ from the paper's, if they do.
    pub fn unlike_the_paper(&self) -> Option<String> {
        let (samples, rate, batch) = (1_u64 << 24, 1e-4, 64);
        let cells = || self.runs().map(|l| &l.run.record.cell);
        let least = cells().map(|cell| cell.samples).min().unwrap_or(0);
        let mut parts = Vec::new();
        if least < samples {
            let share = number(two_digits(100.0 * least as f64 / samples as f64));
            let most = cells().map(|cell| cell.samples).max().unwrap_or(0);
            let from = if most > least { "from " } else { "" };
            parts.push(format!("{from}{share} % of the paper's {} samples", thousands(samples)));
        }
        if cells().any(|cell| (cell.learning_rate - rate).abs() > 1e-12) {
            parts.push(format!("another learning rate than its {rate}"));
        }
        if cells().any(|cell| cell.batch != batch) {
            parts.push(format!("another batch than its {batch}"));
        }
        let networks = |cell: &Cell| (cell.network.depth, cell.network.latent);
        let protocol = Lines.network();
        if let Some((depth, latent)) =
            cells().map(networks).find(|network| *network != (protocol.depth, protocol.latent))
        {
            parts.push(format!("another network (depth {depth}, {latent} channels of the latent)"));
        }
        parts.extend(self.other_hyperparameters());
        (!parts.is_empty()).then(|| format!("These are not the paper's conditions: {}.", parts.join(", ")))
    }

    /// Hyperparameters that are not the paper's, in words.
    fn other_hyperparameters(&self) -> BTreeSet<String> {
        let of_run = |loaded: &Loaded| {
            let (cell, title) = (&loaded.run.record.cell, &loaded.run.record.title);
            let other = |(name, paper): (&str, f64)| {
                let ours = cell.hyper.get(name)?.as_f64()?;
                ((ours - paper).abs() > 1e-9 * paper.abs())
                    .then(|| format!("{title}'s {name} {} instead of {}", number(ours), number(paper)))
            };
            published().hyper(&cell.variant).filter_map(other).collect::<Vec<_>>()
        };
        self.runs().flat_map(of_run).collect()
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
        format!("{}: {}", count(self.runs().count(), "run"), parts.join(", "))
    }

    /// One sentence for each run that is not in the numbers.
    pub fn missing(&self) -> Vec<String> {
        let sentence = |group: &Group, loaded: &Loaded| {
            let (status, cell) = (&loaded.run.status, &loaded.run.record.cell);
            let name = format!("{}, seed {}", group.label, cell.seed);
            let far = format!("{} of {} samples", thousands(status.samples), thousands(cell.samples));
            match status.state {
                State::Done => None,
                State::Failed => {
                    let reason = status.reason.as_deref().unwrap_or("no reason is recorded");
                    Some(format!("{name}: failed after {far}: {}.", reason.trim_end().trim_end_matches('.')))
                }
                State::Interrupted => Some(format!("{name}: interrupted at {far}; sweep again to go on.")),
                State::Running => Some(format!("{name}: running, or killed, at {far}.")),
            }
        };
        let of_group = |group: &Group| {
            group.runs.iter().filter_map(|loaded| sentence(group, loaded)).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of_group).collect()
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

/// Names groups: by the variant, and by what differs where a variant has several.
fn label(groups: &mut [Group]) {
    let settings: Vec<BTreeMap<String, String>> = groups.iter().map(|g| flat(g.cell())).collect();
    let variants: Vec<String> = groups.iter().map(|g| g.cell().variant.clone()).collect();
    for (i, group) in groups.iter_mut().enumerate() {
        let title = group.runs[0].run.record.title.clone();
        let twins: Vec<usize> = (0..variants.len()).filter(|j| variants[*j] == variants[i]).collect();
        let telling: Vec<String> = settings[i]
            .iter()
            .filter(|(key, value)| twins.iter().any(|j| settings[*j].get(*key) != Some(*value)))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        group.label = if telling.is_empty() { title } else { format!("{title} ({})", telling.join(", ")) };
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
    all
}

/// Order of labels that compares the numbers in them as numbers.
fn natural(a: &str, b: &str) -> Ordering {
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

//! The conditions of the runs behind a table or figure, in words.

use std::collections::{BTreeMap, BTreeSet};

use lerp_core::Architecture;
use lerp_data::{Dataset, Lines};
use lerp_files::printable;
use lerp_train::{Origin, State};

use crate::{
    paper::{PublishedHyper, PublishedTraining, published},
    reading::{LoadedRun, RunGroup, SizedImageSet, Sweep},
    text::{MAX_NAMES, few, names, number, numbers, plural, thousands, two_digits, unique},
};

/// How the conditions of runs deviate from the paper's, in words.
#[derive(Debug, Clone, Default)]
pub struct Deviations {
    /// Deviations in training. It can still be said whether such runs reach the paper's numbers.
    pub training: Vec<String>,
    /// Deviations in what was measured. Numbers of such runs cannot be compared with the paper's.
    pub measured: Vec<String>,
}

/// The configurations that a table or figure shows.
#[derive(Debug, Clone)]
pub struct Selection<'a> {
    /// The configurations, in the order shown.
    pub groups: Vec<&'a RunGroup>,
}

impl Sweep {
    /// Selects the configurations on lines, to describe their conditions.
    pub fn lines(&self) -> Selection<'_> {
        Selection { groups: self.on(None).collect() }
    }

    /// Returns the notes under a table of `shown` on runs and files that are not in its numbers.
    pub fn missing_notes(&self, shown: &Selection) -> Vec<String> {
        shown.missing().into_iter().chain(self.not_begun()).chain(self.not_counted()).collect()
    }
}

impl<'a> Selection<'a> {
    /// Iterates over all runs with their configurations.
    fn runs(&self) -> impl Iterator<Item = (&'a RunGroup, &'a LoadedRun)> {
        self.groups.iter().flat_map(|group| group.runs.iter().map(move |loaded| (*group, loaded)))
    }

    /// Returns the conditions of the runs: samples, seeds, batch size, learning rate, device and revision.
    pub fn conditions(&self) -> String {
        let seeds: BTreeSet<u64> = self.runs().map(|(_, l)| l.run.record.cell.seed).collect();
        let seeds: Vec<u64> = seeds.into_iter().collect();
        let mut parts = Vec::new();
        if self.runs().any(|(_, l)| l.run.record.cell.known_samples().is_some()) {
            let samples = self.by(|l| l.run.record.cell.known_samples().map(thousands));
            parts.push(format!("{samples} samples a run"));
        }
        parts.push(format!("{} {}", plural(seeds.len(), "seed"), numbers(&seeds)));
        if self.runs().any(|(_, l)| l.run.record.cell.origin.is_trained()) {
            parts.push(format!("batch {}", self.trained(|l| l.run.record.cell.batch.to_string())));
            let rate = self.trained(|l| number(l.run.record.cell.learning_rate));
            parts.push(format!("learning rate {rate}{}", self.course()));
            let device = self.trained(|l| printable(&l.run.record.provenance.device).into_owned());
            parts.push(format!("device {device}"));
        }
        let revision = self.by(|l| Some(printable(&l.run.record.provenance.git).into_owned()));
        parts.push(format!("revision {revision}."));
        let elsewhere = self.elsewhere().map(|sentence| format!(" {sentence}"));
        parts.join("; ") + &elsewhere.unwrap_or_default()
    }

    /// Returns sentences about models that were not trained here: what they were trained with, and what cannot be
    /// measured of them. `None` if all models were trained here.
    fn elsewhere(&self) -> Option<String> {
        let with = |group: &&RunGroup| {
            let mut with: Vec<String> =
                group.runs.iter().filter_map(|l| l.run.record.elsewhere.as_ref()?.trained_with()).collect();
            with.dedup();
            let with = printable(&with.join(", ")).into_owned();
            if with.is_empty() { group.name() } else { format!("{} with {with}", group.name()) }
        };
        let of = |wanted: fn(&Origin) -> bool| -> Vec<String> {
            self.groups.iter().filter(|group| wanted(&group.cell().origin)).map(with).collect()
        };
        let scored = of(|origin| *origin == Origin::Scored);
        let imported = of(|origin| matches!(origin, Origin::Imported { .. }));
        let curves = "so there are no curves of it";
        let scored = (!scored.is_empty()).then(|| {
            // No table has a classifier accuracy on lines.
            let sets = self.groups.iter().any(|g| g.cell().origin == Origin::Scored && g.set.is_some());
            let beside = if sets { ", and no classifier was trained beside it (–)" } else { "" };
            format!(
                "Trained elsewhere, and measured once, by answers to a task: {}; {curves}{beside}.",
                names(&scored)
            )
        });
        let imported = (!imported.is_empty()).then(|| {
            format!("Trained elsewhere, imported, and measured once: {}; {curves}.", names(&imported))
        });
        let all: Vec<String> = scored.into_iter().chain(imported).collect();
        (!all.is_empty()).then(|| all.join(" "))
    }

    /// Formats a training setting of the runs that were trained here.
    fn trained(&self, of: impl Fn(&LoadedRun) -> String) -> String {
        self.by(|loaded| loaded.run.record.cell.origin.is_trained().then(|| of(loaded)))
    }

    /// Returns the learning-rate schedule and the decay of the exponential moving average of weights as the end of a
    /// clause. Each is left out if all runs have the paper's, which is a constant rate and no average.
    fn course(&self) -> String {
        let cells = || self.runs().map(|(_, l)| &l.run.record.cell);
        let course = cells().any(|cell| !cell.schedule.is_constant()).then(|| {
            let course = self.trained(|l| l.run.record.cell.schedule.to_string());
            format!("; learning rate over the run: {course}")
        });
        let averages = cells().any(|cell| cell.ema.is_some()).then(|| {
            let decay = self.trained(|l| l.run.record.cell.ema.map_or_else(|| "none".into(), number));
            format!("; decay of averaged weights: {decay}")
        });
        course.into_iter().chain(averages).collect()
    }

    /// Returns [`Self::conditions`], followed by the deviations from the paper's if there are any.
    pub fn all_conditions(&self) -> String {
        let unlike = self.unlike_the_paper().map(|s| format!(" {s}"));
        self.conditions() + &unlike.unwrap_or_default()
    }

    /// Formats a setting: its value, or each of its values with the runs that have it, as in `0.001 (Baseline, VAE),
    /// 0.0003 (ACAI)`. The runs are named by variant; by image set if there are several and these alone determine the
    /// value; or else by both. Runs without a value are skipped.
    pub fn by(&self, of: impl Fn(&LoadedRun) -> Option<String>) -> String {
        // The value of each run with the names that may stand for the run: its variant, its image set, and both.
        let runs: Vec<(String, [String; 3])> = self
            .runs()
            .filter_map(|(group, loaded)| {
                let value = of(loaded)?;
                let set = group.set.as_ref().map(SizedImageSet::name).unwrap_or_default();
                let both = format!("{set} {}", group.title());
                Some((value, [group.title(), set, both]))
            })
            .collect();
        let several = runs.iter().any(|(_, [_, set, _])| *set != runs[0].1[1]);
        let decides = |name: &usize| {
            let mut values = BTreeMap::new();
            runs.iter().all(|(value, names)| *values.entry(&names[*name]).or_insert(value) == value)
        };
        let name = if several { (0..2).find(decides).unwrap_or(2) } else { 0 };
        let mut values: Vec<(&str, Vec<&String>)> = Vec::new();
        for (value, all_names) in &runs {
            let name = &all_names[name];
            match values.iter_mut().find(|(known, _)| known == value) {
                Some((_, names)) if names.contains(&name) => {}
                Some((_, names)) => names.push(name),
                None => values.push((value, vec![name])),
            }
        }
        if let [(value, _)] = values.as_slice() {
            return (*value).to_owned();
        }
        let texts: Vec<String> = values
            .iter()
            .take(MAX_NAMES + 1)
            .map(|(value, owners)| format!("{value} ({})", names(owners)))
            .collect();
        match values.len() {
            n if n > MAX_NAMES => format!("{} and {} more", texts[..MAX_NAMES].join(", "), n - MAX_NAMES),
            _ => texts.join(", "),
        }
    }

    /// Returns a sentence on how the runs differ from the paper's, or `None` if they do not.
    fn unlike_the_paper(&self) -> Option<String> {
        let Deviations { training, measured } = self.deviations();
        let parts = [training, measured].concat();
        (!parts.is_empty()).then(|| format!("These are not the paper's conditions: {}.", names(&parts)))
    }

    /// Returns the deviations from the paper's conditions, separated into those of the training and those of the
    /// measurement. Models that were trained elsewhere are ignored, as the paper's conditions do not apply to them.
    pub fn deviations(&self) -> Deviations {
        let mut trained = self.clone();
        trained.groups.retain(|group| group.cell().origin.is_trained());
        let PublishedTraining { samples, learning_rate: rate, batch, .. } = published().training;
        let cells = || trained.runs().map(|(_, l)| &l.run.record.cell);
        let least = cells().map(|cell| cell.samples).min().unwrap_or(samples);
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
        if cells().any(|cell| !cell.schedule.is_constant()) {
            parts.push("a learning rate that is not constant".into());
        }
        if cells().any(|cell| cell.ema.is_some()) {
            parts.push("averaged weights".into());
        }
        if cells().any(|cell| cell.batch != batch) {
            parts.push(format!("another batch than its {batch}"));
        }
        parts.extend(trained.other_networks());
        parts.extend(trained.other_hyperparameters());
        let measured = trained.other_images().into_iter().chain(trained.other_latents()).collect();
        Deviations { training: parts, measured }
    }

    /// Returns phrases on numbers of images that are not the paper's.
    fn other_images(&self) -> BTreeSet<String> {
        let of_run = |(group, loaded): (&RunGroup, &LoadedRun)| {
            let set = group.set.as_ref()?;
            let ours = loaded.run.record.provenance.images?;
            let paper = published().images(&set.dataset)?;
            (ours != paper).then(|| {
                let [[train, test], [paper_train, paper_test]] =
                    [ours, paper].map(|counts| counts.map(|n| thousands(n as u64)));
                format!(
                    "{train} training and {test} test images of {} instead of its {paper_train} and {paper_test}",
                    set.title()
                )
            })
        };
        self.runs().filter_map(of_run).collect()
    }

    /// Returns phrases on sizes of latents on lines that are not the paper's. On image sets the size is a choice that
    /// the rows of tables state.
    fn other_latents(&self) -> BTreeSet<String> {
        let of_run = |(group, loaded): (&RunGroup, &LoadedRun)| {
            let paper = published().latent_dims_on_lines(&group.cell().variant);
            let paper = paper.filter(|_| group.set.is_none())?;
            let ours = loaded.run.record.latent_dims();
            (ours > 0 && ours != paper)
                .then(|| format!("{}'s latents of {ours} numbers instead of {paper}", group.title()))
        };
        self.runs().filter_map(of_run).collect()
    }

    /// Returns phrases on networks that are not the paper's.
    fn other_networks(&self) -> Vec<String> {
        let depth = Lines.network().depth;
        let on_lines = self.groups.iter().filter(|group| group.set.is_none());
        let other = on_lines
            .filter_map(|group| group.cell().network.paper())
            .find(|network| network.depth != depth)
            .map(|network| format!("a network of depth {} instead of {depth}", network.depth));
        let own = |group: &&RunGroup| {
            let Architecture::Own(own) = &group.cell().network else { return None };
            Some(format!("{}'s own network '{}'", group.title(), printable(&own.name)))
        };
        let on_images = |group: &&RunGroup| {
            let set = group.set.as_ref()?;
            let (paper, ours) = (set.network()?, group.cell().network.paper()?);
            let other = |what: &str, ours: usize, paper: usize| {
                (ours != paper).then(|| format!("{what} {ours} instead of {paper}"))
            };
            let both = [other("depth", ours.depth, paper.depth), other("scales", ours.scales, paper.scales)];
            let both: Vec<String> = both.into_iter().flatten().collect();
            (!both.is_empty()).then(|| format!("another network on {} ({})", set.title(), both.join(", ")))
        };
        let groups = || self.groups.iter();
        unique(other.into_iter().chain(groups().filter_map(own)).chain(groups().filter_map(on_images)))
    }

    /// Returns phrases on hyperparameters that are not the paper's.
    fn other_hyperparameters(&self) -> BTreeSet<String> {
        let of_run = |(group, loaded): (&RunGroup, &LoadedRun)| {
            let (cell, title) = (&loaded.run.record.cell, group.title());
            let other = |published: PublishedHyper<'_>| {
                let PublishedHyper { name, value: paper, is_of_dataset } = published;
                let ours = cell.hyper.get(name)?.as_f64()?;
                let set =
                    group.set.as_ref().filter(|_| is_of_dataset).map(|set| format!(" on {}", set.title()));
                ((ours - paper).abs() > 1e-9 * paper.abs()).then(|| {
                    let set = set.unwrap_or_default();
                    format!("{title}'s {name} {} instead of {}{set}", number(ours), number(paper))
                })
            };
            published().hyper(&cell.variant, &cell.dataset).filter_map(other).collect::<Vec<_>>()
        };
        self.runs().flat_map(of_run).collect()
    }

    /// Returns a sentence for each run that is not in the numbers because it is not finished.
    pub fn missing(&self) -> Vec<String> {
        let sentence = |(group, loaded): (&RunGroup, &LoadedRun)| {
            let (status, cell) = (&loaded.run.status, &loaded.run.record.cell);
            let name = format!("{}, seed {}", group.name(), cell.seed);
            let far = format!("{} of {} samples", thousands(status.samples), thousands(cell.samples));
            match status.state {
                State::Done => None,
                State::Failed => {
                    let reason = status.reason.as_deref().unwrap_or("no reason is recorded");
                    let reason = printable(reason.trim_end().trim_end_matches('.'));
                    Some(format!("{name}: failed after {far}: {reason}."))
                }
                State::Interrupted => Some(format!("{name}: interrupted at {far}; sweep again to go on.")),
                State::Running => Some(format!("{name}: running, or killed, at {far}.")),
            }
        };
        let sentences = self.runs().filter_map(sentence).collect();
        few(sentences, "runs that are not in the numbers")
    }
}

/// Formats the seeds of the models that a picture shows: one seed, or each with its label if they differ.
pub fn model_seeds(shown: &[(&RunGroup, &LoadedRun)]) -> String {
    let seed = |loaded: &LoadedRun| loaded.run.record.cell.seed;
    match shown {
        [(_, first), rest @ ..] if rest.iter().all(|(_, other)| seed(other) == seed(first)) => {
            seed(first).to_string()
        }
        _ => {
            let each = shown.iter().map(|(group, loaded)| format!("{} ({})", seed(loaded), group.label));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

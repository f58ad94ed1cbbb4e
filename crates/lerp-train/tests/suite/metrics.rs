//! The metrics of a run: exactly the declared quantities, and those of user-defined metrics.

use std::{
    collections::BTreeSet,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use candle_core::{Device, Tensor};
use lerp_core::{Draws, ImageShape, ModelVariant, Network, Variant, scalar};
use lerp_data::{Batch, Dataset, Lines, Split};
use lerp_eval::{Better, Metric, Quantity, Subject, When, quantities};
use lerp_train::{
    DatasetIdentity, Judge, Progress, Provenance, Run, RunInputs, RunRecord, State, TrainOutcome, measure,
    train,
};

use crate::cell;

static ACAI: ModelVariant<lerp_acai::Acai> = ModelVariant::new();
static VQVAE: ModelVariant<lerp_vqvae::VqVae> = ModelVariant::new();

/// Twelve labelled training images of two classes, and eight test images.
struct Shades;

impl Dataset for Shades {
    fn name(&self) -> &'static str {
        "shades"
    }
    fn title(&self) -> &'static str {
        "Shades"
    }
    fn image(&self) -> ImageShape {
        Lines.image()
    }
    fn network(&self) -> Network {
        Lines.network()
    }
    fn classes(&self) -> usize {
        2
    }
    fn train_batch(&self, size: usize, draws: &Draws) -> lerp_data::Result<Batch> {
        self.range(Split::Train, 0..size, draws.device())
    }
    fn test_batch(&self, size: usize, draws: &Draws) -> lerp_data::Result<Batch> {
        self.range(Split::Test, 0..size, draws.device())
    }
    fn count(&self, split: Split) -> lerp_data::Result<Option<usize>> {
        Ok(Some(if split == Split::Train { 12 } else { 8 }))
    }
    fn range(&self, _: Split, range: Range<usize>, device: &Device) -> lerp_data::Result<Batch> {
        let labels: Vec<u32> = range.map(|index| index as u32 % 2).collect();
        let shape = self.image();
        let pixels = shape.height * shape.width * shape.channels;
        let value = |i: usize| {
            let (index, pixel) = (i / pixels, i % pixels);
            if pixel % 2 == labels[index] as usize { 0.05 * index as f32 } else { -0.5 }
        };
        let values: Vec<f32> = (0..labels.len() * pixels).map(value).collect();
        let shape = (labels.len(), shape.height, shape.width, shape.channels);
        let images = Tensor::from_vec(values, shape, device)?;
        Ok(Batch { images, labels: Some(Tensor::new(labels, device)?) })
    }
}

/// The record of a run of ACAI with four evaluations.
fn record(dataset: &dyn Dataset) -> RunRecord {
    record_of(&ACAI, dataset)
}

fn record_of(variant: &dyn Variant, dataset: &dyn Dataset) -> RunRecord {
    RunRecord::new(cell(variant, dataset), variant.title(), Provenance::unknown())
}

/// Trains `record` until it is done or stopped, and returns the outcome and the run.
fn go(
    sweep: &Path,
    record: &RunRecord,
    metrics: &[&dyn Metric],
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> lerp_train::Result<(TrainOutcome, Run)> {
    let dataset: &dyn Dataset = if record.cell.dataset == "shades" { &Shades } else { &Lines };
    let dir = sweep.join(&record.id);
    let variant: &dyn Variant = if record.cell.variant == "vqvae" { &VQVAE } else { &ACAI };
    let inputs = RunInputs { variant, dataset, device: &Device::Cpu, metrics, judge: None };
    let outcome = train(record, &inputs, &dir, stop, progress)?;
    Ok((outcome, Run::read(&dir)?))
}

fn whole(sweep: &Path, record: &RunRecord, metrics: &[&dyn Metric]) -> Run {
    let (outcome, run) = go(sweep, record, metrics, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert_eq!(outcome, TrainOutcome::Done);
    run
}

/// Returns the rows whose key satisfies `of`, without their time.
fn rows(run: &Run, of: impl Fn(&str) -> bool) -> Vec<(u64, String, u64)> {
    let rows = run.metrics().unwrap().0;
    let rows = rows.into_iter().filter(|row| of(&row.metric));
    rows.map(|row| (row.step, row.metric, row.value.to_bits())).collect()
}

#[test]
fn runs_measure_exactly_the_declared_quantities() {
    let folder = tempfile::tempdir().unwrap();
    let mut measured = BTreeSet::new();
    let all: [(&dyn Variant, &dyn Dataset); 3] = [(&ACAI, &Lines), (&ACAI, &Shades), (&VQVAE, &Lines)];
    for (variant, dataset) in all {
        let run = whole(folder.path(), &record_of(variant, dataset), &[]);
        measured.extend(rows(&run, |key| When::of(key).is_some()).into_iter().map(|(_, key, _)| key));
    }
    // A run with a judge measures the judge's quantities too.
    let lines = DatasetIdentity { name: "lines", digest: None };
    let judge = Judge::train(&Lines, lines, 256, &AtomicBool::new(false)).unwrap();
    let record = record_of(&ACAI, &Lines);
    let inputs = RunInputs {
        variant: &ACAI,
        dataset: &Lines,
        device: &Device::Cpu,
        metrics: &[],
        judge: Some(&judge),
    };
    let dir = folder.path().join("judged").join(&record.id);
    std::fs::create_dir(folder.path().join("judged")).unwrap();
    train(&record, &inputs, &dir, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let judged = Run::read(&dir).unwrap();
    measured.extend(rows(&judged, |key| When::of(key).is_some()).into_iter().map(|(_, key, _)| key));
    assert_eq!(judged.metrics().unwrap().series("eval/judged_distance").count(), 4);
    // A judge changes no other metric.
    let alone = whole(folder.path(), &record, &[]);
    assert_eq!(rows(&judged, |key| !key.contains("judged")), rows(&alone, |_| true));
    // Six images of ten vectors each use at most 60 of the 16,384 codebook entries.
    let of_codebook = whole(folder.path(), &record_of(&VQVAE, &Lines), &[]).metrics().unwrap();
    let used: Vec<_> = of_codebook.series("eval/codes_in_use").collect();
    assert!(used.len() == 4 && used.iter().all(|row| (1.0..=60.0).contains(&row.value)), "{used:?}");
    let declared: BTreeSet<String> = quantities().map(|quantity| quantity.key.to_string()).collect();
    assert_eq!(measured, declared);
}

/// A metric that sets a stop flag when it measures, and counts its measurements.
struct Counting<'a> {
    quantities: Vec<Quantity>,
    when: When,
    stop: Option<&'a AtomicBool>,
    calls: AtomicUsize,
}

impl<'a> Counting<'a> {
    fn new(keys: [&'static str; 2], when: When, stop: Option<&'a AtomicBool>) -> Self {
        let quantity = |key| Quantity::new(key, "Title", Better::Lower, "A caption.").in_unit("px");
        Self { quantities: keys.map(quantity).into(), when, stop, calls: AtomicUsize::new(0) }
    }
}

impl Metric for Counting<'_> {
    fn quantities(&self) -> &[Quantity] {
        &self.quantities
    }
    fn when(&self) -> When {
        self.when
    }
    fn measure(&self, of: &Subject<'_>) -> lerp_eval::Result<Vec<f64>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(stop) = self.stop {
            stop.store(true, Ordering::Relaxed);
        }
        let tested = of.test()?;
        let images = tested.images.dim(0)?;
        assert_eq!((images, tested.latents.dim(0)?), (6, 6));
        assert_eq!(tested.labels.unwrap().len(), 6);
        let error = (tested.images - tested.reconstructions)?.abs()?.mean_all()?;
        let between = of.between(3, &[0.25, 0.5])?;
        assert_eq!(between.images.dims()[..2], [3, 2]);
        assert_eq!(between.latents.dims()[..2], [3, 2]);
        let noise = of.draws.uniform("noise", 1)?.mean_all()?;
        let change = between.images.narrow(1, 0, 1)?.mean_all()?;
        Ok(vec![scalar(&(error + noise)?)?, scalar(&change)?])
    }
}

#[test]
fn user_defined_metrics_are_resumed_bit_for_bit_and_change_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for dataset in [&Lines as &dyn Dataset, &Shades] {
        let record = record(dataset);
        let sweep = |name: &str| {
            let dir = folder.path().join(format!("{name}-{}", dataset.name()));
            std::fs::create_dir(&dir).unwrap();
            dir
        };
        let each = Counting::new(["each_a", "each_b"], When::EachEvaluation, None);
        let stop = AtomicBool::new(false);
        let first = Counting::new(["first_a", "first_b"], When::AtTheEnd, Some(&stop));
        let second = Counting::new(["second_a", "second_b"], When::AtTheEnd, None);
        let metrics: [&dyn Metric; 3] = [&each, &first, &second];

        let plain = whole(&sweep("plain"), &record, &[]);
        // This run has its own stop flag, so the flag that `first` sets has no effect.
        let with = whole(&sweep("whole"), &record, &metrics);
        let own = |key: &str| ["each", "first", "second"].iter().any(|word| key.contains(word));
        assert_eq!(rows(&plain, |_| true), rows(&with, |key| !own(key)));
        assert_eq!(plain.model().unwrap(), with.model().unwrap());
        assert_eq!(rows(&with, own).len(), 4 * 2 + 2 + 2);
        let keys: Vec<&str> = with.record.quantities.iter().map(|quantity| &*quantity.key).collect();
        assert_eq!(
            keys,
            [
                "eval/each_a",
                "eval/each_b",
                "final/first_a",
                "final/first_b",
                "final/second_a",
                "final/second_b"
            ]
        );
        assert_eq!(with.record.quantities[0].unit, "px");
        assert_eq!((plain.record.id, plain.record.cell), (with.record.id.clone(), with.record.cell.clone()));

        // The run is stopped at the second evaluation, and again between the two metrics at the end.
        let dir = sweep("stopped");
        stop.store(false, Ordering::Relaxed);
        let mut evaluated = 0;
        let mut outcomes = Vec::new();
        while outcomes.last() != Some(&TrainOutcome::Done) {
            stop.store(false, Ordering::Relaxed);
            let mut tell = |progress: &Progress| {
                evaluated += usize::from(matches!(progress, Progress::Evaluated { .. }));
                stop.fetch_or(evaluated == 2, Ordering::Relaxed);
            };
            let (outcome, run) = go(&dir, &record, &metrics, &stop, &mut tell).unwrap();
            outcomes.push(outcome);
            evaluated += 1;
            if outcome == TrainOutcome::Done {
                assert_eq!(rows(&run, |_| true), rows(&with, |_| true));
                assert_eq!(run.record.quantities, with.record.quantities);
            }
        }
        assert_eq!(outcomes, [TrainOutcome::Interrupted, TrainOutcome::Interrupted, TrainOutcome::Done]);
        let calls = [&each, &first, &second].map(|metric| metric.calls.load(Ordering::Relaxed));
        assert_eq!(calls, [8, 2, 2], "no metric measures twice");

        // Measuring the finished run again gives the same values.
        let inputs =
            RunInputs { variant: &ACAI, dataset, device: &Device::Cpu, metrics: &metrics, judge: None };
        stop.store(false, Ordering::Relaxed);
        let again = measure(&with, &inputs, None, &AtomicBool::new(false)).unwrap().metrics;
        let last = |key: &str| rows(&with, |known| known == key).last().unwrap().2;
        assert!(again.iter().all(|(key, value)| value.to_bits() == last(key)), "{again:?}");
        assert_eq!(again.iter().filter(|(key, _)| own(key)).count(), 6);
    }
}

#[test]
fn a_run_may_be_resumed_with_other_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let record = record(&Lines);
    let one = Counting::new(["one_a", "one_b"], When::EachEvaluation, None);
    let other = Counting::new(["other_a", "other_b"], When::EachEvaluation, None);
    let stop = AtomicBool::new(false);
    let mut tell = |progress: &Progress| {
        stop.fetch_or(matches!(progress, Progress::Evaluated { .. }), Ordering::Relaxed);
    };
    let (outcome, _) = go(folder.path(), &record, &[&one], &stop, &mut tell).unwrap();
    assert_eq!(outcome, TrainOutcome::Interrupted);
    let run = whole(folder.path(), &record, &[&other]);
    let keys: Vec<&str> = run.record.quantities.iter().map(|quantity| &*quantity.key).collect();
    assert_eq!(keys, ["eval/one_a", "eval/one_b", "eval/other_a", "eval/other_b"]);
    assert_eq!(rows(&run, |key| key == "eval/one_a").len(), 1);
    assert_eq!(rows(&run, |key| key == "eval/other_a").len(), 3);
}

#[test]
fn an_invalid_metric_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |metrics: &[&dyn Metric]| {
        let stop = AtomicBool::new(false);
        let error = go(folder.path(), &record(&Lines), metrics, &stop, &mut |_| {}).unwrap_err();
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
        error.to_string()
    };
    let named = |key| Counting::new([key, "b"], When::EachEvaluation, None);
    let message = refused(&[&named("mean_distance")]);
    assert_eq!(message, "the metric 'mean_distance': the key is one of Lerpbench's own; give it another");
    assert!(refused(&[&named("Sharp ness")]).contains("a key is a word"));
    assert!(refused(&[&named("a"), &named("c")]).contains("two quantities have this key"));
}

/// A metric that fails.
struct Fails([Quantity; 1]);

impl Metric for Fails {
    fn quantities(&self) -> &[Quantity] {
        &self.0
    }
    fn measure(&self, of: &Subject<'_>) -> lerp_eval::Result<Vec<f64>> {
        if of.draws.step() == 2 {
            return Ok(Vec::new());
        }
        Err(lerp_eval::Error::Other("the images are too small".into()))
    }
}

#[test]
fn a_failing_metric_fails_its_run_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let fails = Fails([Quantity::new("sharpness", "Sharpness", Better::Higher, "How sharp.")]);
    for (eval_every, wanted) in [
        (8, "the metric 'sharpness': it gave 0 numbers for its 1 quantities"),
        (16, "the metric 'sharpness': the images are too small"),
    ] {
        let mut cell = record(&Lines).cell;
        cell.eval_every = eval_every;
        let record = RunRecord::new(cell, "ACAI", Provenance::unknown());
        let stop = AtomicBool::new(false);
        let error = go(folder.path(), &record, &[&fails], &stop, &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), wanted);
        let status = Run::read(&folder.path().join(&record.id)).unwrap().status;
        assert_eq!((status.state, status.reason.as_deref()), (State::Failed, Some(wanted)));
    }
}

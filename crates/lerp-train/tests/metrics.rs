//! What a run measures: exactly what is declared, and what its caller adds.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, ops::Range, sync::atomic::AtomicBool};

use candle_core::{Device, Tensor};
use lerp_core::{Draws, Hyper, ImageShape, Network, Of, Precision, Variant};
use lerp_data::{Batch, Dataset, Lines, Part};
use lerp_eval::{When, quantities};
use lerp_train::{Cell, Metrics, Outcome, Provenance, Run, RunRecord, train};

static ACAI: Of<lerp_acai::Acai> = Of::new();

/// Twelve labelled images of two classes for training, eight for tests.
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
        self.range(Part::Train, 0..size, draws.device())
    }
    fn test_batch(&self, size: usize, draws: &Draws) -> lerp_data::Result<Batch> {
        self.range(Part::Test, 0..size, draws.device())
    }
    fn count(&self, part: Part) -> lerp_data::Result<Option<usize>> {
        Ok(Some(if part == Part::Train { 12 } else { 8 }))
    }
    fn range(&self, _: Part, range: Range<usize>, device: &Device) -> lerp_data::Result<Batch> {
        let labels: Vec<u32> = range.map(|place| place as u32 % 2).collect();
        let shape = self.image();
        let pixels = shape.height * shape.width * shape.channels;
        let value = |i: usize| {
            let (place, pixel) = (i / pixels, i % pixels);
            if pixel % 2 == labels[place] as usize { 0.05 * place as f32 } else { -0.5 }
        };
        let values: Vec<f32> = (0..labels.len() * pixels).map(value).collect();
        let shape = (labels.len(), shape.height, shape.width, shape.channels);
        let images = Tensor::from_vec(values, shape, device)?;
        Ok(Batch { images, labels: Some(Tensor::new(labels, device)?) })
    }
}

/// The record of a run of ACAI with four evaluations.
fn record(dataset: &dyn Dataset) -> RunRecord {
    let cell = Cell {
        dataset: dataset.name().into(),
        variant: "acai".into(),
        seed: 0,
        samples: 32,
        batch: 4,
        learning_rate: 1e-3,
        eval_every: 8,
        checkpoint_every: 8,
        test_samples: 6,
        cluster_restarts: (dataset.name() == "shades").then_some(2),
        precision: Precision::F32,
        network: Network { scales: 4, depth: 2, latent: 2 }.into(),
        hyper: ACAI.check(&Hyper::new()).unwrap(),
    };
    RunRecord::new(cell, "ACAI", Provenance::unknown())
}

fn keys(metrics: &Metrics) -> BTreeSet<&str> {
    let measured = metrics.0.iter().filter(|row| When::of(&row.metric).is_some());
    measured.map(|row| row.metric.as_str()).collect()
}

#[test]
fn what_is_measured_is_what_is_declared() {
    let folder = tempfile::tempdir().unwrap();
    let mut measured = BTreeSet::new();
    for dataset in [&Lines as &dyn Dataset, &Shades] {
        let record = record(dataset);
        let dir = folder.path().join(&record.id);
        let stop = AtomicBool::new(false);
        let outcome = train(&record, &ACAI, dataset, &Device::Cpu, &dir, &stop, &mut |_| {}).unwrap();
        assert_eq!(outcome, Outcome::Done);
        let metrics = Run::read(&dir).unwrap().metrics().unwrap();
        measured.extend(keys(&metrics).into_iter().map(String::from));
    }
    let declared: BTreeSet<String> = quantities().map(|quantity| quantity.key.to_string()).collect();
    assert_eq!(measured, declared);
}

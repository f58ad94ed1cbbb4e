//! A run whose loss stops being finite: it is marked as failed, and its last checkpoint is kept and good.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use candle_core::{Device, Module, Tensor};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, Draws, Model, ModelVariant, Objectives, ParamStore, Result, Spec,
};
use lerp_data::Lines;
use lerp_nn::{Coder, mean_squared_error};
use lerp_train::{
    Cell, Error, Phase, Progress, Provenance, Run, RunInputs, RunRecord, State, TrainOutcome, train,
};
use serde::{Deserialize, Serialize};

use crate::cell;

/// The number of steps taken in this process.
static STEPS: AtomicUsize = AtomicUsize::new(0);

/// A baseline whose loss is NaN once, in the sixth step.
struct Breaks(Coder);

#[derive(Default, Serialize, Deserialize)]
struct Config {}

impl Model for Breaks {
    const NAME: &'static str = "breaks";
    const TITLE: &'static str = "Breaks";
    type Config = Config;
    fn check(_: &Config) -> Result<()> {
        Ok(())
    }
    fn new(_: Config, build: &Build) -> Result<Self> {
        Ok(Self(Coder::new(Self::NAME, build)?))
    }
}

impl Autoencoder for Breaks {
    fn spec(&self) -> &Spec {
        &self.0.spec
    }
    fn params(&self) -> &ParamStore {
        &self.0.store
    }
    fn encode(&self, x: &Tensor, _: &Draws) -> Result<Tensor> {
        Ok(self.0.encoder.forward(x)?)
    }
    fn decode(&self, z: &Tensor) -> Result<Tensor> {
        Ok(self.0.decoder.forward(z)?)
    }
    fn objectives(&self, x: &Tensor, _: &Draws) -> Result<Objectives> {
        let z = self.0.encoder.forward(x)?;
        let mut loss = mean_squared_error(&self.0.decoder.forward(&z)?, x)?;
        if STEPS.fetch_add(1, Ordering::Relaxed) == 5 {
            loss = (loss * f64::NAN)?;
        }
        Objectives::new(AUTOENCODER, loss, &z)
    }
}

#[test]
fn a_loss_that_is_not_finite_fails_the_run_and_keeps_the_checkpoint() {
    let variant = ModelVariant::<Breaks>::new();
    let cell = Cell { eval_every: 1000, ..cell(&variant, &Lines) };
    let record = RunRecord::new(cell, Breaks::TITLE, Provenance::unknown());
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join(&record.id);
    let (mut from, mut live) = (Vec::new(), Vec::new());
    let mut go = || {
        train(
            &record,
            &RunInputs {
                variant: &variant,
                dataset: &Lines,
                device: &Device::Cpu,
                metrics: &[],
                judge: None,
            },
            &dir,
            &AtomicBool::new(false),
            &mut |progress| {
                if let Progress::Started { samples } = progress {
                    from.push(*samples);
                    // The progress file is written by another thread as soon as training starts; without this wait
                    // the run could finish before the file is seen.
                    let run = || Run::read(&dir).ok()?.progress();
                    live.extend((0..1000).find_map(|_| {
                        std::thread::sleep(Duration::from_millis(10));
                        run()
                    }));
                }
            },
        )
    };
    let error = go().unwrap_err();
    assert!(matches!(error, Error::NotFinite { step: 6, .. }), "{error}");
    let failed = Run::read(&dir).unwrap().status;
    assert_eq!((failed.state, failed.samples), (State::Failed, 20));
    assert!(failed.reason.unwrap().contains("loss/autoencoder"));
    assert!(!dir.join("progress.json").exists());

    assert_eq!(go().unwrap(), TrainOutcome::Done);
    assert_eq!(Run::read(&dir).unwrap().status.state, State::Done);
    assert_eq!(from, [0, 16], "goes on from the checkpoint of step 4");
    let live: Vec<_> = live.iter().map(|live| (live.samples, live.phase)).collect();
    assert_eq!(live, [(0, Phase::Training), (16, Phase::Training)]);
    assert!(!dir.join("progress.json").exists());
}

//! The time of an evaluation, and its share of the training time.

use std::{fmt, time::Instant};

use lerp_core::{Draws, Variant};
use lerp_data::{Dataset, Lines};
use lerp_eval::LineBank;
use lerp_train::{
    BatchSource, EVALUATED_PAIRS, POSITIONS, PROTOCOL_BATCH, PROTOCOL_EVAL_EVERY, PROTOCOL_TEST_LINES,
    Scorers, Trainer, evaluate,
};
use serde_json::{Value, json};

use crate::{NamedDevice, Result, TimedDataset, learner};

/// Number of timed training steps.
const TIMED_STEPS: usize = 10;
/// Number of timed evaluations.
const TIMED: usize = 3;

/// Options of [`eval`].
pub struct EvalOptions {
    /// The variant whose evaluation is timed.
    pub variant: &'static dyn Variant,
    /// The device that computes.
    pub device: NamedDevice,
}

/// Times of an evaluation on lines and of what belongs to it. The text form is a sentence for people.
#[derive(Debug, Clone)]
pub struct EvalTime {
    /// Name of the variant.
    pub variant: &'static str,
    /// Name of the device.
    pub device: String,
    /// Time of an evaluation, seconds.
    pub evaluation: f64,
    /// Time of the comparison with the nearest lines, which is part of an evaluation, seconds.
    pub comparison: f64,
    /// Number of lines that images are compared with.
    pub lines: usize,
    /// Time of drawing these lines, which happens once, seconds.
    pub drawing: f64,
    /// Time of the training between two evaluations of the paper's protocol, seconds.
    pub training: f64,
}

impl EvalTime {
    /// Returns the share of evaluations in the time of training and evaluation together.
    pub fn share(&self) -> f64 {
        self.evaluation / (self.training + self.evaluation)
    }

    /// Returns the times as a JSON object.
    pub fn json(&self) -> Value {
        json!({
            "evaluation_s": self.evaluation, "comparison_s": self.comparison, "drawing_s": self.drawing,
            "training_s": self.training, "share": self.share(), "variant": self.variant, "device": self.device,
        })
    }
}

impl fmt::Display for EvalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variant, device, evaluation, comparison, lines, drawing, training } = self;
        write!(
            f,
            "{variant} on lines: an evaluation takes {evaluation:.2} s ({comparison:.2} s of it to compare {} images \
             with {lines} lines, which were drawn once in {drawing:.2} s); with {training:.0} s of training between \
             two, that is {:.1} % of the time, on {device}",
            EVALUATED_PAIRS * POSITIONS,
            100.0 * self.share()
        )
    }
}

/// Times an evaluation on lines, the nearest-line comparison that is part of it, and the training between two
/// evaluations.
///
/// # Errors
/// If the model cannot be built, trained or evaluated.
pub fn eval(options: &EvalOptions) -> Result<EvalTime> {
    let NamedDevice { name, device } = &options.device;
    let lines = TimedDataset::of(&Lines);
    let draws = Draws::new(0, device);
    let source = BatchSource::Dataset { dataset: &Lines, size: PROTOCOL_BATCH };
    let mut trainer = Trainer::new(learner(options.variant, &lines, device)?, source, 0)?;
    trainer.warm_up()?;
    let mut steps = Vec::new();
    for _ in 0..TIMED_STEPS {
        let started = Instant::now();
        trainer.step()?;
        trainer.wait()?;
        steps.push(started.elapsed().as_secs_f64());
    }
    let step = lerp_eval::median(&steps);

    let started = Instant::now();
    let bank = LineBank::default();
    let drawing = started.elapsed().as_secs_f64();
    let scorers = Scorers { bank: Some(&bank), judge: None };
    let (mut whole, mut compared) = (Vec::new(), Vec::new());
    for i in 0..TIMED {
        let draws = draws.scope("eval").at(i as u64);
        let started = Instant::now();
        evaluate(trainer.learner(), &Lines, scorers, PROTOCOL_TEST_LINES, &draws)?;
        whole.push(started.elapsed().as_secs_f64());
        let images = Lines.test_batch(EVALUATED_PAIRS * POSITIONS, &draws)?.images;
        let images = images.reshape((EVALUATED_PAIRS, POSITIONS, Lines::SIDE, Lines::SIDE))?;
        let started = Instant::now();
        bank.evaluate(&images)?;
        compared.push(started.elapsed().as_secs_f64());
    }
    Ok(EvalTime {
        variant: options.variant.name(),
        device: name.clone(),
        evaluation: lerp_eval::median(&whole),
        comparison: lerp_eval::median(&compared),
        lines: bank.angles().len(),
        drawing,
        training: step * (PROTOCOL_EVAL_EVERY / PROTOCOL_BATCH as u64) as f64,
    })
}

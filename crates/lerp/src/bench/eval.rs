//! `lerp bench eval`: times an evaluation and computes its share of the training time.

use std::time::Instant;

use anyhow::Result;
use lerp_core::Draws;
use lerp_data::{Dataset, Lines};
use lerp_eval::LineBank;
use lerp_train::{BatchSource, EVALUATED_PAIRS, POSITIONS, Scorers, Trainer, evaluate};

use super::{learner, timed};
use crate::{
    cli::BenchEvalArgs,
    device,
    plan::{PROTOCOL_BATCH, PROTOCOL_CADENCE, PROTOCOL_TEST},
    registry::Registry,
    say::say,
};

/// Number of timed training steps.
const TIMED_STEPS: usize = 10;
/// Number of timed evaluations.
const TIMED: usize = 3;

/// Prints the time of an evaluation on lines, of the nearest-line comparison that is part of it, and of the training
/// between two evaluations, all in seconds.
///
/// # Errors
/// If the variant or the device does not exist.
pub fn eval(registry: &Registry, args: &BenchEvalArgs) -> Result<bool> {
    let name = args.device.names()?.remove(0);
    let device = device::open(&name, args.device.precision(false)?)?;
    let learner = learner(registry, &args.variant, &timed(registry, Lines::NAME)?, &device)?;
    let draws = Draws::new(0, &device);
    let mut trainer =
        Trainer::new(learner, BatchSource::Dataset { dataset: &Lines, size: PROTOCOL_BATCH }, 0)?;
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
    let with = Scorers { bank: Some(&bank), judge: None };
    let (mut whole, mut compared) = (Vec::new(), Vec::new());
    for i in 0..TIMED {
        let draws = draws.scope("eval").at(i as u64);
        let started = Instant::now();
        evaluate(trainer.learner(), &Lines, with, PROTOCOL_TEST, &draws)?;
        whole.push(started.elapsed().as_secs_f64());
        let images = Lines.test_batch(EVALUATED_PAIRS * POSITIONS, &draws)?.images;
        let images = images.reshape((EVALUATED_PAIRS, POSITIONS, Lines::SIDE, Lines::SIDE))?;
        let started = Instant::now();
        bank.evaluate(&images)?;
        compared.push(started.elapsed().as_secs_f64());
    }
    let (whole, compared) = (lerp_eval::median(&whole), lerp_eval::median(&compared));
    let training = step * (PROTOCOL_CADENCE / PROTOCOL_BATCH as u64) as f64;
    let share = whole / (training + whole);
    if args.json {
        let line = serde_json::json!({
            "evaluation_s": whole, "comparison_s": compared, "drawing_s": drawing, "training_s": training,
            "share": share, "variant": args.variant, "device": name,
        });
        say(&line.to_string());
    } else {
        say(&format!(
            "{} on lines: an evaluation takes {whole:.2} s ({compared:.2} s of it to compare {} images with {} lines, \
             which were drawn once in {drawing:.2} s); with {training:.0} s of training between two, that is {:.1} % of \
             the time, on {name}",
            args.variant,
            EVALUATED_PAIRS * POSITIONS,
            bank.angles().len(),
            100.0 * share
        ));
    }
    Ok(true)
}

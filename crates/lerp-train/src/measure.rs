//! Evaluating a finished run again.

use std::sync::atomic::{AtomicBool, Ordering};

use lerp_core::Draws;
use lerp_data::{Dataset, Lines};
use lerp_eval::{LineBank, Subject, When, check_metrics, measured};

use crate::{
    Cell, Evaluation, Learner, Result, Run, RunInputs, Scorers, checkpoint, evaluate::evaluate,
    representation,
};

/// Evaluates the model of a finished run again, exactly as at its last evaluation. Where latents are clustered,
/// `restarts` replaces the run's own number of k-means restarts. The documentation of [`train`](crate::train()) has an
/// example.
///
/// # Errors
/// If the run has no model yet, its file is damaged, or the images cannot be read; [`lerp_eval::Error::Stopped`] if
/// `stop` became true.
pub fn measure(
    run: &Run,
    inputs: &RunInputs,
    restarts: Option<usize>,
    stop: &AtomicBool,
) -> Result<Evaluation> {
    let cell = &run.record.cell;
    let mut learner = Learner::of_cell(cell, inputs.variant, inputs.dataset, inputs.device)?;
    checkpoint::restore_model(&run.dir, cell, &mut learner)?;
    measure_learner(&learner, cell, inputs, restarts, stop)
}

/// Evaluates like [`measure`] a model in memory that is at the end of the run of `cell`.
pub(crate) fn measure_learner(
    learner: &Learner,
    cell: &Cell,
    inputs: &RunInputs,
    restarts: Option<usize>,
    stop: &AtomicBool,
) -> Result<Evaluation> {
    let RunInputs { dataset, device, metrics, judge, .. } = *inputs;
    check_metrics(metrics)?;
    let draws = Draws::new(cell.seed, device);
    let at = |scope: &str| draws.scope(scope).at(learner.step());
    let bank = bank(dataset);
    let scorers = Scorers { bank: bank.as_ref(), judge };
    let mut evaluation = evaluate(learner, dataset, scorers, cell.test_samples, &at("eval"))?;
    let own = |when, scope: &str, values: &mut Vec<(String, f64)>| -> Result<()> {
        for metric in metrics.iter().filter(|metric| metric.when() == when) {
            if stop.load(Ordering::Relaxed) {
                return Err(lerp_eval::Error::Stopped.into());
            }
            let subject =
                Subject { model: learner.model(), dataset, draws: at(scope), samples: cell.test_samples };
            values.extend(measured(*metric, &subject.for_metric(*metric))?);
        }
        Ok(())
    };
    own(When::EachEvaluation, "eval", &mut evaluation.metrics)?;
    if let Some(own) = cell.cluster_restarts {
        let restarts = restarts.unwrap_or(own);
        evaluation.metrics.extend(representation::probe_and_cluster_model(
            learner,
            dataset,
            restarts,
            &at("final"),
            stop,
        )?);
    }
    own(When::AtTheEnd, "final", &mut evaluation.metrics)?;
    Ok(evaluation)
}

/// Returns the bank of true lines on the lines dataset, and `None` on others.
pub(crate) fn bank(dataset: &dyn Dataset) -> Option<LineBank> {
    (dataset.name() == Lines::NAME).then(LineBank::default)
}

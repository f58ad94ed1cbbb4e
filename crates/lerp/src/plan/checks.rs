//! Range checks of numbers from plans and command lines.

use anyhow::{Result, bail};
use lerp_train::{MOST_JUDGE_SAMPLES, MOST_RESTARTS};

/// Checks the number of training samples of a judge.
///
/// # Errors
/// If it is too large.
pub fn check_judge(samples: Option<u64>) -> Result<()> {
    match samples {
        Some(samples @ MOST_JUDGE_SAMPLES..) => {
            bail!(
                "judge must be a number of samples below {MOST_JUDGE_SAMPLES}, or 0 for no judge, not {samples}"
            )
        }
        _ => Ok(()),
    }
}

/// Checks the number of k-means restarts that a command line gives.
///
/// # Errors
/// If it is out of range.
pub fn check_restarts(restarts: Option<usize>) -> Result<()> {
    match restarts.filter(|restarts| !(1..=MOST_RESTARTS).contains(restarts)) {
        Some(restarts) => bail!("--cluster-restarts {restarts}: give at least 1 and at most {MOST_RESTARTS}"),
        None => Ok(()),
    }
}

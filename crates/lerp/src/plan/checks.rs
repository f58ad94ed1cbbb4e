//! Range checks of numbers from plans and command lines.

use anyhow::{Result, bail};
use lerp_train::{MAX_JUDGE_SAMPLES, MAX_RESTARTS};

/// Checks the number of training samples of a judge.
///
/// # Errors
/// If it is above [`MAX_JUDGE_SAMPLES`].
pub fn check_judge(samples: Option<u64>) -> Result<()> {
    match samples.filter(|samples| *samples > MAX_JUDGE_SAMPLES) {
        Some(samples) => {
            bail!("judge {samples}: give at most {MAX_JUDGE_SAMPLES} training samples, or 0 for no judge")
        }
        None => Ok(()),
    }
}

/// Checks the number of k-means restarts that a command line gives.
///
/// # Errors
/// If it is out of range.
pub fn check_restarts(restarts: Option<usize>) -> Result<()> {
    match restarts.filter(|restarts| !(1..=MAX_RESTARTS).contains(restarts)) {
        Some(restarts) => bail!("--cluster-restarts {restarts}: give at least 1 and at most {MAX_RESTARTS}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judge_takes_at_most_the_largest_number_of_samples() {
        for samples in [None, Some(0), Some(MAX_JUDGE_SAMPLES)] {
            assert!(check_judge(samples).is_ok(), "{samples:?}");
        }
        let error = check_judge(Some(MAX_JUDGE_SAMPLES + 1)).unwrap_err().to_string();
        assert!(error.contains("give at most 67108864 training samples"), "{error}");
    }
}

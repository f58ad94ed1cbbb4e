//! Arguments of `lerp sweep`.

use std::{num::NonZeroUsize, str::FromStr, time::Duration};

use clap::Args;

use super::{ClusterArgs, PlanArgs, Shard, shares::time};

/// The value of `--jobs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// As many runs as suit the device.
    Auto,
    /// This many runs at the same time.
    Number(usize),
}

impl FromStr for Jobs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(0) => Err("--jobs 0 trains nothing; give at least 1".into()),
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => Err("give auto or a number of runs, such as 4".into()),
        }
    }
}

/// Arguments of `lerp sweep`.
#[derive(Debug, Clone, Args)]
pub struct SweepArgs {
    /// Options that describe the plan.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Variants to train instead of the plan's
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub variants: Option<Vec<String>>,
    /// Seeds: 0..5 (0 to 4), 3 or 0,2,7
    #[arg(long, value_name = "SEEDS", allow_hyphen_values = true)]
    pub seeds: Option<String>,
    /// Number of cells trained at the same time on all devices together, or auto: on a CPU one per thread; on a CUDA
    /// GPU the number with the highest total steps per second, which is measured first
    #[arg(long, value_name = "N", default_value = "auto")]
    pub jobs: Jobs,
    /// Train only a share of the cells, for one of several machines: 2/8 is the second of eight shares, which always
    /// has the same cells; `lerp merge` combines the folders [default folder: results/<preset>-2-of-8]
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Print each cell with its expected training time and device, and write nothing into the folder
    #[arg(long)]
    pub dry_run: bool,
    /// Longest training time of a cell in this sweep, per attempt; the cell then stops with a checkpoint, and the next
    /// sweep resumes it [example: 90min, 2h, 45s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub time_limit: Option<Duration>,
    /// Start no more cells once N have failed
    #[arg(long, value_name = "N")]
    pub max_failures: Option<NonZeroUsize>,
    /// Retry a failed cell from its last checkpoint at most N times
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub retry: usize,
    /// Options of a sweep on a cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Train all runs of a device in one process on a CPU too, as on a GPU; for tests
    #[arg(long, hide = true)]
    pub pack: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_is_auto_or_a_positive_number() {
        assert_eq!("auto".parse(), Ok(Jobs::Auto));
        assert_eq!("3".parse(), Ok(Jobs::Number(3)));
        for text in ["0", "-1", "many", ""] {
            assert!(text.parse::<Jobs>().is_err(), "{text}");
        }
    }
}

//! `lerp sweep`.

use std::{num::NonZeroUsize, str::FromStr, time::Duration};

use clap::Args;

use super::{ClusterArgs, PlanArgs, Shard, shares::time};

/// `--jobs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// What suits the device.
    Auto,
    /// This many runs at once.
    Number(usize),
}

impl FromStr for Jobs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(0) => Err("--jobs 0 trains nothing; give at least 1".into()),
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => Err("write auto or a number".into()),
        }
    }
}

/// `sweep`.
#[derive(Debug, Clone, Args)]
pub struct SweepArgs {
    /// What to train.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// These variants instead of the plan's
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub variants: Option<Vec<String>>,
    /// Seeds: 0..5 (0 to 4), 3 or 0,2,7
    #[arg(long, value_name = "SEEDS", allow_hyphen_values = true)]
    pub seeds: Option<String>,
    /// Cells trained at once on all devices, or auto: on a CPU one a thread; on a CUDA GPU as many as do the most steps a
    /// second together, which is measured first
    #[arg(long, value_name = "N", default_value = "auto")]
    pub jobs: Jobs,
    /// Only a share of the cells, for one of several machines: 2/8 is the second of eight, always the same cells; `lerp merge` brings
    /// the folders together [default folder: results/<preset>-2-of-8]
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Print the cells, what each is expected to take and where it would run, and write nothing into the folder
    #[arg(long)]
    pub dry_run: bool,
    /// Longest time that a cell trains in this sweep, at each try [example: 90min, 2h, 45s]; it then stops with a checkpoint, and the
    /// next sweep goes on
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub time_limit: Option<Duration>,
    /// Begin no more cells once so many have failed
    #[arg(long, value_name = "N")]
    pub max_failures: Option<NonZeroUsize>,
    /// Train a cell that failed again, from its last checkpoint, at most so many times
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub retry: usize,
    /// On a cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// On a CPU, too, one process for all runs, as on a GPU; for tests
    #[arg(long, hide = true)]
    pub pack: bool,
}

//! Arguments that split a sweep between machines (`--shard`), limit its time, and merge the parts again.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::Args;

/// A share of the cells of a plan, written `I/N` on the command line with `I` from 1 to `N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// The share's index, from 0.
    pub index: usize,
    /// The number of shares.
    pub shares: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        /// The largest accepted number of shares; larger ones are taken for typing errors.
        const MAX_SHARES: usize = 100_000;
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((i, n)) if (1..=n).contains(&i) && n <= MAX_SHARES => Ok(Self { index: i - 1, shares: n }),
            _ => Err(format!("give I/N with I from 1 to N, such as 2/8, and N at most {MAX_SHARES}")),
        }
    }
}

impl Shard {
    /// Returns the cells of this share. Of every group of as many consecutive cells as there are shares it has one, in
    /// each next group the one at the previous position. The shift spreads the variants over the shares; the result
    /// depends on the plan alone.
    pub fn select<T>(self, cells: Vec<T>) -> Vec<T> {
        let is_ours = |position: usize| (position + position / self.shares) % self.shares == self.index;
        let ours = cells.into_iter().enumerate().filter(|(position, _)| is_ours(*position));
        ours.map(|(_, cell)| cell).collect()
    }
}

/// Parses a duration such as `90min`: a positive number with the unit s, min (or m), h or d.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit.trim() {
        "s" => 1.0,
        "min" | "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("give a number with the unit s, min, h or d, such as 90min".into()),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * unit).filter(|s| *s > 0.0);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "give a number above 0 before the unit, such as 90min".into())
}

/// Arguments of `lerp merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// Folders of the sweeps to merge
    #[arg(required = true)]
    pub dirs: Vec<PathBuf>,
    /// New folder for the merged sweep
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

//! Arguments of sweeps on a cluster.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use lerp_cluster::SbatchOption;

/// The kind of cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// The workload manager Slurm.
    Slurm,
}

/// Arguments of `lerp sweep` for training on a cluster.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// Submit the cells to a cluster and return, instead of training them on this machine (docs/cluster.md)
    #[arg(long, value_name = "ENGINE", conflicts_with = "shard")]
    pub on: Option<Engine>,
    /// Long options of sbatch for all submitted jobs; may be given several times. A value with a comma must be in
    /// double quotes [example: partition=gpu,gres=gpu:1,time=4:00:00]
    #[arg(long, value_name = "KEY=VALUE,..", value_parser = parse_options, requires = "on")]
    pub slurm: Vec<SbatchOptions>,
    /// Run at most N tasks at a time
    #[arg(long, value_name = "N", requires = "on")]
    pub at_most: Option<NonZeroUsize>,
    /// Cells per task [default: 1 on a CPU; on a GPU, which trains several at once, the number given with --jobs or
    /// else 8]
    #[arg(long, value_name = "N", requires = "on")]
    pub chunk: Option<NonZeroUsize>,
    /// Restarts of a task, by its own request or by the cluster, after which it no longer asks to be queued again when
    /// its time is up
    #[arg(long, value_name = "N", requires = "on", default_value_t = 100)]
    pub restarts: u32,
    /// Cancel the jobs that were submitted for this folder and have not ended, instead of submitting any
    #[arg(long, requires = "on", conflicts_with = "dry_run")]
    pub cancel: bool,
}

impl ClusterArgs {
    /// Returns the options of sbatch from all uses of `--slurm`.
    pub fn options(&self) -> impl Iterator<Item = &SbatchOption> {
        self.slurm.iter().flat_map(|options| &options.0)
    }
}

/// The options in one value of `--slurm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SbatchOptions(pub Vec<SbatchOption>);

/// Options that users may not give: those that the sweep sets itself, and those that would change which jobs are
/// submitted or how `sbatch` answers.
pub const RESERVED_OPTIONS: [&str; 18] = [
    "array",
    "chdir",
    "clusters",
    "cluster-constraint",
    "dependency",
    "error",
    "hold",
    "job-name",
    "no-requeue",
    "open-mode",
    "output",
    "parsable",
    "quiet",
    "requeue",
    "signal",
    "test-only",
    "wait",
    "wrap",
];

/// Parses a value of `--slurm`: options separated by commas outside double quotes.
fn parse_options(text: &str) -> Result<SbatchOptions, String> {
    let (mut pieces, mut in_quotes) = (vec![String::new()], false);
    for c in text.chars() {
        match c {
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes => pieces.push(String::new()),
            c if c.is_control() => return Err("an option of sbatch cannot have control characters".into()),
            c => {
                if let Some(piece) = pieces.last_mut() {
                    piece.push(c);
                }
            }
        }
    }
    if in_quotes {
        return Err("a double quote is not closed; add the second one".into());
    }
    let option = |piece: &String| {
        let (key, value) = match piece.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (piece.as_str(), None),
        };
        let key = key.trim().trim_start_matches("--");
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if key.is_empty() || !key.starts_with(|c: char| c.is_ascii_lowercase()) || !key.chars().all(is_name) {
            return Err(format!(
                "'{key}' is not a long option of sbatch; write KEY=VALUE, and a value with a comma in double quotes, such as \
                 'nodelist=\"n1,n2\"'"
            ));
        }
        // sbatch also accepts the beginning of an option's name.
        if RESERVED_OPTIONS.iter().any(|reserved| reserved.starts_with(key)) {
            return Err(format!("--{key} is set by the sweep itself; leave it out"));
        }
        Ok(SbatchOption { key: key.to_owned(), value })
    };
    pieces.iter().map(option).collect::<Result<_, _>>().map(SbatchOptions)
}

/// The work of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Trains the missing judges of the sweep.
    Judges,
    /// Trains the cells of the chunk with this index.
    Chunk(usize),
    /// Evaluates raw pixels and draws the report.
    Report,
}

impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "judges" => Ok(Self::Judges),
            "report" => Ok(Self::Report),
            index => index
                .parse()
                .map(Self::Chunk)
                .map_err(|_| "give judges, report or the number of a chunk".into()),
        }
    }
}

/// Arguments of `lerp task`.
#[derive(Debug, Args)]
pub struct TaskArgs {
    /// Folder of the sweep.
    pub dir: PathBuf,
    /// Number of the submission.
    pub submission: usize,
    /// What to do: judges, report, or the number of a chunk.
    pub work: Work,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
        let pairs = |SbatchOptions(all)| all.into_iter().map(|o: SbatchOption| (o.key, o.value)).collect();
        parse_options(text).map(pairs)
    }

    #[test]
    fn requested_gpus_are_counted() {
        let gpus = |text: &str| parse_options(text).unwrap().0[0].gpus();
        assert_eq!(
            ["gres=gpu:2", "gres=gpu", "gpus=a100:4", "gpus-per-node=3", "tres-per-task=gres/gpu=2"]
                .map(gpus),
            [2, 1, 4, 3, 2].map(Some)
        );
        assert_eq!(["gres=lustre:1", "time=3", "mem=8G"].map(gpus), [None; 3]);
    }

    #[test]
    fn options_of_sbatch_are_parsed() {
        let pair = |key: &str, value: &str| (key.to_owned(), (!value.is_empty()).then(|| value.to_owned()));
        assert_eq!(
            read("partition=gpu,gres=gpu:1,time=4:00:00"),
            Ok(vec![pair("partition", "gpu"), pair("gres", "gpu:1"), pair("time", "4:00:00")])
        );
        assert_eq!(
            read("exclusive,nodelist=\"n1,n2\",--mem=8G"),
            Ok(vec![pair("exclusive", ""), pair("nodelist", "n1,n2"), pair("mem", "8G")])
        );
        for (bad, wanted) in [
            ("array=0-3", "set by the sweep itself"),
            ("sig=USR1", "set by the sweep itself"),
            ("job-name=x", "set by the sweep itself"),
            ("nodelist=n1,N2", "double quotes"),
            ("", "not a long option"),
            ("comment=a\nb", "control characters"),
            ("comment=\"a", "not closed"),
        ] {
            assert!(read(bad).is_err_and(|told| told.contains(wanted)), "{bad}");
        }
    }
}

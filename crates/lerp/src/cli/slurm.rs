//! A sweep on a cluster.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};

/// What gives cells to nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// The workload manager of most clusters.
    Slurm,
}

/// Where the cells of a sweep are trained, if not here.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// Submit the cells to a cluster and return, instead of training them here (docs/cluster.md)
    #[arg(long, value_name = "ENGINE", conflicts_with = "shard")]
    pub on: Option<Engine>,
    /// Options of sbatch for the tasks; give it once or several times, a value with a comma in double quotes
    /// [example: partition=gpu,gres=gpu:1,time=4:00:00]
    #[arg(long, value_name = "KEY=VALUE,..", value_parser = options, requires = "on")]
    pub slurm: Vec<SbatchOptions>,
    /// At most so many tasks at a time
    #[arg(long, value_name = "N", requires = "on")]
    pub at_most: Option<NonZeroUsize>,
    /// Cells in a task [default: 1 on a CPU, 8 on a GPU, which trains several at once]
    #[arg(long, value_name = "N", requires = "on")]
    pub chunk: Option<NonZeroUsize>,
    /// Starts of a task, by itself and by the cluster, after which it no longer asks to be queued again when its time is up
    #[arg(long, value_name = "N", requires = "on", default_value_t = 100)]
    pub restarts: u32,
    /// Cancel what was submitted for this folder and has not ended
    #[arg(long, requires = "on", conflicts_with = "dry_run")]
    pub cancel: bool,
}

impl ClusterArgs {
    /// The options of sbatch.
    pub fn options(&self) -> impl Iterator<Item = &SbatchOption> {
        self.slurm.iter().flat_map(|options| &options.0)
    }
}

/// An option of sbatch, as in `--KEY=VALUE` or `--KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SbatchOption {
    /// Its long name.
    pub key: String,
    /// Its value, if it takes one.
    pub value: Option<String>,
}

impl SbatchOption {
    /// The GPUs that it asks for; none if it is of something else.
    pub fn gpus(&self) -> Option<usize> {
        let value = self.value.as_deref().unwrap_or_default();
        let of_gpus = (matches!(&*self.key, "gres" | "tres-per-task") && value.contains("gpu"))
            || matches!(&*self.key, "gpus" | "gpus-per-node" | "gpus-per-task" | "gpus-per-socket");
        // As in gpu:a100:2; one, if no number is said.
        of_gpus.then(|| value.rsplit([':', '=']).next().and_then(|number| number.parse().ok()).unwrap_or(1))
    }
}

/// One value of `--slurm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SbatchOptions(pub Vec<SbatchOption>);

/// Options that tell which tasks there are and what becomes of them, or change what a script is.
pub const OURS: [&str; 18] = [
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

fn options(text: &str) -> Result<SbatchOptions, String> {
    let (mut pieces, mut quoted) = (vec![String::new()], false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => pieces.push(String::new()),
            c if c.is_control() => return Err("an option of sbatch has no control characters".into()),
            c => {
                if let Some(piece) = pieces.last_mut() {
                    piece.push(c);
                }
            }
        }
    }
    if quoted {
        return Err("a double quote has no second one".into());
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
                "'{key}' is no long option of sbatch; write KEY=VALUE, and a value with a comma in double quotes, such as \
                 'nodelist=\"n1,n2\"'"
            ));
        }
        // sbatch takes the beginning of a name for the whole.
        if OURS.iter().any(|ours| ours.starts_with(key)) {
            return Err(format!("--{key} is set by the sweep itself; leave it out"));
        }
        Ok(SbatchOption { key: key.to_owned(), value })
    };
    pieces.iter().map(option).collect::<Result<_, _>>().map(SbatchOptions)
}

/// What a task of a submission does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Trains the judges that the sweep lacks.
    Judges,
    /// Trains the cells of a chunk, by its place.
    Chunk(usize),
    /// Measures raw pixels and draws the report.
    Report,
}

impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "judges" => Ok(Self::Judges),
            "report" => Ok(Self::Report),
            place => place.parse().map(Self::Chunk).map_err(|_| "wanted judges, report or a number".into()),
        }
    }
}

/// `task`.
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
        options(text).map(pairs)
    }

    #[test]
    fn gpus_that_are_asked_for() {
        let gpus = |text: &str| options(text).unwrap().0[0].gpus();
        assert_eq!(
            ["gres=gpu:2", "gres=gpu", "gpus=a100:4", "gpus-per-node=3", "tres-per-task=gres/gpu=2"]
                .map(gpus),
            [2, 1, 4, 3, 2].map(Some)
        );
        assert_eq!(["gres=lustre:1", "time=3", "mem=8G"].map(gpus), [None; 3]);
    }

    #[test]
    fn options_of_sbatch() {
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
            ("", "no long option"),
            ("comment=a\nb", "control characters"),
            ("comment=\"a", "no second one"),
        ] {
            assert!(read(bad).is_err_and(|told| told.contains(wanted)), "{bad}");
        }
    }
}

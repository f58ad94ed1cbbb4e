//! The batch scripts that are submitted with `sbatch`.

use std::{fmt::Write, path::Path, time::Duration};

/// The longest time before its time limit at which a task is warned.
const MAX_NOTICE: Duration = Duration::from_mins(2);

/// A long option of sbatch: `--KEY=VALUE` or `--KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SbatchOption {
    /// Name of the option, without dashes.
    pub key: String,
    /// Value of the option, if it has one.
    pub value: Option<String>,
}

impl SbatchOption {
    /// Returns the number of GPUs that the option requests, or `None` if the option is not about GPUs.
    pub fn gpus(&self) -> Option<usize> {
        let value = self.value.as_deref().unwrap_or_default();
        let of_gpus = (matches!(&*self.key, "gres" | "tres-per-task") && value.contains("gpu"))
            || matches!(&*self.key, "gpus" | "gpus-per-node" | "gpus-per-task" | "gpus-per-socket");
        // The number comes last, as in gpu:a100:2; without a number, one GPU is requested.
        of_gpus.then(|| value.rsplit([':', '=']).next().and_then(|number| number.parse().ok()).unwrap_or(1))
    }
}

/// The tasks of an array, each of which trains a chunk of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskArray {
    /// Index of the first task's chunk in the submission.
    pub first_chunk: usize,
    /// Number of tasks.
    pub tasks: usize,
}

/// The contents of a batch script. Paths are absolute.
#[derive(Debug)]
pub struct Script<'a> {
    /// Name of the job.
    pub name: &'a str,
    /// Description of the job, for a comment in the script.
    pub about: &'a str,
    /// The user's options. They are not checked here, because Slurm does that.
    pub options: Vec<&'a SbatchOption>,
    /// The tasks, if the job is an array.
    pub array: Option<TaskArray>,
    /// Of an array: the largest number of tasks that run at a time.
    pub at_most: Option<usize>,
    /// Numbers of the jobs that must end before this one starts, whether or not they succeed.
    pub after: &'a [String],
    /// Folder for the output of the job.
    pub logs: &'a Path,
    /// The command; of an array, without the last argument, which is the index of the task's chunk.
    pub command: &'a [String],
}

impl Script<'_> {
    /// Returns the text of the script.
    pub fn text(&self) -> String {
        let mut out = format!("#!/bin/sh\n# {}\n", self.about.replace('\n', " "));
        let mut directive = |key: &str, value: &str| {
            let _ = match value {
                "" => writeln!(out, "#SBATCH --{key}"),
                value => writeln!(out, "#SBATCH --{key}={}", quoted(value)),
            };
        };
        directive("job-name", self.name);
        for option in &self.options {
            directive(&option.key, option.value.as_deref().unwrap_or_default());
        }
        // In names of files, Slurm replaces patterns such as %j; %% stands for the character itself.
        let logs = self.logs.to_string_lossy().replace('%', "%%");
        match self.array {
            Some(TaskArray { tasks, .. }) => {
                let at_most = self.at_most.map_or(String::new(), |most| format!("%{most}"));
                directive("array", &format!("0-{}{at_most}", tasks - 1));
                directive("output", &format!("{logs}/%A_%a.txt"));
            }
            None => directive("output", &format!("{logs}/%j.txt")),
        }
        directive("open-mode", "append");
        directive("requeue", "");
        directive("signal", &format!("B:USR1@{}", self.notice().as_secs()));
        if !self.after.is_empty() {
            directive("dependency", &format!("afterany:{}", self.after.join(":")));
        }
        let _ = writeln!(
            out,
            "\n# These signals must not end the job before the program handles them.\ntrap '' USR1 TERM"
        );
        let _ = writeln!(
            out,
            "# Without cgroups a program sees all processors of its node, including those of other jobs.\n\
             export RAYON_NUM_THREADS=\"${{SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}}\""
        );
        let words: Vec<String> = self.command.iter().map(|word| in_shell(word)).collect();
        let chunk = match self.array {
            None => String::new(),
            Some(TaskArray { first_chunk: 0, .. }) => " \"$SLURM_ARRAY_TASK_ID\"".to_owned(),
            Some(TaskArray { first_chunk, .. }) => format!(" \"$(({first_chunk} + SLURM_ARRAY_TASK_ID))\""),
        };
        // The program replaces the shell, so that signals that Slurm sends to the script reach the program.
        let _ = writeln!(out, "exec {}{chunk}", words.join(" "));
        out
    }

    /// Returns how long before its time limit the task is warned: [`MAX_NOTICE`], or a quarter of the limit if that
    /// is shorter, but at least five seconds. If the limit is not known, it counts as long.
    fn notice(&self) -> Duration {
        // sbatch takes the last of several.
        let limit =
            self.options.iter().rev().find(|option| option.key == "time").and_then(|o| o.value.as_deref());
        limit
            .and_then(limit_of)
            .map_or(MAX_NOTICE, |limit| MAX_NOTICE.min(limit / 4).max(Duration::from_secs(5)))
    }
}

/// Parses a time limit as Slurm does: minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes
/// or days-hours:minutes:seconds. Returns `None` for a limit of zero, which means no limit, and for other text.
fn limit_of(text: &str) -> Option<Duration> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u64>().ok()?), rest),
        None => (None, text),
    };
    let parts: Vec<u64> = rest.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let seconds = match (days, &parts[..]) {
        (Some(_), [hours]) => hours * 3600,
        (Some(_), [hours, minutes]) => hours * 3600 + minutes * 60,
        (None, [minutes]) => minutes * 60,
        (None, [minutes, seconds]) => minutes * 60 + seconds,
        (_, [hours, minutes, seconds]) => hours * 3600 + minutes * 60 + seconds,
        _ => return None,
    };
    Some(Duration::from_secs(days.unwrap_or(0) * 86_400 + seconds)).filter(|limit| !limit.is_zero())
}

/// Quotes a value for a directive in a script, as `sbatch` expects it.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%=+[]".contains(c);
    if value.chars().all(plain) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Quotes a word for the shell.
fn in_shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_for_an_array() {
        let option = |key: &str, value: &str| SbatchOption { key: key.into(), value: Some(value.into()) };
        let options = [option("partition", "gpu"), option("time", "0:40"), option("comment", "a \"b\"")];
        let command = ["/my bin/lerp", "task", "/it's", "2"].map(String::from);
        let text = Script {
            name: "lerp-lines",
            about: "cells",
            options: options.iter().collect(),
            array: Some(TaskArray { first_chunk: 1001, tasks: 1001 }),
            at_most: Some(8),
            after: &["12".into(), "13".into()],
            logs: Path::new("/out/100 %/logs"),
            command: &command,
        }
        .text();
        let wanted = r#"#!/bin/sh
# cells
#SBATCH --job-name=lerp-lines
#SBATCH --partition=gpu
#SBATCH --time=0:40
#SBATCH --comment="a \"b\""
#SBATCH --array=0-1000%8
#SBATCH --output="/out/100 %%/logs/%A_%a.txt"
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@10
#SBATCH --dependency=afterany:12:13

# These signals must not end the job before the program handles them.
trap '' USR1 TERM
# Without cgroups a program sees all processors of its node, including those of other jobs.
export RAYON_NUM_THREADS="${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}"
exec '/my bin/lerp' task '/it'\''s' 2 "$((1001 + SLURM_ARRAY_TASK_ID))"
"#;
        assert_eq!(text, wanted);
    }

    #[test]
    fn time_limits_are_parsed_as_slurm_does() {
        let seconds = |text| limit_of(text).map(|limit| limit.as_secs());
        assert_eq!(
            ["30", "1:30", "2:00:00", "1-0", "1-2:30", "1-00:00:01"].map(seconds),
            [1800, 90, 7200, 86_400, 95_400, 86_401].map(Some)
        );
        assert_eq!(["", "0", "UNLIMITED", "1:2:3:4", "x-1"].map(seconds), [None; 5]);
    }
}

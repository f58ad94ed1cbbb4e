//! The scripts that are given to `sbatch`.

use std::{fmt::Write, path::Path, time::Duration};

use crate::cli::SbatchOption;

/// Time before a task's limit at which it is told, if its limit is long or not known.
const NOTICE: Duration = Duration::from_mins(2);

/// What a script is made from. Paths are absolute.
pub struct Script<'a> {
    /// The job's name.
    pub name: &'a str,
    /// What it is for.
    pub about: &'a str,
    /// The user's options, which Slurm checks.
    pub options: Vec<&'a SbatchOption>,
    /// Of an array: its tasks, and how many of them may run at a time.
    pub array: Option<(usize, Option<usize>)>,
    /// Jobs that must have ended before, however they do.
    pub after: &'a [String],
    /// Folder of the logs.
    pub logs: &'a Path,
    /// The command without its last argument, if it is one of an array.
    pub command: &'a [String],
    /// Of an array: the chunk of its first task.
    pub first: usize,
}

impl Script<'_> {
    /// The text.
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
        // What a name of a file means for Slurm begins with %.
        let logs = self.logs.to_string_lossy().replace('%', "%%");
        match self.array {
            Some((tasks, at_most)) => {
                let at_most = at_most.map_or(String::new(), |most| format!("%{most}"));
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
        let _ =
            writeln!(out, "\n# Until the program listens, its signals must not end it.\ntrap '' USR1 TERM");
        let _ = writeln!(
            out,
            "# Without cgroups a program sees all processors of its node, also those that are not its own.\n\
             export RAYON_NUM_THREADS=\"${{SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}}\""
        );
        let words: Vec<String> = self.command.iter().map(|word| in_shell(word)).collect();
        let place = match (self.array, self.first) {
            (None, _) => String::new(),
            (Some(_), 0) => " \"$SLURM_ARRAY_TASK_ID\"".to_owned(),
            (Some(_), first) => format!(" \"$(({first} + SLURM_ARRAY_TASK_ID))\""),
        };
        // The program takes the shell's place, so that signals for the script reach it.
        let _ = writeln!(out, "exec {}{place}", words.join(" "));
        out
    }

    /// How long before its limit a task is told.
    fn notice(&self) -> Duration {
        let limit = self.options.iter().find(|option| option.key == "time").and_then(|o| o.value.as_deref());
        limit.and_then(limit_of).map_or(NOTICE, |limit| NOTICE.min(limit / 4).max(Duration::from_secs(5)))
    }
}

/// A time limit as Slurm reads it: minutes, minutes:seconds, hours:minutes:seconds, days-hours and so on.
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

/// A value for a line that `sbatch` reads.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%=+[]".contains(c);
    if value.chars().all(plain) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A word for a shell.
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
            array: Some((1001, Some(8))),
            after: &["12".into(), "13".into()],
            logs: Path::new("/out/100 %/logs"),
            command: &command,
            first: 1001,
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

# Until the program listens, its signals must not end it.
trap '' USR1 TERM
# Without cgroups a program sees all processors of its node, also those that are not its own.
export RAYON_NUM_THREADS="${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}"
exec '/my bin/lerp' task '/it'\''s' 2 "$((1001 + SLURM_ARRAY_TASK_ID))"
"#;
        assert_eq!(text, wanted);
    }

    #[test]
    fn limits_as_slurm_reads_them() {
        let seconds = |text| limit_of(text).map(|limit| limit.as_secs());
        assert_eq!(
            ["30", "1:30", "2:00:00", "1-0", "1-2:30", "1-00:00:01"].map(seconds),
            [1800, 90, 7200, 86_400, 95_400, 86_401].map(Some)
        );
        assert_eq!(["", "0", "UNLIMITED", "1:2:3:4", "x-1"].map(seconds), [None; 5]);
    }
}

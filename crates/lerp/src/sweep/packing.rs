//! Decides how many runs train at the same time, and on which devices.

use std::time::Duration;

use anyhow::Result;
use lerp_report::text::count;

use super::{
    PlannedRun, SweepContext,
    steps::{self, Concurrency},
};
use crate::{cli::Jobs, say::say};

/// Largest number of simultaneous runs on a GPU that `--jobs auto` tries.
const MAX_RUNS: usize = 16;

/// Factor by which twice as many runs must increase the total steps per second to be worthwhile, because they take more
/// memory and each run ends later.
const GAIN: f64 = 1.1;

/// Time for which each number of runs is measured.
const TIME: Duration = Duration::from_secs(1);

/// The devices and processor threads that a sweep may use.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    /// Names of the devices; at least one.
    pub devices: &'a [String],
    /// Number of threads.
    pub threads: usize,
}

/// The options of a command line about simultaneous runs.
#[derive(Debug, Clone, Copy)]
pub struct PackingOptions {
    /// Number of simultaneous runs.
    pub jobs: Jobs,
    /// Whether one process trains all runs of a device also if the device is a CPU.
    pub pack: bool,
}

/// How many runs train at the same time, and in which processes.
pub struct Packing {
    /// Number of simultaneous runs on all devices together.
    pub at_once: usize,
    /// Threads of each run.
    pub threads: usize,
    /// Whether one process trains all runs of a device.
    pub packed: bool,
}

/// The device of a worker process and the number of runs that it trains at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerShare {
    /// Name of the device.
    pub device: String,
    /// Number of simultaneous runs.
    pub runs: usize,
}

impl Packing {
    /// Decides how `runs` train on a machine. With `--jobs auto`, a CPU trains one run per thread, which wastes the
    /// least time; packed runs are as many as make the most steps per second, which is measured and printed.
    ///
    /// # Errors
    /// If there is no such dataset.
    pub fn measured(
        context: &SweepContext,
        runs: &[PlannedRun],
        machine: Machine,
        options: PackingOptions,
    ) -> Result<Self> {
        let devices = machine.devices;
        Self::new(runs.len(), machine, options, |threads_of_each| {
            let (cell, device) = (&runs[0].record.cell, &devices[0]);
            let dataset = context.datasets.get(&runs[0].dataset)?;
            let most = runs.len().div_ceil(devices.len());
            let (on_each, told) = measure(device, most, |runs| {
                let concurrency = Concurrency { runs, threads: threads_of_each(runs * devices.len()) };
                let seconds =
                    steps::seconds_per_step(context.registry, &*dataset, cell, device, concurrency, TIME)?;
                Ok(seconds.iter().map(|seconds| 1.0 / seconds).sum())
            });
            say(&told);
            Ok(on_each * devices.len())
        })
    }

    /// Decides the same as [`Packing::measured`] without measuring: with `--jobs auto`, packed runs are one per device.
    pub fn guessed(runs: usize, machine: Machine, options: PackingOptions) -> Self {
        let guessed = Self::new(runs, machine, options, |_| Ok(machine.devices.len()));
        guessed.unwrap_or(Self { at_once: 1, threads: machine.threads, packed: options.pack })
    }

    /// Creates the decision. For packed runs with `--jobs auto`, `best_number` returns the number of simultaneous runs;
    /// its argument is a function from such a number to the threads of each run.
    fn new(
        runs: usize,
        machine: Machine,
        options: PackingOptions,
        best_number: impl FnOnce(&dyn Fn(usize) -> usize) -> Result<usize>,
    ) -> Result<Self> {
        let Machine { devices, threads } = machine;
        let gpu = devices[0].starts_with("cuda");
        // A run on a GPU has at least two threads: one launches work on the GPU while the other reads the next batch.
        // Both are idle most of the time.
        let threads_of_each = |at_once: usize| (threads / at_once.max(1)).max(if gpu { 2 } else { 1 });
        let packed = options.pack || gpu;
        let at_once = match options.jobs {
            Jobs::Number(number) => number,
            Jobs::Auto if packed => best_number(&threads_of_each)?,
            Jobs::Auto if devices[0] == "cpu" => threads,
            Jobs::Auto => devices.len(),
        };
        let at_once = at_once.min(runs).max(1);
        Ok(Self { at_once, threads: threads_of_each(at_once), packed })
    }

    /// Returns how many runs train at the same time on each of the devices.
    pub fn on_each(&self, devices: &[String]) -> Concurrency {
        Concurrency { runs: self.at_once.div_ceil(devices.len()), threads: self.threads }
    }

    /// Returns the worker processes, with the device of each and the number of runs that it trains at the same time.
    ///
    /// Packed runs have one worker process per device, because a GPU runs kernels of one process concurrently but those
    /// of several processes in turns. Otherwise each run has its own worker process, so that a crash loses only that
    /// run.
    pub fn workers(&self, devices: &[String]) -> Vec<WorkerShare> {
        if !self.packed {
            let devices = devices.iter().cycle().take(self.at_once);
            return devices.map(|device| WorkerShare { device: device.clone(), runs: 1 }).collect();
        }
        let (even, rest) = (self.at_once / devices.len(), self.at_once % devices.len());
        let shares = devices.iter().enumerate().map(|(index, device)| WorkerShare {
            device: device.clone(),
            runs: even + usize::from(index < rest),
        });
        shares.filter(|share| share.runs > 0).collect()
    }
}

/// Measured pairs of the number of simultaneous runs and their total steps per second.
type Measured = [(usize, f64)];

/// Finds the number of simultaneous runs, at most `most`, with which `device` makes the most steps per second, as
/// measured by `rate`. Returns that number and a sentence about the measurements.
fn measure(device: &str, most: usize, mut rate: impl FnMut(usize) -> Result<f64>) -> (usize, String) {
    let (mut measured, mut told) = (Vec::new(), Vec::new());
    while let Some(runs) = next(&measured, most.min(MAX_RUNS)) {
        let number = count(runs, "run");
        match rate(runs) {
            Ok(rate) => {
                measured.push((runs, rate));
                let unit = if runs == 1 { " steps/s" } else { "" };
                let digits = usize::from(rate < 100.0);
                told.push(format!("{number} {rate:.digits$}{unit}"));
            }
            Err(error) => {
                // The usual cause is that the device's memory is full.
                let error = error.to_string();
                let error = error.lines().next().unwrap_or_default();
                told.push(format!("{number} do not fit ({error})"));
                break;
            }
        }
    }
    let chosen = choose(&measured);
    (chosen, format!("Packing on {device}: {}: {chosen} at a time", told.join(", ")))
}

/// Returns the number of runs to measure next. Returns `None` if the last doubling was not worthwhile or `most` was
/// reached.
fn next(measured: &Measured, most: usize) -> Option<usize> {
    match measured {
        [] => Some(1),
        [.., (runs, _)] => (pays(measured) && *runs < most).then(|| (2 * runs).min(most)),
    }
}

/// Returns the last number of runs that was worthwhile, or 1 if nothing could be measured.
fn choose(measured: &Measured) -> usize {
    match measured {
        [.., (runs, _), _] if !pays(measured) => *runs,
        [.., (runs, _)] => *runs,
        [] => 1,
    }
}

/// Whether the last measured rate exceeds the one before by the factor [`GAIN`].
fn pays(measured: &Measured) -> bool {
    let [.., (_, before), (_, last)] = measured else { return true };
    *last >= GAIN * before
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates the measurement with given rates for 1, 2, 4, ... runs. Returns the numbers of runs that were
    /// measured, the chosen one and the sentence.
    fn asked(most: usize, rates: &[f64]) -> (Vec<usize>, usize, String) {
        let mut asked = Vec::new();
        let (chosen, told) = measure("cuda:0", most, |runs| {
            asked.push(runs);
            rates.get(asked.len() - 1).copied().ok_or_else(|| anyhow::anyhow!("out of memory\nat 0x0"))
        });
        (asked, chosen, told)
    }

    #[test]
    fn doubling_stops_when_it_is_not_worthwhile() {
        let (runs, chosen, told) = asked(100, &[2100.0, 3900.0, 5200.0, 5300.0, 9e9]);
        assert_eq!((&runs[..], chosen), (&[1, 2, 4, 8][..], 4));
        assert_eq!(
            told,
            "Packing on cuda:0: 1 run 2100 steps/s, 2 runs 3900, 4 runs 5200, 8 runs 5300: 4 at a time"
        );
        // Two runs are slower than one alone.
        assert_eq!(
            asked(100, &[30.0, 25.0]),
            (vec![1, 2], 1, "Packing on cuda:0: 1 run 30.0 steps/s, 2 runs 25.0: 1 at a time".into())
        );
        // If every doubling is worthwhile, the limit and the number of runs bound the choice.
        assert_eq!(asked(100, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]).0, [1, 2, 4, 8, 16]);
        assert_eq!(asked(100, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]).1, 16);
        let (runs, chosen, _) = asked(7, &[1.0, 2.0, 4.0, 7.0, 9.0]);
        assert_eq!((&runs[..], chosen), (&[1, 2, 4, 7][..], 7));
        assert_eq!(asked(1, &[1.0, 2.0]).0, [1]);
    }

    #[test]
    fn what_does_not_fit_is_not_chosen() {
        let (runs, chosen, told) = asked(16, &[10.0, 20.0]);
        assert_eq!((&runs[..], chosen), (&[1, 2, 4][..], 2));
        assert!(told.ends_with("2 runs 20.0, 4 runs do not fit (out of memory): 2 at a time"), "{told}");
        assert_eq!(asked(16, &[]).1, 1);
    }

    #[test]
    fn runs_are_spread_evenly() {
        let devices = ["cuda:0".to_owned(), "cuda:1".to_owned()];
        let counts = |jobs, packed| -> Vec<usize> {
            let packing = Packing { at_once: jobs, threads: 1, packed };
            packing.workers(&devices).into_iter().map(|share| share.runs).collect()
        };
        assert_eq!(counts(8, true), [4, 4]);
        assert_eq!(counts(5, true), [3, 2]);
        assert_eq!(counts(1, true), [1]);
        assert_eq!(counts(3, false), [1, 1, 1]);
        let alone = Packing { at_once: 3, threads: 1, packed: false };
        assert_eq!(alone.workers(&devices)[1].device, "cuda:1");
    }
}

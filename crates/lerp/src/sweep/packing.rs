//! How many runs train at once, and where.

use std::time::Duration;

use anyhow::Result;

use super::{Common, Job, steps};
use crate::{cli::Jobs, say::say};

/// Most runs at once on a GPU that `--jobs auto` tries.
const MOST: usize = 16;

/// What twice the runs must bring in steps a second: more of them take more memory, and each is done later.
const GAIN: f64 = 1.1;

/// How long each number of runs is measured.
const TIME: Duration = Duration::from_secs(1);

/// How runs are trained beside each other.
pub struct Beside {
    /// How many at a time, on all devices.
    pub at_once: usize,
    /// Threads of each.
    pub threads: usize,
    /// Whether a process trains all those on a device.
    pub packed: bool,
}

impl Beside {
    /// As `jobs` says for `runs`, on devices and `threads` of a machine; where it says nothing, on a CPU one a thread, since one
    /// thread a run wastes the least, and packed as many as do the most steps a second, which is measured and said.
    ///
    /// # Errors
    /// If there is no such dataset.
    pub fn measured(
        common: &Common,
        runs: &[Job],
        (devices, threads): (&[String], usize),
        jobs: Jobs,
        pack: bool,
    ) -> Result<Self> {
        Self::new(runs.len(), (devices, threads), jobs, pack, |share| {
            let (cell, device) = (&runs[0].record.cell, &devices[0]);
            let dataset = common.shelf.get(&runs[0].dataset)?;
            let most = runs.len().div_ceil(devices.len());
            let (at_once, told) = measure(device, most, |runs| {
                let at_once = (runs, share(runs * devices.len()));
                let seconds = steps::at_once(common.registry, &*dataset, cell, device, at_once, TIME)?;
                Ok(seconds.iter().map(|seconds| 1.0 / seconds).sum())
            });
            say(&told);
            Ok(at_once * devices.len())
        })
    }

    /// The same without measuring: packed, one on each device.
    pub fn guessed(runs: usize, (devices, threads): (&[String], usize), jobs: Jobs, pack: bool) -> Self {
        let guessed = Self::new(runs, (devices, threads), jobs, pack, |_| Ok(devices.len()));
        guessed.unwrap_or(Self { at_once: 1, threads, packed: pack })
    }

    /// `packed` says how many run at once where they are packed, from the threads that each of so many has.
    fn new(
        runs: usize,
        (devices, threads): (&[String], usize),
        jobs: Jobs,
        pack: bool,
        packed: impl FnOnce(&dyn Fn(usize) -> usize) -> Result<usize>,
    ) -> Result<Self> {
        let gpu = devices[0].starts_with("cuda");
        // On a GPU one thread gives it work while another reads the next batch, and both wait most of the time.
        let share = |at_once: usize| (threads / at_once.max(1)).max(if gpu { 2 } else { 1 });
        let is_packed = pack || gpu;
        let at_once = match jobs {
            Jobs::Number(number) => number,
            Jobs::Auto if is_packed => packed(&share)?,
            Jobs::Auto if devices[0] == "cpu" => threads,
            Jobs::Auto => devices.len(),
        };
        let at_once = at_once.min(runs).max(1);
        Ok(Self { at_once, threads: share(at_once), packed: is_packed })
    }

    /// Runs at once on each device, and the threads of each.
    pub fn on_each(&self, devices: &[String]) -> (usize, usize) {
        (self.at_once.div_ceil(devices.len()), self.threads)
    }
}

/// Runs at once and the steps a second that they made together.
type Measured = [(usize, f64)];

/// Measures with `rate` how many of up to `most` runs at once make the most steps a second on `device`; that number, and
/// a sentence that says it.
fn measure(device: &str, most: usize, mut rate: impl FnMut(usize) -> Result<f64>) -> (usize, String) {
    let (mut measured, mut told) = (Vec::new(), Vec::new());
    while let Some(runs) = next(&measured, most.min(MOST)) {
        let plural = if runs == 1 { "run" } else { "runs" };
        match rate(runs) {
            Ok(rate) => {
                measured.push((runs, rate));
                let unit = if runs == 1 { " steps/s" } else { "" };
                let digits = usize::from(rate < 100.0);
                told.push(format!("{runs} {plural} {rate:.digits$}{unit}"));
            }
            Err(error) => {
                // As a rule: the device's memory is full.
                let error = error.to_string();
                let error = error.lines().next().unwrap_or_default();
                told.push(format!("{runs} {plural} cannot be ({error})"));
                break;
            }
        }
    }
    let chosen = choose(&measured);
    (chosen, format!("Packing on {device}: {}: {chosen} at a time", told.join(", ")))
}

/// The number of runs to measure next; none once more do not pay, or there are no more.
fn next(measured: &Measured, most: usize) -> Option<usize> {
    match measured {
        [] => Some(1),
        [.., (runs, _)] => (pays(measured) && *runs < most).then(|| (2 * runs).min(most)),
    }
}

/// The number of runs that is worth its while; 1 where nothing could be measured.
fn choose(measured: &Measured) -> usize {
    match measured {
        [.., (runs, _), _] if !pays(measured) => *runs,
        [.., (runs, _)] => *runs,
        [] => 1,
    }
}

/// Whether the last number measured is better enough than the one before.
fn pays(measured: &Measured) -> bool {
    let [.., (_, before), (_, last)] = measured else { return true };
    *last >= GAIN * before
}

/// The devices of the workers, and how many runs each worker trains at once.
///
/// Packed, each device has one worker: kernels of several processes take turns on a GPU, those of one process can run
/// beside each other. Otherwise each run has a worker of its own, and a crash loses only that.
pub fn seats(devices: &[String], jobs: usize, packed: bool) -> Vec<(String, usize)> {
    if packed {
        let share = |place| jobs / devices.len() + usize::from(place < jobs % devices.len());
        let seats = devices.iter().enumerate().map(|(place, device)| (device.clone(), share(place)));
        seats.filter(|(_, runs)| *runs > 0).collect()
    } else {
        devices.iter().cycle().take(jobs).map(|device| (device.clone(), 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measures runs whose rates are given, for 1, 2, 4, ... of them; what was asked, and the answer.
    fn asked(most: usize, rates: &[f64]) -> (Vec<usize>, usize, String) {
        let mut asked = Vec::new();
        let (chosen, told) = measure("cuda:0", most, |runs| {
            asked.push(runs);
            rates.get(asked.len() - 1).copied().ok_or_else(|| anyhow::anyhow!("out of memory\nat 0x0"))
        });
        (asked, chosen, told)
    }

    #[test]
    fn doubling_stops_where_it_does_not_pay() {
        let (runs, chosen, told) = asked(100, &[2100.0, 3900.0, 5200.0, 5300.0, 9e9]);
        assert_eq!((&runs[..], chosen), (&[1, 2, 4, 8][..], 4));
        assert_eq!(
            told,
            "Packing on cuda:0: 1 run 2100 steps/s, 2 runs 3900, 4 runs 5200, 8 runs 5300: 4 at a time"
        );
        // Worse than one alone.
        assert_eq!(
            asked(100, &[30.0, 25.0]),
            (vec![1, 2], 1, "Packing on cuda:0: 1 run 30.0 steps/s, 2 runs 25.0: 1 at a time".into())
        );
        // Always better: no more than are allowed, and no more than there are.
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
        assert!(told.ends_with("2 runs 20.0, 4 runs cannot be (out of memory): 2 at a time"), "{told}");
        assert_eq!(asked(16, &[]).1, 1);
    }

    #[test]
    fn runs_are_spread_evenly() {
        let devices = ["cuda:0".to_owned(), "cuda:1".to_owned()];
        let counts = |jobs, packed| -> Vec<usize> {
            seats(&devices, jobs, packed).into_iter().map(|(_, runs)| runs).collect()
        };
        assert_eq!(counts(8, true), [4, 4]);
        assert_eq!(counts(5, true), [3, 2]);
        assert_eq!(counts(1, true), [1]);
        assert_eq!(counts(3, false), [1, 1, 1]);
        assert_eq!(seats(&devices, 3, false)[1].0, "cuda:1");
    }
}

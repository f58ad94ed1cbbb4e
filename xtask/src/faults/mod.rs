//! `cargo xtask faults`: injects faults of machines, disks and damaged files into sweeps, and counts which were
//! withstood.
//!
//! The tested program is the one that users run. Kills and full disks are injected by a library that is loaded before
//! the C library (`shim.c`), so they can happen at every call that changes a file. It works on Linux only.

mod damage;
mod kills;
mod records;
mod subject;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{Result, build, cargo, root, run, say};
use subject::ProgramUnderTest;

/// The extent of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A small sample of each kind of fault, for `ci`.
    Short,
    /// Every n-th call that changes a file, and one n-th of the random tries; with n = 1 it takes more than an hour.
    Every(usize),
}

impl Extent {
    /// Returns the number of random tries, given the numbers for a short and a full campaign.
    fn tries(self, short: usize, full: usize) -> usize {
        match self {
            Self::Short => short,
            Self::Every(every) => full.div_ceil(every),
        }
    }
}

/// The number of tries of one kind of fault, and those that were not withstood.
struct Tally {
    what: String,
    tried: usize,
    broken: Vec<String>,
}

impl Tally {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), tried: 0, broken: Vec::new() }
    }

    /// Counts a try, and records what was wrong with it, if anything.
    fn count(&mut self, name: impl Into<String>, wrong: Option<String>) {
        self.tried += 1;
        self.broken.extend(wrong.map(|wrong| format!("{}: {wrong}", name.into())));
    }
}

/// A random number generator with a seed, so that a try can be repeated.
struct Random(u64);

impl Random {
    /// Returns the next number below `bound` (splitmix64).
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % bound.max(1)
    }
}

/// Runs `cargo xtask faults [--short] [--every N] [--seed N] [--lerp PROGRAM]`.
///
/// # Errors
/// If a fault was not withstood, or the campaign cannot run on this machine.
pub fn faults(arguments: &[String]) -> Result<()> {
    let mut words = arguments.iter();
    let (mut extent, mut seed, mut lerp) = (Extent::Every(1), 1, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--short" => extent = Extent::Short,
            "--every" => {
                let number = words.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
                extent = Extent::Every(number.ok_or("--every wants a number from 1")?);
            }
            "--seed" => {
                let number = words.next().and_then(|number| number.parse().ok());
                seed = number.ok_or("--seed wants a number")?;
            }
            "--lerp" => lerp = Some(words.next().ok_or("--lerp wants a program")?.into()),
            other => {
                let there = "--short, --every N, --seed N and --lerp PROGRAM, for one that is built already";
                return Err(format!("faults has no argument '{other}'; there are {there}"));
            }
        }
    }
    let lerp: PathBuf = lerp.map_or_else(|| build(None), Ok)?;
    campaign(extent, seed, &lerp.canonicalize().map_err(|e| format!("{}: {e}", lerp.display()))?)
}

/// Runs the campaign on a built program.
///
/// # Errors
/// If a fault was not withstood, or the campaign cannot run on this machine.
pub fn campaign(extent: Extent, seed: u64, lerp: &Path) -> Result<()> {
    if !cfg!(target_os = "linux") {
        say("skipped: faults needs Linux");
        return Ok(());
    }
    let started = Instant::now();
    let subject = ProgramUnderTest::new(lerp, &root().join("target/faults"))?;
    let mut random = Random(seed);
    let mut tallies = Vec::new();
    let mut add = |more: Vec<Tally>| {
        for tally in more {
            say(&format!(
                "faults: {:<58} {:>5} tried, {:>3} broken",
                tally.what,
                tally.tried,
                tally.broken.len()
            ));
            tally.broken.iter().for_each(|broken| say(&format!("  BROKEN {broken}")));
            tallies.push(tally);
        }
    };
    let reference = kills::reference(&subject)?;
    add(kills::at_calls(&subject, &reference, extent, &mut random)?);
    add(vec![kills::at_moments(&subject, &reference, extent, &mut random)?]);
    add(damage::finished(&subject, &reference, extent, &mut random)?);
    add(vec![damage::unfinished(&subject, &reference, extent, &mut random)?]);
    add(records::records(&subject, &reference, extent, &mut random)?);
    // A short campaign leaves these tests out, because `ci` runs them itself.
    if extent != Extent::Short {
        add(vec![readers()]);
    }
    let (tried, broken) =
        tallies.iter().fold((0, 0), |(t, b), tally| (t + tally.tried, b + tally.broken.len()));
    say(&format!(
        "faults: {tried} tried, {broken} broken, seed {seed}, in {} s",
        started.elapsed().as_secs()
    ));
    if broken > 0 { Err(format!("{broken} of {tried} faults were not withstood")) } else { Ok(()) }
}

/// Runs the property tests of the image file readers, with more cases than in `cargo test`.
fn readers() -> Tally {
    let cases = 4096;
    let mut tally = Tally::new(format!("readers of image files, {cases} damaged ones a property"));
    let mut tests = cargo();
    tests.args([
        "test",
        "--release",
        "--locked",
        "--quiet",
        "-p",
        "lerp-data",
        "--test",
        "claims",
        "--test",
        "readers",
    ]);
    let result = run(tests.env("PROPTEST_CASES", cases.to_string()));
    tally.count("cargo test -p lerp-data", result.err());
    tally
}

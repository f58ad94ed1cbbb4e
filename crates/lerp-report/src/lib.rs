//! Tables, figures and the web page of a sweep, from what its runs have written so far.
//!
//! A number in a table is the mean over seeds of each finished run's final value ([`lerp_eval::final_value`]). Runs
//! that differ in anything but the seed are separate rows. Notes under a table state which runs are missing from it.
//!
//! [`report`] writes everything into the sweep's folder, and [`compare`] formats the tables of several sweeps for a
//! terminal:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use lerp_report::{ReportOptions, TerminalStyle, report};
//!
//! let options = ReportOptions { terminal: Some(TerminalStyle::Colored), ..ReportOptions::default() };
//! let outcome = report(Path::new("results/quick"), &options)?;
//! println!("{}", outcome.terminal);
//! # Ok::<(), lerp_report::Error>(())
//! ```
//!
//! Inside, each folder has one door, its `mod.rs`: `paper` has the paper's numbers, `reading` reads a sweep,
//! `verdicts` says how its runs compare with the paper, `statistics` computes what several tables and figures show,
//! `claims` tests claims, `tables` and `figures` show all of it, and `page` puts these together. A folder uses only
//! those named before it. `writing` reads a sweep, draws its figures, writes its tables, and makes the page.

mod claims;
mod error;
mod figures;
mod page;
mod paper;
mod provenance;
mod reading;
mod statistics;
mod tables;
pub mod text;
mod verdicts;
mod writing;

pub use error::{Error, Result};
pub use reading::PixelReference;
pub use writing::{ReportOptions, ReportOutcome, TerminalStyle, compare, report};

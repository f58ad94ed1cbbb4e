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
//! use lerp_report::{Options, TerminalStyle, report};
//!
//! let options = Options { terminal: Some(TerminalStyle::Colored), ..Options::default() };
//! let outcome = report(Path::new("results/quick"), &options)?;
//! println!("{}", outcome.terminal);
//! # Ok::<(), lerp_report::Error>(())
//! ```
//!
//! Inside, each folder has one door, its `mod.rs`: `reading` reads a sweep, `paper` compares it with the paper,
//! `statistics` computes what several tables and figures show, `claims` tests claims, `tables` and `figures` show all of
//! it, and `page` puts these together. `writing` goes through them in this order.

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
mod writing;

pub use error::{Error, Result};
pub use reading::PixelReference;
pub use writing::{Options, ReportOutcome, TerminalStyle, compare, report};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{
        figures,
        tables::{ImageTable, METRICS},
    };

    #[test]
    fn every_shown_metric_is_measured() {
        let measured: HashSet<&str> = lerp_eval::quantities().map(|quantity| &*quantity.key).collect();
        let tables = METRICS
            .iter()
            .map(|metric| metric.of)
            .chain(ImageTable::ALL.into_iter().flat_map(ImageTable::metrics));
        let shown: Vec<&str> = tables.chain(figures::drawn()).map(|quantity| &*quantity.key).collect();
        assert!(shown.len() > 20, "{shown:?}");
        for key in shown {
            assert!(measured.contains(key), "nobody measures {key}");
        }
    }
}

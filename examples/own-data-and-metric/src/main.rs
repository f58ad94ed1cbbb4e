//! The `lerp` command with a dataset and a metric of one's own: the seven are trained on discs, and a table says whether
//! discs move or fade between two others.

mod disc_path;
mod discs;

use std::process::ExitCode;

use disc_path::DiscPath;
use discs::Discs;

fn main() -> ExitCode {
    lerp::App::new().dataset(Discs::NAME, || Ok(Box::new(Discs))).metric(DiscPath).main()
}

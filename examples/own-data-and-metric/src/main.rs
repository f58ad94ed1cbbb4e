//! The `lerp` command with a user-defined dataset and metric: the seven variants can be trained on discs, and a table
//! shows whether interpolated discs move or fade.

mod disc_path;
mod discs;

use std::process::ExitCode;

use disc_path::DiscPath;
use discs::Discs;

fn main() -> ExitCode {
    lerp::App::new().dataset(Discs::NAME, || Ok(Box::new(Discs))).metric(DiscPath).main()
}

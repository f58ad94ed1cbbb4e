//! The `lerp` command with the paper's seven autoencoders.

use std::process::ExitCode;

fn main() -> ExitCode {
    lerp::App::new().main()
}

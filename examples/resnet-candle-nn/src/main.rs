//! The `lerp` command with a residual autoencoder beside the paper's seven variants.

mod resnet;

use std::process::ExitCode;

fn main() -> ExitCode {
    lerp::App::new().model::<resnet::ResNet>().main()
}

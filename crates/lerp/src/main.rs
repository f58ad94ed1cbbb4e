//! The `lerp` command.
fn main() {}

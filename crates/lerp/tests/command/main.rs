//! Tests of the commands of `lerp`, which run the program and look at its output and its files.
//!
//! They are one program with a module for each command or theme, because linking a test program takes several seconds.
//! Tests that stop processes are in `processes`, and those that need Slurm or a download in programs of their own.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../../examples/load_model.rs"]
mod load_model;

mod answers;
mod bench;
mod conformance;
mod data;
mod eval;
mod export;
mod folders;
mod images;
mod judge;
mod left_out;
mod moved;
mod precision;
mod score;
mod shards;
mod sweep;
mod verify;
mod watch;

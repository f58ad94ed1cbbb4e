//! Tests of the watcher on synthetic folders of sweeps.

mod folder;
mod reading;
mod screen;

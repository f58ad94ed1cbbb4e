//! A watcher over folders of sweeps that are made up.

mod folder;
mod reading;
mod screen;

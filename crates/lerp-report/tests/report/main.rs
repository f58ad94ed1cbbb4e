//! Tests of reports: tables, figures and pages of runs whose files are known. What needs a browser is in `page.rs`, apart
//! because it measures times.

#![allow(clippy::unwrap_used)]

mod claims;
mod common;
mod figures;
mod images;
mod lines;
mod many;
mod ranks;
mod reading;
mod tables;
mod user_metrics;

//! Metrics of interpolation quality: tensors in, numbers out.
//!
//! * [`LineBank`] and [`LineMetrics`]: mean distance and smoothness of interpolations between lines (section 3 of
//!   "Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer", arXiv 1807.07543),
//!   and how far they strayed from the shortest way.
//! * [`interpolation`]: the latents between two latents.
//! * [`classifier`]: loss, accuracy and learning rate of the single-layer classifier (section 4).
//! * [`clustering`]: whitening, k-means, and how well clusters match classes (section 4.2).
//! * [`probe`]: a single-layer classifier fitted to features that no longer change.
//! * [`median`], [`final_value`] and [`mean_std`]: from a run's evaluations to the number in a table;
//!   [`wilson_interval`]: how far an accuracy may be trusted; [`welch_interval`] and [`paired_bootstrap`]: the difference of
//!   two means.
//! * [`lower_p`], [`below_p`], [`holm`] and [`seeds_to_tell`]: tests of claims about means.
//! * [`rank`]: ranks over several tables, and whether they differ by more than chance.
//! * [`spearman`] and [`within_groups`]: whether two quantities rise and fall together.
//! * [`kernel_distance`] and [`Neighbourhoods`]: how far features are from those of real data, and which lie among them.
//! * [`Way`]: what the metrics on lines can come to, without a model.
//! * [`Judged`]: what a classifier makes of interpolations between images of which no truth is known.
//! * [`Metric`]: a measurement of one's own, of a [`Subject`].
//! * [`quantity`]: what each of these numbers is called, in files and by people.
//!
//! This crate touches no file and holds no parameters.

mod angles;
mod association;
mod bank;
pub mod classifier;
pub mod clustering;
mod compare;
mod error;
mod hypothesis;
pub mod interpolation;
mod judged;
mod kernel;
mod lines;
mod metric;
mod minimise;
mod neighbours;
pub mod probe;
pub mod quantity;
mod ranks;
mod reference;
mod rows;
mod stats;

pub use angles::{smoothness, unwrap};
pub use association::{Association, rank_correlation, spearman, within_groups};
pub use bank::{LineBank, Nearest};
pub use compare::{Bootstrap, Sample, paired_bootstrap, student_quantile, welch_interval};
pub use error::{Error, Result};
pub use hypothesis::{below_p, holm, lower_p, seeds_to_tell};
pub use judged::{CLEARLY, ENDS, Judged, MIDDLE, POSITIONS, PairKind, Reading, Real, Realism, STEPS};
pub use kernel::{KernelDistance, KernelReference, kernel_distance};
pub use lines::LineMetrics;
pub use metric::{
    Interpolated, Metric, Subject, Tested, check_metrics, check_recorded, measured, recorded, test_images,
    test_pairs,
};
pub use neighbours::Neighbourhoods;
pub use quantity::{Better, Quantity, When, quantities};
pub use ranks::{Ranking, rank};
pub use reference::Way;
pub use stats::{final_count, final_value, mean_std, median, wilson_interval};

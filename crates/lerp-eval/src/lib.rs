//! Metrics of interpolation quality: tensors in, numbers out.
//!
//! * [`LineBank`] and [`LineMetrics`]: mean distance and smoothness of interpolations between lines (section 3 of
//!   "Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer", arXiv 1807.07543),
//!   and their detour relative to the shortest path.
//! * [`interpolation`]: linear and spherical interpolation between latents.
//! * [`classifier`]: loss, accuracy and learning rate of the single-layer classifier (section 4).
//! * [`clustering`]: whitening, k-means, and the agreement of clusters with classes (section 4.2).
//! * [`probe`]: a single-layer classifier fitted to frozen features.
//! * [`median`], [`final_value`] and [`Sample`]: from a run's evaluations to the number in a table;
//!   [`wilson_interval`]: the confidence interval of an accuracy; [`welch_interval`] and [`paired_bootstrap`]:
//!   confidence intervals of the difference of two means.
//! * [`lower_p`], [`below_p`], [`holm`] and [`seeds_needed`]: hypothesis tests about means, and their power.
//! * [`rank`]: mean ranks over several tables, and tests of their differences.
//! * [`spearman`] and [`within_groups`]: rank correlation of two quantities.
//! * [`kernel_distance`] and [`Neighbourhoods`]: the kernel distance (KID), and improved precision and recall, of
//!   features relative to those of real data.
//! * [`LineReference`]: interpolations between lines that no model made, whose scores show the range of the line
//!   metrics.
//! * [`Judged`]: a classifier's scores of interpolations between images for which no ground truth is known.
//! * [`Metric`]: a user-defined metric, which measures a [`Subject`].
//! * [`quantity`]: the key, title and description of each of these numbers.
//!
//! This crate reads and writes no files and holds no parameters.

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
pub use hypothesis::{below_p, holm, lower_p, seeds_needed};
pub use judged::{
    ENDS, JudgeOutput, Judged, MIDDLE, POSITIONS, PURITY_THRESHOLD, PairKind, RealFeatures, Realism, STEPS,
};
pub use kernel::{KernelDistance, KernelReference, kernel_distance};
pub use lines::LineMetrics;
pub use metric::{
    EVALUATION_BATCH, Interpolated, Metric, PairEnds, Subject, TestImages, check_metrics, check_recorded,
    measured, recorded, test_images, test_pairs,
};
pub use neighbours::Neighbourhoods;
pub use quantity::{Better, Quantity, When, quantities};
pub use ranks::{Ranking, rank};
pub use reference::{LineReference, ReferenceImages};
pub use rows::Labelled;
pub use stats::{Interval, final_count, final_value, median, wilson_interval};

//! The synthetic lines benchmark: drawing, classes and batches.
//!
//! Section 3 and figure 2 of "Understanding and Improving Interpolation in Autoencoders via an Adversarial
//! Regularizer" (arXiv 1807.07543): images of 32 by 32 pixels that hold one line from the centre outwards, so that the
//! correct interpolation between two of them is known.
//!
//! * [`draw_line`] and [`line_label`]: one image and its class.
//! * [`Dataset`]: what a trainer asks for; [`dataset`] finds one by name; [`Lines`] is the one of the paper's table 1.
//!
//! ```
//! # fn main() -> lerp_data::Result<()> {
//! let lines = lerp_data::dataset("lines")?;
//! let draws = lerp_core::Draws::new(1, &candle_core::Device::Cpu).scope("train").at(7);
//! let batch = lines.train_batch(64, &draws)?;
//! assert_eq!(batch.images.dims(), [64, 32, 32, 1]);
//! # Ok(())
//! # }
//! ```

mod dataset;
mod error;
mod line;
mod lines;

pub use dataset::{Batch, DATASETS, Dataset, dataset};
pub use error::{Error, Result};
pub use line::{draw_line, line_label};
pub use lines::Lines;

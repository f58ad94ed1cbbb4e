//! Datasets: the synthetic lines, which are drawn, and image sets, which are read from local files.
//!
//! "Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer" (arXiv 1807.07543):
//! section 3 and figure 2 for lines, images of 32 by 32 pixels that hold one line from the centre outwards, so that the
//! correct interpolation between two of them is known; section 4 for MNIST, SVHN and CIFAR-10; the appendix for
//! CelebA.
//!
//! * [`Dataset`]: what a trainer asks for; [`dataset`] finds one by name.
//! * [`Lines`]: the one of the paper's table 1; [`draw_line`] and [`line_label`] make one image and its class.
//! * [`ImageSet`]: the paper's image sets and the user's own, found by [`image_set`]; [`check`] and [`contact_sheet`]
//!   tell and show what is in one.
//! * [`TensorSet`]: images that a program has; with the feature `candle-datasets`, also what that crate reads.
//! * [`HubCache`]: where image sets are that were downloaded; module `hub`, with the feature of that name, downloads them.
//!
//! ```
//! # fn main() -> lerp_data::Result<()> {
//! let lines = lerp_data::dataset("lines", None)?;
//! let draws = lerp_core::Draws::new(1, &candle_core::Device::Cpu).scope("train").at(7);
//! let batch = lines.train_batch(64, &draws)?;
//! assert_eq!(batch.images.dims(), [64, 32, 32, 1]);
//! # Ok(())
//! # }
//! ```

mod cache;
#[cfg(feature = "candle-datasets")]
mod candle;
mod check;
mod cifar;
mod dataset;
mod error;
mod find;
mod folders;
#[cfg(feature = "hub")]
pub mod hub;
mod idx;
mod images;
mod labels;
mod line;
mod lines;
mod load;
mod mat;
mod parquet;
mod picture;
mod pixels;
mod resize;
mod role;
mod set;
mod shuffle;
mod stored;
mod tensors;
mod tree;

pub use cache::{HubCache, HubSource};
pub use check::{FileReport, PartReport, Report, check, contact_sheet};
pub use dataset::{Batch, DATASETS, Dataset, Part, dataset, image_set, image_set_in};
pub use error::{Error, Result};
pub use find::{Protocol, protocols};
pub use line::{draw_line, line_label};
pub use lines::Lines;
pub use set::{FOLDER_VARIABLE, ImageSet, is_own, split_option};
pub use shuffle::{Permutation, epoch_order};
pub use stored::CACHE_VARIABLE;
pub use tensors::{TensorSet, Tensors};

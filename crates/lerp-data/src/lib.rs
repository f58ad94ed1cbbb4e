//! Datasets: the synthetic lines, which are drawn, and image sets, which are read from local files.
//!
//! They are those of "Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer"
//! (arXiv 1807.07543): the lines of section 3 and figure 2, images of 32x32 pixels with one line from the
//! centre outwards, between two of which the correct interpolation is known; MNIST, SVHN and CIFAR-10 of
//! section 4; and CelebA of the appendix.
//!
//! * [`Dataset`]: the trait through which a trainer reads a dataset; [`dataset`] opens one by name.
//! * [`Lines`]: the dataset of the paper's Table 1; [`draw_line`] draws one of its images, and [`line_label`]
//!   computes its class.
//! * [`ImageSet`]: the paper's image sets and user-supplied ones, opened by [`image_set`]; [`check`] reports
//!   what a set contains, and [`contact_sheet`] draws some of its images.
//! * [`TensorSet`]: a dataset made of tensors; with the feature `candle-datasets`, also of that crate's
//!   datasets.
//! * [`HubCache`]: the folder of image sets that were downloaded from the Hugging Face hub; the module `hub`,
//!   with the feature of that name, downloads them.
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
pub use check::{FileReport, Report, SplitReport, check, contact_sheet};
pub use dataset::{Batch, DATASETS, Dataset, Split, dataset, image_set, image_set_with_cache};
pub use error::{Error, Result};
pub use find::{Protocol, protocols};
pub use line::{LineCanvas, draw_line, line_label};
pub use lines::Lines;
pub use set::{DatasetName, FOLDER_VARIABLE, ImageSet, is_own, separate_option};
pub use shuffle::{Permutation, epoch_order};
pub use stored::CACHE_VARIABLE;
pub use tensors::{TensorSet, Tensors};

//! Encoder, decoder and dense layers of the protocol, on `lerp-kernels`. All are `candle_nn::Module`s made through a
//! `VarBuilder`, so that they and candle-nn's own layers go together; [`ChannelsFirst`] turns maps for the latter.
//!
//! All convolutions start from `N(0, 1/((1 + 0.2²)·fan_in))`, dense layers from Glorot's uniform distribution, biases
//! from zero, as in the paper's code. Feature maps are flattened in (height, width, channel) order.

mod coder;
mod layers;
mod loss;

pub use coder::{Coder, Decoder, Encoder};
pub use layers::{ChannelsFirst, Conv, ConvConfig, Dense, Resize};
pub use loss::{bernoulli_nll, binary_cross_entropy, mean_squared_error};

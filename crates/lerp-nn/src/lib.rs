//! The encoder, decoder, layers and losses of the paper's networks, built on `lerp-kernels`. All layers are
//! `candle_nn::Module`s made with a `VarBuilder`, so they can be combined with candle-nn's own;
//! [`ChannelsFirst`] converts the layout of feature maps for the latter.
//!
//! The weights of convolutions are initialised from `N(0, 1/((1 + 0.2²)·fan_in))`, those of dense layers from
//! Glorot's uniform distribution, and biases with zero, as in the paper's code. Feature maps are flattened in
//! (height, width, channel) order.

mod coder;
mod layers;
mod loss;

pub use coder::{Coder, Decoder, Encoder};
pub use layers::{ChannelsFirst, Conv, ConvConfig, Dense, Resize};
pub use loss::{bernoulli_nll, binary_cross_entropy, mean_squared_error};

//! A residual autoencoder (He et al. 2016, pre-activation blocks) with group normalisation, built from candle-nn's
//! layers only. Its latent is a vector instead of a feature map; metrics, strips and tables work as for the seven
//! variants.

use candle_core::{Module, Result, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, GroupNorm, Linear, VarBuilder, conv2d, group_norm, linear};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, Draws, Error, LatentShape, Model, NetworkKind, Objectives, ParamStore,
    Spec,
};
use lerp_nn::{ChannelsFirst, mean_squared_error};
use serde::{Deserialize, Serialize};

/// Settings of the network, in a plan's `[variant.resnet.network]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Channels at full resolution, a multiple of the number of groups in the normalisation layers; doubled at each
    /// halving of the resolution.
    pub width: usize,
    /// Residual blocks at each resolution.
    pub blocks: usize,
    /// Number of halvings of the resolution.
    pub scales: usize,
    /// Latent dimensions.
    pub latent: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { width: 8, blocks: 1, scales: 3, latent: 64 }
    }
}

/// Number of groups of every group normalisation.
const GROUPS: usize = 4;

/// Hyperparameters: there are none, because the loss is the reconstruction error alone.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Config {}

/// The residual autoencoder.
pub struct ResNet {
    spec: Spec,
    store: ParamStore,
    trunk: ChannelsFirst<Encoder>,
    to_latent: Linear,
    from_latent: Linear,
    back: ChannelsFirst<Decoder>,
    /// Height, width and channels of the smallest feature map.
    smallest: [usize; 3],
}

/// A residual block: `x + conv(act(norm(conv(act(norm(x))))))`.
struct Block {
    norms: [GroupNorm; 2],
    convs: [Conv2d; 2],
}

impl Module for Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = x.clone();
        for (norm, conv) in self.norms.iter().zip(&self.convs) {
            y = conv.forward(&norm.forward(&y)?.silu()?)?;
        }
        x + y
    }
}

fn conv(inputs: usize, outputs: usize, builder: VarBuilder) -> Result<Conv2d> {
    conv2d(inputs, outputs, 3, Conv2dConfig { padding: 1, ..Conv2dConfig::default() }, builder)
}

fn block(width: usize, builder: &VarBuilder) -> Result<Block> {
    let norm = |name| group_norm(GROUPS, width, 1e-5, builder.pp(name));
    let convs = [conv(width, width, builder.pp("conv0"))?, conv(width, width, builder.pp("conv1"))?];
    Ok(Block { norms: [norm("norm0")?, norm("norm1")?], convs })
}

/// The layers at one resolution: residual blocks, and the convolution to or from twice as many channels.
struct Scale {
    blocks: Vec<Block>,
    between: Conv2d,
}

/// The convolutional part of the encoder, with channels first. It is a type of its own because candle-nn's `Sequential`
/// cannot be sent to another thread.
struct Encoder {
    stem: Conv2d,
    scales: Vec<Scale>,
}

impl Encoder {
    fn new(channels: usize, settings: &Settings, builder: &VarBuilder) -> Result<Self> {
        let stem = conv(channels, settings.width, builder.pp("stem"))?;
        let scale = |scale: usize| {
            let (width, builder) = (settings.width << scale, builder.pp(format!("scale{scale}")));
            let blocks = (0..settings.blocks).map(|i| block(width, &builder.pp(format!("block{i}"))));
            let blocks = blocks.collect::<Result<_>>()?;
            Ok(Scale { blocks, between: conv(width, 2 * width, builder.pp("widen"))? })
        };
        Ok(Self { stem, scales: (0..settings.scales).map(scale).collect::<Result<_>>()? })
    }
}

impl Module for Encoder {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.stem.forward(x)?;
        for Scale { blocks, between } in &self.scales {
            for block in blocks {
                x = block.forward(&x)?;
            }
            x = between.forward(&x.avg_pool2d(2)?)?;
        }
        Ok(x)
    }
}

/// The convolutional part of the decoder, with channels first.
struct Decoder {
    scales: Vec<Scale>,
    norm: GroupNorm,
    last: Conv2d,
}

impl Decoder {
    fn new(channels: usize, settings: &Settings, builder: &VarBuilder) -> Result<Self> {
        let scale = |scale: usize| {
            let (width, builder) = (settings.width << scale, builder.pp(format!("scale{scale}")));
            let between = conv(2 * width, width, builder.pp("narrow"))?;
            let blocks = (0..settings.blocks).map(|i| block(width, &builder.pp(format!("block{i}"))));
            Ok(Scale { blocks: blocks.collect::<Result<_>>()?, between })
        };
        let scales = (0..settings.scales).rev().map(scale).collect::<Result<_>>()?;
        let norm = group_norm(GROUPS, settings.width, 1e-5, builder.pp("norm"))?;
        Ok(Self { scales, norm, last: conv(settings.width, channels, builder.pp("last"))? })
    }
}

impl Module for Decoder {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for Scale { blocks, between } in &self.scales {
            let (_, _, height, width) = x.dims4()?;
            x = between.forward(&x.upsample_nearest2d(2 * height, 2 * width)?)?;
            for block in blocks {
                x = block.forward(&x)?;
            }
        }
        self.last.forward(&self.norm.forward(&x)?.silu()?)
    }
}

impl Model for ResNet {
    const NAME: &'static str = "resnet";
    const TITLE: &'static str = "ResNet";
    const NETWORKS: &'static [NetworkKind] = &[NetworkKind::of::<Settings>("resnet")];
    type Config = Config;

    fn check(_: &Config) -> lerp_core::Result<()> {
        Ok(())
    }

    fn new(_: Config, build: &Build) -> lerp_core::Result<Self> {
        let settings: Settings = build.network.own("resnet")?;
        let Settings { width, blocks, scales, latent } = settings;
        let (height, columns, channels) = (build.image.height, build.image.width, build.image.channels);
        let halves = |side: usize| scales <= 12 && side.is_multiple_of(1 << scales);
        if width == 0
            || !width.is_multiple_of(GROUPS)
            || width > 1024
            || latent == 0
            || latent > 1 << 16
            || blocks > 64
        {
            let problem = format!(
                "resnet: width must be a multiple of {GROUPS} up to 1024, latent 1 to 65536, blocks at most 64"
            );
            return Err(Error::BadNetwork(problem));
        }
        if !halves(height) || !halves(columns) {
            let problem = format!("resnet: a {height}x{columns} image cannot be halved {scales} times");
            return Err(Error::BadNetwork(problem));
        }
        let smallest = [height >> scales, columns >> scales, width << scales];
        let flat: usize = smallest.iter().product();
        if smallest[2] > 1024 || flat * latent > 1 << 26 {
            let problem = format!(
                "resnet: {} channels after the last halving, or {flat} x {latent} weights to the latent, are too many; make \
                 width, scales or latent smaller",
                smallest[2]
            );
            return Err(Error::BadNetwork(problem));
        }

        let mut store = ParamStore::new(build.seed, build.dtype, build.device);
        let builder = store.builder(AUTOENCODER);
        let trunk = ChannelsFirst(Encoder::new(channels, &settings, &builder.pp("enc"))?);
        let to_latent = linear(flat, latent, builder.pp("enc.latent"))?;
        let from_latent = linear(latent, flat, builder.pp("dec.latent"))?;
        let back = ChannelsFirst(Decoder::new(channels, &settings, &builder.pp("dec"))?);
        drop(builder);
        let spec = build.spec(Self::NAME, LatentShape::new([latent]));
        Ok(Self { spec, store, trunk, to_latent, from_latent, back, smallest })
    }
}

impl Autoencoder for ResNet {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn params(&self) -> &ParamStore {
        &self.store
    }

    fn encode(&self, x: &Tensor, _: &Draws) -> lerp_core::Result<Tensor> {
        Ok(self.to_latent.forward(&self.trunk.forward(x)?.flatten_from(1)?)?)
    }

    fn decode(&self, z: &Tensor) -> lerp_core::Result<Tensor> {
        let [height, width, channels] = self.smallest;
        let maps = self.from_latent.forward(z)?.reshape((z.dim(0)?, height, width, channels))?;
        Ok(self.back.forward(&maps)?)
    }

    fn objectives(&self, x: &Tensor, draws: &Draws) -> lerp_core::Result<Objectives> {
        let z = self.encode(x, draws)?;
        let loss = mean_squared_error(&self.decode(&z)?, x)?;
        Ok(Objectives::new(AUTOENCODER, loss.clone(), &z)?.term("mse", &loss))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use lerp_core::{Hyper, ImageShape, Network};
    use lerp_kernels::gradients;

    use super::*;

    /// Compares the gradient of every layer with finite differences.
    #[test]
    fn gradients_are_right() {
        let settings: Hyper = [("width", 4), ("scales", 2), ("latent", 3)]
            .map(|(name, value)| (name.to_owned(), value.into()))
            .into_iter()
            .collect();
        let network =
            ResNet::NETWORKS[0].check(&settings, Network { scales: 1, depth: 1, latent: 1 }).unwrap();
        let (device, hyper) = (Device::Cpu, Hyper::new());
        let image = ImageShape { height: 8, width: 4, channels: 2 };
        let build =
            Build { image, network: &network, hyper: &hyper, seed: 3, dtype: DType::F64, device: &device };
        let model = ResNet::new(Config {}, &build).unwrap();
        let draws = Draws::new(5, &device).with_dtype(DType::F64);
        let x = draws.normal("x", (2, 8, 4, 2)).unwrap();
        let loss = || model.objectives(&x, &draws).unwrap().losses[0].loss.value().clone();
        let store = gradients(&loss()).unwrap();
        let (mut compared, step) = (0, 1e-5);
        for param in model.params().params() {
            let gradient = store.get(param.var.as_tensor()).unwrap().flatten_all().unwrap();
            let before = param.var.copy().unwrap();
            let n = gradient.elem_count();
            for index in [0, n / 2, n - 1] {
                let at = |moved: f64| {
                    let mut values = before.flatten_all().unwrap().to_vec1::<f64>().unwrap();
                    values[index] += moved;
                    let values = Tensor::from_vec(values, before.shape(), &device).unwrap();
                    param.var.set(&values).unwrap();
                    loss().to_scalar::<f64>().unwrap()
                };
                let wanted = (at(step) - at(-step)) / (2.0 * step);
                at(0.0);
                let ours = gradient.get(index).unwrap().to_scalar::<f64>().unwrap();
                assert!(
                    (ours - wanted).abs() < 1e-7 + 1e-5 * wanted.abs(),
                    "{}: {ours} {wanted}",
                    param.name
                );
                compared += 1;
            }
        }
        assert!(compared > 60, "{compared}");
    }
}

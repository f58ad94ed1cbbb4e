//! Random numbers without a stateful generator: every draw is a pure function of (seed, stream, step, index).
//!
//! The function is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with
//! the seed as key and (index / 4, step, hash of the stream's name) as counter. No random state is stored, so
//! resuming a run is exact. All devices get the same numbers: they are made on the host and copied, or made on
//! the device by a [`Generator`] that computes the same function.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    hash::Hasher,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use candle_core::{DType, Device, Result, Shape, Tensor};
use fnv::FnvHasher;

/// The distribution and type of a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// The numbers of [`Draws::uniform`].
    Uniform,
    /// The numbers of [`Draws::normal`].
    Normal,
    /// The numbers of [`Draws::uniform_f64`].
    UniformF64,
}

/// The key and counter words at which a draw begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawPosition {
    /// The seed: Philox's key.
    pub seed: u64,
    /// The step: the second and third word of the counter.
    pub step: DrawStep,
    /// The hash of the scoped stream name: the last word of the counter.
    pub stream: u32,
}

/// The step of a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawStep {
    /// This step, whether or not the generator counts steps itself.
    Fixed(u64),
    /// The step that the generator counts itself, or this one if it counts none.
    Counted(u64),
}

impl DrawStep {
    /// The step of a generator that counts none.
    pub fn number(self) -> u64 {
        match self {
            Self::Fixed(step) | Self::Counted(step) => step,
        }
    }
}

/// Makes draws on a device, with the same numbers as the host: uniform draws agree bit for bit, normal draws
/// may differ in the last place of `f32`.
pub trait Generator: Debug + Send + Sync {
    /// Makes the draw `what` at `position`.
    ///
    /// # Shapes
    /// The result has `shape`; it is `f64` for [`Draw::UniformF64`], otherwise `f32`.
    fn draw(&self, what: Draw, position: DrawPosition, shape: &Shape) -> Result<Tensor>;

    /// The number of the step.
    ///
    /// # Shapes
    /// `[]`, `f32`.
    fn step(&self, step: DrawStep) -> Result<Tensor>;
}

/// A source of random draws with a fixed seed, step and scope.
///
/// It is cheap to clone. Two draws from the same stream of the same source are equal, so a variant that needs
/// two independent draws names two streams.
///
/// ```
/// use candle_core::Device;
/// use lerp_core::Draws;
///
/// let draws = Draws::new(7, &Device::Cpu).scope("train").at(3);
/// let noise = draws.normal("noise", (2, 4))?;
/// assert_eq!(noise.dims(), [2, 4]);
///
/// // A draw depends on seed, scope, step, stream and index, and on nothing else.
/// assert_eq!(draws.uniforms("mask", 5), draws.uniforms("mask", 5));
/// assert_ne!(draws.uniforms("mask", 5), draws.at(4).uniforms("mask", 5));
/// assert_ne!(draws.uniforms("mask", 5), draws.uniforms("angle", 5));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Draws {
    seed: u64,
    step: DrawStep,
    scope: String,
    device: Device,
    dtype: DType,
    replay: Option<Arc<BTreeMap<String, Tensor>>>,
    generator: Option<Arc<dyn Generator>>,
    /// Set to true when the step, or a number drawn at it, is read on the host.
    watch: Option<Arc<AtomicBool>>,
}

impl Draws {
    /// Draws with `seed` at step 0, as `f32` on `device`.
    pub fn new(seed: u64, device: &Device) -> Self {
        Self {
            seed,
            step: DrawStep::Fixed(0),
            scope: String::new(),
            device: device.clone(),
            dtype: DType::F32,
            replay: None,
            generator: None,
            watch: None,
        }
    }

    /// Replaces random numbers by fixed tensors, by the name of the stream, to compare with recorded runs.
    pub fn replay(tensors: BTreeMap<String, Tensor>, device: &Device) -> Self {
        Self { replay: Some(Arc::new(tensors)), ..Self::new(0, device) }
    }

    /// Returns the same source at step `step`, even if a generator counts steps itself.
    #[must_use]
    pub fn at(&self, step: u64) -> Self {
        Self { step: DrawStep::Fixed(step), ..self.clone() }
    }

    /// Returns the same source with the prefix `name/` for every stream, so that training and evaluation never
    /// share a draw.
    #[must_use]
    pub fn scope(&self, name: &str) -> Self {
        Self { scope: format!("{}{name}/", self.scope), ..self.clone() }
    }

    /// Returns the same source with tensors of type `dtype`.
    #[must_use]
    pub fn with_dtype(&self, dtype: DType) -> Self {
        Self { dtype, ..self.clone() }
    }

    /// Returns the same source with tensors made by `generator`, at the generator's own step if it counts steps
    /// itself.
    #[must_use]
    pub fn made_by(&self, generator: Arc<dyn Generator>) -> Self {
        Self { generator: Some(generator), step: DrawStep::Counted(self.step.number()), ..self.clone() }
    }

    /// Returns the same source with a flag, shared by all sources that are derived from it, that is set when a
    /// number that depends on the step is read on the host; see [`Draws::read_on_host`].
    #[must_use]
    pub fn watched(&self) -> Self {
        Self { watch: Some(Arc::default()), ..self.clone() }
    }

    /// Whether the number of the step, or numbers drawn at it, were read on the host since [`Draws::watched`].
    /// A captured step would keep the values of that time when it is replayed.
    pub fn read_on_host(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.load(Ordering::Relaxed))
    }

    fn note(&self) {
        if let Some(watch) = &self.watch {
            watch.store(true, Ordering::Relaxed);
        }
    }

    /// Whether draws are made on the device by a [`Generator`].
    pub fn on_device(&self) -> bool {
        self.generator.is_some()
    }

    /// The device of the tensors that are drawn.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The number of the step, on the host, for datasets. A variant uses [`Draws::step_tensor`] instead: a GPU
    /// replays a captured step without calling the variant, so a step in which this is called is not captured
    /// and takes longer.
    pub fn step(&self) -> u64 {
        self.note();
        self.step.number()
    }

    /// The number of the step, counted from 0, as a tensor on the device in the source's type (`f32` counts
    /// exactly up to 2²⁴). Learning-rate and loss schedules are computed from it; it is also correct in a
    /// captured step.
    ///
    /// # Shapes
    /// `[]`.
    pub fn step_tensor(&self) -> Result<Tensor> {
        match &self.generator {
            Some(generator) => generator.step(self.step)?.to_dtype(self.dtype),
            None => Tensor::new(self.step.number() as f64, &Device::Cpu)?
                .to_dtype(self.dtype)?
                .to_device(&self.device),
        }
    }

    /// `n` draws of 32 random bits on the host, for example keys of a permutation.
    pub fn words(&self, stream: &str, n: usize) -> Vec<u32> {
        self.note();
        let mut out: Vec<u32> = self.blocks(stream, n).flatten().collect();
        out.truncate(n);
        out
    }

    /// Uniform draws in `[0, 1)`; they are multiples of 2⁻²⁴.
    ///
    /// # Shapes
    /// The result has `shape`; element `i` in row-major order is draw number `i` of the stream.
    pub fn uniform(&self, stream: &str, shape: impl Into<Shape>) -> Result<Tensor> {
        self.tensor(Draw::Uniform, stream, shape.into(), |n| self.make_uniforms(stream, n))
    }

    /// Uniform draws in `[0, 1)` with 53 random bits each, as `f64` whatever the source's type is.
    ///
    /// # Shapes
    /// `[n]`.
    pub fn uniform_f64(&self, stream: &str, n: usize) -> Result<Tensor> {
        match &self.generator {
            Some(generator) => generator.draw(Draw::UniformF64, self.position(stream), &n.into()),
            None => Tensor::from_vec(self.make_uniforms_f64(stream, n), n, &self.device),
        }
    }

    /// Standard normal draws, by the Box–Muller method on pairs of uniform draws, computed in `f64` and rounded
    /// to `f32`.
    ///
    /// # Shapes
    /// The result has `shape`.
    pub fn normal(&self, stream: &str, shape: impl Into<Shape>) -> Result<Tensor> {
        self.tensor(Draw::Normal, stream, shape.into(), |n| self.make_normals(stream, n))
    }

    /// `n` uniform draws in `[0, 1)` on the host, equal to those of [`Draws::uniform`].
    pub fn uniforms(&self, stream: &str, n: usize) -> Vec<f32> {
        self.note();
        self.make_uniforms(stream, n)
    }

    /// `n` uniform draws in `[0, 1)` with 53 random bits each, on the host, equal to those of
    /// [`Draws::uniform_f64`].
    pub fn uniforms_f64(&self, stream: &str, n: usize) -> Vec<f64> {
        self.note();
        self.make_uniforms_f64(stream, n)
    }

    /// `n` standard normal draws on the host, equal to those of [`Draws::normal`].
    pub fn normals(&self, stream: &str, n: usize) -> Vec<f32> {
        self.note();
        self.make_normals(stream, n)
    }

    fn make_uniforms(&self, stream: &str, n: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(n + 3);
        for block in self.blocks(stream, n) {
            out.extend(block.map(|bits| (bits >> 8) as f32 / 16_777_216.0));
        }
        out.truncate(n);
        out
    }

    fn make_uniforms_f64(&self, stream: &str, n: usize) -> Vec<f64> {
        let mut out = Vec::with_capacity(n + 1);
        for [a, b, c, d] in self.blocks(stream, 2 * n) {
            out.extend([(a, b), (c, d)].map(|(hi, lo)| {
                ((u64::from(hi) << 32 | u64::from(lo)) >> 11) as f64 / 9_007_199_254_740_992.0
            }));
        }
        out.truncate(n);
        out
    }

    fn make_normals(&self, stream: &str, n: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(n + 3);
        for [a, b, c, d] in self.blocks(stream, n) {
            for (u, v) in [(a, b), (c, d)] {
                // The added 1/2 keeps the argument of the logarithm above zero.
                let radius = (-2.0 * ((f64::from(u) + 0.5) / 4_294_967_296.0).ln()).sqrt();
                let (sin, cos) = (std::f64::consts::TAU * f64::from(v) / 4_294_967_296.0).sin_cos();
                out.extend([(radius * cos) as f32, (radius * sin) as f32]);
            }
        }
        out.truncate(n);
        out
    }

    fn tensor(
        &self,
        what: Draw,
        stream: &str,
        shape: Shape,
        make: impl FnOnce(usize) -> Vec<f32>,
    ) -> Result<Tensor> {
        if let Some(replay) = &self.replay {
            let Some(tensor) = replay.get(stream) else {
                candle_core::bail!("no recorded draws for stream '{stream}'");
            };
            if tensor.shape() != &shape {
                candle_core::bail!("recorded draws '{stream}' are {:?}, wanted {shape:?}", tensor.shape());
            }
            return tensor.to_device(&self.device)?.to_dtype(self.dtype);
        }
        let tensor = match &self.generator {
            Some(generator) => generator.draw(what, self.position(stream), &shape)?,
            None => Tensor::from_vec(make(shape.elem_count()), shape, &self.device)?,
        };
        tensor.to_dtype(self.dtype)
    }

    fn position(&self, stream: &str) -> DrawPosition {
        let stream = stream_hash(&self.scope, stream);
        DrawPosition { seed: self.seed, step: self.step, stream }
    }

    /// Blocks of four random words; as many blocks as `words` words need.
    fn blocks(&self, stream: &str, words: usize) -> impl Iterator<Item = [u32; 4]> {
        let DrawPosition { seed, step, stream } = self.position(stream);
        let step = step.number();
        let key = [seed as u32, (seed >> 32) as u32];
        let step = [step as u32, (step >> 32) as u32];
        (0..words.div_ceil(4)).map(move |block| philox([block as u32, step[0], step[1], stream], key))
    }
}

/// The FNV-1a hash of the scoped stream name, folded to 32 bits.
fn stream_hash(scope: &str, stream: &str) -> u32 {
    let mut hasher = FnvHasher::default();
    hasher.write(scope.as_bytes());
    hasher.write(stream.as_bytes());
    let hash = hasher.finish();
    (hash ^ (hash >> 32)) as u32
}

/// Philox4x32 with ten rounds.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_known_answers() {
        // The three test vectors of the authors' implementation (Random123, `kat_vectors`).
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn a_draw_depends_on_seed_stream_scope_step_and_index_alone() {
        let draws = Draws::new(7, &Device::Cpu);
        let base = draws.uniforms("a", 9);
        assert_eq!(base[..5], draws.uniforms("a", 5)[..], "a prefix of a longer draw");
        assert_eq!(base, draws.at(3).at(0).uniforms("a", 9));
        assert_eq!(draws.at(3).step(), 3);
        let words = draws.words("a", 9).into_iter().map(|bits| (bits >> 8) as f32 / 16_777_216.0);
        assert_eq!(base, words.collect::<Vec<_>>(), "the same bits");
        for other in [
            draws.uniforms("b", 9),
            draws.at(1).uniforms("a", 9),
            draws.scope("s").uniforms("a", 9),
            Draws::new(8, &Device::Cpu).uniforms("a", 9),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn reading_the_step_on_the_host_is_noted_and_using_it_on_the_device_is_not() {
        let draws = || Draws::new(1, &Device::Cpu).at(5).scope("train").watched();
        let on_device: [&dyn Fn(&Draws) -> Tensor; 4] = [
            &|draws| draws.step_tensor().unwrap(),
            &|draws| draws.uniform("u", 3).unwrap(),
            &|draws| draws.uniform_f64("u", 3).unwrap(),
            &|draws| draws.normal("n", 3).unwrap(),
        ];
        for draw in on_device {
            let draws = draws();
            draw(&draws);
            assert!(!draws.read_on_host());
        }
        let on_host: [&dyn Fn(&Draws) -> f64; 5] = [
            &|draws| draws.step() as f64,
            &|draws| draws.words("w", 1)[0] as f64,
            &|draws| draws.uniforms("u", 1)[0] as f64,
            &|draws| draws.uniforms_f64("u", 1)[0],
            &|draws| draws.normals("n", 1)[0] as f64,
        ];
        for draw in on_host {
            let draws = draws();
            // The flag is also set through a source that was derived from the watched one.
            draw(&draws.scope("inner").at(3));
            assert!(draws.read_on_host());
        }
        let unwatched = Draws::new(1, &Device::Cpu);
        unwatched.step();
        assert!(!unwatched.read_on_host());
    }

    /// A generator whose own step is 40, and whose draws are the number of the step.
    #[derive(Debug)]
    struct Forty;

    impl Generator for Forty {
        fn draw(&self, _: Draw, position: DrawPosition, shape: &Shape) -> Result<Tensor> {
            self.step(position.step)?.broadcast_as(shape)
        }
        fn step(&self, step: DrawStep) -> Result<Tensor> {
            let step = match step {
                DrawStep::Counted(_) => 40.0,
                DrawStep::Fixed(step) => step as f32,
            };
            Tensor::new(step, &Device::Cpu)
        }
    }

    #[test]
    fn the_step_as_a_tensor_is_the_generators_own_unless_another_is_asked_for() {
        let number = |tensor: Result<Tensor>| tensor.unwrap().to_scalar::<f32>().unwrap();
        let host = Draws::new(1, &Device::Cpu).at(7);
        assert_eq!(number(host.step_tensor()), 7.0);
        assert_eq!(host.with_dtype(DType::F64).step_tensor().unwrap().to_scalar::<f64>().unwrap(), 7.0);
        let kept = host.made_by(Arc::new(Forty)).scope("train");
        assert_eq!((number(kept.step_tensor()), number(kept.normal("n", ()))), (40.0, 40.0));
        let asked = kept.at(3);
        assert_eq!((number(asked.step_tensor()), number(asked.normal("n", ()))), (3.0, 3.0));
    }

    #[test]
    fn draws_have_the_moments_of_their_distributions() {
        let draws = Draws::new(1, &Device::Cpu);
        let n = 200_000;
        let mean = |v: &[f32], f: fn(f64) -> f64| v.iter().map(|&x| f(f64::from(x))).sum::<f64>() / n as f64;
        let u = draws.uniforms("u", n);
        assert!(u.iter().all(|x| (0.0..1.0).contains(x)));
        assert!((mean(&u, |x| x) - 0.5).abs() < 3e-3 && (mean(&u, |x| x * x) - 1.0 / 3.0).abs() < 3e-3);
        let g = draws.normals("g", n);
        assert!(mean(&g, |x| x).abs() < 1e-2 && (mean(&g, |x| x * x) - 1.0).abs() < 2e-2);
        assert!((mean(&g, |x| x.powi(4)) - 3.0).abs() < 0.15, "kurtosis");
        let d = draws.uniforms_f64("u", n);
        assert!((d.iter().sum::<f64>() / n as f64 - 0.5).abs() < 3e-3);
    }
}

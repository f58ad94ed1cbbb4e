//! The training step's number on the device, and random draws that read it there.

use std::sync::Arc;

use candle_core::{CudaDevice, DType, Device, Result, Shape, Tensor};
use lerp_core::{Decay, Draw, DrawPosition, DrawStep, Generator, LearningRate, Schedule};

use super::{address, blocks, count, launch, memory, tensor};
use crate::Adam;

/// The training step's number, kept on the device together with Adam's step size for the next update, so that a
/// captured graph advances by itself.
#[derive(Debug, Clone)]
pub struct Clock {
    device: Device,
    /// The step's number, `[1]`; an `i64` tensor that the kernels use as `u64`.
    step: Tensor,
    /// Adam's step size `η·√(1-β₂ᵗ)/(1-β₁ᵗ)` of [`crate::adam_steps`], `[1]`, with `t = step + 1` and the learning rate
    /// `η` of that step.
    rate: Tensor,
    learning_rate: LearningRate,
    adam: Adam,
}

/// A change of a clock's step.
#[derive(Clone, Copy)]
enum Tick {
    /// The step becomes this number.
    Set(u64),
    /// The step increases by one.
    Advance,
}

impl Clock {
    /// Creates a clock at step 0. Returns `None` if the device is not a CUDA device.
    ///
    /// # Errors
    /// If the device has no memory left.
    pub fn new(device: &Device, learning_rate: &LearningRate, adam: &Adam) -> Result<Option<Self>> {
        if !device.is_cuda() {
            return Ok(None);
        }
        let cuda = device.as_cuda_device()?;
        let step = tensor(cuda, memory::<i64>(cuda, 1)?.0, 1);
        let rate = tensor(cuda, memory::<f32>(cuda, 1)?.0, 1);
        let clock = Self { device: device.clone(), step, rate, learning_rate: *learning_rate, adam: *adam };
        clock.set(0)?;
        Ok(Some(clock))
    }

    /// Sets the step's number, which is the number of updates done.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn set(&self, step: u64) -> Result<()> {
        self.tick(Tick::Set(step))
    }

    /// Increases the step's number by one.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn advance(&self) -> Result<()> {
        self.tick(Tick::Advance)
    }

    /// Launches the kernel that changes the step and computes the step size.
    fn tick(&self, tick: Tick) -> Result<()> {
        let (to, set) = match tick {
            Tick::Set(step) => (step, 1_u32),
            Tick::Advance => (0, 0),
        };
        let (step, rate) = (address::<i64>(&self.step)?, address::<f32>(&self.rate)?);
        let Adam { beta1, beta2, .. } = self.adam;
        let LearningRate { peak, schedule: Schedule { decay, warmup, from, floor }, steps } =
            self.learning_rate;
        // A constant learning rate is a decaying one whose floor is the peak.
        let floor = if decay == Decay::Constant { 1.0 } else { floor };
        let (warmup, steps) = (warmup as f64, steps as f64);
        // SAFETY: both addresses are those of one value.
        unsafe {
            launch!(
                self.device()?,
                "tick",
                [1, 1],
                step,
                rate,
                to,
                set,
                peak,
                warmup,
                from,
                floor,
                steps,
                beta1,
                beta2
            );
        }
        Ok(())
    }

    /// Returns a generator whose draws use the step that the clock shows when they are made, and which returns that
    /// step.
    pub fn generator(&self) -> Arc<dyn Generator> {
        Arc::new(OnDevice { device: self.device.clone(), clock: Some(self.clone()) })
    }

    pub(super) fn device(&self) -> Result<&CudaDevice> {
        self.device.as_cuda_device()
    }

    /// Returns Adam's step size for the next update, `[1]`.
    pub(crate) fn step_size(&self) -> &Tensor {
        &self.rate
    }
}

/// Returns a generator of draws on a device, or `None` if the device has no kernels for it.
pub fn generator(device: &Device) -> Option<Arc<dyn Generator>> {
    device.is_cuda().then(|| Arc::new(OnDevice { device: device.clone(), clock: None }) as Arc<dyn Generator>)
}

/// A generator of draws on the device, at the step that is asked for or, with a clock, at the step that it shows.
#[derive(Debug)]
struct OnDevice {
    device: Device,
    clock: Option<Clock>,
}

impl Generator for OnDevice {
    fn draw(&self, what: Draw, position: DrawPosition, shape: &Shape) -> Result<Tensor> {
        let device = self.device.as_cuda_device()?;
        let elements = shape.elem_count();
        let n = count(elements)?;
        let DrawPosition { seed, step, stream } = position;
        let clock = self.clock.as_ref().filter(|_| matches!(step, DrawStep::Counted(_)));
        let step = step.number();
        let clock = clock.map_or(Ok(0), |clock| address::<i64>(&clock.step))?;
        // SAFETY: the memory has room for `n` values, and the clock's address is null or that of one value.
        unsafe {
            match what {
                Draw::Uniform => {
                    let (out, to) = memory::<f32>(device, elements)?;
                    let grid = blocks(elements.div_ceil(4));
                    launch!(device, "draw_uniform", [grid, 1], to, n, seed, stream, step, clock);
                    Ok(tensor(device, out, shape))
                }
                Draw::Normal => {
                    let (out, to) = memory::<f32>(device, elements)?;
                    let grid = blocks(elements.div_ceil(4));
                    launch!(device, "draw_normal", [grid, 1], to, n, seed, stream, step, clock);
                    Ok(tensor(device, out, shape))
                }
                Draw::UniformF64 => {
                    let (out, to) = memory::<f64>(device, elements)?;
                    let grid = blocks(elements.div_ceil(2));
                    launch!(device, "draw_uniform_f64", [grid, 1], to, n, seed, stream, step, clock);
                    Ok(tensor(device, out, shape))
                }
            }
        }
    }

    fn step(&self, step: DrawStep) -> Result<Tensor> {
        match (&self.clock, step) {
            (Some(clock), DrawStep::Counted(_)) => clock.step.to_dtype(DType::F32)?.reshape(()),
            (_, step) => Tensor::new(step.number() as f32, &self.device),
        }
    }
}

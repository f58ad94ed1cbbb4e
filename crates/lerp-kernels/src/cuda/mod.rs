//! The fused kernels for NVIDIA GPUs, in `f32`.
//!
//! Convolutions are computed by cuDNN, channels last (`conv.rs`), matrix products by cuBLAS through candle, and
//! everything else by small kernels of this crate (`kernels.cu`), which nvcc compiles at build time. A whole training
//! step can be captured as a CUDA graph and launched at once ([`CapturedGraph`]); the step's number is then kept on the
//! device ([`Clock`]).
//!
//! Every device opened here has its own stream and does all work on it, in order. So candle's event tracking, which
//! cannot be part of a graph capture, is switched off.
#![allow(unsafe_code)]

mod capture;
mod chain;
mod clock;
mod conv;
mod lines;
mod loader;
mod loss;
mod optim;
mod resize;

use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{
    CudaDevice, CudaStorage, Device, Layout, Result, Shape, Storage, Tensor,
    cuda_backend::{
        CudaDType, DeviceId,
        cudarc::driver::{
            CudaContext, CudaSlice, CudaView, DevicePtr, DeviceRepr, LaunchConfig, result, sys,
        },
    },
    op::BackpropOp,
};
use lerp_core::Precision;

pub use capture::{CapturedGraph, prepare_capture};
pub use clock::{Clock, generator};
pub use loader::load;

pub(crate) use chain::{chain, dense};
pub(crate) use lines::{draw_lines, line_labels};
pub(crate) use loss::{mean_cross_entropy, mean_squared_error};
pub(crate) use optim::adam_steps;
pub(crate) use resize::{downscale2, upscale2};

mod ptx {
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

/// The devices whose convolutions may round to TF32.
static TF32: Mutex<Vec<DeviceId>> = Mutex::new(Vec::new());

/// Opens the GPU of this number, with its own stream and the given precision.
///
/// # Errors
/// A sentence that names what is missing: a library, the driver or the GPU.
pub fn device(number: usize, precision: Precision) -> std::result::Result<Device, String> {
    load()?;
    let _lock = capture_lock();
    let count = CudaContext::device_count().map_err(|e| format!("the NVIDIA driver finds no GPU ({e})"))?;
    if number >= count as usize {
        let plural = if count == 1 { "" } else { "s" };
        return Err(format!("there is no CUDA device {number}; this machine has {count} device{plural}"));
    }
    let device = Device::new_cuda_with_stream(number).map_err(|e| first_line(&e))?;
    let cuda = device.as_cuda_device().map_err(|e| first_line(&e))?;
    // SAFETY: all work on tensors of this device is done on its one stream, in order.
    unsafe { cuda.disable_event_tracking() };
    keep_memory(cuda);
    if precision == Precision::Tf32 {
        TF32.lock().unwrap_or_else(PoisonError::into_inner).push(cuda.id());
    }
    Ok(device)
}

/// Returns the precision that a device was opened with, or full `f32` if it was not opened by [`device`].
pub fn precision(device: &CudaDevice) -> Precision {
    let rounding = TF32.lock().unwrap_or_else(PoisonError::into_inner);
    if rounding.contains(&device.id()) { Precision::Tf32 } else { Precision::F32 }
}

/// Returns the name of a GPU, such as `NVIDIA H200`, or `None` if the driver cannot be asked.
pub fn name(number: usize) -> Option<String> {
    load().ok()?;
    result::init().ok()?;
    let device = result::device::get(i32::try_from(number).ok()?).ok()?;
    result::device::get_name(device).ok()
}

/// Releases a device, with this thread's cuDNN handle and plans for it. Nothing else should still use the device: then
/// its handles are destroyed here, and not while another thread captures a graph.
pub fn release_device(device: Device) {
    let _lock = capture_lock();
    if let Ok(cuda) = device.as_cuda_device() {
        conv::forget(cuda);
        TF32.lock().unwrap_or_else(PoisonError::into_inner).retain(|id| *id != cuda.id());
    }
    drop(device);
}

/// Returns the lock that is held during graph capture, and during operations that wait for all streams of a GPU
/// (opening a device, destroying handles), which are errors while a stream is captured. One thread never needs it for
/// both, because nothing is opened during a capture.
fn capture_lock() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the driver's memory pool keep the memory of dropped tensors for later ones; by default the driver releases it
/// at every synchronisation.
fn keep_memory(device: &CudaDevice) {
    let (mut pool, mut all) = (std::ptr::null_mut(), u64::MAX);
    let number = device.cuda_stream().context().cu_device();
    // SAFETY: the driver writes the pool's handle, then reads one number. If it fails, allocation is only slower.
    unsafe {
        if sys::cuDeviceGetDefaultMemPool(&raw mut pool, number) == sys::CUresult::CUDA_SUCCESS {
            let what = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            let _ = sys::cuMemPoolSetAttribute(pool, what, (&raw mut all).cast());
        }
    }
}

/// Returns the first line of an error's message, without the backtrace.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// The number of threads of a block, in all kernels.
const THREADS: u32 = 256;

/// Returns the number of blocks for a kernel that loops over `n` elements.
fn blocks(n: usize) -> u32 {
    n.div_ceil(THREADS as usize).clamp(1, 2048) as u32
}

fn config(x: u32, y: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (x, y, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

/// Launches a kernel of `kernels.cu` over a grid of `$x` by `$y` blocks. Arguments are passed unchanged: they must have
/// the types of the kernel's parameters, and addresses are `u64`.
///
/// # Safety
/// Addresses must point to memory on this device that is large enough for the kernel.
macro_rules! launch {
    ($device:expr, $kernel:literal, [$x:expr, $y:expr], $($argument:expr),+ $(,)?) => {{
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
        let device: &candle_core::CudaDevice = $device;
        let function = device.get_or_load_custom_func($kernel, "lerp", super::ptx::KERNELS)?;
        let mut builder = function.builder();
        candle_core::builder_arg!(builder, $($argument),+);
        builder.launch(super::config($x, $y)).map_err(candle_core::Error::wrap)?;
    }};
}
use launch;

/// Returns where the values of a contiguous tensor begin and end in its storage.
fn offsets(layout: &Layout) -> Result<(usize, usize)> {
    match layout.contiguous_offsets() {
        Some(offsets) => Ok(offsets),
        None => candle_core::bail!("a fused operation was given a tensor that is not contiguous"),
    }
}

/// Returns the contiguous values of a storage.
fn view<'a, T: CudaDType>(storage: &'a Storage, layout: &Layout) -> Result<CudaView<'a, T>> {
    let Storage::Cuda(storage) = storage else {
        candle_core::bail!("a fused operation was given a tensor of another device");
    };
    let (start, end) = offsets(layout)?;
    Ok(storage.as_cuda_slice::<T>()?.slice(start..end))
}

/// Returns the device address of a contiguous tensor's first value.
fn address<T: CudaDType>(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let view = view::<T>(&storage, layout)?;
    let stream = tensor.device().as_cuda_device()?.cuda_stream();
    Ok(view.device_ptr(&stream).0)
}

/// Returns the device address of a contiguous tensor's first value, given its storage and layout.
fn address_in<T: CudaDType>(storage: &CudaStorage, layout: &Layout) -> Result<u64> {
    let (start, _) = offsets(layout)?;
    let slice = storage.as_cuda_slice::<T>()?.slice(start..);
    Ok(slice.device_ptr(&storage.device.cuda_stream()).0)
}

/// Allocates uninitialised memory for `n` values; returns it with its device address.
fn memory<T: CudaDType + DeviceRepr>(device: &CudaDevice, n: usize) -> Result<(CudaSlice<T>, u64)> {
    // SAFETY: every kernel here writes its whole result before anything reads it.
    let slice = unsafe { device.alloc::<T>(n)? };
    let address = slice.device_ptr(&device.cuda_stream()).0;
    Ok((slice, address))
}

/// Wraps memory that a kernel has written, or that a launched kernel will have written, as a tensor.
fn tensor<T: CudaDType>(device: &CudaDevice, slice: CudaSlice<T>, shape: impl Into<Shape>) -> Tensor {
    let storage = CudaStorage::wrap_cuda_slice(slice, device.clone());
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// Returns a number of elements as `u32`, or an error if it exceeds `i32::MAX`, so that the kernels' 32-bit index
/// arithmetic does not overflow.
fn count(n: usize) -> Result<u32> {
    match i32::try_from(n) {
        Ok(n) => Ok(n as u32),
        Err(_) => candle_core::bail!(
            "a tensor of {n} values is too large for the CUDA kernels; take a smaller batch"
        ),
    }
}

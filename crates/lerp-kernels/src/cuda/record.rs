//! A training step recorded as a CUDA graph: one launch in place of some hundred.

use candle_core::{
    Error, Result,
    cuda_backend::cudarc::driver::{
        CudaGraph,
        sys::{CUgraphInstantiate_flags, CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL},
    },
};

use super::Clock;

/// Work recorded on a device, to be launched again and again, by the thread that recorded it: what [`preparing`] keeps on
/// the device belongs to the thread.
pub struct Recording {
    graph: CudaGraph,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}

/// Runs `f` so that its small uploads (sizes and strides for candle's kernels) are kept on the device for a recording of the
/// same work.
pub fn preparing<T>(clock: &Clock, f: impl FnOnce() -> T) -> T {
    let _kept = clock.device().map(candle_core::CudaDevice::enable_cuda_graph_htod_cache);
    f()
}

impl Recording {
    /// Records what `f` launches on the clock's device, without running it. `f` must have run once within [`preparing`], may
    /// not read from the device, and must drop every tensor that it makes and none that was there before.
    ///
    /// # Errors
    /// If `f` fails, or does what cannot be recorded.
    pub fn new(clock: &Clock, f: impl FnOnce() -> Result<()>) -> Result<Self> {
        let device = clock.device()?;
        let stream = device.cuda_stream();
        let _quiet = super::quiet();
        stream.begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).map_err(Error::wrap)?;
        let done = preparing(clock, f);
        // Also after a failure: the stream must leave the state in which it records.
        let graph =
            stream.end_capture(CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH);
        // What was freed where it may not be shows only here.
        let freed = stream.context().check_err();
        done?;
        freed.map_err(Error::wrap)?;
        match graph.map_err(Error::wrap)? {
            Some(graph) => Ok(Self { graph }),
            None => candle_core::bail!("the recording is empty"),
        }
    }

    /// Launches the recorded work; it does not wait for it.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn launch(&self) -> Result<()> {
        self.graph.launch().map_err(Error::wrap)
    }
}

//! A training step captured as a CUDA graph, which replaces some hundred launches by one.

use candle_core::{
    Error, Result,
    cuda_backend::cudarc::driver::{
        CudaGraph,
        sys::{CUgraphInstantiate_flags, CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL},
    },
};

use super::Clock;

/// A captured CUDA graph, which can be launched repeatedly, but only by the thread that captured it: the uploads that
/// [`prepare_capture`] keeps on the device belong to that thread.
pub struct CapturedGraph {
    graph: CudaGraph,
}

impl std::fmt::Debug for CapturedGraph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CapturedGraph").finish_non_exhaustive()
    }
}

/// Runs `f` and keeps its small uploads (sizes and strides for candle's kernels) on the device, for a later graph
/// capture of the same work.
pub fn prepare_capture<T>(clock: &Clock, f: impl FnOnce() -> T) -> T {
    let _kept = clock.device().map(candle_core::CudaDevice::enable_cuda_graph_htod_cache);
    f()
}

impl CapturedGraph {
    /// Captures what `f` launches on the clock's device, without running it. `f` must have run once within
    /// [`prepare_capture`], may not read from the device, and must drop every tensor that it creates and none that
    /// existed before.
    ///
    /// # Errors
    /// If `f` fails, or does something that cannot be captured.
    pub fn capture(clock: &Clock, f: impl FnOnce() -> Result<()>) -> Result<Self> {
        let device = clock.device()?;
        let stream = device.cuda_stream();
        let _lock = super::capture_lock();
        stream.begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).map_err(Error::wrap)?;
        let done = prepare_capture(clock, f);
        // The capture is ended even if `f` failed, so that the stream can be used again.
        let graph =
            stream.end_capture(CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH);
        // An error in freeing memory during the capture is only reported here.
        let freed = stream.context().check_err();
        done?;
        freed.map_err(Error::wrap)?;
        match graph.map_err(Error::wrap)? {
            Some(graph) => Ok(Self { graph }),
            None => {
                candle_core::bail!("the captured graph is empty: nothing was launched during the capture")
            }
        }
    }

    /// Launches the captured work, without waiting for it.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn launch(&self) -> Result<()> {
        self.graph.launch().map_err(Error::wrap)
    }
}

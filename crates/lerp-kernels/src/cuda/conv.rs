//! Convolutions computed by cuDNN, channels last.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use candle_core::{
    CudaDevice, Error, Result, Tensor,
    cuda_backend::{
        DeviceId,
        cudarc::{
            cudnn::{
                ConvBackwardData, ConvBackwardFilter, ConvDescriptor, ConvForward, Cudnn, CudnnError,
                FilterDescriptor, TensorDescriptor,
                sys::{
                    cudnnConvolutionBwdDataAlgo_t as DataAlgorithm,
                    cudnnConvolutionBwdFilterAlgo_t as FilterAlgorithm,
                    cudnnConvolutionFwdAlgo_t as Algorithm,
                    cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
                    cudnnMathType_t::{CUDNN_DEFAULT_MATH, CUDNN_FMA_MATH},
                    cudnnTensorFormat_t::CUDNN_TENSOR_NHWC,
                },
            },
            driver::{CudaSlice, CudaView},
        },
    },
};

use lerp_core::Precision;

use super::{memory, precision, tensor, view};
use crate::{Purpose, notice};

/// Algorithms in the order of preference. Those whose gradients are not deterministic come last.
const FORWARD: [Algorithm; 2] = [
    Algorithm::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
    Algorithm::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
];
const DATA: [DataAlgorithm; 2] =
    [DataAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, DataAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_0];
const FILTER: [FilterAlgorithm; 2] = [
    FilterAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
    FilterAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0,
];

/// The shape of a convolution, which determines its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    pub cin: usize,
    pub cout: usize,
    pub k: usize,
}

/// cuDNN's descriptors and algorithms for one convolution with stride 1 and padding that keeps the size. Kernels have
/// the layout `[out, k, k, in]`.
///
/// Each algorithm, with the size of its workspace in bytes, is the first of a fixed list that cuDNN supports for the
/// shape, because a resumed run must use the same algorithms.
pub(super) struct Plan {
    shape: Shape,
    device: CudaDevice,
    convolution: ConvDescriptor<f32>,
    x: TensorDescriptor<f32>,
    y: TensorDescriptor<f32>,
    w: FilterDescriptor<f32>,
    forward: OnceCell<(Algorithm, usize)>,
    data: OnceCell<(DataAlgorithm, usize)>,
    filter: OnceCell<(FilterAlgorithm, usize)>,
    workspace: Rc<RefCell<Workspaces>>,
}

/// The workspaces of cuDNN. A workspace is kept after a larger one replaces it, because captured graphs still use it.
#[derive(Default)]
struct Workspaces(Vec<CudaSlice<u8>>);

impl Workspaces {
    /// Returns a workspace of at least `bytes` bytes, or `None` for 0 bytes.
    fn at_least(&mut self, device: &CudaDevice, bytes: usize) -> Result<Option<&mut CudaSlice<u8>>> {
        if bytes == 0 {
            return Ok(None);
        }
        if self.0.last().is_none_or(|last| last.len() < bytes) {
            self.0.push(memory::<u8>(device, bytes)?.0);
        }
        Ok(self.0.last_mut())
    }
}

/// A cuDNN handle for one device and thread, with the plans made so far, all in the device's precision.
struct Engine {
    cudnn: Arc<Cudnn>,
    plans: HashMap<Shape, Rc<Plan>>,
    workspace: Rc<RefCell<Workspaces>>,
}

thread_local! {
    // A cuDNN handle belongs to a thread.
    static ENGINES: RefCell<HashMap<DeviceId, Engine>> = RefCell::default();
}

/// Returns the plan for a convolution of this shape.
pub(super) fn plan(device: &CudaDevice, shape: Shape) -> Result<Rc<Plan>> {
    ENGINES.with_borrow_mut(|engines| {
        let engine = match engines.entry(device.id()) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let cudnn = Cudnn::new(device.cuda_stream()).map_err(failed("cuDNN cannot be started"))?;
                entry.insert(Engine { cudnn, plans: HashMap::new(), workspace: Rc::default() })
            }
        };
        if let Some(plan) = engine.plans.get(&shape) {
            return Ok(plan.clone());
        }
        let plan = Plan::new(device, &engine.cudnn, shape, engine.workspace.clone());
        let plan = Rc::new(plan?);
        engine.plans.insert(shape, plan.clone());
        Ok(plan)
    })
}

/// Drops this thread's cuDNN handle and plans for a device.
pub(super) fn forget(device: &CudaDevice) {
    let engine = ENGINES.with_borrow_mut(|engines| engines.remove(&device.id()));
    drop(engine);
}

fn failed(what: &'static str) -> impl Fn(CudnnError) -> Error {
    move |error| Error::Msg(format!("{what}: {error}")).bt()
}

impl Plan {
    fn new(
        device: &CudaDevice,
        cudnn: &Arc<Cudnn>,
        shape: Shape,
        workspace: Rc<RefCell<Workspaces>>,
    ) -> Result<Self> {
        let lacking = failed("cuDNN has no convolution of this kind");
        let Shape { batch, height, width, cin, cout, k } = shape;
        let [n, h, w, ci, co, k] = [batch, height, width, cin, cout, k].map(|v| v as i32);
        let mut convolution = cudnn
            .create_conv2d::<f32>([k / 2, k / 2], [1, 1], [1, 1], CUDNN_CROSS_CORRELATION)
            .map_err(&lacking)?;
        let math = match precision(device) {
            Precision::Tf32 => CUDNN_DEFAULT_MATH,
            Precision::F32 => CUDNN_FMA_MATH,
        };
        convolution.set_math_type(math).map_err(&lacking)?;
        let x = cudnn.create_4d_tensor::<f32>(CUDNN_TENSOR_NHWC, [n, ci, h, w]).map_err(&lacking)?;
        let y = cudnn.create_4d_tensor::<f32>(CUDNN_TENSOR_NHWC, [n, co, h, w]).map_err(&lacking)?;
        let w = cudnn.create_4d_filter::<f32>(CUDNN_TENSOR_NHWC, [co, ci, k, k]).map_err(&lacking)?;
        let device = device.clone();
        let (forward, data, filter) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Ok(Self { shape, device, convolution, x, y, w, forward, data, filter, workspace })
    }

    /// Chooses the algorithms of the forward pass and, for [`Purpose::Training`], of both gradients.
    pub fn choose(&self, purpose: Purpose) -> Result<()> {
        if self.forward.get().is_none() {
            let op = ConvForward { conv: &self.convolution, x: &self.x, w: &self.w, y: &self.y };
            let mut trial = Trial::new(self)?;
            let found = first_of(FORWARD, |algorithm| {
                trial.run(op.get_workspace_size(algorithm), |workspace, x, w, y| {
                    // SAFETY: all three have the shapes of the descriptors.
                    unsafe { op.launch(algorithm, workspace, (1.0, 0.0), &*x, &*w, y) }
                })
            })?;
            let _ = self.forward.set(found);
        }
        if purpose == Purpose::Training && self.filter.get().is_none() {
            let mut trial = Trial::new(self)?;
            let op = ConvBackwardData { conv: &self.convolution, dx: &self.x, w: &self.w, dy: &self.y };
            let data = first_of(DATA, |algorithm| {
                trial.run(op.get_workspace_size(algorithm), |workspace, x, w, y| {
                    // SAFETY: all three have the shapes of the descriptors.
                    unsafe { op.launch(algorithm, workspace, (1.0, 0.0), x, &*w, &*y) }
                })
            })?;
            let op = ConvBackwardFilter { conv: &self.convolution, x: &self.x, dw: &self.w, dy: &self.y };
            let filter = first_of(FILTER, |algorithm| {
                trial.run(op.get_workspace_size(algorithm), |workspace, x, w, y| {
                    // SAFETY: all three have the shapes of the descriptors.
                    unsafe { op.launch(algorithm, workspace, (1.0, 0.0), &*x, w, &*y) }
                })
            })?;
            if data.0 != DATA[0] || filter.0 != FILTER[0] {
                notice(
                    "cuDNN can sum the gradients of a convolution only in an order that varies: a resumed run will not \
                     have the same bits as an uninterrupted one",
                );
            }
            let _ = (self.data.set(data), self.filter.set(filter));
        }
        Ok(())
    }

    /// # Shapes
    /// `x` `[batch, height, width, in]`, `w` `[out, k, k, in]`; result `[batch, height, width, out]`.
    pub fn forward(&self, x: &Tensor, w: &Tensor) -> Result<Tensor> {
        let Shape { batch, height, width, cout, .. } = self.shape;
        let shape = (batch, height, width, cout);
        self.run(shape, x, w, |workspaces, x, w, out| {
            let op = ConvForward { conv: &self.convolution, x: &self.x, w: &self.w, y: &self.y };
            let (algorithm, bytes) = chosen(&self.forward)?;
            let workspace = workspaces.at_least(&self.device, bytes)?;
            // SAFETY: all three have the shapes of the descriptors.
            unsafe { op.launch(algorithm, workspace, (1.0, 0.0), x, w, out) }
                .map_err(failed("a convolution failed"))
        })
    }

    /// Computes the gradient of the input.
    ///
    /// # Shapes
    /// `dy` `[batch, height, width, out]`, `w` `[out, k, k, in]`; result `[batch, height, width, in]`.
    pub fn backward_data(&self, dy: &Tensor, w: &Tensor) -> Result<Tensor> {
        let Shape { batch, height, width, cin, .. } = self.shape;
        let shape = (batch, height, width, cin);
        self.run(shape, dy, w, |workspaces, dy, w, out| {
            let op = ConvBackwardData { conv: &self.convolution, dx: &self.x, w: &self.w, dy: &self.y };
            let (algorithm, bytes) = chosen(&self.data)?;
            let workspace = workspaces.at_least(&self.device, bytes)?;
            // SAFETY: all three have the shapes of the descriptors.
            unsafe { op.launch(algorithm, workspace, (1.0, 0.0), out, w, dy) }
                .map_err(failed("a convolution's gradient failed"))
        })
    }

    /// Computes the gradient of the kernels.
    ///
    /// # Shapes
    /// `x` `[batch, height, width, in]`, `dy` `[batch, height, width, out]`; result `[out, k, k, in]`.
    pub fn backward_filter(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let Shape { cin, cout, k, .. } = self.shape;
        self.run((cout, k, k, cin), x, dy, |workspaces, x, dy, out| {
            let op = ConvBackwardFilter { conv: &self.convolution, x: &self.x, dw: &self.w, dy: &self.y };
            let (algorithm, bytes) = chosen(&self.filter)?;
            let workspace = workspaces.at_least(&self.device, bytes)?;
            // SAFETY: all three have the shapes of the descriptors.
            unsafe { op.launch(algorithm, workspace, (1.0, 0.0), x, out, dy) }
                .map_err(failed("a gradient of kernels failed"))
        })
    }

    /// Runs one of the three operations on two contiguous tensors and newly allocated memory for the result.
    fn run(
        &self,
        shape: (usize, usize, usize, usize),
        a: &Tensor,
        b: &Tensor,
        op: impl FnOnce(
            &mut Workspaces,
            &CudaView<'_, f32>,
            &CudaView<'_, f32>,
            &mut CudaSlice<f32>,
        ) -> Result<()>,
    ) -> Result<Tensor> {
        let (mut out, _) = memory::<f32>(&self.device, shape.0 * shape.1 * shape.2 * shape.3)?;
        let ((a, la), (b, lb)) = (a.storage_and_layout(), b.storage_and_layout());
        let (a, b) = (view::<f32>(&a, la)?, view::<f32>(&b, lb)?);
        op(&mut self.workspace.borrow_mut(), &a, &b, &mut out)?;
        Ok(tensor(&self.device, out, shape))
    }
}

/// Memory for trying out algorithms.
struct Trial {
    device: CudaDevice,
    workspace: Rc<RefCell<Workspaces>>,
    x: CudaSlice<f32>,
    w: CudaSlice<f32>,
    y: CudaSlice<f32>,
}

impl Trial {
    /// Allocates memory of the right sizes. An algorithm must be run to be tested, because a missing kernel may be
    /// reported only then.
    fn new(plan: &Plan) -> Result<Self> {
        let (device, workspace) = (&plan.device, plan.workspace.clone());
        let Shape { batch, height, width, cin, cout, k } = plan.shape;
        let zeros = |n| device.alloc_zeros::<f32>(n);
        let pixels = batch * height * width;
        let (x, w, y) = (zeros(pixels * cin)?, zeros(cout * k * k * cin)?, zeros(pixels * cout)?);
        Ok(Self { device: device.clone(), workspace, x, w, y })
    }

    /// Returns the workspace's `size`, if cuDNN reports one and the operation runs.
    fn run(
        &mut self,
        size: std::result::Result<usize, CudnnError>,
        op: impl FnOnce(
            Option<&mut CudaSlice<u8>>,
            &mut CudaSlice<f32>,
            &mut CudaSlice<f32>,
            &mut CudaSlice<f32>,
        ) -> std::result::Result<(), CudnnError>,
    ) -> Result<usize> {
        let lacking = failed("cuDNN has no convolution of this kind");
        let bytes = size.map_err(&lacking)?;
        let mut workspaces = self.workspace.borrow_mut();
        let workspace = workspaces.at_least(&self.device, bytes)?;
        op(workspace, &mut self.x, &mut self.w, &mut self.y).map_err(&lacking)?;
        Ok(bytes)
    }
}

/// Returns the chosen algorithm and the size of its workspace in bytes.
fn chosen<A: Copy>(algorithm: &OnceCell<(A, usize)>) -> Result<(A, usize)> {
    match algorithm.get() {
        Some(chosen) => Ok(*chosen),
        None => candle_core::bail!("a convolution runs before its algorithm was chosen"),
    }
}

/// Returns the first algorithm that works, and the size of its workspace in bytes.
fn first_of<A: Copy, const N: usize>(
    algorithms: [A; N],
    mut works: impl FnMut(A) -> Result<usize>,
) -> Result<(A, usize)> {
    let mut last = None;
    for algorithm in algorithms {
        match works(algorithm) {
            Ok(bytes) => return Ok((algorithm, bytes)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::Msg("cuDNN has no algorithms".into())))
}

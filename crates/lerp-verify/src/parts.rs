//! Checks of the single-layer classifier, Adam, and the VQ-VAE's bottleneck on its own.

use candle_core::{D, DType, Device, Tensor, Var};
use lerp_core::{Autoencoder, Build, Carry, ImageShape, Model, Network};
use lerp_eval::classifier;
use lerp_kernels::{Adam, Moments, UpdateNumber, adam_steps, dense, gradients};
use lerp_nn::mean_squared_error;
use lerp_vqvae::{Config, INDICES, VECTORS, VqVae};

use crate::{
    Result,
    checker::{Checker, Measure},
    golden::{File, Golden, numbers, to_ours},
};

/// Kind of most values of this module in the manifest's tolerances.
const KIND: &str = "classifier / vq_bottleneck";

/// Checks the values of the file `classifier_adam`: loss and gradients of the classifier, its learning-rate schedule,
/// and Adam.
pub fn classifier_and_adam(checker: &mut Checker, file: &File, device: &Device) -> Result<()> {
    for (case, smoothing) in [("plain", 0.0), ("smoothed", 0.1)] {
        let get =
            |name: &str| -> Result<_> { Ok(to_ours(name, file.get(&format!("{case}.{name}"))?, device)?) };
        let (weight, bias) = (Var::from_tensor(&get("weight")?)?, Var::from_tensor(&get("bias")?)?);
        let logits = dense(&get("x")?.flatten_from(1)?, &weight, &bias)?;
        let labels = get("label")?.argmax(D::Minus1)?;
        let loss = classifier::loss(&logits, &labels, smoothing)?;
        let grads = gradients(&loss)?;
        let grad = |var: &Var| grads.get(var).map_or_else(|| var.zeros_like(), |g| Ok(g.clone()));
        for (name, ours) in [
            ("loss_per_example", classifier::per_example(&logits, &labels, smoothing)?),
            ("loss", loss.unsqueeze(0)?),
            ("grad_weight", grad(&weight)?),
            ("grad_bias", grad(&bias)?),
        ] {
            checker.tensor(file, &format!("{case}.{name}"), &ours, KIND, Measure::RelativeToLargest)?;
        }
        let name = format!("{case}.argmax");
        checker.tensor(
            file,
            &name,
            &logits.argmax(D::Minus1)?,
            "*_indices*, argmax, labels",
            Measure::Exact,
        )?;
    }

    let rates: Vec<f64> =
        file.numbers("lr_schedule.step")?.iter().map(|s| classifier::learning_rate(*s as u64)).collect();
    let rates = Tensor::new(rates, &Device::Cpu)?;
    checker.tensor(file, "lr_schedule.lr", &rates, KIND, Measure::RelativeToLargest)?;

    let (start, grads) =
        (to_ours("", file.get("adam.param0")?, device)?, to_ours("", file.get("adam.grads")?, device)?);
    for rate in [0.0001, 0.01] {
        let steps = |start: &Tensor| -> Result<Tensor> {
            let [param, m, v] = [start, &start.zeros_like()?, &start.zeros_like()?].map(Var::from_tensor);
            let (param, m, v) = (param?, m?, v?);
            let mut after = Vec::new();
            for step in 0..grads.dim(0)? {
                let moments = Moments { param: &param, grad: &grads.get(step)?, m: &m, v: &v };
                let number = UpdateNumber::Given(step as u64 + 1);
                adam_steps(&[moments], rate, number, &Adam::default())?;
                after.push(param.as_tensor().copy()?);
            }
            Ok(Tensor::stack(&after, 0)?)
        };
        let name = format!("adam_lr{rate}.param");
        checker.tensor(file, &name, &steps(&start)?, KIND, Measure::RelativeToLargest)?;
        let name = format!("adam_lr{rate}.cumulative_update");
        let moved = steps(&start.zeros_like()?)?;
        checker.tensor(file, &name, &moved, "adam_*.cumulative_update", Measure::RelativePerElement)?;
    }
    Ok(())
}

/// Checks the values of the file `vq_bottleneck`: quantisation and the layers after it, with their gradient, and the
/// updates of the codebook.
pub fn vq_bottleneck(checker: &mut Checker, golden: &Golden, file: &File, device: &Device) -> Result<()> {
    let (codes, dims) = file.get("means0")?.dims2()?;
    let (wide, filter) = file.get("vch2.weight")?.dims2()?;
    let settings = &golden.manifest.hyper;
    let config = Config {
        beta: settings.vq_beta,
        codes,
        vectors: wide / dims,
        filter,
        decay: settings.vq_decay,
        epsilon: settings.vq_epsilon,
        ..Config::default()
    };
    let (beta, hyper) = (config.beta, lerp_core::Hyper::new());
    // The latent has a single position, so that the bottleneck has the same width as in the golden values.
    let build = Build {
        image: ImageShape { height: 2, width: 2, channels: 1 },
        network: &Network { scales: 1, depth: 1, latent: dims }.into(),
        hyper: &hyper,
        seed: 0,
        dtype: DType::F32,
        device,
    };
    let model = VqVae::new(config, &build)?;
    let get = |name: &str| -> Result<_> { Ok(to_ours(name, file.get(name)?, device)?) };
    for (ours, theirs) in [
        ("vq.means", "means0"),
        ("vq.ema_count", "ema_count0"),
        ("vq.ema_means", "ema_means0"),
        ("vq.vch2.weight", "vch2.weight"),
        ("vq.vch2.bias", "vch2.bias"),
        ("vq.vcfin.weight", "vcfin.weight"),
        ("vq.vcfin.bias", "vcfin.bias"),
    ] {
        model.params().set(ours, &get(theirs)?)?;
    }
    for step in 0..golden.manifest.steps {
        let x = Var::from_tensor(&get(&format!("x.step{step}"))?)?;
        let bottleneck = model.after_projection(&x)?;
        let quantised = bottleneck.quantised;
        let loss = (mean_squared_error(&quantised.vectors, &quantised.codes)? * beta)?;
        let grads = gradients(&(bottleneck.output.sum_all()? + &loss)?)?;
        let grad = grads.get(&x).map_or_else(|| x.zeros_like(), |g| Ok(g.clone()))?;
        let name = |what: &str| format!("{what}.step{step}");
        let kind = "*_indices*, argmax, labels";
        checker.tensor(file, &name("indices"), &quantised.indices, kind, Measure::Exact)?;
        checker.tensor(file, &name("dense"), &bottleneck.output, KIND, Measure::RelativeToLargest)?;
        checker.number(file, &name("loss"), numbers(&loss)?[0], KIND, Measure::RelativeToLargest)?;
        checker.tensor(file, &name("grad_x"), &grad, KIND, Measure::RelativeToLargest)?;
        let carry = Carry::default().with(VECTORS, &quantised.vectors).with(INDICES, &quantised.indices);
        model.after_step(&carry)?;
        for (ours, theirs) in
            [("vq.means", "means"), ("vq.ema_count", "ema_count"), ("vq.ema_means", "ema_means")]
        {
            if let Some((_, var)) = model.params().entries().find(|(n, _)| *n == ours) {
                checker.tensor(file, &name(theirs), var.as_tensor(), KIND, Measure::RelativeToLargest)?;
            }
        }
    }
    Ok(())
}

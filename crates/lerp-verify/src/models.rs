//! Checks of losses, outputs, gradients and parameters of the seven variants over the recorded training steps.

use std::collections::BTreeMap;

use candle_core::{D, DType, Tensor};
use lerp_aae::Aae;
use lerp_acai::Acai;
use lerp_core::{Autoencoder, Build, Draws, Hyper, ImageShape, Model, Network, check_hyper, find_variant};
use lerp_data::Batch;
use lerp_denoising::Denoising;
use lerp_dropout::Dropout;
use lerp_train::Learner;
use lerp_vae::Vae;
use lerp_vqvae::{INDICES, VqVae};
use serde_json::json;

use crate::{
    Error, Result, VerifyOptions,
    checker::{Checker, Measure},
    golden::{File, Golden, numbers, to_ours},
    metrics::lines_of_step,
};

/// The check of one variant in one configuration.
struct Case<'a> {
    file: &'a File,
    common: &'a File,
    variant: &'a str,
    build: Build<'a>,
}

/// Checks the values of a file `NETWORK_VARIANT`.
pub fn model(
    checker: &mut Checker,
    golden: &Golden,
    file: &File,
    network: &str,
    variant: &str,
    options: &VerifyOptions,
) -> Result<()> {
    let common = golden.file(&format!("{network}_common"))?;
    let config = &golden.manifest.configs[network];
    let kind = find_variant(options.variants, variant)?;
    let hyper = kind.check(&hyper(golden, variant))?;
    let build = Build {
        image: ImageShape { height: config.hw, width: config.hw, channels: config.colors },
        network: &Network { scales: config.scales, depth: config.depth, latent: config.latent }.into(),
        hyper: &hyper,
        seed: 0,
        dtype: DType::F32,
        device: &options.device,
    };
    let case = Case { file, common: &common, variant, build };
    let mut learner = Learner::new(kind.build(&build)?, config.nclass, 0, golden.manifest.hyper.lr)?;
    for (name, value) in case.initial()? {
        learner.set(&name, &value)?;
    }
    case.outputs(checker, &learner)?;
    for step in 0..golden.manifest.steps {
        if variant == "baseline" {
            lines_of_step(checker, &common, step, &format!("{network}_common"))?;
        }
        case.step(checker, &mut learner, step)?;
    }
    Ok(())
}

/// Returns the oracle's hyperparameters of `variant` under this program's names.
fn hyper(golden: &Golden, variant: &str) -> Hyper {
    let h = &golden.manifest.hyper;
    let value = match variant {
        "dropout" => json!({ "keep": h.dropout_keep }),
        "denoising" => json!({ "noise": h.noise_std }),
        "vae" => json!({ "beta": h.vae_beta }),
        "acai" => json!({ "advweight": h.advweight, "reg": h.reg }),
        "vqvae" => json!({
            "beta": h.vq_beta, "codes": 1_u64.checked_shl(h.vq_z_log_size).unwrap_or(0), "vectors": h.vq_num_latents,
            "filter": h.vq_filter_size, "decay": h.vq_decay, "epsilon": h.vq_epsilon,
        }),
        // The baseline has no hyperparameters. The manifest has none for the AAE, whose default equals the oracle's
        // value.
        _ => json!({}),
    };
    value.as_object().cloned().unwrap_or_default()
}

impl Case<'_> {
    /// Returns all parameters and buffers before step 0, in this program's layout.
    fn initial(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut all = BTreeMap::new();
        for file in [self.common, self.file] {
            for name in file.names("param0.") {
                let value = to_ours(name, file.get(&format!("param0.{name}"))?, self.build.device)?;
                all.insert(name.to_owned(), value);
            }
        }
        Ok(all)
    }

    /// Builds a model of the variant's concrete type with the learner's parameters, for outputs that the trait does not
    /// have.
    fn concrete<M: Model>(&self, learner: &Learner) -> Result<M> {
        let model = M::new(check_hyper(M::NAME, self.build.hyper)?, &self.build)?;
        for (name, value) in learner.model().params().entries() {
            model.params().set(name, value.as_tensor())?;
        }
        Ok(model)
    }

    fn batch(&self, step: u64) -> Result<Batch> {
        let get = |name: &str| self.common.get(&format!("{name}.step{step}"));
        Ok(Batch {
            images: to_ours("x", get("x")?, self.build.device)?,
            labels: Some(get("label")?.argmax(D::Minus1)?.to_device(self.build.device)?),
        })
    }

    /// Returns the random draws that the oracle recorded at `step`, under the names of this program's streams.
    fn draws(&self, step: u64) -> Result<Draws> {
        let mut streams = BTreeMap::new();
        for (theirs, ours) in [
            ("keep_uniform", "dropout"),
            ("noise", "noise"),
            ("eps", "vae"),
            ("prior", "prior"),
            ("alpha_raw", "alpha"),
        ] {
            if let Some(tensor) = self.file.find(&format!("draw.step{step}.{theirs}")) {
                let mut tensor = to_ours(theirs, tensor, self.build.device)?;
                if ours == "vae" {
                    tensor = tensor.flatten_from(1)?;
                }
                streams.insert(ours.to_owned(), tensor);
            }
        }
        Ok(Draws::replay(streams, self.build.device))
    }

    /// Compares all outputs under `out.`, computed with the parameters before step 0.
    fn outputs(&self, checker: &mut Checker, learner: &Learner) -> Result<()> {
        let (x, draws, model) = (self.batch(0)?.images, self.draws(0)?, learner.model());
        let h = to_ours("h", self.common.get("h")?, self.build.device)?;
        let z = model.encode(&x, &draws)?;
        let features = model.features(&x, &draws)?;
        let mut out = |name: &str, ours: &Tensor| {
            checker.tensor(self.file, &format!("out.{name}"), ours, "out.*", Measure::RelativeToLargest)
        };
        out("interp_latent", &z)?;
        // The VAE's `encode` draws a sample. The encoder's own output is the same as the classifier's input.
        let encoded = if self.variant == "vae" { features.reshape(z.shape())? } else { z.clone() };
        out("encode", &encoded)?;
        out("recon", &model.reconstruct(&x, &draws)?)?;
        out("decode_h", &model.decode(&h)?)?;
        out("cls_input", &features)?;
        let logits =
            learner.classify(&features)?.ok_or_else(|| Error::missing(self.variant, "classifier"))?;
        out("cls_logits", &logits)?;
        match self.variant {
            "dropout" => {
                let masked = self.concrete::<Dropout>(learner)?.drop(&z, &draws)?;
                out("encode_train", &masked)?;
                out("recon_train", &model.decode(&masked)?)?;
            }
            "denoising" => {
                let noisy =
                    model.encode(&self.concrete::<Denoising>(learner)?.corrupt(&x, &draws)?, &draws)?;
                out("encode_train", &noisy)?;
                out("recon_train", &model.decode(&noisy)?)?;
            }
            "vae" => {
                let vae: Vae = self.concrete(learner)?;
                let q = vae.posterior(&encoded)?;
                out("mu", &q.mean)?;
                out("logvar", &q.log_variance)?;
                out("logits", &vae.logits(&z)?)?;
            }
            "aae" => {
                let aae: Aae = self.concrete(learner)?;
                out("disc_latent", &aae.discriminator.forward(&z)?)?;
                out("disc_prior", &aae.discriminator.forward(&draws.normal("prior", z.shape())?)?)?;
            }
            "acai" => {
                let acai: Acai = self.concrete(learner)?;
                let mixture = acai.mixture(&z, &draws)?;
                let mixed = model.decode(&mixture.latent)?;
                out("encode_mix", &mixture.latent)?;
                out("decode_mix", &mixed)?;
                out("critic_mix", &acai.guess(&mixed)?)?;
                out("critic_real", &acai.guess(&acai.blend(&x, &model.decode(&z)?)?)?)?;
            }
            "vqvae" => {
                let bottleneck = self.concrete::<VqVae>(learner)?.bottleneck(&z)?;
                let vectors = &bottleneck.quantised.vectors;
                out("vq_proj", &vectors.reshape((x.dim(0)?, ()))?)?;
                out("vq_decoder_input", &bottleneck.output.reshape(z.shape())?)?;
                let codes = &bottleneck.quantised.indices;
                checker.tensor(
                    self.file,
                    "out.vq_indices",
                    codes,
                    "*_indices*, argmax, labels",
                    Measure::Exact,
                )?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes a training step and compares the losses before the update, the gradients (at step 0 only), and the
    /// parameters after the update.
    fn step(&self, checker: &mut Checker, learner: &mut Learner, step: u64) -> Result<()> {
        let (batch, draws) = (self.batch(step)?, self.draws(step)?);
        let gradients = learner.gradients(&batch, &draws)?;
        self.losses(checker, learner, &batch, &draws, &gradients.losses, step)?;
        self.folded_draws(checker, learner, &draws, step)?;
        if step == 0 {
            for (name, grad) in learner.names().zip(&gradients.grads) {
                if let Some(grad) = grad {
                    self.gradient(checker, name, grad)?;
                }
            }
        }
        if self.variant == "vqvae" {
            let codes = gradients.carry.get(INDICES)?;
            let name = format!("vq_indices.step{step}");
            checker.tensor(self.file, &name, codes, "*_indices*, argmax, labels", Measure::Exact)?;
        }
        learner.update(&gradients)?;
        let entries = learner.entries().map(|(name, var)| (name.to_owned(), var.clone()));
        for (name, var) in entries.collect::<Vec<_>>() {
            let recorded = format!("param{}.{name}", step + 1);
            let buffer = ["vq.means", "vq.ema_count", "vq.ema_means"].contains(&name.as_str());
            let (kind, measure) = if buffer {
                ("param*.vq.means/ema_count/ema_means", Measure::RelativeToLargest)
            } else {
                ("param1.*, param3.*", Measure::Quantile)
            };
            checker.tensor(self.file, &recorded, var.as_tensor(), kind, measure)?;
        }
        Ok(())
    }

    fn gradient(&self, checker: &mut Checker, name: &str, grad: &Tensor) -> Result<()> {
        let objective = match name.split('.').next() {
            Some("cls") => "grad_cls",
            Some("critic") => "grad_critic",
            _ => "grad_ae",
        };
        let recorded = format!("{objective}.{name}");
        let (kind, measure) = if self.variant == "aae" && name == "critic.dense2.bias" {
            ("grad_critic.critic.dense2.bias (aae)", Measure::Absolute)
        } else if self.file.stem == "lines_denoising" && name.starts_with("enc.") {
            ("grad_* exceptions", Measure::RelativeToLargest)
        } else {
            ("grad_*", Measure::RelativeToLargest)
        };
        checker.tensor(self.file, &recorded, grad, kind, measure)
    }

    /// Compares the values `loss.stepS.*` that the oracle reports with those computed from our losses and terms.
    fn losses(
        &self,
        checker: &mut Checker,
        learner: &Learner,
        batch: &Batch,
        draws: &Draws,
        ours: &[(String, Tensor)],
        step: u64,
    ) -> Result<()> {
        let find = |name: &str| -> Result<f64> {
            let found = ours.iter().find(|(n, _)| n == name);
            let (_, tensor) =
                found.ok_or_else(|| Error::missing(self.variant, format!("loss or term '{name}'")))?;
            Ok(numbers(tensor)?[0])
        };
        let mut loss = |name: &str, value: f64| {
            checker.number(self.file, &format!("loss.step{step}.{name}"), value, "loss.*", Measure::Relative)
        };
        let autoencoder = find("loss/autoencoder")?;
        loss("objective_ae", autoencoder)?;
        loss("loss", autoencoder)?;
        loss("objective_cls", find("loss/classifier")?)?;
        loss("classify_latent", find("loss/classifier")?)?;
        if let Ok(critic) = find("loss/critic") {
            loss("objective_critic", critic)?;
        }
        if let Ok(mse) = find("term/mse") {
            loss("loss_ae", mse)?;
            // The oracle reports the root mean squared error in grey levels from 0 to 255.
            loss("rmse", mse.sqrt() * 127.5)?;
        }
        match self.variant {
            "vae" => {
                loss("elbo", -autoencoder)?;
                loss("loss_kl", find("term/kl")?)?;
                loss("loss_ll", -find("term/nll")?)?;
            }
            "aae" => {
                loss("loss_ae_latent", find("term/fool")?)?;
                loss("loss_adv_latent", find("term/latent")?)?;
                loss("loss_adv_prior", find("term/prior")?)?;
                loss("adversary_accuracy", self.adversary_accuracy(learner, &batch.images, draws)?)?;
            }
            "acai" => {
                loss("loss_ae_disc", find("term/fooled")?)?;
                loss("loss_disc", find("term/alpha_error")?)?;
                loss("loss_disc_real", find("term/real")?)?;
            }
            "vqvae" => {
                let commitment = find("term/commitment")?;
                loss("e_loss", commitment)?;
                loss("vqvae_loss", commitment * self.build.hyper["beta"].as_f64().unwrap_or(f64::NAN))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the fraction of latents and draws from the prior that the AAE's discriminator classifies correctly.
    fn adversary_accuracy(&self, learner: &Learner, x: &Tensor, draws: &Draws) -> Result<f64> {
        let aae: Aae = self.concrete(learner)?;
        let z = aae.encode(x, draws)?;
        let latent = numbers(&aae.discriminator.forward(&z)?)?;
        let prior = numbers(&aae.discriminator.forward(&draws.normal("prior", z.shape())?)?)?;
        let right = latent.iter().filter(|l| **l < 0.0).count() + prior.iter().filter(|l| **l > 0.0).count();
        Ok(right as f64 / (latent.len() + prior.len()) as f64)
    }

    /// Compares values that variants derive from raw draws: dropout's mask, and ACAI's interpolation coefficient α
    /// folded to [0, 0.5].
    fn folded_draws(&self, checker: &mut Checker, learner: &Learner, draws: &Draws, step: u64) -> Result<()> {
        let batch = self.common.get(&format!("x.step{step}"))?.dim(0)?;
        let shape = &learner.model().spec().shape;
        let ones = Tensor::ones(shape.batch(batch), DType::F32, self.build.device)?;
        let (name, ours) = match self.variant {
            "dropout" => {
                let keep = self.build.hyper["keep"].as_f64().unwrap_or(f64::NAN);
                ("keep_mask", (self.concrete::<Dropout>(learner)?.drop(&ones, draws)? * keep)?)
            }
            "acai" => ("alpha_folded", self.concrete::<Acai>(learner)?.mixture(&ones, draws)?.alpha),
            _ => return Ok(()),
        };
        checker.tensor(
            self.file,
            &format!("draw.step{step}.{name}"),
            &ours,
            "out.*",
            Measure::RelativeToLargest,
        )
    }
}

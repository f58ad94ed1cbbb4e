//! The model card (`README.md`) of an exported model: description, configuration, results, limits, provenance, and how
//! to load it.

use lerp_core::{Hyper, ImageShape};
use lerp_data::{protocols, separate_option};
use lerp_eval::{When, final_value};
use lerp_report::text::{count, markdown, number, thousands, two_digits};
use lerp_train::{PROTOCOL_BATCH, PROTOCOL_RATE, PROTOCOL_SAMPLES, Provenance};

use crate::{
    Loaded, Result,
    config::{Config, Parameter},
    flat,
    model::CHECKED_IMAGES,
    plain,
};

/// The contents of a model card.
pub struct Card<'a> {
    /// The run of the model, with its metrics.
    pub loaded: &'a Loaded,
    /// The contents of `config.json`.
    pub config: &'a Config<'a>,
    /// The variant's default hyperparameters.
    pub protocol: Hyper,
    /// All tensors of the model.
    pub parameters: Vec<Parameter>,
    /// Whether `lerp_torch.py` implements the variant.
    pub in_torch: bool,
    /// Whether `check.safetensors` has outputs of a critic or discriminator.
    pub critic: bool,
    /// Source of a Rust program that loads the model.
    pub loading_example: &'a str,
}

impl Card<'_> {
    /// Returns the text of `README.md`.
    pub fn text(&self) -> Result<String> {
        let title = markdown(self.config.title);
        let parts = [
            self.front_matter()?,
            format!("# {title} on {}\n", markdown(&self.dataset())),
            self.description(),
            format!("## Configuration\n\n{}", self.configuration()?),
            format!("## Results\n\n{}", self.results()),
            format!("## Limits\n\n{}", self.limits()),
            format!("## Provenance\n\n{}", self.provenance()),
            self.loading(),
            format!("## Parameters\n\n{}", self.table_of_parameters()),
        ];
        Ok(parts.join("\n"))
    }

    /// Returns the dataset's title: the paper's name for it, or else the name in the configuration.
    fn dataset(&self) -> String {
        let name = &self.config.cell.dataset;
        let bare = separate_option(name).bare;
        protocols().find(|known| known.name == bare).map_or_else(|| name.clone(), |known| known.title.into())
    }

    /// Returns the name, final value and number of evaluations of each metric, in the order in which the metrics were
    /// first measured.
    fn final_values(&self) -> Vec<(&str, f64, usize)> {
        let metrics = &self.loaded.metrics;
        let mut names: Vec<&str> = Vec::new();
        for row in &metrics.0 {
            if !names.contains(&row.metric.as_str()) {
                names.push(&row.metric);
            }
        }
        let value = |name| {
            let values: Vec<f64> = metrics.series(name).map(|row| row.value).collect();
            (name, final_value(&values), values.len())
        };
        names.into_iter().map(value).collect()
    }

    /// Returns the YAML front matter that the Hugging Face hub reads.
    fn front_matter(&self) -> Result<String> {
        let cell = &self.config.cell;
        // A JSON string is also a valid YAML string.
        let quoted = |text: &str| serde_json::to_string(text);
        let mut lines = vec![
            "---".to_owned(),
            "# There is no licence here: whoever publishes the model chooses one.".into(),
            "library_name: candle".into(),
            "pipeline_tag: image-feature-extraction".into(),
            format!(
                "tags: [autoencoder, interpolation, representation-learning, lerpbench, \"arxiv:1807.07543\", {}]",
                quoted(&cell.variant)?
            ),
        ];
        let bare = separate_option(&cell.dataset).bare;
        if let Some(hub) = protocols().find(|known| known.name == bare).and_then(|known| known.hub) {
            lines.push(format!("datasets: [{hub}]"));
        }
        lines.extend([
            "model-index:".into(),
            format!("- name: {}", quoted(self.config.id)?),
            "  results:".into(),
            "  - task: {type: image-feature-extraction, name: Interpolation}".into(),
            format!("    dataset: {{type: {}, name: {}}}", quoted(&cell.dataset)?, quoted(&self.dataset())?),
            "    metrics:".into(),
        ]);
        for (name, value, _) in self.final_values() {
            // Undefined values cannot be written as YAML numbers, and counts are not metrics.
            let counts = ["images", "iterations", "converged"].iter().any(|end| name.ends_with(end));
            let measured = When::of(name).is_some();
            if value.is_finite() && measured && !counts {
                lines.push(format!("    - {{type: {}, value: {value}}}", quoted(name)?));
            }
        }
        lines.extend(["---".into(), String::new()]);
        Ok(lines.join("\n"))
    }

    fn description(&self) -> String {
        let ImageShape { height, width, channels } = self.config.image;
        let sizes = self.config.latent.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
        let about = description_of(&self.config.cell.variant).map_or_else(
            || "It is a variant of its author's own, trained and measured with Lerpbench.".to_owned(),
            |about| {
                format!(
                    "{about} Here e is the encoder, d the decoder, x an image and z a latent; the losses are means over \
                     the batch."
                )
            },
        );
        format!(
            "{about}\n\nImages are {height}x{width}x{channels} with values in [-1, 1], latents {sizes} ({} numbers). \
             Interpolations are decoded mixtures of two latents.\n\n{} with [Lerpbench]({}), which measures how well \
             autoencoders interpolate, after D. Berthelot, C. Raffel, A. Roy and I. Goodfellow, \"Understanding and \
             Improving Interpolation in Autoencoders via an Adversarial Regularizer\", ICLR 2019, \
             [arXiv:1807.07543](https://arxiv.org/abs/1807.07543).\n",
            self.config.latent.iter().product::<usize>(),
            if self.trained() { "Trained" } else { "Trained elsewhere, and measured" },
            env!("CARGO_PKG_REPOSITORY"),
        )
    }

    fn configuration(&self) -> Result<String> {
        let rows = flat(self.config.cell)?.into_iter().map(|(name, value)| (name, plain(&value)));
        Ok(table(["setting", "value"], rows))
    }

    fn results(&self) -> String {
        let Provenance { device, .. } = self.config.provenance;
        let cell = self.config.cell;
        let row =
            |(name, value, n): (&str, f64, usize)| format!("| {name} | {} | {n} |\n", four_digits(value));
        let rows: String = self.final_values().into_iter().map(row).collect();
        let when = if self.trained() {
            format!(
                "After {} samples, seed {}, on {device}: the median of the last evaluations of this one run; what begins \
                 with `final/` was measured once, at its end.",
                thousands(self.loaded.run.status.samples),
                cell.seed
            )
        } else {
            format!(
                "Of the imported weights, on {device}: one evaluation, with the draws of seed {}.",
                cell.seed
            )
        };
        format!(
            "{when} On lines a distance is the cosine distance of a decoded image to the nearest true line. NaN is what is undefined.\n\n\
             | metric | final value | evaluations |\n|---|---:|---:|\n{rows}"
        )
    }

    /// Whether this run trained the model, rather than scoring or importing one that was trained in other software.
    fn trained(&self) -> bool {
        self.config.cell.origin.is_trained()
    }

    /// Lists the differences between the training of this model and the paper's.
    fn limits_of_training(&self) -> Vec<String> {
        let cell = self.config.cell;
        if !self.trained() {
            let known = "Trained elsewhere: `config.json` says what its owner knows of that, and nobody has checked it.";
            return vec![known.to_owned()];
        }
        let mut limits = vec!["One run of one seed; the paper's numbers are of five.".to_owned()];
        if cell.samples < PROTOCOL_SAMPLES {
            limits.push(format!(
                "A short run: {} samples are {} % of the paper's {}.",
                thousands(cell.samples),
                number(two_digits(100.0 * cell.samples as f64 / PROTOCOL_SAMPLES as f64)),
                thousands(PROTOCOL_SAMPLES)
            ));
        }
        if (cell.learning_rate - PROTOCOL_RATE).abs() > 1e-12 {
            limits.push(format!(
                "Learning rate {} instead of the paper's {PROTOCOL_RATE}.",
                number(cell.learning_rate)
            ));
        }
        if !cell.schedule.is_constant() {
            limits.push(format!("Course of the learning rate: {}; the paper's is constant.", cell.schedule));
        }
        if let Some(decay) = cell.ema {
            limits.push(format!(
                "These are averaged weights (decay {}), not the trained ones, which the paper measures.",
                number(decay)
            ));
        }
        if cell.batch != PROTOCOL_BATCH {
            limits.push(format!("Batch {} instead of the paper's {PROTOCOL_BATCH}.", cell.batch));
        }
        limits
    }

    fn limits(&self) -> String {
        let cell = self.config.cell;
        let mut limits = self.limits_of_training();
        for (name, paper) in &self.protocol {
            if let Some(ours) = cell.hyper.get(name).filter(|ours| ours.as_f64() != paper.as_f64()) {
                limits.push(format!("{name} is {ours} instead of the default {paper}."));
            }
        }
        let bare = separate_option(&cell.dataset).bare;
        let known = protocols().find(|known| known.name == bare);
        if let (Some(known), Some(network)) = (known, cell.network.paper())
            && network.depth != known.network.depth
        {
            let (ours, paper) = (network.depth, known.network.depth);
            limits.push(format!("A network of depth {ours} instead of the paper's {paper}."));
        }
        limits.push("It knows images of this dataset and size only; decoded values are not clipped.".into());
        match cell.variant.as_str() {
            "vae" => limits.push(
                "Measured with samples of q(z|x) as latents; the code in PyTorch gives their mean.".into(),
            ),
            "vqvae" => limits.push(match cell.hyper.get("restart") {
                None => "As in the paper's code, codes that are never used are not restarted: few may be in use.".into(),
                Some(below) => format!(
                    "Codes whose moving count fell below {below} were replaced by vectors of the batch (random restarts), \
                     which the paper does not do."
                ),
            }),
            _ => {}
        }
        format!("* {}\n", limits.join("\n* "))
    }

    fn provenance(&self) -> String {
        let Provenance {
            version,
            git,
            device,
            processor,
            instructions,
            threads,
            candle,
            data,
            images,
            started,
            command,
        } = self.config.provenance;
        let id = self.config.id;
        let mut rows = vec![
            ("run", id.to_owned()),
            ("configuration hash", id.rsplit('-').next().unwrap_or(id).to_owned()),
            ("git revision", git.clone()),
            ("versions", format!("Lerpbench {version}, candle {candle}")),
            ("device", format!("{device}, {}", count(*threads, "thread"))),
            ("started", started.clone()),
            ("seconds of training and evaluation", format!("{:.0}", self.loaded.run.status.wall_s)),
            ("SHA-256 of the images", data.clone().unwrap_or_else(|| "drawn, none".into())),
        ];
        if !processor.is_empty() {
            rows.push(("processor", format!("{processor}, {instructions}")));
        }
        if let Some([train, test]) = images {
            rows.push(("images", format!("{train} to train, {test} to test")));
        }
        rows.push(("command that makes it again", command.clone()));
        table(["what", "value"], rows.into_iter().map(|(name, value)| (name.to_owned(), value)))
    }

    fn loading(&self) -> String {
        let torch = if self.in_torch {
            "`lerp_torch.py` beside this card is all of it (torch and safetensors):\n\n\
             ```python\n\
             from lerp_torch import load\n\n\
             model = load(\".\")             # this folder\n\
             z = model.encode(x)           # x: [n, channels, height, width] in [-1, 1]\n\
             halfway = model.decode(0.5 * (z[:1] + z[1:2]))\n\
             ```\n\n\
             `python lerp_torch.py` compares its outputs with those in `check.safetensors`.\n"
        } else {
            "This variant is none of the seven that Lerpbench comes with, so loading it in PyTorch needs code of its own. \
             `enc.*` and `dec.*` below are Lerpbench's encoder and decoder if the variant uses them; `lerp_torch.py` of \
             an export of one of the seven shows how these go.\n"
        };
        let critic = if self.critic { ", the critic's answers" } else { "" };
        format!(
            "## Load it in candle\n\nIn Lerpbench's workspace (`cargo run --release -p lerpbench --example load_model -- \
             FOLDER`), or anywhere with `lerpbench` and `lerp-core` as dependencies (the run's revision is {}):\n\n```rust\n{}```\n\n\
             ## Load it in PyTorch\n\n{torch}\n\
             ## Check it\n\n`check.safetensors` has {} images and what this model makes of them (latents{critic}, \
             features, reconstructions), and fixed latents `z` with their images `decoded`, in the layout of the \
             parameters. Nothing in it is random: of a VAE's latents it has the mean and the logarithm of the \
             variance.\n",
            self.config.provenance.git, self.loading_example, CHECKED_IMAGES
        )
    }

    fn table_of_parameters(&self) -> String {
        let numbers: usize = self.parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum();
        let row = |Parameter { name, shape, moved_by }: &Parameter| {
            format!("| `{name}` | {shape:?} | {} | {moved_by} |\n", layout(name, shape))
        };
        format!(
            "{} numbers, all `f32`. Images and latents are `[batch, height, width, channels]`; where a latent is flattened, \
             in that order.\n\n| name | shape | layout | moved by |\n|---|---|---|---|\n{}",
            thousands(numbers as u64),
            self.parameters.iter().map(row).collect::<String>()
        )
    }
}

/// Returns the meaning of a tensor's dimensions, in order.
fn layout(name: &str, shape: &[usize]) -> &'static str {
    match (name, shape.len()) {
        (_, 4) if name.ends_with(".weight") => "kernel height, kernel width, in, out",
        (_, 2) if name.ends_with(".weight") => "in, out",
        (_, 1) if name.rsplit('.').next() == Some("bias") => "out",
        ("vq.means", _) => "code, number",
        ("vq.ema_means", _) => "code, number; sums of the vectors of each code",
        ("vq.ema_count", _) => "code; vectors of each",
        _ => "",
    }
}

/// Returns a Markdown table with two columns.
fn table(heads: [&str; 2], rows: impl Iterator<Item = (String, String)>) -> String {
    let rows = rows.map(|(name, value)| format!("| {} | {} |\n", markdown(&name), markdown(&value)));
    format!("| {} | {} |\n|---|---|\n{}", heads[0], heads[1], rows.collect::<String>())
}

/// Formats a value with four significant digits.
fn four_digits(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || value == 0.0 {
        return number(value);
    }
    if (1e-3..1e6).contains(&size) {
        let decimals = (3.0 - size.log10().floor()).max(0.0) as usize;
        return format!("{value:.decimals$}");
    }
    format!("{value:.3e}")
}

/// Returns the description and losses of one of the seven variants, or `None` for any other variant.
fn description_of(variant: &str) -> Option<&'static str> {
    Some(match variant {
        "baseline" => "The plain autoencoder (section 2, equation 1): `min ‖x − d(e(x))‖²`.",
        "dropout" => {
            "An autoencoder with dropout on its latent (section 4): `min ‖x − d(m ⊙ e(x) / keep)‖²`, where the elements of \
             m are 1 with probability keep, else 0."
        }
        "denoising" => {
            "A denoising autoencoder (section 4): `min ‖x − d(e(x + noise·ε))‖²`, where ε is drawn from N(0, I)."
        }
        "vae" => {
            "A variational autoencoder (section 4): `min −E[log p(x|z)] + beta·KL(q(z|x) ‖ N(0, I))`, where two dense layers \
             after the encoder give mean and logarithm of the variance of q(z|x), and the decoder gives logits of pixels \
             scaled to [0, 1]."
        }
        "aae" => {
            "An adversarial autoencoder (section 4): `min ‖x − d(e(x))‖² + advweight·BCE(D(e(x)), 1)`, against a dense \
             discriminator D of latents: `min BCE(D(z), 1) + BCE(D(e(x)), 0)`, z drawn from N(0, I)."
        }
        "vqvae" => {
            "A vector-quantised autoencoder (section 4): `min ‖x − x̂‖² + beta·mean((v − sg(code))²)`, where the vectors v are \
             projected from e(x), each is replaced by the nearest code of a codebook of moving averages, and two dense \
             layers bring them back for the decoder."
        }
        "acai" => {
            "The adversarially constrained autoencoder interpolation, ACAI (section 3, equations 2 and 3): \
             `min ‖x − d(e(x))‖² + advweight·mean(c(x̂_α)²)`, against a critic c that guesses the coefficient α of decoded \
             mixtures x̂_α = d(α·z₁ + (1 − α)·z₂): `min mean((c(x̂_α) − α)²) + mean(c(x̂ + reg·(x − x̂))²)`."
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IN_TORCH;

    #[test]
    fn the_seven_are_described() {
        assert!(IN_TORCH.iter().all(|variant| description_of(variant).is_some()));
        assert!(description_of("gan").is_none());
    }

    #[test]
    fn numbers_have_four_digits() {
        let texts = [0.0, 0.003_924_68, 131_072.0, 12.3456, 4.2e-7, f64::NAN].map(four_digits);
        assert_eq!(texts, ["0", "0.003925", "131072", "12.35", "4.200e-7", "NaN"]);
    }
}

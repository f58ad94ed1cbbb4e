//! Arguments that describe a plan, and those of `lerp train`.

use std::path::PathBuf;

use clap::Args;
use lerp_core::{Schedule, unknown_name_message};
use lerp_data::{is_own, separate_option};

use crate::device::DeviceChoice;

/// Options that describe a plan: what to train, on which device and into which folder.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Built-in plan: smoke, quick, evening, mnist-cpu, lines or paper
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub preset: Option<String>,
    /// Your own plan: a TOML file in the format of the presets
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Datasets to use instead of the plan's, in one or several such options. Put a name that contains a comma in
    /// double quotes: --datasets '"images:cats, dogs",mnist'
    #[arg(long, value_name = "A,B", value_parser = datasets)]
    pub datasets: Option<Vec<Datasets>>,
    /// Training samples per run; the number of evaluations stays the same
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub samples: Option<u64>,
    /// Learning rate of every variant
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Learning-rate schedule: constant, or a cosine decay that starts at the fraction `from` of the run and ends at
    /// the fraction `floor` of the learning rate, both optionally after `warmup` steps of linear warm-up [example:
    /// cosine,from=0.7,floor=0.1,warmup=100]
    #[arg(long, value_name = "SCHEDULE")]
    pub schedule: Option<Schedule>,
    /// Decay of an exponential moving average of the weights, which is evaluated and saved in place of the trained
    /// weights; 0 for no average [example: 0.999]
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<f64>,
    /// Latent channels, a number or a list; on MNIST 2 channels are 32 latent dimensions and 16 are 256
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub latent: Option<Vec<usize>>,
    /// Output channels of the encoder's first layer
    #[arg(long, value_name = "N")]
    pub depth: Option<usize>,
    /// K-means restarts in the final evaluation of a run on labelled images [the paper's: 1000]
    #[arg(long, value_name = "N")]
    pub cluster_restarts: Option<usize>,
    /// Training samples of each dataset's judge, a classifier trained once per sweep that measures how realistic
    /// decoded images are; 0 for no judge [default: 131072]
    #[arg(long, value_name = "N")]
    pub judge: Option<u64>,
    /// Folder that contains the image sets, one subfolder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Hyperparameter of a variant; a list of values spans a grid [example: acai.advweight=0.3,0.5]
    #[arg(long, value_name = "VARIANT.KEY=VALUE")]
    pub set: Vec<String>,
    /// On a CUDA GPU, compute convolutions in full f32 instead of TF32; runs of the two precisions are different cells
    /// and may share a folder
    #[arg(long)]
    pub full_f32: bool,
    /// Device: auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Folder of the sweep [default: results/<name of the preset or of the plan's file>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// The dataset names in one value of `--datasets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datasets(pub Vec<String>);

/// Splits a value of `--datasets` at its commas; a name that contains a comma is in double quotes.
fn datasets(text: &str) -> Result<Datasets, String> {
    let (mut names, mut rest) = (Vec::new(), text);
    loop {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted.split_once('"').ok_or("a double quote is not closed; add the second one")?
        } else {
            rest.split_at(rest.find(',').unwrap_or(rest.len()))
        };
        names.push(name.to_owned());
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => break,
            None => return Err("after a name in double quotes, a comma or the end must follow".into()),
        }
    }
    Ok(Datasets(names))
}

impl Datasets {
    /// Checks that every name after a user's own image set is itself a dataset name, and not the rest of a folder name
    /// that contains a comma.
    ///
    /// # Errors
    /// If a name is not one of a dataset; the message shows how to quote it.
    pub fn check(&self, known: &[&str]) -> anyhow::Result<()> {
        let is_name = |name: &str| is_own(name) || known.contains(&separate_option(name).bare);
        match self.0.windows(2).find(|pair| is_own(&pair[0]) && !is_name(&pair[1])) {
            Some(pair) => anyhow::bail!(
                "{}; put a name that contains a comma in double quotes: '\"{}\"'",
                unknown_name_message("dataset", &pair[1], known),
                pair.join(",")
            ),
            None => Ok(()),
        }
    }
}

/// Arguments of `lerp train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Options that describe the plan.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Variant to train
    #[arg(long, value_name = "NAME")]
    pub variant: String,
    /// Random seed of the run
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_comma_is_quoted() {
        let names = |text: &str| datasets(text).map(|names| names.0.join("|"));
        assert_eq!(names("lines"), Ok("lines".into()));
        assert_eq!(names("lines,images:a b"), Ok("lines|images:a b".into()));
        assert_eq!(names(r#""images:a, b?test-every=5",lines"#), Ok("images:a, b?test-every=5|lines".into()));
        assert_eq!(names(r#"images:a "x""#), Ok(r#"images:a "x""#.into()));
        assert!(names(r#""images:a, b"#).is_err() && names(r#""images:a"b"#).is_err());
        let cut = datasets("images:a, b").unwrap().check(&["lines"]).unwrap_err().to_string();
        assert!(cut.ends_with(r#"in double quotes: '"images:a, b"'"#), "{cut}");
    }
}

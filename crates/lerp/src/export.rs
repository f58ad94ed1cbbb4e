//! `lerp export`: writes a sweep for other programs.

use anyhow::{Context, Result};
use lerp_export::{ExportOptions, Format, Message};

use crate::{
    cli::ExportArgs,
    plan::seeds,
    registry::Registry,
    say::{complain, note, say, warn_of_all},
};

/// Source of the program that model cards show. It is an example of this crate, so the compiler checks it.
const LOADING_EXAMPLE: &str = include_str!("../examples/load_model.rs");

/// Runs `lerp export`. Returns `false` if a run or a model could not be exported.
///
/// # Errors
/// If an argument is invalid, or the folders cannot be read or written.
pub fn export(registry: &Registry, args: &ExportArgs) -> Result<bool> {
    let formats: Result<Vec<Format>, _> = args.to.iter().map(|name| name.parse()).collect();
    let options = ExportOptions {
        dir: args.dir.clone(),
        formats: formats.context("--to")?,
        out: args.out.clone(),
        only_variants: args.variants.clone(),
        only_seeds: args.seeds.as_deref().map(seeds).transpose()?,
        variants: registry.all(),
        loading_example: LOADING_EXAMPLE,
    };
    Ok(lerp_export::export(&options, &mut |message| match message {
        Message::Notice(text) => note(&text),
        Message::Progress(text) => say(&text),
        Message::LeftOut(sentences) => warn_of_all(&sentences),
        Message::ModelFailed { run, error } => {
            complain(&anyhow::Error::from(error).context(format!("{run} is left out")));
        }
    })?)
}

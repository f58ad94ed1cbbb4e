//! `lerp data`: what image sets there are, and what is in one.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use lerp_core::ImageShape;
use lerp_data::{DATASETS, Lines, PartReport, dataset, image_set};

use crate::{
    cli::{Data, DataCheckArgs, DataListArgs},
    say::say,
};

/// Runs the verb.
pub fn data(verb: &Data) -> Result<bool> {
    match verb {
        Data::List(args) => list(args),
        Data::Check(args) => check(args)?,
    }
    Ok(true)
}

/// One line a dataset: its images, its classes and whether its files are there.
fn list(args: &DataListArgs) {
    for name in DATASETS {
        let state = match dataset(name, args.data.as_deref()) {
            Ok(set) if set.name() == Lines::NAME => "drawn, needs no files".to_owned(),
            Ok(set) if set.classes() == 0 => format!("{} images, no labels", shape(set.image())),
            Ok(set) => format!("{} images, {} classes", shape(set.image()), set.classes()),
            Err(error) => format!("not here: {error}"),
        };
        say(&format!("{name:<8} {state}"));
    }
    say("and your own: idx:DIR, images:DIR (one sub-folder a class), parquet:PATH (a file or folder)");
}

fn check(args: &DataCheckArgs) -> Result<()> {
    if args.name == Lines::NAME {
        bail!("lines are drawn, not read: there is nothing to check");
    }
    let set = image_set(&args.name, args.data.as_deref())?;
    let report = lerp_data::check(&set)?;
    say(&format!("{} in {}", report.name, report.folder.display()));
    for file in &report.files {
        say(&format!("  {:<36} {:>13} bytes  sha256 {}", file.name, file.bytes, file.sha256));
    }
    say(&format!("images   {}", shape(report.image)));
    part("train", &report.train);
    part("test", &report.test);
    if report.held_out {
        say("         the files have no test part: every tenth image is held out for it");
    }
    if let Some(path) = &args.sheet {
        write(path, &lerp_data::contact_sheet(&set)?)?;
        say(&format!("sheet    {}", path.display()));
    }
    Ok(())
}

fn part(name: &str, part: &PartReport) {
    let means: Vec<String> = part.means.iter().map(|mean| format!("{mean:.5}")).collect();
    let (low, high) = part.range;
    say(&format!(
        "{name:<8} {} images, channel means {} (0 black, 1 white), values {low:.3} to {high:.3}",
        part.images,
        means.join(" ")
    ));
    match &part.classes {
        None => say("         no labels"),
        Some(counts) => {
            let shown: Vec<String> = counts.iter().take(20).map(ToString::to_string).collect();
            let more = if counts.len() > 20 { " ..." } else { "" };
            say(&format!("         {} classes: {}{more}", counts.len(), shown.join(" ")));
        }
    }
}

fn shape(image: ImageShape) -> String {
    format!("{}x{}x{}", image.height, image.width, image.channels)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

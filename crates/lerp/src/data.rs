//! `lerp data`: lists, downloads and checks image sets.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use lerp_core::{Draws, ImageShape};
use lerp_data::{Batch, DATASETS, Dataset, ImageSet, Lines, Split, SplitReport, image_set};
use lerp_files::printable;

use crate::{
    cli::{Data, DataCheckArgs, DataFetchArgs, DataListArgs},
    registry::Registry,
    say::say,
};

/// Largest number of classes whose image counts are printed.
const MAX_CLASSES: usize = 100;

/// Batch size at which a dataset from code is checked.
const CHECKED: usize = 16;

/// Runs a subcommand of `lerp data`. Returns `false` if a download failed after it began.
pub fn data(registry: &Registry, command: &Data) -> Result<bool> {
    match command {
        Data::List(args) => list(registry, args),
        Data::Fetch(args) => return fetch(args),
        Data::Check(args) => check(registry, args)?,
    }
    Ok(true)
}

/// Prints one line per dataset: the shape of its images, its classes, and whether and where its files were found.
fn list(registry: &Registry, args: &DataListArgs) {
    for name in DATASETS {
        let state = match image_set(name, args.data.as_deref()) {
            _ if *name == Lines::NAME => "drawn, needs no files".to_owned(),
            Ok(set) => {
                let classes = match set.classes() {
                    0 => "no labels".to_owned(),
                    n => classes(n),
                };
                format!("{} images, {classes}, {}", shape(set.image()), origin(&set))
            }
            Err(error) => format!("not here: {error}"),
        };
        say(&format!("{name:<8} {state}"));
    }
    for name in registry.datasets_from_code() {
        let state = registry.dataset(name, args.data.as_deref()).map(|set| shape(set.image()));
        let state =
            state.map_or_else(|error| format!("not here: {error:#}"), |shape| format!("{shape}, from code"));
        say(&format!("{name:<8} {state}"));
    }
    say("and your own: idx:DIR, images:DIR (one sub-folder a class), parquet:PATH (a file or folder)");
}

fn classes(n: usize) -> String {
    if n == 1 { "1 class".into() } else { format!("{n} classes") }
}

/// Describes where the files of an image set are.
fn origin(set: &ImageSet) -> String {
    let folder = set.folder().display();
    match set.hub() {
        None => format!("in {folder}"),
        Some(hub) => format!("from the hub, {} at {}, in {folder}", hub.repository, hub.revision),
    }
}

/// Downloads an image set. A download that fails after it began returns `false` rather than an error, because the input
/// was valid.
#[cfg(feature = "hub")]
fn fetch(args: &DataFetchArgs) -> Result<bool> {
    use std::time::Duration;

    use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
    use lerp_data::hub::{Event, Hub, HubError};

    if args.name == Lines::NAME {
        bail!("lines are drawn, not read: there is nothing to download");
    }
    let style = "{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let bar = ProgressBar::hidden();
    let fetched = Hub::from_env().fetch(&args.name, &mut |event| match *event {
        Event::Start { files, bytes } => {
            say(&format!("{}: {files} files, {}", args.name, HumanBytes(bytes)));
            bar.set_style(
                ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_length(bytes);
            // Progress bars on standard error are drawn only if it is a terminal.
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(500));
        }
        Event::File { name } => bar.set_message(name.to_owned()),
        Event::Bytes { done } => bar.set_position(done),
        Event::Again { why } => {
            bar.suspend(|| say(&format!("the download was interrupted ({why}); trying again")));
        }
    });
    bar.finish_and_clear();
    match fetched {
        Ok(fetched) => {
            let state = if fetched.files == 0 { "was already here" } else { "was downloaded" };
            let source = fetched.source;
            say(&format!(
                "{} {state}: {} at {}, in {}",
                args.name,
                source.repository,
                source.revision,
                fetched.folder.display()
            ));
            Ok(true)
        }
        Err(error @ (HubError::Unknown { .. } | HubError::NoCache | HubError::Offline { .. })) => {
            Err(error.into())
        }
        Err(error) => {
            crate::say::complain(&error.into());
            Ok(false)
        }
    }
}

#[cfg(not(feature = "hub"))]
fn fetch(args: &DataFetchArgs) -> Result<bool> {
    bail!("{}", no_client(&args.name))
}

/// The error message of a build without the hub's client, which cannot download.
#[cfg(any(test, not(feature = "hub")))]
fn no_client(name: &str) -> String {
    format!(
        "this build of lerp cannot download; `cargo xtask data fetch {name}` builds one that can, or install it with \
         --features hub; `lerp data list` says which files to put where without a download"
    )
}

fn check(registry: &Registry, args: &DataCheckArgs) -> Result<()> {
    if registry.datasets_from_code().any(|name| name == args.name) {
        if args.sheet.is_some() {
            bail!("--sheet is for image sets in files; {} is from code", args.name);
        }
        return check_from_code(&*registry.dataset(&args.name, None)?);
    }
    if args.name == Lines::NAME {
        bail!("lines are drawn, not read: there is nothing to check");
    }
    let set = image_set(&args.name, args.data.as_deref())?;
    let report = lerp_data::check(&set)?;
    say(&format!("{} {}", report.name, origin(&set)));
    for file in &report.files {
        say(&format!("  {:<36} {:>13} bytes  sha256 {}", file.name, file.bytes, file.sha256));
    }
    for (path, bytes) in &report.cache {
        say(&format!("cache    {}, {bytes} bytes", path.display()));
    }
    say(&format!("images   {}", shape(report.image)));
    split("train", &report.train, &report.class_names);
    split("test", &report.test, &report.class_names);
    if let Some(every) = report.holdout {
        say(&format!(
            "         the files have no test split: one of every {every} images{} is held out for it",
            if report.class_names.is_empty() { "" } else { " of a class" }
        ));
    }
    for line in &report.left_out {
        say(&format!("not read {line}"));
    }
    // Runs record this digest, so that two machines can compare whether they train on the same images.
    say(&format!("images sha256 {}", report.digest));
    if let Some(path) = &args.sheet {
        write(path, &lerp_data::contact_sheet(&set)?)?;
        say(&format!("sheet    {}", path.display()));
    }
    Ok(())
}

/// Checks a dataset from code and prints its properties.
fn check_from_code(set: &dyn Dataset) -> Result<()> {
    say(&format!("{} from code", printable(set.name())));
    say(&format!("images   {}", shape(set.image())));
    for (name, split) in [("train", Split::Train), ("test", Split::Test)] {
        let images = set.count(split)?.map_or_else(|| "drawn without end".into(), |n| format!("{n} images"));
        say(&format!("{name:<8} {images}"));
    }
    let draws = Draws::new(0, &Device::Cpu);
    for step in [0, 1] {
        let draws = draws.at(step);
        let (first, again) = (set.train_batch(CHECKED, &draws)?, set.train_batch(CHECKED, &draws)?);
        first.check(set, CHECKED)?;
        set.test_batch(CHECKED, &draws)?.check(set, CHECKED)?;
        let pixels = |batch: &Batch| batch.images.flatten_all()?.to_vec1::<f32>();
        if pixels(&first)? != pixels(&again)? {
            bail!(
                "{}: two training batches of the same draws differ, so no run could be resumed; compute a batch from its draws \
                 alone",
                set.name()
            );
        }
    }
    say("batches  have the right shapes and values, and depend on their draws alone");
    match set.classes() {
        0 => say("         no labels"),
        n => say(&format!("         {}", classes(n))),
    }
    if let Some(digest) = set.digest()? {
        say(&format!("images sha256 {digest}"));
    }
    Ok(())
}

fn split(name: &str, split: &SplitReport, names: &[String]) {
    let means: Vec<String> = split.means.iter().map(|mean| format!("{mean:.5}")).collect();
    say(&format!(
        "{name:<8} {} images, channel means {} (0 black, 1 white), values {:.3} to {:.3}",
        split.images,
        means.join(" "),
        split.min,
        split.max
    ));
    let Some(counts) = &split.classes else {
        say("         no labels");
        return;
    };
    // Class names that merely equal their indices are not printed.
    let plain = names.iter().enumerate().all(|(number, name)| *name == number.to_string());
    let shown: Vec<String> = if plain {
        counts.iter().take(MAX_CLASSES).map(ToString::to_string).collect()
    } else {
        let named = counts.iter().zip(names).take(MAX_CLASSES);
        named.map(|(count, name)| format!("{}: {count},", printable(name))).collect()
    };
    let more = if counts.len() > MAX_CLASSES { " ..." } else { "" };
    let shown = shown.join(" ");
    say(&format!("         {}: {}{more}", classes(counts.len()), shown.trim_end_matches(',')));
}

fn shape(image: ImageShape) -> String {
    format!("{}x{}x{}", image.height, image.width, image.channels)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_build_without_the_hubs_client_says_how_to_get_one() {
        let sentence = super::no_client("mnist");
        assert!(
            sentence.contains("`cargo xtask data fetch mnist`") && !sentence.contains('\n'),
            "{sentence}"
        );
    }
}

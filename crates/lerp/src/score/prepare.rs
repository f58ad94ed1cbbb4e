//! `lerp score prepare`: creates the folder of a task, to be answered by a model in other software.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use lerp_core::unknown_name_message;
use lerp_train::{ArrayFormat, Origin, Run, Task, training_images, write_arrays};

use crate::{
    cli::PrepareArgs,
    dataset_cache::DatasetCache,
    plan::{check_restarts, protocol_task},
    process::stop_flag,
    provenance::VERSION,
    registry::Registry,
    say::say,
};

/// The Python script that answers a task with a user's model.
const ANSWER: &str = include_str!("lerp_task.py");

/// The file formats of arrays, with their names on the command line.
const FORMATS: [(&str, ArrayFormat); 2] =
    [("npy", ArrayFormat::Npy), ("safetensors", ArrayFormat::Safetensors)];

/// Largest number of training images; more would not fit into memory.
const MAX_TRAINING_IMAGES: usize = 1 << 24;

/// Creates the folder of a task.
///
/// # Errors
/// If an argument is invalid, the folder exists and is not empty, or the dataset cannot be read.
pub fn prepare(registry: &Registry, args: &PrepareArgs) -> Result<()> {
    let formats = formats(&args.format)?;
    if args.training > MAX_TRAINING_IMAGES {
        bail!("--training {}: give at most {MAX_TRAINING_IMAGES}", args.training);
    }
    if !(1..=1 << 16).contains(&args.batch) {
        bail!("--batch {}: give at least 1 and at most 65536", args.batch);
    }
    check_empty(&args.out)?;
    let datasets = DatasetCache::new(registry, args.data.as_deref());
    let task = task(&datasets, args)?;
    let dataset = datasets.get(&task.dataset)?;
    // The folder is written under a temporary name and renamed when it is complete.
    let parent = args.out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let draft = Draft::new(parent)?;
    let stop = stop_flag()?;
    task.write(&*dataset, &formats, &draft.0, VERSION, &stop)?;
    if args.training > 0 {
        let images = training_images(&*dataset, task.seed, args.batch, args.training)?;
        write_arrays(&images, "training", &formats, &draft.0)?;
    }
    lerp_files::replace(&draft.0.join("lerp_task.py"), ANSWER.as_bytes())?;
    lerp_files::replace(&draft.0.join("README.md"), readme(&task, args.training).as_bytes())?;
    // Not every system renames a folder onto an existing empty one, so an empty one is removed first.
    let _ = fs::remove_dir(&args.out);
    fs::rename(&draft.0, &args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    say(&format!(
        "Task: {}. Answer it with `python {} MODEL.py` (the first lines of that script say how), then `lerp score {} --name NAME --out SWEEP`.",
        args.out.display(),
        args.out.join("lerp_task.py").display(),
        args.out.display()
    ));
    Ok(())
}

/// Returns the task that the arguments describe.
fn task(datasets: &DatasetCache, args: &PrepareArgs) -> Result<Task> {
    check_restarts(args.cluster_restarts)?;
    let mut task = if let Some(dir) = &args.like {
        let record = Run::read(dir)?.record;
        if record.cell.origin == Origin::Scored {
            bail!(
                "{} was scored by its answers to a task; give --like a run that has a model",
                dir.display()
            );
        }
        let task = Task::like(&record.cell, record.provenance.data.clone());
        if datasets.digest(&task.dataset)? != task.data {
            bail!(
                "the images of {} on this machine are not those that {} was trained on",
                task.dataset,
                dir.display()
            );
        }
        task
    } else {
        let name = args.dataset.as_deref().unwrap_or_default();
        protocol_task(datasets, name, args.seed.unwrap_or(0))?
    };
    if let Some(restarts) = args.cluster_restarts {
        task.cluster_restarts = task.cluster_restarts.map(|_| restarts);
    }
    Ok(task)
}

/// Parses the names of file formats.
fn formats(names: &[String]) -> Result<Vec<ArrayFormat>> {
    let known = FORMATS.map(|(name, _)| name);
    let find = |name: &String| match FORMATS.iter().find(|(known, _)| known == name) {
        Some((_, format)) => Ok(*format),
        None => bail!("--format: {}", unknown_name_message("format", name, &known)),
    };
    names.iter().map(find).collect()
}

/// Checks that the output folder does not exist or is empty.
fn check_empty(out: &Path) -> Result<()> {
    if out.symlink_metadata().is_err() {
        return Ok(());
    }
    let empty = out.is_dir() && fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    if !empty {
        bail!("{} exists and is not empty; give --out a new folder", out.display());
    }
    Ok(())
}

/// A temporary folder, which is deleted with its contents when dropped unless it was renamed before.
struct Draft(PathBuf);

impl Draft {
    fn new(parent: &Path) -> Result<Self> {
        let path = parent.join(format!(".lerp-task-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the text of the folder's `README.md`.
fn readme(task: &Task, training: usize) -> String {
    let train = match training {
        0 => String::new(),
        n => format!(
            " `training/` has {n} images to train on, in the order in which a run of seed {} sees them.",
            task.seed
        ),
    };
    format!(
        "A task of Lerpbench ({}, seed {}): images for an autoencoder to encode, and to interpolate between. Images are \
         [n, height, width, channels], float32 in [-1, 1], as `.npy` or in one safetensors file; task.json lists them and the \
         answers.{train}\n\
         Answer it with `python lerp_task.py MODEL.py`, where MODEL.py has `encode(images)` and `decode(latents)`, \
         and `CHANNELS_FIRST = True` if these take and give [n, channels, height, width] (needs NumPy; its first lines say more), which writes decoded.safetensors, latents.safetensors and record.json here.\n\
         Then `lerp score FOLDER --name \"My AE\" --out results/quick` measures the answers and puts them beside the others.\n",
        task.dataset, task.seed
    )
}

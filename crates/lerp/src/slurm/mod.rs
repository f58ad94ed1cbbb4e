//! `lerp sweep --on slurm`: the cells of a sweep as tasks of Slurm.
//!
//! What is to be trained is settled on the machine that submits and written into `cluster/` of the sweep's folder, with the
//! program itself; then jobs are submitted, and the command is over: nothing has to stay alive for them. A [`task`] finds its
//! cells there. Slurm starts tasks again whose node is lost or which were preempted, and tasks ask for that themselves when
//! their time is up; the lease in each run's folder keeps two of them apart.

mod command;
mod place;
mod records;
mod script;
mod task;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use lerp_train::{Error, Run, RunLock, State, runs_in};

pub use place::{Place, Places};
pub use task::task;

use crate::{
    cli::{Jobs, OURS, SweepArgs},
    plan::Plan,
    provenance::now,
    say::{note, say, warn},
    sweep::{Cells, Common, Folder, Job, Survey, count, duration, estimates, lacks_judges},
};
use command::Queued;
use records::{Kind, Planned, Records, Submission};
use script::Script;

/// Cells of a task on a GPU, where nothing else is said: as many as one can train at once, about.
const ON_A_GPU: usize = 8;

/// Submits what of the plan is neither done nor queued.
///
/// # Errors
/// Before anything is submitted, if the folder, the images or Slurm will not do; if Slurm refuses a job, those before it are
/// submitted and recorded.
pub fn sweep(common: &Common, plan: &Plan, cells: &Cells, args: &SweepArgs) -> Result<bool> {
    let out = absolute(&cells.out)?;
    let records = Records::of(&out);
    let folder = Folder::check(&cells.out, args.plan.config.as_deref())?;
    let _locks = if args.dry_run {
        None
    } else {
        folder.create()?;
        let lock = folder.lock()?;
        records.create()?;
        Some((lock, submitting(&records)?))
    };
    // The queue first: what ends meanwhile is found in the folder, and not taken for lost.
    let queue = match command::queue() {
        // Without Slurm nothing is queued that a dry run could know of.
        Err(error) if args.dry_run => {
            warn(&format!("{error:#}; what is queued is not known"));
            Vec::new()
        }
        queue => queue?,
    };
    let before = known(&records, &out, &queue, args.dry_run)?;
    let found = runs_in(&out)?;
    let Survey { jobs, missing, blocked, warnings, .. } =
        Survey::new(common, &cells.all, &found, &cells.devices[0], 1)?;
    folder.notice.iter().chain(&warnings).for_each(|sentence| warn(sentence));
    for (id, reason) in &blocked {
        warn(&format!("left out: {id}: {reason}"));
    }
    let queued = place::places(&records, &before, &queue);
    let failed: HashSet<&str> = found
        .runs
        .iter()
        .filter(|run| run.status.state == State::Failed)
        .map(|run| &*run.record.id)
        .collect();
    let state = |job: &Job| match queued.get(&job.record.id) {
        Some(place) => Some(format!("is in the queue: {}", place.described())),
        None if failed.contains(&*job.record.id) && args.retry == 0 => {
            Some("failed before; `--retry 1` submits it again".to_owned())
        }
        None => None,
    };
    let (open, resting): (Vec<Job>, Vec<Job>) = missing.into_iter().partition(|job| state(job).is_none());
    let size = match (args.cluster.chunk, args.jobs) {
        (Some(size), _) => size.get(),
        (None, _) if cells.devices[0] == "cpu" => 1,
        (None, Jobs::Number(number)) => number,
        (None, Jobs::Auto) => ON_A_GPU,
    };
    let most = match command::max_array_size() {
        Err(_) if args.dry_run => command::MAX_ARRAY_SIZE,
        most => most?,
    };
    let chunks = open.len().div_ceil(size);
    let arrays: Vec<(usize, usize)> =
        (0..chunks).step_by(most).map(|first| (first, most.min(chunks - first))).collect();
    if args.dry_run {
        let seconds = estimates(common, cells, &open, plan.is_judged());
        let mut states: HashMap<&str, String> =
            resting.iter().map(|job| (&*job.record.id, state(job).unwrap_or_default())).collect();
        states.extend(blocked.iter().map(|(id, reason)| (&**id, format!("stands in the way: {reason}"))));
        tell(&jobs, &open, &seconds, (size, most), &states);
        tell_arrays(&arrays, args);
        if lacks_judges(common, &cells.out, &open, plan.judge()) {
            say("and a job before them that trains judges of decoded images");
        }
        say(
            "and a last one that draws the report. Times are those of this machine. Nothing was submitted or written.",
        );
        return Ok(blocked.is_empty());
    }
    for job in &resting {
        note(&format!("{} {}", job.record.id, state(job).unwrap_or_default()));
    }
    if open.is_empty() {
        let done = jobs.len() - resting.len() - blocked.len();
        say(&format!(
            "Nothing to submit: {done} of {} are done. `report {}` draws what there is.",
            count(jobs.len(), "run"),
            cells.out.display()
        ));
        return Ok(blocked.is_empty());
    }
    let ids: Vec<String> = jobs.iter().map(|job| job.record.id.clone()).collect();
    folder.record(true, &plan.about, &common.command, &cells.devices, &ids)?;
    let judges = lacks_judges(common, &cells.out, &open, plan.judge());
    let planned = |job: &Job| Planned { record: job.record.clone(), dataset: job.dataset.clone() };
    let submission = Submission {
        command: common.command.clone(),
        data: data_folder(common)?,
        devices: cells.devices.clone(),
        jobs: match args.jobs {
            Jobs::Number(number) => Some(number),
            Jobs::Auto => None,
        },
        pack: args.pack,
        judge: plan.judge(),
        judged: plan.is_judged(),
        time_limit: args.time_limit.map(|limit| limit.as_secs_f64()),
        retry: args.retry,
        max_failures: args.max_failures.map(usize::from),
        restarts: args.cluster.restarts,
        failed: failed.iter().map(ToString::to_string).collect(),
        chunks: open.chunks(size).map(|chunk| chunk.iter().map(planned).collect()).collect(),
    };
    let number = records.next();
    records.write(number, &submission)?;
    let submitter = Submitter { records: &records, number, args, out: &out, program: program(&records)? };
    let mut after = Vec::new();
    if judges {
        let training =
            |job: &&records::Job| job.kind == Kind::Judges && queue.iter().any(|queued| queued.job == job.id);
        after.push(match before.iter().find(training) {
            Some(job) => job.id.clone(),
            None => submitter.submit(Kind::Judges, None, &[])?,
        });
    }
    let mut ids = Vec::new();
    for (first, tasks) in &arrays {
        // Tasks of several arrays cannot be counted together, so these follow each other.
        let previous = ids.last().filter(|_| args.cluster.at_most.is_some());
        let after = previous.map_or(&after[..], std::slice::from_ref);
        let id = submitter.submit(Kind::Cells, Some((*first, *tasks)), after)?;
        ids.push(id);
    }
    let report = submitter.submit(Kind::Report, None, &ids)?;
    say(&format!(
        "Submitted {} as {} of {} {}, and the report as job {report}, into {}.",
        count(open.len(), "cell"),
        count(chunks, "task"),
        if ids.len() == 1 { "job" } else { "jobs" },
        ids.join(", "),
        cells.out.display()
    ));
    if let [judges] = &after[..] {
        say(&format!("Job {judges} trains judges of decoded images before."));
    }
    say(&format!(
        "Nothing of this command goes on running. `watch {}` shows how far it is; the same command submits what is then neither \
         done nor queued, and with --cancel it cancels everything. Logs: {}",
        cells.out.display(),
        records.logs().display()
    ));
    Ok(blocked.is_empty())
}

/// Says what would be submitted.
fn tell(
    jobs: &[Job],
    open: &[Job],
    seconds: &[Option<f64>],
    (size, most): (usize, usize),
    resting: &HashMap<&str, String>,
) {
    let width = jobs.iter().map(|job| job.record.id.len()).max().unwrap_or(0);
    let places: HashMap<&str, usize> =
        open.iter().enumerate().map(|(place, job)| (&*job.record.id, place)).collect();
    for job in jobs {
        let id = &*job.record.id;
        let what = match (places.get(id), resting.get(id)) {
            (Some(place), _) => {
                let takes = seconds.get(*place).copied().flatten().map_or("unknown".into(), duration);
                let chunk = place / size;
                format!("{takes} in task {} of array {}", chunk % most, chunk / most + 1)
            }
            (None, Some(state)) => state.clone(),
            (None, None) => "done".to_owned(),
        };
        say(&format!("{id:<width$}  {what}"));
    }
}

fn tell_arrays(arrays: &[(usize, usize)], args: &SweepArgs) {
    for (place, (_, tasks)) in arrays.iter().enumerate() {
        let most = args.cluster.at_most.map_or(String::new(), |most| format!(", {most} at a time at most"));
        let order = if place > 0 && args.cluster.at_most.is_some() { ", after the one before" } else { "" };
        say(&format!("array {}: {}{most}{order}", place + 1, count(*tasks, "task")));
    }
}

/// What the jobs of a submission have in common.
struct Submitter<'a> {
    records: &'a Records,
    number: usize,
    args: &'a SweepArgs,
    out: &'a Path,
    program: PathBuf,
}

impl Submitter<'_> {
    /// Writes a script, submits it after the jobs that it has to wait for, and records it; its number.
    fn submit(&self, kind: Kind, array: Option<(usize, usize)>, after: &[String]) -> Result<String> {
        let about = match kind {
            Kind::Cells => "Trains a chunk of cells.",
            Kind::Judges => "Trains judges of decoded images.",
            Kind::Report => "Measures raw pixels and draws the report.",
        };
        let (file, first) = (kind.word(), array.map_or(0, |(first, _)| first));
        let name = records::Job::name(self.out, self.number, kind, first);
        let text = |path: &Path| -> Result<String> {
            let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
            text.map(String::from).with_context(|| {
                format!("{} has a name that no script can hold; give --out another folder", path.display())
            })
        };
        let mut command =
            vec![text(&self.program)?, "task".to_owned(), text(self.out)?, self.number.to_string()];
        command.extend((kind != Kind::Cells).then(|| file.to_owned()));
        let script = Script {
            name: &name,
            about,
            options: self.args.cluster.options().collect(),
            array: array.map(|(_, tasks)| (tasks, self.args.cluster.at_most.map(usize::from))),
            after,
            logs: &self.records.logs(),
            command: &command,
            first,
        };
        let place = if first == 0 { String::new() } else { format!("-from-{first}") };
        let path = self.records.dir().join(format!("{}-{file}{place}.sh", self.number));
        lerp_files::replace(&path, script.text().as_bytes())?;
        let set = OURS.into_iter().chain(self.args.cluster.options().map(|option| &*option.key));
        let id = command::submit(&path, set).with_context(|| {
            format!(
                "{} was not submitted (what was before it is, and --cancel ends that; --chunk makes fewer tasks)",
                path.display()
            )
        })?;
        self.records.add([records::Job {
            id: id.clone(),
            submission: self.number,
            kind,
            first,
            submitted: now(),
        }])?;
        Ok(id)
    }
}

/// This program, in a copy that no later build changes while tasks are queued.
fn program(records: &Records) -> Result<PathBuf> {
    let here = std::env::current_exe().context("cannot find this program")?;
    let linux = Path::new("/proc/self/exe");
    let bytes = std::fs::read(if linux.exists() { linux } else { &here })
        .with_context(|| format!("cannot read {}", here.display()))?;
    let copy = records.dir().join(format!("program-{}", &lerp_files::digest(&bytes)[..12]));
    if !copy.exists() {
        lerp_files::replace(&copy, &bytes)?;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(copy)
}

/// The folder of the image sets, for tasks whose working directory and environment may be others.
fn data_folder(common: &Common) -> Result<Option<PathBuf>> {
    let given = common.shelf.data().map(PathBuf::from);
    let data = given.or_else(|| std::env::var_os(lerp_data::FOLDER_VARIABLE).map(PathBuf::from));
    Ok(data.filter(|data| !data.as_os_str().is_empty()).map(std::path::absolute).transpose()?)
}

fn absolute(sweep: &Path) -> Result<PathBuf> {
    std::path::absolute(sweep).context("cannot find the working directory")
}

/// Keeps other submissions out, on whatever machine they are.
fn submitting(records: &Records) -> Result<RunLock> {
    RunLock::take(records.dir()).map_err(|error| match error {
        Error::Busy { by, .. } => anyhow::anyhow!("{by} is submitting cells of this sweep; wait for it"),
        error => error.into(),
    })
}

/// The jobs that were submitted; those that are in the queue under a name of this sweep and not on record are put on record: the
/// command that submitted them was killed, or did not get Slurm's answer.
fn known(records: &Records, out: &Path, queue: &[Queued], dry: bool) -> Result<Vec<records::Job>> {
    let mut jobs = records.jobs()?;
    let mut lost: Vec<records::Job> = Vec::new();
    for queued in queue {
        let known = jobs.iter().chain(&lost).any(|job| job.id == queued.job);
        lost.extend(records::Job::named(out, &queued.name, &queued.job).filter(|_| !known));
    }
    if !lost.is_empty() && !dry {
        records.add(lost.clone())?;
    }
    jobs.extend(lost);
    Ok(jobs)
}

/// Cancels what was submitted for the sweep in `out` and has not ended.
///
/// # Errors
/// If Slurm cannot be asked, or refuses.
pub fn cancel(out: &Path) -> Result<bool> {
    let out = absolute(out)?;
    let records = Records::of(&out);
    let queue = command::queue()?;
    let jobs = known(&records, &out, &queue, true)?;
    let active: Vec<&str> =
        jobs.iter().map(|job| &*job.id).filter(|id| queue.iter().any(|queued| queued.job == *id)).collect();
    if active.is_empty() {
        say("Nothing to cancel: nothing of this folder is queued.");
        return Ok(true);
    }
    command::cancel(&active)?;
    say(&format!(
        "Cancelled {} {}. What was running stops with a checkpoint, and the same command without --cancel goes on from there.",
        if active.len() == 1 { "job" } else { "jobs" },
        active.join(", ")
    ));
    Ok(true)
}

/// Whether a run that is in the folder is complete.
fn is_done(runs: &Path, id: &str) -> bool {
    Run::read(&runs.join(id)).is_ok_and(|run| run.status.state == State::Done)
}

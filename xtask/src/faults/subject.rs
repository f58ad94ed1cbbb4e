//! The program under test, and a sweep for it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::Result;

/// A plan that trains in a second or two but performs every kind of write: two cells, each with several evaluations and
/// checkpoints.
const PLAN: &str = r#"about = "two small cells, to break them"
datasets = ["lines"]
judge = 0
variants = ["baseline", "acai"]
seeds = [0]
samples = 384
eval_every = 192
checkpoint_every = 128
test_samples = 64
learning_rate = 1e-3

[network]
depth = 2
latent = 2
"#;

/// The time after which a process counts as hanging.
const PATIENCE: Duration = Duration::from_mins(2);

/// The name of the sweep's folder, which is the same in every scratch folder because tables contain it.
pub const SWEEP: &str = "sweep";

/// The result of running the program.
#[derive(Debug, Clone)]
pub struct End {
    /// The exit code; `None` if a signal ended the program, or it hung.
    pub code: Option<i32>,
    /// The signal that ended the program, if one did.
    pub signal: Option<i32>,
    /// Standard output and standard error together.
    pub text: String,
}

impl End {
    /// Returns a description if the program panicked, was ended by a signal, returned an unexpected exit code or hung;
    /// otherwise `None`.
    pub fn crash(&self) -> Option<String> {
        let line = self.text.lines().find(|line| line.contains("panicked at"));
        match (self.code, self.signal, line) {
            (_, _, Some(line)) => Some(line.to_owned()),
            (Some(0..=2), ..) => None,
            (Some(code), ..) => Some(format!("exit code {code}: {}", self.last_line())),
            (None, Some(signal), _) => Some(format!("signal {signal}: {}", self.last_line())),
            (None, None, _) => Some(format!("did not end in {} s", PATIENCE.as_secs())),
        }
    }

    /// The last line that is not empty.
    pub fn last_line(&self) -> &str {
        self.text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("(nothing said)")
    }
}

/// A fault that the library in `shim.c` injects.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The subcommand of the processes that the fault affects.
    pub who: &'static str,
    /// The kind of fault, as in `shim.c`.
    pub mode: &'static str,
    /// The number of the call at which the fault happens, from 1.
    pub at: u64,
}

/// The program and the folder for its sweeps.
pub struct ProgramUnderTest {
    lerp: PathBuf,
    shim: PathBuf,
    scratch: PathBuf,
}

impl ProgramUnderTest {
    /// Recreates the scratch folder and compiles the library that injects faults.
    pub fn new(lerp: &Path, scratch: &Path) -> Result<Self> {
        if scratch.exists() {
            fs::remove_dir_all(scratch).map_err(|e| format!("cannot clear {}: {e}", scratch.display()))?;
        }
        fs::create_dir_all(scratch).map_err(|e| format!("cannot create {}: {e}", scratch.display()))?;
        let scratch = scratch.canonicalize().map_err(|e| format!("{}: {e}", scratch.display()))?;
        let (source, shim) = (scratch.join("shim.c"), scratch.join("shim.so"));
        write(&source, include_str!("shim.c"))?;
        crate::run(
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(&source).arg("-ldl"),
        )?;
        Ok(Self { lerp: lerp.to_owned(), shim, scratch })
    }

    /// Recreates a folder with only the plan in it, and returns its path.
    pub fn work_dir(&self, name: &str) -> Result<PathBuf> {
        let work_dir = self.scratch.join(name);
        if work_dir.exists() {
            fs::remove_dir_all(&work_dir).map_err(|e| format!("cannot clear {}: {e}", work_dir.display()))?;
        }
        fs::create_dir_all(&work_dir).map_err(|e| format!("cannot create {}: {e}", work_dir.display()))?;
        write(&work_dir.join("plan.toml"), PLAN)?;
        Ok(work_dir)
    }

    /// Runs the program in `work_dir` with the arguments in `line`, in its own process group, and waits until all
    /// processes of the group have ended. With `kill_after`, the whole group is killed after this time.
    pub fn run(
        &self,
        work_dir: &Path,
        line: &str,
        fault: Option<&Fault>,
        kill_after: Option<Duration>,
    ) -> Result<End> {
        let (out, count) = (work_dir.join("output.txt"), work_dir.join("count.txt"));
        let output = fs::File::create(&out).map_err(|e| format!("cannot write {}: {e}", out.display()))?;
        let errors = output.try_clone().map_err(|e| e.to_string())?;
        let mut command = Command::new(&self.lerp);
        command.args(line.split(' ')).current_dir(work_dir).process_group(0);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        if let Some(Fault { who, mode, at }) = fault {
            let settings = [("FAULT_WHO", *who), ("FAULT_MODE", *mode)];
            command.env("LD_PRELOAD", &self.shim).envs(settings).env("FAULT_AT", at.to_string());
            command.env("FAULT_UNDER", work_dir.join(SWEEP)).env("FAULT_COUNT", &count);
        }
        let mut child = command.spawn().map_err(|e| format!("cannot run {}: {e}", self.lerp.display()))?;
        let (group, started) = (child.id(), Instant::now());
        let mut ended = None;
        let mut hung = false;
        // Worker processes may end shortly after the sweep's own process.
        while ended.is_none() || group_lives(group) {
            if ended.is_none() {
                ended = child.try_wait().map_err(|e| e.to_string())?;
            }
            let age = started.elapsed();
            hung = age > PATIENCE;
            if hung || kill_after.is_some_and(|limit| age > limit && ended.is_none()) {
                let _ = Command::new("kill")
                    .args(["-KILL", "--", &format!("-{group}")])
                    .stderr(Stdio::null())
                    .status();
            }
            if hung {
                let _ = child.wait();
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let text = fs::read(&out).map_err(|e| format!("cannot read {}: {e}", out.display()))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let ended = ended.filter(|_| !hung);
        Ok(End { code: ended.and_then(|end| end.code()), signal: ended.and_then(|end| end.signal()), text })
    }

    /// Returns the number of calls that a process of the subcommand `who` makes while `line` runs; if there are several
    /// such processes, that of the last one to end.
    pub fn calls(&self, work_dir: &Path, line: &str, who: &'static str) -> Result<u64> {
        let fault = Fault { who, mode: "count", at: 0 };
        let end = self.run(work_dir, line, Some(&fault), None)?;
        let count = fs::read_to_string(work_dir.join("count.txt"));
        let count = count.ok().and_then(|text| text.trim().parse().ok());
        count
            .filter(|count| *count > 0)
            .ok_or_else(|| format!("no calls of '{who}' were counted: {}", end.text))
    }
}

/// Whether a process of the group is alive and not a zombie.
fn group_lives(group: u32) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.filter_map(std::io::Result::ok).any(|process| {
        let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { return false };
        // The fields after the process's name, which may contain any character, are state, parent and group.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        fields.first().is_some_and(|state| *state != "Z")
            && fields.get(2).and_then(|field| field.parse().ok()) == Some(group)
    })
}

/// Writes a file.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, bytes).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

/// Copies a folder with its contents.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(|e| format!("cannot create {}: {e}", to.display()))?;
    for path in list(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(|e| format!("cannot copy {}: {e}", path.display()))?;
        }
    }
    Ok(())
}

/// Returns the paths of a folder's entries, sorted by name.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(std::io::Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// Returns the folders of the sweep's runs.
pub fn runs(work_dir: &Path) -> Result<Vec<PathBuf>> {
    list(&work_dir.join(SWEEP).join("runs"))
}

/// Returns the results of training, which must be reproducible bit for bit: every run's model, images and paths, and
/// all metrics except times.
pub fn results(subject: &ProgramUnderTest, work_dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut results = BTreeMap::new();
    for run in runs(work_dir)? {
        for name in
            ["model.safetensors", "interpolation.safetensors", "interpolation.png", "paths.safetensors"]
        {
            let label = format!("{}/{name}", run.file_name().unwrap_or_default().to_string_lossy());
            results.insert(label, read(&run.join(name))?);
        }
    }
    let end = subject.run(work_dir, &format!("export {SWEEP} --to csv"), None, None)?;
    if end.code != Some(0) {
        return Err(format!("export: {}", end.last_line()));
    }
    let text =
        String::from_utf8_lossy(&read(&work_dir.join(SWEEP).join("export/csv/metrics.csv"))?).into_owned();
    // The last column is the time. No value contains a comma.
    let without_clock = |line: &str| line.rsplit_once(',').map_or(String::new(), |(rest, _)| rest.to_owned());
    let table: Vec<String> = text.lines().map(without_clock).collect();
    results.insert("metrics".into(), table.join("\n").into_bytes());
    Ok(results)
}

/// Returns the tables and figures of a report, but not its page, which also contains logs.
pub fn shown(work_dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut shown = BTreeMap::new();
    for folder in ["tables", "figures"] {
        for path in list(&work_dir.join(SWEEP).join(folder))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            shown.insert(name, read(&path)?);
        }
    }
    Ok(shown)
}

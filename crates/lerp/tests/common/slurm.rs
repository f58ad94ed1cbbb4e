//! A Slurm cluster of three nodes on this machine, from Debian's packages and without their services.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The nodes, each with two processors.
pub const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// A running cluster. Its daemons end when it is dropped.
pub struct Cluster {
    dir: tempfile::TempDir,
    daemons: BTreeMap<String, Child>,
}

/// A task in the queue.
#[derive(Debug, Clone)]
pub struct Task {
    /// Job number of the task itself.
    pub id: String,
    /// Job number of the array; of a job that is not an array, its own number.
    pub array: String,
    /// Number of the task in the array.
    pub index: Option<usize>,
    pub restarts: u32,
    pub state: String,
    pub node: Option<String>,
}

impl Task {
    /// Returns the name of the task as `scontrol` and `scancel` expect it.
    pub fn name(&self) -> String {
        format!("{}_{}", self.array, self.index.unwrap())
    }
}

impl Cluster {
    /// Starts one. Where Slurm is not installed, the test is skipped and the result is `None`.
    pub fn start() -> Option<Self> {
        let missing = ["slurmctld", "slurmd", "munged", "sbatch"].into_iter().find(|program| {
            let found = env::split_paths(&path()).any(|folder| folder.join(program).exists());
            !found
        });
        if let Some(missing) = missing {
            lerp_test::skip("slurm", &format!("there is no {missing}; install slurm-wlm and munge"));
            return None;
        }
        let mut cluster = Self { dir: tempfile::tempdir().unwrap(), daemons: BTreeMap::new() };
        cluster.configure();
        let (key, socket) = (cluster.at("munge.key"), cluster.at("munge.sock"));
        fs::write(&key, temporary_key()).unwrap();
        set_mode(&key, 0o400);
        let dir = cluster.dir.path().to_owned();
        let mut munged = cluster.command("munged");
        munged.args(["--foreground", "--force"]);
        for (option, file) in [
            ("key-file", "munge.key"),
            ("socket", "munge.sock"),
            ("pid-file", "munge.pid"),
            ("seed-file", "munge.seed"),
        ] {
            munged.arg(format!("--{option}={}", dir.join(file).display()));
        }
        cluster.daemon("munged", munged);
        until("munge", || socket.exists());
        let mut controller = cluster.command("slurmctld");
        controller.arg("-D");
        cluster.daemon("slurmctld", controller);
        for node in NODES {
            cluster.start_node(node);
        }
        until("the nodes", || {
            let idle = cluster.ask("sinfo", &["--noheader", "--format=%D %t", "--partition=low"]);
            idle.contains("3 idle")
        });
        Some(cluster)
    }

    /// Returns the path of a file in the folder of the cluster.
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the configuration of the cluster.
    fn configure(&self) {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap().trim().to_owned();
        let dir = self.dir.path().display();
        let ports: Vec<u16> = free_ports(4);
        let mut text = format!(
            "ClusterName=test\nSlurmctldHost=localhost\nSlurmctldPort={}\nSlurmUser={user}\nSlurmdUser={user}\n\
             AuthInfo=socket={dir}/munge.sock,cred_expire=5\nStateSaveLocation={dir}/state\n\
             SlurmdSpoolDir={dir}/spool/%n\nSlurmdPidFile={dir}/%n.pid\nSlurmctldPidFile={dir}/controller.pid\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n\
             AccountingStorageType=accounting_storage/none\nSelectType=select/cons_tres\n\
             SelectTypeParameters=CR_CPU\nSlurmdParameters=config_overrides\nReturnToService=2\n\
             SlurmdTimeout=10\nKillWait=5\nMpiDefault=none\nGresTypes=gpu\n\
             SchedulerParameters=sched_interval=2,bf_interval=2\n\
             PreemptType=preempt/partition_prio\nPreemptMode=REQUEUE\n",
            ports[0]
        );
        for (node, port) in NODES.into_iter().zip(&ports[1..]) {
            let of = "NodeHostname=localhost NodeAddr=127.0.0.1 CPUs=2 Gres=gpu:1";
            text.extend([format!("NodeName={node} {of} Port={port}\n")]);
            fs::create_dir_all(self.at("spool").join(node)).unwrap();
        }
        text += "PartitionName=low Nodes=n1,n2,n3 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=5\n\
                 PartitionName=high Nodes=n1,n2,n3 MaxTime=INFINITE State=UP PriorityTier=10\n\
                 PartitionName=gpu Nodes=n3 MaxTime=INFINITE State=UP PriorityTier=1\n";
        fs::create_dir_all(self.at("state")).unwrap();
        fs::write(self.at("slurm.conf"), text).unwrap();
        fs::write(self.at("gres.conf"), "Name=gpu File=/dev/null\n").unwrap();
        fs::write(self.at("cgroup.conf"), "CgroupPlugin=cgroup/v1\n").unwrap();
    }

    /// Returns a command in the environment of the cluster.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.at("slurm.conf")).env("PATH", path());
        command
    }

    /// Starts a daemon whose output goes to a log.
    fn daemon(&mut self, name: &str, mut command: Command) {
        let log =
            fs::File::options().create(true).append(true).open(self.at(&format!("{name}.log"))).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        self.daemons.insert(name.to_owned(), child);
    }

    /// Starts the daemon of a node.
    pub fn start_node(&mut self, node: &str) {
        let mut command = self.command("slurmd");
        command.args(["-D", "-N", node]);
        self.daemon(node, command);
    }

    /// Kills the daemon of a node, but none of the tasks on it.
    pub fn kill_node(&mut self, node: &str) {
        let mut daemon = self.daemons.remove(node).unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Returns the processes of a task: its script and all that it started.
    pub fn processes_of(&self, task: &Task) -> Vec<Process> {
        let variable = format!("SLURM_JOB_ID={}", task.id);
        processes(|process| self.is_ours(process) && process.has(&variable))
    }

    /// Kills the process that watches over a task on its node (`slurmstepd`), but not the task.
    pub fn kill_watcher(&self, task: &Task) {
        let watched = self.processes_of(task);
        let watcher = |process: &Process| watched.iter().any(|watched| watched.parent == process.id);
        let watchers = processes(|process| process.line.starts_with("slurmstepd: [") && watcher(process));
        assert_eq!(watchers.len(), 1, "{watched:?}");
        kill("-KILL", watchers[0].id);
        until("the watcher's end", || processes(|process| process.id == watchers[0].id).is_empty());
    }

    /// Whether a process belongs to this cluster.
    fn is_ours(&self, process: &Process) -> bool {
        process.has(&format!("SLURM_CONF={}", self.at("slurm.conf").display()))
    }

    /// Returns the output of one of Slurm's commands, whether or not it fails.
    pub fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the output of one of Slurm's commands, and panics if it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns all tasks and jobs in the queue.
    pub fn queue(&self) -> Vec<Task> {
        let format = "--Format=JobID:20,ArrayJobID:20,ArrayTaskID:12,RestartCnt:12,State:20,NodeList:60";
        let text = self.ask("squeue", &["--array", "--noheader", format]);
        let task = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            Task {
                id: words[0].into(),
                array: words[1].into(),
                index: words[2].parse().ok(),
                restarts: words[3].parse().unwrap(),
                state: words[4].into(),
                node: words.get(5).map(ToString::to_string),
            }
        };
        text.lines().map(task).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read_to_string(self.at("slurmctld.log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(60).collect();
            let _ = writeln!(
                std::io::stderr(),
                "the end of the controller's log:\n{}",
                last.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        // After a failed test, tasks, orphans and the processes that watch over them may still be running.
        let ours = processes(|process| self.is_ours(process));
        let watches = |process: &Process| {
            process.line.starts_with("slurmstepd: [") && ours.iter().any(|ours| ours.parent == process.id)
        };
        for process in processes(watches).iter().chain(&ours) {
            kill("-KILL", process.id);
        }
        for (_, mut daemon) in std::mem::take(&mut self.daemons) {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// A process of this machine.
#[derive(Debug, Clone)]
pub struct Process {
    pub id: u32,
    pub parent: u32,
    /// The command line.
    pub line: String,
}

impl Process {
    /// Whether the environment of the process has this variable and value, given as `NAME=VALUE`.
    pub fn has(&self, variable: &str) -> bool {
        let environment = fs::read(format!("/proc/{}/environ", self.id)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes())
    }
}

/// Returns the wanted processes of this machine, without the current one.
pub fn processes(wanted: impl Fn(&Process) -> bool) -> Vec<Process> {
    let read = |entry: fs::DirEntry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
        Some(Process { id, parent, line })
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| read(entry.ok()?));
    all.filter(|process| process.id != std::process::id() && wanted(process)).collect()
}

/// Sends a signal to a process. Errors are ignored, because the process may have ended.
pub fn kill(signal: &str, process: u32) {
    let _ = Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status();
}

/// Waits until `done` returns `true`, for at most a minute and a half.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(90), "{what} takes too long");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Returns the search path of programs, including the folders in which Debian installs daemons.
fn path() -> std::ffi::OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// Returns ports that are free now.
fn free_ports(number: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..number).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Returns a random key for munge.
fn temporary_key() -> Vec<u8> {
    let mut key = vec![0; 1024];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut key).unwrap();
    key
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

//! Tests of sweeps on a terminal and of a system that grants no threads.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::common::{lerp, limited, parts};

/// On a terminal Ctrl-C signals the worker processes as well as the sweep, possibly while a worker is starting.
#[test]
fn an_interrupted_starting_worker_is_not_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    for (index, delay) in [0, 1, 2, 4, 6, 8, 10, 13, 16, 20, 25, 30, 40, 60, 100, 150].into_iter().enumerate()
    {
        let out = dir.path().join(index.to_string());
        let mut command = lerp();
        let pack = if index % 2 == 0 { "" } else { " --pack" };
        let line =
            format!("sweep --preset smoke --samples 200000 --variants baseline,dropout,vae --jobs 2{pack}");
        command.args(line.split(' ')).arg("--out").arg(&out);
        let mut child = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("] start ")), "it must begin");
        thread::sleep(Duration::from_millis(delay));
        let group = format!("-{}", child.id());
        assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{delay} ms: {rest:?}");
        assert!(!rest.iter().any(|line| line.contains("FAILED")), "{delay} ms: {rest:?}");
        assert!(rest.iter().any(|line| line.contains("to resume.")), "{delay} ms: {rest:?}");
    }
}

/// Returns the output of `lerp` on a terminal of the kind `term`. If the program `script`, which provides a terminal,
/// is missing, the test is skipped and the result is `None`.
fn on_terminal(term: &str, line: &str, out: &Path) -> Option<String> {
    let command = format!("'{}' {line} '{}'", env!("CARGO_BIN_EXE_lerp"), out.display());
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &command, "/dev/null"]).env("TERM", term).env_remove("NO_COLOR");
    let output = match script.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => {
            lerp_test::skip(
                "script",
                &format!("the program `script`, which makes a terminal, does not run: {error}"),
            );
            return None;
        }
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_dumb_terminal_gets_the_lines_that_a_pipe_gets() {
    let dir = tempfile::tempdir().unwrap();
    let line = "sweep --preset smoke --samples 64 --variants vae --out";
    let Some(text) = on_terminal("xterm", line, &dir.path().join("xterm")) else { return };
    assert!(text.contains('\u{1b}') && !text.contains("] start "), "{text}");
    let out = dir.path().join("dumb");
    let text = on_terminal("dumb", line, &out).unwrap();
    assert!(text.contains("] start ") && text.contains("] done "), "{text}");
    let compared = on_terminal("dumb", "compare", &out).unwrap();
    let watched = on_terminal("dumb", "watch", &out).unwrap();
    for text in [text, compared, watched] {
        assert!(text.contains("VAE") || text.contains("vae"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}

#[test]
fn threads_that_cannot_be_started_are_told_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let line = "sweep --preset smoke --samples 64 --variants vae --out";
    // The stacks of a thousand threads exceed this limit of virtual memory.
    for limits in ["export RAYON_NUM_THREADS=100000", "ulimit -v 1500000; export RAYON_NUM_THREADS=1000"] {
        let attempt = || parts(&limited(limits, line, &[&out]));
        let (mut code, _, mut errors) = attempt();
        // Where the last bytes of memory go to the C library of a thread that has just been started, that ends the
        // process.
        for _ in 0..10 {
            if errors.contains("Fatal glibc error") {
                (code, _, errors) = attempt();
            }
        }
        assert_eq!((code, errors.lines().count()), (2, 1), "{limits}: {errors}");
        assert!(errors.contains("RAYON_NUM_THREADS"), "{errors}");
    }
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
}

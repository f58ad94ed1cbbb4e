//! This process: its threads, its command line, and the signals that stop it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, bail};

/// Starts the global thread pool with the number of threads in `RAYON_NUM_THREADS`, or one per core.
///
/// # Errors
/// If the number is too large, or the system does not grant the threads.
pub fn start_threads() -> Result<()> {
    /// The largest accepted number of threads; larger numbers are taken for typing errors.
    const MAX_THREADS: usize = 1024;
    const NAME: &str = "RAYON_NUM_THREADS";
    let asked = std::env::var(NAME).ok().and_then(|number| number.parse::<usize>().ok());
    if let Some(asked) = asked.filter(|asked| *asked > MAX_THREADS) {
        bail!("{NAME} is {asked}; give at most {MAX_THREADS}");
    }
    let started = rayon::ThreadPoolBuilder::new().build_global();
    started.map_err(|error| {
        anyhow::anyhow!(
            "cannot start threads ({error}); raise the limit of threads (ulimit -u) or of memory, or set {NAME} to a \
             smaller number"
        )
    })
}

/// Returns a flag that the first Ctrl-C or termination signal sets; a second signal ends the process.
///
/// # Errors
/// If the signal handler cannot be installed.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("cannot catch Ctrl-C")?;
    Ok(stop)
}

/// The environment variable in which a program that starts `lerp` for its user says what the user typed in place of
/// `lerp`. `cargo xtask` sets it to `cargo xtask`.
const INVOKED_AS: &str = "LERP_INVOKED_AS";

/// Returns this process's command line as a user would type it, with quotes where necessary.
pub fn command_line() -> String {
    let mut arguments = std::env::args_os().map(|argument| {
        let text = argument.to_string_lossy().into_owned();
        let plain = |c: char| c.is_alphanumeric() || "-_./=:,".contains(c);
        let quoted = || format!("'{}'", text.replace('\'', r"'\''"));
        if !text.is_empty() && text.chars().all(plain) { text } else { quoted() }
    });
    let program = arguments.next().unwrap_or_default();
    let own_name = || Path::new(&program).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let program = std::env::var(INVOKED_AS).unwrap_or_else(|_| own_name());
    arguments.fold(program, |line, argument| line + " " + &argument)
}

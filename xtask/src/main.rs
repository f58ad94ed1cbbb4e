//! `cargo xtask`: builds `lerp` with the features that the device needs and runs it, and runs this repository's own
//! checks.
//!
//! Only the commands `ci`, `tidy`, `faults` and `cuda-check` are implemented here; all others are passed to `lerp`.

mod ci;
mod cuda;
#[cfg(unix)]
mod faults;
mod tidy;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// The feature for downloading image data sets.
const HUB: &str = "hub";

type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("ci") => ci::ci(&arguments[1..]),
        Some("tidy") => tidy::tidy(),
        Some("cuda-check") => cuda::check(&arguments[1..]),
        #[cfg(unix)]
        Some("faults") => faults::faults(&arguments[1..]),
        _ => return lerp(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(&format!("error: {message}"));
            ExitCode::from(1)
        }
    }
}

/// Builds and runs `lerp`, and exits with its exit code.
fn lerp(arguments: &[String]) -> ExitCode {
    let binary = match build(feature(arguments)) {
        Ok(binary) => binary,
        Err(message) => {
            say(&format!("error: {message}"));
            return ExitCode::from(2);
        }
    };
    // `lerp` records its command line with every result, and there this program is what the user typed.
    match become_command(Command::new(&binary).args(arguments).env("LERP_INVOKED_AS", "cargo xtask")) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("error: cannot run {}: {error}", binary.display()));
            ExitCode::from(2)
        }
    }
}

/// Replaces this process by a command, so that signals and the exit code are its own.
#[cfg(unix)]
fn become_command(command: &mut Command) -> std::io::Result<ExitCode> {
    Err(std::os::unix::process::CommandExt::exec(command))
}

/// Runs a command and returns its exit code.
#[cfg(not(unix))]
fn become_command(command: &mut Command) -> std::io::Result<ExitCode> {
    command.status().map(|status| ExitCode::from(status.code().map_or(130, |code| code as u8)))
}

/// Returns the feature that a command needs: the hub's client for `data fetch`, otherwise the one for the device in
/// `--device`.
fn feature(arguments: &[String]) -> Option<&'static str> {
    if arguments.starts_with(&["data".to_owned(), "fetch".to_owned()]) {
        return Some(HUB);
    }
    let value = |(i, argument): (usize, &String)| match argument.strip_prefix("--device") {
        Some("") => arguments.get(i + 1).cloned(),
        Some(rest) => rest.strip_prefix('=').map(String::from),
        None => None,
    };
    let device = arguments.iter().enumerate().find_map(value)?;
    match device.split(':').next() {
        Some("cuda") => Some("cuda"),
        Some("metal") => Some("metal"),
        _ => None,
    }
}

/// Builds `lerp` in release mode and returns the program's path. It prints a message only if the build takes long.
fn build(feature: Option<&str>) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--package", "lerpbench"]);
    let target = root().join("target");
    // A build with a device's feature has its own target folder, so that it never causes a rebuild of the plain one.
    // The hub's client uses other features of many crates, whose builds can share a target folder with the plain ones.
    let target = feature.filter(|f| *f != HUB).map_or(target.clone(), |f| target.join(f));
    if let Some(feature) = feature {
        command.args(["--features", feature]);
    }
    if feature == Some("cuda") {
        cuda::prepare(&mut command)?;
    }
    let binary = target.join("release").join(format!("lerp{}", env::consts::EXE_SUFFIX));
    if feature == Some(HUB) {
        say("Building lerp with the hub's client (the first time takes several minutes)");
        command.arg("--quiet");
    } else if binary.exists() {
        command.arg("--quiet");
    } else {
        let kernels = if feature == Some("cuda") {
            ", and candle's CUDA kernels a quarter of an hour more"
        } else {
            ""
        };
        say(&format!("Building lerp in release (the first time takes several minutes{kernels})"));
    }
    run(command.arg("--target-dir").arg(&target))?;
    Ok(binary)
}

/// Returns the root of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Returns a `cargo` command in the root of the workspace.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The target folder is fixed, because the built program is looked for in it.
    command.current_dir(root()).env("CARGO_TARGET_DIR", root().join("target"));
    command
}

/// Runs a command; the error contains the command.
fn run(command: &mut Command) -> Result<()> {
    let words = |command: &Command| {
        let arguments =
            command.get_args().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        format!(
            "{} {arguments}",
            Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy()
        )
    };
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{}` failed ({status})", words(command))),
        Err(error) => Err(format!("cannot run `{}`: {error}", words(command))),
    }
}

#[allow(clippy::print_stderr)]
fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::feature;

    #[test]
    fn the_arguments_decide_which_feature_is_built() {
        let of = |line: &str| feature(&line.split(' ').map(String::from).collect::<Vec<_>>());
        assert_eq!(of("sweep --preset lines"), None);
        assert_eq!(of("sweep --device cuda:0,1"), Some("cuda"));
        assert_eq!(of("verify --device=metal"), Some("metal"));
        assert_eq!(of("data fetch mnist"), Some("hub"));
        assert_eq!(of("data list"), None);
    }
}

//! Builds for CUDA: their environment, and `cargo xtask cuda-check`, which tests a build without CUDA libraries, or
//! with `--emulated` on the emulated device in `tools/cuda-emulator`.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Once,
    time::Instant,
};

use crate::{Result, build, cargo, root, run, say};

/// The environment variables from which crates that compile and link against CUDA read the toolkit's folder.
const ROOTS: [&str; 4] = ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"];

/// The compute capability to compile for on a machine without a GPU. Newer GPUs also run its code.
const OLDEST: &str = "80";

/// The prefixes of the CUDA libraries' names.
const LIBRARIES: [&str; 7] = ["cuda.", "cudart.", "nvrtc.", "cublas.", "cublasLt.", "curand.", "cudnn"];

/// The folder of the CUDA emulator.
const EMULATOR: &str = "tools/cuda-emulator";

/// The emulator's switches that only print more. They are removed, so that every line which the emulator prints for
/// another reason is a complaint.
const VERBOSE: [&str; 3] = ["EMU_VERBOSE", "EMU_TRACE", "EMU_STATS"];

/// Makes sure that the notice about a missing GPU is printed only once.
static NO_GPU_NOTICE: Once = Once::new();

/// Sets the variables with which cargo's build scripts find the toolkit. The error is a sentence that says what is
/// needed.
pub fn prepare(command: &mut Command) -> Result<()> {
    let named = named_toolkit();
    let path = env::var_os("PATH").unwrap_or_default();
    let nvcc = nvcc(named.as_deref().map(Path::new), &path, Path::is_file)?;
    // Some dependencies look for nvcc only in PATH, and take the first one there.
    let folder = nvcc.parent().unwrap_or(Path::new("")).to_owned();
    let folders = std::iter::once(folder.clone()).chain(env::split_paths(&path));
    command.env("PATH", env::join_paths(folders).map_err(|e| e.to_string())?);
    if named.is_none()
        && let Some(root) = toolkit(&nvcc)
    {
        command.env("CUDA_HOME", root);
    }
    if env::var_os("CUDA_COMPUTE_CAP").is_none() && !succeeds(Command::new("nvidia-smi").arg("-L")) {
        NO_GPU_NOTICE.call_once(|| {
            say(&format!(
                "There is no GPU here to ask for its architecture: compiling for {OLDEST}, which newer ones run \
                 too; set CUDA_COMPUTE_CAP to another"
            ));
        });
        command.env("CUDA_COMPUTE_CAP", OLDEST);
    }
    Ok(())
}

/// Returns the toolkit's folder if an environment variable names it.
fn named_toolkit() -> Option<OsString> {
    ROOTS.iter().find_map(|name| env::var_os(name).filter(|root| !root.is_empty()))
}

/// Returns the toolkit's folder, in which this compiler's libraries are; the compiler may be a symbolic link. Returns
/// `None` if there is no such folder.
fn toolkit(nvcc: &Path) -> Option<PathBuf> {
    let paths = [Some(nvcc.to_owned()), nvcc.canonicalize().ok()];
    let roots = paths.into_iter().flatten().filter_map(|nvcc| Some(nvcc.parent()?.parent()?.to_owned()));
    let holds =
        |root: &PathBuf| ["lib64", "lib"].iter().any(|lib| root.join(lib).join("libcudart.so").exists());
    { roots }.find(holds)
}

/// Returns the path of nvcc: in the folder that a variable names, in `PATH`, or where NVIDIA installs it.
fn nvcc(named: Option<&Path>, path: &OsStr, exists: impl Fn(&Path) -> bool) -> Result<PathBuf> {
    let file = format!("nvcc{}", env::consts::EXE_SUFFIX);
    let folders = named.map(|root| root.join("bin")).into_iter().chain(env::split_paths(path));
    folders
        .chain(["/usr/local/cuda/bin".into()])
        .map(|folder| folder.join(&file))
        .find(|nvcc| exists(nvcc))
        .ok_or_else(|| {
            "a build for CUDA needs NVIDIA's CUDA toolkit 12 or 13 with cuDNN 9, and there is no nvcc in \
             CUDA_HOME/bin, in PATH or in /usr/local/cuda/bin; install it \
             (https://developer.nvidia.com/cuda-downloads), set CUDA_HOME to its folder, or use --device cpu"
                .into()
        })
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Runs the checks before a release, on a machine with the toolkit: lints, the tests that need no GPU, and whether the
/// program starts without CUDA. With `--emulated` it runs the program on the emulated device instead.
pub fn check(arguments: &[String]) -> Result<()> {
    let on_emulator = match arguments {
        [] => false,
        [word] if word == "--emulated" => true,
        words => {
            return Err(format!("cuda-check has no argument '{}'; there is --emulated", words.join(" ")));
        }
    };
    let started = Instant::now();
    if on_emulator && !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("the CUDA emulator runs on Linux on x86-64 only; leave --emulated out".into());
    }
    let binary = build(Some("cuda"))?;
    if on_emulator {
        emulated(&binary)?;
        say(&format!("cuda-check --emulated: everything passed in {} s", started.elapsed().as_secs()));
        return Ok(());
    }
    needs_no_library(&binary)?;
    starts_without(&binary)?;
    let deny = ["--all-targets", "--", "-D", "warnings"];
    run(with_feature("clippy")?.args(deny))?;
    run(with_feature("test")?.args(["--lib", "loader"]))?;
    run(with_feature("test")?.args(["--lib", "device"]))?;
    run(with_feature("test")?.args(["--test", "command", "bad_input"]))?;
    say(&format!("cuda-check: everything passed in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// Returns a cargo command for the crates that use CUDA.
fn with_feature(verb: &str) -> Result<Command> {
    let mut command = cargo();
    command.args([
        verb,
        "--release",
        "--locked",
        "-p",
        "lerpbench",
        "-p",
        "lerp-kernels",
        "--features",
        "lerpbench/cuda",
    ]);
    command.arg("--target-dir").arg(root().join("target/cuda"));
    prepare(&mut command)?;
    Ok(command)
}

/// Fails if the dynamic loader would look for a CUDA library before the program's first instruction.
fn needs_no_library(binary: &Path) -> Result<()> {
    let output = Command::new("readelf").args(["-dW", "--dyn-syms"]).arg(binary).output();
    let Ok(Output { stdout, status, .. }) = output else {
        say("cuda-check: there is no readelf; not checked which libraries the program needs at its start");
        return Ok(());
    };
    if !status.success() {
        return Err(format!("readelf cannot read {}", binary.display()));
    }
    let text = String::from_utf8_lossy(&stdout);
    let needed = needed(&text);
    if needed.is_empty() {
        say("cuda-check: the program needs no CUDA library at its start");
        return Ok(());
    }
    Err(format!(
        "{} needs {} at its start; add to crates/lerp-kernels/src/cuda/loader/symbols.rs: {}",
        binary.display(),
        needed.join(", "),
        undefined(&text).join(" ")
    ))
}

/// Returns the CUDA libraries among those that the program needs to start.
fn needed(readelf: &str) -> Vec<&str> {
    let names = readelf.lines().filter(|line| line.contains("(NEEDED)"));
    let names = names.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0));
    names
        .filter(|name| name.strip_prefix("lib").is_some_and(|n| LIBRARIES.iter().any(|l| n.starts_with(l))))
        .collect()
}

/// Returns the CUDA functions that the program expects from a library.
fn undefined(readelf: &str) -> Vec<&str> {
    let symbols = readelf.lines().filter(|line| line.contains(" UND "));
    let names = symbols.filter_map(|line| line.split(" UND ").nth(1)?.trim().split(['@', ' ']).next());
    names.filter(|name| ["cu", "nvrtc", "__cuda"].iter().any(|prefix| name.starts_with(prefix))).collect()
}

/// Runs the program without CUDA libraries. On a machine that has them, the driver's library is hidden.
fn starts_without(binary: &Path) -> Result<()> {
    let lerp = |device: &str, libraries: Option<&Path>| {
        let mut command = Command::new(binary);
        command.args(["verify", "--quiet", "--device", device]).current_dir(root());
        for name in ROOTS {
            command.env_remove(name);
        }
        match libraries {
            Some(folder) => command.env("LD_LIBRARY_PATH", folder),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
        command.output().map_err(|e| format!("cannot run {}: {e}", binary.display()))
    };
    let output = lerp("cpu", None)?;
    if !output.status.success() {
        return Err(format!("verify --device cpu: {}", said(&output)));
    }
    let mut output = lerp("cuda", None)?;
    if output.status.success() {
        // An invalid library file is found before the driver's.
        let folder = root().join("target/cuda/no-driver");
        let hide = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("libcuda.so.1"), ""));
        hide.map_err(|e| format!("cannot write in {}: {e}", folder.display()))?;
        say("cuda-check: this machine has CUDA; asking once more with the driver hidden");
        output = lerp("cuda", Some(&folder))?;
    }
    let text = said(&output);
    if output.status.code() != Some(2) || text.lines().count() != 1 || !text.ends_with("--device cpu") {
        return Err(format!("verify --device cuda ({}), without CUDA: {text}", output.status));
    }
    say(&format!("cuda-check: without CUDA, --device cpu works and --device cuda says: {text}"));
    Ok(())
}

/// Builds and tests the CUDA emulator, and runs `lerp verify` and `lerp conformance` on it.
fn emulated(binary: &Path) -> Result<()> {
    for (name, failure) in [
        ("build.sh", "the CUDA emulator cannot be built; the lines above say what is missing"),
        ("test.sh", "the CUDA emulator fails its own tests; the lines above say which"),
    ] {
        say(&format!("cuda-check: {EMULATOR}/{name}"));
        run(&mut script(name)?).map_err(|error| format!("{failure} ({error})"))?;
    }
    for (line, failure) in [
        (
            "verify --device cuda --quiet",
            "`lerp verify` fails on the emulated device; its lines above say where",
        ),
        (
            "conformance --device cuda",
            "`lerp conformance` fails on the emulated device; its lines above say where",
        ),
    ] {
        runs_emulated(binary, line, failure)?;
    }
    Ok(())
}

/// Returns the command that runs a script of the emulator.
fn script(name: &str) -> Result<Command> {
    let mut command = Command::new("bash");
    command.arg(root().join(EMULATOR).join(name)).current_dir(root());
    prepare(&mut command)?;
    // The scripts read only `CUDA_HOME`, but the toolkit may be named by another variable.
    if let Some(named) = named_toolkit() {
        command.env("CUDA_HOME", named);
    }
    Ok(command)
}

/// Runs the program with the arguments in `line` on the emulated device. The error is `failure` if the program fails;
/// it is also an error if the emulator complains, because a GPU may let the same mistake pass in silence.
fn runs_emulated(binary: &Path, line: &str, failure: &str) -> Result<()> {
    say(&format!("cuda-check: lerp {line}, on the emulated device"));
    let mut command = Command::new(binary);
    command.args(line.split(' ')).current_dir(root());
    command.env("LD_LIBRARY_PATH", root().join("target/emulator/lib"));
    for name in VERBOSE {
        command.env_remove(name);
    }
    let cannot = |error: std::io::Error| format!("cannot run {}: {error}", binary.display());
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(cannot)?;
    let mut complaints = 0;
    if let Some(errors) = child.stderr.take() {
        for bytes in BufReader::new(errors).split(b'\n') {
            let bytes = bytes.map_err(cannot)?;
            let text = String::from_utf8_lossy(&bytes);
            complaints += usize::from(is_complaint(&text));
            say(&text);
        }
    }
    let status = child.wait().map_err(cannot)?;
    if !status.success() {
        return Err(format!("{failure} ({status})"));
    }
    if complaints > 0 {
        return Err(format!(
            "the emulator complained {complaints} times about `lerp {line}`; the lines above that begin with EMU: say \
             what is wrong"
        ));
    }
    Ok(())
}

/// Whether a line is the emulator's and names a mistake. It also prints a summary of each capture, and warnings.
fn is_complaint(line: &str) -> bool {
    let harmless = ["capture ended", "warning:"];
    line.strip_prefix("EMU: ").is_some_and(|text| !harmless.iter().any(|prefix| text.starts_with(prefix)))
}

/// Returns what a program printed to standard error.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_named_toolkit_comes_before_the_path_and_the_usual_place() {
        let (named, path) = (Path::new("/opt/cuda-13"), OsStr::new("/usr/bin:/elsewhere"));
        let find =
            |named, paths: &[&str]| nvcc(named, path, |file| paths.iter().any(|p| file == Path::new(p)));
        let all = ["/opt/cuda-13/bin/nvcc", "/elsewhere/nvcc", "/usr/local/cuda/bin/nvcc"];
        assert_eq!(find(Some(named), &all), Ok(all[0].into()));
        assert_eq!(find(None, &all), Ok(all[1].into()));
        assert_eq!(find(Some(named), &all[2..]), Ok(all[2].into()));
        let error = find(Some(named), &[]).unwrap_err();
        assert!(error.contains("no nvcc in CUDA_HOME/bin") && error.lines().count() == 1, "{error}");
    }

    #[test]
    fn summaries_and_warnings_of_the_emulator_are_no_complaints() {
        assert!(is_complaint("EMU: cuMemFree: 0x7f is not a live device allocation (freed before)"));
        for line in ["EMU: capture ended: 3 nodes", "EMU: warning: cuMemAllocAsync of 0 bytes", "3459 passed"]
        {
            assert!(!is_complaint(line), "{line}");
        }
    }

    #[test]
    fn libraries_and_functions_of_cuda_are_found_in_what_readelf_says() {
        let text = "
 0x0000000000000001 (NEEDED)             Shared library: [libcublas.so.13]
 0x0000000000000001 (NEEDED)             Shared library: [libcurl.so.4]
 0x0000000000000001 (NEEDED)             Shared library: [libcudnn_ops.so.9]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
     5: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND cublasSgemm_v2@libcublas.so.13 (4)
     6: 0000000000000000     0 NOTYPE  GLOBAL DEFAULT  UND cuInit
     7: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND strlen@GLIBC_2.2.5 (2)
";
        assert_eq!(needed(text), ["libcublas.so.13", "libcudnn_ops.so.9"]);
        assert_eq!(undefined(text), ["cublasSgemm_v2", "cuInit"]);
    }
}

//! Tests of `lerp sweep` on the command line: repeated, simultaneous and interrupted sweeps, and failing cells.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use lerp_train::{Run, State};

#[cfg(unix)]
use crate::common::limited;
use crate::common::{lerp, parts, rewrite, run, runs, unfinished};

const TINY: &str = "sweep --preset smoke --samples 64 --out";

#[test]
fn a_second_sweep_trains_only_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("sweep");
    let (code, text, errors) = parts(&run(&format!("{TINY} {} --variants baseline", out.display()), &[]));
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("Estimate:") && text.contains("done      lines-baseline-s0"), "{text}");
    let first = fs::metadata(runs(&out)[0].join("model.safetensors")).unwrap().modified().unwrap();

    let (code, text, errors) =
        parts(&run(&format!("{TINY} {} --variants baseline,dropout", out.display()), &[]));
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("1 of 2 runs to train"), "{text}");
    assert_eq!(fs::metadata(runs(&out)[0].join("model.safetensors")).unwrap().modified().unwrap(), first);

    let started = Instant::now();
    let (code, text, _) = parts(&run(&format!("{TINY} {} --variants baseline,dropout", out.display()), &[]));
    assert_eq!(code, 0);
    assert!(text.contains("Nothing to do: all 2 runs"), "{text}");
    assert!(started.elapsed().as_secs() < 10);
}

/// Writes a plan of two cells, of which Baseline's fails because its learning rate is far too high.
fn plan_of_which_one_cell_fails(folder: &Path) -> PathBuf {
    let plan = folder.join("plan.toml");
    let text = "datasets = [\"lines\"]\nvariants = [\"baseline\", \"dropout\"]\nseeds = \"0\"\njudge = 0\nsamples = 256\n\
                eval_every = 128\ntest_samples = 64\n[network]\ndepth = 4\nlatent = 4\n\
                [variant.baseline]\nlearning_rate = 1e30\n";
    fs::write(&plan, text).unwrap();
    plan
}

#[test]
fn a_cell_that_fails_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan_of_which_one_cell_fails(dir.path());
    let out = dir.path().join("out");
    let (code, text, _) = parts(&run("sweep --jobs 1 --config", &[&plan, "--out".as_ref(), &out]));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("FAILED lines-baseline-s0"), "{text}");
    assert!(text.contains("lower the learning rate") && text.contains("log.txt"), "{text}");
    let states: Vec<State> = runs(&out).iter().map(|dir| Run::read(dir).unwrap().status.state).collect();
    assert_eq!(states, [State::Failed, State::Done]);
    let table = fs::read_to_string(out.join("tables/table1.md")).unwrap();
    assert!(table.contains("Dropout") && table.contains("lower the learning rate"), "{table}");
    assert!(fs::read_to_string(runs(&out)[0].join("log.txt")).unwrap().contains("loss/autoencoder became"));
}

#[test]
fn of_two_sweeps_into_one_folder_the_second_stops() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = lerp()
        .args("sweep --preset smoke --variants acai --out".split_whitespace())
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("] start ")), "the first sweep must begin");
    let (code, _, errors) = parts(&run("sweep --preset smoke --variants acai --out", &[dir.path()]));
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("another sweep is writing to"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn interrupt_writes_a_checkpoint_and_the_next_sweep_goes_on_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = lerp();
        command
            .args("sweep --preset smoke --variants acai,vae --jobs 1 --out".split_whitespace())
            .arg(dir.path());
        command
    };
    let mut child = command().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("] train ")), "it must train");
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("to resume.")), "{rest:?}");
    let run = Run::read(&runs(dir.path())[0]).unwrap();
    assert_eq!(run.status.state, State::Interrupted);
    assert!(run.status.samples > 0 && run.dir.join("checkpoint.safetensors").exists());

    let (code, text, errors) = parts(&command().output().unwrap());
    assert_eq!(code, 0, "{errors}");
    assert!(
        text.contains(&format!("resume    {} at {} samples", run.record.id, run.status.samples)),
        "{text}"
    );
}

#[test]
fn a_damaged_or_foreign_checkpoint_is_named_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let line = format!("{TINY} {} --variants baseline,dropout", out.display());
    assert_eq!(parts(&run(&line, &[])).0, 0);
    let [baseline, dropout] = &runs(&out)[..] else { panic!("two runs") };
    let (own, other) = (baseline.join("checkpoint.safetensors"), dropout.join("checkpoint.safetensors"));
    let (cut, others) = (fs::read(&own).unwrap()[..5000].to_vec(), fs::read(&other).unwrap());
    // A file that changed after the run wrote it is detected by its digest. With a matching digest, damage is detected
    // from the contents.
    for (bytes, known, message) in [
        (&cut, false, "was changed or damaged after it was written"),
        (&cut, true, "is cut short or damaged"),
        (&others, true, "belongs to lines-dropout"),
    ] {
        unfinished(baseline);
        fs::write(&own, bytes).unwrap();
        if known {
            rewrite(baseline, "checkpoint.safetensors", bytes);
        }
        let (code, text, _) = parts(&run(&line, &[]));
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(message), "{text}");
        assert!(fs::read(&own).unwrap() == *bytes, "what was there is kept");
        assert_eq!(Run::read(baseline).unwrap().status.state, State::Failed);
    }
}

/// A limit on the size of files simulates a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let line = format!("{TINY} {} --variants baseline", out.display());
    assert_eq!(parts(&run(&line, &[])).0, 0);
    let run_dir = runs(&out).remove(0);
    let checkpoint = fs::read(run_dir.join("checkpoint.safetensors")).unwrap();
    unfinished(&run_dir);
    let (code, text, _) = parts(&limited("trap '' XFSZ; ulimit -f 64", &line, &[]));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("FAILED lines-baseline-s0") && text.contains("cannot write"), "{text}");
    assert!(
        fs::read(run_dir.join("checkpoint.safetensors")).unwrap() == checkpoint,
        "the checkpoint is kept"
    );
    let names = fs::read_dir(&run_dir).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().ends_with(".tmp")));
    let (code, text, errors) = parts(&run(&line, &[]));
    assert_eq!(code, 0, "{text} {errors}");

    // The failure of a run that began is exit code 1, not bad input.
    let line = "train --preset smoke --samples 256 --variant vae --out";
    let (code, text, errors) = parts(&limited("trap '' XFSZ; ulimit -f 64", line, &[&out]));
    assert_eq!(code, 1, "{text} {errors}");
    assert!(text.contains("FAILED") && text.contains("cannot write"), "{text} {errors}");
}

#[test]
fn a_report_that_fails_after_training_is_told_with_what_else_failed() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan_of_which_one_cell_fails(dir.path());
    let out = dir.path().join("out");
    // The report cannot be written, because its page cannot replace a folder.
    fs::create_dir_all(&out).unwrap();
    fs::write(out.join("sweep.toml"), "format = \"lerp sweep 1\"\n").unwrap();
    fs::create_dir(out.join("index.html")).unwrap();
    let (code, text, errors) = parts(&run("sweep --config", &[&plan, "--out".as_ref(), &out]));
    assert_eq!(code, 1, "{text} {errors}");
    assert!(text.contains("\nFAILED lines-baseline-s0"), "{text}");
    assert!(text.contains("\nFAILED report: cannot write") && text.contains("index.html"), "{text}");
    fs::remove_dir(out.join("index.html")).unwrap();
    assert_eq!(parts(&run("report", &[&out])).0, 0);
}

#[test]
fn bad_input_is_one_sentence_exit_code_2_and_nothing_written() {
    let dir = tempfile::tempdir().unwrap();
    let (out, foreign, file) = (dir.path().join("out"), dir.path().join("foreign"), dir.path().join("file"));
    fs::create_dir(&foreign).unwrap();
    // A file of another program that has the name of a sweep's record.
    fs::write(foreign.join("sweep.toml"), "method = \"grid\"").unwrap();
    fs::write(&file, "mine").unwrap();
    let plan = dir.path().join("plan.toml");
    fs::write(&plan, "datasets = [\"lines\"]\nvariants = [\"acai\"]\nseeds = \"0\"\nsampels = 5\n").unwrap();
    let broken = dir.path().join("broken.toml");
    fs::write(&broken, "datasets = [").unwrap();
    let wide = dir.path().join("wide.toml");
    let text =
        "datasets = [\"lines\"]\nvariants = [\"acai\"]\nseeds = 0\n[network]\ndepth = 1152921504606846976\n";
    fs::write(&wide, text).unwrap();
    let cases = [
        (format!("--variants acia --out {}", out.display()), "no variant 'acia' (did you mean 'acai'?)"),
        (format!("--datasets linse --out {}", out.display()), "did you mean 'lines'?"),
        (format!("--preset smok --out {}", out.display()), "no preset 'smok' (did you mean 'smoke'?)"),
        (format!("--set acai.advwieght=1 --out {}", out.display()), "did you mean 'advweight'?"),
        (format!("--set acai.advweight=-1 --out {}", out.display()), "advweight"),
        (format!("--seeds 5..2 --out {}", out.display()), "'5..2' is not a range of seeds"),
        (format!("--seeds -1 --out {}", out.display()), "'-1' is not a range of seeds"),
        (format!("--seeds 0..20000 --out {}", out.display()), "a sweep takes up to 10000"),
        (format!("--samples -5 --out {}", out.display()), "-5"),
        (format!("--variants vae --set acai.reg=1 --out {}", out.display()), "is not among the variants"),
        (format!("--config {} --out {}", wide.display(), out.display()), "8192 channels"),
        (format!("--samples 0 --out {}", out.display()), "--samples 0 trains nothing"),
        (format!("--jobs 0 --out {}", out.display()), "--jobs 0"),
        (format!("--learning-rate 0 --out {}", out.display()), "learning_rate must be above 0"),
        (format!("--device gpu --out {}", out.display()), "there is no device 'gpu'"),
        (format!("--out {}", foreign.display()), "is not the folder of a sweep"),
        (format!("--out {}", file.display()), "is a file"),
        (format!("--out {}/under", file.display()), "cannot create"),
        (format!("--config {} --out {}", plan.display(), out.display()), "did you mean 'samples'?"),
        (format!("--config {} --out {}", broken.display(), out.display()), "not TOML"),
        (format!("--config {}/none.toml", dir.path().display()), "cannot read"),
        #[cfg(unix)]
        ("--config /dev/zero".into(), "which no plan has"),
        (format!("--cluster-restarts 99999999999 --out {}", out.display()), "at most 100000"),
    ];
    for (line, message) in cases {
        let preset =
            if line.contains("--preset") || line.contains("--config") { "" } else { "--preset smoke" };
        let (code, text, errors) = parts(&run(&format!("sweep {preset} {line}"), &[]));
        assert_eq!(code, 2, "{line}: {text} {errors}");
        assert!(errors.contains(message), "{line}: {errors}");
        assert!(!errors.contains("panicked"), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{line}: {errors}");
    }
    assert!(!out.exists(), "nothing is written");
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(foreign.join("sweep.toml")).unwrap(), "method = \"grid\"");
    #[cfg(not(feature = "cuda"))]
    {
        let (code, _, errors) = parts(&run("sweep --preset smoke --device cuda --out", &[&out]));
        assert_eq!(code, 2);
        assert!(errors.contains("this build has no CUDA; build with --features cuda"), "{errors}");
    }
    #[cfg(feature = "cuda")]
    {
        // No machine has that many devices.
        let (code, _, errors) = parts(&run("sweep --preset smoke --device cuda:4096 --out", &[&out]));
        assert_eq!(code, 2, "{errors}");
        assert!(errors.trim_end().ends_with("--device cpu") && errors.lines().count() == 1, "{errors}");
        if lerp_kernels::cuda::device(0, lerp_core::Precision::F32).is_ok() {
            lerp_test::skip(
                "no-cuda",
                "this machine has a CUDA device, so what is said without one is not seen",
            );
        } else {
            let (code, _, errors) = parts(&run("sweep --preset smoke --device cuda --out", &[&out]));
            assert_eq!(code, 2, "{errors}");
            assert!(errors.contains("NVIDIA") || errors.contains("LD_LIBRARY_PATH"), "{errors}");
            assert!(errors.trim_end().ends_with("--device cpu") && errors.lines().count() == 1, "{errors}");
        }
        assert!(!out.exists(), "nothing is written");
    }
    for (line, message) in
        [("report", "holds no runs"), ("compare", "holds no runs"), ("verify --golden", "manifest.json")]
    {
        let (code, _, errors) = parts(&run(line, &[&foreign]));
        assert_eq!(code, 2, "{line}: {errors}");
        assert!(errors.contains(message) && errors.lines().count() == 1, "{line}: {errors}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_says_how_much_memory_it_took() {
    let dir = tempfile::tempdir().unwrap();
    let line = "sweep --preset smoke --samples 128 --variants baseline --out";
    assert_eq!(parts(&run(line, &[dir.path()])).0, 0);
    let status = lerp_train::Run::read(&runs(dir.path())[0]).unwrap().status;
    let peak = status.peak_memory.unwrap();
    assert!((10_000_000..10_000_000_000).contains(&peak), "{peak}");
    let table = fs::read_to_string(dir.path().join("tables/cost.md")).unwrap();
    assert!(!table.contains("| – |"), "{table}");
}

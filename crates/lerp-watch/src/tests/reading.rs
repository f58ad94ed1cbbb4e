//! Tests of reading: from the files of a sweep to its state.

use std::fs;

use lerp_train::State;

use super::folder::{Folder, SAMPLES, cell};
use crate::{cell_view::Stage, now, plain_table::plain_table, sweep_view::SweepView};

const HALF: u64 = SAMPLES / 2;

fn stages(sweep: &SweepView) -> Vec<Stage> {
    sweep.cells.iter().map(|cell| cell.stage).collect()
}

#[test]
fn every_state_is_told_from_the_files() {
    let folder = Folder::new()
        .plan(&["baseline", "dropout", "vae", "aae", "vqvae", "acai"])
        .with("baseline", State::Done, SAMPLES)
        .with("dropout", State::Running, HALF)
        .live("dropout", HALF + 640, 1.0)
        .with("vae", State::Running, HALF)
        .live("vae", HALF + 640, 40.0)
        .with("aae", State::Failed, 1024)
        .with("vqvae", State::Interrupted, HALF);
    let mut sweep = folder.sweep();
    let all = [Stage::Done, Stage::Running, Stage::Stalled, Stage::Failed, Stage::Stopped, Stage::Waiting];
    assert_eq!(stages(&sweep), all);
    let running = &sweep.cells[1];
    assert_eq!((running.samples, running.rate), (HALF + 640, Some(250.0)));
    assert_eq!(running.losses(), [("loss/autoencoder".to_owned(), 0.125)]);
    assert!(sweep.cells[3].reason.as_ref().unwrap().contains("lower the learning rate"));
    assert_eq!((sweep.cells[5].variant.as_str(), sweep.cells[5].seed.as_str()), ("acai", "0"));
    assert_eq!(sweep.cells[0].metrics()[..2], ["eval/mean_distance", "eval/mean_smoothness"]);
    // Undefined values are not points of a curve.
    assert!(
        sweep.cells[0].metrics().contains(&"eval/detour") && sweep.cells[0].series("eval/detour").is_empty()
    );
    // After forty seconds without progress the run counts as stalled.
    sweep.refresh(now() + 40.0);
    assert_eq!(stages(&sweep)[1], Stage::Stalled);
    assert!(sweep.problems().is_empty(), "{:?}", sweep.problems());
}

#[test]
fn a_run_without_a_progress_file_stalls_after_three_evaluation_intervals() {
    // There are 1024 samples between evaluations, at 100 samples per second.
    let folder = Folder::new().plan(&["vae"]).with("vae", State::Running, HALF);
    let mut sweep = folder.sweep();
    assert_eq!(stages(&sweep), [Stage::Running]);
    sweep.refresh(now() + 25.0);
    assert_eq!(stages(&sweep), [Stage::Running]);
    sweep.refresh(now() + 35.0);
    assert_eq!(stages(&sweep), [Stage::Stalled]);
}

#[test]
fn progress_and_time_left_come_from_the_files() {
    let folder = Folder::new()
        .plan(&["baseline", "dropout", "acai"])
        .with("baseline", State::Done, SAMPLES)
        .with("dropout", State::Running, HALF)
        .live("dropout", HALF, 0.0);
    let sweep = folder.sweep();
    assert!((sweep.fraction() - 0.5).abs() < 1e-9);
    // One and a half cells of 163.84 s remain, which run one at a time.
    assert!((sweep.seconds_left().unwrap() - 1.5 * 163.84).abs() < 1e-6, "{:?}", sweep.seconds_left());
    let sweep = Folder::new().plan(&["baseline"]).sweep();
    assert_eq!((sweep.fraction(), sweep.seconds_left(), sweep.state()), (0.0, None, "nothing has begun yet"));
}

#[test]
fn damage_leaves_the_last_good_state() {
    let folder =
        Folder::new().plan(&["baseline"]).with("baseline", State::Running, HALF).live("baseline", HALF, 0.0);
    let mut sweep = folder.sweep();
    let dir = folder.run("baseline");
    let table = fs::read(dir.join("metrics.parquet")).unwrap();
    // A Parquet file with valid ends and invalid contents between them makes its reader panic.
    let mut broken = table.clone();
    let middle = 8..table.len() - 8;
    broken[middle].iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31).wrapping_add(7));
    for (file, bytes) in [
        ("status.json", b"{\"state\":".to_vec()),
        ("progress.json", b"{".to_vec()),
        ("metrics.parquet", table[..table.len() / 2].to_vec()),
        ("metrics.parquet", broken),
        ("run.toml", b"[cell".to_vec()),
    ] {
        fs::write(dir.join(file), bytes).unwrap();
        sweep.refresh(now());
        assert!(
            sweep.problems().iter().any(|problem| problem.contains(file)),
            "{file}: {:?}",
            sweep.problems()
        );
        assert_eq!(stages(&sweep), [Stage::Running], "{file}");
        assert_eq!(sweep.cells[0].last("eval/mean_distance"), Some(0.01 / 8.0), "{file}");
    }
    fs::write(folder.path().join("sweep.toml"), "format = ").unwrap();
    sweep.refresh(now());
    assert_eq!(sweep.cells.len(), 1);
    fs::remove_dir_all(folder.path()).unwrap();
    sweep.refresh(now());
    assert_eq!((sweep.cells.len(), sweep.problems().len()), (1, 1));
    assert!(sweep.problems()[0].contains("is gone"));
}

#[test]
fn a_folder_without_a_sweep_is_refused_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let error = |path: &std::path::Path| SweepView::open(path).unwrap_err().to_string();
    assert!(error(&dir.path().join("nowhere")).contains("does not exist; give the folder of a sweep"));
    // An empty folder, or one with the first files of a sweep, is accepted.
    assert!(SweepView::open(dir.path()).is_ok());
    fs::write(dir.path().join(".lock"), "").unwrap();
    fs::write(dir.path().join("sweep.toml.tmp"), "format = ").unwrap();
    let mut sweep = SweepView::open(dir.path()).unwrap();
    sweep.refresh(now());
    assert!(plain_table(&sweep).ends_with(": nothing has begun yet\n"));
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    assert!(error(dir.path()).contains("holds no sweep"));
    assert!(error(&dir.path().join("notes.txt")).contains("is no folder"));
    fs::write(dir.path().join("sweep.toml"), "format = \"other\"").unwrap();
    assert!(error(dir.path()).contains("is not the record of a sweep"));
    let folder = Folder::new().plan(&["vae"]).with("vae", State::Done, SAMPLES);
    assert!(error(&folder.run("vae")).contains("is one run"));
}

#[test]
fn a_plan_that_changes_keeps_what_is_known() {
    let folder = Folder::new().plan(&["baseline", "vae"]).with("baseline", State::Done, SAMPLES).with(
        "vae",
        State::Done,
        SAMPLES,
    );
    let mut sweep = folder.sweep();
    let folder = folder.plan(&["acai", "vae"]);
    sweep.refresh(now());
    let ids = |sweep: &SweepView| {
        sweep.cells.iter().map(|cell| (cell.variant.clone(), cell.planned)).collect::<Vec<_>>()
    };
    assert_eq!(ids(&sweep), [("acai".into(), true), ("vae".into(), true), ("baseline".into(), false)]);
    assert_eq!(stages(&sweep), [Stage::Waiting, Stage::Done, Stage::Done]);
    let counts = sweep.counts();
    assert_eq!((counts.all, counts.done, counts.waiting, counts.others), (2, 1, 1, 1));
    drop(folder);
}

#[test]
fn a_snapshot_is_a_table_for_scripts() {
    let folder = Folder::new()
        .plan(&["baseline", "vae", "acai"])
        .with("baseline", State::Done, SAMPLES)
        .with("vae", State::Failed, 4096);
    let text = plain_table(&folder.sweep());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "quick: stopped, 66 % of 3 cells (1 done, 1 failed, 1 waiting)");
    let words = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
    assert_eq!(words(lines[1])[..4], ["cell", "state", "percent", "samples/s"]);
    let done = [&cell("baseline").id(), "done", "100", "100", "6.25e-4", "0.0625", "6.25e-3", "-"];
    assert_eq!(words(lines[2]), done);
    assert_eq!(words(lines[4]), [&cell("acai").id(), "waiting", "0", "-", "-", "-", "-", "-"]);
    assert_eq!(
        lines[5],
        format!("{}: loss/autoencoder became NaN; lower the learning rate", cell("vae").id())
    );
}

#[test]
fn nothing_in_a_folder_is_obeyed_or_followed() {
    let folder = Folder::new().plan(&["baseline"]).with("vae", State::Failed, 4096);
    let status = folder.run("vae").join("status.json");
    let text = fs::read_to_string(&status).unwrap().replace("loss/", r"\u001b[2J\u202e\nloss/");
    fs::write(&status, text).unwrap();
    let plan = folder.path().join("sweep.toml");
    let text = fs::read_to_string(&plan).unwrap();
    let text =
        text.replace("seven", r"\u001b[2Jseven").replace("cells = [", r#"cells = ["../../x", "\u001b[2J", "#);
    fs::write(&plan, text).unwrap();
    let mut sweep = folder.sweep();
    assert_eq!(sweep.cells.len(), 2, "what is no name of a cell is none");
    let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!plain_table(&sweep).contains(bad), "{:?}", plain_table(&sweep));
    assert!(!sweep.record().unwrap().about.contains(bad));

    fs::write(&plan, "\u{1b}[2J").unwrap();
    sweep.refresh(now());
    assert!(sweep.is_damaged() && plain_table(&sweep).contains("sweep.toml is not the record of a sweep"));
    assert!(SweepView::open(&folder.path()).is_ok(), "its runs are there");
    fs::remove_file(&plan).unwrap();
    let sweep = folder.sweep();
    assert!(!sweep.is_damaged());
    assert_eq!((sweep.counts().all, sweep.counts().failed), (1, 1));
}

#[test]
#[cfg(unix)]
fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let elsewhere = Folder::new().plan(&["baseline"]).with("baseline", State::Done, SAMPLES);
    let folder = Folder::new().plan(&["baseline", "vae"]).with("vae", State::Done, SAMPLES);
    symlink(elsewhere.run("baseline"), folder.run("baseline")).unwrap();
    let sweep = folder.sweep();
    assert_eq!(stages(&sweep), [Stage::Waiting, Stage::Done]);
    assert!(sweep.is_damaged() && plain_table(&sweep).contains("symbolic link"), "{}", plain_table(&sweep));
    fs::remove_file(folder.path().join("sweep.toml")).unwrap();
    symlink(elsewhere.path().join("sweep.toml"), folder.path().join("sweep.toml")).unwrap();
    let sweep = folder.sweep();
    assert!(
        sweep.record().is_none() && plain_table(&sweep).contains("symbolic link"),
        "{}",
        plain_table(&sweep)
    );
}

//! Tests of `lerp watch` beside a running sweep without a terminal, where it prints one table for scripts.

use std::{fs, process::Stdio, time::Duration};

use crate::common::{lerp, parts, run};

#[test]
fn a_running_sweep_is_seen_from_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("watched");
    // The folder is empty, because the sweep has not begun.
    fs::create_dir(&out).unwrap();
    let (code, text, errors) = parts(&run("watch", &[&out]));
    assert_eq!((code, text.as_str(), errors.as_str()), (0, "watched: nothing has begun yet\n", ""));

    let plan = "sweep --preset smoke --variants baseline --samples 4096 --out";
    let mut sweep = lerp()
        .args(plan.split_whitespace())
        .arg(&out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = None;
    while sweep.try_wait().unwrap().is_none() {
        let (code, text, errors) = parts(&run("watch --once", &[&out]));
        assert_eq!((code, errors.as_str()), (0, ""), "{text}");
        if text.contains("1 running") {
            running = Some(text);
        }
        // The pause leaves the processor to the sweep.
        std::thread::sleep(Duration::from_millis(50));
    }
    let running = running.unwrap();
    let cell = running.lines().find(|line| line.starts_with("lines-baseline-s0")).unwrap();
    assert!(cell.contains("  running  "), "{running}");

    let (code, text, errors) = parts(&run("watch", &[&out]));
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    assert!(text.starts_with("watched: finished, 100 % of 1 cells (1 done)\n"), "{text}");
    // In a finished sweep the rate, distance, error and accuracy are numbers.
    let cell: Vec<&str> = text.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!((cell[1], cell[2]), ("done", "100"), "{text}");
    for column in [3, 4, 6, 7] {
        assert!(cell[column].parse::<f64>().is_ok_and(|value| value >= 0.0), "{text}");
    }
}

#[test]
fn a_folder_without_a_sweep_is_an_error_of_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    for (path, sentence) in
        [(dir.path().join("nowhere"), "does not exist"), (dir.path().to_owned(), "holds no sweep")]
    {
        let (code, text, errors) = parts(&run("watch", &[&path]));
        assert_eq!((code, text.as_str()), (2, ""), "{errors}");
        assert!(errors.contains(sentence) && errors.lines().count() == 1, "{errors}");
    }
}

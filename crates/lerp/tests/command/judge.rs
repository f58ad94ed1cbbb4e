//! Tests of judges of interpolations, on the command line.

use std::{fs, path::Path};

use lerp_train::{JudgeRecord, JudgeTarget, Metrics, POSITIONS, Run};

use crate::common::{lerp, measurements, parts, run, runs, squares, unfinished};

/// Four evaluations of each of three variants, and small judges.
const JUDGED: &str = "--samples 512 --variants baseline,vae,acai --judge 4096";

/// Runs a sweep with the given options on lines and on the image set in `images`.
fn sweep(images: &Path, out: &Path, options: &str) -> (String, String) {
    let name = format!("lines,idx:{}", images.display());
    let line = format!("sweep --preset smoke --cluster-restarts 2 {options}");
    let more = ["--datasets", &name, "--out"];
    let (code, text, errors) =
        parts(&lerp().args(line.split_whitespace()).args(more).arg(out).output().unwrap());
    assert_eq!(code, 0, "{errors}{text}");
    (text, errors)
}

#[test]
fn runs_are_judged_and_the_report_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let (images, out) = (dir.path().join("squares"), dir.path().join("out"));
    squares(&images, 300);
    let (text, errors) = sweep(&images, &out, JUDGED);
    assert!(text.contains("for judges of decoded images, before"), "{text}");
    assert_eq!(errors.matches("Training the judge of").count(), 2, "{errors}");
    let name = format!("idx:{}", images.canonicalize().unwrap().display());
    let judges = ["lines", &name].map(|name| JudgeRecord::read(&out, name).unwrap().unwrap());
    assert!(judges.iter().all(|judge| judge.target == JudgeTarget::Classes && judge.samples == 4096));
    assert!(judges[1].accuracy > 0.9 && judges[1].tested == 150, "{:?}", judges[1]);
    for dir in runs(&out) {
        let run = Run::read(&dir).unwrap();
        let verdicts = run.judge_scores().unwrap().unwrap();
        let on_lines = run.record.cell.dataset == "lines";
        let judge = &judges[usize::from(!on_lines)];
        assert_eq!(verdicts.judge, judge.weights);
        // A quarter of the 150 test images form the pairs.
        let pairs = if on_lines { 256 } else { 37 };
        assert_eq!((verdicts.judged.predicted.len(), verdicts.strips[0].len()), (pairs, POSITIONS));
        assert_eq!(verdicts.strips.len(), run.strips().unwrap().unwrap().images.dims()[0]);
        let ends = verdicts.judged.ends.as_ref().unwrap();
        assert!(ends.iter().any(|[a, b]| a == b) && ends.iter().any(|[a, b]| a != b));
        // Interpolations are judged at every evaluation on lines, and at the last one on image sets.
        let count = run.metrics().unwrap().series("eval/judged_distance").count();
        assert_eq!(count, if on_lines { 4 } else { 1 });
    }
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let table = read("tables/table5.md");
    for wanted in
        ["kernel distance, middle", "purity between classes", "pixel blend", "test images correctly"]
    {
        assert!(table.contains(wanted), "{table}");
    }
    let usefulness = read("tables/usefulness.md");
    assert!(usefulness.contains("The score on lines") && usefulness.contains("clusters"), "{usefulness}");
    let page = read("index.html");
    assert!(page.contains("id=\"table5\"") && page.contains("class 3, "), "no words of the judge");
    assert!(read("tables/claims.md").contains("most realistic"));
    for figure in ["judged", "usefulness"] {
        assert!(out.join(format!("figures/{figure}.png")).exists(), "{figure}");
    }

    // A run that was interrupted and resumed gets the same judgements bit for bit, and no judge is trained again.
    let before: Vec<_> = runs(&out).iter().map(|dir| measurements(dir)).collect();
    let files: Vec<_> =
        runs(&out).iter().map(|dir| fs::read(dir.join("judged.safetensors")).unwrap()).collect();
    for dir in runs(&out) {
        unfinished(&dir);
    }
    let (_, errors) = sweep(&images, &out, JUDGED);
    assert!(!errors.contains("Training the judge"), "{errors}");
    for (i, dir) in runs(&out).iter().enumerate() {
        assert_eq!(measurements(dir), before[i]);
        assert_eq!(fs::read(dir.join("judged.safetensors")).unwrap(), files[i]);
        // Evaluating the finished run gives the same judgements, too.
        let (code, text, errors) = parts(&run("eval --json --write", &[dir]));
        assert!(code == 0 && !errors.contains("metrics.parquet"), "{errors}");
        let values: serde_json::Value = serde_json::from_str(&text).unwrap();
        let last = Metrics::read(&dir.join("metrics.parquet")).unwrap();
        let last = last.series("eval/judged_precision").last().unwrap().value;
        assert_eq!(values["eval/judged_precision"].as_f64(), Some(last));
    }
}

#[test]
fn older_runs_are_judged_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let (images, out) = (dir.path().join("squares"), dir.path().join("out"));
    squares(&images, 200);
    sweep(&images, &out, "--samples 64 --variants baseline,vae --judge 0");
    assert!(!out.join("judges").exists() && !out.join("tables/table5.md").exists());
    for folder in runs(&out) {
        let before = measurements(&folder);
        let (code, text, errors) = parts(&run("eval --judge 0", &[&folder]));
        assert!(code == 0 && !text.contains("judged") && errors.is_empty(), "{errors}{text}");
        let (code, text, errors) = parts(&run("eval --write --judge 1024", &[&folder]));
        assert!(code == 0 && text.contains("eval/judged_purity"), "{errors}{text}");
        assert!(errors.contains("judged.safetensors") && errors.contains("metrics.parquet"), "{errors}");
        let after = measurements(&folder);
        assert_eq!(after[..before.len()], before);
        assert_eq!(after.len(), before.len() + 10);
        // The sweep has a judge now, which later evaluations use.
        let (_, text, errors) = parts(&run("eval", &[&folder]));
        assert!(text.contains("judged") && !errors.contains("Training"), "{errors}{text}");
    }
    let (code, _, errors) = parts(&run("report", &[&out]));
    assert!(code == 0 && out.join("tables/table5.md").exists(), "{errors}");
    let folder = &runs(&out)[0];
    let (code, _, errors) = parts(&run("eval --judge 99999999999", &[folder]));
    assert!(code == 2 && errors.contains("at most 67108864 training samples"), "{errors}");
    fs::write(out.join("judges/lines.toml"), "nothing").unwrap();
    let (code, _, errors) = parts(&run("report", &[&out]));
    assert!(code == 1 && errors.contains("A judge is left out"), "{errors}");
}

//! Tests of `lerp bench`, which measures times, and of `lerp list`, which says what there is to measure.

use serde_json::Value;

use crate::common::{parts, run, succeed};

/// Runs a benchmark and returns what it prints as JSON.
fn measured(line: &str) -> Value {
    let text = succeed(&format!("bench {line} --device cpu --json"), &[]);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn positive(value: &Value) -> f64 {
    let number = value.as_f64().unwrap();
    assert!(number > 0.0 && number.is_finite(), "{number}");
    number
}

#[test]
fn the_time_of_a_step_is_told_with_what_it_was_measured_on() {
    let step = measured("step --variant acai --dataset mnist --batch 2 --steps 2");
    positive(&step["ms_per_step"]);
    assert_eq!((&step["variant"], &step["dataset"]), (&"acai".into(), &"mnist".into()));
    assert_eq!((&step["batch"], &step["steps"]), (&2.into(), &2.into()));
    assert_eq!(
        (&step["device"], &step["form"], &step["launch"]),
        (&"cpu".into(), &"fused".into(), &"steps".into())
    );
    assert!(step["isa"].is_string(), "{step}");
    let step = measured("step --variant vae --batch 2 --steps 1 --isa portable");
    assert_eq!((&step["dataset"], &step["isa"]), (&"lines".into(), &"portable".into()));
    let step = measured("step --variant vqvae --batch 2 --steps 1 --composed");
    assert_eq!((&step["form"], &step["isa"]), (&"composed".into(), &Value::Null));
    let text = succeed("bench step --batch 2 --steps 1 --device cpu", &[]);
    assert!(text.starts_with("baseline on lines: ") && text.contains(" ms a step of 2, "), "{text}");
}

#[test]
fn an_evaluation_is_compared_with_the_training_between_two() {
    let eval = measured("eval --variant baseline");
    let [evaluation, training] = ["evaluation_s", "training_s"].map(|key| positive(&eval[key]));
    positive(&eval["drawing_s"]);
    assert!(positive(&eval["comparison_s"]) < evaluation, "{eval}");
    assert!((positive(&eval["share"]) - evaluation / (evaluation + training)).abs() < 1e-9, "{eval}");
}

#[test]
fn every_operation_of_a_network_has_a_row() {
    let text = succeed("bench ops --dataset lines --batch 1", &[]);
    // The paper's network on lines: four scales of two convolutions each, of 16 channels in the first.
    for operation in [
        "32x32 3x3 16->16 ",
        "2x2 3x3 128->128 ",
        "encoder",
        "decoder",
        "mean 2x2",
        "upscale",
        "nearest of 16384x256",
        "Adam, ",
    ] {
        let row = text
            .lines()
            .find(|line| line.starts_with(operation))
            .unwrap_or_else(|| panic!("{operation}: {text}"));
        assert!(row.contains(" ms"), "{row}");
    }
}

#[test]
fn what_cannot_be_timed_is_one_sentence() {
    for (line, wanted) in [
        ("step --steps 0", "the number of timed steps must be at least 1"),
        ("step --batch 1", "the batch size at least 2"),
        ("step --dataset mnits", "there is no dataset 'mnits' (did you mean 'mnist'?)"),
        ("step --variant acia", "there is no variant 'acia' (did you mean 'acai'?)"),
        ("step --isa sse9", "this machine has no instruction set 'sse9'; it has: portable"),
        ("ops --batch 0", "the batch size must be at least 1"),
        ("eval --variant acia", "did you mean 'acai'?"),
    ] {
        let (code, text, errors) = parts(&run(&format!("bench {line}"), &[]));
        assert_eq!((code, text.as_str(), errors.lines().count()), (2, "", 1), "{line}: {errors}");
        assert!(errors.contains(wanted), "{line}: {errors}");
    }
}

#[test]
fn variants_datasets_metrics_and_presets_are_listed() {
    let text = succeed("list", &[]);
    let sections: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(sections, ["variants:", "datasets:", "metrics:", "presets:"]);
    for line in [
        "  acai       ACAI",
        "  vqvae      VQ-VAE",
        "  lines",
        "  celeba",
        "  and your own: images:DIR, idx:DIR, parquet:PATH",
        "  eval/mean_distance            Mean distance (lower is better)",
    ] {
        assert!(text.lines().any(|listed| listed == line), "{line}: {text}");
    }
    let presets = text.split_once("presets:").unwrap().1;
    for preset in ["smoke", "quick", "evening", "mnist-cpu", "lines", "paper"] {
        assert!(
            presets.lines().any(|line| line.starts_with(&format!("  {preset:<10} "))),
            "{preset}: {presets}"
        );
    }
}

//! Tests that the example passes the conformance check and, with its own network, appears in sweeps and tables beside
//! the seven variants.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn run(words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_resnet-candle-nn")).args(words.split_whitespace()).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_conforms() {
    let output = run("conformance --variants resnet");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(text.lines().filter(|line| line.starts_with("ok  resnet")).count(), 7, "{text}");
}

#[test]
fn it_is_swept_and_tabled_beside_the_seven() {
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("plan.toml");
    let text = "datasets = ['lines']\nseeds = 0\njudge = 0\nsamples = 128\neval_every = 64\ntest_samples = 64\n\
                variants = ['baseline', 'dropout', 'denoising', 'vae', 'aae', 'vqvae', 'acai', 'resnet']\n\
                [network]\ndepth = 4\nlatent = 4\n\
                [variant.vqvae.hyper]\ncodes = 64\nfilter = 16\n\
                [variant.resnet]\nnetwork = { name = 'resnet', width = 4, latent = [8, 16] }\n";
    std::fs::write(&plan, text).unwrap();
    let out = dir.path().join("out");
    let sweep = format!("sweep --config {} --out {}", plan.display(), out.display());
    let output = run(&sweep);
    assert!(output.status.success(), "{}", told(&output));
    let table = std::fs::read_to_string(out.join("tables/table1.md")).unwrap();
    for title in ["Baseline", "ACAI", "VQ-VAE"] {
        assert_eq!(table.matches(&format!("| {title}")).count(), 1, "{table}");
    }
    assert_eq!(table.matches("| ResNet").count(), 2, "one row for each size of the latent: {table}");
    assert!(table.contains("ResNet's own network 'resnet'"), "{table}");
    // The record has the shape of the built model's latent, and a second sweep has nothing to do.
    let shapes: Vec<String> = std::fs::read_dir(out.join("runs"))
        .unwrap()
        .map(|run| std::fs::read_to_string(run.unwrap().path().join("run.toml")).unwrap())
        .filter(|record| record.contains("variant = \"resnet\""))
        .filter_map(|record| record.lines().find(|line| line.starts_with("latent = [")).map(String::from))
        .collect();
    assert!(
        shapes.contains(&"latent = [8]".into()) && shapes.contains(&"latent = [16]".into()),
        "{shapes:?}"
    );
    let again = run(&sweep);
    assert!(
        again.status.success() && String::from_utf8_lossy(&again.stdout).contains("Nothing to do"),
        "{again:?}"
    );

    let output = run(&format!("export --to models {}", out.display()));
    assert!(output.status.success(), "{}", told(&output));
}

#[test]
fn mistakes_in_a_network_are_told_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    for (set, sentence) in [
        ("resnet.network.width=6", "width must be a multiple of 4"),
        ("resnet.network.scales=6", "a 32x32 image cannot be halved 6 times"),
        ("resnet.network.width=512", "4096 channels after the last halving"),
        ("resnet.network.widht=8", "(did you mean 'width'?)"),
        ("resnet.network=paper", "resnet has no network 'paper'; it has: resnet"),
        ("acai.network=resnet", "acai has no network 'resnet'; it has: paper"),
    ] {
        let words =
            format!("sweep --preset smoke --variants resnet,acai --out {} --set {set}", out.display());
        let output = run(&words);
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(told(&output).contains(sentence), "{}", told(&output));
        assert!(!out.exists());
    }
}

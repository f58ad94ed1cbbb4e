//! Tests that the example passes the conformance check and appears in sweeps and tables beside the seven variants.

#![allow(clippy::unwrap_used)]

use std::process::Command;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_custom-autoencoder"))
}

#[test]
fn it_conforms() {
    let output = program().args(["conformance", "--variants", "latent-noise"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().filter(|line| line.contains("latent-noise")).count(), 7, "{text}");
}

#[test]
fn it_is_swept_and_tabled_beside_the_baseline() {
    let dir = tempfile::tempdir().unwrap();
    let output = program()
        .args([
            "sweep",
            "--preset",
            "smoke",
            "--variants",
            "baseline,dropout,denoising,vae,aae,vqvae,acai,latent-noise",
            "--samples",
            "256",
            "--out",
        ])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = std::fs::read_to_string(dir.path().join("tables/table1.md")).unwrap();
    assert!(
        ["Latent noise", "Baseline", "VQ-VAE", "ACAI"]
            .iter()
            .all(|title| table.contains(&format!("| {title}"))),
        "{table}"
    );
    assert!(dir.path().join("figures/figure3.png").exists());

    let output = program().args(["export", "--to", "models"]).arg(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for entry in std::fs::read_dir(dir.path().join("export/models")).unwrap() {
        let folder = entry.unwrap().path();
        let ours = folder.to_string_lossy().contains("latent-noise");
        let card = std::fs::read_to_string(folder.join("README.md")).unwrap();
        assert_eq!(card.contains("needs code of its own"), ours, "{card}");
        assert_eq!(folder.join("lerp_torch.py").exists(), !ours);
        assert!(card.contains("`enc.conv0.weight`") && folder.join("check.safetensors").exists());
    }
}

#[test]
fn it_is_short() {
    let source = include_str!("../src/main.rs");
    assert!(source.lines().count() < 60, "the example must stay under 60 lines");
}

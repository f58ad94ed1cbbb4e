//! The paper's claims and the user's, tested on sweeps whose numbers are known.

use std::{fs, path::Path};

use lerp_report::{ReportOptions, report};
use lerp_train::State;

use crate::common::{
    Run,
    images::{Fake, fake},
    on_lines, read, value,
};

/// Writes finished runs on lines, one for each seed, with mean distances in 10⁻³ and smoothness.
fn lines(sweep: &Path, (variant, title): (&str, &str), distances: &[f64], smoothness: &[f64]) {
    for (seed, (distance, smooth)) in distances.iter().zip(smoothness).enumerate() {
        let metrics = [("eval/mean_distance", distance * 1e-3), ("eval/mean_smoothness", *smooth)];
        let rows = (1..=16).flat_map(|i| metrics.map(|(name, v)| value(i, name, v))).collect();
        Run::on_lines(on_lines(variant, seed as u64), title, State::Done, rows).write(sweep);
    }
}

/// Returns the row of a claim in the CSV file, by column name.
fn claim(dir: &tempfile::TempDir, id: &str) -> std::collections::HashMap<String, String> {
    let text = read(dir, "tables/claims.csv");
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row =
        lines.find(|line| line.starts_with(&format!("{id},"))).unwrap_or_else(|| panic!("{id}: {text}"));
    // Quoted fields may contain commas.
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for c in row.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut().unwrap().push(c),
        }
    }
    names.iter().map(|name| (*name).to_owned()).zip(fields).collect()
}

/// Writes the paper's variants except the VAE and ACAI, all far from lines and uneven.
fn others(sweep: &Path, seeds: usize) {
    let titles = ["Baseline", "Dropout", "Denoising", "AAE", "VQ-VAE"];
    for (i, (variant, title)) in
        ["baseline", "dropout", "denoising", "aae", "vqvae"].into_iter().zip(titles).enumerate()
    {
        let noise = |seed: usize| 0.1 * seed as f64;
        let distances: Vec<f64> = (0..seeds).map(|seed| 5.8 + i as f64 + noise(seed)).collect();
        let smoothness: Vec<f64> = (0..seeds).map(|seed| 0.4 + 0.05 * i as f64 + 0.1 * noise(seed)).collect();
        lines(sweep, (variant, title), &distances, &smoothness);
    }
}

#[test]
fn claims_are_supported_contradicted_or_undecided() {
    let dir = tempfile::tempdir().unwrap();
    others(dir.path(), 4);
    lines(dir.path(), ("vae", "VAE"), &[1.0, 1.2, 1.1, 1.1], &[0.05, 0.06, 0.05, 0.06]);
    lines(dir.path(), ("acai", "ACAI"), &[0.2, 0.3, 0.25, 0.25], &[0.10, 0.11, 0.10, 0.10]);
    let outcome = report(dir.path(), &ReportOptions::default()).unwrap();
    assert!(outcome.left_out.is_empty(), "{:?}", outcome.left_out);
    let distance = claim(&dir, "acai-distance");
    assert_eq!((distance["verdict"].as_str(), distance["against"].as_str()), ("supported", "VAE"));
    assert_eq!((distance["seeds"].as_str(), distance["dataset"].as_str()), ("4", "lines"));
    let number =
        |row: &std::collections::HashMap<String, String>, name: &str| -> f64 { row[name].parse().unwrap() };
    assert!((number(&distance, "difference") + 0.85e-3).abs() < 1e-9);
    assert!(number(&distance, "high") < 0.0 && number(&distance, "p_corrected") < 0.01);
    // The VAE turns more evenly here.
    let smoothness = claim(&dir, "acai-smoothness");
    assert_eq!((smoothness["verdict"].as_str(), smoothness["against"].as_str()), ("contradicted", "VAE"));
    // Blended pixels are at 6.3 ×10⁻³ and turn at 0.9: Baseline's 5.95 is near, and its 0.4 is not.
    let (far, even) =
        (claim(&dir, "baseline-cross-fade-distance"), claim(&dir, "baseline-cross-fade-smoothness"));
    assert_eq!((far["verdict"].as_str(), even["verdict"].as_str()), ("supported", "contradicted"));
    assert!(far["against"].starts_with("pixel blend ± 1.5"), "{}", far["against"]);
    // The four tests are of one family, so each p-value is multiplied by at most four.
    for row in [&distance, &smoothness, &far, &even] {
        let (p, corrected) = (number(row, "p"), number(row, "p_corrected"));
        assert!(corrected >= p && corrected <= 4.0 * p + 1e-15, "{p} {corrected}");
    }
    let text = read(&dir, "tables/claims.md");
    for part in [
        "| ACAI's interpolations lie nearest to true lines | **supported** |  | section 3.2, Table 1 | Lines | VAE | −0.85 [",
        "Not tested here: ACAI's latents are worth most to a classifier (no run on what it is about);",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let page = read(&dir, "index.html");
    let claims = page.find("<section id=\"claims\">").unwrap();
    assert!(claims < page.find("<section id=\"table1\">").unwrap());
    assert!(read(&dir, "tables/claims.tex").contains("contradicted"));
    // The reference interpolations are listed below Table 1.
    let table = read(&dir, "tables/table1.md");
    assert!(table.contains("| perfect path | 0.00 | – | – | 0.00 |"), "{table}");
    let csv = read(&dir, "tables/table1.csv");
    assert!(
        csv.lines().any(|line| line.starts_with("reference,perfect circle,mean_smoothness,0.07")),
        "{csv}"
    );
}

#[test]
fn claims_stay_undecided_without_all_variants_or_a_spread() {
    let dir = tempfile::tempdir().unwrap();
    let acai = |distances: &[f64]| {
        lines(dir.path(), ("acai", "ACAI"), distances, &vec![0.1; distances.len()]);
        report(dir.path(), &ReportOptions::default()).unwrap();
        claim(&dir, "acai-distance")
    };
    others(dir.path(), 3);
    // The VAE has no number, and may be better.
    let row = acai(&[0.2, 0.3, 0.25]);
    assert_eq!(row["verdict"], "undecided");
    assert!(row["p_corrected"].parse::<f64>().unwrap() < 0.01);
    assert!(read(&dir, "tables/claims.md").contains("| undecided | a number of VAE |"));
    // A single seed of the VAE has no spread, so it decides nothing however far away it is.
    lines(dir.path(), ("vae", "VAE"), &[9.0], &[0.5]);
    let row = acai(&[0.2, 0.3, 0.25]);
    assert_eq!((row["verdict"].as_str(), row["p"].as_str(), row["seeds"].as_str()), ("undecided", "", "1"));
    assert!(read(&dir, "tables/claims.md").contains("| undecided | seeds: at least 3 |"));
    // If two variants overlap, more seeds are needed than there are.
    lines(dir.path(), ("vae", "VAE"), &[3.0, 0.1, 0.4], &[0.5; 3]);
    let row = acai(&[0.2, 1.3, 0.25]);
    let seeds: u64 = row["seeds_needed"].parse().unwrap();
    assert!(row["verdict"] == "undecided" && seeds > 10, "{seeds}");
    assert!(read(&dir, "tables/claims.md").contains(&format!("| about {seeds} seeds, to be supported |")));
}

#[test]
fn latents_are_tested_on_each_set_and_size() {
    let dir = tempfile::tempdir().unwrap();
    // Baseline and ACAI.
    for (variant, accuracy) in [(0, 0.90), (6, 0.98)] {
        for channels in [2, 16] {
            for seed in 0..4 {
                let noise = 0.001 * seed as f64;
                let run = Fake { channels, ..fake(variant, seed, accuracy + noise) };
                run.with("final/cluster_accuracy", 1.7 - accuracy + noise).write(dir.path());
            }
        }
    }
    report(dir.path(), &ReportOptions::default()).unwrap();
    let text = read(&dir, "tables/claims.csv");
    let of = |id: &str| text.lines().filter(|line| line.starts_with(id)).collect::<Vec<_>>();
    let (classifier, clusters) = (of("acai-classifier,"), of("acai-clusters,"));
    assert_eq!((classifier.len(), clusters.len()), (2, 2), "{text}");
    // The five other variants may be better, so the claim cannot be supported; one better variant is enough to
    // contradict it.
    assert!(classifier.iter().all(|line| line.contains(",undecided,")), "{classifier:?}");
    assert!(clusters.iter().all(|line| line.contains(",contradicted,")), "{clusters:?}");
}

#[test]
fn user_claims_are_tested_beside_the_papers() {
    let dir = tempfile::tempdir().unwrap();
    lines(dir.path(), ("acai", "ACAI"), &[0.2, 0.3, 0.25], &[0.10, 0.11, 0.10]);
    lines(dir.path(), ("mine", "<b>Mine"), &[0.1, 0.11, 0.1], &[0.10, 0.11, 0.10]);
    let own = dir.path().join("claims.toml");
    let text = "[[claim]]\nid = 'mine'\nsays = 'Mine, <b>bold</b>, is nearer to lines'\nfamily = 'mine'\ntest = 'best'\n\
                metric = 'eval/mean_distance'\nvariant = 'mine'\n";
    fs::write(&own, text).unwrap();
    report(dir.path(), &ReportOptions::default()).unwrap();
    let row = claim(&dir, "mine");
    assert_eq!((row["verdict"].as_str(), row["against"].as_str()), ("supported", "ACAI"));
    // The paper's claims are compared among the paper's variants only, and ACAI has no rival here.
    assert!(!read(&dir, "tables/claims.csv").contains("acai-distance"));
    assert!(
        read(&dir, "tables/claims.md").contains("lie nearest to true lines (nothing to compare it with)")
    );
    let page = read(&dir, "index.html");
    assert!(page.contains("Mine, &lt;b&gt;bold") && !page.contains("<b>bold"));
    // A claim that cannot be tested is named, and the rest of the report is written.
    fs::write(&own, text.replace("mean_distance", "beauty")).unwrap();
    let outcome = report(dir.path(), &ReportOptions::default()).unwrap();
    assert_eq!(outcome.left_out.len(), 1);
    let named = "claims.toml is left out: the claim 'mine' is about 'eval/beauty'";
    assert!(outcome.left_out[0].contains(named), "{:?}", outcome.left_out);
    // The earlier table of claims is deleted; the paper's claims are tested again once they can be.
    assert!(!dir.path().join("tables/claims.csv").exists());
    lines(dir.path(), ("vae", "VAE"), &[1.0, 1.2, 1.1], &[0.05, 0.06, 0.05]);
    assert_eq!(report(dir.path(), &ReportOptions::default()).unwrap().left_out.len(), 1);
    assert_eq!(claim(&dir, "acai-distance")["against"], "VAE");
    // The user's claims are not corrected together with the paper's, even under the same family name.
    let before = claim(&dir, "acai-distance")["p_corrected"].clone();
    fs::write(&own, text.replace("family = 'mine'", "family = 'lines'")).unwrap();
    report(dir.path(), &ReportOptions::default()).unwrap();
    assert_eq!(claim(&dir, "acai-distance")["p_corrected"], before);
}

/// Writes the seven variants on MNIST with latents of 32 and 256, with kernel distances, and accuracies that fall as
/// these rise or, with `against`, rise with them.
fn judged(sweep: &Path, against: bool) {
    for channels in [2, 16] {
        for variant in 0..7 {
            let rank = variant as f64;
            let accuracy = 0.5 + 0.05 * if against { rank } else { 6.0 - rank } + 0.01 * channels as f64;
            let (distance, clusters) = (0.4 + rank * channels as f64, (3 * variant % 7) as f64);
            Fake { channels, ..fake(variant, 0, 0.9) }
                .with("eval/judged_distance", distance)
                .with("eval/judged_distance_error", 0.1)
                .with("final/probe_accuracy", accuracy)
                .with("final/cluster_accuracy", if channels == 2 { accuracy } else { 0.5 + 0.01 * clusters })
                .write(sweep);
        }
    }
}

#[test]
fn interpolation_and_usefulness_are_ranked_within_each_set() {
    for (against, verdict, rho) in [(false, "supported", "1"), (true, "contradicted", "-1")] {
        let dir = tempfile::tempdir().unwrap();
        judged(dir.path(), against);
        report(dir.path(), &ReportOptions::default()).unwrap();
        let row = claim(&dir, "interpolation-classifier");
        assert_eq!((row["verdict"].as_str(), row["dataset"].as_str()), (verdict, "all"));
        let difference: f64 = row["difference"].parse().unwrap();
        assert!((difference - rho.parse::<f64>().unwrap()).abs() < 1e-12, "{difference}");
        assert_eq!(row["against"], "no rank correlation, over 7 variants");
        // With latents of 256, cluster accuracies are in no particular order: by mean ranks over both sets the
        // correlation is 0.64.
        let row = claim(&dir, "interpolation-clusters");
        let rho: f64 = row["difference"].parse().unwrap();
        assert!(against || (row["verdict"] == "undecided" && (rho - 0.642_857).abs() < 1e-6), "{row:?}");
        let table = read(&dir, "tables/usefulness.md");
        assert!(table.contains("all, by mean ranks") && table.contains("(n=7)"), "{table}");
        let csv = read(&dir, "tables/usefulness.csv");
        let first = csv.lines().find(|line| line.starts_with("mnist,32,judged_distance,")).unwrap();
        // For seven variants in perfect order, two of the 5,040 permutations are as extreme.
        assert!(first.contains(",variants,") && first.contains(&(2.0_f64 / 5040.0).to_string()), "{first}");
        assert!(dir.path().join("figures/usefulness.svg").exists());
    }
}

#[test]
fn a_claim_to_be_second_best_skips_the_best() {
    let dir = tempfile::tempdir().unwrap();
    for (variant, accuracy) in [0.70, 0.71, 0.90, 0.80, 0.72, 0.73, 0.95].into_iter().enumerate() {
        for seed in 0..3 {
            fake(variant, seed, accuracy + 1e-3 * seed as f64).write(dir.path());
        }
    }
    report(dir.path(), &ReportOptions::default()).unwrap();
    let (denoising, vae) = (claim(&dir, "denoising-classifier-second"), claim(&dir, "vae-classifier-second"));
    assert_eq!((denoising["verdict"].as_str(), denoising["against"].as_str()), ("supported", "VAE"));
    assert_eq!((vae["verdict"].as_str(), vae["against"].as_str()), ("contradicted", "Denoising"));
    assert_eq!(claim(&dir, "acai-classifier")["verdict"], "supported");
}

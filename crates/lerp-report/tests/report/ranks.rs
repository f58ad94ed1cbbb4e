//! The table of ranks and the table of costs.

use lerp_report::{ReportOptions, report};

use crate::common::{
    images::{Fake, fake},
    read,
};

#[test]
fn variants_are_ranked_over_all_tables_that_have_them() {
    let dir = tempfile::tempdir().unwrap();
    // Baseline, VAE and ACAI, each better than the one before in all metrics except reconstruction error.
    for (rank, variant) in [0, 3, 6].into_iter().enumerate() {
        for channels in [2, 16] {
            let accuracy = 0.9 + 0.02 * rank as f64;
            let run = Fake { channels, ..fake(variant, 0, accuracy) };
            let run = run.with("final/probe_accuracy", accuracy).with("final/cluster_accuracy", accuracy);
            run.with("eval/reconstruction_mse", 0.01 + 0.001 * rank as f64).write(dir.path());
        }
    }
    // A variant that was run with one latent size only is not ranked, and removes no column.
    Fake { channels: 2, ..fake(1, 0, 0.99) }.write(dir.path());
    report(dir.path(), &ReportOptions::default()).unwrap();
    let text = read(&dir, "tables/ranks.md");
    let row = |title: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.starts_with(&format!("| {title} |"))).unwrap_or_default();
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    // ACAI wins three of the four columns of each latent size.
    assert_eq!(row("ACAI")[1..6], ["1.50", "1", "1", "1", "3"]);
    assert_eq!(row("Baseline")[1..6], ["2.50", "3", "3", "3", "1"]);
    assert!(row("Dropout").is_empty() || row("Dropout").len() == 1, "{text}");
    assert!(text.contains("Ranks over 8 columns of Table 2, Table 2b, Table 3, Table 4"), "{text}");
    // scipy.stats.friedmanchisquare of these ranks; Demšar's critical value for three, 2.343, by sqrt(3 * 4 / (6 * 8)).
    assert!(
        text.contains("(Friedman's test, p = 0.14)") && text.contains("differ by less than 1.17"),
        "{text}"
    );
    let csv = read(&dir, "tables/ranks.csv");
    assert_eq!(csv.lines().count(), 1 + 3 * 8);
    let svg = read(&dir, "figures/ranks.svg");
    assert!(svg.contains("CD = 1.17") && svg.contains("ACAI (1.50)"));
    assert!(read(&dir, "index.html").contains("<section id=\"ranks\">"));
}

#[test]
fn what_runs_cost_is_a_table_and_a_figure() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..2 {
        fake(0, seed, 0.9).write(dir.path());
    }
    report(dir.path(), &ReportOptions::default()).unwrap();
    // Each run took a minute for 2^24 samples, and 123.4 million bytes.
    let text = read(&dir, "tables/cost.md");
    let row = "| MNIST 32 | Baseline | 1.0 ± 0.0 | 2.8e5 ± 0 | 123 ± 0 | 1 | 2 |";
    assert!(text.contains(row), "{text}");
    let csv = read(&dir, "tables/cost.csv");
    assert!(csv.lines().any(|line| line.contains(",peak_memory_bytes,123400000")), "{csv}");
    assert!(read(&dir, "figures/cost-mnist-32.svg").contains("minutes"));
}

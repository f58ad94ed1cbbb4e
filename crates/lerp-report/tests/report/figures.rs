//! Figures of runs whose files are known.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use lerp_report::{ReportOptions, report};
use lerp_train::{MetricRow, Metrics, State};

use crate::common::{ACAI, BASELINE, Run, VAE, images, on_lines, picture, read, value};

const DISTANCE: &str = "eval/mean_distance";
const SMOOTHNESS: &str = "eval/mean_smoothness";

/// Writes a run on lines.
fn run(
    sweep: &Path,
    (variant, title): (&str, &str),
    seed: u64,
    state: State,
    rows: Vec<MetricRow>,
) -> PathBuf {
    Run::on_lines(on_lines(variant, seed), title, state, rows).write(sweep)
}

/// Returns sixteen evaluations with these distances and a smoothness of 0.5.
fn distances(of: impl Fn(u64) -> f64) -> Vec<MetricRow> {
    (1..=16).flat_map(|i| [value(i, DISTANCE, of(i)), value(i, SMOOTHNESS, 0.5)]).collect()
}

/// Draws one figure, or all.
fn draw(dir: &tempfile::TempDir, figure: Option<&str>) -> Result<(), String> {
    let options = ReportOptions { figure: figure.map(String::from), terminal: None };
    report(dir.path(), &options).map(drop).map_err(|error| error.to_string())
}

fn save(run: &Path, file: &str, tensors: Vec<(&str, Tensor)>) {
    let tensors: HashMap<&str, Tensor> = tensors.into_iter().collect();
    candle_core::safetensors::save(&tensors, run.join(file)).unwrap();
}

/// Returns a tensor of `rows` rows and 16 positions.
fn table(rows: usize, of: impl Fn(usize, usize) -> f64) -> Tensor {
    let values: Vec<f32> = (0..16 * rows).map(|i| of(i / 16, i % 16) as f32).collect();
    Tensor::from_vec(values, (rows, 16), &Device::Cpu).unwrap()
}

/// Saves paths of four pairs: the first two do not turn, the others turn evenly, the last one backwards.
fn paths(run: &Path) {
    let angle = |pair: usize, i: usize| match pair {
        0 | 1 => 1.0,
        2 => 0.1 * i as f64,
        _ => (1.0 - 0.1 * i as f64).rem_euclid(std::f64::consts::TAU),
    };
    let tensors = vec![
        ("norm", table(4, |pair, i| if pair == 0 { f64::NAN } else { 1.0 + i as f64 })),
        ("distance", table(4, |pair, i| if pair == 1 { f64::NAN } else { 1e-9 + 1e-4 * i as f64 })),
        ("angle", table(4, angle)),
    ];
    save(run, "paths.safetensors", tensors);
}

/// Writes the report, and returns the caption of a figure on the page.
fn caption(dir: &tempfile::TempDir, figure: &str) -> String {
    draw(dir, None).unwrap();
    let page = read(dir, "index.html");
    let from = page.find(&format!("<figure id=\"{figure}\">")).unwrap_or_else(|| panic!("{figure}: {page}"));
    let from = from + page[from..].find("<figcaption>").unwrap();
    page[from..from + page[from..].find("</figcaption>").unwrap()].to_owned()
}

/// Returns the points of each curve of one colour in a figure. Curves are the lines that are two units wide.
fn curves(dir: &tempfile::TempDir, file: &str, color: &str) -> Vec<Vec<(f64, f64)>> {
    let svg = read(dir, &format!("figures/{file}.svg"));
    let begin = format!("stroke=\"{color}\" stroke-width=\"8\" points=\"");
    let points = |line: &str| {
        let pairs = line.split('"').next().unwrap().split_whitespace();
        pairs
            .map(|p| p.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap())
            .collect()
    };
    svg.split(&begin).skip(1).map(points).collect()
}

#[test]
fn figure_2_needs_no_runs_and_parts_are_drawn_only_on_request() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), BASELINE, 0, State::Running, Vec::new());
    draw(&dir, None).unwrap();
    let names = || {
        let mut names: Vec<String> = fs::read_dir(dir.path().join("figures"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(), "figure2.png figure2.svg");
    let svg = read(&dir, "figures/figure2.svg");
    for words in ["(a) Lines", "(f) Unrealistic", "0.00025", "0.933", "7.2", "410", "0.011"] {
        assert!(svg.contains(words), "{words}");
    }
    draw(&dir, Some("2a")).unwrap();
    draw(&dir, Some("2f")).unwrap();
    assert_eq!(names(), "figure2.png figure2.svg figure2a.png figure2a.svg figure2f.png figure2f.svg");
    // Sixteen lines, the last one's pixels at the right edge.
    let (gray, width) = picture(&dir, "figure2a");
    assert_eq!((width, gray.len() / width), (16 * 34 - 2, 32));
}

#[test]
fn a_figure_without_data_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), BASELINE, 0, State::Interrupted, distances(|_| 0.005));
    let refused = |name: &str| draw(&dir, Some(name)).unwrap_err();
    for name in ["paths", "turns", "norms"] {
        let error = refused(name);
        assert!(error.contains(&format!("figure '{name}' cannot be drawn: no run in")), "{error}");
        assert!(error.contains("on lines has a paths.safetensors; `lerp eval RUN --write`"), "{error}");
    }
    assert!(refused("critic").contains("on lines has measured a critic's estimates of α"));
    assert!(refused("5").contains("has a samples.safetensors"));
    assert!(refused("3").ends_with("has been evaluated yet"));
    assert!(refused("3g").ends_with("of ACAI on lines has been evaluated yet"));
    assert!(refused("speed").ends_with("is finished"));
    let unknown = refused("strips-mnist-32");
    assert!(
        unknown.contains("there are: 2, 2a, 2b, 2c, 2d, 2e, 2f, 3, 3a, 3b, 3c, 3d, 3e, 3f, 3g, 5, curves"),
        "{unknown}"
    );
    // A report still draws all figures that have data.
    draw(&dir, None).unwrap();
}

#[test]
fn figure_3_shows_the_first_pair_of_a_finished_run() {
    let dir = tempfile::tempdir().unwrap();
    let full = |value: f32, pairs: usize| Tensor::full(value, (pairs, 16, 32, 32, 1), &Device::Cpu).unwrap();
    let six = Tensor::cat(&[full(1.0, 1), full(-1.0, 5)], 0).unwrap().to_dtype(DType::F16).unwrap();
    let angles = || Tensor::zeros((6, 2), DType::F32, &Device::Cpu).unwrap();
    let done = run(dir.path(), BASELINE, 1, State::Done, distances(|_| 0.005));
    save(&done, "interpolation.safetensors", vec![("images", six.clone()), ("angles", angles())]);
    let early = run(dir.path(), BASELINE, 0, State::Interrupted, distances(|_| 0.005));
    save(&early, "interpolation.safetensors", vec![("images", full(0.0, 1).squeeze(0).unwrap())]);
    let lone = run(dir.path(), ACAI, 0, State::Interrupted, distances(|_| 0.005));
    save(&lone, "interpolation.safetensors", vec![("images", full(0.0, 1).squeeze(0).unwrap())]);
    let words = caption(&dir, "figure3");
    assert!(
        words.contains("Models of seed 1 (Baseline), 0 (ACAI). Not finished: ACAI (16,777,216 samples)."),
        "{words}"
    );
    let (gray, width) = picture(&dir, "figure3");
    assert_eq!([gray[34 * width], gray[68 * width], gray[32 * width]], [255, 128, 255]);
    assert_eq!(gray.len() / width, 3 * 34 - 2);
    draw(&dir, Some("3g")).unwrap();
    let (gray, width) = picture(&dir, "figure3g");
    assert_eq!((gray.len() / width, gray[0]), (32, 128));
    assert!(draw(&dir, Some("3b")).is_err());
}

#[test]
fn paths_are_medians_over_the_pairs_that_turn() {
    let dir = tempfile::tempdir().unwrap();
    paths(&run(dir.path(), BASELINE, 0, State::Done, distances(|_| 0.005)));
    run(dir.path(), ACAI, 0, State::Done, distances(|_| 0.005));
    let words = caption(&dir, "paths");
    assert!(
        words.contains("over 4 interpolations") && words.contains("does not turn: 2 of 4 (Baseline)."),
        "{words}"
    );
    assert!(words.contains("Without saved paths: ACAI."), "{words}");
    let lines = curves(&dir, "paths", "#000000");
    assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16]);
    // An even pace is a straight line from corner to corner.
    let (from, to) = (lines[0][0], lines[0][15]);
    for (i, (x, y)) in lines[0].iter().enumerate() {
        let share = i as f64 / 15.0;
        let on = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
        assert!((x - on.0).abs() <= 1.0 && (y - on.1).abs() <= 1.0, "position {i}: {lines:?}");
    }
    // Every turn is a fifteenth of the whole.
    let turns = &curves(&dir, "turns", "#000000")[0];
    assert!(turns.len() == 15 && turns.iter().all(|(_, y)| (y - turns[0].1).abs() <= 1.0), "{turns:?}");
    assert!(caption(&dir, "turns").contains("each of the 15 turns"));
    assert!(read(&dir, "figures/turns.svg").contains("largest 0.07"), "one fifteenth");
    // Norms are relative to the mean of the ends, 8.5. Three of the pairs have norms.
    assert_eq!(curves(&dir, "norms", "#000000")[0].len(), 16);
    assert!(caption(&dir, "norms").contains("over 4 interpolations"));
}

#[test]
fn figures_of_only_undefined_values_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let done = run(dir.path(), BASELINE, 0, State::Done, distances(|_| f64::NAN));
    let nan = || table(3, |_, _| f64::NAN);
    save(
        &done,
        "paths.safetensors",
        vec![("norm", nan()), ("distance", nan()), ("angle", table(3, |_, _| 1.0))],
    );
    run(dir.path(), VAE, 0, State::Failed, Vec::new());
    let mut rows: Vec<MetricRow> = distances(|i| if i > 3 { f64::INFINITY } else { 1e12 });
    rows.extend((0..8).map(|i| value(1, &format!("eval/critic_alpha_{i}"), [f64::NAN, 5.0, 0.1][i % 3])));
    run(dir.path(), ACAI, 0, State::Failed, rows);
    draw(&dir, None).unwrap();
    for file in ["paths", "turns", "norms", "critic", "curves", "speed"] {
        assert!(dir.path().join(format!("figures/{file}.svg")).exists(), "{file}");
    }
    for (file, note) in [("paths", "no line turns"), ("paths", "undefined"), ("norms", "undefined")] {
        assert!(read(&dir, &format!("figures/{file}.svg")).contains(note), "{file}: {note}");
    }
    let svg = read(&dir, "figures/speed.svg");
    assert!(svg.contains("Baseline") && !svg.contains("ACAI"), "only what is finished has a speed");
}

#[test]
fn curves_have_gaps_and_a_band_only_over_several_seeds() {
    let gap = |i: u64| if (6..9).contains(&i) { f64::NAN } else { 0.005 + 1e-4 * i as f64 };
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), BASELINE, 0, State::Done, distances(gap));
    draw(&dir, Some("curves")).unwrap();
    let of =
        |dir: &tempfile::TempDir| curves(dir, "curves", "#000000").iter().map(Vec::len).collect::<Vec<_>>();
    // Distance in two pieces, smoothness in one, the legend.
    assert_eq!(of(&dir), [5, 8, 16, 2]);
    let bands =
        |dir: &tempfile::TempDir| read(dir, "figures/curves.svg").matches("<polygon opacity=\"0.2\"").count();
    assert_eq!(bands(&dir), 0);
    run(dir.path(), BASELINE, 1, State::Done, distances(gap));
    let words = caption(&dir, "curves");
    assert!(words.contains("the band is from the lowest to the highest"), "{words}");
    let svg = read(&dir, "figures/curves.svg");
    assert!(svg.contains("seeds 0, 1;"), "the file's own caption has the conditions");
    assert!(!words.contains("seeds 0, 1;"), "{words}");
    assert_eq!((of(&dir), bands(&dir)), (vec![5, 8, 16, 2], 3));
    // Where one seed has a value, there is no gap.
    run(dir.path(), BASELINE, 2, State::Done, distances(|_| 0.004));
    draw(&dir, Some("curves")).unwrap();
    assert_eq!(of(&dir), [16, 16, 2]);
}

#[test]
fn the_critic_has_a_line_for_each_true_value() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), BASELINE, 0, State::Done, distances(|_| 0.005));
    let critic = |offset: f64| {
        let at = move |i: u64| {
            (0..8).map(move |a| value(i, &format!("eval/critic_alpha_{a}"), f64::from(a) / 15.0 + offset))
        };
        (1..=16).flat_map(at).collect::<Vec<_>>()
    };
    run(dir.path(), ACAI, 0, State::Done, critic(0.01));
    run(dir.path(), ACAI, 1, State::Done, critic(-0.01));
    let words = caption(&dir, "critic");
    assert!(words.contains("the critic of ACAI says") && words.contains("Mean over seeds."), "{words}");
    assert!(!words.contains("Baseline") && !words.contains("at the edge"), "{words}");
    let svg = read(&dir, "figures/critic.svg");
    assert!(svg.contains("true α") && svg.contains("7/15"));
    // The mean of both seeds lies on the true value, which is dotted: the line of 0 is dark blue.
    let line = &curves(&dir, "critic", "#00224E")[0];
    assert_eq!(line.len(), 16);
    assert!(svg.contains(&format!("stroke-width=\"5\" points=\"280,{} ", line[0].1)), "{line:?}");
}

#[test]
fn speed_shows_finished_runs_with_a_range() {
    let dir = tempfile::tempdir().unwrap();
    let rows = || distances(|_| 0.005);
    run(dir.path(), BASELINE, 0, State::Done, rows());
    let fast = run(dir.path(), BASELINE, 1, State::Done, rows());
    let status = fs::read_to_string(fast.join("status.json")).unwrap().replace("60.0", "30.0");
    fs::write(fast.join("status.json"), status).unwrap();
    let never = run(dir.path(), VAE, 0, State::Done, rows());
    let status = fs::read_to_string(never.join("status.json")).unwrap().replace("60.0", "0.0");
    fs::write(never.join("status.json"), status).unwrap();
    images::fake(0, 0, 0.9).write(dir.path());
    let words = caption(&dir, "speed");
    for part in ["mean over seeds, and the range", "Device cpu, threads of a run: 1."] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let svg = read(&dir, "figures/speed.svg");
    // 2^24 samples in 60 and in 30 seconds.
    for text in ["Lines", "MNIST 32", "419430", "279620"] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
    assert!(!svg.contains("VAE"), "no time, no speed");
}

#[test]
fn samples_fill_a_square() {
    let dir = tempfile::tempdir().unwrap();
    let vae = run(dir.path(), VAE, 0, State::Done, distances(|_| 0.005));
    let values: Vec<f32> = (0..256).flat_map(|i| vec![i as f32 / 127.5 - 1.0; 1024]).collect();
    let tensor = Tensor::from_vec(values, (256, 32, 32, 1), &Device::Cpu).unwrap();
    save(&vae, "samples.safetensors", vec![("images", tensor.to_dtype(DType::F16).unwrap())]);
    let on_mnist = images::fake(3, 0, 0.9).write(dir.path());
    let few = Tensor::full(0.5_f32, (3, 32, 32, 3), &Device::Cpu).unwrap();
    save(&on_mnist, "samples.safetensors", vec![("images", few)]);
    let words = caption(&dir, "figure5");
    assert!(
        words.contains("Figure 5. 256 samples of the VAE on lines") && words.contains("Model of seed 0."),
        "{words}"
    );
    let (gray, width) = picture(&dir, "figure5");
    assert_eq!((width, gray.len() / width), (542, 542));
    for i in 0..256 {
        let at = gray[(i / 16 * 34) * width + i % 16 * 34];
        assert!(at.abs_diff(i as u8) <= 1, "image {i} is {at}");
    }
    assert_eq!(gray[33], 255, "white between");
    assert!(caption(&dir, "samples-vae-mnist-32").contains("3 samples of the VAE on MNIST with a latent"));
    let (_, width) = picture(&dir, "samples-vae-mnist-32");
    assert_eq!(width, 66);
    assert!(draw(&dir, Some("samples-aae")).unwrap_err().contains("there are"));
}

#[test]
fn image_sets_have_their_own_norms_and_critics() {
    let dir = tempfile::tempdir().unwrap();
    let metric = |a: usize| -> &'static str { ["eval/critic_alpha_0", "eval/critic_alpha_1"][a] };
    let done = images::fake(6, 0, 0.9).with(metric(0), 0.05).with(metric(1), 0.1).write(dir.path());
    save(&done, "paths.safetensors", vec![("norm", table(64, |_, i| 2.0 + i as f64))]);
    let words = caption(&dir, "norms-mnist-32");
    assert!(
        words.contains("between two test images of MNIST with a latent dimensionality of 32")
            && words.contains("over 64 pairs"),
        "{words}"
    );
    assert!(caption(&dir, "critic-mnist-32").contains("test images of MNIST"));
    assert!(draw(&dir, Some("paths")).unwrap_err().contains("there is no figure 'paths'"));
    // A run on another latent size that has measured nothing yet.
    let metrics = Metrics::read(&done.join("metrics.parquet")).unwrap();
    assert!(metrics.0.iter().any(|row| row.metric == metric(1)));
    images::Fake { channels: 16, metrics: Vec::new(), state: State::Running, ..images::fake(6, 0, 0.9) }
        .write(dir.path());
    assert!(draw(&dir, Some("critic-mnist-256")).unwrap_err().contains("on MNIST 256 has measured"));
    draw(&dir, None).unwrap();
}

//! Checks of whitening, k-means, and the matching of clusters to classes.

use candle_core::{Device, Tensor};
use lerp_core::{Draws, on_host};
use lerp_eval::clustering::{KMeans, KMeansOptions, Whitening, matched_accuracy};

use crate::{
    Error, Result,
    checker::{Checker, Measure},
    golden::{File, numbers},
};

/// Kind of value in the manifest's tolerances: whitened latents.
const WHITENED: &str = "cluster whitened";
/// Kind of value in the manifest's tolerances: inertia of k-means.
const INERTIA: &str = "cluster inertia";
/// Kind of value in the manifest's tolerances: accuracy of clusters.
const ACCURACY: &str = "cluster accuracy";

/// Number of restarts of k-means in the golden values.
const RESTARTS: usize = 50;

/// Checks the values of the file `cluster`.
pub fn cluster(checker: &mut Checker, file: &File) -> Result<()> {
    let (train, test) = (file.get("train_latents")?, file.get("test_latents")?);
    let whitening = Whitening::fit(train)?;
    let (our_train, our_test) = (whitening.apply(train)?, whitening.apply(test)?);
    whitened(checker, file, &whitening, [("train", &our_train), ("test", &our_test)])?;

    let (_, width) = train.dims2()?;
    let clusters = file.get("kmeans_centers")?.dim(0)?;
    let options = KMeansOptions { clusters, restarts: RESTARTS, ..KMeansOptions::default() };
    let draws = Draws::new(0, &Device::Cpu);
    let found = KMeans::fit(&our_train, &options, &draws)?;
    inertia(checker, file, "kmeans_train_inertia", found.inertia())?;
    inertia(checker, file, "kmeans_train_inertia_other_seeds", found.inertia())?;
    inertia(checker, file, "kmeans_test_inertia", found.inertia_of(&our_test)?)?;

    let signs = signs(&numbers(&our_train)?, &file.numbers("train_whitened")?, width);
    centres(checker, file, &found, &signs)?;
    let predicted = found.predict(&our_test)?;
    for (part, ours) in [("train", found.assigned()), ("test", &predicted)] {
        let name = format!("kmeans_{part}_assign");
        // Cluster numbers are arbitrary, so assignments are compared after matching the clusters.
        let different = 1.0 - matched_accuracy(ours, &integers(file, &name)?)?;
        checker.record(
            format!("{} {name}", file.stem),
            different,
            checker.tolerance(ACCURACY)?.tol,
            "up to the numbering of clusters",
        );
        let right = matched_accuracy(ours, &integers(file, &format!("{part}_labels"))?)?;
        checker.number(file, &format!("kmeans_{part}_accuracy"), right, ACCURACY, Measure::Absolute)?;
    }
    golden_centres(checker, file)?;

    let raw = KMeans::fit(train, &options, &draws)?;
    inertia(checker, file, "raw_kmeans_train_inertia", raw.inertia())?;
    let right = matched_accuracy(&raw.predict(test)?, &integers(file, "test_labels")?)?;
    checker.number(file, "raw_kmeans_test_accuracy", right, ACCURACY, Measure::Absolute)?;

    let cases: Vec<String> = file
        .names("match_")
        .filter_map(|name| name.strip_suffix(".accuracy").map(|case| format!("match_{case}")))
        .collect();
    for case in cases {
        let get = |part: &str| integers(file, &format!("{case}.{part}"));
        let ours = matched_accuracy(&get("assign")?, &get("labels")?)?;
        checker.number(file, &format!("{case}.accuracy"), ours, ACCURACY, Measure::Absolute)?;
    }
    Ok(())
}

/// Checks mean, singular values, whitened latents up to the sign of each column, and Gram matrices of whitened latents,
/// which do not depend on these signs.
fn whitened(
    checker: &mut Checker,
    file: &File,
    whitening: &Whitening,
    parts: [(&str, &Tensor); 2],
) -> Result<()> {
    // Both were recorded in single precision, whose error is relative to their largest entry.
    for (name, ours) in [("mean", whitening.mean()), ("singular_values", whitening.singular_values())] {
        let ours = Tensor::new(ours, &Device::Cpu)?;
        checker.tensor(file, name, &ours, WHITENED, Measure::RelativeToLargest)?;
    }
    let width = whitening.mean().len();
    // The sign of a column must be the same for training and test latents.
    let signs = signs(&numbers(parts[0].1)?, &file.numbers("train_whitened")?, width);
    let signs = Tensor::new(signs, &Device::Cpu)?;
    for (part, ours) in parts {
        let ours = on_host(ours)?;
        let turned = ours.broadcast_mul(&signs)?;
        checker.tensor(file, &format!("{part}_whitened"), &turned, WHITENED, Measure::Absolute)?;
        let name = format!("{part}_gram_32");
        let first = ours.narrow(0, 0, file.get(&name)?.dim(0)?)?;
        checker.tensor(file, &name, &first.matmul(&first.t()?)?, WHITENED, Measure::Absolute)?;
    }
    Ok(())
}

/// Returns for each column the factor 1 or -1 that turns our whitened latents into the direction of the golden ones.
fn signs(ours: &[f64], recorded: &[f64], width: usize) -> Vec<f64> {
    let mut products = vec![0.0; width];
    for (ours, recorded) in ours.chunks(width).zip(recorded.chunks(width)) {
        for ((product, a), b) in products.iter_mut().zip(ours).zip(recorded) {
            *product += a * b;
        }
    }
    products.into_iter().map(f64::signum).collect()
}

/// Checks that the inertia is at most the tolerance above the golden one and at most a tenth of the tolerance below it:
/// a lower inertia would be a better optimum than seven seeds of the oracle found.
fn inertia(checker: &mut Checker, file: &File, name: &str, ours: f64) -> Result<()> {
    let tolerance = checker.tolerance(INERTIA)?.tol;
    let error = file.numbers(name)?.into_iter().map(|expected| {
        let above = ours / expected - 1.0;
        if above < 0.0 { -10.0 * above } else { above }
    });
    // `f64::max` would ignore a NaN.
    let worst = error.fold(0.0, |a: f64, b| if b > a || b.is_nan() { b } else { a });
    checker.record(format!("{} {name}", file.stem), worst, tolerance, "below counts tenfold");
    Ok(())
}

/// Compares each of our cluster centres with the nearest golden centre; no two may have the same nearest one.
fn centres(checker: &mut Checker, file: &File, found: &KMeans, signs: &[f64]) -> Result<()> {
    let (ours, recorded) = (numbers(&found.centres()?)?, file.numbers("kmeans_centers")?);
    let width = signs.len();
    let (mut worst, mut taken) = (0.0_f64, Vec::new());
    for ours in ours.chunks(width) {
        let turned: Vec<f64> = ours.iter().zip(signs).map(|(c, s)| c * s).collect();
        let error = |recorded: &[f64]| -> f64 {
            turned.iter().zip(recorded).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        };
        let nearest = recorded.chunks(width).map(error).enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        let (index, error) = nearest.unwrap_or((0, f64::NAN));
        worst = if taken.contains(&index) { f64::INFINITY } else { worst.max(error) };
        taken.push(index);
    }
    if taken.len() * width != recorded.len() {
        worst = f64::INFINITY;
    }
    let tolerance = checker.tolerance(WHITENED)?.tol;
    let name = format!("{} kmeans_centers", file.stem);
    checker.record(name, worst, tolerance, "up to the numbering of clusters");
    Ok(())
}

/// Checks assignments and inertia of the golden centres, which are deterministic and keep the numbers of clusters.
fn golden_centres(checker: &mut Checker, file: &File) -> Result<()> {
    for part in ["train", "test"] {
        let at = KMeans::around(file.get("kmeans_centers")?, file.get(&format!("{part}_whitened"))?)?;
        let name = format!("kmeans_{part}_assign");
        let expected = integers(file, &name)?;
        let differing = at.assigned().iter().zip(&expected).filter(|(a, b)| a != b).count();
        let lengths = at.assigned().len().abs_diff(expected.len());
        let note = "of the recorded centres";
        checker.record(format!("{} {name}", file.stem), (differing + lengths) as f64, 0.0, note);
        let name = format!("kmeans_{part}_inertia");
        let error = (at.inertia() / file.numbers(&name)?[0] - 1.0).abs();
        // The centres are the same, so an inertia below the golden one is an error too.
        checker.record(format!("{} {name}", file.stem), error, 1e-5, note);
    }
    Ok(())
}

/// Returns the values of a tensor as unsigned integers.
///
/// # Errors
/// If a value is not a non-negative integer of 32 bits.
fn integers(file: &File, name: &str) -> Result<Vec<u32>> {
    let numbers = file.numbers(name)?;
    if let Some(wrong) = numbers.iter().find(|v| v.fract() != 0.0 || **v < 0.0 || **v > f64::from(u32::MAX)) {
        let problem = format!("{} {name} holds {wrong}, which is no number of a cluster or class", file.stem);
        return Err(Error::Golden(problem));
    }
    Ok(numbers.into_iter().map(|v| v as u32).collect())
}

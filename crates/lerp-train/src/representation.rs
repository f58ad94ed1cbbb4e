//! How well the latents of a finished run represent the classes: a probe, which is a single-layer classifier fitted to
//! frozen features, and clusters found by k-means (section 4). Raw pixels are measured in the same way as a baseline.

use std::sync::atomic::AtomicBool;

use candle_core::{Device, Tensor};
use lerp_core::Draws;
use lerp_data::{Dataset, Split};
use lerp_eval::{
    EVALUATION_BATCH, Labelled, clustering, probe,
    quantity::{OF_CLUSTERS, OF_PROBE},
};

use crate::{Error, Learner, Result};

/// The maximum number of training images that a probe and clusters are fitted to, counted from the first one, as in
/// the paper's clustering.
pub const MAX_PROBE_IMAGES: usize = 60_000;

/// Fits a single-layer classifier to features and returns its results by key.
fn probe(Encoded { train, test }: &Encoded, stop: &AtomicBool) -> Result<Vec<(String, f64)>> {
    let options = probe::ProbeOptions { stop: Some(stop), ..probe::ProbeOptions::default() };
    let [fit_on, tested_on] = [train, test].map(|of| Labelled { features: &of.features, labels: &of.labels });
    let fitted = probe::fit(fit_on, tested_on, &options)?;
    let values = [
        fitted.test_accuracy,
        fitted.train_accuracy,
        fitted.train_loss,
        fitted.iterations as f64,
        f64::from(u8::from(fitted.converged)),
        train.labels.len() as f64,
        test.labels.len() as f64,
    ];
    Ok(OF_PROBE.into_iter().zip(values).map(|(of, value)| of.keyed(value)).collect())
}

/// A model's features and latents of the training and the test split of a dataset.
pub(crate) struct Encoded {
    pub train: EncodedSplit,
    pub test: EncodedSplit,
}

/// A model's features and latents of the images of one split.
pub(crate) struct EncodedSplit {
    /// The classifier's input, `[images, width]`, on the CPU.
    pub features: Tensor,
    /// Flattened latents, `[images, numbers]`, on the CPU.
    pub latents: Tensor,
    /// The class of each image.
    pub labels: Vec<u32>,
}

/// Measures a trained model: fits the classifier to its features, and clusters its latents with k-means with
/// `restarts` restarts, both on the first [`MAX_PROBE_IMAGES`] training images and on all test images.
///
/// # Errors
/// If the images have no labels or cannot be read, latents are not finite, or `stop` became true.
pub(crate) fn probe_and_cluster_model(
    learner: &Learner,
    dataset: &dyn Dataset,
    restarts: usize,
    draws: &Draws,
    stop: &AtomicBool,
) -> Result<Vec<(String, f64)>> {
    let encode = |split: Split, name: &str| -> Result<EncodedSplit> {
        let (mut features, mut latents, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        let draws = draws.scope(name);
        each_chunk(dataset, split, draws.device(), stop, |chunk, images, of_chunk| {
            let draws = draws.scope(&chunk.to_string());
            let model = learner.model();
            let flat = |x: Tensor| x.detach().flatten_from(1)?.to_device(&Device::Cpu);
            features.push(flat(model.features(images, &draws)?)?);
            latents.push(flat(model.encode(images, &draws)?)?);
            labels.extend(of_chunk);
            Ok(())
        })?;
        Ok(EncodedSplit { features: Tensor::cat(&features, 0)?, latents: Tensor::cat(&latents, 0)?, labels })
    };
    let encoded = Encoded { train: encode(Split::Train, "train")?, test: encode(Split::Test, "test")? };
    probe_and_cluster(&encoded, restarts, draws, stop)
}

/// Measures features and latents: fits the classifier to the features, and clusters the latents.
///
/// # Errors
/// If latents are not finite, or `stop` became true.
pub(crate) fn probe_and_cluster(
    encoded: &Encoded,
    restarts: usize,
    draws: &Draws,
    stop: &AtomicBool,
) -> Result<Vec<(String, f64)>> {
    let mut measures = probe(encoded, stop)?;
    measures.extend(clusters(encoded, restarts, draws, stop)?);
    Ok(measures)
}

/// Clusters latents and returns the agreement of the clusters with classes, by key.
fn clusters(
    Encoded { train, test }: &Encoded,
    restarts: usize,
    draws: &Draws,
    stop: &AtomicBool,
) -> Result<Vec<(String, f64)>> {
    let mut classes = train.labels.clone();
    classes.sort_unstable();
    classes.dedup();
    let options = clustering::KMeansOptions {
        clusters: classes.len(),
        restarts,
        stop: Some(stop),
        ..clustering::KMeansOptions::default()
    };
    let [train, test] = [train, test].map(|of| Labelled { features: &of.latents, labels: &of.labels });
    let found = clustering::evaluate(train, test, &options, &draws.scope("clusters"))?;
    let values = [found.test_accuracy, found.train_accuracy, found.test_information, found.inertia];
    Ok(OF_CLUSTERS.into_iter().zip(values).map(|(of, value)| of.keyed(value)).collect())
}

/// Measures raw pixels in place of a model's features and latents, as a baseline; the keys are those of a model's
/// measurements.
///
/// # Errors
/// If the images have no labels or cannot be read, or `stop` became true.
pub fn probe_and_cluster_pixels(
    dataset: &dyn Dataset,
    restarts: usize,
    stop: &AtomicBool,
) -> Result<Vec<(String, f64)>> {
    let read = |split: Split| -> Result<EncodedSplit> {
        let (images, labels) = read_split(dataset, split, stop)?;
        let pixels = images.flatten_from(1)?;
        Ok(EncodedSplit { features: pixels.clone(), latents: pixels, labels })
    };
    let draws = Draws::new(0, &Device::Cpu).scope("pixels");
    let pixels = Encoded { train: read(Split::Train)?, test: read(Split::Test)? };
    probe_and_cluster(&pixels, restarts, &draws, stop)
}

/// Reads the images of a split with their labels, of the training split at most [`MAX_PROBE_IMAGES`].
///
/// # Shapes
/// `[images, height, width, channels]`, on the CPU.
///
/// # Errors
/// If the images have no labels or cannot be read, or `stop` became true.
pub(crate) fn read_split(
    dataset: &dyn Dataset,
    split: Split,
    stop: &AtomicBool,
) -> Result<(Tensor, Vec<u32>)> {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    each_chunk(dataset, split, &Device::Cpu, stop, |_, chunk, of_chunk| {
        images.push(chunk.clone());
        labels.extend(of_chunk);
        Ok(())
    })?;
    Ok((Tensor::cat(&images, 0)?, labels))
}

/// Reads the labels of the images that [`read_split`] reads.
///
/// # Errors
/// As for [`read_split`].
pub(crate) fn read_labels(dataset: &dyn Dataset, split: Split, stop: &AtomicBool) -> Result<Vec<u32>> {
    let mut labels = Vec::new();
    each_chunk(dataset, split, &Device::Cpu, stop, |_, _, of_chunk| {
        labels.extend(of_chunk);
        Ok(())
    })?;
    Ok(labels)
}

/// Calls `then` with each chunk of a split's images, of the training split at most [`MAX_PROBE_IMAGES`]: the chunk's
/// number, its images and its labels.
fn each_chunk(
    dataset: &dyn Dataset,
    split: Split,
    device: &Device,
    stop: &AtomicBool,
    mut then: impl FnMut(usize, &Tensor, Vec<u32>) -> Result<()>,
) -> Result<()> {
    let count = dataset.count(split)?.unwrap_or(0);
    let count = if split == Split::Train { count.min(MAX_PROBE_IMAGES) } else { count };
    for (chunk, first) in (0..count).step_by(EVALUATION_BATCH).enumerate() {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::Eval(lerp_eval::Error::Stopped));
        }
        let batch = dataset.range(split, first..count.min(first + EVALUATION_BATCH), device)?;
        then(chunk, &batch.images, batch.labels()?.to_vec1()?)?;
    }
    Ok(())
}

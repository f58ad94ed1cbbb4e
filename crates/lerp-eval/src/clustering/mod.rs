//! Clustering of latents (section 4.2): whitening, k-means with many restarts, and matching of clusters to classes.
//!
//! [`evaluate`] combines these parts; [`Whitening`], [`KMeans`], [`matched_accuracy`] and
//! [`normalised_mutual_information`] are the parts.

mod agreement;
mod kmeans;
mod restart;
mod whitening;

use lerp_core::Draws;

pub use agreement::{matched_accuracy, normalised_mutual_information};
pub use kmeans::{KMeans, KMeansOptions};
pub use whitening::Whitening;

use crate::{Labelled, Result, rows::Rows};

/// The agreement of the clusters of latents with classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Accuracy on the test latents, from 0 to 1, with clusters matched to classes on those latents: the paper's
    /// number.
    pub test_accuracy: f64,
    /// Accuracy on the training latents, with clusters matched to classes on these.
    pub train_accuracy: f64,
    /// Normalised mutual information on the test latents, from 0 to 1.
    pub test_information: f64,
    /// Sum of squared distances of the whitened training latents to their centres.
    pub inertia: f64,
}

/// Whitens latents, clusters the training latents and compares the clusters of both with classes (section 4.2).
///
/// # Shapes
/// The features of `train` and `test` are latents `[latents, ...]`, of the same width when flattened.
///
/// # Errors
/// If there are no latents, one holds NaN or infinity, shapes do not fit, or the options do not suit the latents.
///
/// # Examples
/// ```
/// use candle_core::{Device, Tensor};
/// use lerp_core::Draws;
/// use lerp_eval::{Labelled, clustering::{KMeansOptions, evaluate}};
///
/// // Two classes of twenty latents each, far apart.
/// let draws = Draws::new(1, &Device::Cpu);
/// let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
/// let centres: Vec<f32> = labels.iter().flat_map(|label| [*label as f32 * 30.0, 0.0]).collect();
/// let centres = Tensor::from_vec(centres, (40, 2), &Device::Cpu)?;
/// let latents = (centres + draws.normal("noise", (40, 2))?)?;
///
/// let options = KMeansOptions { clusters: 2, restarts: 20, ..KMeansOptions::default() };
/// let labelled = Labelled { features: &latents, labels: &labels };
/// let found = evaluate(labelled, labelled, &options, &draws)?;
/// assert_eq!(found.test_accuracy, 1.0);
/// # Ok::<(), lerp_eval::Error>(())
/// ```
pub fn evaluate(
    train: Labelled,
    test: Labelled,
    options: &KMeansOptions,
    draws: &Draws,
) -> Result<Agreement> {
    // Labels are checked before k-means, which takes minutes.
    Rows::new("training latents", train.features)?.check_labels("training labels", train.labels)?;
    Rows::new("test latents", test.features)?.check_labels("test labels", test.labels)?;
    let whitening = Whitening::fit(train.features)?;
    let whitened_test = whitening.apply(test.features)?;
    let clusters = KMeans::fit(&whitening.apply(train.features)?, options, draws)?;
    let of_test = clusters.predict(&whitened_test)?;
    Ok(Agreement {
        test_accuracy: matched_accuracy(&of_test, test.labels)?,
        train_accuracy: matched_accuracy(clusters.assigned(), train.labels)?,
        test_information: normalised_mutual_information(&of_test, test.labels)?,
        inertia: clusters.inertia(),
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    /// Returns `per_class` points around each of five corners, stretched by 1000 in one direction, and their
    /// classes.
    fn corners(per_class: usize, stream: &str) -> (Tensor, Vec<u32>) {
        let corners =
            [[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [9.0, 9.0, 9.0_f32]];
        let noise = Draws::new(5, &Device::Cpu).normals(stream, per_class * 15);
        let mut values = Vec::new();
        for (i, noise) in noise.chunks(3).enumerate() {
            let corner = corners[i % 5];
            values.extend([(corner[0] + noise[0]) * 1000.0, corner[1] + noise[1], corner[2] + noise[2]]);
        }
        let labels = (0..per_class * 5).map(|i| [3, 1, 4, 0, 2][i % 5]).collect();
        (Tensor::from_vec(values, (per_class * 5, 3), &Device::Cpu).unwrap(), labels)
    }

    #[test]
    fn known_clusters_are_found_whatever_their_scale() {
        let ((train, train_labels), (test, test_labels)) = (corners(60, "train"), corners(20, "test"));
        let options = KMeansOptions { clusters: 5, restarts: 20, ..KMeansOptions::default() };
        let draws = Draws::new(1, &Device::Cpu);
        let train = Labelled { features: &train, labels: &train_labels };
        let test = Labelled { features: &test, labels: &test_labels };
        let found = evaluate(train, test, &options, &draws).unwrap();
        assert_eq!((found.train_accuracy, found.test_accuracy), (1.0, 1.0));
        assert!((found.test_information - 1.0).abs() < 1e-12);
        // After whitening, each of the three directions has a sum of squares of 1, most of it between the clusters.
        assert!(found.inertia > 0.01 && found.inertia < 0.5, "{}", found.inertia);
        let wrong = Labelled { labels: &test_labels[1..], ..test };
        assert!(evaluate(train, wrong, &options, &draws).is_err());
    }
}

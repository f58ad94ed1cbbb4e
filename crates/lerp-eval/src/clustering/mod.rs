//! Clustering of latents (section 4.2): whitening, k-means with many restarts, and matching of clusters to classes.
//!
//! [`evaluate`] combines these parts; [`Whitening`], [`KMeans`], [`matched_accuracy`] and
//! [`normalised_mutual_information`] are the parts.

mod agreement;
mod kmeans;
mod restart;
mod whitening;

use candle_core::Tensor;
use lerp_core::Draws;

pub use agreement::{matched_accuracy, normalised_mutual_information};
pub use kmeans::{KMeans, Options};
pub use whitening::Whitening;

use crate::{Result, rows::Rows};

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
/// `train` and `test` `[latents, ...]`, of the same width when flattened; one label per latent.
///
/// # Errors
/// If there are no latents, one holds NaN or infinity, shapes do not fit, or the options do not suit the latents.
///
/// # Examples
/// ```
/// use candle_core::{Device, Tensor};
/// use lerp_core::Draws;
/// use lerp_eval::clustering::{Options, evaluate};
///
/// // Two classes of twenty latents each, far apart.
/// let draws = Draws::new(1, &Device::Cpu);
/// let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
/// let centres: Vec<f32> = labels.iter().flat_map(|label| [*label as f32 * 30.0, 0.0]).collect();
/// let centres = Tensor::from_vec(centres, (40, 2), &Device::Cpu)?;
/// let latents = (centres + draws.normal("noise", (40, 2))?)?;
///
/// let options = Options { clusters: 2, restarts: 20, ..Options::default() };
/// let found = evaluate((&latents, &labels), (&latents, &labels), &options, &draws)?;
/// assert_eq!(found.test_accuracy, 1.0);
/// # Ok::<(), lerp_eval::Error>(())
/// ```
pub fn evaluate(
    (train, train_labels): (&Tensor, &[u32]),
    (test, test_labels): (&Tensor, &[u32]),
    options: &Options,
    draws: &Draws,
) -> Result<Agreement> {
    // Labels are checked before k-means, which takes minutes.
    Rows::new("training latents", train)?.check_labels("training labels", train_labels)?;
    Rows::new("test latents", test)?.check_labels("test labels", test_labels)?;
    let whitening = Whitening::fit(train)?;
    let test = whitening.apply(test)?;
    let clusters = KMeans::fit(&whitening.apply(train)?, options, draws)?;
    let of_test = clusters.predict(&test)?;
    Ok(Agreement {
        test_accuracy: matched_accuracy(&of_test, test_labels)?,
        train_accuracy: matched_accuracy(clusters.assigned(), train_labels)?,
        test_information: normalised_mutual_information(&of_test, test_labels)?,
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
        let options = Options { clusters: 5, restarts: 20, ..Options::default() };
        let draws = Draws::new(1, &Device::Cpu);
        let found = evaluate((&train, &train_labels), (&test, &test_labels), &options, &draws).unwrap();
        assert_eq!((found.train_accuracy, found.test_accuracy), (1.0, 1.0));
        assert!((found.test_information - 1.0).abs() < 1e-12);
        // After whitening, each of the three directions has a sum of squares of 1, most of it between the clusters.
        assert!(found.inertia > 0.01 && found.inertia < 0.5, "{}", found.inertia);
        let wrong = &test_labels[1..];
        assert!(evaluate((&train, &train_labels), (&test, wrong), &options, &draws).is_err());
    }
}

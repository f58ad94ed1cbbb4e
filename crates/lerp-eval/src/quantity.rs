//! The quantities of a run: one table of keys, titles and descriptions, shared by the code that measures them and
//! the code that shows them.
//!
//! A quantity is identified by its key, under which a run's files store its values: `eval/` and a name if it is
//! measured at every evaluation, `final/` and a name if it is measured once, at the end of the run. Code that
//! measures declares a list such as [`ON_LINES`] and gives as many values; code that shows a value refers to its
//! [`Quantity`], so that no table asks for what nobody measures.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The direction in which a quantity is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Lower values are better.
    Lower,
    /// Higher values are better.
    Higher,
    /// Neither: the quantity is a count or a description.
    Neither,
}

impl Better {
    /// Returns whether `value` is better than `other`.
    pub fn prefers(self, value: f64, other: f64) -> bool {
        match self {
            Self::Lower => value < other,
            Self::Higher => value > other,
            Self::Neither => false,
        }
    }

    /// Returns the direction in words, such as `lower is better`; empty for [`Better::Neither`].
    pub fn words(self) -> &'static str {
        match self {
            Self::Lower => "lower is better",
            Self::Higher => "higher is better",
            Self::Neither => "",
        }
    }
}

/// The time at which a quantity is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At every evaluation of a run, the last one included. An evaluation that has begun is finished even if the
    /// run is asked to stop.
    EachEvaluation,
    /// Once, at the end of a run.
    AtTheEnd,
}

impl When {
    /// Returns the prefix of the keys of such quantities.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::EachEvaluation => "eval/",
            Self::AtTheEnd => "final/",
        }
    }

    /// Returns when the quantity with this key is measured; `None` for keys that are not a quantity's, such as a
    /// loss's.
    pub fn of(key: &str) -> Option<Self> {
        [Self::EachEvaluation, Self::AtTheEnd].into_iter().find(|when| key.starts_with(when.prefix()))
    }
}

/// A quantity: its key in files, and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantity {
    /// Key in files, such as `eval/mean_distance`.
    pub key: Cow<'static, str>,
    /// Title in tables and figures.
    pub title: Cow<'static, str>,
    /// Unit; empty if it has none.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub unit: Cow<'static, str>,
    /// Whether lower or higher values are better.
    pub better: Better,
    /// Description of what is measured, in a sentence.
    pub caption: Cow<'static, str>,
}

impl Quantity {
    /// Returns a quantity without a unit. The key of a user-defined quantity has no `eval/` or `final/`, which
    /// [`crate::Metric::when`] determines.
    pub const fn new(key: &'static str, title: &'static str, better: Better, caption: &'static str) -> Self {
        Self {
            key: Cow::Borrowed(key),
            title: Cow::Borrowed(title),
            unit: Cow::Borrowed(""),
            better,
            caption: Cow::Borrowed(caption),
        }
    }

    /// Returns the quantity with a unit.
    #[must_use]
    pub fn in_unit(self, unit: &'static str) -> Self {
        Self { unit: Cow::Borrowed(unit), ..self }
    }

    /// Returns a value with the quantity's key.
    pub fn keyed(&self, value: f64) -> (String, f64) {
        (self.key.clone().into_owned(), value)
    }

    /// Returns the key without its prefix: `mean_distance` of `eval/mean_distance`.
    pub fn name(&self) -> &str {
        let of = |when: When| self.key.strip_prefix(when.prefix());
        When::of(&self.key).and_then(of).unwrap_or(&self.key)
    }
}

use Better::{Higher, Lower, Neither};

/// The paper's Mean Distance (section 3): cosine distance of decoded images to the nearest line.
pub static MEAN_DISTANCE: Quantity = Quantity::new(
    "eval/mean_distance",
    "Mean distance",
    Lower,
    "Cosine distance of images decoded between two test lines to the nearest true line.",
);
/// The paper's Mean Smoothness (section 3): how unevenly the nearest lines turn along an interpolation.
pub static MEAN_SMOOTHNESS: Quantity = Quantity::new(
    "eval/mean_smoothness",
    "Mean smoothness",
    Lower,
    "The largest turn between neighbouring images of an interpolation as a share of its whole turn, less that of an even turn.",
);
/// Mean smoothness of only those interpolations along which the nearest line turns.
pub static MEAN_SMOOTHNESS_VALID: Quantity = Quantity::new(
    "eval/mean_smoothness_valid",
    "Smoothness, valid only",
    Lower,
    "Mean smoothness of the interpolations that turn at all.",
);
/// How much longer the path of the nearest lines' angles is than the shortest one.
pub static DETOUR: Quantity = Quantity::new(
    "eval/detour",
    "Detour",
    Lower,
    "How much longer the path of the nearest lines' angles is than the shortest one from one end to the other, as a share of that.",
);
/// The share of interpolations along which the nearest line turns.
pub static VALID_FRACTION: Quantity = Quantity::new(
    "eval/valid_fraction",
    "Valid fraction",
    Higher,
    "Share of the interpolations that turn at all, from 0 to 1.",
);
/// The mean squared error of reconstructions.
pub static RECONSTRUCTION_MSE: Quantity = Quantity::new(
    "eval/reconstruction_mse",
    "Reconstruction MSE",
    Lower,
    "Mean squared error of reconstructions of test images, whose values are from -1 to 1.",
);
/// Accuracy of the classifier that is trained jointly with the autoencoder (section 4).
pub static CLASSIFIER_ACCURACY: Quantity = Quantity::new(
    "eval/classifier_accuracy",
    "Classifier accuracy",
    Higher,
    "Share of test images that the single-layer classifier trained with the autoencoder classifies correctly, from 0 to 1.",
);
/// The number of test images of an evaluation.
pub static EVALUATED_IMAGES: Quantity = Quantity::new(
    "eval/test_images",
    "Test images of an evaluation",
    Neither,
    "Number of test images that an evaluation measures on.",
);
/// A critic's mean estimate at each true interpolation coefficient α, in fifteenths.
pub static CRITIC_ALPHA: [Quantity; 8] = [
    estimate("eval/critic_alpha_0", "Critic at α = 0"),
    estimate("eval/critic_alpha_1", "Critic at α = 1/15"),
    estimate("eval/critic_alpha_2", "Critic at α = 2/15"),
    estimate("eval/critic_alpha_3", "Critic at α = 3/15"),
    estimate("eval/critic_alpha_4", "Critic at α = 4/15"),
    estimate("eval/critic_alpha_5", "Critic at α = 5/15"),
    estimate("eval/critic_alpha_6", "Critic at α = 6/15"),
    estimate("eval/critic_alpha_7", "Critic at α = 7/15"),
];
/// A critic's mean absolute error.
pub static CRITIC_ERROR: Quantity = Quantity::new(
    "eval/critic_error",
    "Critic's error",
    Neither,
    "Mean absolute difference of the critic's estimates from the true interpolation coefficient, which is at most 1/2.",
);
/// The number of codebook entries in use.
pub static CODES_IN_USE: Quantity = Quantity::new(
    "eval/codes_in_use",
    "Entries in use",
    Neither,
    "Number of different entries of the codebook that the test images are encoded with.",
);
/// Test accuracy of the classifier that is fitted to features after training.
pub static PROBE_ACCURACY: Quantity = Quantity::new(
    "final/probe_accuracy",
    "Fitted classifier's accuracy",
    Higher,
    "Share of test images that a single-layer classifier, fitted to features after training, classifies correctly, from 0 to 1.",
);
/// Training accuracy of the classifier that is fitted after training.
pub static PROBE_TRAIN_ACCURACY: Quantity = Quantity::new(
    "final/probe_train_accuracy",
    "Fitted classifier's accuracy in training",
    Higher,
    "Share of the training images that the fitted classifier classifies correctly, from 0 to 1.",
);
/// Training loss of the classifier that is fitted after training, in nats.
pub static PROBE_LOSS: Quantity = Quantity::new(
    "final/probe_loss",
    "Fitted classifier's loss",
    Lower,
    "Cross-entropy of the fitted classifier on the training images, in nats; 0 where all images are of one class.",
);
/// The number of iterations of the classifier's fit.
pub static PROBE_ITERATIONS: Quantity = Quantity::new(
    "final/probe_iterations",
    "Fitted classifier's iterations",
    Neither,
    "Iterations of the fit of the classifier.",
);
/// Whether the classifier's fit converged.
pub static PROBE_CONVERGED: Quantity = Quantity::new(
    "final/probe_converged",
    "Fitted classifier's convergence",
    Neither,
    "1 if the fit of the classifier converged, else 0.",
);
/// The number of training images behind the measurements at the end of a run.
pub static TRAIN_IMAGES: Quantity = Quantity::new(
    "final/train_images",
    "Training images at the end",
    Neither,
    "Number of training images to which the classifier and the clusters were fitted.",
);
/// The number of test images behind the measurements at the end of a run.
pub static TEST_IMAGES: Quantity = Quantity::new(
    "final/test_images",
    "Test images at the end",
    Neither,
    "Number of test images on which the fitted classifier and the clusters were measured.",
);
/// Clustering accuracy on test images (section 4.2).
pub static CLUSTER_ACCURACY: Quantity = Quantity::new(
    "final/cluster_accuracy",
    "Accuracy of clusters",
    Higher,
    "Share of test images in a cluster of k-means that stands for their class, from 0 to 1.",
);
/// Clustering accuracy on training images.
pub static CLUSTER_ACCURACY_TRAIN: Quantity = Quantity::new(
    "final/cluster_accuracy_train",
    "Accuracy of clusters in training",
    Higher,
    "Share of training images in a cluster of k-means that stands for their class, from 0 to 1.",
);
/// Normalised mutual information of clusters and classes.
pub static CLUSTER_INFORMATION: Quantity = Quantity::new(
    "final/cluster_information",
    "Information of clusters",
    Higher,
    "Normalised mutual information of clusters and classes of the test images, from 0 to 1.",
);
/// Inertia of the clusters.
pub static CLUSTER_INERTIA: Quantity = Quantity::new(
    "final/cluster_inertia",
    "Inertia of clusters",
    Neither,
    "Sum of the squared distances of whitened training latents to the centres of their clusters.",
);

/// Kernel distance to test images of the images in the middle of interpolations.
pub static JUDGED_DISTANCE: Quantity = Quantity::new(
    "eval/judged_distance",
    "Kernel distance",
    Lower,
    "Kernel distance (KID) of the images decoded in the middle of interpolations, α from 1/4 to 3/4, to test images, in a judge's \
     features.",
);
/// Standard error of [`JUDGED_DISTANCE`].
pub static JUDGED_DISTANCE_ERROR: Quantity = Quantity::new(
    "eval/judged_distance_error",
    "Kernel distance, error",
    Neither,
    "Standard error of the kernel distance of the middle of interpolations, over interpolations and test images.",
);
/// Kernel distance to test images of the reconstructions at the ends of interpolations.
pub static JUDGED_ENDS_DISTANCE: Quantity = Quantity::new(
    "eval/judged_ends_distance",
    "Kernel distance of reconstructions",
    Lower,
    "Kernel distance (KID) of the reconstructions at the ends of interpolations to test images, in a judge's features.",
);
/// Standard error of [`JUDGED_ENDS_DISTANCE`].
pub static JUDGED_ENDS_DISTANCE_ERROR: Quantity = Quantity::new(
    "eval/judged_ends_distance_error",
    "Kernel distance of reconstructions, error",
    Neither,
    "Standard error of the kernel distance of reconstructions, over interpolations and test images.",
);
/// Share of the images in the middle of interpolations that lie in the neighbourhood of a test image.
pub static JUDGED_PRECISION: Quantity = Quantity::new(
    "eval/judged_precision",
    "Precision",
    Higher,
    "Share of the images in the middle of interpolations, α from 1/4 to 3/4, that lie in the neighbourhood of a test image, from 0 \
     to 1.",
);
/// Share of the reconstructions that lie in the neighbourhood of a test image.
pub static JUDGED_ENDS_PRECISION: Quantity = Quantity::new(
    "eval/judged_ends_precision",
    "Precision of reconstructions",
    Higher,
    "Share of the reconstructions at the ends of interpolations that lie in the neighbourhood of a test image, from 0 to 1.",
);
/// Smoothness of interpolations in a judge's feature space.
pub static JUDGED_SMOOTHNESS: Quantity = Quantity::new(
    "eval/judged_smoothness",
    "Smoothness in features",
    Lower,
    "The longest of the 15 steps of an interpolation through a judge's features as a share of its whole way, less 1/15.",
);
/// Detour of interpolations in a judge's feature space.
pub static JUDGED_DETOUR: Quantity = Quantity::new(
    "eval/judged_detour",
    "Detour in features",
    Lower,
    "How much longer the way of an interpolation through a judge's features is than the straight one, as a share of that.",
);
/// Class purity of interpolations between two images of one class.
pub static JUDGED_PURITY: Quantity = Quantity::new(
    "eval/judged_purity",
    "Purity within a class",
    Higher,
    "Between two test images of a class, the share of images that a judge calls that class with a probability above 0.9.",
);
/// Class purity of interpolations between images of two classes.
pub static JUDGED_PURITY_BETWEEN: Quantity = Quantity::new(
    "eval/judged_purity_between",
    "Purity between classes",
    Higher,
    "Between test images of two classes, the share of images that a judge calls either with a probability above 0.9.",
);

const fn estimate(key: &'static str, title: &'static str) -> Quantity {
    Quantity::new(
        key,
        title,
        Neither,
        "Mean of the critic's estimates of the interpolation coefficient, folded to at most 1/2, for images decoded at this one.",
    )
}

/// The quantities of interpolations between lines.
pub static ON_LINES: [&Quantity; 5] =
    [&MEAN_DISTANCE, &MEAN_SMOOTHNESS, &MEAN_SMOOTHNESS_VALID, &DETOUR, &VALID_FRACTION];
/// The quantities on test images: the accuracy only of labelled ones, and their number only where the test split is
/// finite.
pub static ON_TEST_IMAGES: [&Quantity; 3] = [&RECONSTRUCTION_MSE, &CLASSIFIER_ACCURACY, &EVALUATED_IMAGES];
/// The quantities of a variant with a critic.
pub static OF_CRITIC: [&Quantity; 9] = [
    &CRITIC_ALPHA[0],
    &CRITIC_ALPHA[1],
    &CRITIC_ALPHA[2],
    &CRITIC_ALPHA[3],
    &CRITIC_ALPHA[4],
    &CRITIC_ALPHA[5],
    &CRITIC_ALPHA[6],
    &CRITIC_ALPHA[7],
    &CRITIC_ERROR,
];
/// The quantities of a variant with a codebook.
pub static OF_CODEBOOK: [&Quantity; 1] = [&CODES_IN_USE];
/// The quantities of a classifier fitted to features, at the end of a run on labelled images.
pub static OF_PROBE: [&Quantity; 7] = [
    &PROBE_ACCURACY,
    &PROBE_TRAIN_ACCURACY,
    &PROBE_LOSS,
    &PROBE_ITERATIONS,
    &PROBE_CONVERGED,
    &TRAIN_IMAGES,
    &TEST_IMAGES,
];
/// The quantities of clusters of latents, at the end of a run on labelled images.
pub static OF_CLUSTERS: [&Quantity; 4] =
    [&CLUSTER_ACCURACY, &CLUSTER_ACCURACY_TRAIN, &CLUSTER_INFORMATION, &CLUSTER_INERTIA];

/// The quantities of a judge: on lines measured at every evaluation, on other images at the last one of a run.
pub static BY_JUDGE: [&Quantity; 10] = [
    &JUDGED_DISTANCE,
    &JUDGED_DISTANCE_ERROR,
    &JUDGED_ENDS_DISTANCE,
    &JUDGED_ENDS_DISTANCE_ERROR,
    &JUDGED_PRECISION,
    &JUDGED_ENDS_PRECISION,
    &JUDGED_SMOOTHNESS,
    &JUDGED_DETOUR,
    &JUDGED_PURITY,
    &JUDGED_PURITY_BETWEEN,
];

/// Returns all quantities that this workspace measures, without user-defined ones.
pub fn quantities() -> impl Iterator<Item = &'static Quantity> {
    let all: [&[&Quantity]; 7] =
        [&ON_LINES, &ON_TEST_IMAGES, &OF_CRITIC, &OF_CODEBOOK, &OF_PROBE, &OF_CLUSTERS, &BY_JUDGE];
    all.into_iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_have_a_known_prefix_and_are_unique() {
        let mut keys = HashSet::new();
        for quantity in quantities() {
            let when = When::of(&quantity.key).unwrap();
            assert_eq!(format!("{}{}", when.prefix(), quantity.name()), quantity.key);
            assert!(keys.insert(&quantity.key), "{}", quantity.key);
            assert!(quantity.caption.ends_with('.') && !quantity.title.is_empty());
        }
        assert_eq!(When::of("loss/autoencoder"), None);
        for (i, quantity) in CRITIC_ALPHA.iter().enumerate() {
            assert_eq!(quantity.name(), format!("critic_alpha_{i}"));
        }
    }
}

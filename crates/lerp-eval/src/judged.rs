//! Scores of interpolations between images for which no ground truth is known, computed from the features and
//! predictions of a *judge*, a network trained on real images. The paper has no such score: it shows strips of
//! decoded images and leaves the judgement to the reader.

use candle_core::Tensor;

use crate::{Error, KernelDistance, KernelReference, Neighbourhoods, Result, quantity::BY_JUDGE, rows::Rows};

/// Number of positions of an interpolation, both ends included. Position `i` is at the interpolation coefficient
/// `i` / 15.
pub const POSITIONS: usize = 16;
/// Number of steps between neighbouring positions.
pub const STEPS: usize = POSITIONS - 1;
/// The positions in the middle of an interpolation: those with α between 1/4 and 3/4, which are 4/15 to 11/15.
pub const MIDDLE: [usize; 8] = [4, 5, 6, 7, 8, 9, 10, 11];
/// The positions at the ends of an interpolation, whose decoded images are reconstructions.
pub const ENDS: [usize; 2] = [0, STEPS];
/// The probability above which a predicted class counts for [`Judged::purity`].
pub const PURITY_THRESHOLD: f32 = 0.9;
/// The number k of neighbours that determines the radius of a real image's neighbourhood; 3 as in the metric's
/// paper.
const NEIGHBOURS: usize = 3;

/// A judge's features and predictions for images.
#[derive(Debug, Clone)]
pub struct JudgeOutput {
    /// The output of its penultimate layer, `[images, width]`, `f32` on the CPU.
    pub features: Tensor,
    /// The most probable class of each image.
    pub predicted: Vec<u32>,
    /// The probability of that class.
    pub probabilities: Vec<f32>,
}

/// The features of real images that decoded images are compared with.
#[derive(Debug, Clone)]
pub struct RealFeatures {
    reference: KernelReference,
    neighbourhoods: Neighbourhoods,
}

impl RealFeatures {
    /// Prepares the comparison with real images.
    ///
    /// # Shapes
    /// A judge's features of real images, `[images, width]`.
    ///
    /// # Errors
    /// If there are fewer than four images, or a feature is not finite.
    pub fn new(features: &Tensor) -> Result<Self> {
        let neighbourhoods = Neighbourhoods::of(features, NEIGHBOURS)?;
        Ok(Self { reference: KernelReference::new(features)?, neighbourhoods })
    }

    /// Returns the distance of images from the real ones. Each block of `block` consecutive images belongs
    /// together, such as the images of one interpolation; see [`crate::kernel_distance`].
    ///
    /// # Shapes
    /// The images' features, `[blocks * block, width]`.
    ///
    /// # Errors
    /// If there are fewer than two blocks, or a feature is not finite.
    pub fn realism(&self, features: &Tensor, block: usize) -> Result<Realism> {
        let inside = self.neighbourhoods.contains(features)?;
        let distance = self.reference.distance(features, block)?;
        Ok(Realism { distance, precision: share(inside.iter().copied()) })
    }
}

/// The realism of a set of images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Realism {
    /// Kernel distance to the real images.
    pub distance: KernelDistance,
    /// Share of the images that lie in the neighbourhood of a real one, from 0 to 1.
    pub precision: f64,
}

/// A judge's scores of interpolations. All vectors have an entry for each interpolation.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use lerp_eval::{JudgeOutput, Judged, POSITIONS, PairKind, RealFeatures};
///
/// // A judge with two features, in which real images lie on the line from (0, 0) to (1, 0).
/// let real: Vec<f32> = (0..50).flat_map(|i| [i as f32 / 49.0, 0.0]).collect();
/// let real = RealFeatures::new(&Tensor::from_vec(real, (50, 2), &Device::Cpu)?)?;
///
/// // Two interpolations along that line, from class 0 to class 1.
/// let along: Vec<f32> = (0..2 * POSITIONS).map(|i| (i % POSITIONS) as f32 / 15.0).collect();
/// let features: Vec<f32> = along.iter().flat_map(|x| [*x, 0.0]).collect();
/// let output = JudgeOutput {
///     features: Tensor::from_vec(features, (2 * POSITIONS, 2), &Device::Cpu)?,
///     predicted: along.iter().map(|x| u32::from(*x > 0.5)).collect(),
///     probabilities: vec![0.95; 2 * POSITIONS],
/// };
/// let judged = Judged::new(&output, Some(vec![[0, 1]; 2]), &real)?.expect("finite features");
/// assert!(judged.smoothness().iter().chain(&judged.detour()).all(|score| score.abs() < 1e-3));
/// assert_eq!(judged.purity(PairKind::TwoClasses), [1.0, 1.0]);
/// # Ok::<(), lerp_eval::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The class that the judge predicts for each image.
    pub predicted: Vec<[u32; POSITIONS]>,
    /// The probability of that class.
    pub probabilities: Vec<[f32; POSITIONS]>,
    /// Whether the image lies in the neighbourhood of a real one.
    pub inside: Vec<[bool; POSITIONS]>,
    /// Euclidean distance of each image to the one before it, in feature space.
    pub steps: Vec<[f32; STEPS]>,
    /// Euclidean distance of the last image to the first one, in feature space.
    pub straight: Vec<f32>,
    /// The classes of the two images that the interpolation is between; `None` without labels.
    pub ends: Option<Vec<[u32; 2]>>,
    /// For each position, the kernel distance of all images at it to the real images.
    pub distances: [KernelDistance; POSITIONS],
    /// Realism of the images in the [`MIDDLE`] of the interpolations.
    pub middle: Realism,
    /// Realism of the images at the [`ENDS`], which are reconstructions.
    pub reconstructions: Realism,
}

impl Judged {
    /// Scores interpolations. Returns `None` if a feature is not finite, because the decoded images are not.
    ///
    /// # Shapes
    /// `output` covers the images of all interpolations, `POSITIONS` of the first one, then those of the next;
    /// `ends` has an entry for each interpolation.
    ///
    /// # Errors
    /// If there are fewer than two interpolations, or shapes do not fit.
    pub fn new(
        output: &JudgeOutput,
        ends: Option<Vec<[u32; 2]>>,
        real: &RealFeatures,
    ) -> Result<Option<Self>> {
        let images = output.predicted.len();
        let rows = match Rows::new("a judge's features", &output.features) {
            Err(Error::NotFinite { .. }) => return Ok(None),
            rows => rows?,
        };
        let pairs = images / POSITIONS;
        if images != pairs * POSITIONS || rows.len() != images || output.probabilities.len() != images {
            let wanted = format!("[{}, width], {POSITIONS} for each interpolation", pairs * POSITIONS);
            let given = output.features.dims().to_vec();
            return Err(Error::Shape { what: "a judge's features", wanted, given });
        }
        if let Some(ends) = ends.as_ref().filter(|ends| ends.len() != pairs) {
            let (what, wanted) = ("classes of ends", format!("[{pairs}, 2]"));
            return Err(Error::Shape { what, wanted, given: vec![ends.len(), 2] });
        }
        let all: Vec<&[f32]> = rows.iter().collect();
        let (mut steps, mut straight) = (Vec::with_capacity(pairs), Vec::with_capacity(pairs));
        for path in all.as_chunks::<POSITIONS>().0 {
            steps.push(std::array::from_fn(|i| euclidean_distance(path[i], path[i + 1]) as f32));
            straight.push(euclidean_distance(path[0], path[STEPS]) as f32);
        }
        let by_position = output.features.reshape((pairs, POSITIONS, rows.width()))?;
        let at = |chosen: &[usize]| -> Result<Tensor> {
            let at: Vec<Tensor> =
                chosen.iter().map(|i| by_position.narrow(1, *i, 1)).collect::<candle_core::Result<_>>()?;
            Ok(Tensor::cat(&at, 1)?.flatten(0, 1)?.contiguous()?)
        };
        let inside: Vec<[bool; POSITIONS]> = chunks(&real.neighbourhoods.contains(&output.features)?);
        let realism = |chosen: &[usize]| -> Result<Realism> {
            let distance = real.reference.distance(&at(chosen)?, chosen.len())?;
            let found: Vec<bool> =
                inside.iter().flat_map(|row| chosen.iter().map(|position| row[*position])).collect();
            Ok(Realism { distance, precision: share(found.into_iter()) })
        };
        let (middle, reconstructions) = (realism(&MIDDLE)?, realism(&ENDS)?);
        let distances: Vec<KernelDistance> = (0..POSITIONS)
            .map(|position| real.reference.distance(&at(&[position])?, 1))
            .collect::<Result<_>>()?;
        Ok(Some(Self {
            predicted: chunks(&output.predicted),
            probabilities: chunks(&output.probabilities),
            inside,
            steps,
            straight,
            ends,
            distances: std::array::from_fn(|position| distances[position]),
            middle,
            reconstructions,
        }))
    }

    /// Returns the smoothness of each interpolation: the paper's definition (section 3) with path length in feature
    /// space in place of the angle, which is the longest of the 15 steps as a share of the path's length, less
    /// 1/15. NaN for an interpolation whose images all have equal features.
    pub fn smoothness(&self) -> Vec<f64> {
        let of = |steps: &[f32; STEPS]| {
            let longest = steps.iter().copied().fold(0.0, f32::max);
            f64::from(longest) / path_length(steps) - 1.0 / STEPS as f64
        };
        self.steps.iter().map(of).collect()
    }

    /// Returns the detour of each interpolation: the length of its path through feature space over the distance of
    /// its ends, less 1. NaN for an interpolation whose ends have equal features.
    pub fn detour(&self) -> Vec<f64> {
        let of = |(steps, straight): (&[f32; STEPS], &f32)| {
            if *straight > 0.0 { path_length(steps) / f64::from(*straight) - 1.0 } else { f64::NAN }
        };
        self.steps.iter().zip(&self.straight).map(of).collect()
    }

    /// Returns the precision of each interpolation: the share of its images at `positions` that lie in the
    /// neighbourhood of a real image.
    pub fn precision(&self, positions: &[usize]) -> Vec<f64> {
        self.inside.iter().map(|row| share(positions.iter().map(|position| row[*position]))).collect()
    }

    /// Returns the class purity of each interpolation of this kind: the share of its images for which the judge
    /// predicts the class of one of the two ends with a probability above 0.9. Empty without labels.
    pub fn purity(&self, kind: PairKind) -> Vec<f64> {
        let wanted = |pair: usize| -> Option<[u32; 2]> {
            let ends = self.ends.as_ref()?[pair];
            ((ends[0] == ends[1]) == (kind == PairKind::OneClass)).then_some(ends)
        };
        let clear = |pair: usize, ends: [u32; 2]| {
            let images = self.predicted[pair].iter().zip(&self.probabilities[pair]);
            share(
                images
                    .map(move |(class, probability)| ends.contains(class) && *probability > PURITY_THRESHOLD),
            )
        };
        (0..self.predicted.len()).filter_map(|pair| Some(clear(pair, wanted(pair)?))).collect()
    }

    /// Returns the metrics of a run, by key; class purities only if there are labels.
    pub fn values(&self) -> Vec<(String, f64)> {
        let purity = |kind| mean(&self.purity(kind));
        let values = [
            self.middle.distance.value,
            self.middle.distance.error,
            self.reconstructions.distance.value,
            self.reconstructions.distance.error,
            self.middle.precision,
            self.reconstructions.precision,
            mean(&self.smoothness()),
            mean(&self.detour()),
            purity(PairKind::OneClass),
            purity(PairKind::TwoClasses),
        ];
        // The last two are class purities.
        let known = if self.ends.is_some() { values.len() } else { values.len() - 2 };
        BY_JUDGE.into_iter().zip(values).take(known).map(|(of, value)| of.keyed(value)).collect()
    }
}

/// The interpolations that a class purity is computed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairKind {
    /// Interpolations between two images of one class.
    OneClass,
    /// Interpolations between images of two classes.
    TwoClasses,
}

/// Returns the length of a path with these steps.
fn path_length(steps: &[f32; STEPS]) -> f64 {
    steps.iter().map(|step| f64::from(*step)).sum()
}

/// Returns the Euclidean distance.
fn euclidean_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

/// Returns the mean of the values that are not NaN; NaN if there is none.
fn mean(values: &[f64]) -> f64 {
    let defined = || values.iter().filter(|value| !value.is_nan());
    defined().sum::<f64>() / defined().count() as f64
}

fn share(of: impl ExactSizeIterator<Item = bool>) -> f64 {
    let count = of.len() as f64;
    of.filter(|yes| *yes).count() as f64 / count
}

fn chunks<T: Copy>(all: &[T]) -> Vec<[T; POSITIONS]> {
    all.as_chunks::<POSITIONS>().0.to_vec()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// The output of a judge whose features are points of the plane, which are given, and which predicts class 0
    /// for points left of 0.5 and class 1 for points right of it.
    fn output(paths: &[[[f32; 2]; POSITIONS]]) -> JudgeOutput {
        let flat: Vec<f32> = paths.as_flattened().as_flattened().to_vec();
        let coordinates = || paths.as_flattened().iter().map(|point| point[0]);
        JudgeOutput {
            features: Tensor::from_vec(flat, (paths.len() * POSITIONS, 2), &Device::Cpu).unwrap(),
            predicted: coordinates().map(|x| u32::from(x > 0.5)).collect(),
            probabilities: coordinates().map(|x| 0.5 + (x - 0.5).abs()).collect(),
        }
    }

    /// Real images at points on the line from (0, 0) to (1, 0).
    fn real() -> RealFeatures {
        let points: Vec<f32> = (0..101_u8).flat_map(|i| [f32::from(i) / 100.0, 0.0]).collect();
        RealFeatures::new(&Tensor::from_vec(points, (101, 2), &Device::Cpu).unwrap()).unwrap()
    }

    fn at(i: usize) -> f32 {
        i as f32 / STEPS as f32
    }

    #[test]
    fn known_paths_have_their_known_scores() {
        let even = std::array::from_fn(|i| [at(i), 0.0]);
        let abrupt = std::array::from_fn(|i| [f32::from(u8::from(i > 7)), 0.0]);
        let aside = std::array::from_fn(|i| [at(i), if i % 2 == 1 && i < STEPS { 1.0 } else { 0.0 }]);
        let still = [[0.0, 0.0]; POSITIONS];
        let ends = vec![[0, 1], [0, 1], [0, 1], [0, 0]];
        let judged =
            Judged::new(&output(&[even, abrupt, aside, still]), Some(ends), &real()).unwrap().unwrap();
        let smoothness = judged.smoothness();
        assert!(smoothness[0].abs() < 1e-6 && (smoothness[1] - 14.0 / 15.0).abs() < 1e-6, "{smoothness:?}");
        assert!(smoothness[3].is_nan());
        let detour = judged.detour();
        assert!(detour[0].abs() < 1e-6 && detour[1].abs() < 1e-6 && detour[2] > 10.0, "{detour:?}");
        assert!(detour[3].is_nan());
        // The probability is above 0.9 for images up to 0.1 and from 0.9 on: at 0, 1/15, 14/15 and 1.
        let purity = judged.purity(PairKind::TwoClasses);
        assert_eq!(purity, [4.0 / 16.0, 1.0, 4.0 / 16.0]);
        assert_eq!(judged.purity(PairKind::OneClass), [1.0]);
        // The images off the line are at the odd positions from 1 to 13.
        let inside = |pair: usize| judged.inside[pair].iter().filter(|yes| **yes).count();
        assert_eq!([inside(0), inside(1), inside(2), inside(3)], [16, 16, 9, 16]);
        let values = judged.values();
        assert_eq!(values.len(), BY_JUDGE.len());
        assert!((values[6].1 - mean(&smoothness)).abs() < 1e-12 && values[9].1 == mean(&purity));
    }

    #[test]
    fn without_labels_there_is_no_purity_and_images_that_are_not_finite_have_no_score() {
        let even: [[f32; 2]; POSITIONS] = std::array::from_fn(|i| [at(i), 0.0]);
        let judged = Judged::new(&output(&[even, even]), None, &real()).unwrap().unwrap();
        assert_eq!(judged.values().len(), BY_JUDGE.len() - 2);
        let mut broken = even;
        broken[3][0] = f32::NAN;
        assert_eq!(Judged::new(&output(&[even, broken]), None, &real()).unwrap(), None);
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let even: [[f32; 2]; POSITIONS] = std::array::from_fn(|i| [at(i), 0.0]);
        let mut short = output(&[even, even]);
        short.predicted.pop();
        assert!(Judged::new(&short, None, &real()).unwrap_err().to_string().contains("16 for each"));
        let message =
            Judged::new(&output(&[even, even]), Some(vec![[0, 1]]), &real()).unwrap_err().to_string();
        assert!(message.contains("classes of ends must be [2, 2]"), "{message}");
    }
}

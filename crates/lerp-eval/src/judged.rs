//! A score for interpolations between images of which no truth is known: what a *judge*, a network trained on real images, makes
//! of the decoded images. Not in the paper, which shows strips of such images and leaves the judgement to the reader.

use candle_core::Tensor;

use crate::{Error, KernelDistance, KernelReference, Neighbourhoods, Result, quantity::BY_JUDGE, rows::Rows};

/// Images of an interpolation, both ends included; image `i` is at α = `i` / 15.
pub const POSITIONS: usize = 16;
/// Steps between them.
pub const STEPS: usize = POSITIONS - 1;
/// The images in the middle of an interpolation, with α from 4/15 to 11/15: those of the grid from 1/4 to 3/4.
pub const MIDDLE: [usize; 8] = [4, 5, 6, 7, 8, 9, 10, 11];
/// The images at the ends of an interpolation: reconstructions.
pub const ENDS: [usize; 2] = [0, STEPS];
/// Probability above which an image is clearly of a class.
pub const CLEARLY: f32 = 0.9;
/// Neighbours that a real image's neighbourhood reaches to, as in the paper of the metric.
const NEIGHBOURS: usize = 3;

/// What a judge makes of images.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Its penultimate layer, `[images, width]`, `f32` on the CPU.
    pub features: Tensor,
    /// The class that it finds most probable, by image.
    pub words: Vec<u32>,
    /// How probable it finds that class, by image.
    pub probabilities: Vec<f32>,
}

/// The real images that others are compared with.
#[derive(Debug, Clone)]
pub struct Real {
    reference: KernelReference,
    neighbourhoods: Neighbourhoods,
}

impl Real {
    /// # Shapes
    /// A judge's features of real images, `[images, width]`.
    ///
    /// # Errors
    /// If there are fewer than four images, or a feature is not finite.
    pub fn new(features: &Tensor) -> Result<Self> {
        let neighbourhoods = Neighbourhoods::of(features, NEIGHBOURS)?;
        Ok(Self { reference: KernelReference::new(features)?, neighbourhoods })
    }

    /// How far images, of which every `block` ones belong together, lie from these.
    ///
    /// # Shapes
    /// Their features, `[blocks * block, width]`.
    ///
    /// # Errors
    /// If there are fewer than two blocks, or a feature is not finite.
    pub fn realism(&self, features: &Tensor, block: usize) -> Result<Realism> {
        let inside = self.neighbourhoods.contains(features)?;
        let distance = self.reference.distance(features, block)?;
        Ok(Realism { distance, precision: share(inside.iter().copied()) })
    }
}

/// How near images are to real ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Realism {
    /// Kernel distance to the real images.
    pub distance: KernelDistance,
    /// Share of the images in the neighbourhood of a real one.
    pub precision: f64,
}

/// What a judge makes of the images along interpolations. All tables have a row for each interpolation.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The class that the judge finds most probable.
    pub words: Vec<[u32; POSITIONS]>,
    /// How probable it finds that class.
    pub probabilities: Vec<[f32; POSITIONS]>,
    /// Whether the image lies in the neighbourhood of a real one.
    pub inside: Vec<[bool; POSITIONS]>,
    /// How far each image is from the one before it, in the space of features.
    pub steps: Vec<[f32; STEPS]>,
    /// How far the last image is from the first one, in the space of features.
    pub straight: Vec<f32>,
    /// The classes of the two images that the interpolation is between, where these have labels.
    pub ends: Option<Vec<[u32; 2]>>,
    /// The kernel distance to the real images of all images at a position.
    pub distances: [KernelDistance; POSITIONS],
    /// The middle of the interpolations.
    pub middle: Realism,
    /// Their ends: reconstructions of the two images.
    pub reconstructions: Realism,
}

impl Judged {
    /// None if a feature is not finite, because the decoded images are not.
    ///
    /// # Shapes
    /// The reading of the images of all interpolations, `POSITIONS` of the first, then those of the next; `ends` has as many
    /// entries as there are interpolations.
    ///
    /// # Errors
    /// If there are fewer than two interpolations, or shapes do not fit.
    pub fn new(reading: &Reading, ends: Option<Vec<[u32; 2]>>, real: &Real) -> Result<Option<Self>> {
        let images = reading.words.len();
        let rows = match Rows::new("a judge's features", &reading.features) {
            Err(Error::NotFinite { .. }) => return Ok(None),
            rows => rows?,
        };
        let pairs = images / POSITIONS;
        if images != pairs * POSITIONS || rows.len() != images || reading.probabilities.len() != images {
            let wanted = format!("[{}, width], {POSITIONS} for each interpolation", pairs * POSITIONS);
            let given = reading.features.dims().to_vec();
            return Err(Error::Shape { what: "a judge's features", wanted, given });
        }
        if let Some(ends) = ends.as_ref().filter(|ends| ends.len() != pairs) {
            let (what, wanted) = ("classes of ends", format!("[{pairs}, 2]"));
            return Err(Error::Shape { what, wanted, given: vec![ends.len(), 2] });
        }
        let all: Vec<&[f32]> = rows.iter().collect();
        let (mut steps, mut straight) = (Vec::with_capacity(pairs), Vec::with_capacity(pairs));
        for way in all.as_chunks::<POSITIONS>().0 {
            steps.push(std::array::from_fn(|i| apart(way[i], way[i + 1]) as f32));
            straight.push(apart(way[0], way[STEPS]) as f32);
        }
        let by_position = reading.features.reshape((pairs, POSITIONS, rows.width()))?;
        let at = |places: &[usize]| -> Result<Tensor> {
            let at: Vec<Tensor> =
                places.iter().map(|i| by_position.narrow(1, *i, 1)).collect::<candle_core::Result<_>>()?;
            Ok(Tensor::cat(&at, 1)?.flatten(0, 1)?.contiguous()?)
        };
        let inside: Vec<[bool; POSITIONS]> = chunks(&real.neighbourhoods.contains(&reading.features)?);
        let realism = |places: &[usize]| -> Result<Realism> {
            let distance = real.reference.distance(&at(places)?, places.len())?;
            let found: Vec<bool> =
                inside.iter().flat_map(|row| places.iter().map(|position| row[*position])).collect();
            Ok(Realism { distance, precision: share(found.into_iter()) })
        };
        let (middle, reconstructions) = (realism(&MIDDLE)?, realism(&ENDS)?);
        let distances: Vec<KernelDistance> = (0..POSITIONS)
            .map(|position| real.reference.distance(&at(&[position])?, 1))
            .collect::<Result<_>>()?;
        Ok(Some(Self {
            words: chunks(&reading.words),
            probabilities: chunks(&reading.probabilities),
            inside,
            steps,
            straight,
            ends,
            distances: std::array::from_fn(|position| distances[position]),
            middle,
            reconstructions,
        }))
    }

    /// Smoothness of each interpolation: the paper's definition (section 3) with the way in the space of features in place of the
    /// angle, the longest of the 15 steps as a share of all less 1/15. NaN of one whose images are all the same to the judge.
    pub fn smoothness(&self) -> Vec<f64> {
        let of = |steps: &[f32; STEPS]| {
            let longest = steps.iter().copied().fold(0.0, f32::max);
            f64::from(longest) / whole(steps) - 1.0 / STEPS as f64
        };
        self.steps.iter().map(of).collect()
    }

    /// Detour of each interpolation: how much longer its way through the space of features is than the straight one, as a share of
    /// that. NaN of one whose two ends are the same to the judge.
    pub fn detour(&self) -> Vec<f64> {
        let of = |(steps, straight): (&[f32; STEPS], &f32)| {
            if *straight > 0.0 { whole(steps) / f64::from(*straight) - 1.0 } else { f64::NAN }
        };
        self.steps.iter().zip(&self.straight).map(of).collect()
    }

    /// Precision of each interpolation: the share of its images at these positions in the neighbourhood of a real one.
    pub fn precision(&self, positions: &[usize]) -> Vec<f64> {
        self.inside.iter().map(|row| share(positions.iter().map(|position| row[*position]))).collect()
    }

    /// Class purity of each interpolation between two images of one class, or of two: the share of its images that the judge
    /// finds to be of that class, or of one of the two, with a probability above 0.9. Empty without labels.
    pub fn purity(&self, kind: PairKind) -> Vec<f64> {
        let wanted = |pair: usize| -> Option<[u32; 2]> {
            let ends = self.ends.as_ref()?[pair];
            ((ends[0] == ends[1]) == (kind == PairKind::OneClass)).then_some(ends)
        };
        let clear = |pair: usize, ends: [u32; 2]| {
            let images = self.words[pair].iter().zip(&self.probabilities[pair]);
            share(images.map(move |(word, probability)| ends.contains(word) && *probability > CLEARLY))
        };
        (0..self.words.len()).filter_map(|pair| Some(clear(pair, wanted(pair)?))).collect()
    }

    /// The numbers of a run, by key; those of classes only where there are labels.
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
        // The last two are of classes.
        let known = if self.ends.is_some() { values.len() } else { values.len() - 2 };
        BY_JUDGE.into_iter().zip(values).take(known).map(|(of, value)| of.keyed(value)).collect()
    }
}

/// Which interpolations a class purity is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairKind {
    /// Those between two images of one class.
    OneClass,
    /// Those between images of two classes.
    TwoClasses,
}

/// The length of a way.
fn whole(steps: &[f32; STEPS]) -> f64 {
    steps.iter().map(|step| f64::from(*step)).sum()
}

/// Euclidean distance.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

/// The mean of those that are defined; NaN if none is.
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

    /// A judge that sees a way of two numbers as it is, and finds class 0 on the left of 0.5 and class 1 on the right.
    fn reading(ways: &[[[f32; 2]; POSITIONS]]) -> Reading {
        let flat: Vec<f32> = ways.as_flattened().as_flattened().to_vec();
        let places = || ways.as_flattened().iter().map(|point| point[0]);
        Reading {
            features: Tensor::from_vec(flat, (ways.len() * POSITIONS, 2), &Device::Cpu).unwrap(),
            words: places().map(|x| u32::from(x > 0.5)).collect(),
            probabilities: places().map(|x| 0.5 + (x - 0.5).abs()).collect(),
        }
    }

    /// Real images: those on the line from (0, 0) to (1, 0).
    fn real() -> Real {
        let points: Vec<f32> = (0..101_u8).flat_map(|i| [f32::from(i) / 100.0, 0.0]).collect();
        Real::new(&Tensor::from_vec(points, (101, 2), &Device::Cpu).unwrap()).unwrap()
    }

    fn at(i: usize) -> f32 {
        i as f32 / STEPS as f32
    }

    #[test]
    fn ways_are_measured_as_they_are() {
        let even = std::array::from_fn(|i| [at(i), 0.0]);
        let abrupt = std::array::from_fn(|i| [f32::from(u8::from(i > 7)), 0.0]);
        let aside = std::array::from_fn(|i| [at(i), if i % 2 == 1 && i < STEPS { 1.0 } else { 0.0 }]);
        let still = [[0.0, 0.0]; POSITIONS];
        let ends = vec![[0, 1], [0, 1], [0, 1], [0, 0]];
        let judged =
            Judged::new(&reading(&[even, abrupt, aside, still]), Some(ends), &real()).unwrap().unwrap();
        let smoothness = judged.smoothness();
        assert!(smoothness[0].abs() < 1e-6 && (smoothness[1] - 14.0 / 15.0).abs() < 1e-6, "{smoothness:?}");
        assert!(smoothness[3].is_nan());
        let detour = judged.detour();
        assert!(detour[0].abs() < 1e-6 && detour[1].abs() < 1e-6 && detour[2] > 10.0, "{detour:?}");
        assert!(detour[3].is_nan());
        // Images up to 0.1 and from 0.9 on are clearly of a class: at 0, 1/15, 14/15 and 1.
        let purity = judged.purity(PairKind::TwoClasses);
        assert_eq!(purity, [4.0 / 16.0, 1.0, 4.0 / 16.0]);
        assert_eq!(judged.purity(PairKind::OneClass), [1.0]);
        // Those beside the line are at the odd positions from 1 to 13.
        let inside = |pair: usize| judged.inside[pair].iter().filter(|yes| **yes).count();
        assert_eq!([inside(0), inside(1), inside(2), inside(3)], [16, 16, 9, 16]);
        let values = judged.values();
        assert_eq!(values.len(), BY_JUDGE.len());
        assert!((values[6].1 - mean(&smoothness)).abs() < 1e-12 && values[9].1 == mean(&purity));
    }

    #[test]
    fn without_labels_there_is_no_purity_and_images_that_are_not_finite_have_no_score() {
        let even: [[f32; 2]; POSITIONS] = std::array::from_fn(|i| [at(i), 0.0]);
        let judged = Judged::new(&reading(&[even, even]), None, &real()).unwrap().unwrap();
        assert_eq!(judged.values().len(), BY_JUDGE.len() - 2);
        let mut broken = even;
        broken[3][0] = f32::NAN;
        assert_eq!(Judged::new(&reading(&[even, broken]), None, &real()).unwrap(), None);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let even: [[f32; 2]; POSITIONS] = std::array::from_fn(|i| [at(i), 0.0]);
        let mut short = reading(&[even, even]);
        short.words.pop();
        assert!(Judged::new(&short, None, &real()).unwrap_err().to_string().contains("16 for each"));
        let message =
            Judged::new(&reading(&[even, even]), Some(vec![[0, 1]]), &real()).unwrap_err().to_string();
        assert!(message.contains("classes of ends must be [2, 2]"), "{message}");
    }
}

//! Interpolations for display: those of Figure 3 on lines, and of Figures 4 and 6 to 11 on image sets.

use std::{f64::consts::PI, path::Path};

use candle_core::{DType, Device, Tensor};
use lerp_core::Draws;
use lerp_data::{Dataset, Lines, Split};
use lerp_eval::{PairEnds, test_images};

use crate::{
    Error, Learner, Result,
    files::{INTERPOLATION, PREVIEW},
    paths::Interpolations,
    tensors::{Tensors, pack},
};

/// The angles of the two lines of Figure 3, in radians.
pub const FIGURE_3_ANGLES: [f64; 2] = [5.0 / 7.0 * PI, 1.5 * PI];

/// The angles of the pairs of lines, in radians: Figure 3's, and others that cover further cases. The expected
/// interpolation turns through the shorter arc.
const LINE_ANGLES: [[f64; 2]; 6] = [
    FIGURE_3_ANGLES,
    // A short arc.
    [PI / 9.0, 5.0 / 18.0 * PI],
    // A right angle.
    [4.0 / 9.0 * PI, 17.0 / 18.0 * PI],
    // Nearly opposite directions, 175 degrees apart.
    [PI / 6.0, 41.0 / 36.0 * PI],
    // An arc across angle 0.
    [11.0 / 6.0 * PI, 2.0 / 9.0 * PI],
    // From one diagonal to the other, where line rasterisation switches from one axis to the other.
    [1.25 * PI, 1.75 * PI],
];

/// The number of test images from which pairs are chosen, and the number of pairs.
const FIRST: usize = 100;
const PAIRS: usize = 4;

/// The width of the white gap beside an original image in the preview, in pixels.
const GAP: usize = 2;

/// Interpolations for display: the images between pairs, and the ends of the pairs. [`Run::strips`](crate::Run::strips)
/// reads them, as in the example of [`train`](crate::train()).
#[derive(Debug, Clone)]
pub struct Strips {
    /// Decoded images, not clipped, `[pairs, positions, height, width, channels]`, `f32` on the CPU.
    pub images: Tensor,
    /// On image sets: the left and right test images, `f32` on the CPU.
    pub ends: Option<PairEnds>,
    /// On labelled image sets: the classes of these images, pair by pair; `None` for runs of earlier versions,
    /// which did not save them.
    pub classes: Option<Vec<[u32; 2]>>,
    /// On image sets: the mean squared error of the model's own reconstruction of each decoded image,
    /// `[pairs, positions]`; `None` for runs of earlier versions, which did not measure it.
    pub errors: Option<Tensor>,
    /// On lines: the true angles in radians of the left and right lines, pair by pair; the first pair is Figure
    /// 3's.
    pub angles: Option<Vec<[f32; 2]>>,
}

/// The end points of interpolations for display.
#[derive(Debug)]
pub(crate) struct Ends {
    /// The left and right images, on the device of the draws.
    pub images: PairEnds,
    /// On labelled image sets: the classes of the images.
    classes: Option<Vec<[u32; 2]>>,
    /// On lines: the angles of the lines, in radians.
    angles: Option<Vec<[f32; 2]>>,
}

impl Ends {
    /// Returns the fixed pairs of a dataset: on lines that of Figure 3 and some more, on image sets those of
    /// Figures 6 to 11.
    ///
    /// # Errors
    /// If the images cannot be read or the tensor library fails.
    pub fn of(dataset: &dyn Dataset, draws: &Draws) -> Result<Self> {
        if dataset.name() == Lines::NAME {
            let end = |end: usize| Lines::images(&LINE_ANGLES.map(|pair| pair[end]), draws.device());
            let angles = LINE_ANGLES.map(|pair| pair.map(|angle| angle as f32)).to_vec();
            return Ok(Self {
                images: PairEnds { left: end(0)?, right: end(1)? },
                classes: None,
                angles: Some(angles),
            });
        }
        let count = dataset.count(Split::Test)?.map_or(FIRST, |count| count.min(FIRST));
        // The images are the same at each evaluation, so that strips show how the model changes.
        let first = test_images(dataset, 0, count, &draws.at(0).scope("strips"))?;
        let labels = first.labels.map(|labels| labels.to_vec1::<u32>()).transpose()?;
        let pairs = pairs(labels.as_deref(), first.images.dim(0)?);
        let classes = labels.as_deref().map(|labels| {
            pairs.iter().map(|(left, right)| [left, right].map(|image| labels[*image as usize])).collect()
        });
        let (left, right): (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
        let choose = |indices: Vec<u32>| first.images.index_select(&Tensor::new(indices, draws.device())?, 0);
        Ok(Self { images: PairEnds { left: choose(left)?, right: choose(right)? }, classes, angles: None })
    }
}

impl Strips {
    /// Interpolates between the pairs of [`Ends`].
    ///
    /// # Errors
    /// If the images cannot be read or the tensor library fails.
    pub(crate) fn make(learner: &Learner, dataset: &dyn Dataset, draws: &Draws) -> Result<Self> {
        let model = learner.model();
        let ends = Ends::of(dataset, draws)?;
        let PairEnds { left, right } = &ends.images;
        if ends.angles.is_some() {
            // The batch alternates left and right: both lines of one pair, then those of the next.
            let lines = Tensor::stack(&[left, right], 1)?.flatten(0, 1)?;
            let latents = model.encode(&lines, draws)?.detach();
            let end = |end: usize| {
                let indices: Vec<u32> = (0..LINE_ANGLES.len()).map(|pair| (2 * pair + end) as u32).collect();
                latents.index_select(&Tensor::new(indices, draws.device())?, 0)
            };
            let images = Interpolations::new(model, &end(0)?, &end(1)?)?.images()?;
            return Self::between(ends, images, None);
        }
        let encode = |images: &Tensor, end: &str| -> Result<Tensor> {
            Ok(model.encode(images, &draws.scope(end))?.detach())
        };
        let images =
            Interpolations::new(model, &encode(left, "left")?, &encode(right, "right")?)?.images()?;
        let flat = images.flatten(0, 1)?.to_device(draws.device())?;
        let again = learner.model().reconstruct(&flat, &draws.scope("between"))?.detach();
        let errors = own_errors(&images, &again)?;
        Self::between(ends, images, Some(errors))
    }

    /// Combines `ends` with the images between them and, on image sets, the errors of the images' own
    /// reconstructions.
    ///
    /// # Shapes
    /// `images` `[pairs, positions, height, width, channels]`, `errors` `[pairs, positions]`, on the CPU.
    pub(crate) fn between(ends: Ends, images: Tensor, errors: Option<Tensor>) -> Result<Self> {
        let Ends { images: PairEnds { left, right }, classes, angles } = ends;
        let ends = match angles {
            Some(_) => None,
            None => {
                Some(PairEnds { left: left.to_device(&Device::Cpu)?, right: right.to_device(&Device::Cpu)? })
            }
        };
        Ok(Self { images, ends, classes, errors, angles })
    }

    /// Returns the names and bytes of the files `interpolation.safetensors` and `interpolation.png`, a preview.
    ///
    /// # Errors
    /// If the files cannot be encoded.
    pub(crate) fn files(&self) -> Result<[(&'static str, Vec<u8>); 2]> {
        let mut tensors = vec![("images", self.images.to_dtype(DType::F16)?)];
        if let Some(PairEnds { left, right }) = &self.ends {
            tensors.push(("left", left.to_dtype(DType::F16)?));
            tensors.push(("right", right.to_dtype(DType::F16)?));
        }
        if let Some(classes) = &self.classes {
            let shape = (classes.len(), 2);
            tensors.push(("classes", Tensor::from_slice(classes.as_flattened(), shape, &Device::Cpu)?));
        }
        tensors.extend(self.errors.clone().map(|errors| ("errors", errors)));
        if let Some(angles) = &self.angles {
            let shape = (angles.len(), 2);
            tensors.push(("angles", Tensor::from_slice(angles.as_flattened(), shape, &Device::Cpu)?));
        }
        Ok([(INTERPOLATION, pack(INTERPOLATION, tensors)?), (PREVIEW, self.preview()?)])
    }

    /// Reads the interpolations of the run in `dir`, in this format or in that of older versions: `f32` throughout,
    /// and on lines only the pair of Figure 3, without a dimension for pairs and without its angles. Returns `None`
    /// if the run has none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        let Some(tensors) = Tensors::read(dir, INTERPOLATION)? else { return Ok(None) };
        let (mut images, mut angles) = (tensors.get("images")?, tensors.find("angles")?);
        if images.rank() == 4 && angles.is_none() {
            images = images.unsqueeze(0)?;
            angles = Some(Tensor::new(&[FIGURE_3_ANGLES.map(|angle| angle as f32)], &Device::Cpu)?);
        }
        let &[pairs, positions, ref one @ ..] = images.dims() else {
            return Err(tensors.damaged(&format!("'images' of size {:?}", images.dims())));
        };
        if !matches!(one, [_, _, 1 | 3]) || images.elem_count() == 0 {
            return Err(tensors.damaged(&format!("'images' of size {:?}", images.dims())));
        }
        let check = |name: &str, tensor: &Tensor, wanted: &[usize]| {
            if tensor.dims() == wanted {
                return Ok(());
            }
            Err(tensors.damaged(&format!("'{name}' of size {:?}, wanted {wanted:?}", tensor.dims())))
        };
        if let Some(angles) = angles {
            check("angles", &angles, &[pairs, 2])?;
            let angles = angles.flatten_all()?.to_vec1::<f32>()?.as_chunks::<2>().0.to_vec();
            return Ok(Some(Self { images, ends: None, classes: None, errors: None, angles: Some(angles) }));
        }
        let (left, right) = (tensors.get("left")?, tensors.get("right")?);
        let wanted = [&[pairs], one].concat();
        check("left", &left, &wanted)?;
        check("right", &right, &wanted)?;
        let (classes, errors) = (tensors.find("classes")?, tensors.find("errors")?);
        if let Some(classes) = &classes {
            check("classes", classes, &[pairs, 2])?;
        }
        if let Some(errors) = &errors {
            check("errors", errors, &[pairs, positions])?;
        }
        let numbers = |classes: Tensor| -> Result<Vec<[u32; 2]>> {
            let numbers = classes.to_dtype(DType::U32)?.flatten_all()?.to_vec1::<u32>()?;
            Ok(numbers.as_chunks::<2>().0.to_vec())
        };
        let classes = classes.map(numbers).transpose()?;
        Ok(Some(Self { images, ends: Some(PairEnds { left, right }), classes, errors, angles: None }))
    }

    /// Renders a row of images for each pair, from -1 (black) to 1 (white), between the original images where there
    /// are any.
    fn preview(&self) -> Result<Vec<u8>> {
        let (pairs, _, height, _, channels) = self.images.dims5()?;
        let mut rows = Vec::with_capacity(pairs);
        for pair in 0..pairs {
            // Transposed to `[height, positions, width, channels]`, the images form one row.
            let images = self.images.get(pair)?.transpose(0, 1)?.contiguous()?;
            let images = images.flatten(1, 2)?;
            rows.push(match &self.ends {
                None => images,
                Some(PairEnds { left, right }) => {
                    let gap = Tensor::ones((height, GAP, channels), DType::F32, &Device::Cpu)?;
                    let end = |x: &Tensor| x.get(pair).and_then(|x| x.to_dtype(DType::F32));
                    Tensor::cat(&[&end(left)?, &gap, &images, &gap, &end(right)?], 1)?
                }
            });
        }
        let rows = Tensor::cat(&rows, 0)?;
        let (height, width, channels) = rows.dims3()?;
        let byte = |v: f32| ((v + 1.0) * 127.5).round() as u8;
        let pixels: Vec<u8> = rows.flatten_all()?.to_vec1::<f32>()?.into_iter().map(byte).collect();
        let size = [width as u32, height as u32];
        let color = if channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale };
        encode_png(&pixels, size, color, png::Compression::Balanced).map_err(|e| Error::encoding(PREVIEW, &e))
    }
}

/// Returns the mean squared error of a model's own reconstructions, `again`, of images that it has decoded.
///
/// # Shapes
/// `images` `[pairs, positions, height, width, channels]` on the CPU, `again`
/// `[pairs * positions, height, width, channels]` on any device; the result is `[pairs, positions]` on the CPU.
pub(crate) fn own_errors(images: &Tensor, again: &Tensor) -> Result<Tensor> {
    let (pairs, positions, ..) = images.dims5()?;
    let flat = images.flatten(0, 1)?.to_device(again.device())?;
    let error = (again - flat)?.sqr()?.flatten_from(1)?;
    Ok(error.mean(1)?.to_device(&Device::Cpu)?.reshape((pairs, positions))?)
}

/// Encodes pixels, eight bits per channel, as a PNG file of this width and height.
///
/// # Errors
/// If the number of pixels does not fit the size.
pub fn encode_png(
    pixels: &[u8],
    [width, height]: [u32; 2],
    color: png::ColorType,
    compression: png::Compression,
) -> std::result::Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_compression(compression);
    encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels))?;
    Ok(bytes)
}

/// Returns the pairs of Figures 6 to 11 among the first `n` test images, as indices. The left images are the first
/// four. Without labels, image `i` is paired with image `4 + i`. With labels, it is paired with the image at index
/// `4 + i` among those of its own class for the first two pairs, and among those of other classes for the rest. In
/// small sets the last candidate takes its place; if there is no candidate, any image does.
fn pairs(labels: Option<&[u32]>, n: usize) -> Vec<(u32, u32)> {
    let right = |i: usize| {
        let wanted: Vec<usize> = match labels {
            None => (0..n).collect(),
            Some(labels) => (0..n).filter(|&j| (labels[j] == labels[i]) == (i < 2)).collect(),
        };
        wanted.get(PAIRS + i).or(wanted.last()).copied().unwrap_or((PAIRS + i).min(n - 1))
    };
    (0..PAIRS.min(n)).map(|i| (i as u32, right(i) as u32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(dims: &[usize]) -> Tensor {
        let n = dims.iter().product::<usize>();
        let values: Vec<f32> = (0..n).map(|i| (i % 256) as f32 / 128.0 - 1.0).collect();
        Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        assert_eq!(tensor.dtype(), DType::F32);
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn strips_survive_a_round_trip_in_both_formats() {
        let dir = tempfile::tempdir().unwrap();
        let read = || Strips::read(dir.path()).unwrap();
        let path = dir.path().join(INTERPOLATION);
        let write = |bytes: Vec<u8>| std::fs::write(&path, bytes).unwrap();
        let write_strips = |strips: Strips| {
            let [(_, bytes), _] = strips.files().unwrap();
            write(bytes);
        };
        assert!(read().is_none());
        let images = steps(&[2, 16, 8, 8, 1]);
        let angles = vec![[0.5, 1.0], [2.0, 3.5]];
        write_strips(Strips {
            images: images.clone(),
            ends: None,
            classes: None,
            errors: None,
            angles: Some(angles.clone()),
        });
        let strips = read().unwrap();
        // Multiples of 1/128 up to 1 are exact in `f16`.
        assert_eq!((values(&strips.images), strips.angles), (values(&images), Some(angles)));
        assert!(strips.ends.is_none() && strips.images.dims() == images.dims());

        write(pack(INTERPOLATION, vec![("images", images.get(1).unwrap())]).unwrap());
        let strips = read().unwrap();
        assert_eq!(strips.images.dims(), [1, 16, 8, 8, 1]);
        assert_eq!(values(&strips.images), values(&images.get(1).unwrap()));
        assert_eq!(strips.angles, Some(vec![FIGURE_3_ANGLES.map(|angle| angle as f32)]));

        let (images, left, right) = (steps(&[3, 16, 4, 4, 3]), steps(&[3, 4, 4, 3]), steps(&[3, 4, 4, 3]));
        let old = vec![("images", images.clone()), ("left", left.clone()), ("right", right.neg().unwrap())];
        write(pack(INTERPOLATION, old).unwrap());
        let before = read().unwrap();
        let ends = Some(PairEnds { left: left.clone(), right: right.neg().unwrap() });
        assert!(before.classes.is_none() && before.errors.is_none());
        let (classes, errors) = (Some(vec![[1, 5], [3, 3], [9, 0]]), Some(steps(&[3, 16])));
        write_strips(Strips {
            images: images.clone(),
            ends,
            classes: classes.clone(),
            errors: errors.clone(),
            angles: None,
        });
        let after = read().unwrap();
        assert_eq!(
            (after.classes.clone(), after.errors.as_ref().map(values)),
            (classes, errors.as_ref().map(values))
        );
        assert_eq!(values(&before.images), values(&after.images));
        let ends =
            |strips: &Strips| strips.ends.as_ref().map(|ends| (values(&ends.left), values(&ends.right)));
        assert!(ends(&after).is_some() && ends(&before) == ends(&after) && after.angles.is_none());
    }

    #[test]
    fn damage_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(INTERPOLATION);
        let damaged = |wanted: &str| {
            let message = Strips::read(dir.path()).unwrap_err().to_string();
            let whole = message.contains(wanted) && message.contains("makes it again");
            assert!(whole && message.contains(INTERPOLATION), "{message}");
        };
        let write = |tensors| std::fs::write(&path, pack(INTERPOLATION, tensors).unwrap()).unwrap();
        write(vec![("left", steps(&[2, 8, 8, 1]))]);
        damaged("it holds no 'images'");
        write(vec![("images", steps(&[2, 16, 8, 8, 1]))]);
        damaged("it holds no 'left'");
        write(vec![("images", steps(&[2, 16, 8, 8, 1])), ("angles", steps(&[3, 2]))]);
        damaged("'angles' of size [3, 2], wanted [2, 2]");
        let short = steps(&[1, 8, 8, 1]);
        write(vec![("images", steps(&[2, 16, 8, 8, 1])), ("left", steps(&[2, 8, 8, 1])), ("right", short)]);
        damaged("'right' of size [1, 8, 8, 1], wanted [2, 8, 8, 1]");
        for dims in [&[2, 16, 8, 8, 2][..], &[7], &[0, 8, 8, 1]] {
            write(vec![("images", steps(dims))]);
            damaged("'images' of size");
        }
        std::fs::write(&path, "half of it").unwrap();
        damaged("is damaged (");
    }

    #[test]
    fn pairs_of_lines_have_the_intended_arcs() {
        let apart = LINE_ANGLES.map(|[left, right]| {
            let turn = (right - left + PI).rem_euclid(2.0 * PI) - PI;
            turn.to_degrees().round()
        });
        assert_eq!(apart, [141.0, 30.0, 90.0, 175.0, 70.0, 90.0]);
        assert!(LINE_ANGLES.as_flattened().iter().all(|angle| (0.0..2.0 * PI).contains(angle)));
    }

    #[test]
    fn pairs_are_those_of_the_paper() {
        assert_eq!(pairs(None, 100), [(0, 4), (1, 5), (2, 6), (3, 7)]);
        let labels: Vec<u32> = (0..100).map(|i| i % 10).collect();
        // Class 0 is at 0, 10, ..., class 1 at 1, 11, ...; the first images of other classes than 2 are 0, 1, 3, 4,
        // 5, 6, 7.
        assert_eq!(pairs(Some(&labels), 100), [(0, 40), (1, 51), (2, 7), (3, 8)]);
        assert_eq!(pairs(Some(&[0, 1, 0]), 3), [(0, 2), (1, 1), (2, 1)]);
        assert_eq!(pairs(Some(&[5]), 1), [(0, 0)]);
        assert_eq!(pairs(Some(&[3; 100]), 100), [(0, 4), (1, 5), (2, 6), (3, 7)]);
        assert_eq!(pairs(None, 2), [(0, 1), (1, 1)]);
    }
}

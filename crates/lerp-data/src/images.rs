//! The images of one split of a dataset: which of the stored images belong to it, and in which order.

use std::{path::PathBuf, sync::Arc};

use candle_core::{Device, Tensor};
use lerp_core::{Draws, ImageShape};
use sha2::{Digest, Sha256};

use crate::{
    Batch, Permutation, Result,
    pixels::{Pixels, StoredImages},
};

/// The stored images that belong to a split.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selection {
    All,
    /// The images at these stored indices, in order.
    Listed(Arc<[u32]>),
    /// All but the last of every `n` stored images.
    AllButEvery(usize),
    /// The last of every `n` stored images.
    Every(usize),
}

/// Images, and their classes if they are labelled.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    pub shape: ImageShape,
    stored: Arc<StoredImages>,
    selection: Selection,
    /// The order of the images within the selection, or `None` if it is that of the stored images.
    order: Option<Permutation>,
}

impl Images {
    pub fn new(stored: StoredImages) -> Self {
        Self { shape: stored.shape, stored: Arc::new(stored), selection: Selection::All, order: None }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        let all = self.stored.len();
        match &self.selection {
            Selection::All => all,
            Selection::Listed(positions) => positions.len(),
            Selection::AllButEvery(every) => all - all / every,
            Selection::Every(every) => all / every,
        }
    }

    /// The stored index of image `index`.
    fn stored_index(&self, index: usize) -> usize {
        let index = self.order.as_ref().map_or(index, |order| order.of(index as u64) as usize);
        match &self.selection {
            Selection::All => index,
            Selection::Listed(positions) => positions[index] as usize,
            Selection::AllButEvery(every) => index + index / (every - 1),
            Selection::Every(every) => index * every + every - 1,
        }
    }

    /// The cache file that holds the images, with its size in bytes, or `None` if the images are in memory.
    ///
    /// # Errors
    /// Returns an error if the metadata of the file cannot be read.
    pub fn cache_file(&self) -> Result<Option<(PathBuf, u64)>> {
        match &self.stored.pixels {
            Pixels::Memory(_) => Ok(None),
            Pixels::File(stored) => stored.file().map(Some),
        }
    }

    pub fn labelled(&self) -> bool {
        self.stored.labels.is_some()
    }

    /// The class of each image, in order; empty if there are no labels.
    pub fn labels(&self) -> impl Iterator<Item = u32> {
        let labels = self.stored.labels.as_deref();
        (0..self.len()).filter_map(move |index| Some(labels?[self.stored_index(index)]))
    }

    /// The stored values of image `index`, reduced to the first channel if the split is gray.
    fn bytes(&self, index: usize) -> Result<Vec<u8>> {
        let (position, stride) = (self.stored_index(index), self.stored.stride());
        let bytes = match &self.stored.pixels {
            Pixels::Memory(bytes) => bytes[position * stride..(position + 1) * stride].to_vec(),
            Pixels::File(stored) => stored.read(position)?,
        };
        if self.shape == self.stored.shape {
            return Ok(bytes);
        }
        let size = self.stored.encoding.size();
        Ok(bytes
            .chunks_exact(size * self.stored.shape.channels)
            .flat_map(|pixel| &pixel[..size])
            .copied()
            .collect())
    }

    /// The pixels of image `index`, in `[-1, 1]` except where bicubic resizing overshot.
    pub fn image(&self, index: usize) -> Result<Vec<f32>> {
        Ok(self.stored.encoding.values(&self.bytes(index)?))
    }

    /// The batch of the images at `indices`.
    ///
    /// # Shapes
    /// Images `[indices, height, width, channels]`, labels `[indices]`.
    pub fn batch(&self, indices: &[usize], device: &Device) -> Result<Batch> {
        let ImageShape { height, width, channels } = self.shape;
        let mut pixels = Vec::with_capacity(indices.len() * height * width * channels);
        for &index in indices {
            pixels.extend(self.image(index)?);
        }
        let images = Tensor::from_vec(pixels, (indices.len(), height, width, channels), device)?;
        let labels = self.stored.labels.as_ref().map(|labels| {
            let labels: Vec<u32> = indices.iter().map(|&index| labels[self.stored_index(index)]).collect();
            Tensor::from_vec(labels, indices.len(), device)
        });
        Ok(Batch { images, labels: labels.transpose()? })
    }

    /// Feeds the number and shape of the images, their stored values and their labels to a digest.
    pub fn feed(&self, digest: &mut Sha256) -> Result<()> {
        let ImageShape { height, width, channels } = self.shape;
        digest.update(format!("{} images {height} x {width} x {channels}", self.len()));
        for index in 0..self.len() {
            digest.update(self.bytes(index)?);
        }
        digest.update(self.labels().flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
        Ok(())
    }

    /// Splits the images into a training split and a holdout set, for sets that come without a test split. The
    /// holdout set has the last of every `every` images. Labelled images are counted in the order of their
    /// classes, so that every class of two images or more is in both splits, whatever the order of the images.
    pub fn hold_out(self, every: usize) -> (Self, Self) {
        let (kept, out) = match &self.stored.labels {
            None => (Selection::AllButEvery(every), Selection::Every(every)),
            Some(labels) => {
                let out = stratified(labels, every);
                let positions =
                    |wanted: bool| (0..).zip(&out).filter(move |(_, out)| **out == wanted).map(|(i, _)| i);
                (Selection::Listed(positions(false).collect()), Selection::Listed(positions(true).collect()))
            }
        };
        let out = Self { selection: out, ..self.clone() };
        (Self { selection: kept, ..self }, out)
    }

    /// Returns the images in a pseudo-random order that depends on their number alone, so that the first n
    /// images of a set that is sorted by class are a fair sample of it.
    pub fn shuffled(self) -> Self {
        let draws = Draws::new(0, &Device::Cpu).scope("order of one's own images");
        Self { order: Some(Permutation::new(self.len() as u64, &draws)), ..self }
    }

    /// Reduces both splits to one channel if the three channels of every pixel of both are equal.
    pub fn gray_if_gray(mut splits: [Self; 2]) -> [Self; 2] {
        if splits.iter().all(|split| split.stored.gray && split.shape.channels == 3) {
            for split in &mut splits {
                split.shape.channels = 1;
            }
        }
        splits
    }
}

/// Decides for each image whether it is in the holdout set: the last of every `every` images, counted in the
/// order of the classes and, within a class, in the order of the images. A class that would have no test image
/// this way gives its last one; the only image of a class is never held out.
fn stratified(labels: &[u32], every: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|&index| labels[index]);
    let mut out = vec![false; labels.len()];
    let mut first = 0;
    for class in order.chunk_by(|&a, &b| labels[a] == labels[b]) {
        let positions = first..first + class.len();
        first = positions.end;
        if let [.., last] = class
            && class.len() > 1
        {
            for (position, &index) in positions.zip(class) {
                out[index] = position % every == every - 1;
            }
            out[*last] |= class.iter().all(|&index| !out[index]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pixels::PixelEncoding, tree::LeftOut};

    fn stored(shape: ImageShape, pixels: Vec<u8>, labels: Option<Vec<u32>>, gray: bool) -> Images {
        let (classes, left_out) = (Vec::new(), LeftOut::default());
        let pixels = Pixels::Memory(pixels);
        Images::new(StoredImages {
            shape,
            encoding: PixelEncoding::Bytes,
            pixels,
            labels,
            classes,
            gray,
            left_out,
        })
    }

    fn images(n: u8) -> Images {
        let pixels = (0..n).flat_map(|i| [i, 0, 255, i]).collect();
        let labels = (0..n).map(u32::from).collect();
        stored(ImageShape { height: 2, width: 2, channels: 1 }, pixels, Some(labels), false)
    }

    #[test]
    fn bytes_become_floats_from_minus_one_to_one() {
        let batch = images(52).batch(&[51, 0], &Device::Cpu).unwrap();
        assert_eq!(batch.images.dims(), [2, 2, 2, 1]);
        let pixels = batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(pixels, [-0.6, -1.0, 1.0, -0.6, -1.0, -1.0, 1.0, -1.0]);
        assert_eq!(batch.labels().unwrap().to_vec1::<u32>().unwrap(), [51, 0]);
    }

    #[test]
    fn every_tenth_is_held_out() {
        let shape = ImageShape { height: 1, width: 1, channels: 1 };
        for (n, every, kept, out) in
            [(25, 10, 23, vec![9.0, 19.0]), (5, 2, 3, vec![1.0, 3.0]), (3, 4, 3, vec![])]
        {
            let (train, test) = stored(shape, (0..n).collect(), None, false).hold_out(every);
            assert_eq!((train.len(), test.len()), (kept, out.len()));
            let values = |split: &Images| -> Vec<f32> {
                (0..split.len()).map(|i| ((split.image(i).unwrap()[0] + 1.0) * 127.5).round()).collect()
            };
            assert_eq!(values(&test), out);
            let mut all = [values(&train), values(&test)].concat();
            all.sort_by(f32::total_cmp);
            assert_eq!(all, (0..n).map(f32::from).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_class_is_in_both_parts_and_labels_go_with_their_images() {
        let shape = ImageShape { height: 1, width: 1, channels: 1 };
        let of = |labels: &[u32], every| {
            let pixels = labels.iter().map(|label| *label as u8).collect();
            stored(shape, pixels, Some(labels.to_vec()), false).hold_out(every)
        };
        let count = |split: &Images, class| split.labels().filter(|label| *label == class).count();
        // The classes alternate with a period of ten, so that without stratification every tenth image would be
        // of the same class.
        let turns: Vec<u32> = (0..100).map(|i| i % 10).collect();
        let mut sorted = turns.clone();
        sorted.sort_unstable();
        for labels in [&turns, &sorted] {
            for every in [2, 5, 10, 1000] {
                let (train, test) = of(labels, every);
                assert_eq!(train.len() + test.len(), 100);
                for class in 0..10 {
                    let out = (10 / every).max(1);
                    assert_eq!(
                        (count(&train, class), count(&test, class)),
                        (10 - out, out),
                        "one of {every}"
                    );
                }
                for split in [&train, &test] {
                    for (index, label) in split.labels().enumerate() {
                        assert_eq!(split.image(index).unwrap()[0], label as f32 * 2.0 / 255.0 - 1.0);
                    }
                }
            }
        }
        // If the images are sorted by class, the holdout set is every n-th image; and the only image of a class
        // is not held out.
        assert_eq!(stratified(&[0, 0, 0, 1, 1, 1, 1], 2), [false, true, false, true, false, true, false]);
        assert_eq!(stratified(&[0, 1, 2, 2], 2), [false, false, false, true]);
        assert_eq!(stratified(&[0, 1], 2), [false, false]);
    }

    #[test]
    fn gray_images_are_reduced_to_one_channel() {
        let shape = ImageShape { height: 1, width: 2, channels: 3 };
        let of = |gray| stored(shape, vec![1, 1, 1, 2, 2, 2], None, gray);
        let [a, _] = Images::gray_if_gray([of(true), of(true)]);
        assert_eq!((a.shape.channels, a.bytes(0).unwrap()), (1, vec![1, 2]));
        let [a, _] = Images::gray_if_gray([of(true), of(false)]);
        assert_eq!((a.shape.channels, a.bytes(0).unwrap().len()), (3, 6));
    }
}

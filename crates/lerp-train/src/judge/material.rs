//! The images that a judge scores and compares with: pairs of test images to interpolate between, and real images
//! disjoint from them.

use candle_core::{Device, Tensor};
use lerp_core::Draws;
use lerp_data::{Dataset, Permutation, Split};
use lerp_eval::{EVALUATION_BATCH, PairEnds, test_images};

use crate::Result;

/// The maximum number of pairs of test images; half of them are of one class.
const MAX_PAIRS: usize = 256;
/// The maximum number of real images that decoded images are compared with.
const MAX_REAL: usize = 4096;
/// The number of images generated to choose pairs from, for a dataset whose images are generated.
const DRAWN: usize = 2048;
/// The minimum number of pairs: with two, the standard error of the score is undefined.
const MIN_PAIRS: usize = 3;

/// The test images of a dataset that a judge uses, chosen with a fixed seed.
pub(super) struct Material {
    /// The pairs to interpolate between.
    pub pairs: TestPairs,
    /// Real images that are in no pair, `[images, height, width, channels]`, `f32` on the CPU.
    pub real: Tensor,
}

/// Pairs of test images.
pub(super) struct TestPairs {
    /// The left and right images, each `[pairs, height, width, channels]`, `f32` on the CPU.
    pub ends: PairEnds,
    /// The classes of both images of each pair; `None` for a dataset without labels.
    pub classes: Option<Vec<[u32; 2]>>,
}

/// Returns the number of pairs chosen from `count` test images (`None`: generated images); `None` if there are too
/// few for a score.
pub(super) fn pairs_of(count: Option<usize>) -> Option<usize> {
    let pairs = count.map_or(MAX_PAIRS, |count| MAX_PAIRS.min(count / 4));
    (pairs >= MIN_PAIRS).then_some(pairs)
}

impl Material {
    /// Chooses the images of a dataset: at most half of its test images in pairs, and at most 4,096 of the others.
    /// Returns `None` if the dataset has too few test images.
    ///
    /// # Errors
    /// If images cannot be read.
    pub fn choose(dataset: &dyn Dataset) -> Result<Option<Self>> {
        let count = dataset.count(Split::Test)?;
        let Some(wanted) = pairs_of(count) else { return Ok(None) };
        let draws = draws().scope("material");
        let candidates = count.unwrap_or(DRAWN);
        let labels = labels(dataset, candidates, &draws)?;
        let shuffled = Permutation::new(candidates as u64, &draws);
        let order: Vec<usize> = (0..candidates as u64).map(|image| shuffled.of(image) as usize).collect();
        let pairs = pair(&order, labels.as_deref(), wanted);
        if pairs.len() < MIN_PAIRS {
            return Ok(None);
        }
        let classes = labels.map(|labels| pairs.iter().map(|pair| pair.map(|image| labels[image])).collect());
        let mut others: Vec<usize> = Vec::new();
        if count.is_some() {
            let mut free = vec![true; candidates];
            pairs.as_flattened().iter().for_each(|image| free[*image] = false);
            others.extend(order.into_iter().filter(|image| free[*image]).take(MAX_REAL));
        }
        let end = |end: usize| pairs.iter().map(move |pair| pair[end]);
        let indices: Vec<usize> = end(0).chain(end(1)).chain(others.iter().copied()).collect();
        // Images are read in order, which is slow where they are in many files; so all are gathered in one pass.
        let images = gather(dataset, candidates, &indices, &draws)?;
        let ends = PairEnds::of_first(&images, pairs.len())?;
        let real = if count.is_some() {
            images.narrow(0, 2 * pairs.len(), others.len())?
        } else {
            gather(dataset, MAX_REAL, &(0..MAX_REAL).collect::<Vec<_>>(), &draws.scope("real"))?
        };
        Ok(Some(Self { pairs: TestPairs { ends, classes }, real }))
    }
}

/// Returns the random draws of everything about a judge; they are always the same.
pub(super) fn draws() -> Draws {
    Draws::new(0, &Device::Cpu).scope("judge")
}

/// Calls `then` with each chunk of the first `count` test images, or of as many generated ones, and with the index
/// of the chunk's first image.
pub(super) fn each(
    dataset: &dyn Dataset,
    count: usize,
    draws: &Draws,
    mut then: impl FnMut(usize, lerp_data::Batch) -> Result<()>,
) -> Result<()> {
    (0..count).step_by(EVALUATION_BATCH).try_for_each(|first| {
        let draws = draws.scope("chunk").at(first as u64);
        then(first, test_images(dataset, first, EVALUATION_BATCH.min(count - first), &draws)?)
    })
}

fn labels(dataset: &dyn Dataset, count: usize, draws: &Draws) -> Result<Option<Vec<u32>>> {
    if dataset.classes() == 0 {
        return Ok(None);
    }
    let mut labels = Vec::with_capacity(count);
    each(dataset, count, draws, |_, batch| {
        labels.extend(batch.labels()?.to_vec1::<u32>()?);
        Ok(())
    })?;
    Ok(Some(labels))
}

/// Returns the images at the indices `indices`, in that order.
fn gather(dataset: &dyn Dataset, count: usize, indices: &[usize], draws: &Draws) -> Result<Tensor> {
    let mut sorted: Vec<(usize, usize)> =
        indices.iter().enumerate().map(|(order, image)| (*image, order)).collect();
    sorted.sort_unstable();
    let mut rest = &sorted[..];
    let mut found = Vec::new();
    each(dataset, count, draws, |first, batch| {
        let here = rest.partition_point(|(image, _)| *image < first + EVALUATION_BATCH);
        if here > 0 {
            let at: Vec<u32> = rest[..here].iter().map(|(image, _)| (image - first) as u32).collect();
            found.push(batch.images.index_select(&Tensor::new(at, batch.images.device())?, 0)?);
            rest = &rest[here..];
        }
        Ok(())
    })?;
    let mut back = vec![0_u32; indices.len()];
    for (row, (_, order)) in sorted.iter().enumerate() {
        back[*order] = row as u32;
    }
    let found = Tensor::cat(&found, 0)?;
    Ok(found.index_select(&Tensor::new(back, found.device())?, 0)?)
}

/// Returns at most `wanted` disjoint pairs of indices, taken in `order`: the first half with both images of one
/// class, the others of two classes, or of one class once no others are left. Without labels, neighbours in `order`
/// are paired.
fn pair(order: &[usize], labels: Option<&[u32]>, wanted: usize) -> Vec<[usize; 2]> {
    let Some(labels) = labels else {
        return order.as_chunks::<2>().0.iter().take(wanted).copied().collect();
    };
    let mut pairs: Vec<[usize; 2]> = Vec::with_capacity(wanted);
    let mut left: Vec<usize> = Vec::new();
    // For each class, the index that has no partner yet.
    let mut waiting: Vec<Option<usize>> =
        vec![None; labels.iter().max().map_or(0, |most| *most as usize + 1)];
    for image in order {
        let before = &mut waiting[labels[*image] as usize];
        match before.take() {
            Some(other) if pairs.len() < wanted / 2 => pairs.push([other, *image]),
            other => {
                left.extend(other);
                *before = Some(*image);
            }
        }
    }
    left.extend(waiting.into_iter().flatten());
    let mut free = vec![false; labels.len()];
    for image in left {
        free[image] = true;
    }
    let mut first: Option<usize> = None;
    let mut put_off: Vec<usize> = Vec::new();
    for image in order.iter().filter(|image| free[**image]) {
        if pairs.len() == wanted {
            break;
        }
        match first {
            None => first = Some(*image),
            Some(other) if labels[other] != labels[*image] => {
                pairs.push([other, *image]);
                first = put_off.pop();
            }
            // All indices in `put_off` have the class of `first`.
            Some(_) => put_off.push(*image),
        }
    }
    let rest: Vec<usize> = first.into_iter().chain(put_off).collect();
    let missing = wanted - pairs.len();
    pairs.extend(rest.as_chunks::<2>().0.iter().take(missing));
    pairs
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn half_of_the_pairs_are_of_one_class_and_no_image_is_in_two() {
        let labels: Vec<u32> = (0..1000).map(|image| image * image % 7).collect();
        let order: Vec<usize> = (0..1000).map(|image| image * 387 % 1000).collect();
        let pairs = pair(&order, Some(&labels), 256);
        assert_eq!(pairs.len(), 256);
        assert_eq!(pairs.as_flattened().iter().collect::<HashSet<_>>().len(), 512);
        assert!(pairs[..128].iter().all(|[a, b]| labels[*a] == labels[*b]));
        assert!(pairs[128..].iter().all(|[a, b]| labels[*a] != labels[*b]));
        // If there is one class only, all pairs are of it.
        let alike = pair(&order, Some(&vec![3; 1000]), 256);
        assert_eq!(alike.len(), 256);
        assert_eq!(alike.as_flattened().iter().collect::<HashSet<_>>().len(), 512);
        assert_eq!(pair(&order, None, 3), [[0, 387], [774, 161], [548, 935]]);
    }

    #[test]
    fn test_parts_of_any_size() {
        assert_eq!(
            [None, Some(10_000), Some(100), Some(12), Some(11)].map(pairs_of),
            [Some(256), Some(256), Some(25), Some(3), None]
        );
    }
}

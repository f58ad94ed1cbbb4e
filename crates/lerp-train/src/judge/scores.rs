//! The file `judged.safetensors` of a run: a judge's scores of its interpolations.

use std::path::Path;

use candle_core::{Device, Tensor};
use lerp_eval::{Judged, KernelDistance, POSITIONS, Realism, STEPS};

use crate::{
    Result, Strips,
    files::JUDGED,
    tensors::{Tensors, pack},
};

use super::Judge;

/// The judge's predictions for the images of strips, pair by pair: the most probable class and its probability.
pub type StripPredictions = Vec<[(u32, f32); POSITIONS]>;

/// A judge's scores of a run's interpolations.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgeScores {
    /// SHA-256 of the judge's weights, in hexadecimal.
    pub judge: String,
    /// Scores of the interpolations that the run's metrics are computed on.
    pub judged: Judged,
    /// The most probable class, and its probability, of each image of the run's [`Strips`].
    pub strips: StripPredictions,
}

impl JudgeScores {
    /// Combines `judged` with the judge's predictions for the images of strips. Returns `None` if there is no judge
    /// or no score.
    pub(crate) fn new(
        judge: Option<&Judge>,
        judged: Option<Judged>,
        strips: &Strips,
    ) -> Result<Option<Self>> {
        let (Some(judge), Some(judged)) = (judge, judged) else { return Ok(None) };
        let output = judge.predict(&strips.images.flatten(0, 1)?)?;
        let predictions: Vec<(u32, f32)> = output.predicted.into_iter().zip(output.probabilities).collect();
        let strips = predictions.as_chunks::<POSITIONS>().0.to_vec();
        Ok(Some(Self { judge: judge.record().weights.clone(), judged, strips }))
    }

    /// Returns the name and the bytes of the file `judged.safetensors`.
    ///
    /// # Errors
    /// If the tensors cannot be serialised.
    pub(crate) fn file(&self) -> Result<(&'static str, Vec<u8>)> {
        let Judged {
            predicted,
            probabilities,
            inside,
            steps,
            straight,
            ends,
            distances,
            middle,
            reconstructions,
        } = &self.judged;
        let pairs = predicted.len();
        let cpu = &Device::Cpu;
        let inside: Vec<u8> = inside.as_flattened().iter().map(|yes| u8::from(*yes)).collect();
        let distances: Vec<f64> = distances.iter().flat_map(|of| [of.value, of.error]).collect();
        let realism: Vec<f64> = [middle, reconstructions]
            .iter()
            .flat_map(|of| [of.distance.value, of.distance.error, of.precision])
            .collect();
        let (strip_classes, strip_probabilities): (Vec<u32>, Vec<f32>) =
            self.strips.as_flattened().iter().copied().unzip();
        let of_strips = (self.strips.len(), POSITIONS);
        let digest: Vec<u8> = self.judge.bytes().collect();
        let mut tensors = vec![
            ("word", Tensor::from_slice(predicted.as_flattened(), (pairs, POSITIONS), cpu)?),
            ("probability", Tensor::from_slice(probabilities.as_flattened(), (pairs, POSITIONS), cpu)?),
            ("inside", Tensor::from_vec(inside, (pairs, POSITIONS), cpu)?),
            ("step", Tensor::from_slice(steps.as_flattened(), (pairs, STEPS), cpu)?),
            ("straight", Tensor::from_slice(straight, pairs, cpu)?),
            ("distance", Tensor::from_vec(distances, (POSITIONS, 2), cpu)?),
            ("realism", Tensor::from_vec(realism, (2, 3), cpu)?),
            ("strip_word", Tensor::from_vec(strip_classes, of_strips, cpu)?),
            ("strip_probability", Tensor::from_vec(strip_probabilities, of_strips, cpu)?),
            ("judge", Tensor::from_vec(digest.clone(), digest.len(), cpu)?),
        ];
        if let Some(ends) = ends {
            tensors.push(("class", Tensor::from_slice(ends.as_flattened(), (pairs, 2), cpu)?));
        }
        Ok((JUDGED, pack(JUDGED, tensors)?))
    }

    /// Reads the scores of the run in `dir`. Returns `None` if no judge has measured it.
    ///
    /// # Errors
    /// If the file is damaged.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        let Some(tensors) = Tensors::read(dir, JUDGED)? else { return Ok(None) };
        let values = |name: &str, width: usize| -> Result<Vec<f32>> {
            let tensor = tensors.get(name)?;
            match tensor.dims() {
                [rows, columns] if *rows > 0 && *columns == width => {}
                [rows] if *rows > 0 && width == 1 => {}
                dims => return Err(tensors.damaged(&format!("'{name}' of size {dims:?}"))),
            }
            Ok(tensor.flatten_all()?.to_vec1()?)
        };
        // Class numbers are small, so `f32` represents them exactly.
        let whole = |values: Vec<f32>| values.into_iter().map(|v| v as u32).collect::<Vec<u32>>();
        let words = whole(values("word", POSITIONS)?);
        let straight = values("straight", 1)?;
        let pairs = straight.len();
        let ends = tensors.find("class")?.map(|_| values("class", 2)).transpose()?.map(whole);
        let (probabilities, inside, steps) =
            (values("probability", POSITIONS)?, values("inside", POSITIONS)?, values("step", STEPS)?);
        let fits = words.len() == pairs * POSITIONS
            && probabilities.len() == words.len()
            && inside.len() == words.len()
            && steps.len() == pairs * STEPS
            && ends.as_ref().is_none_or(|ends| ends.len() == 2 * pairs);
        let (distances, realism) = (values("distance", 2)?, values("realism", 3)?);
        let (strip_classes, strip_probabilities) =
            (whole(values("strip_word", POSITIONS)?), values("strip_probability", POSITIONS)?);
        if !fits
            || distances.len() != 2 * POSITIONS
            || realism.len() != 6
            || strip_classes.len() != strip_probabilities.len()
        {
            return Err(tensors.damaged("its tables differ in length"));
        }
        let distance = |of: &[f32]| KernelDistance { value: of[0].into(), error: of[1].into() };
        let realism_of = |of: &[f32]| Realism { distance: distance(of), precision: f64::from(of[2]) };
        let strips: Vec<(u32, f32)> = strip_classes.into_iter().zip(strip_probabilities).collect();
        let judge = values("judge", 1)?.into_iter().map(|byte| char::from(byte as u8)).collect();
        let judged = Judged {
            predicted: words.as_chunks::<POSITIONS>().0.to_vec(),
            probabilities: probabilities.as_chunks::<POSITIONS>().0.to_vec(),
            inside: inside.as_chunks::<POSITIONS>().0.iter().map(|row| row.map(|v| v > 0.5)).collect(),
            steps: steps.as_chunks::<STEPS>().0.to_vec(),
            straight,
            ends: ends.map(|ends| ends.as_chunks::<2>().0.to_vec()),
            distances: std::array::from_fn(|i| distance(&distances[2 * i..])),
            middle: realism_of(&realism[..3]),
            reconstructions: realism_of(&realism[3..]),
        };
        Ok(Some(Self { judge, judged, strips: strips.as_chunks::<POSITIONS>().0.to_vec() }))
    }
}

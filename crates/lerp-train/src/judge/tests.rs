use std::{collections::BTreeMap, sync::OnceLock};

use candle_core::DType;
use lerp_core::{Draws, ImageShape, Network};
use lerp_data::Batch;
use lerp_kernels::{downscale2, upscale2};

use super::*;

/// The lines dataset without labels.
struct Unlabelled;

impl Dataset for Unlabelled {
    fn name(&self) -> &'static str {
        "unlabelled"
    }
    fn title(&self) -> &'static str {
        "Unlabelled"
    }
    fn image(&self) -> ImageShape {
        Lines.image()
    }
    fn network(&self) -> Network {
        Lines.network()
    }
    fn classes(&self) -> usize {
        0
    }
    fn train_batch(&self, size: usize, draws: &Draws) -> lerp_data::Result<Batch> {
        Ok(Batch { labels: None, ..Lines.train_batch(size, draws)? })
    }
    fn test_batch(&self, size: usize, draws: &Draws) -> lerp_data::Result<Batch> {
        Ok(Batch { labels: None, ..Lines.test_batch(size, draws)? })
    }
}

static NEVER: AtomicBool = AtomicBool::new(false);

const LINES: DatasetIdentity = DatasetIdentity { name: "lines", digest: None };

/// A judge of lines, trained long enough for its scores to be significant in these tests.
fn of_lines() -> &'static Judge {
    static ONCE: OnceLock<Judge> = OnceLock::new();
    ONCE.get_or_init(|| Judge::train(&Lines, LINES, 16_384, &NEVER).unwrap())
}

/// A judge's scores of five interpolations that no model made: true lines that turn evenly, true lines along a
/// chord of a circle, a jump halfway, blurred true lines, and a blend of pixels.
fn made_up(judge: &Judge, dataset: &dyn Dataset) -> [BTreeMap<String, f64>; 5] {
    let images = |reference: LineReference| reference.interpolations().unwrap().images;
    let path = images(LineReference::Path);
    let first = path.narrow(1, 0, 1).unwrap().repeat((1, POSITIONS / 2, 1, 1, 1)).unwrap();
    let last = path.narrow(1, POSITIONS - 1, 1).unwrap().repeat((1, POSITIONS / 2, 1, 1, 1)).unwrap();
    let abrupt = Tensor::cat(&[first, last], 1).unwrap();
    let flat = path.flatten(0, 1).unwrap();
    let blurred = upscale2(&downscale2(&flat).unwrap()).unwrap().reshape(path.shape()).unwrap();
    [path, images(LineReference::Circle), abrupt, blurred, images(LineReference::Blend)]
        .map(|images| judge.judge(dataset, &images, None).unwrap().unwrap().values().into_iter().collect())
}

#[test]
fn made_up_interpolations_are_ordered_as_the_truth_orders_them() {
    let judge = of_lines();
    assert!(judge.record().accuracy > 0.95, "{:?}", judge.record());
    let made_up = made_up(judge, &Lines);
    let all = |key: &str| made_up.each_ref().map(|values| values[key]);
    let [path, circle, abrupt, blurred, blend] = all("eval/judged_distance");
    let error = all("eval/judged_distance_error");
    // True lines are indistinguishable from test lines, and a blend is further from them than a blur.
    for (real, error) in [path, circle, abrupt].into_iter().zip(error) {
        assert!(real.abs() < 4.0 * error, "{made_up:?}");
    }
    assert!(blurred > 3.0 * error[3] && blend > blurred + 3.0 * error[4], "{made_up:?}");
    let [path, circle, abrupt, blurred, blend] = all("eval/judged_precision");
    assert!([path, circle, abrupt].iter().all(|real| *real > 0.9), "{made_up:?}");
    assert!(blurred < 0.9 && blend < 0.5, "{made_up:?}");
    // Among real images the judged smoothness has the order of the true one: 0, 0.08, 0.93.
    let [path, circle, abrupt, ..] = all("eval/judged_smoothness");
    assert!(path < circle && circle < 0.5 * abrupt && (abrupt - 14.0 / 15.0).abs() < 1e-6, "{made_up:?}");
}

#[test]
fn a_judge_without_labels_distinguishes_blends_from_lines_without_having_seen_any() {
    let judge =
        Judge::train(&Unlabelled, DatasetIdentity { name: "unlabelled", digest: None }, 16_384, &NEVER)
            .unwrap();
    let record = judge.record();
    assert!(record.target == JudgeTarget::Distortions && record.accuracy > 0.8, "{record:?}");
    let made_up = made_up(&judge, &Unlabelled);
    let all = |key: &str| made_up.each_ref().map(|values| values[key]);
    let [path, circle, _, blurred, blend] = all("eval/judged_distance");
    let error = all("eval/judged_distance_error");
    assert!(path.abs() < 4.0 * error[0] && circle.abs() < 4.0 * error[1], "{made_up:?}");
    assert!(blurred > 3.0 * error[3] && blend > 3.0 * error[4], "{made_up:?}");
    let [path, circle, abrupt, blurred, blend] = all("eval/judged_precision");
    assert!([path, circle, abrupt].iter().all(|real| *real > 0.9), "{made_up:?}");
    assert!(blurred < 0.5 && blend < 0.5, "{made_up:?}");
    assert!(made_up.iter().all(|values| !values.contains_key("eval/judged_purity")));
}

#[test]
fn a_judge_read_back_gives_the_same_scores() {
    let dir = tempfile::tempdir().unwrap();
    let judge = of_lines();
    assert!(Judge::find(dir.path(), &Lines, LINES, None).unwrap().is_none());
    judge.save(dir.path()).unwrap();
    let again = Judge::find(dir.path(), &Lines, LINES, Some(16_384)).unwrap().unwrap();
    assert_eq!(again.record(), judge.record());
    assert_eq!(JudgeRecord::read(dir.path(), "lines").unwrap().as_ref(), Some(judge.record()));
    let images = LineReference::Blend.interpolations().unwrap().images;
    let says = |judge: &Judge| judge.judge(&Lines, &images, None).unwrap().unwrap();
    assert_eq!(says(&again), says(judge));
    // A judge of other images, or one with more training samples, is a different judge.
    assert!(
        Judge::find(dir.path(), &Lines, DatasetIdentity { digest: Some("abc"), ..LINES }, None)
            .unwrap()
            .is_none()
    );
    assert!(Judge::find(dir.path(), &Lines, LINES, Some(32_768)).unwrap().is_none());

    let judge_scores = JudgeScores {
        judge: judge.record().weights.clone(),
        judged: says(judge),
        strips: vec![[(3, 0.5); POSITIONS]],
    };
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let (name, bytes) = judge_scores.file().unwrap();
    std::fs::write(run.join(name), bytes).unwrap();
    let read = JudgeScores::read(&run).unwrap().unwrap();
    assert_eq!(
        (&read.judge, &read.strips, &read.judged.predicted),
        (&judge_scores.judge, &judge_scores.strips, &judge_scores.judged.predicted)
    );
    assert_eq!(read.judged.smoothness(), judge_scores.judged.smoothness());
    assert!((read.judged.middle.distance.value - judge_scores.judged.middle.distance.value).abs() < 1e-3);

    let weights = format!("judges/lines-{}.safetensors", &judge.record().weights[..12]);
    let weights = dir.path().join(weights);
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let message = Judge::find(dir.path(), &Lines, LINES, None).err().unwrap().to_string();
    assert!(message.contains("delete it and the record beside it"), "{message}");
    std::fs::write(dir.path().join("judges/lines.toml"), "format = 'lerp judge 9'").unwrap();
    let message = Judge::find(dir.path(), &Lines, LINES, None).err().unwrap().to_string();
    assert!(message.contains("judges/lines.toml") && message.contains("delete it"), "{message}");
}

#[test]
fn training_does_not_depend_on_the_number_of_threads() {
    let trained = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Judge::train(&Lines, LINES, 512, &NEVER).unwrap().record().clone())
    };
    assert_eq!(trained(1), trained(3));
}

#[test]
fn the_network_accepts_images_of_any_shape() {
    for (height, width, channels) in [(32, 32, 1), (64, 64, 3), (28, 20, 3), (5, 7, 1)] {
        let network = Classifier::new(ImageShape { height, width, channels }, 4).unwrap();
        let images = Tensor::zeros((2, height, width, channels), DType::F32, &Device::Cpu).unwrap();
        let [features, logits] = network.forward(&images).unwrap();
        assert_eq!((features.dims(), logits.dims()), (&[2, 64][..], &[2, 4][..]));
    }
}

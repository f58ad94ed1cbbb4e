//! The figure of a judge's scores along interpolations: how close images are to real ones, how far each step moves, and
//! whether images keep the class of an end.

use lerp_eval::{
    Interval, KernelDistance, POSITIONS, PURITY_THRESHOLD, Quantity, STEPS,
    quantity::{JUDGED_DISTANCE, JUDGED_PRECISION},
    wilson_interval,
};
use lerp_train::JudgeScores;

use super::{
    Drawn,
    captions::test_examples,
    multiples::{GridPanel, GridRow, Multiples},
    plot::{Axis, BandPoint, quartiles},
    style::curve_styles,
};
use crate::{
    Result,
    reading::{RunGroup, SizedImageSet},
    statistics::{Analysis, NORMAL_QUANTILE, Pairing},
};

/// Kernel distances of more than this multiple of a pixel blend's are drawn at the top.
const MAX_BLENDS: f64 = 2.0;

/// Draws the curves on lines or on an image set, or returns `None` if no run was judged.
pub fn draw<'a>(analysis: &Analysis<'a>, set: Option<&SizedImageSet>) -> Result<Option<Drawn<'a>>> {
    let Some(on) = analysis.judged().iter().find(|on| on.set == set) else { return Ok(None) };
    let judged: Vec<&(&RunGroup, Vec<JudgeScores>)> =
        on.groups.iter().filter(|(group, _)| group.shown).collect();
    if judged.is_empty() {
        return Ok(None);
    }
    let groups: Vec<&RunGroup> = judged.iter().map(|(group, _)| *group).collect();
    let pairing = on.pairing();
    let of = |row: fn(&[JudgeScores], Pairing) -> Vec<BandPoint>, note: &'static str| -> Vec<GridPanel> {
        let panel = |(_, scores): &&(&RunGroup, Vec<JudgeScores>)| {
            let points = row(scores, pairing);
            let note = points.is_empty().then_some(note);
            GridPanel { pieces: vec![points], note, corner: None }
        };
        judged.iter().map(panel).collect()
    };
    let references = on.judge.map(|judge| &judge.references[..]).unwrap_or_default();
    let known = |title: &str, of: &Quantity| {
        let reference = references.iter().find(|reference| reference.title == title)?;
        reference.values.get(&*of.key).copied()
    };
    let level = |value: Option<f64>| value.map(|v| vec![(0.0, v), (1.0, v)]).unwrap_or_default();
    let highest = |panels: &[GridPanel], least: f64| {
        let drawn = panels.iter().flat_map(|panel| panel.pieces.iter().flatten());
        drawn.map(|point| point.high).filter(|v| v.is_finite()).fold(least, f64::max)
    };
    let distances = of(distances, "undefined");
    let blend = known("pixel blend", &JUDGED_DISTANCE);
    let top = highest(&distances, blend.unwrap_or(0.0));
    let top = blend.map_or(top, |blend| top.min(MAX_BLENDS * blend)).max(1e-3) * 1.05;
    let steps = of(steps, "images do not change");
    let longest = highest(&steps, 0.0);
    let mut rows = vec![
        GridRow {
            y: Axis::linear(-0.1 * top..top, 5, "kernel distance\nto real images"),
            ideal: level(known("test images", &JUDGED_DISTANCE)),
            panels: distances,
        },
        GridRow {
            y: Axis::linear(0.0..104.0, 4, "near a real\nimage, %"),
            ideal: level(known("test images", &JUDGED_PRECISION).map(|value| value * 100.0)),
            panels: of(precision, "undefined"),
        },
        GridRow {
            y: Axis::linear(0.0..(longest * 1.1).clamp(0.1, 1.0), 4, "one step, share\nof the way"),
            ideal: level(Some(1.0 / STEPS as f64)),
            panels: steps,
        },
    ];
    // On lines, purity means little: a line that turns from one class to another must pass through the classes between.
    let purity = of(purity, "no classes");
    if set.is_some() && purity.iter().any(|panel| panel.note.is_none()) {
        rows.push(GridRow {
            y: Axis::linear(0.0..104.0, 4, "class of\nan end, %"),
            ideal: Vec::new(),
            panels: purity,
        });
    }
    let columns = groups.iter().map(|group| group.label.clone()).zip(curve_styles(&groups)).collect();
    let examples = test_examples(set);
    let classes = if rows.len() > 3 {
        "; share of images that are called the class of an end with a probability above 0.9, with its 95 % interval"
    } else {
        ""
    };
    let caption = format!(
        "What a judge makes of the images along interpolations between two {examples}. From the top: kernel distance to real images, mean \
         over runs, with its 95 % interval (beyond twice that of a blend of pixels at the top); share of images in the neighbourhood of a \
         real one, with its 95 % interval over pairs (Wilson); one of 15 steps through the judge's features as a share of the way, \
         median and quartiles over pairs{classes}. Dashed: other test images; for steps, an even pace. Runs that differ in the seed \
         alone are taken together."
    );
    let x = Axis::numbered(0.0..1.0, &[0.0, 0.5, 1.0], "α, position between the two ends");
    let drawing = Multiples { what: "judged interpolations", x, columns, rows }.drawing()?;
    Ok(Some(Drawn { caption, drawing, shows: groups }))
}

/// Returns the interpolation coefficient α at a position.
fn alpha(position: usize) -> f64 {
    position as f64 / STEPS as f64
}

/// Returns the kernel distance with its 95 % interval at each position, as means over runs.
fn distances(scores: &[JudgeScores], _: Pairing) -> Vec<BandPoint> {
    let at = |position: usize| {
        let of = |of: fn(&KernelDistance) -> f64| {
            let values = scores.iter().map(|scores| of(&scores.judged.distances[position]));
            values.sum::<f64>() / scores.len() as f64
        };
        let (value, half) = (of(|distance| distance.value), NORMAL_QUANTILE * of(|distance| distance.error));
        BandPoint::new(alpha(position), [value - half, value, value + half])
    };
    (0..POSITIONS).map(at).filter(|point| point.values().iter().all(|v| v.is_finite())).collect()
}

/// Returns a share in percent with its 95 % Wilson interval, in which a pair that is measured in several runs (`times`)
/// counts once.
fn share(yes: usize, of: usize, times: usize) -> [f64; 3] {
    let share = yes as f64 / of.max(1) as f64;
    let Interval { low, high } =
        wilson_interval(share, (of / times).max(1)).unwrap_or(Interval { low: share, high: share });
    [low, share, high].map(|value| value * 100.0)
}

/// Returns the number of runs that each pair is measured in.
fn times(scores: &[JudgeScores], pairing: Pairing) -> usize {
    match pairing {
        Pairing::Shared => scores.len().max(1),
        Pairing::Own => 1,
    }
}

/// Returns the share of images near a real one at each position.
fn precision(scores: &[JudgeScores], pairing: Pairing) -> Vec<BandPoint> {
    let inside = || scores.iter().flat_map(|scores| &scores.judged.inside);
    let times = times(scores, pairing);
    let at = |i: usize| {
        BandPoint::new(alpha(i), share(inside().filter(|row| row[i]).count(), inside().count(), times))
    };
    (0..POSITIONS).map(at).collect()
}

/// Returns the quartiles of each step's share of the way, placed halfway between positions.
fn steps(scores: &[JudgeScores], _: Pairing) -> Vec<BandPoint> {
    let shares = |row: &[f32; STEPS]| {
        let whole: f32 = row.iter().sum();
        row.map(|step| f64::from(step / whole))
    };
    let ways: Vec<[f64; STEPS]> = scores.iter().flat_map(|scores| &scores.judged.steps).map(shares).collect();
    let ways: Vec<_> = ways.into_iter().filter(|way| way[0].is_finite()).collect();
    let at = |i: usize| {
        let halfway = (i as f64 + 0.5) / STEPS as f64;
        Some(BandPoint::new(halfway, quartiles(ways.iter().map(|way| way[i]))?))
    };
    (0..STEPS).filter_map(at).collect()
}

/// Returns the share of images that are clearly of the class of an end at each position; empty without labels.
fn purity(scores: &[JudgeScores], pairing: Pairing) -> Vec<BandPoint> {
    let labelled = || scores.iter().filter_map(|of| Some((of.judged.ends.as_ref()?, &of.judged)));
    let clear = |position: usize| {
        labelled().flat_map(move |(ends, judged)| {
            let images = judged.predicted.iter().zip(&judged.probabilities);
            ends.iter().zip(images).map(move |(ends, (words, probabilities))| {
                ends.contains(&words[position]) && probabilities[position] > PURITY_THRESHOLD
            })
        })
    };
    let times = times(scores, pairing);
    let at = |i: usize| {
        let all = clear(i).count();
        let yes = clear(i).filter(|yes| *yes).count();
        (all > 0).then(|| BandPoint::new(alpha(i), share(yes, all, times)))
    };
    (0..POSITIONS).filter_map(at).collect()
}

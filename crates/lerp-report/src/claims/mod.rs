//! Statistical tests of the paper's claims, and of the user's, on the runs of a sweep. In go the sweep and its paired
//! values; out come the claims that could be tested, each with its result, and those that could not ([`Claims`]).

mod file;

use std::collections::BTreeMap;

use lerp_eval::{
    Better, Interval, LineReference, Quantity, Sample, below_p, holm, lower_p, quantity::MEAN_DISTANCE,
    seeds_needed, student_quantile, welch_interval,
};
use lerp_files::printable;

use crate::{
    paper::published,
    reading::{Estimate, RunGroup, SizedImageSet, Sweep, dataset_of, title_of},
    statistics::{Pairs, Pooled, reference_scores},
    text::{fixed, names},
};
use file::{ClaimPlace, Test, of_the_paper};

pub use file::{Claim, own};

/// The significance level at which a claim is decided.
pub const ALPHA: f64 = 0.05;

/// The outcome of a claim's test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is supported.
    Supported,
    /// It is contradicted.
    Contradicted,
    /// It is neither.
    Undecided,
}

impl Decision {
    /// Returns the outcome as printed and as written to files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Contradicted => "contradicted",
            Self::Undecided => "undecided",
        }
    }
}

/// A claim with the result of its test on lines or on one image set.
pub struct TestedClaim<'a> {
    /// The claim.
    pub claim: &'a Claim,
    /// The image set; `None` for lines.
    pub set: Option<&'a SizedImageSet>,
    /// The name of what the variant is compared with; of several rivals, the one that is hardest to beat.
    pub against: String,
    /// The variant's mean minus the rival's, in the unit of files.
    pub difference: f64,
    /// The 95 % interval of the difference; `None` if the spread over seeds is not known.
    pub interval: Option<Interval>,
    /// The two-sided p-value at the boundary of the claim; `None` if a spread is not known.
    pub p: Option<f64>,
    /// The p-value corrected for the number of tests in the claim's family (Holm).
    pub corrected: Option<f64>,
    /// Whether the means agree with the claim, whatever their uncertainty.
    speaks_for: bool,
    /// The fewest seeds behind any of the compared means.
    pub seeds: usize,
    /// Variants that have no number here and without which the claim cannot be supported.
    missing: Vec<String>,
    /// The pairs of means that must be told apart, to estimate how many seeds that takes.
    sides: Vec<(Sample, Sample)>,
    /// The estimated number of seeds, or of variants for a correlation, that would decide the claim.
    pub needed: Option<u64>,
    /// Whether the test is a correlation over all image sets, which more variants rather than more seeds would decide.
    pub correlated: bool,
    /// The configurations that are compared.
    pub groups: Vec<&'a RunGroup>,
}

/// A configuration with its mean and spread over seeds.
#[derive(Clone, Copy)]
struct Compared<'a> {
    group: &'a RunGroup,
    sample: Sample,
}

impl<'a> TestedClaim<'a> {
    /// Returns a result without numbers, to which a test adds what it finds.
    fn empty(claim: &'a Claim, set: Option<&'a SizedImageSet>) -> Self {
        Self {
            claim,
            set,
            against: String::new(),
            difference: 0.0,
            interval: None,
            p: None,
            corrected: None,
            speaks_for: false,
            seeds: 0,
            missing: Vec::new(),
            sides: Vec::new(),
            needed: None,
            correlated: false,
            groups: Vec::new(),
        }
    }
}

impl TestedClaim<'_> {
    /// Returns the outcome at the level [`ALPHA`]. A claim is supported only if no variant is missing.
    pub fn decision(&self) -> Decision {
        match (self.corrected.is_some_and(|p| p < ALPHA), self.speaks_for) {
            (true, true) if self.missing.is_empty() => Decision::Supported,
            (true, false) => Decision::Contradicted,
            _ => Decision::Undecided,
        }
    }

    /// Returns what it would take to decide the claim, in words; empty if it is decided.
    pub fn what_it_takes(&self) -> String {
        if self.decision() != Decision::Undecided {
            return String::new();
        }
        if self.correlated {
            let needed = self.needed.map_or_else(
                || "more variants than can be told".into(),
                |needed| format!("about {needed} variants"),
            );
            let missing = (!self.missing.is_empty()).then(|| format!("a number of {}", names(&self.missing)));
            return missing.into_iter().chain([needed]).collect::<Vec<_>>().join("; ");
        }
        let missing = (self.speaks_for && !self.missing.is_empty())
            .then(|| format!("a number of {}", names(&self.missing)));
        let seeds = match self.needed {
            _ if self.corrected.is_some_and(|p| p < ALPHA) => None,
            _ if self.seeds < 2 => Some("seeds: at least 3".to_owned()),
            Some(seeds) => {
                let end = if self.speaks_for { "supported" } else { "contradicted" };
                Some(format!("about {seeds} seeds, to be {end}"))
            }
            None => Some("more seeds than can be told".to_owned()),
        };
        missing.into_iter().chain(seeds).collect::<Vec<_>>().join("; ")
    }

    /// Returns the dataset's name in files; `all` for a correlation over all image sets.
    pub fn dataset(&self) -> &str {
        if self.correlated { "all" } else { dataset_of(self.set) }
    }

    /// Returns the name of the dataset on which the claim was tested.
    pub fn on(&self) -> String {
        if self.correlated { "All image sets".into() } else { title_of(self.set) }
    }
}

/// Returns a configuration's mean and spread over the seeds in which the metric is defined, or `None` if there are
/// none.
pub fn sample(group: &RunGroup, metric: &Quantity) -> Option<Sample> {
    match group.estimate(metric) {
        Estimate::Known { mean, std, n } => Some(Sample { mean, std, n }),
        _ => None,
    }
}

/// Tests a claim on one dataset, on which `groups` are compared.
fn test<'a>(
    claim: &'a Claim,
    set: Option<&'a SizedImageSet>,
    groups: &[&'a RunGroup],
) -> std::result::Result<TestedClaim<'a>, &'static str> {
    let ours: Vec<&RunGroup> =
        groups.iter().copied().filter(|group| group.cell().variant == claim.variant).collect();
    let group = match ours[..] {
        [group] => group,
        [] => return Err("no run of its variant"),
        _ => return Err("several configurations of its variant"),
    };
    let sample = sample(group, &claim.metric).ok_or("no number of its variant")?;
    let ours = Compared { group, sample };
    match claim.test {
        Test::Best => best(claim, set, ours, groups),
        Test::Near { reference, within } => near(claim, set, ours, reference, within),
        Test::Together(_) => Err("it is about all image sets together"),
    }
}

/// Returns whether a claim's variant is compared with `variant`.
fn is_rival(claim: &Claim, variant: &String) -> bool {
    *variant != claim.variant && !claim.except.contains(variant)
}

/// Tests whether variants that do well by the claim's metric also do well by `with`, over all image sets together.
fn together<'a>(
    claim: &'a Claim,
    pairs: &[Pairs<'a>],
    with: &Quantity,
) -> std::result::Result<TestedClaim<'a>, &'static str> {
    let ours = |group: &RunGroup| !claim.papers || published().order.contains(&group.cell().variant);
    let all: Vec<Pairs> = pairs.iter().map(|pairs| pairs.only(ours)).collect();
    let Pooled { found, groups, sets: _ } = Pooled::of(&all, &claim.metric, with)
        .ok_or("no three variants have both numbers on every image set")?;
    let seeds = groups.iter().map(|group| group.done().count()).min().unwrap_or(0);
    let here = |variant: &String| groups.iter().any(|group| group.cell().variant == *variant);
    let absent = published().order.iter().zip(&published().titles).filter(|(variant, _)| !here(variant));
    let missing = absent.filter(|_| claim.papers).map(|(_, title)| title.clone()).collect();
    Ok(TestedClaim {
        against: format!("no rank correlation, over {} variants", found.points),
        difference: found.rho,
        interval: found.interval,
        p: Some(found.p),
        speaks_for: found.rho > 0.0,
        seeds,
        missing,
        needed: found.points_needed.map(|variants| variants as u64),
        correlated: true,
        groups,
        ..TestedClaim::empty(claim, None)
    })
}

/// Tests whether a configuration's mean is the best of all.
fn best<'a>(
    claim: &'a Claim,
    set: Option<&'a SizedImageSet>,
    ours: Compared<'a>,
    groups: &[&'a RunGroup],
) -> std::result::Result<TestedClaim<'a>, &'static str> {
    // Means are negated if higher is better, so that lower is always better below.
    let higher = claim.metric.better == Better::Higher;
    let a = ours.sample;
    let turned = |s: Sample| if higher { Sample { mean: -s.mean, ..s } } else { s };
    let others: Vec<&RunGroup> =
        groups.iter().copied().filter(|rival| is_rival(claim, &rival.cell().variant)).collect();
    let rival = |group: &&'a RunGroup| Some(Compared { group, sample: sample(group, &claim.metric)? });
    let rivals: Vec<Compared> = others.iter().filter_map(rival).collect();
    // A variant without a number might be better than the claim's.
    let mut missing: Vec<String> = others
        .iter()
        .filter(|rival| sample(rival, &claim.metric).is_none())
        .map(|rival| rival.label.clone())
        .collect();
    if claim.papers {
        let here = |variant: &String| groups.iter().any(|group| group.cell().variant == *variant);
        let all = published().order.iter().zip(&published().titles);
        let absent = all.filter(|(variant, _)| is_rival(claim, variant) && !here(variant));
        missing.extend(absent.map(|(_, title)| title.clone()));
    }
    let below = |rival: &Compared| lower_p(turned(a), turned(rival.sample));
    let speaks_for = rivals.iter().all(|rival| turned(a).mean < turned(rival.sample).mean);
    // To support the claim, all rivals must be worse, so the highest p-value counts. To contradict it, one better rival
    // is enough, so the p-value is multiplied by the number of rivals (Bonferroni).
    let known: Option<Vec<f64>> = rivals.iter().map(below).collect();
    let highest = known.as_ref().and_then(|known| known.iter().copied().reduce(f64::max));
    let p = highest.map(|p| if speaks_for { p } else { (1.0 - p) * rivals.len() as f64 });
    // The rival that is hardest to beat: by p-value if all are known, and by mean otherwise.
    let hard =
        |rival: &Compared| known.as_ref().and_then(|_| below(rival)).unwrap_or(-turned(rival.sample).mean);
    let hardest =
        rivals.iter().max_by(|x, y| hard(x).total_cmp(&hard(y))).ok_or("nothing to compare it with")?;
    let b = hardest.sample;
    let sides =
        if speaks_for { rivals.iter().map(|rival| (a, rival.sample)).collect() } else { vec![(a, b)] };
    Ok(TestedClaim {
        against: hardest.group.label.clone(),
        difference: a.mean - b.mean,
        interval: p.and_then(|_| welch_interval(a, b)),
        p: p.map(|p| (2.0 * p).min(1.0)),
        speaks_for,
        seeds: rivals.iter().map(|rival| rival.sample.n).fold(a.n, usize::min),
        missing,
        sides,
        groups: rivals.iter().map(|rival| rival.group).chain([ours.group]).collect(),
        ..TestedClaim::empty(claim, set)
    })
}

/// Tests whether a configuration's mean is within a relative tolerance of a reference interpolation.
fn near<'a>(
    claim: &'a Claim,
    set: Option<&'a SizedImageSet>,
    ours: Compared<'a>,
    reference: LineReference,
    within: f64,
) -> std::result::Result<TestedClaim<'a>, &'static str> {
    let a = ours.sample;
    let scores =
        reference_scores(reference).filter(|_| set.is_none()).ok_or("references are of lines alone")?;
    let value = if claim.metric == MEAN_DISTANCE { scores.distance } else { scores.smoothness };
    let (least, most) = (value * (1.0 - within), value * (1.0 + within));
    let speaks_for = (least..=most).contains(&a.mean);
    // Inside the tolerance, the mean must be told from both ends, and the higher p-value counts; outside, from the
    // nearer end.
    let outside =
        below_p(a, most).zip(below_p(a, least)).map(|(below, not_above)| below.max(1.0 - not_above));
    let p = outside.map(|p| if speaks_for { p } else { 1.0 - p });
    let unit = Unit::of(&claim.metric);
    let degrees = (a.n.max(2) - 1) as f64;
    let half = student_quantile(degrees) * a.std / degrees.sqrt();
    let difference = a.mean - value;
    let edge = Sample { mean: if a.mean > value { most } else { least }, std: 0.0, n: a.n };
    let allowance = fixed(within * value * unit.factor, unit.decimals);
    Ok(TestedClaim {
        against: format!("{} ± {allowance}{}", reference.title(), unit.name),
        difference,
        interval: p.map(|_| Interval { low: difference - half, high: difference + half }),
        p: p.map(|p| (2.0 * p).min(1.0)),
        speaks_for,
        seeds: a.n,
        sides: vec![(a, edge)],
        groups: vec![ours.group],
        ..TestedClaim::empty(claim, set)
    })
}

/// The claims of a report.
pub struct Claims<'a> {
    /// The claims that could be tested, on each dataset on which they were.
    pub tested: Vec<TestedClaim<'a>>,
    /// The claims that could not be tested anywhere, each with the reason.
    pub untested: Vec<String>,
}

impl<'a> Claims<'a> {
    /// Tests the paper's claims and the user's, `own`.
    pub fn test(sweep: &'a Sweep, pairs: &[Pairs<'a>], own: &'a [Claim]) -> Self {
        let is_papers = |group: &&RunGroup| published().order.contains(&group.cell().variant);
        let (mut tested, mut untested) = (Vec::new(), Vec::new());
        for claim in of_the_paper().iter().chain(own) {
            let (mut here, mut reason) = (Vec::new(), "no run on what it is about");
            if let Test::Together(with) = &claim.test {
                match together(claim, pairs, with) {
                    Ok(found) => here.push(found),
                    Err(why) => reason = why,
                }
            } else {
                for set in sweep.lines_and_image_sets() {
                    let elsewhere = if set.is_some() { ClaimPlace::Lines } else { ClaimPlace::ImageSets };
                    if claim.on == Some(elsewhere) {
                        continue;
                    }
                    let on_set: Vec<&RunGroup> =
                        sweep.on(set).filter(|group| !claim.papers || is_papers(group)).collect();
                    match test(claim, set, &on_set) {
                        Ok(tested) => here.push(tested),
                        Err(_) if on_set.is_empty() => {}
                        Err(why) => reason = why,
                    }
                }
            }
            if here.is_empty() {
                untested.push(format!("{} ({reason})", printable(&claim.says)));
            }
            tested.extend(here);
        }
        correct(&mut tested);
        Self { tested, untested }
    }
}

/// Corrects the p-values of each family, and estimates how many seeds would decide each claim.
fn correct(tested: &mut [TestedClaim]) {
    let mut families: BTreeMap<(bool, String), Vec<usize>> = BTreeMap::new();
    for (index, tested) in tested.iter().enumerate() {
        families.entry((tested.claim.papers, tested.claim.family.clone())).or_default().push(index);
    }
    for indices in families.values() {
        let known: Vec<usize> = indices.iter().copied().filter(|index| tested[*index].p.is_some()).collect();
        let p: Vec<f64> = known.iter().filter_map(|index| tested[*index].p).collect();
        for (index, p) in known.iter().zip(holm(&p)) {
            tested[*index].corrected = Some(p);
        }
        let seeded: Vec<usize> = indices.iter().copied().filter(|index| !tested[*index].correlated).collect();
        for index in &seeded {
            // Any one of several rivals can contradict a claim, which multiplies the number of chances.
            let chances = indices.len()
                * if tested[*index].speaks_for { 1 } else { tested[*index].groups.len() - 1 }.max(1);
            let seeds =
                tested[*index].sides.iter().map(|(a, b)| seeds_needed(*a, *b, ALPHA / chances as f64));
            let most: Option<Vec<u64>> = seeds.collect();
            // The present number of seeds did not decide the claim, so at least one more is needed.
            let more = tested[*index].seeds as u64 + 1;
            tested[*index].needed = most.and_then(|most| most.into_iter().max()).map(|seeds| seeds.max(more));
        }
    }
}

/// The unit in which a difference is printed.
pub struct Unit {
    /// The factor that the difference is multiplied by.
    pub factor: f64,
    /// The name, with a space before it unless it is empty.
    pub name: &'static str,
    /// The number of decimals.
    pub decimals: usize,
}

impl Unit {
    /// The unit of numbers without one.
    pub const PLAIN: Self = Self { factor: 1.0, name: "", decimals: 2 };

    /// Returns the unit of a metric.
    pub fn of(metric: &Quantity) -> Self {
        match metric {
            metric if *metric == MEAN_DISTANCE => Self { factor: 1e3, name: " ×10⁻³", decimals: 2 },
            metric if metric.key.ends_with("accuracy") => {
                Self { factor: 100.0, name: " points", decimals: 1 }
            }
            _ => Self::PLAIN,
        }
    }
}

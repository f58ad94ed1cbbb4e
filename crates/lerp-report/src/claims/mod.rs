//! Statistical tests of the paper's claims, and of the user's, on the runs of a sweep.

mod file;

use std::collections::BTreeMap;

use lerp_eval::{
    Better, LineReference, Quantity, Sample, below_p, holm, lower_p, quantity::MEAN_DISTANCE, seeds_needed,
    student_quantile, welch_interval,
};
use lerp_files::printable;
use polars::prelude::DataType;

use file::{Claim, ClaimPlace, Test, of_the_paper};

use crate::{
    Error,
    conditions::Selection,
    frame::{Frame, Value},
    provenance::{Provenance, command},
    published::published,
    references::references,
    set::Set,
    sheet::{Entry, Line, Part, Sheet},
    summary::{Estimate, Group, Sweep, distinct},
    text::{fixed, listed, names, number, signed, two_digits},
    usefulness::{Pairs, Pooled},
};

/// The significance level at which a claim is decided.
const ALPHA: f64 = 0.05;

/// The outcome of a claim's test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Supported,
    Contradicted,
    Undecided,
}

impl Word {
    fn name(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Contradicted => "contradicted",
            Self::Undecided => "undecided",
        }
    }
}

/// A claim with the result of its test in one place: on lines or on one image set.
struct Tested<'a> {
    claim: &'a Claim,
    /// The image set; `None` for lines.
    set: Option<&'a Set>,
    /// The name of what the variant is compared with; of several rivals, the one that is hardest to beat.
    against: String,
    /// The variant's mean minus the rival's, in the unit of files.
    difference: f64,
    /// The 95 % interval of the difference; `None` if the spread over seeds is not known.
    interval: Option<(f64, f64)>,
    /// The two-sided p-value at the boundary of the claim; `None` if a spread is not known.
    p: Option<f64>,
    /// The p-value corrected for the number of tests in the claim's family (Holm).
    corrected: Option<f64>,
    /// Whether the means agree with the claim, whatever their uncertainty.
    speaks_for: bool,
    /// The fewest seeds behind any of the compared means.
    seeds: usize,
    /// Variants that have no number here and without which the claim cannot be supported.
    missing: Vec<String>,
    /// The pairs of means that must be told apart, to estimate how many seeds that takes.
    sides: Vec<(Sample, Sample)>,
    /// The estimated number of seeds, or of variants for a correlation, that would decide the claim.
    needed: Option<u64>,
    /// Whether the test is a correlation over all image sets, which more variants rather than more seeds would decide.
    correlated: bool,
    /// The configurations that are compared.
    groups: Vec<&'a Group>,
}

/// A configuration with its mean and spread over seeds.
#[derive(Clone, Copy)]
struct Compared<'a> {
    group: &'a Group,
    sample: Sample,
}

impl<'a> Tested<'a> {
    /// Returns a result without numbers, to which a test adds what it finds.
    fn empty(claim: &'a Claim, set: Option<&'a Set>) -> Self {
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

impl Tested<'_> {
    /// Returns the outcome at the level [`ALPHA`]. A claim is supported only if no variant is missing.
    fn word(&self) -> Word {
        match (self.corrected.is_some_and(|p| p < ALPHA), self.speaks_for) {
            (true, true) if self.missing.is_empty() => Word::Supported,
            (true, false) => Word::Contradicted,
            _ => Word::Undecided,
        }
    }

    /// Returns what it would take to decide the claim, in words; empty if it is decided.
    fn takes(&self) -> String {
        if self.word() != Word::Undecided {
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
    fn dataset(&self) -> &str {
        if self.correlated { "all" } else { self.set.map_or("lines", |set| &set.dataset) }
    }

    /// Returns the name of the place where the claim was tested.
    fn on(&self) -> String {
        if self.correlated {
            return "All image sets".into();
        }
        self.set.map_or_else(|| "Lines".into(), Set::name)
    }
}

/// Returns a configuration's mean and spread over the seeds in which the metric is defined, or `None` if there are
/// none.
fn sample(group: &Group, metric: &Quantity) -> Option<Sample> {
    match group.estimate(metric) {
        Estimate::Known { mean, std, n } => Some(Sample { mean, std, n }),
        _ => None,
    }
}

/// Tests a claim in one place, where `groups` are compared.
///
/// # Errors
/// Returns the reason in words if the claim cannot be tested there.
fn test<'a>(
    claim: &'a Claim,
    set: Option<&'a Set>,
    groups: &[&'a Group],
) -> std::result::Result<Tested<'a>, &'static str> {
    let ours: Vec<&Group> =
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
        Test::Near { way, within } => near(claim, set, ours, way, within),
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
    sweep: &'a Sweep,
    with: &Quantity,
) -> std::result::Result<Tested<'a>, &'static str> {
    let ours = |group: &Group| !claim.papers || published().order.contains(&group.cell().variant);
    let all: Vec<Pairs> = Pairs::all(sweep).into_iter().map(|pairs| pairs.keep(ours)).collect();
    let Pooled { found, groups, sets: _ } = Pooled::of(&all, &claim.metric, with)
        .ok_or("no three variants have both numbers on every image set")?;
    let seeds = groups.iter().map(|group| group.done().count()).min().unwrap_or(0);
    let here = |variant: &String| groups.iter().any(|group| group.cell().variant == *variant);
    let absent = published().order.iter().zip(&published().titles).filter(|(variant, _)| !here(variant));
    let missing = absent.filter(|_| claim.papers).map(|(_, title)| title.clone()).collect();
    Ok(Tested {
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
        ..Tested::empty(claim, None)
    })
}

/// Tests whether a configuration's mean is the best of all.
fn best<'a>(
    claim: &'a Claim,
    set: Option<&'a Set>,
    ours: Compared<'a>,
    groups: &[&'a Group],
) -> std::result::Result<Tested<'a>, &'static str> {
    // Means are negated if higher is better, so that lower is always better below.
    let higher = claim.metric.better == Better::Higher;
    let a = ours.sample;
    let turned = |s: Sample| if higher { Sample { mean: -s.mean, ..s } } else { s };
    let others: Vec<&Group> =
        groups.iter().copied().filter(|rival| is_rival(claim, &rival.cell().variant)).collect();
    let rival = |group: &&'a Group| Some(Compared { group, sample: sample(group, &claim.metric)? });
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
    Ok(Tested {
        against: hardest.group.label.clone(),
        difference: a.mean - b.mean,
        interval: p.and_then(|_| welch_interval(a, b)),
        p: p.map(|p| (2.0 * p).min(1.0)),
        speaks_for,
        seeds: rivals.iter().map(|rival| rival.sample.n).fold(a.n, usize::min),
        missing,
        sides,
        groups: rivals.iter().map(|rival| rival.group).chain([ours.group]).collect(),
        ..Tested::empty(claim, set)
    })
}

/// Tests whether a configuration's mean is within a relative tolerance of a reference interpolation.
fn near<'a>(
    claim: &'a Claim,
    set: Option<&'a Set>,
    ours: Compared<'a>,
    way: LineReference,
    within: f64,
) -> std::result::Result<Tested<'a>, &'static str> {
    let a = ours.sample;
    let scores = references().iter().find(|(known, _)| *known == way).map(|(_, scores)| scores);
    let scores = scores.filter(|_| set.is_none()).ok_or("references are of lines alone")?;
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
    Ok(Tested {
        against: format!("{} ± {allowance}{}", way.title(), unit.name),
        difference,
        interval: p.map(|_| (difference - half, difference + half)),
        p: p.map(|p| (2.0 * p).min(1.0)),
        speaks_for,
        seeds: a.n,
        sides: vec![(a, edge)],
        groups: vec![ours.group],
        ..Tested::empty(claim, set)
    })
}

/// Returns the sheet of claims, or `None` if none can be tested, and the error if the user's claims cannot be read.
pub fn sheet(sweep: &Sweep) -> (Option<Sheet>, Option<Error>) {
    let (own, problem) = match file::own(&sweep.dir) {
        Ok(own) => (own, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    (of(sweep, &own), problem)
}

/// Tests the paper's claims and the user's, `own`, and returns their sheet.
fn of(sweep: &Sweep, own: &[Claim]) -> Option<Sheet> {
    let paper: Vec<&Group> =
        sweep.groups.iter().filter(|group| published().order.contains(&group.cell().variant)).collect();
    let all: Vec<&Group> = sweep.groups.iter().collect();
    let mut tested: Vec<Tested> = Vec::new();
    let mut untested: Vec<String> = Vec::new();
    let sets = sweep.sets();
    for claim in of_the_paper().iter().chain(own) {
        let groups = if claim.papers { &paper } else { &all };
        let lines = (claim.on != Some(ClaimPlace::ImageSets)).then_some(None);
        let images = sets.iter().filter(|_| claim.on != Some(ClaimPlace::Lines)).map(|set| Some(*set));
        let (mut here, mut reason) = (Vec::new(), "no run on what it is about");
        if let Test::Together(with) = &claim.test {
            match together(claim, sweep, with) {
                Ok(found) => tested.push(found),
                Err(why) => untested.push(format!("{} ({why})", printable(&claim.says))),
            }
            continue;
        }
        for set in lines.into_iter().chain(images) {
            let in_place: Vec<&Group> =
                groups.iter().copied().filter(|group| group.set.as_ref() == set).collect();
            match test(claim, set, &in_place) {
                Ok(tested) => here.push(tested),
                Err(_) if in_place.is_empty() => {}
                Err(why) => reason = why,
            }
        }
        if here.is_empty() {
            untested.push(format!("{} ({reason})", printable(&claim.says)));
        }
        tested.extend(here);
    }
    if tested.is_empty() {
        return None;
    }
    correct(&mut tested);
    let groups = distinct(tested.iter().flat_map(|tested| tested.groups.iter().copied()));
    let provenance = Provenance::of(&groups, &command(&sweep.dir, None));
    let data = data(&tested, &provenance);
    let headings = ["Claim", "These runs", "It takes", "Where", "On", "Against", "Difference", "p", "Seeds"];
    let part = Part {
        name: "Claims".into(),
        caption: caption(),
        conditions: Selection { groups }.all_conditions(),
        label: "tab:claims",
        wide: true,
        headings: headings.map(String::from).to_vec(),
        left: 6,
        lines: tested.iter().map(line).collect(),
        folded: Vec::new(),
        notes: notes(&tested, &untested),
        provenance: provenance.line(),
    };
    Some(Sheet { id: "claims", title: "Claims", parts: vec![part], data })
}

/// Corrects the p-values of each family, and estimates how many seeds would decide each claim.
fn correct(tested: &mut [Tested]) {
    let mut families: BTreeMap<(bool, String), Vec<usize>> = BTreeMap::new();
    for (place, tested) in tested.iter().enumerate() {
        families.entry((tested.claim.papers, tested.claim.family.clone())).or_default().push(place);
    }
    for places in families.values() {
        let known: Vec<usize> = places.iter().copied().filter(|place| tested[*place].p.is_some()).collect();
        let p: Vec<f64> = known.iter().filter_map(|place| tested[*place].p).collect();
        for (place, p) in known.iter().zip(holm(&p)) {
            tested[*place].corrected = Some(p);
        }
        let seeded: Vec<usize> = places.iter().copied().filter(|place| !tested[*place].correlated).collect();
        for place in &seeded {
            // Any one of several rivals can contradict a claim, which multiplies the number of chances.
            let chances = places.len()
                * if tested[*place].speaks_for { 1 } else { tested[*place].groups.len() - 1 }.max(1);
            let seeds =
                tested[*place].sides.iter().map(|(a, b)| seeds_needed(*a, *b, ALPHA / chances as f64));
            let most: Option<Vec<u64>> = seeds.collect();
            // The present number of seeds did not decide the claim, so at least one more is needed.
            let more = tested[*place].seeds as u64 + 1;
            tested[*place].needed = most.and_then(|most| most.into_iter().max()).map(|seeds| seeds.max(more));
        }
    }
}

/// The unit in which a difference is printed.
struct Unit {
    /// The factor that the difference is multiplied by.
    factor: f64,
    /// The name, with a space before it unless it is empty.
    name: &'static str,
    decimals: usize,
}

impl Unit {
    /// The unit of numbers without one.
    const PLAIN: Self = Self { factor: 1.0, name: "", decimals: 2 };

    /// Returns the unit of a metric.
    fn of(metric: &Quantity) -> Self {
        match metric {
            metric if *metric == MEAN_DISTANCE => Self { factor: 1e3, name: " ×10⁻³", decimals: 2 },
            metric if metric.key.ends_with("accuracy") => {
                Self { factor: 100.0, name: " points", decimals: 1 }
            }
            _ => Self::PLAIN,
        }
    }
}

fn line(tested: &Tested) -> Line {
    let Unit { factor, name: unit, decimals } =
        if tested.correlated { Unit::PLAIN } else { Unit::of(&tested.claim.metric) };
    let signed = |v: f64| signed(&fixed(v * factor, decimals));
    let interval = tested.interval.map(|(low, high)| format!(" [{}, {}]", signed(low), signed(high)));
    let word = tested.word();
    let p = tested
        .corrected
        .map_or_else(|| "–".to_owned(), |p| if p < 0.001 { "< 0.001".into() } else { number(two_digits(p)) });
    let cells = vec![
        Entry::plain(printable(&tested.claim.says)),
        Entry { best: word != Word::Undecided, ..Entry::plain(word.name()) },
        Entry::plain(tested.takes()),
        Entry::plain(printable(&tested.claim.place)),
        Entry::plain(tested.on()),
        Entry::plain(tested.against.clone()),
        Entry::number(
            format!("{}{}{unit}", signed(tested.difference), interval.unwrap_or_default()),
            tested.difference * factor,
        ),
        Entry::number(p, tested.corrected),
        Entry::number(tested.seeds.to_string(), tested.seeds as f64),
    ];
    Line { cells, first: false }
}

fn caption() -> String {
    format!(
        "Claims, tested on these runs, after their training. Difference: the variant's mean over seeds minus that of what it is \
         compared with (of several, what is hardest to be better than), with its 95 % interval by Student's t (Welch). p: \
         two-sided, corrected within a family of claims (Holm); for a claim of being within a reference ± an allowance, p is that \
         of being inside or outside; for a claim that two things go together, the difference is Spearman's rank correlation of the variants' mean ranks over \
         all image sets, and p that of a permutation test: it counts variants, not seeds, and one seed of each will do. supported, contradicted: p is below {ALPHA}; undecided: it is not, there is one seed, or a \
         variant is missing. It takes: about so many seeds of each to decide, four times in five, if means and spreads are what \
         they seem."
    )
}

/// Returns the notes under the table.
fn notes(tested: &[Tested], untested: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if tested.iter().any(|tested| tested.claim.papers) {
        notes.push(
            "The paper's claims are put in our words, and allowances are ours; places in the paper are given from memory and not yet \
             checked against its PDF. One that is contradicted here may hold after the paper's training."
                .to_owned(),
        );
    }
    let mut undefined: Vec<String> = Vec::new();
    for (tested, group) in tested.iter().flat_map(|tested| tested.groups.iter().map(move |g| (tested, *g))) {
        let metric = &tested.claim.metric;
        let (done, known) = (group.done().count(), sample(group, metric).map_or(0, |sample| sample.n));
        if known < done {
            let sentence = format!(
                "{}: {} is undefined in {} of {done} runs.",
                group.name(),
                metric.title,
                done - known
            );
            if !undefined.contains(&sentence) {
                undefined.push(sentence);
            }
        }
    }
    notes.extend(undefined);
    if !untested.is_empty() {
        notes.push(format!("Not tested here: {}.", listed(untested, 10, "; ")));
    }
    notes
}

fn data(tested: &[Tested], provenance: &Provenance) -> Frame {
    let mut frame = Frame::new(&[
        ("claim", DataType::String),
        ("says", DataType::String),
        ("place", DataType::String),
        ("family", DataType::String),
        ("papers", DataType::Boolean),
        ("dataset", DataType::String),
        ("latent_dims", DataType::Int64),
        ("metric", DataType::String),
        ("variant", DataType::String),
        ("against", DataType::String),
        ("difference", DataType::Float64),
        ("low", DataType::Float64),
        ("high", DataType::Float64),
        ("p", DataType::Float64),
        ("p_corrected", DataType::Float64),
        ("seeds", DataType::Int64),
        ("verdict", DataType::String),
        ("seeds_needed", DataType::Int64),
    ]);
    for tested in tested {
        let row: Vec<(&'static str, Value)> = vec![
            ("claim", printable(&tested.claim.id).into_owned().into()),
            ("says", printable(&tested.claim.says).into_owned().into()),
            ("place", printable(&tested.claim.place).into_owned().into()),
            ("family", printable(&tested.claim.family).into_owned().into()),
            ("papers", tested.claim.papers.into()),
            ("dataset", tested.dataset().into()),
            ("latent_dims", tested.set.map(|set| set.dims).into()),
            ("metric", tested.claim.metric.name().into()),
            ("variant", printable(&tested.claim.variant).into_owned().into()),
            ("against", tested.against.clone().into()),
            ("difference", tested.difference.into()),
            ("low", tested.interval.map(|(low, _)| low).into()),
            ("high", tested.interval.map(|(_, high)| high).into()),
            ("p", tested.p.into()),
            ("p_corrected", tested.corrected.into()),
            ("seeds", tested.seeds.into()),
            ("verdict", tested.word().name().into()),
            ("seeds_needed", tested.needed.into()),
        ];
        frame.push(row, Some(provenance));
    }
    frame
}

//! What the paper claims, tested on the runs of a sweep.

use std::{collections::BTreeMap, path::Path, sync::OnceLock};

use lerp_eval::{
    Better, Quantity, Sample, Way, below_p, holm, lower_p, quantities,
    quantity::{MEAN_DISTANCE, MEAN_SMOOTHNESS},
    seeds_to_tell, student_quantile, welch_interval,
};
use lerp_files::printable;
use polars::prelude::DataType;
use serde::Deserialize;

use crate::{
    Error, Result,
    conditions::Selection,
    frame::{Frame, Value},
    provenance::{Provenance, command},
    published::published,
    references::references,
    set::Set,
    sheet::{Entry, Line, Part, Sheet},
    summary::{Estimate, Group, Sweep},
    text::{fixed, listed, number, two_digits},
};

/// Claims of one's own, in a sweep's folder.
const OWN: &str = "claims.toml";

/// Most bytes of them.
const MOST: u64 = 1 << 20;

/// The level at which a claim is decided.
const ALPHA: f64 = 0.05;

/// A file of claims.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    claim: Vec<Claim>,
}

/// A claim, and the test of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Claim {
    /// Its name.
    id: String,
    /// What is claimed, in a sentence without its end.
    says: String,
    /// Where.
    #[serde(default)]
    place: String,
    /// The claims that it is corrected together with.
    family: String,
    /// The metric's key in files.
    metric: String,
    /// The variant that it is about.
    variant: String,
    /// Where it is tested; everywhere where nothing is said.
    on: Option<Place>,
    #[serde(flatten)]
    test: Test,
}

/// Where a claim is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Place {
    Lines,
    ImageSets,
}

/// How a claim is tested.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "test", rename_all = "lowercase")]
enum Test {
    /// The variant has the best mean.
    Best,
    /// The variant's mean is near a reference on lines.
    Near {
        /// The reference's name.
        reference: String,
        /// How far it may be, as a share of the reference.
        within: f64,
    },
}

/// What became of a claim.
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

/// A claim, tested in one place.
struct Tested<'a> {
    claim: &'a Claim,
    /// The image set; none on lines.
    set: Option<&'a Set>,
    metric: Quantity,
    /// What the variant is compared with: of several, what decides.
    against: String,
    /// The variant's mean minus that, and its 95 % interval if there is one; as in files.
    difference: f64,
    interval: Option<(f64, f64)>,
    /// Two-sided; none where no side has a spread.
    p: Option<f64>,
    /// Whether what was found speaks for the claim.
    speaks_for: bool,
    /// The fewest seeds behind one of the means.
    seeds: usize,
    /// Corrected for the family, when all of it is tested.
    corrected: Option<f64>,
    /// The seeds that would decide, at the family's level.
    needed: Option<u64>,
    /// The two sides, to say how many seeds would decide.
    sides: (Sample, Sample),
    groups: Vec<&'a Group>,
}

impl Tested<'_> {
    fn word(&self) -> Word {
        match (self.corrected.is_some_and(|p| p < ALPHA), self.speaks_for) {
            (true, true) => Word::Supported,
            (true, false) => Word::Contradicted,
            (false, _) => Word::Undecided,
        }
    }

    /// What it would take to decide.
    fn takes(&self) -> String {
        match (self.word(), self.needed) {
            (Word::Undecided, Some(seeds)) if seeds <= 1000 => {
                let end = if self.speaks_for { "supported" } else { "contradicted" };
                format!("{seeds} seeds, to be {end} if means and spreads stay")
            }
            (Word::Undecided, Some(_)) => "more than 1,000 seeds, if means and spreads stay".into(),
            (Word::Undecided, None) => "at least 3 seeds".into(),
            _ => String::new(),
        }
    }

    /// Where it was tested.
    fn on(&self) -> String {
        self.set.map_or_else(|| "Lines".into(), Set::name)
    }
}

/// The paper's claims.
///
/// # Panics
/// If the file in this crate is not of its form, which a test excludes.
#[allow(clippy::expect_used)]
fn of_the_paper() -> &'static [Claim] {
    static ONCE: OnceLock<Vec<Claim>> = OnceLock::new();
    ONCE.get_or_init(|| read(include_str!("claims.toml")).expect("claims.toml is of its form"))
}

/// The claims of a file, checked.
fn read(text: &str) -> std::result::Result<Vec<Claim>, String> {
    let file: File = toml::from_str(text).map_err(|e| e.message().trim().replace('\n', "; "))?;
    for claim in &file.claim {
        let known = quantities().any(|quantity| quantity.key == claim.metric);
        if !known {
            return Err(format!(
                "the claim '{}' is about '{}', which nobody measures",
                claim.id, claim.metric
            ));
        }
        if let Test::Near { reference, within } = &claim.test {
            if !Way::ALL.iter().any(|way| way.name() == reference) {
                let all = Way::ALL.map(Way::name).join(", ");
                return Err(format!(
                    "the claim '{}' has no reference '{reference}'; there are: {all}",
                    claim.id
                ));
            }
            if !(*within > 0.0 && within.is_finite()) {
                return Err(format!("the claim '{}' needs 'within' above 0", claim.id));
            }
            let on_lines = [&MEAN_DISTANCE, &MEAN_SMOOTHNESS].iter().any(|of| of.key == claim.metric);
            if !on_lines {
                return Err(format!(
                    "the claim '{}' compares '{}' with a reference; only {} and {} have some",
                    claim.id, claim.metric, MEAN_DISTANCE.key, MEAN_SMOOTHNESS.key
                ));
            }
        }
    }
    Ok(file.claim)
}

/// The claims of one's own in the folder of a sweep.
fn own(dir: &Path) -> Result<Vec<Claim>> {
    let path = dir.join(OWN);
    let text = match lerp_files::read_to_string(&path, MOST) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        text => text?,
    };
    read(&text).map_err(|problem| Error::BadClaims { path, problem })
}

/// A configuration's mean over its seeds, where the metric is defined.
fn sample(group: &Group, metric: &Quantity) -> Option<Sample> {
    match group.estimate(metric) {
        Estimate::Known { mean, std, n } => Some(Sample { mean, std, n }),
        _ => None,
    }
}

/// A claim in one place, among the configurations there that are compared; none if the variant or what it is compared with is
/// not there.
fn test<'a>(claim: &'a Claim, set: Option<&'a Set>, groups: &[&'a Group]) -> Option<Tested<'a>> {
    let metric = quantities().find(|quantity| quantity.key == claim.metric)?.clone();
    let ours: Vec<&Group> =
        groups.iter().copied().filter(|group| group.cell().variant == claim.variant).collect();
    // Of several configurations nobody knows which is meant.
    let [group] = ours[..] else { return None };
    let a = sample(group, &metric)?;
    let base = |against: String, b: Sample, groups: Vec<&'a Group>| Tested {
        claim,
        set,
        against,
        difference: a.mean - b.mean,
        interval: welch_interval(a, b),
        p: None,
        speaks_for: false,
        seeds: a.n.min(b.n),
        corrected: None,
        needed: None,
        sides: (a, b),
        groups,
        metric: metric.clone(),
    };
    match &claim.test {
        Test::Best => {
            // The lower the better.
            let turned =
                |s: Sample| if metric.better == Better::Higher { Sample { mean: -s.mean, ..s } } else { s };
            let rivals: Vec<(&Group, Sample)> = groups
                .iter()
                .filter(|rival| rival.cell().variant != claim.variant)
                .filter_map(|rival| Some((*rival, sample(rival, &metric)?)))
                .collect();
            // What is hardest to be better than: the rival of the highest probability, or of the best mean.
            let p = |rival: &Sample| lower_p(turned(a), turned(*rival), 0.0);
            let hardest = |x: &&(&'a Group, Sample), y: &&(&'a Group, Sample)| match (p(&x.1), p(&y.1)) {
                (Some(x), Some(y)) => x.total_cmp(&y),
                _ => turned(y.1).mean.total_cmp(&turned(x.1).mean),
            };
            let (rival, b) = *rivals.iter().max_by(hardest)?;
            let shown = rivals.iter().map(|(rival, _)| *rival).chain([group]).collect();
            let mut tested = base(rival.label.clone(), b, shown);
            tested.speaks_for = turned(a).mean < turned(b).mean;
            // All must be worse, so the highest probability counts; or one of them is better, which is as many chances.
            let against = rivals.iter().filter_map(|(_, b)| lower_p(turned(*b), turned(a), 0.0));
            let against =
                against.fold(None, |least: Option<f64>, p| Some(least.map_or(p, |least| least.min(p))));
            tested.p = if tested.speaks_for { p(&b) } else { against.map(|p| p * rivals.len() as f64) }
                .map(|p| (2.0 * p).min(1.0));
            Some(tested)
        }
        Test::Near { reference, within } => {
            let (way, scores) = references().iter().find(|(way, _)| way.name() == reference)?;
            let value = if metric == MEAN_DISTANCE { scores.distance } else { scores.smoothness };
            let b = Sample { mean: value, std: 0.0, n: usize::MAX };
            let mut tested = base(way.title().to_owned(), b, vec![group]);
            let allowed = within * value;
            let inside = (a.mean - value).abs() <= allowed;
            tested.seeds = a.n;
            tested.speaks_for = inside;
            // Inside, both ends must be left behind; outside, the nearer one.
            let below = below_p(a, value + allowed);
            let above = below_p(Sample { mean: -a.mean, ..a }, -(value - allowed));
            tested.p = below.zip(above).map(|(below, above)| {
                let p = if inside { below.max(above) } else { 1.0 - below.max(above) };
                (2.0 * p).min(1.0)
            });
            // The interval of the mean alone: the reference is known.
            tested.interval = below.is_some().then(|| {
                let degrees = (a.n - 1) as f64;
                let error = a.std / degrees.sqrt();
                let half = student_quantile(degrees) * error;
                (tested.difference - half, tested.difference + half)
            });
            // What must be told apart is the mean and the nearer end.
            let edge = if a.mean > value { value + allowed } else { value - allowed };
            tested.sides = (a, Sample { mean: edge, std: 0.0, n: a.n });
            Some(tested)
        }
    }
}

/// The claims' sheet: none where nothing can be tested. Claims of one's own that cannot be read are an error.
///
/// # Errors
/// If `claims.toml` in the sweep's folder is not of the form.
pub fn sheet(sweep: &Sweep) -> Result<Option<Sheet>> {
    let own = own(&sweep.dir)?;
    let paper: Vec<&Group> =
        sweep.groups.iter().filter(|group| published().order.contains(&group.cell().variant)).collect();
    let all: Vec<&Group> = sweep.groups.iter().collect();
    let mut tested: Vec<Tested> = Vec::new();
    let mut untested: Vec<String> = Vec::new();
    let sets = sweep.sets();
    for (claims, groups) in [(of_the_paper(), &paper), (&own[..], &all)] {
        for claim in claims {
            let before = tested.len();
            let lines = (claim.on != Some(Place::ImageSets)).then_some(None);
            let images = sets.iter().filter(|_| claim.on != Some(Place::Lines)).map(|set| Some(*set));
            for set in lines.into_iter().chain(images) {
                let here: Vec<&Group> =
                    groups.iter().copied().filter(|group| group.set.as_ref() == set).collect();
                tested.extend(test(claim, set, &here));
            }
            if tested.len() == before {
                untested.push(printable(&claim.says).into_owned());
            }
        }
    }
    if tested.is_empty() {
        return Ok(None);
    }
    correct(&mut tested);
    let mut groups: Vec<&Group> = Vec::new();
    for group in tested.iter().flat_map(|tested| &tested.groups) {
        if !groups.iter().any(|known| std::ptr::eq(*known, *group)) {
            groups.push(group);
        }
    }
    let provenance = Provenance::of(&groups, &command(&sweep.dir, None));
    let data = data(&tested, &provenance);
    let headings =
        ["Claim", "These runs", "On", "Against", "Difference", "p", "Seeds", "It takes", "In the paper"];
    let part = Part {
        name: "Claims".into(),
        caption: caption(),
        conditions: Selection { groups }.all_conditions(),
        label: "tab:claims",
        wide: true,
        headings: headings.map(String::from).to_vec(),
        left: 4,
        lines: tested.iter().map(line).collect(),
        folded: Vec::new(),
        notes: notes(&untested),
        provenance: provenance.line(),
    };
    Ok(Some(Sheet { id: "claims", title: "Claims", parts: vec![part], data }))
}

/// Corrects the p-values of each family, and says how many seeds would decide.
fn correct(tested: &mut [Tested]) {
    let mut families: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, tested) in tested.iter().enumerate() {
        families.entry(tested.claim.family.clone()).or_default().push(place);
    }
    for places in families.values() {
        let known: Vec<usize> = places.iter().copied().filter(|place| tested[*place].p.is_some()).collect();
        let p: Vec<f64> = known.iter().filter_map(|place| tested[*place].p).collect();
        for (place, p) in known.iter().zip(holm(&p)) {
            tested[*place].corrected = Some(p);
        }
        for place in places {
            let (a, b) = tested[*place].sides;
            tested[*place].needed = seeds_to_tell(a, b, ALPHA / places.len() as f64);
        }
    }
}

/// What a difference is multiplied by to be printed, and its unit.
fn unit(metric: &Quantity) -> (f64, &'static str, usize) {
    match metric {
        metric if *metric == MEAN_DISTANCE => (1e3, " ×10⁻³", 2),
        metric if metric.key.ends_with("accuracy") => (100.0, " points", 1),
        _ => (1.0, "", 2),
    }
}

fn line(tested: &Tested) -> Line {
    let (factor, unit, decimals) = unit(&tested.metric);
    let signed =
        |v: f64| format!("{}{}", if v >= 0.0 { "+" } else { "−" }, fixed((v * factor).abs(), decimals));
    let interval = tested.interval.map(|(low, high)| format!(" [{}, {}]", signed(low), signed(high)));
    let word = tested.word();
    let p = tested
        .corrected
        .map_or_else(|| "–".to_owned(), |p| if p < 0.001 { "< 0.001".into() } else { number(two_digits(p)) });
    let cells = vec![
        Entry::plain(printable(&tested.claim.says)),
        Entry { best: word != Word::Undecided, ..Entry::plain(word.name()) },
        Entry::plain(tested.on()),
        Entry::plain(tested.against.clone()),
        Entry::number(
            format!("{}{}{unit}", signed(tested.difference), interval.unwrap_or_default()),
            tested.difference * factor,
        ),
        Entry::number(p, tested.corrected),
        Entry::number(tested.seeds.to_string(), tested.seeds as f64),
        Entry::plain(tested.takes()),
        Entry::plain(printable(&tested.claim.place)),
    ];
    Line { cells, first: false }
}

fn caption() -> String {
    format!(
        "What the paper says, tested on these runs, after their training. Difference: the variant's mean minus that of what it is \
         compared with (of several, what is hardest to be better than), with its 95 % interval by Welch's t over seeds. p: \
         two-sided, corrected within a family of claims (Holm). supported, contradicted: p is below {ALPHA}; undecided: it is \
         not, or there is one seed. A claim that is contradicted here may hold after the paper's training."
    )
}

/// What stands under the table.
fn notes(untested: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if !untested.is_empty() {
        notes.push(format!("Not tested, for no runs are here that could: {}.", listed(untested, 10, "; ")));
    }
    notes
}

fn data(tested: &[Tested], provenance: &Provenance) -> Frame {
    let mut frame = Frame::new(&[
        ("claim", DataType::String),
        ("says", DataType::String),
        ("place", DataType::String),
        ("family", DataType::String),
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
            ("dataset", tested.set.map_or("lines", |set| &set.dataset).into()),
            ("latent_dims", tested.set.map(|set| set.dims).into()),
            ("metric", tested.metric.name().into()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_claims_are_of_their_form() {
        let claims = of_the_paper();
        assert!(claims.len() >= 5);
        let mut ids: Vec<&str> = claims.iter().map(|claim| claim.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), claims.len());
        assert!(claims.iter().all(|claim| published().order.contains(&claim.variant)));
    }

    #[test]
    fn claims_that_cannot_be_tested_are_named() {
        let claim = |more: &str| {
            let text = format!("[[claim]]\nid = 'x'\nsays = 'x'\nfamily = 'f'\nvariant = 'mine'\n{more}");
            read(&text).unwrap_err()
        };
        for (more, wanted) in [
            ("test = 'best'\nmetric = 'eval/beauty'", "is about 'eval/beauty', which nobody measures"),
            ("test = 'worst'\nmetric = 'eval/mean_distance'", "worst"),
            ("test = 'best'", "metric"),
            (
                "test = 'near'\nmetric = 'eval/mean_distance'\nreference = 'square'\nwithin = 1.0",
                "has no reference 'square'; there are: blend, circle, path",
            ),
            ("test = 'near'\nmetric = 'eval/mean_distance'\nreference = 'blend'\nwithin = 0.0", "within"),
            (
                "test = 'near'\nmetric = 'eval/detour'\nreference = 'blend'\nwithin = 0.1",
                "only eval/mean_distance",
            ),
        ] {
            assert!(claim(more).contains(wanted), "{}", claim(more));
        }
    }
}

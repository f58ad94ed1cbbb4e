//! The table of claims: what the tests of [`crate::claims`] found.

use lerp_eval::Interval;
use lerp_files::printable;

use super::{
    columns,
    frame::{Frame, FrameRow, Value},
    sheet::{Entry, Sheet, Table, TableLine},
};
use crate::{
    Error,
    claims::{self, ALPHA, Claims, Decision, TestedClaim, Unit, sample},
    provenance::ReportProvenance,
    reading::distinct,
    statistics::Analysis,
    text::{listed, p_value, signed, unique},
};

/// Returns the sheet of claims, or `None` if none can be tested, and the error if the user's claims cannot be read.
pub fn sheet(analysis: &Analysis) -> (Option<Sheet>, Option<Error>) {
    let (own, problem) = match claims::own(&analysis.sweep.dir) {
        Ok(own) => (own, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let Claims { tested, untested } = Claims::test(analysis.sweep, &analysis.pairs, &own);
    if tested.is_empty() {
        return (None, problem);
    }
    let groups = distinct(tested.iter().flat_map(|tested| tested.groups.iter().copied()));
    let provenance = analysis.sweep.provenance(&groups);
    let data = data(&tested, &provenance);
    let headings = ["Claim", "These runs", "Needed", "Where", "On", "Against", "Difference", "p", "Seeds"];
    let table = Table {
        name: "Claims".into(),
        caption: caption(),
        label: "tab:claims".into(),
        headings: headings.map(String::from).to_vec(),
        left: 6,
        lines: tested.iter().map(line).collect(),
        notes: notes(&tested, &untested),
        ..Table::about(analysis.sweep, &groups)
    };
    (Some(Sheet { id: "claims", title: "Claims", tables: vec![table], data }), problem)
}

fn line(tested: &TestedClaim) -> TableLine {
    let Unit { factor, name: unit, decimals } =
        if tested.correlated { Unit::PLAIN } else { Unit::of(&tested.claim.metric) };
    let signed = |v: f64| signed(v * factor, decimals);
    let interval =
        tested.interval.map(|Interval { low, high }| format!(" [{}, {}]", signed(low), signed(high)));
    let decision = tested.decision();
    let p = tested.corrected.map_or_else(|| "–".to_owned(), p_value);
    vec![
        Entry::plain(printable(&tested.claim.says)),
        Entry { best: decision != Decision::Undecided, ..Entry::plain(decision.name()) },
        Entry::plain(tested.what_it_takes()),
        Entry::plain(printable(&tested.claim.place)),
        Entry::plain(tested.on()),
        Entry::plain(tested.against.clone()),
        Entry::number(
            format!("{}{}{unit}", signed(tested.difference), interval.unwrap_or_default()),
            tested.difference * factor,
        ),
        Entry::number(p, tested.corrected),
        Entry::number(tested.seeds.to_string(), tested.seeds as f64),
    ]
    .into()
}

fn caption() -> String {
    format!(
        "Claims, tested on these runs. Difference: the variant's mean over seeds minus that of the rival that is hardest to tell \
         from it (the highest p), or minus the reference, with a 95 % interval by Student's t (Welch's for two means). For a claim \
         that two metrics go together, it is Spearman's rank correlation of the variants' mean ranks over all image sets, with a \
         permutation test, and from ten variants on a bootstrap interval; it counts variants, not seeds, so one seed of each \
         suffices. p is two-sided and corrected within a family of claims (Holm); for a claim of being within a reference ± an \
         allowance, it is that of being inside or outside. A claim is supported or contradicted if p is below {ALPHA}, and \
         otherwise undecided; it is not supported while a variant is missing. Without several seeds there is no p. Needed: about \
         how many seeds (or variants) decide in four of five cases, if these means and spreads are the true ones."
    )
}

/// Returns the notes under the table.
fn notes(tested: &[TestedClaim], untested: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if tested.iter().any(|tested| tested.claim.papers) {
        notes.push(
            "The paper's claims are put in our words, and allowances are ours; places in the paper are given from memory and not yet \
             checked against its PDF. One that is contradicted here may hold after the paper's training."
                .to_owned(),
        );
    }
    let undefined = tested.iter().flat_map(|tested| {
        let metric = &tested.claim.metric;
        tested.groups.iter().filter_map(move |group| {
            let (done, known) = (group.done().count(), sample(group, metric).map_or(0, |sample| sample.n));
            let (name, title) = (group.name(), &metric.title);
            (known < done)
                .then(|| format!("{name}: {title} is undefined in {} of {done} runs.", done - known))
        })
    });
    notes.extend(unique(undefined));
    if !untested.is_empty() {
        notes.push(format!("Not tested here: {}.", listed(untested, 10, "; ")));
    }
    notes
}

fn data(tested: &[TestedClaim], provenance: &ReportProvenance) -> Frame {
    let claim = ["claim", "says", "place", "family", "papers"].into_iter();
    let subject = claim.chain(["dataset", "latent_dims", "metric", "variant", "against"]);
    let result = subject.chain(["difference", "low", "high", "p", "p_corrected", "seeds", "verdict"]);
    let mut frame = Frame::new(result.chain(["seeds_needed"]));
    let shown = |text: &str| Value::Text(printable(text).into_owned());
    for tested in tested {
        let claim = tested.claim;
        let mut row: FrameRow = vec![
            ("claim", shown(&claim.id)),
            ("says", shown(&claim.says)),
            ("place", shown(&claim.place)),
            ("family", shown(&claim.family)),
            ("papers", claim.papers.into()),
            ("dataset", tested.dataset().into()),
            ("latent_dims", tested.set.map(|set| set.dims).into()),
            ("metric", claim.metric.name().into()),
            ("variant", shown(&claim.variant)),
            ("against", tested.against.as_str().into()),
            ("difference", tested.difference.into()),
            ("p", tested.p.into()),
            ("p_corrected", tested.corrected.into()),
            ("seeds", tested.seeds.into()),
            ("verdict", tested.decision().name().into()),
            ("seeds_needed", tested.needed.into()),
        ];
        row.extend(columns::interval(tested.interval));
        frame.push(row, Some(provenance));
    }
    frame
}

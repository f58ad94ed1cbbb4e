//! The figures of a sweep, by name.

mod canvas;
mod cases;
mod cost;
mod critic;
mod curves;
mod figure3;
mod judged;
mod multiples;
mod paths;
mod picture;
mod plot;
mod ranks;
mod rows;
mod samples;
mod source;
mod speed;
mod strips;
mod usefulness;

use lerp_eval::{Quantity, quantity::CRITIC_ALPHA};
use lerp_files::file_stem;
use strips::StripsOptions;

use crate::{
    Result,
    conditions::Selection,
    published::published,
    ranks::Ranks,
    set::Set,
    style::Drawing,
    summary::{Group, Sweep},
};

/// The most bytes of a figure's file name without its ending.
const MAX_FILE_NAME_BYTES: usize = 200;

/// The most bytes of settings within the name of a figure.
const MAX_SETTINGS_BYTES: usize = 80;

/// Returns the metrics that figures draw over training.
pub fn drawn() -> impl Iterator<Item = &'static Quantity> {
    curves::DRAWN.into_iter().chain(&CRITIC_ALPHA)
}

/// Returns whether a figure draws the values of `metric` over training.
pub fn draws(metric: &str) -> bool {
    drawn().any(|quantity| quantity.key == metric)
}

/// A finished figure.
#[derive(Debug)]
pub struct Drawn<'a> {
    /// The caption, without the conditions of the runs.
    pub caption: String,
    /// The drawing.
    pub drawing: Drawing,
    /// The configurations that the figure shows; empty if it does not depend on runs.
    pub shows: Vec<&'a Group>,
}

impl Drawn<'_> {
    /// Returns the caption, followed by the conditions of the runs.
    pub fn whole_caption(&self) -> String {
        let selection = Selection { groups: self.shows.clone() };
        if self.shows.is_empty() {
            self.caption.clone()
        } else {
            format!("{} {}", self.caption, selection.all_conditions())
        }
    }
}

/// The kind and the subject of a figure.
enum Shows<'a> {
    /// Figure 2, or the row with this letter.
    Cases(Option<char>),
    /// Figure 3, or the row of one variant, with its letter.
    Lines(Option<(&'a str, char)>),
    /// Strips of interpolations between images.
    Strips(Set, StripsOptions),
    /// Samples decoded from the prior, of a configuration if the sweep has one, with the number of the paper's figure
    /// if it has one.
    Samples(Option<&'a Group>, Option<&'static str>),
    /// Learning curves on lines.
    LinesCurves,
    /// Learning curves on an image set.
    Curves(Set),
    /// The nearest line's angle and distance along interpolations on lines.
    Paths,
    /// The size of each turn along interpolations on lines.
    Turns,
    /// Norms of latents along interpolations, on lines or an image set.
    Norms(Option<Set>),
    /// The critic's estimates of α over training, on lines or an image set.
    Critic(Option<Set>),
    /// A judge's scores along interpolations, on lines or an image set.
    Judged(Option<Set>),
    /// The usefulness of latents against the quality of interpolations.
    Usefulness,
    /// The average ranks of the variants over tables.
    Ranks,
    /// Quality against training time, on lines or an image set.
    Cost(Option<Set>),
    /// Training samples per second.
    Speed,
}

/// A figure that a sweep may have.
pub struct Figure<'a> {
    /// The name by which the figure is requested.
    pub name: String,
    /// Whether the figure is one row of another, which is drawn only on request.
    pub part: bool,
    shows: Shows<'a>,
}

impl<'a> Figure<'a> {
    fn new(name: impl Into<String>, shows: Shows<'a>) -> Self {
        let part = matches!(shows, Shows::Cases(Some(_)) | Shows::Lines(Some(_)));
        Self { name: name.into(), part, shows }
    }

    /// Returns all figures that a sweep may have: numbered ones by number, then the others.
    pub fn all(sweep: &'a Sweep) -> Vec<Self> {
        let mut all = Vec::new();
        let lines = sweep.on_lines().next().is_some();
        if lines {
            all.push(Self::new("2", Shows::Cases(None)));
            all.extend(
                cases::letters().map(|letter| Self::new(format!("2{letter}"), Shows::Cases(Some(letter)))),
            );
            all.push(Self::new("3", Shows::Lines(None)));
            for (variant, letter) in published().order.iter().zip('a'..='z') {
                all.push(Self::new(format!("3{letter}"), Shows::Lines(Some((variant, letter)))));
            }
        }
        all.extend(strips(sweep, true));
        let samples = samples(sweep);
        let (five, samples): (Vec<_>, Vec<_>) = samples.into_iter().partition(|figure| figure.name == "5");
        // Figure 5 follows Figure 4, which only sweeps with CelebA have.
        let place = all.iter().position(|f| f.name.parse().is_ok_and(|n: u32| n > 5)).unwrap_or(all.len());
        all.splice(place..place, five);
        all.extend(strips(sweep, false));
        let lines = lines.then(|| (String::new(), None));
        let places: Vec<(String, Option<Set>)> = lines
            .into_iter()
            .chain(sweep.sets().into_iter().map(|s| (format!("-{}", s.slug()), Some(s.clone()))))
            .collect();
        let each = |kind: &str, shows: &dyn Fn(Option<Set>) -> Shows<'a>| {
            places
                .iter()
                .map(|(end, set)| Self::new(format!("{kind}{end}"), shows(set.clone())))
                .collect::<Vec<_>>()
        };
        all.extend(each("curves", &|set| set.map_or(Shows::LinesCurves, Shows::Curves)));
        if places.iter().any(|(_, set)| set.is_none()) {
            all.push(Self::new("paths", Shows::Paths));
            all.push(Self::new("turns", Shows::Turns));
        }
        all.extend(each("norms", &Shows::Norms));
        all.extend(each("critic", &Shows::Critic));
        all.extend(each("judged", &Shows::Judged));
        all.extend(samples);
        if crate::usefulness::Pairs::all(sweep).iter().any(crate::usefulness::Pairs::drawn) {
            all.push(Self::new("usefulness", Shows::Usefulness));
        }
        if Ranks::new(sweep).is_some() {
            all.push(Self::new("ranks", Shows::Ranks));
        }
        all.extend(each("cost", &Shows::Cost));
        all.push(Self::new("speed", Shows::Speed));
        all
    }

    /// Returns the name of the figure's files, without their ending.
    pub fn file(&self) -> String {
        let numbered = self.name.starts_with(|c: char| c.is_ascii_digit());
        // A variant may have any name, so it is made safe as a file name.
        file_stem(
            &if numbered { format!("figure{}", self.name) } else { self.name.clone() },
            MAX_FILE_NAME_BYTES,
        )
    }

    /// Draws the figure, or returns `None` if its data are missing.
    ///
    /// # Errors
    /// Returns an error if the figure cannot be drawn.
    pub fn draw(&self, sweep: &'a Sweep) -> Result<Option<Drawn<'a>>> {
        let drawn = self.drawn(sweep)?;
        Ok(drawn.map(|drawn| Drawn { caption: drawn.caption + &self.not_shown(sweep), ..drawn }))
    }

    /// Returns a sentence about configurations that the figure leaves out because there are too many; empty if there
    /// are none.
    fn not_shown(&self, sweep: &Sweep) -> String {
        match &self.shows {
            Shows::Cases(_) | Shows::Samples(..) | Shows::Ranks | Shows::Usefulness => String::new(),
            Shows::Lines(_) | Shows::LinesCurves | Shows::Paths | Shows::Turns => sweep.not_shown(None),
            Shows::Strips(set, _) | Shows::Curves(set) => sweep.not_shown(Some(set)),
            Shows::Norms(set) | Shows::Critic(set) | Shows::Judged(set) | Shows::Cost(set) => {
                sweep.not_shown(set.as_ref())
            }
            Shows::Speed => {
                let sets = sweep.sets().into_iter().map(Some).chain([None]);
                sets.map(|set| sweep.not_shown(set)).find(|said| !said.is_empty()).unwrap_or_default()
            }
        }
    }

    /// Draws the figure, without the sentence about configurations left out.
    fn drawn(&self, sweep: &'a Sweep) -> Result<Option<Drawn<'a>>> {
        match &self.shows {
            Shows::Cases(letter) => cases::draw(*letter),
            Shows::Lines(only) => figure3::draw(sweep, *only),
            Shows::Strips(set, form) => strips::draw(sweep, set, *form),
            Shows::Samples(group, number) => group.map_or(Ok(None), |group| samples::draw(group, *number)),
            Shows::LinesCurves => curves::lines(sweep),
            Shows::Curves(set) => curves::images(sweep, set),
            Shows::Paths => paths::lines(sweep),
            Shows::Turns => paths::pace(sweep),
            Shows::Norms(set) => paths::norms(sweep, set.as_ref()),
            Shows::Critic(set) => critic::draw(sweep, set.as_ref()),
            Shows::Judged(set) => judged::draw(sweep, set.as_ref()),
            Shows::Usefulness => usefulness::draw(sweep),
            Shows::Ranks => ranks::draw(sweep),
            Shows::Cost(set) => cost::draw(sweep, set.as_ref()),
            Shows::Speed => speed::draw(sweep),
        }
    }

    /// Returns what no run has if the figure cannot be drawn, as the end of a sentence.
    pub fn missing(&self) -> String {
        let upgrade = "; `lerp eval RUN --write` makes it for a finished run that still has its model";
        match &self.shows {
            Shows::Cases(_) | Shows::LinesCurves | Shows::Curves(_) | Shows::Lines(None) => {
                "has been evaluated yet".into()
            }
            Shows::Lines(Some((variant, _))) => {
                format!("of {} on lines has been evaluated yet", title(variant))
            }
            Shows::Strips(set, _) => format!("on {} has saved interpolations yet", set.name()),
            Shows::Samples(..) => format!("of this variant has a {}{upgrade}", source::SAMPLES),
            Shows::Paths | Shows::Turns | Shows::Norms(None) => {
                format!("on lines has a {}{upgrade}", source::PATHS)
            }
            Shows::Norms(Some(set)) => format!("on {} has a {}{upgrade}", set.name(), source::PATHS),
            Shows::Critic(set) => format!(
                "on {} has measured a critic's estimates of α ({} and on, which ACAI measures)",
                set.as_ref().map_or("lines".into(), Set::name),
                CRITIC_ALPHA[0].key
            ),
            Shows::Judged(set) => {
                format!("on {} was seen by a judge{upgrade}", set.as_ref().map_or("lines".into(), Set::name))
            }
            Shows::Usefulness => "was both judged and measured for what its latents are worth".into(),
            Shows::Ranks => "is among ten variants or fewer that all tables have".into(),
            Shows::Cost(None) | Shows::Speed => "is finished".into(),
            Shows::Cost(Some(set)) => format!("on {} has a fitted classifier", set.name()),
        }
    }
}

/// Returns the title of one of the paper's variants.
fn title(variant: &str) -> &str {
    published().titles.get(published().place(variant)).map_or(variant, String::as_str)
}

/// Returns the figures of interpolation strips: either those with a number in the paper, sorted by it, or the others.
fn strips<'a>(sweep: &Sweep, numbered: bool) -> Vec<Figure<'a>> {
    let mut strips = Vec::new();
    for set in sweep.sets() {
        let number = set.figure();
        if (set.dataset.as_str(), set.dims) == ("celeba", 32) {
            let form = StripsOptions { number: Some("4"), pairs: Some(1) };
            strips.push(Figure::new("4", Shows::Strips(set.clone(), form)));
        }
        let name = number.map_or_else(|| format!("strips-{}", set.slug()), String::from);
        strips.push(Figure::new(name, Shows::Strips(set.clone(), StripsOptions { number, pairs: None })));
    }
    let number = |figure: &Figure| figure.name.parse::<usize>().ok();
    strips.retain(|figure| number(figure).is_some() == numbered);
    strips.sort_by_key(number);
    strips
}

/// Returns the figures of samples. Figure 5 is the VAE's on lines. The others are listed for configurations with saved
/// samples, and for the paper's variants with a prior.
fn samples(sweep: &Sweep) -> Vec<Figure<'_>> {
    const WITH_PRIOR: [&str; 2] = ["vae", "aae"];
    let mut all: Vec<Figure> = Vec::new();
    for group in sweep.groups.iter().filter(|group| group.shown) {
        let variant = group.cell().variant.as_str();
        if !(WITH_PRIOR.contains(&variant) || samples::has(group)) {
            continue;
        }
        let mut name = format!("samples-{variant}");
        if let Some(set) = &group.set {
            name = format!("{name}-{}", set.slug());
        }
        let five = group.set.is_none() && variant == "vae" && all.iter().all(|figure| figure.name != "5");
        if five {
            name = "5".into();
        } else if !group.telling.is_empty() {
            name = format!(
                "{name}-{}",
                file_stem(&group.telling.replace(", ", "-").replace('=', "-"), MAX_SETTINGS_BYTES)
            );
        }
        all.push(Figure::new(name, Shows::Samples(Some(group), five.then_some("5"))));
    }
    if sweep.on_lines().next().is_some() && all.iter().all(|figure| figure.name != "5") {
        all.push(Figure::new("5", Shows::Samples(None, Some("5"))));
    }
    all
}

//! All figures, by name. In goes an [`Analysis`] of a sweep; out come the files of one figure ([`draw_one`]) or of all
//! ([`draw_all`]), with what the page shows of them. The colours and the encoding of pixels are exported for the page.

mod canvas;
mod captions;
mod cost;
mod critic;
mod curves;
mod figure2;
mod figure3;
mod judged;
mod multiples;
mod paths;
mod picture;
mod plot;
mod ranks;
mod rows;
mod samples;
mod speed;
mod strips;
mod style;
mod usefulness;

use std::path::Path;

use lerp_eval::quantity::CRITIC_ALPHA;
use lerp_files::{file_stem, make_folder, replace};
use serde::Serialize;

use crate::{
    Error, Result,
    paper::published,
    provenance::{ReportProvenance, command},
    reading::{RunGroup, SizedImageSet, Sweep},
    statistics::{Analysis, Pairs},
    text::listed,
    verdicts::Selection,
};
use strips::StripsOptions;
use style::Drawing;

pub use style::{byte, curve_styles, hex, png};

/// The most bytes of a figure's file name without its ending.
const MAX_FILE_NAME_BYTES: usize = 200;

/// The most bytes of settings within the name of a figure.
const MAX_SETTINGS_BYTES: usize = 80;

/// A figure on the page.
#[derive(Debug, Serialize)]
pub struct PageFigure {
    /// The name of the figure's files and of its anchor on the page.
    pub file: String,
    /// The caption without the conditions of the runs.
    pub caption: String,
    /// The provenance, as one line of text.
    pub provenance: String,
    /// The drawing as SVG; empty if it is left out to keep the page small.
    pub svg: String,
    /// The least width in which the drawing is legible, in pixels.
    pub least: usize,
    /// The greatest useful width, in pixels.
    pub most: usize,
}

/// The figures of a sweep.
#[derive(Debug)]
pub struct Figures {
    /// The figures that have data.
    pub drawn: Vec<PageFigure>,
    /// The names of the other figures, each with what no run has, as the end of a sentence.
    pub missing: Vec<(String, String)>,
}

/// Draws the figure of this name and writes its files.
pub fn draw_one(analysis: &Analysis, name: &str) -> Result<()> {
    let all = Figure::all(analysis);
    let Some(figure) = all.iter().find(|figure| figure.name == name) else {
        let known: Vec<&str> = all.iter().map(|figure| figure.name.as_str()).collect();
        return Err(Error::UnknownFigure { name: name.to_owned(), known: known.join(", ") });
    };
    let Some(drawn) = figure.draw(analysis)? else {
        let unread = analysis.sweep.left_out();
        let why = if unread.is_empty() { "" } else { ". " };
        return Err(Error::NoData {
            missing: figure.missing() + why + listed(&unread, 3, " ").trim_end_matches('.'),
            name: figure.name.clone(),
            dir: analysis.sweep.dir.clone(),
        });
    };
    figure.write(drawn, &analysis.sweep.dir).map(drop)
}

/// Draws all figures that have data and writes their files. A sentence about each that cannot be drawn is added to
/// `failed`.
pub fn draw_all(analysis: &Analysis, failed: &mut Vec<String>) -> Result<Figures> {
    let (mut drawn, mut missing) = (Vec::new(), Vec::new());
    for figure in Figure::all(analysis).into_iter().filter(|figure| !figure.is_row()) {
        match figure.draw(analysis) {
            Err(error) => failed.push(format!("Figure {} is left out: {error}.", figure.name)),
            Ok(Some(figure_drawn)) => drawn.push(figure.write(figure_drawn, &analysis.sweep.dir)?),
            Ok(None) => missing.push((figure.name.clone(), figure.missing())),
        }
    }
    Ok(Figures { drawn, missing })
}

/// A finished figure.
struct Drawn<'a> {
    /// The caption, without the conditions of the runs.
    caption: String,
    drawing: Drawing,
    /// The configurations that the figure shows; empty if it does not depend on runs.
    shows: Vec<&'a RunGroup>,
}

/// The kind and the subject of a figure. A dataset of `None` is lines.
enum Kind<'a> {
    /// Figure 2, or the row with this letter.
    Figure2(Option<char>),
    /// Figure 3, or the row of one variant, with its letter.
    Figure3(Option<(&'a str, char)>),
    /// Strips of interpolations between images.
    Strips(&'a SizedImageSet, StripsOptions),
    /// Samples decoded from the prior, of a configuration if the sweep has one, with the number of the paper's figure
    /// if it has one.
    Samples(Option<&'a RunGroup>, Option<&'static str>),
    /// Learning curves.
    Curves(Option<&'a SizedImageSet>),
    /// The nearest line's angle and distance along interpolations on lines.
    Paths,
    /// The size of each turn along interpolations on lines.
    Turns,
    /// Norms of latents along interpolations.
    Norms(Option<&'a SizedImageSet>),
    /// The critic's estimates of α over training.
    Critic(Option<&'a SizedImageSet>),
    /// A judge's scores along interpolations.
    Judged(Option<&'a SizedImageSet>),
    /// The usefulness of latents against the quality of interpolations.
    Usefulness,
    /// The average ranks of the variants over tables.
    Ranks,
    /// Quality against training time.
    Cost(Option<&'a SizedImageSet>),
    /// Training samples per second.
    Speed,
}

/// A figure that a sweep may have.
struct Figure<'a> {
    /// The name by which the figure is requested.
    name: String,
    kind: Kind<'a>,
}

impl<'a> Figure<'a> {
    fn new(name: impl Into<String>, kind: Kind<'a>) -> Self {
        Self { name: name.into(), kind }
    }

    /// Returns whether the figure is one row of another, which is drawn only on request.
    fn is_row(&self) -> bool {
        matches!(self.kind, Kind::Figure2(Some(_)) | Kind::Figure3(Some(_)))
    }

    /// Returns all figures that a sweep may have: numbered ones by number, then the others.
    fn all(analysis: &Analysis<'a>) -> Vec<Self> {
        let sweep = analysis.sweep;
        let mut all = Vec::new();
        if sweep.has_lines() {
            all.push(Self::new("2", Kind::Figure2(None)));
            all.extend(
                figure2::letters().map(|letter| Self::new(format!("2{letter}"), Kind::Figure2(Some(letter)))),
            );
            all.push(Self::new("3", Kind::Figure3(None)));
            for (variant, letter) in published().order.iter().zip('a'..='z') {
                all.push(Self::new(format!("3{letter}"), Kind::Figure3(Some((variant, letter)))));
            }
        }
        all.extend(strips(sweep, true));
        let samples = samples(sweep);
        let (five, samples): (Vec<_>, Vec<_>) = samples.into_iter().partition(|figure| figure.name == "5");
        // Figure 5 follows Figure 4, which only sweeps with CelebA have.
        let index = all.iter().position(|f| f.name.parse().is_ok_and(|n: u32| n > 5)).unwrap_or(all.len());
        all.splice(index..index, five);
        all.extend(strips(sweep, false));
        let subjects = sweep.lines_and_image_sets();
        let each = |name: &str, kind: fn(Option<&'a SizedImageSet>) -> Kind<'a>| {
            let named = |set: Option<&'a SizedImageSet>| {
                let end = set.map(|set| format!("-{}", set.slug())).unwrap_or_default();
                Self::new(format!("{name}{end}"), kind(set))
            };
            subjects.iter().copied().map(named).collect::<Vec<_>>()
        };
        all.extend(each("curves", Kind::Curves));
        if sweep.has_lines() {
            all.push(Self::new("paths", Kind::Paths));
            all.push(Self::new("turns", Kind::Turns));
        }
        all.extend(each("norms", Kind::Norms));
        all.extend(each("critic", Kind::Critic));
        all.extend(each("judged", Kind::Judged));
        all.extend(samples);
        if analysis.pairs.iter().any(Pairs::is_drawn) {
            all.push(Self::new("usefulness", Kind::Usefulness));
        }
        if analysis.ranks.is_some() {
            all.push(Self::new("ranks", Kind::Ranks));
        }
        all.extend(each("cost", Kind::Cost));
        all.push(Self::new("speed", Kind::Speed));
        all
    }

    /// Returns the name of the figure's files, without their ending.
    fn file(&self) -> String {
        let numbered = self.name.starts_with(|c: char| c.is_ascii_digit());
        // A variant may have any name, so it is made safe as a file name.
        file_stem(
            &if numbered { format!("figure{}", self.name) } else { self.name.clone() },
            MAX_FILE_NAME_BYTES,
        )
    }

    /// Draws the figure, or returns `None` if its data are missing.
    fn draw(&self, analysis: &Analysis<'a>) -> Result<Option<Drawn<'a>>> {
        let sweep = analysis.sweep;
        let drawn = match self.kind {
            Kind::Figure2(letter) => figure2::draw(letter),
            Kind::Figure3(only) => figure3::draw(sweep, only),
            Kind::Strips(set, options) => strips::draw(sweep, set, options),
            Kind::Samples(group, number) => group.map_or(Ok(None), |group| samples::draw(group, number)),
            Kind::Curves(None) => curves::lines(sweep),
            Kind::Curves(Some(set)) => curves::images(sweep, set),
            Kind::Paths => paths::lines(sweep),
            Kind::Turns => paths::pace(sweep),
            Kind::Norms(set) => paths::norms(sweep, set),
            Kind::Critic(set) => critic::draw(sweep, set),
            Kind::Judged(set) => judged::draw(analysis, set),
            Kind::Usefulness => usefulness::draw(analysis),
            Kind::Ranks => ranks::draw(analysis),
            Kind::Cost(set) => cost::draw(sweep, set),
            Kind::Speed => speed::draw(sweep),
        }?;
        Ok(drawn.map(|drawn| Drawn { caption: drawn.caption + &self.not_shown(sweep), ..drawn }))
    }

    /// Writes the files of the figure, and returns what the page shows.
    fn write(&self, drawn: Drawn, dir: &Path) -> Result<PageFigure> {
        let Drawn { caption, mut drawing, shows } = drawn;
        let made = ReportProvenance::of(&shows, &command(dir, Some(&self.name)));
        let conditions = (!shows.is_empty()).then(|| Selection { groups: shows }.all_conditions());
        let whole =
            conditions.map_or_else(|| caption.clone(), |conditions| format!("{caption} {conditions}"));
        drawing.stamp(&whole, &made)?;
        let (folder, file) = (dir.join("figures"), self.file());
        make_folder(&folder)?;
        // `with_extension` would cut a name at a dot, which is no file ending here.
        replace(&folder.join(format!("{file}.svg")), drawing.svg.as_bytes())?;
        replace(&folder.join(format!("{file}.png")), &drawing.png)?;
        let width = width(&drawing.svg);
        Ok(PageFigure {
            file,
            caption,
            provenance: made.line(),
            svg: drawing.svg,
            least: (width * 5 / 9).min(700),
            most: width * 5 / 4,
        })
    }

    /// Returns a sentence about configurations that the figure leaves out because there are too many; empty if there
    /// are none.
    fn not_shown(&self, sweep: &Sweep) -> String {
        match self.kind {
            Kind::Figure2(_) | Kind::Samples(..) | Kind::Ranks | Kind::Usefulness => String::new(),
            Kind::Figure3(_) | Kind::Paths | Kind::Turns => sweep.not_shown(None),
            Kind::Strips(set, _) => sweep.not_shown(Some(set)),
            Kind::Curves(set)
            | Kind::Norms(set)
            | Kind::Critic(set)
            | Kind::Judged(set)
            | Kind::Cost(set) => sweep.not_shown(set),
            Kind::Speed => {
                let sets = sweep.sets().into_iter().map(Some).chain([None]);
                sets.map(|set| sweep.not_shown(set)).find(|said| !said.is_empty()).unwrap_or_default()
            }
        }
    }

    /// Returns what no run has if the figure cannot be drawn, as the end of a sentence.
    fn missing(&self) -> String {
        let upgrade = "; `lerp eval RUN --write` makes it for a finished run that still has its model";
        let on = |set: Option<&SizedImageSet>| set.map_or("lines".into(), SizedImageSet::name);
        match self.kind {
            Kind::Figure2(_) | Kind::Curves(_) | Kind::Figure3(None) => "has been evaluated yet".into(),
            Kind::Figure3(Some((variant, _))) => {
                format!("of {} on lines has been evaluated yet", title(variant))
            }
            Kind::Strips(set, _) => format!("on {} has saved interpolations yet", set.name()),
            Kind::Samples(..) => format!("of this variant has a {}{upgrade}", captions::SAMPLES),
            Kind::Paths | Kind::Turns => format!("on lines has a {}{upgrade}", captions::PATHS),
            Kind::Norms(set) => format!("on {} has a {}{upgrade}", on(set), captions::PATHS),
            Kind::Critic(set) => format!(
                "on {} has measured a critic's estimates of α ({} and on, which ACAI measures)",
                on(set),
                CRITIC_ALPHA[0].key
            ),
            Kind::Judged(set) => format!("on {} was seen by a judge{upgrade}", on(set)),
            Kind::Usefulness => "was both judged and measured for what its latents are worth".into(),
            Kind::Ranks => "is among ten variants or fewer that all tables have".into(),
            Kind::Cost(None) | Kind::Speed => "is finished".into(),
            Kind::Cost(Some(set)) => format!("on {} has a fitted classifier", set.name()),
        }
    }
}

/// Returns the width of a drawing in its own units, which are screen pixels; 0 if it does not state its width.
fn width(svg: &str) -> usize {
    let after = svg.split_once("<svg width=\"").map(|(_, rest)| rest);
    after.and_then(|rest| rest.split('"').next()?.parse().ok()).unwrap_or(0)
}

/// Returns the title of one of the paper's variants.
fn title(variant: &str) -> &str {
    published().titles.get(published().position(variant)).map_or(variant, String::as_str)
}

/// Returns the figures of interpolation strips: either those with a number in the paper, sorted by it, or the others.
fn strips(sweep: &Sweep, numbered: bool) -> Vec<Figure<'_>> {
    let mut strips = Vec::new();
    for set in sweep.sets() {
        let number = set.figure();
        if set.key() == ("celeba", 32) {
            let options = StripsOptions { number: Some("4"), pairs: Some(1) };
            strips.push(Figure::new("4", Kind::Strips(set, options)));
        }
        let name = number.map_or_else(|| format!("strips-{}", set.slug()), String::from);
        strips.push(Figure::new(name, Kind::Strips(set, StripsOptions { number, pairs: None })));
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
        } else if !group.settings.is_empty() {
            name = format!(
                "{name}-{}",
                file_stem(&group.settings.replace(", ", "-").replace('=', "-"), MAX_SETTINGS_BYTES)
            );
        }
        all.push(Figure::new(name, Kind::Samples(Some(group), five.then_some("5"))));
    }
    if sweep.has_lines() && all.iter().all(|figure| figure.name != "5") {
        all.push(Figure::new("5", Kind::Samples(None, Some("5"))));
    }
    all
}

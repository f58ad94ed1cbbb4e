//! The page of a sweep: one file that needs nothing else. Of very many runs the pages are files of their own beside it.

mod chart;
mod explorer;
mod runs;

use lerp_files::{make_folder, replace_unsynced};
use minijinja::{Environment, Value, value::Serde};
use rayon::prelude::*;
use serde::Serialize;

use crate::{
    Error, Result,
    conditions::Selection,
    sheet::{Line, Sheet},
    summary::{Group, Loaded, Sweep},
    text::{few, thousands},
};
use runs::{Details, Row};

/// A page is no larger, so that it can be mailed and opens at once.
const MOST_BYTES: usize = 15_000_000;

/// Runs that have their pages, and a row each, in the page of the sweep.
const MOST_RUNS: usize = 200;

/// Lines of a table that it shows.
const MOST_LINES: usize = 500;

/// The folder of runs' pages.
const PAGES: &str = "pages";

/// A figure on the page.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// Name of its files and anchor on the page.
    pub file: String,
    /// What it shows.
    pub caption: String,
    /// Where it comes from.
    pub provenance: String,
    /// The drawing; empty where it is left out.
    pub svg: String,
}

/// The figures of a sweep.
#[derive(Debug)]
pub struct Figures {
    /// Those that have data.
    pub drawn: Vec<Figure>,
    /// Names of the others, and what they lack.
    pub missing: Vec<(String, String)>,
}

/// All that the page says.
#[derive(Serialize)]
struct Page<'a> {
    name: String,
    states: String,
    /// The conditions of the runs on lines and on image sets, which tables and figures do not repeat.
    conditions: Vec<String>,
    sheets: Vec<Tables<'a>>,
    /// Endings and names of the tables' files.
    formats: [(&'a str, &'a str); 4],
    /// Whether runs are on anything but lines.
    datasets: bool,
    figures: Vec<Shown>,
    missing: Vec<(String, String)>,
    /// What could not be read or drawn, in sentences.
    left_out: Vec<String>,
    /// The list of runs, and how many there are in all.
    runs: Vec<Row>,
    count: String,
    /// Whether pages of runs are files of their own.
    apart: bool,
    /// Pages of runs that are in this file.
    pages: Vec<Details>,
    /// Where the list of runs is, seen from the pages.
    back: &'a str,
    /// What the explorer's script reads, as JSON.
    explorer: Option<String>,
    provenance: String,
    css: &'a str,
    js: &'a str,
}

/// The tables of a sheet, as far as a page shows them.
#[derive(Serialize)]
struct Tables<'a> {
    id: &'a str,
    title: &'a str,
    parts: Vec<Table<'a>>,
}

/// A table of a sheet.
#[derive(Serialize)]
struct Table<'a> {
    name: &'a str,
    caption: &'a str,
    headings: &'a [String],
    left: usize,
    lines: &'a [Line],
    folded: &'a [Line],
    notes: Vec<String>,
    provenance: &'a str,
}

impl<'a> Tables<'a> {
    fn of(sheet: &'a Sheet) -> Self {
        let parts = sheet.parts.iter().map(|part| {
            let lines = part.lines.get(..MOST_LINES).unwrap_or(&part.lines);
            let mut notes = part.notes.clone();
            if lines.len() < part.lines.len() {
                let all = thousands(part.lines.len() as u64);
                notes.insert(0, format!("The first {MOST_LINES} of {all} lines; the files below have all."));
            }
            Table {
                name: &part.name,
                caption: &part.caption,
                headings: &part.headings,
                left: part.left,
                lines,
                folded: &part.folded,
                notes,
                provenance: &part.provenance,
            }
        });
        Self { id: sheet.id, title: sheet.title, parts: parts.collect() }
    }
}

/// A figure, and the widths that it is legible in.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    figure: Figure,
    least: usize,
    most: usize,
}

impl Shown {
    fn new(figure: Figure) -> Self {
        let width = width(&figure.svg);
        Self { figure, least: (width * 5 / 9).min(700), most: width * 5 / 4 }
    }
}

/// The width of a drawing in its own units, which are pixels of a screen; 0 if it does not say.
fn width(svg: &str) -> usize {
    let after = svg.split_once("<svg width=\"").map(|(_, rest)| rest);
    after.and_then(|rest| rest.split('"').next()?.parse().ok()).unwrap_or(0)
}

/// Writes the page into the folder of the sweep, and those of runs where these are files of their own; `provenance` is the
/// sweep's. What is left out is added to `failed`, which has what could not be drawn before.
///
/// # Errors
/// If a page cannot be made or written.
pub fn write(
    sweep: &Sweep,
    sheets: &[Sheet],
    figures: Figures,
    provenance: String,
    failed: &mut Vec<String>,
) -> Result<()> {
    let environment = environment().map_err(Error::draw("index.html"))?;
    let explorer = match explorer::explorer(sweep) {
        // Nothing in it may end the element that it is written into.
        Ok(Some(explorer)) => {
            let text = serde_json::to_string(&explorer).map_err(Error::draw("index.html"))?;
            Some(text.replace('<', "\\u003c"))
        }
        Ok(None) => None,
        Err(error) => {
            failed.push(format!("The explorer is left out: {error}."));
            None
        }
    };
    let all: Vec<(&Group, &Loaded)> =
        sweep.groups.iter().flat_map(|group| group.runs.iter().map(move |loaded| (group, loaded))).collect();
    let (mut runs, mut pages) = (Vec::new(), Vec::new());
    if all.len() > MOST_RUNS {
        apart(sweep, &all, &environment)?;
        let done = |loaded: &Loaded| loaded.run.status.state == lerp_train::State::Done;
        let first = all.iter().filter(|(_, loaded)| !done(loaded));
        let shown = first.chain(all.iter().filter(|(_, loaded)| done(loaded))).take(MOST_RUNS);
        runs.extend(shown.map(|(g, l)| Row::of(g, l, format!("{PAGES}/{}.html", l.run.record.id))));
    } else {
        let href = |loaded: &Loaded| format!("#run-{}", loaded.run.record.id);
        runs.extend(all.iter().map(|(group, loaded)| Row::of(group, loaded, href(loaded))));
        pages.extend(all.iter().map(|(group, loaded)| Details::of(group, loaded, href(loaded))));
    }
    let left_out =
        few(sweep.left_out().into_iter().chain(failed.iter().cloned()).collect(), "runs and files");
    let page = Page {
        name: sweep.name(),
        states: sweep.states(),
        conditions: conditions(sweep),
        sheets: sheets.iter().map(Tables::of).collect(),
        formats: [("md", "Markdown"), ("tex", "LaTeX"), ("csv", "CSV"), ("parquet", "Parquet")],
        datasets: !sweep.sets().is_empty(),
        figures: figures.drawn.into_iter().map(Shown::new).collect(),
        missing: figures.missing,
        left_out,
        count: thousands(all.len() as u64),
        apart: pages.is_empty(),
        runs,
        pages,
        back: "",
        explorer,
        provenance,
        css: include_str!("page.css"),
        js: include_str!("page.js"),
    };
    let template = environment.get_template("page.html").map_err(Error::draw("index.html"))?;
    Ok(lerp_files::replace(&sweep.dir.join("index.html"), render(&template, page)?.as_bytes())?)
}

/// The conditions of the runs on lines, and of those on image sets.
fn conditions(sweep: &Sweep) -> Vec<String> {
    let images: Vec<&Group> = sweep.groups.iter().filter(|group| group.set.is_some()).collect();
    let parts = [("Lines", sweep.lines()), ("Image sets", Selection { groups: images })];
    let several = parts.iter().all(|(_, selection)| !selection.groups.is_empty());
    let said = parts.into_iter().filter(|(_, selection)| !selection.groups.is_empty());
    said.map(|(place, selection)| {
        let place = if several { format!("{place}: ") } else { String::new() };
        place + &selection.all_conditions()
    })
    .collect()
}

/// The templates; the endings of their names turn on the escaping of text.
fn environment() -> std::result::Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    for (name, text) in [
        ("page.html", include_str!("page.html")),
        ("list.html", include_str!("list.html")),
        ("run.html", include_str!("run.html")),
        ("alone.html", include_str!("alone.html")),
        ("all.html", include_str!("all.html")),
    ] {
        environment.add_template(name, text)?;
    }
    Ok(environment)
}

/// A page beside that of the sweep: of a run, or of the list of all.
#[derive(Serialize)]
struct Apart<'a> {
    name: &'a str,
    datasets: bool,
    back: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Details>,
    runs: Vec<Row>,
    count: String,
    js: &'a str,
}

/// Writes a page for each run, and one with the list of all.
fn apart(sweep: &Sweep, all: &[(&Group, &Loaded)], environment: &Environment<'_>) -> Result<()> {
    let folder = sweep.dir.join(PAGES);
    make_folder(&folder)?;
    let css = concat!(include_str!("page.css"), "\narticle.run { display: block; }\n");
    let write = |name: &str, text: &str| replace_unsynced(&folder.join(name), text.as_bytes());
    write("style.css", css)?;
    let (name, datasets) = (sweep.name(), !sweep.sets().is_empty());
    let page = |template: &str, run: Option<Details>, runs: Vec<Row>| -> Result<String> {
        let (back, count) = ("../index.html", thousands(all.len() as u64));
        let page = Apart { name: &name, datasets, back, run, runs, count, js: include_str!("page.js") };
        let made = environment.get_template(template).and_then(|t| t.render(Value::from(Serde(&page))));
        made.map_err(Error::draw("the page of a run"))
    };
    let href = |loaded: &Loaded| format!("{}.html", loaded.run.record.id);
    all.par_iter().try_for_each(|(group, loaded)| -> Result<()> {
        let text = page("alone.html", Some(Details::of(group, loaded, href(loaded))), Vec::new())?;
        Ok(write(&href(loaded), &text)?)
    })?;
    let rows = all.iter().map(|(group, loaded)| Row::of(group, loaded, href(loaded))).collect();
    Ok(write("index.html", &page("all.html", None, rows)?)?)
}

/// The page, without the largest of its drawings as long as it is too large.
fn render(template: &minijinja::Template<'_, '_>, mut page: Page<'_>) -> Result<String> {
    loop {
        let html = template.render(Value::from(Serde(&page))).map_err(Error::draw("index.html"))?;
        let largest = page.figures.iter_mut().max_by_key(|shown| shown.figure.svg.len());
        match largest {
            Some(shown) if html.len() > MOST_BYTES && !shown.figure.svg.is_empty() => {
                shown.figure.svg.clear();
            }
            _ => return Ok(html),
        }
    }
}

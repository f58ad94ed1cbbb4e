//! The web page of a sweep. In go the sweep, its sheets and its figures; out comes a single file that loads nothing else.
//! If there are very many runs, each has a page of its own.

mod chart;
mod explorer;
mod runs;

use lerp_files::{make_folder, replace_unsynced};
use minijinja::{Environment, Value, value::Serde};
use rayon::prelude::*;
use serde::Serialize;

use crate::{
    Error, Result,
    figures::{Figures, PageFigure},
    reading::{LoadedRun, RunGroup, Sweep},
    tables::Sheet,
    text::{few, thousands},
    verdicts::Selection,
};
use runs::{Details, RunRow};

/// The most bytes of the page, so that it can be mailed and opens quickly.
const MAX_BYTES: usize = 15_000_000;

/// The most runs that are listed, and have their pages, within the sweep's page.
const MAX_RUNS: usize = 200;

/// The most lines of a table that the page shows.
const MAX_LINES: usize = 500;

/// The folder of the separate pages of runs.
const PAGES: &str = "pages";

/// The data of the page's template.
#[derive(Serialize)]
struct Page<'a> {
    name: String,
    states: String,
    /// The conditions of the runs on lines and on image sets, which the page states once for all tables and figures.
    conditions: Vec<String>,
    sheets: &'a [Sheet],
    /// The most lines of a table that the page shows.
    max_lines: usize,
    /// The endings and names of the formats of the tables' files.
    formats: [(&'a str, &'a str); 4],
    /// Whether any run is on an image set.
    datasets: bool,
    figures: Vec<PageFigure>,
    missing: Vec<(String, String)>,
    /// Sentences about what could not be read or drawn.
    left_out: Vec<String>,
    /// The listed runs.
    runs: Vec<RunRow>,
    /// The number of all runs.
    count: String,
    /// Whether the pages of runs are separate files.
    apart: bool,
    /// The pages of runs that are part of this file.
    pages: Vec<Details>,
    /// The address of the page with the list of runs, relative to the pages of runs.
    back: &'a str,
    /// The data of the interpolation explorer's script, as JSON.
    explorer: Option<String>,
    provenance: String,
    css: &'a str,
    js: &'a str,
}

/// Writes the page into the folder of the sweep, and the separate pages of runs if there are very many. `provenance` is
/// the sweep's. `failed` has sentences about figures that could not be drawn; what else is left out is added to it.
pub fn write(
    sweep: &Sweep,
    sheets: &[Sheet],
    figures: Figures,
    provenance: String,
    failed: &mut Vec<String>,
) -> Result<()> {
    let environment = environment().map_err(Error::draw("index.html"))?;
    let explorer = match explorer::explorer(sweep) {
        // No text in the JSON may end the `<script>` element that contains it.
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
    let all: Vec<(&RunGroup, &LoadedRun)> =
        sweep.groups.iter().flat_map(|group| group.runs.iter().map(move |loaded| (group, loaded))).collect();
    let (mut runs, mut pages) = (Vec::new(), Vec::new());
    if all.len() > MAX_RUNS {
        apart(sweep, &all, &environment)?;
        let done = |loaded: &LoadedRun| loaded.run.status.state == lerp_train::State::Done;
        let first = all.iter().filter(|(_, loaded)| !done(loaded));
        let shown = first.chain(all.iter().filter(|(_, loaded)| done(loaded))).take(MAX_RUNS);
        runs.extend(shown.map(|(g, l)| RunRow::of(g, l, format!("{PAGES}/{}.html", l.run.record.id))));
    } else {
        let href = |loaded: &LoadedRun| format!("#run-{}", loaded.run.record.id);
        runs.extend(all.iter().map(|(group, loaded)| RunRow::of(group, loaded, href(loaded))));
        pages.extend(all.iter().map(|(group, loaded)| Details::of(group, loaded, href(loaded))));
    }
    let left_out =
        few(sweep.left_out().into_iter().chain(failed.iter().cloned()).collect(), "runs and files");
    let page = Page {
        name: sweep.name(),
        states: sweep.states(),
        conditions: conditions(sweep),
        sheets,
        max_lines: MAX_LINES,
        formats: [("md", "Markdown"), ("tex", "LaTeX"), ("csv", "CSV"), ("parquet", "Parquet")],
        datasets: !sweep.sets().is_empty(),
        figures: figures.drawn,
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

/// Returns the conditions of the runs on lines and of those on image sets.
fn conditions(sweep: &Sweep) -> Vec<String> {
    let images: Vec<&RunGroup> = sweep.groups.iter().filter(|group| group.set.is_some()).collect();
    let parts = [("Lines", sweep.lines()), ("Image sets", Selection { groups: images })];
    let several = parts.iter().all(|(_, selection)| !selection.groups.is_empty());
    let said = parts.into_iter().filter(|(_, selection)| !selection.groups.is_empty());
    said.map(|(on, selection)| {
        let on = if several { format!("{on}: ") } else { String::new() };
        on + &selection.all_conditions()
    })
    .collect()
}

/// Loads the templates. Their names end in `.html`, which turns on the escaping of text.
fn environment() -> std::result::Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.add_filter("thousands", thousands);
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

/// The data of a separate page: of a run, or of the list of all runs.
#[derive(Serialize)]
struct Apart<'a> {
    name: &'a str,
    datasets: bool,
    back: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Details>,
    runs: Vec<RunRow>,
    count: String,
    js: &'a str,
}

/// Writes a page for each run, and one with the list of all runs.
fn apart(sweep: &Sweep, all: &[(&RunGroup, &LoadedRun)], environment: &Environment<'_>) -> Result<()> {
    let folder = sweep.dir.join(PAGES);
    make_folder(&folder)?;
    let css = concat!(include_str!("page.css"), "\narticle.run { display: block; }\n");
    let write = |name: &str, text: &str| replace_unsynced(&folder.join(name), text.as_bytes());
    write("style.css", css)?;
    let (name, datasets) = (sweep.name(), !sweep.sets().is_empty());
    let page = |template: &str, run: Option<Details>, runs: Vec<RunRow>| -> Result<String> {
        let (back, count) = ("../index.html", thousands(all.len() as u64));
        let page = Apart { name: &name, datasets, back, run, runs, count, js: include_str!("page.js") };
        let made = environment.get_template(template).and_then(|t| t.render(Value::from(Serde(&page))));
        made.map_err(Error::draw("the page of a run"))
    };
    let href = |loaded: &LoadedRun| format!("{}.html", loaded.run.record.id);
    all.par_iter().try_for_each(|(group, loaded)| -> Result<()> {
        let text = page("alone.html", Some(Details::of(group, loaded, href(loaded))), Vec::new())?;
        Ok(write(&href(loaded), &text)?)
    })?;
    let rows = all.iter().map(|(group, loaded)| RunRow::of(group, loaded, href(loaded))).collect();
    Ok(write("index.html", &page("all.html", None, rows)?)?)
}

/// Renders the page, leaving out its largest drawings one by one while the page is too large.
fn render(template: &minijinja::Template<'_, '_>, mut page: Page<'_>) -> Result<String> {
    loop {
        let html = template.render(Value::from(Serde(&page))).map_err(Error::draw("index.html"))?;
        let largest = page.figures.iter_mut().max_by_key(|figure| figure.svg.len());
        match largest {
            Some(figure) if html.len() > MAX_BYTES && !figure.svg.is_empty() => figure.svg.clear(),
            _ => return Ok(html),
        }
    }
}

//! The page of a sweep: one file that needs nothing else.

mod chart;
mod explorer;
mod runs;

use minijinja::{Environment, Value, value::Serde};
use serde::Serialize;

use crate::{Error, Result, sheet::Sheet, summary::Sweep};
use runs::Row;

/// A page is no larger, so that it can be mailed and opens at once.
const MOST_BYTES: usize = 15_000_000;

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
    sheets: &'a [Sheet],
    /// Endings and names of the tables' files.
    formats: [(&'a str, &'a str); 4],
    /// Whether runs are on anything but lines.
    datasets: bool,
    figures: Vec<Shown>,
    missing: Vec<(String, String)>,
    runs: Vec<Row>,
    /// What the explorer's script reads, as JSON.
    explorer: Option<String>,
    provenance: String,
    css: &'a str,
    js: &'a str,
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

/// The page; `provenance` is the sweep's.
///
/// # Errors
/// If a run's interpolations are damaged, or the page cannot be made.
pub fn page(sweep: &Sweep, sheets: &[Sheet], figures: Figures, provenance: String) -> Result<String> {
    let failed = Error::draw("index.html");
    let explorer = match explorer::explorer(sweep)? {
        // Nothing in it may end the element that it is written into.
        Some(explorer) => Some(serde_json::to_string(&explorer).map_err(failed)?.replace('<', "\\u003c")),
        None => None,
    };
    let page = Page {
        name: sweep.name(),
        states: sweep.states(),
        sheets,
        formats: [("md", "Markdown"), ("tex", "LaTeX"), ("csv", "CSV"), ("parquet", "Parquet")],
        datasets: !sweep.sets().is_empty(),
        figures: figures.drawn.into_iter().map(Shown::new).collect(),
        missing: figures.missing,
        runs: sweep.groups.iter().flat_map(|g| g.runs.iter().map(|l| Row::of(g, l))).collect(),
        explorer,
        provenance,
        css: include_str!("page.css"),
        js: include_str!("page.js"),
    };
    let mut environment = Environment::new();
    // The name's ending turns on the escaping of text.
    environment.add_template("page.html", include_str!("page.html")).map_err(Error::draw("index.html"))?;
    let template = environment.get_template("page.html").map_err(Error::draw("index.html"))?;
    render(&template, page)
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

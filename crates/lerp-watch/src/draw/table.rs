//! Draws the table of cells.

use std::collections::BTreeSet;

use lerp_eval::{
    Quantity,
    quantity::{CLASSIFIER_ACCURACY, MEAN_DISTANCE, MEAN_SMOOTHNESS, RECONSTRUCTION_MSE},
};
use lerp_files::duration;
use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span, Text},
    widgets::{Cell, Paragraph, Row, Table},
};

use super::bar;
use crate::{
    app::{App, Filter},
    cell_view::{CellView, Stage},
    palette::Palette,
    text::{count, cut, cut_front},
};

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Dataset,
    Variant,
    Seed,
    Hash,
    State,
    Bar,
    Percent,
    Rate,
    Left,
    Distance,
    Smoothness,
    Error,
    Accuracy,
}

/// A column of the table.
struct Column {
    content: Content,
    heading: &'static str,
    width: usize,
}

/// Largest width of the progress bar, characters.
const MAX_BAR_WIDTH: usize = 40;

/// Draws the table, scrolled so that the selected cell is visible.
pub fn draw(frame: &mut Frame, area: Rect, app: &mut App) {
    app.page = (area.height as usize).saturating_sub(1).max(1);
    let listed = app.listed();
    if listed.is_empty() {
        let text = match app.filter {
            Filter::All => "Nothing has begun yet. Waiting for the sweep's first files.".to_owned(),
            filter => format!("No cell is {}. Press f for others.", filter.name()),
        };
        frame.render_widget(Paragraph::new(text).style(app.palette.faint()), area);
        return;
    }
    let columns = columns(&app.sweep.cells, (area.width as usize).saturating_sub(2));
    let heading = Row::new(columns.iter().map(|column| {
        let text = Line::raw(column.heading);
        if column.content.is_number() { text.right_aligned() } else { text }
    }))
    .style(app.palette.faint());
    let rows: Vec<Row> = listed
        .iter()
        .map(|cell| {
            let row = Row::new(columns.iter().map(|column| entry(cell, column, app.palette)));
            if cell.planned { row } else { row.style(app.palette.faint()) }
        })
        .collect();
    let highlight = match app.palette {
        Palette::None | Palette::Few => Style::new().add_modifier(Modifier::REVERSED),
        Palette::Indexed | Palette::True => Style::new().bg(Color::Indexed(237)).add_modifier(Modifier::BOLD),
    };
    let widths: Vec<Constraint> =
        columns.iter().map(|column| Constraint::Length(column.width as u16)).collect();
    let table = Table::new(rows, widths)
        .header(heading)
        .column_spacing(1)
        .row_highlight_style(highlight)
        .highlight_symbol("▶ ");
    frame.render_stateful_widget(table, area, &mut app.table);
}

/// Chooses the columns that fit into `room` characters, by importance. A column with the same dataset in all rows is
/// left out.
fn columns(cells: &[CellView], room: usize) -> Vec<Column> {
    let widest =
        |text: &dyn Fn(&CellView) -> usize, most: usize| cells.iter().map(text).max().unwrap_or(0).min(most);
    let several =
        |text: &dyn Fn(&CellView) -> String| cells.iter().map(text).collect::<BTreeSet<_>>().len() > 1;
    let key = |cell: &CellView| (cell.dataset.clone(), cell.variant.clone(), cell.seed.clone());
    let clash = cells.iter().map(key).collect::<BTreeSet<_>>().len() < cells.len();
    let lines = cells.iter().any(|cell| cell.dataset == lerp_data::Lines::NAME);
    // The columns in the order of importance, each with its position in the table.
    let mut wanted = vec![
        (1, Content::Variant, "variant", widest(&|cell| cell.variant.chars().count(), 16).max(7)),
        (4, Content::State, "state", 9),
        (6, Content::Percent, "%", 4),
    ];
    if several(&|cell| cell.dataset.clone()) {
        wanted.push((
            0,
            Content::Dataset,
            "dataset",
            widest(&|cell| cell.dataset.chars().count(), 16).max(7),
        ));
    }
    wanted.push((2, Content::Seed, "seed", widest(&|cell| cell.seed.chars().count(), 8).max(4)));
    if lines {
        wanted.push((9, Content::Distance, "distance", 8));
    } else {
        wanted.push((12, Content::Accuracy, "accuracy", 8));
    }
    if clash {
        wanted.push((3, Content::Hash, "cell", 8));
    }
    wanted.push((7, Content::Rate, "samples/s", 9));
    wanted.push((5, Content::Bar, "", 8));
    if lines {
        wanted.push((10, Content::Smoothness, "smooth", 7));
    }
    wanted.push((11, Content::Error, "error", 7));
    if cells.iter().any(|cell| cell.stage == Stage::Running) {
        wanted.push((8, Content::Left, "left", 10));
    }
    if lines {
        wanted.push((12, Content::Accuracy, "accuracy", 8));
    }
    let mut left = room;
    let mut chosen = Vec::new();
    for (i, (order, content, heading, width)) in wanted.into_iter().enumerate() {
        // The first three columns are always shown, even if the terminal is too narrow for them.
        if i < 3 || width < left {
            left = left.saturating_sub(width + 1);
            chosen.push((order, Column { content, heading, width }));
        }
    }
    chosen.sort_by_key(|(order, _)| *order);
    let mut chosen: Vec<Column> = chosen.into_iter().map(|(_, column)| column).collect();
    if let Some(bar) = chosen.iter_mut().find(|column| column.content == Content::Bar) {
        bar.width = (bar.width + left).min(MAX_BAR_WIDTH);
    }
    chosen
}

impl Content {
    fn is_number(self) -> bool {
        !matches!(self, Self::Dataset | Self::Variant | Self::Hash | Self::State | Self::Bar)
    }
}

fn entry(cell: &CellView, column: &Column, palette: Palette) -> Cell<'static> {
    let some = |value: Option<String>| value.unwrap_or_default();
    let last = |of: &Quantity| cell.last(&of.key);
    let begun = cell.total.is_some();
    let text = match column.content {
        Content::Dataset => cut_front(&cell.dataset, column.width),
        Content::Variant => cut(&cell.variant, column.width),
        Content::Seed => cell.seed.clone(),
        Content::Hash => cell.hash().to_owned(),
        Content::State => return Cell::new(Span::styled(cell.stage.name(), palette.stage(cell.stage))),
        Content::Bar => {
            if !begun {
                return Cell::new("");
            }
            let [full, rest] = bar(cell.fraction(), column.width);
            let style = palette.stage(cell.stage);
            return Cell::new(Line::from(vec![
                Span::styled(full, style.remove_modifier(Modifier::BOLD)),
                Span::styled(rest, palette.faint()),
            ]));
        }
        Content::Percent => some(begun.then(|| format!("{:.0}", (100.0 * cell.fraction()).floor()))),
        Content::Rate => some(cell.rate.map(count)),
        Content::Left => some(seconds_left(cell).map(duration)),
        Content::Distance => some(last(&MEAN_DISTANCE).map(|v| format!("{:.2}e-3", v * 1e3))),
        Content::Smoothness => some(last(&MEAN_SMOOTHNESS).map(|v| format!("{v:.2}"))),
        Content::Error => some(last(&RECONSTRUCTION_MSE).map(|v| format!("{v:.4}"))),
        Content::Accuracy => some(last(&CLASSIFIER_ACCURACY).map(|v| format!("{:.1} %", 100.0 * v))),
    };
    let text = Text::raw(text);
    Cell::new(if column.content.is_number() { text.right_aligned() } else { text })
}

/// Returns the seconds until a running cell is done. Returns `None` for other cells.
fn seconds_left(cell: &CellView) -> Option<f64> {
    let seconds = cell.seconds_per_sample? * cell.total? as f64 * (1.0 - cell.fraction());
    (cell.stage == Stage::Running).then_some(seconds)
}

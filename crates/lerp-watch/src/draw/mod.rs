//! Draws the interactive view on the screen.

mod selected;
mod strip;
mod table;

use lerp_files::duration;
use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};

use crate::{
    app::{App, View},
    palette::Palette,
    text::cut,
};

/// Smallest height, in rows, at which the table and the selected cell are both drawn.
const BOTH_HEIGHT: u16 = 13;

/// Smallest height of the screen, in rows, at which the sentence about the sweep is drawn.
const ABOUT_HEIGHT: u16 = 28;

/// Draws the whole screen.
pub fn draw(frame: &mut Frame, app: &mut App) {
    let area = frame.area();
    let problems = app.problems();
    let header = header(app, area);
    let rows = [
        Constraint::Length(header.len() as u16),
        Constraint::Min(1),
        Constraint::Length(u16::from(!problems.is_empty())),
        Constraint::Length(1),
    ];
    let [top, main, problem, bottom] = Layout::vertical(rows).areas(area);
    frame.render_widget(Paragraph::new(header), top);
    if app.view == View::Cell {
        selected::draw(frame, main, app);
    } else if main.height < BOTH_HEIGHT {
        table::draw(frame, main, app);
    } else {
        // The table shows all cells if they fit into two fifths of the height.
        let wanted = 1 + app.listed().len().clamp(3, 1000) as u16;
        let height = wanted.min(main.height * 2 / 5).max(4);
        let [upper, lower] = Layout::vertical([Constraint::Length(height), Constraint::Min(1)]).areas(main);
        table::draw(frame, upper, app);
        selected::draw(frame, lower, app);
    }
    if let Some(first) = problems.first() {
        let more =
            if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
        let width = (problem.width as usize).saturating_sub(more.len() + 2);
        let line = format!("! {}{more}", cut(first, width));
        frame.render_widget(Paragraph::new(line).style(app.palette.text(Color::Yellow)), problem);
    }
    frame.render_widget(Paragraph::new(keys(app)).style(app.palette.faint()), bottom);
    if app.shows_help {
        help(frame, area, app.palette);
    }
}

/// Returns the header: name, counts and devices; overall progress and remaining time; and a sentence about the sweep if
/// there is room.
fn header(app: &App, area: Rect) -> Vec<Line<'static>> {
    let (sweep, palette, width) = (&app.sweep, app.palette, area.width as usize);
    let counts = sweep.counts();
    let mut first =
        vec![Span::styled(cut(&sweep.name, width / 3), Style::new().add_modifier(Modifier::BOLD))];
    let parts = [
        (counts.done, "done", Color::Green),
        (counts.running, "running", Color::Cyan),
        (counts.stalled, "stalled?", Color::Yellow),
        (counts.failed, "failed", Color::Red),
        (counts.stopped, "stopped", Color::Yellow),
        (counts.queued, "queued", Color::Reset),
        (counts.waiting, "waiting", Color::Reset),
    ];
    let mut used = first[0].width();
    let mut add = |text: String, style: Style| {
        if used + text.chars().count() + 2 <= width {
            used += text.chars().count() + 2;
            first.push(Span::raw("  "));
            first.push(Span::styled(text, style));
        }
    };
    for (count, word, color) in parts {
        if count > 0 {
            add(format!("{count} {word}"), palette.text(color));
        }
    }
    let record = sweep.record();
    if counts.others > 0 {
        add(format!("{} of earlier plans", counts.others), palette.faint());
    }
    if let Some(devices) =
        record.map(|record| record.devices.join(" and ")).filter(|devices| !devices.is_empty())
    {
        add(format!("on {devices}"), palette.faint());
    }

    let fraction = sweep.fraction();
    let left =
        sweep.seconds_left().map_or_else(|| sweep.state().into(), |left| format!("{} left", duration(left)));
    let end = format!(" {:>3.0} %  {left}", (100.0 * fraction).floor());
    let [full, rest] = bar(fraction, width.saturating_sub(end.chars().count()));
    let mut lines = vec![
        Line::from(first),
        Line::from(vec![
            Span::styled(full, palette.text(Color::Cyan)),
            Span::styled(rest, palette.faint()),
            Span::raw(end),
        ]),
    ];
    if let Some(record) = record.filter(|record| area.height >= ABOUT_HEIGHT && !record.about.is_empty()) {
        lines.push(Line::styled(cut(&record.about, width), palette.faint()));
    }
    lines
}

/// Returns the filled and the empty part of a bar of `width` characters.
fn bar(fraction: f64, width: usize) -> [String; 2] {
    let full = ((fraction * width as f64).floor() as usize).min(width);
    ["━".repeat(full), "─".repeat(width - full)]
}

/// Returns the line with the most important keys.
fn keys(app: &App) -> String {
    let keys = [
        "? help".to_owned(),
        "q quit".into(),
        "↑↓ cell".into(),
        format!("f: {}", app.filter.name()),
        "Tab metric".into(),
        "l log axis".into(),
        "o log".into(),
        "n p pair".into(),
        "Enter zoom".into(),
    ];
    keys.join("   ")
}

const HELP: [[&str; 2]; 11] = [
    ["↑ ↓  j k", "another cell"],
    ["PgUp PgDn", "a page of cells"],
    ["Home End", "the first, the last cell"],
    ["f", "all, running or failed cells"],
    ["Tab  ← →", "another metric"],
    ["l", "logarithmic axis, where all is positive"],
    ["n p", "the next, the previous pair of images"],
    ["o", "the cell's log or its curves"],
    ["K J", "scroll the log up, down"],
    ["Enter", "the cell in place of the table"],
    ["q  Esc", "quit; the sweep goes on"],
];

fn help(frame: &mut Frame, area: Rect, palette: Palette) {
    let lines: Vec<Line> = HELP
        .iter()
        .map(|[keys, what]| {
            Line::from(vec![
                Span::styled(format!(" {keys:<10}"), palette.text(Color::Cyan).add_modifier(Modifier::BOLD)),
                Span::raw(format!(" {what} ")),
            ])
        })
        .collect();
    let width = lines.iter().map(Line::width).max().unwrap_or(0) as u16 + 2;
    let popup = area.centered(
        Constraint::Length(width.min(area.width)),
        Constraint::Length((lines.len() as u16 + 2).min(area.height)),
    );
    frame.render_widget(Clear, popup);
    let block = Block::bordered().title(" Keys ").title_alignment(Alignment::Center);
    frame.render_widget(Paragraph::new(lines).block(block), popup);
}

//! Draws the selected cell: its curve or log, and its images.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, Paragraph},
};

use super::strip;
use crate::{
    app::App,
    cell_view::CellView,
    selected_files::StripImages,
    text::{count, cut, number, plain_line, wrap},
};

/// Smallest height of a curve, rows.
const CURVE_HEIGHT: u16 = 5;

/// Draws the selected cell.
pub fn draw(frame: &mut Frame, area: Rect, app: &App) {
    let Some(cell) = app.cell() else { return };
    let [title, main] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    frame.render_widget(Paragraph::new(heading(cell, app, title.width as usize)), title);
    // The strip of images gets at most a third of the height below a log. Below a curve it gets at most half of the
    // height, or all that three times the smallest curve leaves, if that is more.
    let room = main.height.saturating_sub(1);
    let most =
        if app.shows_log(cell) { room / 3 } else { (room / 2).max(room.saturating_sub(3 * CURVE_HEIGHT)) };
    let strip = app.files.images().and_then(|images| {
        let layout = strip::StripLayout::new(images, main.width as usize, most as usize)?;
        Some((images, layout))
    });
    let height = strip.map_or(0, |(_, layout)| layout.lines() as u16 + 1);
    let [upper, lower] = Layout::vertical([Constraint::Min(0), Constraint::Length(height)]).areas(main);
    if app.shows_log(cell) {
        log(frame, upper, app, cell);
    } else {
        curve(frame, upper, app, cell);
    }
    if let Some((images, layout)) = strip {
        let [title, images_area] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(lower);
        let pair = app.pair(images.pairs);
        frame.render_widget(section(&pair_title(cell, images, pair), app), title);
        strip::draw(images, pair, layout, app.palette, images_area, frame.buffer_mut());
    }
}

/// Returns a horizontal line with a title.
fn section<'a>(title: &str, app: &App) -> Block<'a> {
    let title = Line::styled(format!(" {title} "), Style::new().fg(Color::Reset));
    Block::new().borders(Borders::TOP).border_style(app.palette.faint()).title(title)
}

/// Returns the heading of a cell: its name, stage, progress and losses.
fn heading(cell: &CellView, app: &App, width: usize) -> Line<'static> {
    let far = cell
        .total
        .map(|total| format!("  {} of {} samples", count(cell.samples as f64), count(total as f64)));
    // Only losses are shown; terms are parts of them.
    let losses = cell.losses().iter().filter_map(|(name, value)| Some((name.strip_prefix("loss/")?, value)));
    let losses = losses.map(|(name, value)| format!("  {name} {}", number(*value)));
    let job = cell.cluster_job.as_ref().map(|job| format!("  {job}"));
    let rest: String = job.into_iter().chain(far).chain(losses).collect();
    let (id, stage) = (cut(&cell.id, width), cell.stage.name());
    let room = width.saturating_sub(id.chars().count() + stage.len() + 2);
    Line::from(vec![
        Span::styled(id, Style::new().add_modifier(Modifier::BOLD)),
        Span::raw("  "),
        Span::styled(stage, app.palette.stage(cell.stage)),
        Span::styled(cut(&rest, room), app.palette.faint()),
    ])
}

/// Returns the title of a strip, which says between which pair of images it interpolates.
fn pair_title(cell: &CellView, images: &StripImages, pair: usize) -> String {
    let on_lines = cell.dataset == lerp_data::Lines::NAME;
    let angles = match &images.angles {
        Some(angles) => angles.get(pair).map(|pair| pair.map(f64::from)),
        // Files of earlier versions have one pair only, whose angles are fixed.
        None => on_lines.then_some(lerp_train::FIGURE_3_ANGLES),
    };
    let which = match images.pairs {
        1 => "Interpolation".to_owned(),
        pairs => format!("Interpolation {} of {pairs}", pair + 1),
    };
    angles.map_or(which.clone(), |[left, right]| {
        format!("{which}: {:.0}° to {:.0}°", left.to_degrees(), right.to_degrees())
    })
}

/// Draws the curve of the selected metric.
fn curve(frame: &mut Frame, area: Rect, app: &App, cell: &CellView) {
    let names = cell.metrics();
    let Some(metric) = app.metric(cell) else {
        let text = if cell.total.is_some() { "No evaluation yet." } else { "Not begun." };
        frame.render_widget(
            Paragraph::new(text).style(app.palette.faint()).block(section("Curves", app)),
            area,
        );
        return;
    };
    let series = cell.series(metric);
    let shown_number = names.iter().position(|name| *name == metric).map_or(0, |index| index + 1);
    let log = app.log_axis && !series.is_empty() && series.iter().all(|(_, value)| *value > 0.0);
    let last = series.last().map_or_else(|| "not a number".into(), |(_, last)| number(*last));
    let axis = if log { ", log axis" } else { "" };
    let title = format!("{metric} ({shown_number}/{}): {last}{axis}", names.len());
    let block = section(&cut(&title, (area.width as usize).saturating_sub(4)), app);
    let points: Vec<(f64, f64)> =
        series.iter().map(|(x, y)| (*x, if log { y.log10() } else { *y })).collect();
    // If there is no room for axes, only the title with the last value is drawn.
    if points.is_empty() || area.height < CURVE_HEIGHT || area.width < 30 {
        frame.render_widget(block, area);
        return;
    }
    let (low, high) = range(points.iter().map(|(_, y)| *y));
    let label = |y: f64| number(if log { 10_f64.powf(y) } else { y });
    let mut labels = vec![label(low), label(high)];
    if area.height >= 9 {
        labels.insert(1, label(f64::midpoint(low, high)));
    }
    let end =
        cell.total.map_or(0.0, |total| total as f64).max(points.last().map_or(1.0, |(x, _)| *x)).max(1.0);
    // A single point makes no line, so it is drawn as a dot.
    let few = points.len() < 2;
    let dataset = Dataset::default()
        .marker(if few { Marker::Dot } else { Marker::Braille })
        .graph_type(if few { GraphType::Scatter } else { GraphType::Line })
        .style(app.palette.text(Color::Cyan))
        .data(&points);
    let axis = Axis::default().style(app.palette.faint());
    let unit = if area.width < 60 { "" } else { " samples" };
    let along = ["0".to_owned(), count(end / 2.0), format!("{}{unit}", count(end))];
    let chart = Chart::new(vec![dataset])
        .block(block)
        .x_axis(axis.clone().bounds([0.0, end]).labels(along))
        .y_axis(axis.bounds([low, high]).labels(labels));
    frame.render_widget(chart, area);
}

/// Returns the smallest and the largest value, or an interval around them if they are equal.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if high > low {
        return (low, high);
    }
    let room = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
    (low - room, high + room)
}

/// Draws the reason of a failure and the end of the cell's log.
fn log(frame: &mut Frame, area: Rect, app: &App, cell: &CellView) {
    let width = area.width as usize;
    let reason = cell.reason.as_deref().map_or_else(Vec::new, |reason| wrap(&plain_line(reason), width));
    let lines: Vec<String> = app.files.log().iter().flat_map(|line| wrap(line, width)).collect();
    let above = (reason.len() as u16).min(area.height.saturating_sub(2));
    let [upper, lower] = Layout::vertical([Constraint::Length(above), Constraint::Min(0)]).areas(area);
    let reason: Vec<Line> = reason.into_iter().map(Line::raw).collect();
    frame.render_widget(Paragraph::new(reason).style(app.palette.text(Color::Red)), upper);
    let room = (lower.height as usize).saturating_sub(1);
    app.max_scroll.set(lines.len().saturating_sub(room));
    let scroll = app.scroll.min(app.max_scroll.get());
    let end = lines.len() - scroll;
    let title = match (lines.is_empty(), scroll) {
        (true, _) => "log.txt is empty".to_owned(),
        (false, 0) => "log.txt, its end".to_owned(),
        (false, lines) => format!("log.txt, {lines} lines before its end"),
    };
    let shown: Vec<Line> =
        lines[end.saturating_sub(room)..end].iter().map(|line| Line::raw(line.clone())).collect();
    frame.render_widget(Paragraph::new(shown).block(section(&title, app)), lower);
}

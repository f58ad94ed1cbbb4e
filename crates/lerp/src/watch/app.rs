//! The state of the interactive view: what the user has selected, and how keys change it.

use ratatui::{
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    widgets::TableState,
};

use super::{
    cell::{Cell, Stage},
    detail::Detail,
    palette::Palette,
    sweep::Sweep,
};

/// The filter that decides which cells are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// All cells.
    All,
    /// Cells that a worker process is training.
    Running,
    /// Cells that failed.
    Failed,
}

impl Filter {
    /// Returns the filter's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Running => "running",
            Self::Failed => "failed",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::All => Self::Running,
            Self::Running => Self::Failed,
            Self::Failed => Self::All,
        }
    }

    fn takes(self, cell: &Cell) -> bool {
        match self {
            Self::All => true,
            Self::Running => cell.stage.is_running(),
            Self::Failed => cell.stage == Stage::Failed,
        }
    }
}

/// What the screen shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The table, and below it the selected cell if there is room for both.
    Both,
    /// Only the selected cell.
    Cell,
}

/// The state of the interactive view of a sweep.
#[derive(Debug)]
pub struct App {
    /// The sweep that is watched.
    pub sweep: Sweep,
    /// Images and log of the selected cell.
    pub detail: Detail,
    /// Colours that the terminal supports.
    pub palette: Palette,
    /// The filter that decides which cells are listed.
    pub filter: Filter,
    /// Whether curves whose values are all positive have a logarithmic axis.
    pub log_axis: bool,
    /// What the screen shows.
    pub view: View,
    /// Whether the list of keys is shown.
    pub help: bool,
    /// Number of lines by which the log is scrolled up from its end.
    pub scroll: usize,
    /// Largest possible value of `scroll`, which drawing the log computes.
    pub most_scroll: std::cell::Cell<usize>,
    /// Selection and scroll offset of the table.
    pub table: TableState,
    /// Number of rows of the table that fit on the screen.
    pub page: usize,
    selected: Option<String>,
    chosen: bool,
    metric: Option<String>,
    show_log: Option<bool>,
    pair: usize,
}

impl App {
    /// Creates the view of `sweep`, which has been read.
    pub fn new(sweep: Sweep, palette: Palette) -> Self {
        Self {
            sweep,
            detail: Detail::default(),
            palette,
            filter: Filter::All,
            log_axis: false,
            view: View::Both,
            help: false,
            scroll: 0,
            most_scroll: std::cell::Cell::new(0),
            table: TableState::default(),
            page: 1,
            selected: None,
            chosen: false,
            metric: None,
            show_log: None,
            pair: 0,
        }
    }

    /// Reads the files that have changed. `now` is in seconds since 1970.
    pub fn refresh(&mut self, now: f64) {
        self.sweep.refresh(now);
        self.look();
    }

    /// Keeps one of the listed cells selected, and reads its images and log. Until the user selects a cell, a running
    /// one is selected.
    fn look(&mut self) {
        let listed = self.listed();
        let running = || listed.iter().position(|cell| cell.stage.is_running());
        let same = self.selected.as_ref().and_then(|id| listed.iter().position(|cell| cell.id == *id));
        let place = match same.filter(|place| self.chosen || listed[*place].stage.is_running()) {
            Some(place) => place,
            None if !self.chosen => running().or(same).unwrap_or(0),
            // The chosen cell is no longer listed, so the cell in its row is selected.
            None => self.table.selected().unwrap_or(0).min(listed.len().saturating_sub(1)),
        };
        let id = listed.get(place).map(|cell| cell.id.clone());
        self.table.select(id.is_some().then_some(place));
        if let Some(id) = id {
            if self.selected.as_ref() != Some(&id) {
                // The new cell has another log, so the scroll position is reset.
                (self.scroll, self.show_log) = (0, None);
            }
            self.selected = Some(id);
        }
        if let Some(cell) = self.sweep.cells.iter().find(|cell| Some(&cell.id) == self.selected.as_ref()) {
            self.detail.refresh(cell);
        }
    }

    /// Returns the cells that the filter accepts.
    pub fn listed(&self) -> Vec<&Cell> {
        self.sweep.cells.iter().filter(|cell| self.filter.takes(cell)).collect()
    }

    /// Returns the selected cell. Returns `None` if no cell is listed.
    pub fn cell(&self) -> Option<&Cell> {
        self.listed().into_iter().find(|cell| Some(&cell.id) == self.selected.as_ref())
    }

    /// Returns the metric whose curve is shown: the user's choice if the cell has it, or else the cell's first metric.
    pub fn metric<'a>(&self, cell: &'a Cell) -> Option<&'a str> {
        let all = cell.metrics();
        let chosen = self.metric.as_deref().and_then(|name| all.iter().find(|other| **other == name));
        chosen.or(all.first()).copied()
    }

    /// Whether the log is shown instead of the curve. By default it is shown for a failed cell.
    pub fn shows_log(&self, cell: &Cell) -> bool {
        self.show_log.unwrap_or(cell.stage == Stage::Failed)
    }

    /// Returns the index of the pair, among `pairs`, whose interpolation is shown.
    pub fn pair(&self, pairs: usize) -> usize {
        self.pair % pairs.max(1)
    }

    /// Returns sentences about files that cannot be read.
    pub fn problems(&self) -> Vec<String> {
        let mut all = self.sweep.problems();
        all.extend(self.detail.problems().map(String::from));
        all
    }

    /// Handles a key. Returns whether the key ends the program.
    pub fn key(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control {
            return key.code == KeyCode::Char('c');
        }
        if matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
            return true;
        }
        if std::mem::take(&mut self.help) {
            return false;
        }
        let page = self.page.max(1) as isize;
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-page),
            KeyCode::PageDown => self.go(page),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX),
            KeyCode::Tab | KeyCode::Right => self.turn_metric(1),
            KeyCode::BackTab | KeyCode::Left => self.turn_metric(-1),
            KeyCode::Char('f') => self.filter = self.filter.next(),
            KeyCode::Char('l') => self.log_axis = !self.log_axis,
            KeyCode::Char('n') => self.turn_pair(1),
            KeyCode::Char('p') => self.turn_pair(-1),
            KeyCode::Char('o') => self.show_log = self.cell().map(|cell| !self.shows_log(cell)),
            KeyCode::Char('K') => self.scroll = (self.scroll + 1).min(self.most_scroll.get()),
            KeyCode::Char('J') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Enter => {
                self.view = if self.view == View::Both { View::Cell } else { View::Both };
            }
            KeyCode::Char('?' | 'h') => self.help = true,
            _ => {}
        }
        self.look();
        false
    }

    /// Moves the selection by a number of rows.
    fn go(&mut self, rows: isize) {
        let listed = self.listed();
        let Some(last) = listed.len().checked_sub(1) else { return };
        let place = self.table.selected().unwrap_or(0).min(last);
        let place = place.saturating_add_signed(rows).min(last);
        let id = listed[place].id.clone();
        self.table.select(Some(place));
        self.chosen = true;
        if self.selected.as_ref() != Some(&id) {
            (self.scroll, self.show_log) = (0, None);
        }
        self.selected = Some(id);
    }

    fn turn_metric(&mut self, by: isize) {
        let Some(cell) = self.cell() else { return };
        let all = cell.metrics();
        let place = self.metric(cell).and_then(|name| all.iter().position(|other| *other == name));
        self.metric = place.map(|place| all[turned(place, by, all.len())].to_owned());
    }

    fn turn_pair(&mut self, by: isize) {
        let pairs = self.detail.images().map_or(1, |images| images.size[0]);
        self.pair = turned(self.pair(pairs), by, pairs);
    }
}

/// Returns the index `by` after `place`, modulo `all`.
fn turned(place: usize, by: isize, all: usize) -> usize {
    (place as isize + by).rem_euclid(all.max(1) as isize) as usize
}

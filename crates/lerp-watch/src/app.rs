//! The state of the interactive view: what the user has selected, and how keys change it.

use ratatui::{
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    widgets::TableState,
};

use crate::{
    cell_view::{CellView, Stage},
    palette::Palette,
    selected_files::SelectedFiles,
    sweep_view::SweepView,
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
    pub fn name(self) -> &'static str {
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

    fn accepts(self, cell: &CellView) -> bool {
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
    pub sweep: SweepView,
    /// Images and log of the selected cell.
    pub files: SelectedFiles,
    /// Colours that the terminal supports.
    pub palette: Palette,
    /// The filter that decides which cells are listed.
    pub filter: Filter,
    /// Whether curves whose values are all positive have a logarithmic axis.
    pub log_axis: bool,
    /// What the screen shows.
    pub view: View,
    /// Whether the list of keys is shown.
    pub shows_help: bool,
    /// Number of lines by which the log is scrolled up from its end.
    pub scroll: usize,
    /// Largest possible value of `scroll`, which drawing the log computes.
    pub max_scroll: std::cell::Cell<usize>,
    /// Selection and scroll offset of the table.
    pub table: TableState,
    /// Number of rows of the table that fit on the screen.
    pub page: usize,
    /// Name of the selected cell.
    selected: Option<String>,
    /// Whether the user has selected a cell.
    is_chosen: bool,
    /// The metric that the user has chosen.
    metric: Option<String>,
    /// Whether the user has asked for the log (true) or the curve (false) of the selected cell.
    show_log: Option<bool>,
    /// Index of the pair of images, before wrapping around.
    pair: usize,
}

impl App {
    /// Creates the view of `sweep`, which has been read.
    pub fn new(sweep: SweepView, palette: Palette) -> Self {
        Self {
            sweep,
            files: SelectedFiles::default(),
            palette,
            filter: Filter::All,
            log_axis: false,
            view: View::Both,
            shows_help: false,
            scroll: 0,
            max_scroll: std::cell::Cell::new(0),
            table: TableState::default(),
            page: 1,
            selected: None,
            is_chosen: false,
            metric: None,
            show_log: None,
            pair: 0,
        }
    }

    /// Reads the files that have changed. `now` is in seconds since 1970.
    pub fn refresh(&mut self, now: f64) {
        self.sweep.refresh(now);
        self.update_selection();
    }

    /// Keeps one of the listed cells selected, and reads its images and log. Until the user selects a cell, a running
    /// one is selected.
    fn update_selection(&mut self) {
        let listed = self.listed();
        let running = || listed.iter().position(|cell| cell.stage.is_running());
        let same = self.selected.as_ref().and_then(|id| listed.iter().position(|cell| cell.id == *id));
        let index = match same.filter(|index| self.is_chosen || listed[*index].stage.is_running()) {
            Some(index) => index,
            None if !self.is_chosen => running().or(same).unwrap_or(0),
            // The chosen cell is no longer listed, so the cell in its row is selected.
            None => self.table.selected().unwrap_or(0).min(listed.len().saturating_sub(1)),
        };
        let id = listed.get(index).map(|cell| cell.id.clone());
        self.table.select(id.is_some().then_some(index));
        if let Some(id) = id {
            if self.selected.as_ref() != Some(&id) {
                // The new cell has another log, so the scroll position is reset.
                (self.scroll, self.show_log) = (0, None);
            }
            self.selected = Some(id);
        }
        if let Some(cell) = self.sweep.cells.iter().find(|cell| Some(&cell.id) == self.selected.as_ref()) {
            self.files.refresh(cell);
        }
    }

    /// Returns the cells that the filter accepts.
    pub fn listed(&self) -> Vec<&CellView> {
        self.sweep.cells.iter().filter(|cell| self.filter.accepts(cell)).collect()
    }

    /// Returns the selected cell. Returns `None` if no cell is listed.
    pub fn cell(&self) -> Option<&CellView> {
        self.listed().into_iter().find(|cell| Some(&cell.id) == self.selected.as_ref())
    }

    /// Returns the metric whose curve is shown: the user's choice if the cell has it, or else the cell's first metric.
    pub fn metric<'a>(&self, cell: &'a CellView) -> Option<&'a str> {
        let all = cell.metrics();
        let chosen = self.metric.as_deref().and_then(|name| all.iter().find(|other| **other == name));
        chosen.or(all.first()).copied()
    }

    /// Whether the log is shown instead of the curve. By default it is shown for a failed cell.
    pub fn shows_log(&self, cell: &CellView) -> bool {
        self.show_log.unwrap_or(cell.stage == Stage::Failed)
    }

    /// Returns the index of the pair, among `pairs`, whose interpolation is shown.
    pub fn pair(&self, pairs: usize) -> usize {
        self.pair % pairs.max(1)
    }

    /// Returns sentences about files that cannot be read.
    pub fn problems(&self) -> Vec<String> {
        let mut all = self.sweep.problems();
        all.extend(self.files.problems().map(String::from));
        all
    }

    /// Handles a key. Returns whether the key ends the program.
    pub fn handle_key(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control {
            return key.code == KeyCode::Char('c');
        }
        if matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
            return true;
        }
        if std::mem::take(&mut self.shows_help) {
            return false;
        }
        let page = self.page.max(1) as isize;
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.move_selection(-1),
            KeyCode::Down | KeyCode::Char('j') => self.move_selection(1),
            KeyCode::PageUp => self.move_selection(-page),
            KeyCode::PageDown => self.move_selection(page),
            KeyCode::Home | KeyCode::Char('g') => self.move_selection(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.move_selection(isize::MAX),
            KeyCode::Tab | KeyCode::Right => self.rotate_metric(1),
            KeyCode::BackTab | KeyCode::Left => self.rotate_metric(-1),
            KeyCode::Char('f') => self.filter = self.filter.next(),
            KeyCode::Char('l') => self.log_axis = !self.log_axis,
            KeyCode::Char('n') => self.rotate_pair(1),
            KeyCode::Char('p') => self.rotate_pair(-1),
            KeyCode::Char('o') => self.show_log = self.cell().map(|cell| !self.shows_log(cell)),
            KeyCode::Char('K') => self.scroll = (self.scroll + 1).min(self.max_scroll.get()),
            KeyCode::Char('J') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Enter => {
                self.view = if self.view == View::Both { View::Cell } else { View::Both };
            }
            KeyCode::Char('?' | 'h') => self.shows_help = true,
            _ => {}
        }
        self.update_selection();
        false
    }

    /// Moves the selection by a number of rows.
    fn move_selection(&mut self, rows: isize) {
        let listed = self.listed();
        let Some(last) = listed.len().checked_sub(1) else { return };
        let index = self.table.selected().unwrap_or(0).min(last);
        let index = index.saturating_add_signed(rows).min(last);
        let id = listed[index].id.clone();
        self.table.select(Some(index));
        self.is_chosen = true;
        if self.selected.as_ref() != Some(&id) {
            (self.scroll, self.show_log) = (0, None);
        }
        self.selected = Some(id);
    }

    fn rotate_metric(&mut self, by: isize) {
        let Some(cell) = self.cell() else { return };
        let all = cell.metrics();
        let index = self.metric(cell).and_then(|name| all.iter().position(|other| *other == name));
        self.metric = index.map(|index| all[rotated(index, by, all.len())].to_owned());
    }

    fn rotate_pair(&mut self, by: isize) {
        let pairs = self.files.images().map_or(1, |images| images.pairs);
        self.pair = rotated(self.pair(pairs), by, pairs);
    }
}

/// Returns the number `by` after `index`, modulo `all`.
fn rotated(index: usize, by: isize, all: usize) -> usize {
    (index as isize + by).rem_euclid(all.max(1) as isize) as usize
}

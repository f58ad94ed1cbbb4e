//! Tests of drawing: from the state of a sweep to the screen.

use std::fs;

use lerp_train::State;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    style::Color,
};

use super::folder::{Folder, SAMPLES, cell, screen};
use crate::{app::App, draw::draw, now, palette::Palette, sweep_view::SweepView};

const HALF: u64 = SAMPLES / 2;

fn press(app: &mut App, code: KeyCode) -> bool {
    app.handle_key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn running() -> Folder {
    Folder::new()
        .plan(&["baseline", "vae", "aae", "acai"])
        .with("baseline", State::Done, SAMPLES)
        .with("vae", State::Failed, HALF)
        .with("aae", State::Running, HALF)
        .live("aae", HALF + 1024, 0.0)
}

#[test]
fn a_running_sweep_on_a_wide_terminal() {
    let folder = running();
    let mut app = folder.app();
    let text = screen(&mut app, 120, 40);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "quick  1 done  1 running  1 failed  1 waiting  on cpu");
    assert!(lines[1].starts_with("━━━") && lines[1].ends_with(" 64 %  4 min left"), "{}", lines[1]);
    assert_eq!(lines[2], "seven variants");
    for word in ["variant", "seed", "state", "samples/s", "distance", "smooth", "error", "accuracy", "left"] {
        assert!(lines[3].contains(word), "{}", lines[3]);
    }
    // A running cell is selected at first.
    let aae = lines[6];
    assert!(aae.starts_with("▶ aae") && aae.contains("running") && aae.contains("56"), "{aae}");
    assert!(aae.contains("1.25e-3") && aae.contains("250"), "{aae}");
    assert!(lines[4].contains("baseline") && lines[4].contains("done") && lines[4].contains("100"), "{text}");
    assert!(
        lines[8].starts_with(&format!(
            "{}  running  9.2k of 16.4k samples  autoencoder 0.1250",
            cell("aae").id()
        ))
    );
    assert!(text.contains("eval/mean_distance (1/5): 1.25e-3") && text.contains("16.4k samples"), "{text}");
    assert!(text.contains("Interpolation: 129° to 270°") && text.contains("▀▀▀▀▀▀▀▀"), "{text}");
    assert!(lines[39].starts_with("? help"), "{text}");
}

#[test]
fn images_are_in_true_colours_and_in_shades_without_any() {
    let folder = running();
    let mut app = folder.app();
    let colors = |app: &mut App| {
        let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
        terminal.draw(|frame| draw(frame, app)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        buffer.content().iter().flat_map(|cell| [cell.fg, cell.bg]).collect::<Vec<_>>()
    };
    let all = colors(&mut app);
    // The first image is black, the last one white, and one in between has the value 136.
    for value in [0, 255, 136] {
        assert!(all.contains(&Color::Rgb(value, value, value)), "{value}");
    }
    app.palette = Palette::None;
    assert!(colors(&mut app).iter().all(|color| *color == Color::Reset));
    let text = screen(&mut app, 120, 40);
    for shade in ["░░░", "▒▒▒", "▓▓▓", "███"] {
        assert!(text.contains(shade), "{text}");
    }
}

#[test]
fn a_failed_cell_shows_its_reason_and_the_end_of_its_log() {
    let folder = running();
    let mut app = folder.app();
    press(&mut app, KeyCode::Up);
    let text = screen(&mut app, 100, 30);
    assert!(
        text.contains("▶ vae") && text.contains("loss/autoencoder became NaN; lower the learning rate"),
        "{text}"
    );
    assert!(text.contains("log.txt, its end") && text.contains("log line 39"), "{text}");
    press(&mut app, KeyCode::Char('K'));
    press(&mut app, KeyCode::Char('K'));
    let text = screen(&mut app, 100, 30);
    assert!(text.contains("2 lines before its end") && !text.contains("log line 38"), "{text}");
    for _ in 0..100 {
        press(&mut app, KeyCode::Char('K'));
        screen(&mut app, 100, 30);
    }
    assert!(screen(&mut app, 100, 30).contains("log line 0\n"));
    press(&mut app, KeyCode::Char('o'));
    let text = screen(&mut app, 100, 30);
    assert!(text.contains("eval/mean_distance") && !text.contains("log.txt"), "{text}");
}

#[test]
fn a_running_cell_is_selected_until_the_user_chooses() {
    let folder = running().with("aae", State::Done, SAMPLES).with("acai", State::Running, HALF);
    fs::remove_file(folder.run("aae").join("progress.json")).unwrap();
    let variant = |app: &App| app.cell().unwrap().variant.clone();
    let mut app = folder.app();
    assert_eq!(variant(&app), "acai");
    let folder = folder.with("acai", State::Done, SAMPLES);
    app.refresh(now());
    assert_eq!(variant(&app), "acai");
    let folder = folder.with("aae", State::Running, HALF);
    app.refresh(now());
    assert_eq!(variant(&app), "aae");
    press(&mut app, KeyCode::Home);
    let _folder = folder.with("aae", State::Running, HALF + 1024);
    app.refresh(now());
    assert_eq!(variant(&app), "baseline");
}

#[test]
fn keys_choose_cells_metrics_and_filters() {
    let folder = running();
    let mut app = folder.app();
    let selected = |app: &App| app.cell().map(|cell| cell.variant.clone()).unwrap_or_default();
    press(&mut app, KeyCode::End);
    assert_eq!(selected(&app), "acai");
    assert!(screen(&mut app, 80, 24).contains("Not begun."));
    press(&mut app, KeyCode::Home);
    assert_eq!(selected(&app), "baseline");
    press(&mut app, KeyCode::Char('j'));
    press(&mut app, KeyCode::PageUp);
    assert_eq!(selected(&app), "baseline");
    press(&mut app, KeyCode::Tab);
    assert!(screen(&mut app, 80, 24).contains("eval/mean_smoothness (2/5)"));
    press(&mut app, KeyCode::Char('l'));
    assert!(screen(&mut app, 80, 24).contains("log axis"));
    press(&mut app, KeyCode::BackTab);
    press(&mut app, KeyCode::Left);
    assert!(screen(&mut app, 80, 24).contains("loss/autoencoder (5/5)"));
    press(&mut app, KeyCode::Left);
    assert!(screen(&mut app, 80, 24).contains("eval/detour (4/5): not a number"));
    press(&mut app, KeyCode::Char('f'));
    assert_eq!((selected(&app).as_str(), app.listed().len()), ("aae", 1));
    press(&mut app, KeyCode::Char('f'));
    assert_eq!(selected(&app), "vae");
    press(&mut app, KeyCode::Char('?'));
    assert!(screen(&mut app, 80, 24).contains("quit; the sweep goes on"));
    assert!(!press(&mut app, KeyCode::Char('x')));
    assert!(!screen(&mut app, 80, 24).contains("quit; the sweep goes on"));
    assert!(press(&mut app, KeyCode::Char('q')) && press(&mut app, KeyCode::Esc));
    assert!(app.handle_key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    assert!(!app.handle_key(KeyEvent::new(KeyCode::Char('l'), KeyModifiers::CONTROL)));
}

#[test]
fn a_filter_without_cells_says_so() {
    let folder = Folder::new().plan(&["vae"]).with("vae", State::Done, SAMPLES);
    let mut app = folder.app();
    let text = screen(&mut app, 80, 24);
    assert!(text.contains("100 %  finished"), "{text}");
    press(&mut app, KeyCode::Char('f'));
    assert!(screen(&mut app, 80, 24).contains("No cell is running. Press f for others."));
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Char('f'));
    press(&mut app, KeyCode::Char('f'));
    assert!(screen(&mut app, 80, 24).contains("▶ vae"));
}

#[test]
fn a_sweep_that_has_not_begun_is_waited_for() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path()).unwrap();
    let mut app = folder.app();
    let text = screen(&mut app, 80, 24);
    assert!(
        text.contains("nothing has begun yet") && text.contains("Waiting for the sweep's first files"),
        "{text}"
    );
    let folder = folder.plan(&["vae", "acai"]);
    app.refresh(now());
    let text = screen(&mut app, 80, 24);
    assert!(text.contains("2 waiting") && text.contains("▶ vae"), "{text}");
    folder.with("vae", State::Running, HALF);
    app.refresh(now());
    assert!(screen(&mut app, 80, 24).contains("gone"), "its folder is deleted by now");
}

#[test]
fn damage_is_told_in_a_line() {
    let folder = running();
    let mut app = folder.app();
    let dir = folder.run("aae");
    fs::write(dir.join("metrics.parquet"), "PAR1").unwrap();
    fs::write(dir.join("interpolation.safetensors"), [255; 64]).unwrap();
    app.refresh(now());
    let text = screen(&mut app, 120, 40);
    assert!(text.contains("! ") && text.contains("(and 1 more)"), "{text}");
    assert!(text.contains("eval/mean_distance (1/5)") && text.contains("▀▀▀▀"), "{text}");
}

#[test]
fn every_size_can_be_drawn() {
    let empty = tempfile::tempdir().unwrap();
    let apps = [
        running().app(),
        Folder::new().plan(&["vae"]).app(),
        App::new(SweepView::open(empty.path()).unwrap(), Palette::Few),
    ];
    for mut app in apps {
        for key in ['x', '\n', '?', 'o'] {
            press(&mut app, if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) });
            for (width, height) in
                [(40, 10), (45, 12), (1, 1), (2, 3), (3, 40), (200, 2), (17, 17), (300, 90)]
            {
                screen(&mut app, width, height);
            }
        }
    }
}

#[test]
fn a_small_terminal_shows_the_table_and_on_request_the_cell() {
    let folder = running();
    let mut app = folder.app();
    let text = screen(&mut app, 40, 10);
    let aae = text.lines().find(|line| line.starts_with("▶ aae")).unwrap();
    assert!(aae.contains("running") && aae.contains("56"), "{text}");
    assert!(text.contains("baseline") && text.contains("acai") && text.contains("1 failed"), "{text}");
    press(&mut app, KeyCode::Enter);
    let text = screen(&mut app, 40, 10);
    assert!(text.contains("eval/mean_distance") && !text.contains("baseline"), "{text}");
}

//! The colours that a terminal supports.

use ratatui::style::{Color, Modifier, Style};

use crate::cell_view::Stage;

/// The set of colours that a terminal supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Palette {
    /// No colours, or the user wants none; images are drawn with shades of characters.
    None,
    /// The eight basic colours, which are too few for images.
    Few,
    /// 256 indexed colours.
    Indexed,
    /// All 24-bit colours.
    True,
}

impl Palette {
    /// Returns the palette of this terminal according to environment variables.
    pub fn from_env() -> Self {
        let get = |name: &str| std::env::var(name).unwrap_or_default();
        Self::of(&get("NO_COLOR"), &get("COLORTERM"), &get("TERM"), cfg!(windows))
    }

    fn of(no_color: &str, color_term: &str, term: &str, windows: bool) -> Self {
        if !no_color.is_empty() || matches!(term, "dumb" | "vt100" | "vt220") || term.ends_with("-m") {
            Self::None
        } else if matches!(color_term, "truecolor" | "24bit") || term.ends_with("-direct") || windows {
            Self::True
        } else if term.contains("256color") || term == "alacritty" || term.starts_with("foot") {
            Self::Indexed
        } else {
            Self::Few
        }
    }

    /// Returns the colour of a pixel. Returns `None` if the terminal has too few colours for images.
    pub fn pixel(self, [r, g, b]: [u8; 3]) -> Option<Color> {
        match self {
            Self::None | Self::Few => None,
            Self::True => Some(Color::Rgb(r, g, b)),
            Self::Indexed => Some(Color::Indexed(indexed([r, g, b]))),
        }
    }

    /// Returns the style of text in `color`, or plain text without colours.
    pub fn text(self, color: Color) -> Style {
        if self == Self::None { Style::new() } else { Style::new().fg(color) }
    }

    /// Returns the style of less important text.
    pub fn faint(self) -> Style {
        if self == Self::None { Style::new() } else { Style::new().fg(Color::DarkGray) }
    }

    /// Returns the style of a stage's name.
    pub fn stage(self, stage: Stage) -> Style {
        match stage {
            Stage::Waiting | Stage::Queued => self.faint(),
            Stage::Running | Stage::Measuring => self.text(Color::Cyan),
            Stage::Stalled | Stage::Stopped => self.text(Color::Yellow),
            Stage::Failed => self.text(Color::Red).add_modifier(Modifier::BOLD),
            Stage::Done => self.text(Color::Green),
        }
    }
}

/// Returns the index of the nearest colour of a 256-colour terminal, among its 24 greys and its cube of 6x6x6 colours.
fn indexed([r, g, b]: [u8; 3]) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let distance = |a: [u8; 3]| -> u32 {
        [(a[0], r), (a[1], g), (a[2], b)].iter().map(|(x, y)| u32::from(x.abs_diff(*y)).pow(2)).sum()
    };
    let nearest = |value: u8| (0..6).min_by_key(|&i| LEVELS[i].abs_diff(value)).unwrap_or(0);
    let [i, j, k] = [r, g, b].map(nearest);
    let cube = [LEVELS[i], LEVELS[j], LEVELS[k]];
    let mean = (u32::from(r) + u32::from(g) + u32::from(b)) / 3;
    let gray = (mean.saturating_sub(3) / 10).min(23) as u8;
    if distance([8 + 10 * gray; 3]) < distance(cube) { 232 + gray } else { (16 + 36 * i + 6 * j + k) as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_palette_follows_the_environment_of_the_terminal() {
        let of = |no_color, color_term, term| Palette::of(no_color, color_term, term, false);
        assert_eq!(of("", "truecolor", "xterm-256color"), Palette::True);
        assert_eq!(of("", "", "screen-256color"), Palette::Indexed);
        assert_eq!(of("", "", "linux"), Palette::Few);
        assert_eq!(of("1", "truecolor", "xterm-256color"), Palette::None);
        assert_eq!(of("", "truecolor", "dumb"), Palette::None);
    }

    #[test]
    fn pixels_are_near_what_they_should_be() {
        assert_eq!([[0, 0, 0], [255, 255, 255], [255, 0, 0]].map(indexed), [16, 231, 196]);
        assert_eq!(indexed([128, 128, 128]), 244);
        assert_eq!(Palette::True.pixel([1, 2, 3]), Some(Color::Rgb(1, 2, 3)));
        assert_eq!(Palette::Few.pixel([1, 2, 3]), None);
    }
}

//! Printing of single lines for users. Text from files and arguments may contain control characters, which are escaped
//! so that a terminal does not obey them. Write errors are ignored, because the program should go on when its reader
//! has exited (`lerp verify | head`).

use std::io::{IsTerminal, Write};

use lerp_files::printable;
use lerp_report::TerminalStyle;

/// Largest number of warnings that [`warn_of_all`] prints.
const MAX_WARNINGS: usize = 20;

/// Prints a line on standard output.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", printable(text));
}

/// Prints lines on standard output as they are; the caller must have escaped what is in them.
pub fn say_lines(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints an error with its causes on standard error, as one line.
pub fn complain(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {}", sentence(error));
}

/// Prints a warning on standard error.
pub fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "warning: {}", printable(text));
}

/// Prints each of the sentences as a warning, or only the first [`MAX_WARNINGS`] and the number of the others.
pub fn warn_of_all(sentences: &[String]) {
    sentences.iter().take(MAX_WARNINGS).for_each(|sentence| warn(sentence));
    if sentences.len() > MAX_WARNINGS {
        warn(&format!("and {} more warnings like these", sentences.len() - MAX_WARNINGS));
    }
}

/// Prints a message on standard error, so that a program that reads standard output does not see it.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

/// Returns how tables are printed on standard output: with bold type if it is a terminal that supports it and `NO_COLOR`
/// does not forbid it (<https://no-color.org>).
pub fn terminal_style() -> TerminalStyle {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stdout().is_terminal() && !no_color && !is_dumb() {
        TerminalStyle::Colored
    } else {
        TerminalStyle::Plain
    }
}

/// Whether the terminal, if there is one, can only print lines and not move its cursor: `TERM` is `dumb`, or is not set
/// on Unix.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").map_or(cfg!(unix), |term| term == "dumb")
}

/// Returns an error with its causes as one line without control characters.
fn sentence(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    printable(&lines.join(" ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn an_error_is_one_line_that_no_terminal_obeys() {
        let error = anyhow::anyhow!("bad value\n  at 'x\x1b[2J'\n").context("cannot read");
        assert_eq!(sentence(&error), r"cannot read: bad value at 'x\u{1b}[2J'");
    }
}

//! Output for people, in single lines. What comes from files and arguments may hold anything, so lines are shown without
//! what a terminal would obey. A reader that has gone away (`lerp verify | head`) is no reason to stop, so errors are
//! dropped.

use std::io::Write;

use lerp_files::printable;

/// Sentences of one kind that are printed.
const MOST: usize = 20;

/// Prints a line on standard output.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", printable(text));
}

/// Prints lines on standard output as they are; whoever made them has made fit to print what is in them.
pub fn say_lines(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints the error that ends the program.
pub fn complain(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {}", sentence(error));
}

/// Prints what a person should know, where standard output may be read by a program.
pub fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "warning: {}", printable(text));
}

/// [`warn`] of each of the sentences, the first of them if they are very many.
pub fn warn_of_all(sentences: &[String]) {
    sentences.iter().take(MOST).for_each(|sentence| warn(sentence));
    if sentences.len() > MOST {
        warn(&format!("and {} more such things", sentences.len() - MOST));
    }
}

/// Prints what was done besides, where standard output may be read by a program.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

/// An error with its causes, in one line.
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

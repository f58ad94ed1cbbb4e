//! Makes text from files and arguments safe to print and to use in file names, and formats durations.

use std::borrow::Cow;

/// Returns `text` as one line without anything that a terminal would interpret: control characters, line ends
/// and the marks that change the direction of writing are escaped, as in `\n` and `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    let bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if bad(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// Whether `text` is a single word, as the names of variants and of run folders must be: letters and digits of
/// any script, `.`, `_` and `-`, not beginning with a dot or a dash, and at most 255 bytes long, the limit of
/// file names.
pub fn is_word(text: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty() && text.len() <= 255 && !text.starts_with(['.', '-']) && text.chars().all(inside)
}

/// Converts `text` to a part of a file name of at most `most` bytes (at least 16). Characters other than
/// letters, digits, `.` and `_` become dashes, and of a text that is too long the end is kept. If this changes
/// the text, a hash of the whole text is appended, so that different texts have different names.
///
/// ```
/// use lerp_files::{file_stem, is_word, printable};
///
/// assert_eq!(file_stem("mnist", 60), "mnist");
/// let (one, other) = (file_stem("images:my pets", 60), file_stem("images:my-pets", 60));
/// assert!(one.starts_with("images-my-pets-") && one != other);
/// assert!(is_word(&one) && !is_word("../mnist"));
///
/// // Text from a file is escaped before it is printed.
/// assert_eq!(printable("red\u{1b}[31m"), "red\\u{1b}[31m");
/// ```
pub fn file_stem(text: &str, most: usize) -> String {
    let inside = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let plain: String = text.chars().map(inside).collect();
    let plain = plain.trim_matches(['-', '.']);
    if plain == text && plain.len() <= most && !plain.is_empty() {
        return plain.to_owned();
    }
    let hash = &crate::digest(text.as_bytes())[..8];
    let room = most.saturating_sub(hash.len() + 1);
    let mut from = plain.len().saturating_sub(room);
    while !plain.is_char_boundary(from) {
        from += 1;
    }
    let end = plain[from..].trim_matches(['-', '.']);
    if end.is_empty() { hash.to_owned() } else { format!("{end}-{hash}") }
}

/// Formats a duration in seconds for reading: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`.
///
/// ```
/// use lerp_files::duration;
///
/// assert_eq!([45.0, 720.0, 12_000.0, 187_200.0].map(duration), ["45 s", "12 min", "3 h 20 min", "2 d 4 h"]);
/// ```
pub fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0..120 => format!("{s} s"),
        120..7_200 => format!("{} min", (s + 30) / 60),
        7_200..172_800 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_printed_reaches_the_terminal_as_a_command() {
        assert_eq!(printable("naïve Größe 漢字 👍"), "naïve Größe 漢字 👍");
        assert_eq!(printable("a\x1b[2J\nb\u{9b}c\u{202e}d\u{7f}"), r"a\u{1b}[2J\nb\u{9b}c\u{202e}d\u{7f}");
    }

    #[test]
    fn words_are_recognised() {
        for good in ["acai", "lines-acai-s0-0123abcd", "кошки-vae", "a.b_c"] {
            assert!(is_word(good), "{good}");
        }
        for bad in
            ["", "../x", "x/y", ".hidden", "-x", "a b", "a\nb", "x\u{1b}", "a\\b", "a:b", &"x".repeat(256)]
        {
            assert!(!is_word(bad), "{bad:?}");
        }
    }

    #[test]
    fn names_of_files_never_meet() {
        assert_eq!(file_stem("mnist", 60), "mnist");
        let (a, b) = (file_stem("images:4/my pets", 60), file_stem("images:4/my-pets", 60));
        assert!(
            a != b && a.starts_with("images-4-my-pets-") && b.starts_with("images-4-my-pets-"),
            "{a} {b}"
        );
        let long = ["猫".repeat(100), format!("犬{}", "猫".repeat(99))].map(|text| file_stem(&text, 60));
        assert!(long[0] != long[1] && long.iter().all(|name| name.len() <= 60 && is_word(name)), "{long:?}");
        for odd in ["", "..", "/", "-", "...x"] {
            assert!(is_word(&file_stem(odd, 60)), "{odd:?}");
        }
    }
}

//! Text from files and arguments, made fit to print and to name files.

use std::borrow::Cow;

/// `text` in one line without anything that a terminal would obey: control characters, line ends, and the marks that turn
/// the direction of writing are shown as escapes, as in `\n` and `\u{1b}`.
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

/// Whether `text` is a plain word, which a name of a variant or of a run's folder is: letters, digits, `.`, `_` and `-` in
/// any script, not beginning with a dot or a dash, and no longer than names of files may be.
pub fn is_word(text: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty() && text.len() <= 255 && !text.starts_with(['.', '-']) && text.chars().all(inside)
}

/// `text` as a part of a file's name of at most `most` bytes (at least 16): other characters than letters, digits, `.` and
/// `_` become dashes, and of what is too long the end stays. Where that changes the text beyond the case of its letters, a
/// hash of the whole text follows, so that two texts never have one name.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_printed_reaches_the_terminal_as_a_command() {
        assert_eq!(printable("naïve Größe 漢字 👍"), "naïve Größe 漢字 👍");
        assert_eq!(printable("a\x1b[2J\nb\u{9b}c\u{202e}d\u{7f}"), r"a\u{1b}[2J\nb\u{9b}c\u{202e}d\u{7f}");
    }

    #[test]
    fn words() {
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

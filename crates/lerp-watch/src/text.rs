//! Formatting of numbers and text for the screen.

/// Returns text as one line without escape sequences and control characters.
pub fn plain_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            // The sequence `ESC [ ... letter` sets a colour or moves the cursor.
            '\u{1b}' => {
                if characters.clone().next() == Some('[') {
                    characters.by_ref().skip(1).find(|c| ('@'..='~').contains(c));
                }
            }
            '\t' => out.push_str("    "),
            '\n' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    // Characters that change the direction of writing are not control characters, so they are escaped here.
    lerp_files::printable(&out).into_owned()
}

/// Formats a number with about three significant digits.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "-".into()
    } else if size != 0.0 && !(1e-2..1e5).contains(&size) {
        format!("{value:.2e}")
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else if size == 0.0 {
        "0".into()
    } else {
        format!("{value:.4}")
    }
}

/// Formats a count such as `960`, `65.5k` or `16.8M`.
pub fn count(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.1}M", v / 1e6),
        v if v >= 1e3 => format!("{:.1}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

/// Cuts text to its first `width` characters, with an ellipsis as the last one if text was cut off.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(width.saturating_sub(1)).collect();
    out.extend((width > 0).then_some('…'));
    out
}

/// Cuts text to its last `width` characters, with an ellipsis as the first one if text was cut off. The end of a path
/// is its most specific part.
pub fn cut_front(text: &str, width: usize) -> String {
    let all = text.chars().count();
    if all <= width {
        return text.to_owned();
    }
    let kept = text.chars().skip(all - width.saturating_sub(1));
    (width > 0).then_some('…').into_iter().chain(kept).collect()
}

/// Breaks a line into lines of at most `width` characters, at spaces if possible.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut room = width;
    for word in text.split_inclusive(' ') {
        let long = word.trim_end().chars().count();
        if long > room && room < width {
            lines.push(String::new());
            room = width;
        }
        for c in word.chars() {
            if room == 0 {
                // A space at the end of a line is invisible and is dropped.
                if c == ' ' {
                    continue;
                }
                lines.push(String::new());
                room = width;
            }
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
            room -= 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [1.3e-4, 0.0123, 3.25, 42.0, 1234.5].map(number),
            ["1.30e-4", "0.0123", "3.25", "42.0", "1234"]
        );
        assert_eq!((number(0.0), number(f64::NAN)), ("0".into(), "-".into()));
        assert_eq!([512.0, 65536.0, 16_777_216.0].map(count), ["512", "65.5k", "16.8M"]);
    }

    #[test]
    fn text_is_cut_and_wrapped_to_a_width() {
        assert_eq!(
            (cut("abcdef", 4), cut("abc", 4), cut("abc", 0)),
            ("abc…".into(), "abc".into(), String::new())
        );
        assert_eq!((cut_front("abcdef", 4), cut_front("abc", 0)), ("…def".into(), String::new()));
        assert_eq!(wrap("lower the learning rate", 10), ["lower the ", "learning ", "rate"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("ab", 0), ["a", "b"]);
    }

    #[test]
    fn a_log_cannot_move_the_cursor() {
        assert_eq!(plain_line("\u{1b}[31mred\u{1b}[0m\tand \u{1b}[2Jplain\r\n!"), "red    and plain !");
    }
}

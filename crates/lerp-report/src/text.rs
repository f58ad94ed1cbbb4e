//! Numbers and text as they are printed.

/// A number without trailing zeros.
pub fn number(value: f64) -> String {
    format!("{value}")
}

/// A value with a fixed number of decimals, or in powers of ten where that would be unreadable.
pub fn fixed(value: f64, decimals: usize) -> String {
    if value.abs() < 1e5 { format!("{value:.decimals$}") } else { format!("{value:.1e}") }
}

/// A printed number with a minus sign in place of a hyphen, and none before a zero.
pub fn minus(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(size) if size.chars().all(|c| matches!(c, '0' | '.')) => size.to_owned(),
        Some(size) => format!("−{size}"),
        None => text.to_owned(),
    }
}

/// The same with a plus sign before what is above zero.
pub fn signed(text: &str) -> String {
    let text = minus(text);
    let above = !text.starts_with('−') && text.chars().any(|c| !matches!(c, '0' | '.'));
    if above { format!("+{text}") } else { text }
}

/// A value with the decimals of a number like `scale` of four significant digits, or in powers of ten where that would be
/// unreadable.
pub fn significant(value: f64, scale: f64) -> String {
    let size = scale.abs();
    if size > 0.0 && !(1e-4..1e5).contains(&size) {
        return format!("{value:.2e}");
    }
    let whole = if size > 0.0 { size.log10().floor() } else { 0.0 };
    fixed(value, (3.0 - whole).clamp(0.0, 7.0) as usize)
}

/// A count with separators: 131,072.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// To two significant digits.
pub fn two_digits(value: f64) -> f64 {
    if value <= 0.0 {
        return value;
    }
    let scale = 10_f64.powf(1.0 - value.log10().floor());
    (value * scale).round() / scale
}

/// `3 runs`, `1 run`.
pub fn count(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// `words` in one text, the first `most` of them if there are more.
pub fn listed<T: AsRef<str>>(words: &[T], most: usize, between: &str) -> String {
    let shown: Vec<&str> = words.iter().take(most).map(AsRef::as_ref).collect();
    let more = words.len().saturating_sub(most);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(between) + &more
}

/// Names that a sentence has room for.
pub const MOST_NAMES: usize = 24;

/// Sentences of one kind under a table.
const MOST_SENTENCES: usize = 40;

/// Names in a sentence.
pub fn names<T: AsRef<str>>(names: &[T]) -> String {
    listed(names, MOST_NAMES, ", ")
}

/// The first of very many sentences of one kind, and how many more there are of `what`.
pub fn few(mut sentences: Vec<String>, what: &str) -> Vec<String> {
    let more = sentences.len().saturating_sub(MOST_SENTENCES);
    if more > 1 {
        sentences.truncate(MOST_SENTENCES);
        sentences.push(format!("… and {more} more {what}."));
    }
    sentences
}

/// Ascending numbers: each, or where these are many the ranges that they make, such as `0 to 2399`.
pub fn numbers(numbers: &[u64]) -> String {
    if numbers.len() <= MOST_NAMES {
        let all: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        return all.join(", ");
    }
    let ranges = numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let ranges: Vec<String> = ranges
        .map(|range| match range {
            [first, .., last] => format!("{first} to {last}"),
            _ => range.iter().map(ToString::to_string).collect(),
        })
        .collect();
    names(&ranges)
}

/// Text in a cell of a Markdown table or in a list.
pub fn markdown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' | '|' | '*' | '`' => {
                out.push('\\');
                out.push(c);
            }
            // What would be a link; an interval is none.
            '[' if out.is_empty() => out += "\\[",
            '(' | ':' | '[' if out.ends_with(']') => {
                out.push('\\');
                out.push(c);
            }
            '<' => out += "&lt;",
            '&' => out += "&amp;",
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

/// `c` in ASCII letters, as near as these come; its number where nothing comes near.
pub fn in_ascii(c: char) -> String {
    let near = deunicode::deunicode_char(c).filter(|near| !near.trim().is_empty());
    near.map_or_else(|| format!("U+{:04X} ", u32::from(c)), str::to_owned)
}

/// Text for LaTeX. A plain LaTeX stops at characters beyond Latin-1: what is not named here is set in letters that come near,
/// as in `Koshki` for `Кошки`.
pub fn latex(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out += r"\textbackslash{}",
            '~' => out += r"\textasciitilde{}",
            '^' => out += r"\textasciicircum{}",
            '<' => out += r"\textless{}",
            '>' => out += r"\textgreater{}",
            '|' => out += r"\textbar{}",
            '"' => out += "''",
            // Behind the end of a line of a table a bracket would begin an argument.
            '[' if out.is_empty() => out += "{[}",
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(c);
            }
            '±' => out += r"$\pm$",
            '×' => out += r"$\times$",
            '†' => out += r"$^\dagger$",
            '–' => out += "--",
            '−' => out += "$-$",
            '≈' => out += r"$\approx$",
            'α' => out += r"$\alpha$",
            '⁻' => out += r"$^{-}$",
            '³' => out += r"$^{3}$",
            ' '..='~' | '\u{a0}'..='ÿ' => out.push(c),
            _ if c.is_whitespace() || c.is_control() => out.push(' '),
            _ => out += &latex(&in_ascii(c)),
        }
    }
    // Words that stand for single characters have a space behind them.
    let end = if text.ends_with(|c: char| c > 'ÿ') { out.trim_end().len() } else { out.len() };
    out.truncate(end);
    out
}

/// A field of a CSV file.
pub fn csv(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0, 12, 123, 1234, 16_777_216].map(thousands), ["0", "12", "123", "1,234", "16,777,216"]);
        assert_eq!(number(1e-4), "0.0001");
        assert_eq!([fixed(0.238, 2), fixed(1.25e12, 4), fixed(-3.0, 1)], ["0.24", "1.2e12", "-3.0"]);
        assert_eq!([two_digits(0.78125), two_digits(0.0), two_digits(99.7)], [0.78, 0.0, 100.0]);
        assert_eq!([count(1, "seed"), count(5, "seed")], ["1 seed", "5 seeds"]);
    }

    #[test]
    fn what_is_many_is_cut() {
        assert_eq!(numbers(&[0, 1, 5]), "0, 1, 5");
        let many: Vec<u64> = (0..2400).filter(|n| *n != 7).chain([u64::MAX]).collect();
        assert_eq!(numbers(&many), format!("0 to 6, 8 to 2399, {}", u64::MAX));
        assert_eq!(listed(&["a", "b", "c"], 2, ", "), "a, b and 1 more");
        let sentences = few(vec!["So.".into(); 100], "rows");
        assert_eq!((sentences.len(), sentences[40].as_str()), (41, "… and 60 more rows."));
    }

    #[test]
    fn every_format_keeps_its_own_characters_out() {
        assert_eq!(latex(r"a_b & 5 % ± † {#$}"), r"a\_b \& 5 \% $\pm$ $^\dagger$ \{\#\$\}");
        assert_eq!(
            latex("\\x^2~<a>|\"é\n漢"),
            r"\textbackslash{}x\textasciicircum{}2\textasciitilde{}\textless{}a\textgreater{}\textbar{}''é Han"
        );
        assert_eq!(markdown("a|b\n<c> *d*"), r"a\|b &lt;c> \*d\*");
        assert_eq!(markdown("[x](y) 97 [96, 98]"), r"\[x]\(y) 97 [96, 98]");
        assert_eq!(latex("[x] 97 [96, 98]"), "{[}x] 97 [96, 98]");
        assert_eq!(latex("Кошки_и 猫 ねこ ő \u{e000}"), r"Koshki\_i Mao  neko o U+E000");
        assert_eq!([csv("ACAI"), csv("A (x=\"1\", y)")], ["ACAI", "\"A (x=\"\"1\"\", y)\""]);
    }
}

//! Formatting of numbers and text.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Formats a number with as many digits as needed.
pub fn number(value: f64) -> String {
    format!("{value}")
}

/// Formats a value with a fixed number of decimals, or with an exponent from 10⁵ on.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    if value.abs() < 1e5 { format!("{value:.decimals$}") } else { format!("{value:.1e}") }
}

/// Replaces the hyphen of a printed negative number by a minus sign, and drops it before zero.
pub(crate) fn minus(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(size) if size.chars().all(|c| matches!(c, '0' | '.')) => size.to_owned(),
        Some(size) => format!("−{size}"),
        None => text.to_owned(),
    }
}

/// Formats a value with its sign and a fixed number of decimals. A number that is printed as zero has no sign.
pub(crate) fn signed(value: f64, decimals: usize) -> String {
    let text = minus(&fixed(value, decimals));
    let above = !text.starts_with('−') && text.chars().any(|c| !matches!(c, '0' | '.'));
    if above { format!("+{text}") } else { text }
}

/// Formats a p-value with two significant digits.
pub(crate) fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { number(two_digits(p)) }
}

/// Formats a value with as many decimals as give `scale` four significant digits, or with an exponent if `scale` is
/// very small or very large.
pub(crate) fn significant(value: f64, scale: f64) -> String {
    let size = scale.abs();
    if size > 0.0 && !(1e-4..1e5).contains(&size) {
        return format!("{value:.2e}");
    }
    let whole = if size > 0.0 { size.log10().floor() } else { 0.0 };
    fixed(value, (3.0 - whole).clamp(0.0, 7.0) as usize)
}

/// Formats a count with thousands separators: `131,072`.
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

/// Rounds a positive value to two significant digits.
pub fn two_digits(value: f64) -> f64 {
    if value <= 0.0 {
        return value;
    }
    let scale = 10_f64.powf(1.0 - value.log10().floor());
    (value * scale).round() / scale
}

/// Formats a count with its noun in the singular or plural: `1 run`, `3 runs`.
pub fn count(n: usize, thing: &str) -> String {
    format!("{n} {}", plural(n, thing))
}

/// Returns the noun for `n` things, in the singular or plural.
pub(crate) fn plural(n: usize, thing: &str) -> String {
    format!("{thing}{}", if n == 1 { "" } else { "s" })
}

/// Returns the leading digits of a digest that are shown.
pub(crate) fn short_digest(digest: &str) -> String {
    digest.chars().take(12).collect()
}

/// Joins the first `most` of `words` by `between`, and says how many more there are.
pub fn listed<T: AsRef<str>>(words: &[T], most: usize, between: &str) -> String {
    let shown: Vec<&str> = words.iter().take(most).map(AsRef::as_ref).collect();
    let more = words.len().saturating_sub(most);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(between) + &more
}

/// Removes repeated values, keeping the order of their first occurrence.
pub(crate) fn unique<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

/// Removes values whose key is that of an earlier one.
pub(crate) fn unique_by<T, K: PartialEq>(
    values: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut known = Vec::new();
    let is_new = |value: &T| {
        let key = key(value);
        let new = !known.contains(&key);
        known.extend(new.then_some(key));
        new
    };
    values.into_iter().filter(is_new).collect()
}

/// The most names in one sentence.
pub(crate) const MAX_NAMES: usize = 24;

/// The most sentences of one kind under a table.
const MAX_SENTENCES: usize = 40;

/// Joins names by commas, up to the number that a sentence has room for.
pub fn names<T: AsRef<str>>(names: &[T]) -> String {
    listed(names, MAX_NAMES, ", ")
}

/// Cuts a long list of similar sentences, and ends it with how many more there are; `what` names them in the plural.
pub(crate) fn few(mut sentences: Vec<String>, what: &str) -> Vec<String> {
    let more = sentences.len().saturating_sub(MAX_SENTENCES);
    if more > 1 {
        sentences.truncate(MAX_SENTENCES);
        sentences.push(format!("… and {more} more {what}."));
    }
    sentences
}

/// Formats ascending numbers: each of them, or, if there are many, the ranges that they form, such as `0 to 2399`.
pub(crate) fn numbers(numbers: &[u64]) -> String {
    if numbers.len() <= MAX_NAMES {
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

/// Escapes text for a cell of a Markdown table or for a list item.
pub fn markdown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' | '|' | '*' | '`' => {
                out.push('\\');
                out.push(c);
            }
            // A bracket that could begin a link is escaped; one that begins an interval within the text is not.
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

/// Transliterates a character to ASCII; a character without a transliteration becomes its code point.
pub(crate) fn in_ascii(c: char) -> String {
    let near = deunicode::deunicode_char(c).filter(|near| !near.trim().is_empty());
    near.map_or_else(|| format!("U+{:04X} ", u32::from(c)), str::to_owned)
}

/// Escapes text for LaTeX. Plain LaTeX stops at characters beyond Latin-1, so those without a command here are
/// transliterated to ASCII, as in `Koshki` for `Кошки`.
pub(crate) fn latex(text: &str) -> String {
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
            // After the `\\` that ends a table row, a bracket would begin an optional argument.
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
    // Transliterations of single characters end in a space, which is removed at the end of the text.
    let end = if text.ends_with(|c: char| c > 'ÿ') { out.trim_end().len() } else { out.len() };
    out.truncate(end);
    out
}

/// Quotes a field of a CSV file if needed.
pub fn csv(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

/// What is done with words that are longer than a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LongWords {
    /// They are cut, so that no line is too long.
    Cut,
    /// They get a line of their own, which is too long.
    Keep,
}

/// Wraps text into lines of at most `most` terminal columns, breaking at spaces.
pub(crate) fn wrap(text: &str, most: usize, long: LongWords) -> Vec<String> {
    let most = most.max(1);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word;
        loop {
            let line = lines.last_mut().map_or("", |line| line.as_str());
            let (used, gap) = (line.width(), usize::from(!line.is_empty()));
            if used + gap + word.width() <= most || (used == 0 && long == LongWords::Keep) {
                if let Some(line) = lines.last_mut() {
                    *line += if gap == 1 { " " } else { "" };
                    *line += word;
                }
                break;
            }
            if used == 0 {
                let (first, rest) = word.split_at(fitting(word, most));
                if let Some(line) = lines.last_mut() {
                    *line += first;
                }
                word = rest;
            }
            lines.push(String::new());
        }
    }
    lines
}

/// Returns the number of bytes of the longest prefix of `word` that fits into `most` columns, but at least one
/// character.
fn fitting(word: &str, most: usize) -> usize {
    let mut used = 0;
    let end = word.char_indices().skip(1).find(|(at, _)| {
        let before = word[..*at].chars().next_back().and_then(UnicodeWidthChar::width);
        used += before.unwrap_or(0);
        used + word[*at..].chars().next().and_then(UnicodeWidthChar::width).unwrap_or(0) > most
    });
    end.map_or(word.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_spaces() {
        let cut = |text, most| wrap(text, most, LongWords::Cut);
        assert_eq!(cut("a bc def", 4), ["a bc", "def"]);
        assert_eq!(cut("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(cut("", 4), [""]);
        assert_eq!(cut("ab", 0), ["a", "b"]);
        assert_eq!(cut("猫犬 鳥", 4), ["猫犬", "鳥"]);
        assert_eq!(cut("猫犬鳥", 5), ["猫犬", "鳥"]);
        let keep = |text| wrap(text, 14, LongWords::Keep);
        assert_eq!(keep("ACAI (advweight=0.5, latent=16)"), ["ACAI", "(advweight=0.5,", "latent=16)"]);
        assert_eq!(keep("ACAI (beta=1)"), ["ACAI (beta=1)"]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0, 12, 123, 1234, 16_777_216].map(thousands), ["0", "12", "123", "1,234", "16,777,216"]);
        assert_eq!(number(1e-4), "0.0001");
        assert_eq!([fixed(0.238, 2), fixed(1.25e12, 4), fixed(-3.0, 1)], ["0.24", "1.2e12", "-3.0"]);
        assert_eq!([two_digits(0.78125), two_digits(0.0), two_digits(99.7)], [0.78, 0.0, 100.0]);
        assert_eq!([count(1, "seed"), count(5, "seed")], ["1 seed", "5 seeds"]);
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(numbers(&[0, 1, 5]), "0, 1, 5");
        let many: Vec<u64> = (0..2400).filter(|n| *n != 7).chain([u64::MAX]).collect();
        assert_eq!(numbers(&many), format!("0 to 6, 8 to 2399, {}", u64::MAX));
        assert_eq!(listed(&["a", "b", "c"], 2, ", "), "a, b and 1 more");
        let sentences = few(vec!["So.".into(); 100], "rows");
        assert_eq!((sentences.len(), sentences[40].as_str()), (41, "… and 60 more rows."));
    }

    #[test]
    fn special_characters_are_escaped_in_every_format() {
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

//! Numbers and text as they are printed.

/// A number without trailing zeros.
pub fn number(value: f64) -> String {
    format!("{value}")
}

/// A value with a fixed number of decimals, or in powers of ten where that would be unreadable.
pub fn fixed(value: f64, decimals: usize) -> String {
    if value.abs() < 1e5 { format!("{value:.decimals$}") } else { format!("{value:.1e}") }
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

/// Text for LaTeX. Characters beyond Latin-1 that are not named here become `?`: a plain LaTeX stops at them.
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
            _ if c.is_whitespace() => out.push(' '),
            _ => out.push('?'),
        }
    }
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
    fn numbers() {
        assert_eq!([0, 12, 123, 1234, 16_777_216].map(thousands), ["0", "12", "123", "1,234", "16,777,216"]);
        assert_eq!(number(1e-4), "0.0001");
        assert_eq!([fixed(0.238, 2), fixed(1.25e12, 4), fixed(-3.0, 1)], ["0.24", "1.2e12", "-3.0"]);
        assert_eq!([two_digits(0.78125), two_digits(0.0), two_digits(99.7)], [0.78, 0.0, 100.0]);
        assert_eq!([count(1, "seed"), count(5, "seed")], ["1 seed", "5 seeds"]);
    }

    #[test]
    fn every_format_keeps_its_own_characters_out() {
        assert_eq!(latex(r"a_b & 5 % ± † {#$}"), r"a\_b \& 5 \% $\pm$ $^\dagger$ \{\#\$\}");
        assert_eq!(
            latex("\\x^2~<a>|\"é\n漢"),
            r"\textbackslash{}x\textasciicircum{}2\textasciitilde{}\textless{}a\textgreater{}\textbar{}''é ?"
        );
        assert_eq!(markdown("a|b\n<c> *d*"), r"a\|b &lt;c> \*d\*");
        assert_eq!(markdown("[x](y) 97 [96, 98]"), r"\[x]\(y) 97 [96, 98]");
        assert_eq!(latex("[x] 97 [96, 98]"), "{[}x] 97 [96, 98]");
        assert_eq!([csv("ACAI"), csv("A (x=\"1\", y)")], ["ACAI", "\"A (x=\"\"1\"\", y)\""]);
    }
}

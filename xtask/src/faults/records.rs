//! Untrusted records: reading them must not crash, hang, print terminal escapes or write files elsewhere.

use std::{fs, path::Path};

use super::{
    Extent, Random, Tally,
    kills::Reference,
    subject::{ProgramUnderTest, SWEEP, copy, runs, write},
};
use crate::Result;

/// The values that replace numbers and texts.
const ODD: [&str; 22] = [
    "0",
    "-1",
    "1",
    "9223372036854775807",
    "18446744073709551615",
    "100000000",
    "1e308",
    "nan",
    "inf",
    "true",
    "\"\"",
    "\"../../x\"",
    "\"x/../..\"",
    "\"/etc/passwd\"",
    "\"\\u001b[2J\"",
    "\"a\\nb\"",
    "\"漢字\"",
    "\"$(touch x)\"",
    "\"<script>alert(1)</script>\"",
    "[]",
    "{}",
    "[[[[[[[[]]]]]]]]",
];

/// Fuzzes the records of runs. Their digests are removed, as in runs of an earlier version, because a record with a
/// wrong digest would not be parsed at all.
pub fn records(
    subject: &ProgramUnderTest,
    reference: &Reference,
    extent: Extent,
    random: &mut Random,
) -> Result<Vec<Tally>> {
    let work_dir = subject.work_dir("records")?;
    copy(&reference.work_dir.join(SWEEP), &work_dir.join(SWEEP))?;
    for run in runs(&work_dir)? {
        fs::remove_file(run.join("digests.json")).map_err(|e| format!("{}: {e}", run.display()))?;
        let record = run.join("run.toml");
        let text = fs::read_to_string(&record).map_err(|e| format!("{}: {e}", record.display()))?;
        write(&record, text.replace("digests = true\n", ""))?;
    }
    let run = runs(&work_dir)?.remove(0);
    let files = [run.join("run.toml"), run.join("status.json"), work_dir.join(SWEEP).join("sweep.toml")];
    let mut tallies = Vec::new();
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let whole = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut tally = Tally::new(format!("fuzzed {name}"));
        for try_ in 0..extent.tries(3, 300) {
            write(path, fuzzed(&whole, random))?;
            let verb = ["report", "compare"][random.below(2)];
            let end = subject.run(&work_dir, &format!("{verb} {SWEEP}"), None, None)?;
            let escape = end.text.contains('\u{1b}').then(|| "a terminal escape was printed".to_owned());
            let outside = unexpected_file(&work_dir).map(|name| format!("'{name}' was written"));
            let wrong = end.crash().or(escape).or(outside);
            if wrong.is_some() {
                let _ = fs::copy(path, work_dir.join(format!("broken-{try_}-{name}")));
            }
            tally.count(format!("try {try_}, {verb}"), wrong);
        }
        write(path, &whole)?;
        tallies.push(tally);
    }
    Ok(tallies)
}

/// Returns a text with up to two values replaced by odd ones, and possibly one byte changed or the end cut off.
fn fuzzed(text: &str, random: &mut Random) -> Vec<u8> {
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    for _ in 0..=random.below(2) {
        let line = random.below(lines.len());
        let odd = ODD[random.below(ODD.len())];
        let separator = if lines[line].contains(": ") { ": " } else { " = " };
        if let Some((key, _)) = lines[line].clone().split_once(separator) {
            let comma = if separator == ": " && lines[line].ends_with(',') { "," } else { "" };
            lines[line] = format!("{key}{separator}{odd}{comma}");
        }
    }
    let mut bytes = (lines.join("\n") + "\n").into_bytes();
    match random.below(4) {
        0 => {
            let index = random.below(bytes.len());
            bytes[index] = random.below(256) as u8;
        }
        1 => bytes.truncate(random.below(bytes.len())),
        _ => {}
    }
    bytes
}

/// Returns the name of an unexpected file beside the sweep's folder, or `None`.
fn unexpected_file(work_dir: &Path) -> Option<String> {
    let entries = fs::read_dir(work_dir).ok()?.filter_map(std::io::Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let ours = |name: &str| {
        matches!(name, "plan.toml" | "output.txt" | "count.txt" | SWEEP) || name.starts_with("broken-")
    };
    names.into_iter().find(|name| !ours(name))
}

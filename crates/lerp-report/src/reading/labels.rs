//! Names of configurations: the title of the variant, and the settings that tell its configurations apart.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
};

use lerp_files::printable;

use super::{group::RunGroup, image_set::SizedImageSet, sweep::MAX_SHOWN};
use crate::{paper::published, text::number};

/// Labels groups, sorts them, and marks those that figures show.
pub fn label_and_sort(groups: &mut [RunGroup]) {
    label(groups);
    // Labels are sorted by the numbers in them, so that 9 precedes 10.
    groups.sort_by(|a, b| {
        let position = |g: &RunGroup| published().position(&g.cell().variant);
        let sets = match (&a.set, &b.set) {
            (Some(a), Some(b)) => a.order(b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        let variants = || position(a).cmp(&position(b)).then_with(|| a.cell().variant.cmp(&b.cell().variant));
        sets.then_with(variants).then_with(|| natural(&a.label, &b.label))
    });
    let mut count = 0;
    for i in 0..groups.len() {
        count = if i > 0 && groups[i].set == groups[i - 1].set { count + 1 } else { 0 };
        groups[i].shown = count < MAX_SHOWN;
    }
}

/// Labels each group with its variant's title, and with the settings that differ if the variant has several groups on
/// lines or on one image set.
fn label(groups: &mut [RunGroup]) {
    let all_settings: Vec<BTreeMap<String, String>> = groups.iter().map(flat).collect();
    let mut twins: HashMap<(Option<&SizedImageSet>, &str), Vec<usize>> = HashMap::new();
    for (i, group) in groups.iter().enumerate() {
        twins.entry((group.set.as_ref(), &group.cell().variant)).or_default().push(i);
    }
    let mut distinctions = vec![String::new(); groups.len()];
    for twins in twins.into_values() {
        // For each setting: how many groups have it, one of its values, and whether all have the same value.
        let mut values: HashMap<&str, (usize, &str, bool)> = HashMap::new();
        for (key, value) in twins.iter().flat_map(|i| &all_settings[*i]) {
            let known = values.entry(key).or_insert((0, value, true));
            *known = (known.0 + 1, known.1, known.2 && known.1 == value);
        }
        for i in &twins {
            let differs = |key: &str| values.get(key).is_some_and(|(n, _, same)| *n < twins.len() || !same);
            let own = all_settings[*i].iter().filter(|(key, _)| differs(key));
            let own: Vec<String> = own.map(|(key, value)| format!("{key}={value}")).collect();
            distinctions[*i] = own.join(", ");
        }
    }
    for (group, settings) in groups.iter_mut().zip(distinctions) {
        let title = group.title();
        group.label = if settings.is_empty() { title } else { format!("{title} ({settings})") };
        group.settings = settings;
    }
}

/// Returns the settings of a group by name, without the seed and the dataset's name. The digest of the images is
/// included, since a dataset's name may stand for several sets of images.
fn flat(group: &RunGroup) -> BTreeMap<String, String> {
    let record = &group.runs[0].run.record;
    let mut all = BTreeMap::new();
    if let Ok(serde_json::Value::Object(table)) = serde_json::to_value(&record.cell) {
        for (key, value) in table {
            match value {
                _ if ["seed", "dataset", "schedule", "ema"].contains(&key.as_str()) => {}
                serde_json::Value::Object(inner) => {
                    for (name, value) in inner {
                        let plain = printable(&name).into_owned();
                        // A setting of the network and a hyperparameter may have the same name.
                        let name = if all.contains_key(&plain) { format!("{key}.{plain}") } else { plain };
                        all.insert(name, printable(&value.to_string()).into_owned());
                    }
                }
                other => {
                    all.insert(key, other.to_string());
                }
            }
        }
    }
    // Records omit settings that have the protocol's default, so they are added here for comparison.
    all.insert("precision".into(), record.cell.precision.to_string());
    all.insert("schedule".into(), record.cell.schedule.to_string());
    all.insert("ema".into(), record.cell.ema.map_or_else(|| "none".into(), number));
    if let Some(digest) = &record.provenance.data {
        all.insert("images".into(), digest.chars().take(8).collect());
    }
    all
}

/// Returns the sort key of a part of a label: whether it is text, its number, and its text. Numbers come before text.
///
/// A hexadecimal digest such as `1e123456` also parses as a number. It has neither a point nor a sign, which settings with
/// an exponent, such as `1e-5`, do have.
fn part_key(part: &str) -> (bool, f64, &str) {
    let plain = part.contains(['.', '-']) || part.bytes().all(|byte| byte.is_ascii_digit());
    match part.parse::<f64>() {
        Ok(number) if plain && number.is_finite() => (false, number, ""),
        _ => (true, 0.0, part),
    }
}

/// Compares labels in a total order, with numbers in them compared as numbers.
pub fn natural(a: &str, b: &str) -> Ordering {
    // Labels are split at the punctuation around names and values.
    let parts =
        |label| str::split(label, ['=', ',', ')']).map(|part| part_key(part.trim())).collect::<Vec<_>>();
    let (left, right) = (parts(a), parts(b));
    let orders = left.iter().zip(&right).map(|((is_text, x, text), (other_is_text, y, other_text))| {
        is_text.cmp(other_is_text).then(x.total_cmp(y)).then(text.cmp(other_text))
    });
    let first_difference = orders.into_iter().find(|order| *order != Ordering::Equal);
    first_difference.unwrap_or_else(|| left.len().cmp(&right.len()).then_with(|| a.cmp(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_by_the_numbers_in_them() {
        let mut labels = ["ACAI (rate=10)", "ACAI (rate=1e-5)", "ACAI (rate=9)", "ACAI", "ACAI (rate=0.5)"];
        labels.sort_by(|a, b| natural(a, b));
        let wanted = ["ACAI", "ACAI (rate=1e-5)", "ACAI (rate=0.5)", "ACAI (rate=9)", "ACAI (rate=10)"];
        assert_eq!(labels, wanted);
    }

    #[test]
    fn the_order_of_labels_is_total() {
        let values =
            ["9a000000", "10000000", "1e123456", "1e000012", "2", "2.0", "0x", "inf", "-1", "", "2, 3"];
        let labels: Vec<String> = values.iter().map(|value| format!("VAE (images={value})")).collect();
        for a in &labels {
            for b in &labels {
                assert_eq!(natural(a, b), natural(b, a).reverse(), "{a} {b}");
                assert_eq!(natural(a, b) == Ordering::Equal, a == b, "{a} {b}");
                for c in &labels {
                    let descends = natural(a, b).is_gt() || natural(b, c).is_gt();
                    assert!(descends || natural(a, c).is_le(), "{a} {b} {c}");
                }
            }
        }
        assert_eq!(natural("VAE (images=1e123456)", "VAE (images=10000000)"), Ordering::Greater);
    }
}

//! Recognises by name the split of a dataset to which a file or folder belongs.

use std::path::Path;

/// What a name says that files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Train,
    /// Additional training images, such as SVHN's.
    Extra,
    Test,
    Validation,
}

/// The error that a path has the words of two splits, so its split is ambiguous.
pub(crate) struct Ambiguous;

const TRAIN: [&str; 5] = ["train", "training", "trainset", "traindata", "trn"];
const TEST: [&str; 9] =
    ["test", "tests", "testing", "testset", "testdata", "tst", "eval", "evaluation", "holdout"];
const VALIDATION: [&str; 8] =
    ["val", "valid", "validation", "validate", "valset", "dev", "devel", "development"];
/// Words that may accompany that of the split in the name of a split's folder.
const FILLERS: [&str; 12] = [
    "set", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures", "seg", "part", "split",
];

fn role(word: &str) -> Option<Role> {
    match word {
        _ if TRAIN.contains(&word) => Some(Role::Train),
        _ if TEST.contains(&word) => Some(Role::Test),
        _ if VALIDATION.contains(&word) => Some(Role::Validation),
        _ => None,
    }
}

/// Splits a name into words in lower case: at characters that are no letters, and before a capital that follows
/// a small letter.
fn words(name: &str) -> Vec<String> {
    let (mut words, mut word, mut small) = (Vec::new(), String::new(), false);
    for c in name.chars() {
        let starts = c.is_uppercase() && small;
        if (starts || !c.is_alphabetic()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
        }
        small = c.is_lowercase();
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// The split of a file, by any word in its name or in the names of the folders in `path`. Returns `None` if no
/// word tells a split.
pub(crate) fn of_path(path: &Path) -> Result<Option<Role>, Ambiguous> {
    let words: Vec<String> =
        path.with_extension("").iter().flat_map(|name| words(&name.to_string_lossy())).collect();
    let mut roles: Vec<Role> = words.iter().filter_map(|word| role(word)).collect();
    roles.sort_unstable();
    roles.dedup();
    let extra = words.iter().any(|word| word == "extra");
    match roles[..] {
        [] | [Role::Train] if extra => Ok(Some(Role::Extra)),
        [] => Ok(None),
        [role] => Ok(Some(role)),
        _ => Err(Ambiguous),
    }
}

/// The split that a folder's name tells. Returns `None` if it has other words, too: `train station` may be a
/// class.
pub(crate) fn of_folder(name: &str) -> Option<Role> {
    let mut found = None;
    for word in words(name) {
        match role(&word) {
            Some(_) if found.is_some() => return None,
            Some(role) => found = Some(role),
            None if FILLERS.contains(&word.as_str()) || word.chars().count() == 1 => {}
            None => return None,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_any_place_and_case_tell_a_files_split() {
        let of = |path: &str| of_path(path.as_ref()).unwrap_or(None);
        for (path, role) in [
            ("train-00000-of-00001.parquet", Role::Train),
            ("mnist-train-00000-of-00001.parquet", Role::Train),
            ("Training/0000.parquet", Role::Train),
            ("default/TRAIN/0.parquet", Role::Train),
            ("cifarTrain.parquet", Role::Train),
            ("x_test.parquet", Role::Test),
            ("data/eval/x.parquet", Role::Test),
            ("Testing.parquet", Role::Test),
            ("test1.parquet", Role::Test),
            ("dev/0.parquet", Role::Validation),
            ("my.valid.parquet", Role::Validation),
            ("extra-0.parquet", Role::Extra),
        ] {
            assert_eq!(of(path), Some(role), "{path}");
        }
        for path in ["0000.parquet", "latest.parquet", "contest/device.parquet", "restrain.parquet"] {
            assert_eq!(of(path), None, "{path}");
        }
        for path in ["train_test.parquet", "train/test.parquet", "test/train-0.parquet", "train-val.parquet"]
        {
            assert!(of_path(path.as_ref()).is_err(), "{path}");
        }
    }

    #[test]
    fn folders_of_parts_are_called_nothing_else() {
        for (name, role) in [
            ("Train", Role::Train),
            ("training_set", Role::Train),
            ("seg_train", Role::Train),
            ("Testing", Role::Test),
            ("test1", Role::Test),
            ("val", Role::Validation),
            ("DEV", Role::Validation),
        ] {
            assert_eq!(of_folder(name), Some(role), "{name}");
        }
        for name in ["cat", "train station", "test tube", "trains", "data", "train_test"] {
            assert_eq!(of_folder(name), None, "{name}");
        }
    }
}

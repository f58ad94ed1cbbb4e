//! Image folders with one sub-folder for each class, optionally inside one folder for each split of the dataset.

use std::path::Path;

use crate::{
    Error, Result,
    error::Fault,
    find::{Files, Format, is_no_picture},
    role::{self, Role},
    tree::{Folder, LeftOut},
};

/// Finds the images below the class folders in `root`, or in the folders of splits there, at any depth. Returns
/// `None` if there are no training images.
///
/// # Errors
/// Returns an error if a folder cannot be listed, or the folders do not tell which images are for training and
/// which for testing.
pub(crate) fn classes(root: &Path, left_out: &mut LeftOut) -> Result<Option<Files>> {
    let top = Folder::read(root, &is_no_picture, left_out)?.unwrapped();
    let splits = splits(&top)?;
    if let Some(SplitFolders { unused: Some(folder), .. }) = &splits {
        let why = "validation images, which are neither trained nor tested on";
        left_out.add("folder", why, &inside(root, &folder.path));
    }
    let (train, test) = match &splits {
        None => (&top, None),
        Some(splits) => (&splits.train, splits.test.as_ref()),
    };
    // Images beside the class folders belong to no class. If there are no class folders, nothing is read, and
    // the error message says so instead.
    for folder in [splits.as_ref().map(|_| &top), Some(train), test].into_iter().flatten() {
        for path in folder.files.iter().filter(|_| !train.folders.is_empty()) {
            left_out.add("picture", "in no class's folder", &inside(root, path));
        }
    }
    for class in train.folders.iter().chain(test.iter().flat_map(|test| &test.folders)) {
        unmixed(class)?;
    }
    let names: Vec<String> = train.folders.iter().map(Folder::name).collect();
    let mut files = Files::new(Format::Folders(names.clone()), root, Vec::new(), Vec::new());
    for (class, folder) in (0..).zip(&train.folders) {
        let pictures = folder.all();
        files.train_classes.extend(pictures.iter().map(|_| class));
        files.train.extend(pictures);
    }
    for folder in test.iter().flat_map(|test| &test.folders) {
        let name = folder.name();
        let class = names.iter().position(|class| *class == name).ok_or_else(|| {
            Fault::new("a class that the training split has", format!("'{name}'")).at(&folder.path)
        })?;
        let pictures = folder.all();
        files.test_classes.extend(pictures.iter().map(|_| class as u32));
        files.test.extend(pictures);
    }
    Ok(Some(files).filter(|files| !files.train.is_empty()))
}

fn inside(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

struct SplitFolders {
    train: Folder,
    test: Option<Folder>,
    /// A validation split beside a test split; it is not used.
    unused: Option<Folder>,
}

/// Recognises the folders of splits in `top`. Returns `None` if the folders are classes. A folder called `train`
/// may be a class of vehicles: it is a split if all folders beside it are splits, too, and the images in it are
/// in sub-folders.
fn splits(top: &Folder) -> Result<Option<SplitFolders>> {
    let of = |wanted: Option<Role>| -> Vec<&Folder> {
        top.folders.iter().filter(|folder| role::of_folder(&folder.name()) == wanted).collect()
    };
    let (train, test, validation) = (of(Some(Role::Train)), of(Some(Role::Test)), of(Some(Role::Validation)));
    let others = of(None);
    let tested = test.first().or(validation.first()).copied();
    let refuse = |path: &Path, expected: &str, found: &str| Err(Fault::new(expected, found).at(path));
    let (train, tested) = match (&train[..], tested) {
        ([], None) => return Ok(None),
        // The folder is a class, such as `test` beside `production`.
        ([], Some(tested)) if !others.is_empty() && !tested.files.is_empty() => return Ok(None),
        ([], Some(tested)) => {
            return refuse(&tested.path, "a folder of training images beside it, such as 'train'", "none");
        }
        // The other folder is probably a split with an unknown name, such as `held_out` beside `train` with
        // sub-folders of the same names.
        ([train], None) if others.iter().any(|other| shares_a_folder(train, other)) => {
            let other = others.iter().find(|other| shares_a_folder(train, other));
            let path = other.map_or(&train.path, |other| &other.path);
            return refuse(
                path,
                "a name that says which split it is, such as 'test'",
                "the folders of 'train' in it",
            );
        }
        // The folder is a class, such as `train` beside `bus`.
        ([_, ..], None) if !others.is_empty() => return Ok(None),
        ([first, second, ..], _) => {
            return refuse(
                &second.path,
                "one folder of training images",
                &format!("'{}' beside it", first.name()),
            );
        }
        ([train], tested) => (train, tested),
    };
    if let (Some(tested), [other, ..]) = (tested, &others[..]) {
        let expected = format!(
            "a folder of training, test or validation images, as '{}' and '{}' beside it are",
            train.name(),
            tested.name()
        );
        return refuse(&other.path, &expected, "one whose name does not say which");
    }
    for twice in [&test, &validation] {
        if let [first, second, ..] = twice[..] {
            return refuse(&second.path, "one folder of its split", &format!("'{}' beside it", first.name()));
        }
    }
    let train = Folder::clone(train).unwrapped();
    if train.folders.is_empty() {
        return match tested {
            // The folder is the only class.
            None => Ok(None),
            Some(_) => {
                refuse(&train.path, "sub-folders called after the classes of their pictures", "pictures")
            }
        };
    }
    if tested.is_none() && !train.files.is_empty() {
        return Ok(None);
    }
    let unused = test.first().and(validation.first()).map(|folder| (*folder).clone());
    Ok(Some(SplitFolders { train, test: tested.map(|folder| folder.clone().unwrapped()), unused }))
}

/// Whether two folders have a sub-folder of the same name.
fn shares_a_folder(one: &Folder, other: &Folder) -> bool {
    one.folders.iter().any(|folder| other.folders.iter().any(|twin| twin.name() == folder.name()))
}

/// Refuses folders of splits inside a class folder: all images below the class, test images included, would be
/// trained on.
fn unmixed(class: &Folder) -> Result<()> {
    let of = |tests: bool| {
        class.folders.iter().find(|folder| match role::of_folder(&folder.name()) {
            Some(Role::Train | Role::Extra) => !tests,
            Some(Role::Test | Role::Validation) => tests,
            None => false,
        })
    };
    if let Some(test) = of(true).filter(|_| of(false).is_some() || !class.files.is_empty()) {
        let beside = of(false).map_or("pictures".into(), |train| format!("'{}'", train.name()));
        return Err(Error::Format {
            file: test.path.clone(),
            expected: "splits of a dataset above the folders of classes".into(),
            found: format!("it and {beside} below '{}'", class.name()),
        });
    }
    class.folders.iter().try_for_each(unmixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The class names, the number of images of each class in the training and the test split, and the lines
    /// about what is left out.
    type Found = (Vec<String>, [Vec<usize>; 2], Vec<String>);

    /// Creates empty image files at `paths`, and returns what [`classes`] makes of them.
    fn read(paths: &[&str]) -> std::result::Result<Found, String> {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        std::fs::create_dir(&root).unwrap();
        for path in paths {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let mut left_out = LeftOut::default();
        let error = |error: Error| error.to_string().replace(&format!("{}/", root.display()), "");
        let files = classes(&root, &mut left_out).map_err(error)?.ok_or("nothing")?;
        let Format::Folders(names) = files.format else { panic!("folders") };
        let count =
            |of: &[u32]| (0..names.len()).map(|i| of.iter().filter(|c| **c == i as u32).count()).collect();
        let counts = [count(&files.train_classes), count(&files.test_classes)];
        assert_eq!(
            (files.train.len(), files.test.len()),
            (files.train_classes.len(), files.test_classes.len())
        );
        Ok((names, counts, left_out.lines()))
    }

    fn names(paths: &[&str]) -> String {
        match read(paths) {
            Ok((names, [train, test], _)) => format!("{} {train:?} {test:?}", names.join(" ")),
            Err(error) => error,
        }
    }

    #[test]
    fn parts_are_told_from_classes() {
        for (paths, found) in [
            (&["train/a/1.png", "train/b/1.png", "test/a/1.png"][..], "a b [1, 1] [1, 0]"),
            (&["Training/a/1.png", "Testing/a/1.png"], "a [1] [1]"),
            (&["TRAIN/a/1.png", "val/a/1.png"], "a [1] [1]"),
            (&["training_set/training_set/a/1.png", "test_set/test_set/a/1.png"], "a [1] [1]"),
            (&["seg_train/a/x/y/1.png", "seg_train/b/1.png", "dev/b/z/1.png"], "a b [1, 1] [0, 1]"),
            (&["train/a/1.png", "train/b/2.png"], "a b [1, 1] [0, 0]"),
            (&["bus/1.png", "train/1.png", "train/2.png"], "bus train [1, 2] [0, 0]"),
            (&["bus/1.png", "train/ice/1.png", "train/tgv/1.png"], "bus train [1, 2] [0, 0]"),
            (&["test/1.png", "production/1.png"], "production test [1, 1] [0, 0]"),
            (&["train station/1.png", "test tube/1.png"], "test tube train station [1, 1] [0, 0]"),
            (&["train/1.png"], "train [1] [0]"),
            (&["set/a/1.png", "set/b/1.png"], "a b [1, 1] [0, 0]"),
            (&["cat/1.png", "cat/x/2.png", "dog/y/z/1.png"], "cat dog [2, 1] [0, 0]"),
        ] {
            assert_eq!(names(paths), found, "{paths:?}");
        }
    }

    #[test]
    fn test_images_are_never_trained_on_by_mistake() {
        for (paths, said) in [
            (&["train/1.png", "test/1.png"][..], "train: expected sub-folders called after"),
            (
                &["train/a/1.png", "test/a/1.png", "more/a/1.png"],
                "more: expected a folder of training, test or",
            ),
            (&["train/1.png", "test/1.png", "bus/1.png"], "bus: expected a folder of training, test or"),
            (&["train/a/1.png", "training/a/1.png"], "training: expected one folder of training images"),
            (&["train/a/1.png", "test/a/1.png", "eval/a/1.png"], "test: expected one folder of its split"),
            (
                &["trainA/1.png", "trainB/1.png", "testA/1.png"],
                "trainB: expected one folder of training images",
            ),
            (&["test/a/1.png", "images/a/1.png"], "test: expected a folder of training images beside it"),
            (&["test/a/1.png", "val/a/1.png"], "test: expected a folder of training images beside it"),
            (&["data/train/a/1.png", "data/test/a/1.png"], "data/test: expected splits of a dataset above"),
            (
                &["cat/train/1.png", "cat/test/1.png", "dog/1.png"],
                "cat/test: expected splits of a dataset above",
            ),
            (
                &["train/a/1.png", "test/b/1.png"],
                "test/b: expected a class that the training split has, found 'b'",
            ),
        ] {
            let text = names(paths);
            assert!(text.starts_with(said), "{paths:?}: {text}");
        }
    }

    #[test]
    fn what_is_not_read_is_named() {
        let paths = ["train/a/1.png", "train/2.png", "test/a/1.png", "val/a/1.png", "3.png", "x/notes.txt"];
        let (_, counts, lines) = read(&[&paths[..], &["train/a/.2.png", "test/4.png"]].concat()).unwrap();
        assert_eq!(counts, [[1], [1]]);
        let said = lines.join("; ");
        for line in [
            "3 pictures (3.png, train/2.png, test/4.png): in no class's folder",
            "1 folder (val): validation images, which are neither trained nor tested on",
            "1 file (x/notes.txt): no image",
            "1 folder (x): nothing in it that is read",
            "1 file (train/a/.2.png): hidden",
        ] {
            assert!(said.contains(line), "{said}");
        }
        let (_, counts, lines) = read(&["train/a/1.png", "test1/1.png", "test1/2.png"]).unwrap();
        assert_eq!((counts, lines.len()), ([vec![1], vec![0]], 1), "{lines:?}");
    }
}

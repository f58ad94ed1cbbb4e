//! Image sets: their names, the size of their latents, and the paper's protocol on them.

use std::{cmp::Ordering, collections::BTreeSet, path::Path};

use lerp_core::Network;
use lerp_data::{Dataset, Lines, Protocol, protocols, separate_option};
use lerp_files::{file_stem, printable};

/// The image sets and latent dimensionalities for which the paper has a figure of interpolation strips, with its
/// number.
const FIGURES: [(&str, usize, &str); 6] = [
    ("mnist", 32, "6"),
    ("mnist", 256, "7"),
    ("svhn", 32, "8"),
    ("svhn", 256, "9"),
    ("celeba", 32, "10"),
    ("celeba", 256, "11"),
];

/// The class names of CIFAR-10, by label.
const CIFAR10: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The most bytes of a dataset's name within a file name, which leaves room for the rest of the file name.
const MAX_SLUG_BYTES: usize = 80;

/// The most characters of a dataset's title.
const MAX_TITLE_CHARS: usize = 40;

/// An image set together with the size of its latents. Each such pair is a row of a table and a figure of strips.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SizedImageSet {
    /// The dataset's name, such as `mnist` or `images:DIR`.
    pub dataset: String,
    /// The latent dimensionality.
    pub dims: usize,
    title: String,
    /// The dataset's name as part of a file name.
    slug: String,
}

impl SizedImageSet {
    /// Creates the set called `dataset`. `datasets` are the names of all datasets of the sweep, which decide how much
    /// of a folder's path is needed to tell the sets apart.
    pub fn new(dataset: &str, dims: usize, datasets: &BTreeSet<String>) -> Self {
        let (title, slug) = names(dataset);
        let clash = known(dataset).is_none() && datasets.iter().any(|d| d != dataset && names(d).1 == slug);
        let (title, slug) =
            if clash { (dataset.to_owned(), file_stem(dataset, MAX_SLUG_BYTES)) } else { (title, slug) };
        Self { dataset: dataset.to_owned(), dims, title: printable(&title).into_owned(), slug }
    }

    /// Replaces the title by one that a dataset defined in code gives itself, cut to the width that a table has room
    /// for.
    pub fn titled(self, title: &str) -> Self {
        let cut: String = title.chars().take(MAX_TITLE_CHARS).collect();
        Self { title: printable(&cut).into_owned(), ..self }
    }

    /// Returns what tells this set from all others of a sweep: the dataset's name and the latent dimensionality.
    pub fn key(&self) -> (&str, usize) {
        (&self.dataset, self.dims)
    }

    /// Returns the set and its latents in words, for captions.
    pub fn words(&self) -> String {
        format!("{} with a latent dimensionality of {}", self.title, self.dims)
    }

    /// Returns the dataset's name as shown to readers, such as `MNIST`.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Returns the dataset's title and the latent dimensionality, such as `MNIST 32`.
    pub fn name(&self) -> String {
        format!("{} {}", self.title, self.dims)
    }

    /// Returns the dataset and the latent dimensionality as part of a file name, such as `mnist-32`.
    pub fn slug(&self) -> String {
        format!("{}-{}", self.slug, self.dims)
    }

    /// Returns the number of the paper's figure that shows interpolation strips on this set, if there is one.
    pub fn figure(&self) -> Option<&'static str> {
        FIGURES.iter().find(|(name, dims, _)| (*name, *dims) == self.key()).map(|(.., number)| *number)
    }

    /// Returns the pixel value that is drawn as white in strips; its negative is drawn as black.
    pub fn range(&self) -> f32 {
        if bare(&self.dataset) == "celeba" { 1.2 } else { 1.0 }
    }

    /// Returns the name of a class: the digit on MNIST and SVHN, the word on CIFAR-10, and `class N` on other sets.
    pub fn class_name(&self, class: u32) -> String {
        let words: &[&str] = match bare(&self.dataset) {
            "mnist" | "svhn" => return class.to_string(),
            "cifar10" => &CIFAR10,
            _ => &[],
        };
        words.get(class as usize).map_or_else(|| format!("class {class}"), |word| (*word).to_owned())
    }

    /// Returns the paper's network on this dataset, or `None` if the paper does not use it. Its latent size is one of
    /// those in the paper, not necessarily this set's.
    pub fn network(&self) -> Option<Network> {
        known(&self.dataset).map(|known| known.network)
    }

    /// Returns whether the dataset is one of the paper's and has labels.
    pub fn always_labelled(&self) -> bool {
        known(&self.dataset).is_some_and(|known| known.classes > 0)
    }

    /// Compares two sets for sorting: the paper's sets in the paper's order first, then the others by name.
    pub fn order(&self, other: &Self) -> Ordering {
        let key = |set: &Self| {
            let index = protocols().position(|known| known.name == bare(&set.dataset)).unwrap_or(usize::MAX);
            (index, set.slug.clone(), set.dims)
        };
        key(self).cmp(&key(other))
    }
}

/// Returns the title of a dataset: that of the image set with its latent dimensionality, or `Lines`.
pub fn title_of(set: Option<&SizedImageSet>) -> String {
    set.map_or_else(|| Lines.title().to_owned(), SizedImageSet::name)
}

/// Returns the name of a dataset in files.
pub fn dataset_of(set: Option<&SizedImageSet>) -> &str {
    set.map_or(Lines::NAME, |set| &set.dataset)
}

/// Returns a dataset's name without the option that sets its test split.
fn bare(dataset: &str) -> &str {
    separate_option(dataset).bare
}

/// Returns the paper's protocol on a dataset, or `None` if the paper does not use it.
fn known(dataset: &str) -> Option<Protocol> {
    protocols().find(|known| known.name == bare(dataset))
}

/// Returns a dataset's title and its name as part of a file name.
fn names(dataset: &str) -> (String, String) {
    if let Some(known) = known(dataset) {
        return match separate_option(dataset).option {
            None => (known.title.into(), known.name.into()),
            Some(option) => (format!("{} ({option})", known.title), file_stem(dataset, MAX_SLUG_BYTES)),
        };
    }
    let location = dataset.split_once(':').map_or(dataset, |(_, location)| location);
    let title = Path::new(location).file_name().map(|name| name.to_string_lossy().into_owned());
    let title = title.unwrap_or_else(|| dataset.to_owned());
    let slug = file_stem(&title, MAX_SLUG_BYTES).to_lowercase();
    (title, slug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_unless_sets_would_clash() {
        let all: BTreeSet<String> =
            ["mnist", "images:/a/cats", "images:/b/cats/", "idx:/c/MNIST", "parquet:dogs.parquet"]
                .map(String::from)
                .into();
        let of = |name: &str| SizedImageSet::new(name, 32, &all);
        assert_eq!((of("mnist").name(), of("mnist").slug()), ("MNIST 32".into(), "mnist-32".into()));
        assert_eq!(of("parquet:dogs.parquet").name(), "dogs.parquet 32");
        assert_eq!(of("images:/a/cats").name(), "images:/a/cats 32");
        let slug = of("images:/b/cats/").slug();
        assert!(slug.starts_with("images--b-cats-") && slug.ends_with("-32"), "{slug}");
        // A user's own copy of MNIST is not treated as the paper's dataset.
        assert!(of("idx:/c/MNIST").slug().starts_with("idx--c-MNIST-"));
        assert_eq!(of("idx:/c/MNIST").figure(), None);
        assert_eq!(
            [("mnist", 32), ("celeba", 256), ("svhn", 64), ("cifar10", 256)]
                .map(|(name, dims)| SizedImageSet::new(name, dims, &all).figure()),
            [Some("6"), Some("11"), None, None]
        );
        let split = of("celeba?test-every=20");
        assert_eq!(split.name(), "CelebA (test-every=20) 32");
        assert!(split.slug().starts_with("celeba-test-every-20-"), "{}", split.slug());
        assert_eq!((split.range(), split.figure(), split.network().is_some()), (1.2, None, true));
    }

    #[test]
    fn no_two_sets_share_a_file() {
        let long = ["猫".repeat(100), format!("{}犬", "猫".repeat(99))].map(|name| format!("images:{name}"));
        let short =
            ["images:4/my pets", "images:4/my-pets", "images:4/My-Pets", "images:5/my-pets", "images:кошки"];
        let all: BTreeSet<String> = long.into_iter().chain(short.map(String::from)).collect();
        let slugs: BTreeSet<String> =
            all.iter().map(|name| SizedImageSet::new(name, 32, &all).slug().to_lowercase()).collect();
        assert_eq!(slugs.len(), all.len(), "{slugs:?}");
        assert!(slugs.iter().all(|slug| slug.len() < 100 && lerp_files::is_word(slug)), "{slugs:?}");
        assert!(slugs.contains("кошки-32"), "{slugs:?}");
    }
}

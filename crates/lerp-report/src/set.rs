//! Image sets: their names, the size of their latents, and what the paper's protocol is on them.

use std::{cmp::Ordering, collections::BTreeSet, path::Path};

use lerp_core::Network;
use lerp_data::{Protocol, protocols, split_option};
use lerp_files::{file_stem, printable};

/// Latent dimensionalities and numbers of the figures of strips that the paper has.
const FIGURES: [(&str, usize, &str); 6] = [
    ("mnist", 32, "6"),
    ("mnist", 256, "7"),
    ("svhn", 32, "8"),
    ("svhn", 256, "9"),
    ("celeba", 32, "10"),
    ("celeba", 256, "11"),
];

/// The classes of CIFAR-10 in its order.
const CIFAR10: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Bytes of a dataset's name in names of files, which leaves room for the rest.
const MOST_SLUG: usize = 80;

/// Letters of a dataset's title.
const MOST_TITLE: usize = 40;

/// An image set and the size of its latents: a row of a table, a figure of strips.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Set {
    /// The dataset's name, such as `mnist` or `images:DIR`.
    pub dataset: String,
    /// Numbers in a latent.
    pub dims: usize,
    title: String,
    /// The dataset's name in names of files.
    slug: String,
}

impl Set {
    /// The set called `dataset` among all the `datasets` of a sweep, which decide how much of a folder's name is needed.
    pub fn new(dataset: &str, dims: usize, datasets: &BTreeSet<String>) -> Self {
        let (title, slug) = names(dataset);
        let clash = known(dataset).is_none() && datasets.iter().any(|d| d != dataset && names(d).1 == slug);
        let (title, slug) =
            if clash { (dataset.to_owned(), file_stem(dataset, MOST_SLUG)) } else { (title, slug) };
        Self { dataset: dataset.to_owned(), dims, title: printable(&title).into_owned(), slug }
    }

    /// The same with the title that a dataset from code gives itself, cut where it is too long for a table.
    pub fn titled(self, title: &str) -> Self {
        let cut: String = title.chars().take(MOST_TITLE).collect();
        Self { title: printable(&cut).into_owned(), ..self }
    }

    /// The dataset's name in text, such as `MNIST`.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Dataset and size of latents, such as `MNIST 32`.
    pub fn name(&self) -> String {
        format!("{} {}", self.title, self.dims)
    }

    /// The same in names of files, such as `mnist-32`.
    pub fn slug(&self) -> String {
        format!("{}-{}", self.slug, self.dims)
    }

    /// The number of its strips among the paper's figures.
    pub fn figure(&self) -> Option<&'static str> {
        let of_set = |(name, dims, _): &&(&str, usize, &str)| *name == self.dataset && *dims == self.dims;
        FIGURES.iter().find(of_set).map(|(.., number)| *number)
    }

    /// Values from minus to plus this are from black to white in strips.
    pub fn range(&self) -> f32 {
        if bare(&self.dataset) == "celeba" { 1.2 } else { 1.0 }
    }

    /// What a class is called: the digit, the word of CIFAR-10, otherwise its number.
    pub fn class_name(&self, class: u32) -> String {
        let words: &[&str] = match bare(&self.dataset) {
            "mnist" | "svhn" => return class.to_string(),
            "cifar10" => &CIFAR10,
            _ => &[],
        };
        words.get(class as usize).map_or_else(|| format!("class {class}"), |word| (*word).to_owned())
    }

    /// The paper's networks on it but for the latent; none of a set that is not the paper's.
    pub fn network(&self) -> Option<Network> {
        known(&self.dataset).map(|known| known.network)
    }

    /// Whether its images have labels wherever they come from.
    pub fn always_labelled(&self) -> bool {
        known(&self.dataset).is_some_and(|known| known.classes > 0)
    }

    /// The paper's sets in its order, then others by name.
    pub fn order(&self, other: &Self) -> Ordering {
        let key = |set: &Self| {
            let place = protocols().position(|known| known.name == bare(&set.dataset)).unwrap_or(usize::MAX);
            (place, set.slug.clone(), set.dims)
        };
        key(self).cmp(&key(other))
    }
}

/// A dataset's name without the option that says how it is split.
pub fn bare(dataset: &str) -> &str {
    split_option(dataset).0
}

fn known(dataset: &str) -> Option<Protocol> {
    protocols().find(|known| known.name == bare(dataset))
}

/// A dataset's name in text and in names of files.
fn names(dataset: &str) -> (String, String) {
    if let Some(known) = known(dataset) {
        return match split_option(dataset).1 {
            None => (known.title.into(), known.name.into()),
            Some(option) => (format!("{} ({option})", known.title), file_stem(dataset, MOST_SLUG)),
        };
    }
    let place = dataset.split_once(':').map_or(dataset, |(_, place)| place);
    let title = Path::new(place).file_name().map(|name| name.to_string_lossy().into_owned());
    let title = title.unwrap_or_else(|| dataset.to_owned());
    let slug = file_stem(&title, MOST_SLUG).to_lowercase();
    (title, slug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_where_they_tell_sets_apart() {
        let all: BTreeSet<String> =
            ["mnist", "images:/a/cats", "images:/b/cats/", "idx:/c/MNIST", "parquet:dogs.parquet"]
                .map(String::from)
                .into();
        let of = |name: &str| Set::new(name, 32, &all);
        assert_eq!((of("mnist").name(), of("mnist").slug()), ("MNIST 32".into(), "mnist-32".into()));
        assert_eq!(of("parquet:dogs.parquet").name(), "dogs.parquet 32");
        assert_eq!(of("images:/a/cats").name(), "images:/a/cats 32");
        let slug = of("images:/b/cats/").slug();
        assert!(slug.starts_with("images--b-cats-") && slug.ends_with("-32"), "{slug}");
        // A user's own copy is not the paper's.
        assert!(of("idx:/c/MNIST").slug().starts_with("idx--c-MNIST-"));
        assert_eq!(of("idx:/c/MNIST").figure(), None);
        assert_eq!(
            [("mnist", 32), ("celeba", 256), ("svhn", 64), ("cifar10", 256)]
                .map(|(name, dims)| Set::new(name, dims, &all).figure()),
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
            all.iter().map(|name| Set::new(name, 32, &all).slug().to_lowercase()).collect();
        assert_eq!(slugs.len(), all.len(), "{slugs:?}");
        assert!(slugs.iter().all(|slug| slug.len() < 100 && lerp_files::is_word(slug)), "{slugs:?}");
        assert!(slugs.contains("кошки-32"), "{slugs:?}");
    }
}

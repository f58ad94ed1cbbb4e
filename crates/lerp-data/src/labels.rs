//! The labels in files, and the classes that are made of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Fault;

/// The largest number of classes of a user-supplied dataset.
pub(crate) const MAX_CLASSES: usize = 10_000;

/// The label of an image, as its file has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Label {
    Number(i64),
    Text(String),
}

/// A class: a label and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Class {
    pub label: Label,
    pub name: String,
}

/// The classes of the images of one split.
#[derive(Debug, Default)]
pub(crate) struct ClassLabels {
    /// The index in `classes` of each image's class.
    pub of_images: Vec<u32>,
    pub classes: Vec<Class>,
}

/// Collects the labels of the images of one split.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    /// The number of each label; labels are numbered in the order of their first appearance.
    numbers: BTreeMap<Label, u32>,
    names: BTreeMap<Label, String>,
    of_images: Vec<u32>,
}

impl Labels {
    /// Adds the label of the next image, with the name of its class if the file has one.
    ///
    /// # Errors
    /// Returns an error if there are more than [`MAX_CLASSES`] classes.
    pub fn push(&mut self, label: Label, name: Option<&str>) -> Result<(), Fault> {
        let next = self.numbers.len() as u32;
        let number = match self.numbers.get(&label) {
            Some(&number) => number,
            None if self.numbers.len() == MAX_CLASSES => {
                return Err(Fault::new(format!("labels of at most {MAX_CLASSES} classes"), "more"));
            }
            None => {
                if let Some(name) = name {
                    self.names.insert(label.clone(), name.into());
                }
                self.numbers.insert(label, next);
                next
            }
        };
        self.of_images.push(number);
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.of_images.len()
    }

    /// Returns the classes in the order of their labels, and the class of each image.
    pub fn finish(self) -> ClassLabels {
        let mut class_of_number = vec![0; self.numbers.len()];
        let mut classes = Vec::new();
        for (label, number) in self.numbers {
            class_of_number[number as usize] = classes.len() as u32;
            let name = self.names.get(&label).cloned().unwrap_or_else(|| match &label {
                Label::Number(number) => number.to_string(),
                Label::Text(text) => text.clone(),
            });
            classes.push(Class { label, name });
        }
        let of_images = self.of_images.into_iter().map(|number| class_of_number[number as usize]).collect();
        ClassLabels { of_images, classes }
    }
}

/// Converts `value` to an integer. Returns `None` if it is not a whole number of at most 2⁵³ in magnitude, up
/// to which `f64` is exact.
pub(crate) fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i64)
}

/// Merges the classes of both splits, in the order of their labels, and returns for each split the index of each
/// of its classes among them. Labels that do not begin at 0 or have gaps make no class without images.
pub(crate) fn union(splits: [&[Class]; 2]) -> (Vec<Class>, [Vec<u32>; 2]) {
    let mut all = BTreeMap::new();
    for class in splits.into_iter().flatten() {
        all.entry(&class.label).or_insert(class);
    }
    let numbers: BTreeMap<&Label, u32> = all.keys().copied().zip(0..).collect();
    let of = |split: &[Class]| split.iter().map(|class| numbers[&class.label]).collect();
    let new_numbers = splits.map(of);
    (all.into_values().cloned().collect(), new_numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(labels: &[Label]) -> ClassLabels {
        let mut collected = Labels::default();
        for label in labels {
            collected.push(label.clone(), None).unwrap();
        }
        collected.finish()
    }

    #[test]
    fn classes_are_in_the_order_of_their_labels_and_none_is_empty() {
        let train = classes(&[9, 2, 9, -1].map(Label::Number));
        assert_eq!(train.of_images, [2, 1, 2, 0]);
        let test = classes(&[2, 5].map(Label::Number));
        let (all, new_numbers) = union([&train.classes, &test.classes]);
        assert_eq!(all.iter().map(|class| class.name.as_str()).collect::<Vec<_>>(), ["-1", "2", "5", "9"]);
        assert_eq!(new_numbers, [vec![0, 1, 3], vec![1, 2]]);
        let texts = classes(&["zebra", "ant", "bee"].map(|text| Label::Text(text.into())));
        assert_eq!((texts.of_images, texts.classes[0].name.as_str()), (vec![2, 0, 1], "ant"));
    }

    #[test]
    fn the_number_of_classes_is_limited() {
        let mut labels = Labels::default();
        for number in 0..MAX_CLASSES as i64 {
            labels.push(Label::Number(number), None).unwrap();
        }
        labels.push(Label::Number(0), None).unwrap();
        assert!(labels.push(Label::Number(-1), None).is_err());
    }
}

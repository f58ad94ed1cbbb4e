//! Where the model of a run was trained: by the run itself or with other software.

use serde::{Deserialize, Serialize};

/// Where the model of a run was trained.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The run itself trained the model, as its cell says.
    #[default]
    Trained,
    /// The weights of a model that was trained elsewhere were imported. The training settings of the cell are those
    /// that the file states, and 0 where it states none.
    Imported {
        /// Name of the variant that builds the model.
        variant: String,
    },
    /// The model was trained elsewhere and is known only by its answers to a task ([`crate::Task`]). The training
    /// settings of the cell are those stated with the answers, and 0 where none are.
    Scored,
}

impl Origin {
    /// Returns whether the run itself trained the model.
    pub fn is_trained(&self) -> bool {
        *self == Self::Trained
    }

    /// Returns the variant name for a model of this origin that is called `name`. It differs from the names of all
    /// built-in variants, so that no published number is shown beside it.
    pub fn variant(&self, name: &str) -> String {
        let plain: String =
            name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        let parts = plain.split('-').filter(|part| !part.is_empty());
        let first = match self {
            Self::Trained => None,
            Self::Imported { .. } => Some("imported"),
            Self::Scored => Some("outside"),
        };
        first.into_iter().chain(parts).collect::<Vec<_>>().join("-")
    }

    /// Returns the suffix of the model's name in tables and figures.
    pub fn mark(&self) -> &'static str {
        match self {
            Self::Trained => "",
            Self::Imported { .. } => " (imported)",
            Self::Scored => " (outside)",
        }
    }
}

/// What is known of a model that was trained elsewhere, besides its cell. All but the digests is stated by its
/// owner and not verified.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalModel {
    /// Framework that it was trained with, such as `PyTorch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// Version of the framework.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Device that it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Free-text notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Digest of the task that was answered; `None` for an imported model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// SHA-256 of the answers, or of the imported file, in hexadecimal.
    pub digest: String,
    /// SHA-256 of the answers about images that are the same in every task of a dataset, whatever its seed; it
    /// differs between two separately trained models. `None` for an imported model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<String>,
}

impl ExternalModel {
    /// Returns framework and version as a text; `None` if neither is stated.
    pub fn trained_with(&self) -> Option<String> {
        let parts: Vec<&str> =
            [&self.framework, &self.version].into_iter().flatten().map(String::as_str).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_from_elsewhere_never_have_the_name_of_a_built_in_variant() {
        let imported = Origin::Imported { variant: "acai".into() };
        assert_eq!(imported.variant("ACAI"), "imported-acai");
        for (name, variant) in
            [("My AE", "outside-my-ae"), ("acai", "outside-acai"), ("β-VAE (4.0)", "outside-β-vae-4-0")]
        {
            assert_eq!(Origin::Scored.variant(name), variant);
            assert!(lerp_files::is_word(variant));
        }
    }
}

//! Where the model of a run was trained, if not by that run.

use serde::{Deserialize, Serialize};

/// Where the model of a run was trained.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// By the run itself, as its cell says.
    #[default]
    Trained,
    /// Elsewhere; its weights were imported. What the cell says of training is what the file said, and 0 where it said nothing.
    Imported {
        /// The variant that builds the model.
        variant: String,
    },
    /// Elsewhere; nothing of it is known but its answers to a task ([`crate::Task`]). What the cell says of training is what
    /// came with these, and 0 where nothing did.
    Scored,
}

impl Origin {
    /// Whether the run itself trained the model.
    pub fn is_trained(&self) -> bool {
        *self == Self::Trained
    }

    /// The name among variants of such a model that is called `name`: none of a variant's of ours, so that no published number
    /// stands beside it.
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

    /// What stands behind the name of such a model in tables and figures.
    pub fn mark(&self) -> &'static str {
        match self {
            Self::Trained => "",
            Self::Imported { .. } => " (imported)",
            Self::Scored => " (outside)",
        }
    }
}

/// What is known of a model that was trained elsewhere, beside its cell. All but the digests is what its owner says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    /// What it was trained with, such as `PyTorch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// Version of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The device that it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Anything else, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Digest of the task that was answered; none of an imported model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// SHA-256 of the answers, or of the imported file, in hexadecimal.
    pub digest: String,
    /// SHA-256 of the answers about images that are the same in every task of a dataset, whatever its seed: two models that
    /// were trained apart differ in them. None of an imported model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<String>,
}

impl Elsewhere {
    /// What it was trained with, in words; none where nobody said.
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
    fn models_from_elsewhere_are_no_variants_of_ours() {
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

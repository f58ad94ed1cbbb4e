//! Hyperparameters: a table of values, checked against a typed configuration.

use std::ops::{Bound, RangeBounds};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Error, Result, did_you_mean};

/// Hyperparameters by name, as given in a file or on the command line. [`check_hyper`] converts them to a type.
///
/// ```
/// let mut hyper = lerp_core::Hyper::new();
/// hyper.insert("beta".into(), serde_json::json!(0.5));
/// assert_eq!(hyper["beta"], 0.5);
/// ```
pub type Hyper = Map<String, Value>;

/// Completes `given` with the defaults of `C`, and converts the result to a `C`.
///
/// # Errors
/// Returns an error if `given` has a key that `C` does not have (it names the nearest valid key), or a value of
/// the wrong type.
///
/// # Examples
/// ```
/// use lerp_core::{Hyper, check_hyper};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Config {
///     beta: f64,
///     layers: usize,
/// }
///
/// impl Default for Config {
///     fn default() -> Self {
///         Self { beta: 1.0, layers: 3 }
///     }
/// }
///
/// let given: Hyper = serde_json::from_str(r#"{"beta": 2}"#)?;
/// assert_eq!(check_hyper::<Config>("my-vae", &given)?, Config { beta: 2.0, layers: 3 });
///
/// let misspelt: Hyper = serde_json::from_str(r#"{"betta": 2}"#)?;
/// let error = check_hyper::<Config>("my-vae", &misspelt).unwrap_err();
/// assert!(error.to_string().contains("did you mean 'beta'?"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_hyper<C: Default + Serialize + DeserializeOwned>(variant: &str, given: &Hyper) -> Result<C> {
    let bad =
        |key: &str, problem: String| Error::BadValue { variant: variant.into(), key: key.into(), problem };
    let Ok(Value::Object(mut table)) = serde_json::to_value(C::default()) else {
        return Err(bad("*", "the configuration is not a table".into()));
    };
    for (key, value) in given {
        let Some(slot) = table.get_mut(key) else {
            let known: Vec<&str> = table.keys().map(String::as_str).collect();
            return Err(Error::UnknownKey {
                variant: variant.into(),
                key: key.clone(),
                nearest: nearest(key, known.iter().copied()).map(String::from),
                known: if known.is_empty() { "none".into() } else { known.join(", ") },
            });
        };
        // An integer is a valid value of a real hyperparameter.
        *slot = match (&slot, value.as_f64()) {
            (Value::Number(n), Some(f)) if n.is_f64() => Value::from(f),
            _ => value.clone(),
        };
        serde_json::from_value::<C>(Value::Object(table.clone())).map_err(|e| {
            // JSON has no numbers that are not finite; they become `null`.
            let given = if value.is_null() { "infinite or NaN".into() } else { value.to_string() };
            bad(key, format!("cannot be {given}: {e}"))
        })?;
    }
    serde_json::from_value(Value::Object(table)).map_err(|e| bad("*", e.to_string()))
}

/// Refuses a completed table with a `null` value, which the record of a run cannot hold.
///
/// # Errors
/// Returns an error that names the first such key.
pub(crate) fn refuse_null(variant: &str, table: &Hyper) -> Result<()> {
    match table.iter().find(|(_, value)| value.is_null()) {
        Some((key, _)) => Err(Error::BadValue {
            variant: variant.into(),
            key: key.clone(),
            problem: "has no value, or one that is not finite, which the record of a run cannot hold; give it another \
                      default"
                .into(),
        }),
        None => Ok(()),
    }
}

/// Checks that a hyperparameter is finite and lies in `range`.
///
/// # Errors
/// Returns an error if it is not; the error names the key and the range.
///
/// # Examples
/// ```
/// use lerp_core::check_range;
///
/// assert!(check_range("dropout", "keep", 0.5, 0.1..=1.0).is_ok());
/// let error = check_range("dropout", "keep", 2.0, 0.1..=1.0).unwrap_err().to_string();
/// assert_eq!(error, "dropout: hyperparameter 'keep' is 2, but must be at least 0.1 and at most 1");
/// ```
pub fn check_range(variant: &str, key: &str, value: f64, range: impl RangeBounds<f64>) -> Result<()> {
    if value.is_finite() && range.contains(&value) {
        return Ok(());
    }
    let (low, high) = (range.start_bound(), range.end_bound());
    let low = match low {
        Bound::Included(v) => format!("at least {v}"),
        Bound::Excluded(v) => format!("above {v}"),
        Bound::Unbounded => "finite".into(),
    };
    let high = match high {
        Bound::Included(v) => format!(" and at most {v}"),
        Bound::Excluded(v) => format!(" and below {v}"),
        Bound::Unbounded => String::new(),
    };
    let problem = format!("is {value}, but must be {low}{high}");
    Err(Error::BadValue { variant: variant.into(), key: key.into(), problem })
}

/// The name in `known` with the smallest edit distance to `given`, or `None` if none is close enough to be a
/// misspelling.
///
/// ```
/// assert_eq!(lerp_core::nearest("ACIA", ["baseline", "acai", "vqvae"]), Some("acai"));
/// assert_eq!(lerp_core::nearest("gan", ["baseline", "acai", "vqvae"]), None);
/// ```
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::levenshtein(&given, &name.to_lowercase()), name))
        .filter(|(distance, name)| {
            *distance <= given.len().max(name.len()).div_ceil(3)
                || (given.len() > 2 && name.starts_with(&given))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Returns the message for a name that does not exist: it suggests the [`nearest`] of the known names and lists them.
///
/// ```
/// let message = lerp_core::unknown_name_message("variant", "ACIA", &["baseline", "acai"]);
/// assert_eq!(message, "there is no variant 'ACIA' (did you mean 'acai'?); there are: baseline, acai");
/// ```
pub fn unknown_name_message(what: &str, name: &str, known: &[&str]) -> String {
    let hint = did_you_mean(nearest(name, known.iter().copied()));
    format!("there is no {what} '{name}'{hint}; there are: {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    struct Config {
        advweight: f64,
        codes: usize,
    }
    impl Default for Config {
        fn default() -> Self {
            Self { advweight: 0.5, codes: 16 }
        }
    }

    fn table(json: &str) -> Hyper {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn defaults_are_filled_in_and_integers_serve_as_reals() {
        assert_eq!(check_hyper::<Config>("x", &table("{}")).unwrap(), Config::default());
        let config = check_hyper::<Config>("x", &table(r#"{"advweight": 2}"#)).unwrap();
        assert_eq!(config, Config { advweight: 2.0, codes: 16 });
    }

    #[test]
    fn unknown_keys_and_bad_values_are_named() {
        let message = |json| check_hyper::<Config>("acai", &table(json)).unwrap_err().to_string();
        let unknown = message(r#"{"advwieght": 1}"#);
        assert!(
            unknown.contains("'advwieght'") && unknown.contains("did you mean 'advweight'?"),
            "{unknown}"
        );
        let bad = message(r#"{"codes": "many"}"#);
        assert!(bad.contains("'codes' cannot be \"many\""), "{bad}");
        assert!(message(r#"{"codes": -1}"#).contains("'codes'"));
    }

    #[test]
    fn ranges_are_stated() {
        assert!(check_range("vae", "beta", 0.0, 0.0..).is_ok());
        let message = |v| check_range("dropout", "keep", v, 0.1..=1.0).unwrap_err().to_string();
        assert_eq!(
            message(2.0),
            "dropout: hyperparameter 'keep' is 2, but must be at least 0.1 and at most 1"
        );
        assert!(message(f64::NAN).contains("is NaN"));
    }

    #[test]
    fn nearest_suggests_only_similar_names() {
        let known = ["baseline", "acai", "vqvae"];
        assert_eq!(nearest("ACIA", known), Some("acai"));
        assert_eq!(nearest("vq-vae", known), Some("vqvae"));
        assert_eq!(nearest("gan", known), None);
    }
}

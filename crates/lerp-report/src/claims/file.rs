//! Files of claims: the paper's, which is part of this crate, and the user's, in the folder of a sweep.

use std::{path::Path, sync::OnceLock};

use lerp_eval::{
    Better, LineReference, Quantity, quantities,
    quantity::{MEAN_DISTANCE, MEAN_SMOOTHNESS},
};
use lerp_files::printable;
use serde::Deserialize;

use crate::{
    Error, Result,
    statistics::{is_a_pair, pairs_in_words},
};

/// The file of the user's claims in a sweep's folder.
const OWN: &str = "claims.toml";

/// The most bytes of that file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The content of a file of claims.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    claim: Vec<Stated>,
}

/// A claim as written in a file, before it is checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    id: String,
    says: String,
    #[serde(default)]
    place: String,
    family: String,
    metric: String,
    #[serde(default)]
    variant: String,
    #[serde(default)]
    except: Vec<String>,
    with: Option<String>,
    on: Option<ClaimPlace>,
    test: TestName,
    reference: Option<String>,
    within: Option<f64>,
}

/// Where a claim is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimPlace {
    /// On lines.
    Lines,
    /// On every image set.
    ImageSets,
}

/// The name of a test in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TestName {
    Best,
    Near,
    Together,
}

/// A checked claim, with its test.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The claim's identifier in files.
    pub id: String,
    /// The claim as a sentence without its full stop.
    pub says: String,
    /// Where it is claimed, such as a section of the paper.
    pub place: String,
    /// The family of claims whose p-values are corrected together. The user's claims are never corrected together with
    /// the paper's.
    pub family: String,
    /// The metric that is compared.
    pub metric: Quantity,
    /// The variant that the claim is about; empty if it is about all.
    pub variant: String,
    /// Variants that are left out of the comparison. A claim to be second best leaves out the best.
    pub except: Vec<String>,
    /// Where the claim is tested; `None` for wherever its metric is measured.
    pub on: Option<ClaimPlace>,
    /// How the claim is tested.
    pub test: Test,
    /// Whether it is one of the paper's claims, which concern the paper's variants only.
    pub papers: bool,
}

/// How a claim is tested.
#[derive(Debug, Clone)]
pub enum Test {
    /// The variant has the best mean of all that it is compared with.
    Best,
    /// The variant's mean is within a relative tolerance of a reference interpolation on lines.
    Near {
        /// The reference interpolation.
        reference: LineReference,
        /// The tolerance, as a share of the reference's value.
        within: f64,
    },
    /// Variants that do well by the claim's metric also do well by this one, over all image sets together.
    Together(Quantity),
}

/// Returns the paper's claims; the file is parsed on the first call only.
///
/// # Panics
/// Panics if the embedded file is malformed, which a test rules out.
#[allow(clippy::expect_used)]
pub fn of_the_paper() -> &'static [Claim] {
    static ONCE: OnceLock<Vec<Claim>> = OnceLock::new();
    ONCE.get_or_init(|| read(include_str!("paper.toml"), true).expect("paper.toml is of its form"))
}

/// Parses and checks the claims of a file. `papers` says whether it is the paper's file.
fn read(text: &str, papers: bool) -> std::result::Result<Vec<Claim>, String> {
    let file: File = toml::from_str(text).map_err(|e| {
        let line = e.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let line = line.map_or_else(String::new, |line| format!("line {line}: "));
        line + &e.message().trim().replace('\n', "; ")
    })?;
    // `of_the_paper` is initialized by this function, so reading the paper's file must not call it.
    let others: &[Claim] = if papers { &[] } else { of_the_paper() };
    let mut claims: Vec<Claim> = Vec::new();
    for stated in file.claim {
        let bad = |problem: String| Err(format!("the claim '{}' {problem}", stated.id));
        let Stated { id, says, family, variant, .. } = &stated;
        let about_all = stated.test == TestName::Together;
        let texts = [id, says, family].into_iter().chain((!about_all).then_some(variant));
        if texts.into_iter().any(|text| text.trim().is_empty()) {
            return bad("needs a text for id, says, family and variant".into());
        }
        if about_all != stated.with.is_some() || (about_all && !variant.is_empty()) {
            return bad(
                "needs 'with', another metric, and no variant if it is of 'together', and only then".into()
            );
        }
        if about_all && stated.on.is_some() {
            return bad("is of 'together', which is about all image sets, so it has no 'on'".into());
        }
        if stated.test != TestName::Best && !stated.except.is_empty() {
            return bad("leaves variants out by 'except', which only 'best' does".into());
        }
        if claims.iter().chain(others).any(|claim| claim.id == *id) {
            return bad("is there twice; give each an id of its own".into());
        }
        let known = |key: &str| quantities().find(|quantity| quantity.key == key).cloned();
        let Some(metric) = known(&stated.metric) else {
            return bad(format!("is about '{}', which nobody measures", stated.metric));
        };
        let test = match (stated.test, stated.reference.as_deref(), stated.within) {
            (TestName::Best, None, None) if metric.better == Better::Neither => {
                return bad(format!(
                    "wants the best of '{}', of which neither more nor less is better",
                    metric.key
                ));
            }
            (TestName::Best, None, None) => Test::Best,
            (TestName::Best, ..) => return bad("is of 'best', which has no 'reference' or 'within'".into()),
            (TestName::Near, Some(name), Some(within)) if within > 0.0 && within <= 1.0 => {
                let Some(reference) = LineReference::ALL.into_iter().find(|known| known.name() == name)
                else {
                    let all = LineReference::ALL.map(LineReference::name).join(", ");
                    return bad(format!("has no reference '{name}'; there are: {all}"));
                };
                if metric != MEAN_DISTANCE && metric != MEAN_SMOOTHNESS {
                    let (distance, smoothness) = (&MEAN_DISTANCE.key, &MEAN_SMOOTHNESS.key);
                    return bad(format!(
                        "compares '{}' with a reference; only {distance} and {smoothness} have some",
                        metric.key
                    ));
                }
                Test::Near { reference, within }
            }
            (TestName::Together, None, None) => {
                let with = stated.with.as_deref().unwrap_or_default();
                match known(with).filter(|with| is_a_pair(&metric, with)) {
                    Some(with) => Test::Together(with),
                    None => {
                        return bad(format!(
                            "correlates '{}' with '{with}'; the table of usefulness has {}",
                            metric.key,
                            pairs_in_words()
                        ));
                    }
                }
            }
            (TestName::Together, ..) => {
                return bad("is of 'together', which has no 'reference' or 'within'".into());
            }
            (TestName::Near, ..) => {
                return bad("is of 'near': give it a 'reference' and 'within', above 0 and up to 1".into());
            }
        };
        let Stated { id, says, place, family, variant, except, on, .. } = stated;
        claims.push(Claim { id, says, place, family, metric, variant, except, on, test, papers });
    }
    Ok(claims)
}

/// Reads the user's claims from the folder of a sweep; none if it has no such file.
pub fn own(dir: &Path) -> Result<Vec<Claim>> {
    let path = dir.join(OWN);
    let text = match lerp_files::read_to_string(&path, MAX_FILE_BYTES) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        text => text?,
    };
    read(&text, false).map_err(|problem| Error::BadClaims { path, problem: printable(&problem).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::published;

    #[test]
    fn the_papers_claims_are_well_formed() {
        let claims = of_the_paper();
        assert!(claims.len() >= 5);
        let mut ids: Vec<&str> = claims.iter().map(|claim| claim.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), claims.len());
        let about_all = |claim: &Claim| matches!(claim.test, Test::Together(_)) && claim.variant.is_empty();
        let named = |claim: &Claim| published().order.contains(&claim.variant);
        assert!(claims.iter().all(|claim| about_all(claim) != named(claim)));
        let excepted = claims.iter().flat_map(|claim| &claim.except);
        assert!(
            excepted.clone().count() > 0 && excepted.into_iter().all(|name| published().order.contains(name))
        );
    }

    #[test]
    fn malformed_claims_are_rejected_with_a_reason() {
        let claim = |more: &str| {
            let text = format!("[[claim]]\nid = 'x'\nsays = 'x'\nfamily = 'f'\nvariant = 'mine'\n{more}");
            read(&text, false).unwrap_err()
        };
        let near = "test = 'near'\nmetric = 'eval/mean_distance'\n";
        for (more, wanted) in [
            ("test = 'best'\nmetric = 'eval/beauty'", "is about 'eval/beauty', which nobody measures"),
            ("test = 'worst'\nmetric = 'eval/mean_distance'", "line 6: unknown variant `worst`"),
            ("test = 'best'", "missing field `metric`"),
            ("test = 'best'\nmetric = 'eval/mean_distance'\nplcae = 'x'", "line 8: unknown field `plcae`"),
            ("test = 'best'\nmetric = 'eval/mean_distance'\nwithin = 0.5", "has no 'reference' or 'within'"),
            ("test = 'best'\nmetric = 'final/probe_iterations'", "neither more nor less is better"),
            (
                &format!("{near}reference = 'square'\nwithin = 1.0"),
                "has no reference 'square'; there are: blend, circle, path",
            ),
            (&format!("{near}reference = 'blend'\nwithin = 0.0"), "'within', above 0 and up to 1"),
            (&format!("{near}reference = 'blend'"), "'within', above 0 and up to 1"),
            (
                "test = 'best'\nmetric = 'eval/detour'\nwith = 'final/probe_accuracy'",
                "no variant if it is of 'together'",
            ),
            (
                "test = 'near'\nmetric = 'eval/detour'\nreference = 'blend'\nwithin = 0.1",
                "only eval/mean_distance",
            ),
        ] {
            assert!(claim(more).contains(wanted), "{}", claim(more));
        }
        let twice = "[[claim]]\nid = 'x'\nsays = 'x'\nfamily = 'f'\nvariant = 'm'\ntest = 'best'\nmetric = 'eval/mean_distance'\n";
        assert!(read(&twice.repeat(2), false).unwrap_err().contains("is there twice"));
        assert!(
            read(&twice.replace("'x'", "'acai-distance'"), false).unwrap_err().contains("is there twice")
        );
        assert!(
            read(&twice.replace("says = 'x'", "says = ' '"), false).unwrap_err().contains("needs a text")
        );
    }
}

//! Learning-rate schedules.

use std::{f64::consts::PI, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The course of the learning rate after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// The learning rate is constant, as in the paper.
    #[default]
    Constant,
    /// The learning rate falls along half a cosine.
    Cosine,
}

/// A learning-rate schedule: the factor by which the run's learning rate is multiplied at every step. By
/// default it is 1 throughout, as in the paper.
///
/// ```
/// use lerp_core::{LearningRate, Schedule};
///
/// let schedule: Schedule = "cosine,from=0.5,floor=0.1,warmup=10".parse()?;
/// let rate = LearningRate { peak: 1.0, schedule, steps: 1000 };
/// assert_eq!(rate.at(0), 0.1); // the first of ten steps of warm-up
/// assert_eq!(rate.at(500), 1.0); // the decay begins after half of the steps
/// assert!((rate.at(1000) - 0.1).abs() < 1e-12); // a tenth is left at the end
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// The course of the learning rate after its warm-up.
    pub decay: Decay,
    /// Number of steps of linear warm-up.
    pub warmup: u64,
    /// The fraction of the run's steps after which the decay begins.
    pub from: f64,
    /// The fraction of the learning rate that is left at the end of the run.
    pub floor: f64,
}

impl Schedule {
    /// Whether every step has the same learning rate.
    pub fn is_constant(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that the numbers are in range.
    ///
    /// # Errors
    /// Returns what is wrong as a clause, such as `from must be at least 0 and below 1, not 2`.
    pub fn check(&self) -> Result<(), String> {
        if !(0.0..1.0).contains(&self.from) {
            return Err(format!("from must be at least 0 and below 1, not {}", self.from));
        }
        if !(0.0..=1.0).contains(&self.floor) {
            return Err(format!("floor must be at least 0 and at most 1, not {}", self.floor));
        }
        if self.decay == Decay::Constant && (self.from > 0.0 || self.floor > 0.0) {
            return Err("from and floor belong to decay 'cosine'".into());
        }
        if self.warmup > 1 << 32 {
            return Err("warmup may be at most 2^32 steps".into());
        }
        Ok(())
    }
}

/// Formats the schedule in words for a caption:
/// `cosine to 10 % of its peak over the last 30 % after 100 steps of warm-up`.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decay {
            Decay::Constant => f.write_str("constant")?,
            Decay::Cosine if self.floor > 0.0 => {
                write!(f, "cosine to {} % of its peak", percent(self.floor))?;
            }
            Decay::Cosine => f.write_str("cosine to 0")?,
        }
        if self.from > 0.0 {
            write!(f, " over the last {} %", percent(1.0 - self.from))?;
        }
        match self.warmup {
            0 => Ok(()),
            1 => f.write_str(" after 1 step of warm-up"),
            steps => write!(f, " after {steps} steps of warm-up"),
        }
    }
}

/// Converts a fraction to per cent, rounded so that the digits of binary fractions do not show.
fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

/// Parses the form of the command line: `cosine`, or `cosine,from=0.7,floor=0.1,warmup=100`.
impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',').map(str::trim);
        let mut schedule = Self {
            decay: match parts.next() {
                Some("constant") => Decay::Constant,
                Some("cosine") => Decay::Cosine,
                other => {
                    return Err(format!("'{}' is neither constant nor cosine", other.unwrap_or_default()));
                }
            },
            ..Self::default()
        };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let number =
                || value.trim().parse().map_err(|_| format!("'{part}': wanted a number, as in from=0.7"));
            match key.trim() {
                "from" => schedule.from = number()?,
                "floor" => schedule.floor = number()?,
                "warmup" => {
                    let steps = value.trim().parse();
                    schedule.warmup =
                        steps.map_err(|_| format!("'{part}': wanted a number of steps, as in warmup=100"))?;
                }
                other => return Err(format!("'{other}' is none of from, floor and warmup")),
            }
        }
        schedule.check()?;
        Ok(schedule)
    }
}

/// The learning rate of every step of a run.
///
/// ```
/// let constant = lerp_core::LearningRate::from(1e-4);
/// assert_eq!(constant.at(0), constant.at(1_000_000));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    /// The learning rate that the schedule multiplies.
    pub peak: f64,
    /// The schedule.
    pub schedule: Schedule,
    /// Number of steps of the run.
    pub steps: u64,
}

impl From<f64> for LearningRate {
    /// A constant learning rate.
    fn from(peak: f64) -> Self {
        Self { peak, schedule: Schedule::default(), steps: 1 }
    }
}

impl LearningRate {
    /// The learning rate of step number `step`, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        let Schedule { decay, warmup, from, floor } = self.schedule;
        let rising = if step < warmup { (step + 1) as f64 / warmup as f64 } else { 1.0 };
        let left = match decay {
            Decay::Constant => 1.0,
            Decay::Cosine => {
                let done = (step as f64 / self.steps as f64 - from) / (1.0 - from);
                floor + (1.0 - floor) * 0.5 * (1.0 + (PI * done.clamp(0.0, 1.0)).cos())
            }
        };
        self.peak * rising * left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_warm_up_and_decay() {
        let rate = |text: &str| LearningRate { peak: 2.0, schedule: text.parse().unwrap(), steps: 100 };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        assert_eq!(LearningRate::from(1e-4).at(7), 1e-4);
        assert_eq!(rate("constant").at(99), 2.0);
        let warm = rate("constant, warmup=4");
        assert_eq!([0, 1, 3, 4].map(|step| warm.at(step)), [0.5, 1.0, 2.0, 2.0]);
        let late = rate("cosine,from=0.5,floor=0.1");
        assert_eq!(late.at(50), 2.0);
        near(late.at(75), 2.0 * 0.55);
        near(late.at(100), 0.2);
        near(late.at(1000), 0.2);
        near(rate("cosine").at(50), 1.0);
    }

    #[test]
    fn schedules_are_parsed_and_formatted() {
        let schedule: Schedule = "cosine,from=0.7,floor=0.1,warmup=100".parse().unwrap();
        assert_eq!(
            schedule.to_string(),
            "cosine to 10 % of its peak over the last 30 % after 100 steps of warm-up"
        );
        assert_eq!(Schedule::default().to_string(), "constant");
        for (bad, why) in [
            ("linear", "neither constant nor cosine"),
            ("cosine,from=1", "from must be"),
            ("cosine,floor=-1", "floor must be"),
            ("cosine,floor=nan", "floor must be"),
            ("cosine,from", "wanted a number"),
            ("cosine,warmup=1.5", "number of steps"),
            ("cosine,to=0", "none of from"),
            ("constant,from=0.5", "belong to"),
        ] {
            let error = bad.parse::<Schedule>().unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}

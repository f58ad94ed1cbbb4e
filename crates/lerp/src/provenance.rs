//! Where and with what a result was made.

use std::time::{SystemTime, UNIX_EPOCH};

use lerp_core::Precision;
use lerp_train::Provenance;

use crate::{device::described, shelf::Images};

/// Version of this software.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Git revision it was built from.
pub const GIT: &str = env!("LERP_GIT");
/// Version of candle.
pub const CANDLE: &str = env!("LERP_CANDLE");

/// The provenance of something that starts now on a device opened with this precision.
pub fn provenance(
    (device, precision): (&str, Precision),
    threads: usize,
    images: Option<Images>,
    command: String,
) -> Provenance {
    let (data, images) = images.unzip();
    Provenance {
        version: VERSION.into(),
        git: GIT.into(),
        device: described(device, precision),
        threads,
        candle: CANDLE.into(),
        data,
        images,
        started: now(),
        command,
    }
}

/// The time as RFC 3339 in UTC, to the second.
pub fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    rfc3339(seconds)
}

fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to a date in the proleptic Gregorian calendar, counting from 1 March of year 0.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// Seconds since 1970 of a time that [`now`] wrote; none of any other text.
pub fn unix(text: &str) -> Option<f64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Days since 1 March of year 0, whose years end with the day that leap years add.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) as f64)
}

#[cfg(test)]
mod tests {
    use super::{rfc3339, unix};

    #[test]
    fn dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_735_689_599), "2024-12-31T23:59:59Z");
        for seconds in [0, 951_782_400, 951_868_799, 1_735_689_599, 4_107_542_400] {
            assert_eq!(unix(&rfc3339(seconds)), Some(seconds as f64));
        }
        assert_eq!((unix("yesterday"), unix("")), (None, None));
    }
}

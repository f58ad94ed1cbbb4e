//! Values as text for users.

/// Formats a duration in seconds for reading: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`.
///
/// ```
/// use lerp_train::text::duration;
///
/// assert_eq!([45.0, 720.0, 12_000.0, 187_200.0].map(duration), ["45 s", "12 min", "3 h 20 min", "2 d 4 h"]);
/// ```
pub fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0..120 => format!("{s} s"),
        120..7_200 => format!("{} min", (s + 30) / 60),
        7_200..172_800 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

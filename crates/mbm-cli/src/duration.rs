//! Durations as values of flags.

use std::time::Duration;

/// The maximum duration that a flag accepts.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses a duration such as 5ms or 30s, of at most a day.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.trim().parse().map_err(|_| "expected a duration such as 5ms or 30s".to_owned())?;
    let seconds = match &text[digits.len()..] {
        "ms" => number / 1000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        "" => return Err("missing unit; use ms, s, m or h".to_owned()),
        other => return Err(format!("unknown unit '{other}'; use ms, s, m or h")),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        Ok(_) => Err("longer than a day".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(
            ["5ms", "0s", "1.5s", "2min", "1h"].map(duration),
            [5, 0, 1500, 120_000, 3_600_000].map(|ms| Ok(Duration::from_millis(ms)))
        );
        assert!(["", "5", "-1s", "1d", "25h", "1e300s", "1441min"].iter().all(|text| duration(text).is_err()));
    }
}

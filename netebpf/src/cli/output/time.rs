//! Times as Docker prints them.

/// `2026-11-20T23:41:21Z` of seconds since 1970 (RFC 3339).
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a number of days since 1970: counted from a 1 March, so that the leap day is
/// the last of a year, in eras of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// Seconds since 1970 of `2026-11-20T23:41:21Z`, `2026-11-20`, a number of seconds since 1970, or how long before `now`
/// (`1h30m`).
pub(crate) fn moment(text: &str, now: u64) -> Option<u64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    if let Some(ago) = ago(text) {
        return Some(now.saturating_sub(ago));
    }
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let numbers = |text: &str, between: char| -> Option<[u64; 3]> {
        let parts: Option<Vec<_>> = text.split(between).map(|part| part.parse().ok()).collect();
        parts?.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time.trim_end_matches('Z'), ':')?;
    let right = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    // As in `civil`, from a 1 March.
    let (of_era, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * of_era + of_era / 4 - of_era / 100 + of_era / 400;
    let days = days + (153 * shifted + 2) / 5 + day - 1;
    right.then(|| (days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Seconds of Go's `1h30m10s`.
fn ago(text: &str) -> Option<u64> {
    let (mut seconds, mut number) = (0u64, String::new());
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let count: u64 = number.parse().ok()?;
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
        number.clear();
    }
    (number.is_empty() && !text.is_empty()).then_some(seconds)
}

/// `5 seconds`, `About an hour`, `3 days`.
pub(crate) fn duration(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 14 => format!("{} days", hours / 24),
        () if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
    }

    #[test]
    fn moments() {
        for seconds in [0, 951_782_399, 951_782_400, 1_709_251_199, 4_107_542_400] {
            assert_eq!(moment(&rfc3339(seconds), 7), Some(seconds));
        }
        for (text, expected) in [
            ("1970-01-02", Some(86_400)),
            ("12345", Some(12_345)),
            ("1h30m10s", Some(100_000 - 5410)),
            ("48h", Some(0)),
            ("soon", None),
            ("1h30", None),
            ("h", None),
            ("2026-13-01", None),
            ("2026-11-20T25:00:00Z", None),
            ("1969-12-31", None),
            ("", None),
        ] {
            assert_eq!(moment(text, 100_000), expected, "{text}");
        }
    }

    #[test]
    fn durations_in_words() {
        for (seconds, expected) in [
            (0, "Less than a second"),
            (59, "59 seconds"),
            (119, "About a minute"),
            (3599, "59 minutes"),
            (7199, "About an hour"),
            (7200, "2 hours"),
            (3 * 86_400, "3 days"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }
}

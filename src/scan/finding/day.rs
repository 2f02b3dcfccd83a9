//! Days, for the date on which a baseline's entry ends.

use std::fmt;
use std::str::FromStr;

/// Seconds of a day.
const SECONDS: u64 = 86_400;

/// A day of the proleptic Gregorian calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::struct_field_names, reason = "a day has a day")]
pub struct Day {
    year: i64,
    month: u8,
    day: u8,
}

/// Not a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a day, `YYYY-MM-DD`")]
pub struct NoDay;

impl Day {
    /// The day of a time in seconds since 1970.
    pub fn of_unix(seconds: u64) -> Day {
        Day::of_number(i64::try_from(seconds / SECONDS).unwrap_or(i64::MAX / 2))
    }

    /// So many days later.
    #[must_use]
    pub fn later(self, days: u32) -> Day {
        Day::of_number(self.number() + i64::from(days))
    }

    /// Days since 1970, by Howard Hinnant's `days_from_civil`: years begin in March there, so that
    /// the leap day is the last one.
    fn number(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let month = (i64::from(self.month) + 9) % 12;
        let of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    /// The inverse, `civil_from_days`.
    fn of_number(number: i64) -> Day {
        let number = number + 719_468;
        let (era, of_era) = (number.div_euclid(146_097), number.rem_euclid(146_097));
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        let small = |number: i64| u8::try_from(number).unwrap_or(1);
        Day { year, month: small(month), day: small(day) }
    }
}

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Day, NoDay> {
        let digits = text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
        if text.len() != 10 || !digits {
            return Err(NoDay);
        }
        let part = |range: std::ops::Range<usize>| text[range].parse::<u8>().map_err(|_| NoDay);
        let year = text[..4].parse().map_err(|_| NoDay)?;
        let day = Day { year, month: part(5..7)?, day: part(8..10)? };
        let real = (1..=12).contains(&day.month) && day.day >= 1;
        if real && Day::of_number(day.number()) == day { Ok(day) } else { Err(NoDay) }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// `2026-11-24T12:00:00`, UTC.
pub fn timestamp(seconds: u64) -> String {
    let of_day = seconds % SECONDS;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}", Day::of_unix(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_come_and_go_as_the_calendar_says() {
        assert_eq!(Day::of_unix(0).to_string(), "1970-01-01");
        assert_eq!(timestamp(1_795_521_600 + 3_661), "2026-11-24T13:01:01");
        assert_eq!("2028-02-28".parse::<Day>().unwrap().later(1).to_string(), "2028-02-29");
        assert_eq!("2026-12-31".parse::<Day>().unwrap().later(90).to_string(), "2027-03-31");
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in ["2026-02-29", "2026-13-01", "2026-00-10", "2026-1-1", "tomorrow", "2026-01-00"]
        {
            assert_eq!(text.parse::<Day>(), Err(NoDay), "{text}");
        }
    }

    #[test]
    fn later_days_are_greater() {
        let day = |text: &str| text.parse::<Day>().unwrap();
        assert!(day("2026-11-24") < day("2026-12-01") && day("2026-12-31") < day("2027-01-01"));
    }
}

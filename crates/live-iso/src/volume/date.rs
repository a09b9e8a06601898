//! The 17-byte date of a volume descriptor: `YYYYMMDDHHMMSScc` in digits, then the offset from GMT in quarter hours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads a date. One that is unset (all zeros) or impossible is None.
pub(super) fn parse(date: &[u8]) -> Option<SystemTime> {
    let (digits, offset) = date.split_first_chunk::<16>()?;
    let quarter_hours = i8::from_ne_bytes([*offset.first()?]);
    let number = |from: usize, to: usize| {
        digits.get(from..to)?.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    };
    let year = number(0, 4)?;
    let month = number(4, 6).filter(|month| (1..=12).contains(month))?;
    let day = number(6, 8).filter(|day| (1..=31).contains(day))?;
    let hour = number(8, 10).filter(|hour| *hour < 24)?;
    let minute = number(10, 12).filter(|minute| *minute < 60)?;
    let second = number(12, 14).filter(|second| *second <= 60)?;
    let hundredths = number(14, 16)?;

    let local = ((days_since_epoch(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    let seconds = local - i64::from(quarter_hours) * 15 * 60;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    time?.checked_add(Duration::from_millis(hundredths.unsigned_abs() * 10))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
///
/// Years begin in March here, so that the leap day is the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days_before_month = (153 * month_from_march + 2) / 5;
    year * 365 + leap_days + days_before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::time::{Duration, UNIX_EPOCH};

    fn date(digits: &str, quarter_hours: i8) -> Vec<u8> {
        let mut date = digits.as_bytes().to_vec();
        date.extend(quarter_hours.to_ne_bytes());
        date
    }

    #[test]
    fn dates_are_seconds_since_the_epoch() {
        for (digits, quarter_hours, seconds) in [
            ("1970010100000000", 0, 0),
            ("2000022912345600", 0, 951_827_696),
            ("2000030100000000", 0, 951_868_800),
            ("2023071911310300", 0, 1_689_766_263),
            ("2023071911310300", 8, 1_689_759_063),
            ("2023071911310300", -28, 1_689_791_463),
            ("2100030100000000", 0, 4_107_542_400),
        ] {
            let expected = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(parse(&date(digits, quarter_hours)), Some(expected), "{digits} {quarter_hours}");
        }
        assert_eq!(parse(&date("1969123123595950", 0)), Some(UNIX_EPOCH - Duration::from_millis(500)));
    }

    #[test]
    fn unset_and_impossible_dates_are_none() {
        for digits in ["0000000000000000", "2023130100000000", "2023010124000000", "20230101000000 0"] {
            assert_eq!(parse(&date(digits, 0)), None, "{digits}");
        }
        assert_eq!(parse(b"2023010100000000"), None);
        assert_eq!(parse(&[0; 17]), None);
    }
}

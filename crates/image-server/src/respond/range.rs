//! The `Range` header: one range of bytes, or nothing.
//!
//! What is not one well-formed range of bytes is ignored, as RFC 9110 allows: several ranges at once, too, because no
//! client of ours needs them and each would cost a download of its own.

use std::ops::Range;

use axum::http::HeaderMap;
use axum::http::header::RANGE;

/// What a client wants of `len` bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Requested {
    Whole,
    /// At least one byte.
    Part(Range<u64>),
    /// Only bytes that do not exist.
    Unsatisfiable,
}

pub(super) fn requested(headers: &HeaderMap, len: u64) -> Requested {
    let mut values = headers.get_all(RANGE).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => parse(value, len).unwrap_or(Requested::Whole),
        _ => Requested::Whole,
    }
}

/// Reads `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT`.
fn parse(value: &str, len: u64) -> Option<Requested> {
    let (unit, range) = value.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let range = match (first.is_empty(), last.is_empty()) {
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..len.min(last.saturating_add(1))
        }
        (false, true) => number(first)?..len,
        (true, false) => len.saturating_sub(number(last)?)..len,
        (true, true) => return None,
    };
    Some(if range.is_empty() { Requested::Unsatisfiable } else { Requested::Part(range) })
}

/// Digits only. A number that is too large is as good as any other that lies beyond every end.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Requested, parse};

    const HUGE: &str = "99999999999999999999999999";

    #[test]
    fn one_range_is_cut_to_what_there_is() {
        for (value, expected) in [
            ("bytes=0-99", 0..100),
            ("bytes=0-0", 0..1),
            ("bytes=990-", 990..1000),
            ("bytes=990-5000", 990..1000),
            ("bytes=-100", 900..1000),
            ("bytes=-5000", 0..1000),
            ("Bytes = 5-6 ", 5..7),
            (&format!("bytes=7-{HUGE}"), 7..1000),
            (&format!("bytes=-{HUGE}"), 0..1000),
        ] {
            assert_eq!(parse(value, 1000), Some(Requested::Part(expected)), "{value}");
        }
    }

    #[test]
    fn what_lies_beyond_the_end_is_unsatisfiable() {
        for value in ["bytes=1000-", "bytes=1000-1001", "bytes=-0", &format!("bytes={HUGE}-")] {
            assert_eq!(parse(value, 1000), Some(Requested::Unsatisfiable), "{value}");
        }
        assert_eq!(parse("bytes=-5", 0), Some(Requested::Unsatisfiable));
    }

    #[test]
    fn anything_else_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,,",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=0x1-2",
            "bytes=1 - 2",
            "bytes=+1-2",
            "bytes=0-1,5-6",
            "bytes=0-1,",
            "lines=0-5",
            "bytes=--5",
            "bytes=1-2-3",
        ] {
            assert_eq!(parse(value, 1000), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_beyond_the_end(
            value in "(bytes=)?[0-9]{0,4}-?[0-9]{0,4}",
            len in 0_u64..2000,
        ) {
            if let Some(Requested::Part(range)) = parse(&value, len) {
                prop_assert!(range.start < range.end && range.end <= len);
            }
        }
    }
}

//! The header that says which part of a file an answer holds (RFC 9110, 14.4).

use std::str::FromStr;

/// `Content-Range: bytes 100-199/200`: which part of how many bytes a partial answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    first: u64,
    last: u64,
    total: u64,
}

impl ContentRange {
    /// The size of the whole, if this is all that is left of it from `offset` on.
    pub(super) fn total_if_rest_from(self, offset: u64) -> Option<u64> {
        (self.first == offset && self.last + 1 == self.total).then_some(self.total)
    }
}

/// Not a range whose place is certain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidContentRange;

impl FromStr for ContentRange {
    type Err = InvalidContentRange;

    fn from_str(text: &str) -> Result<Self, InvalidContentRange> {
        let parse = || {
            let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = range.split_once('-')?;
            let range = Self { first: number(first)?, last: number(last)?, total: number(total)? };
            (range.first <= range.last && range.last < range.total).then_some(range)
        };
        parse().ok_or(InvalidContentRange)
    }
}

/// Without the sign that Rust would allow.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::ContentRange;

    #[test]
    fn only_the_exact_rest_counts() {
        let rest = |text: &str| text.parse::<ContentRange>().ok()?.total_if_rest_from(100);
        assert_eq!(rest("bytes 100-199/200"), Some(200));
        for text in [
            "bytes 99-199/200",
            "bytes 101-199/200",
            "bytes 100-198/200",
            "bytes 100-199/*",
            "bytes */200",
            "bytes 100-200/200",
            "bytes 100-99/200",
            "bytes +100-199/200",
            "bytes 100-199/99999999999999999999",
            "bytes 100-18446744073709551615/18446744073709551615",
            "items 100-199/200",
            "",
        ] {
            assert_eq!(rest(text), None, "{text}");
        }
    }
}

//! The header that says which part of a blob an answer holds (RFC 9110, section 14.4).

use reqwest::header::HeaderValue;

/// Whether `Content-Range` says that all that follows `offset` is coming, of a whole of exactly `size` bytes.
pub(crate) fn is_rest(header: Option<&HeaderValue>, offset: u64, size: u64) -> bool {
    let rest = || {
        let (part, whole) = header?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = part.split_once('-')?;
        Some((number(first)?, number(last)?.checked_add(1)?, number(whole)?))
    };
    offset < size && rest() == Some((offset, size, size))
}

/// Without the sign that Rust would allow.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::is_rest;
    use reqwest::header::HeaderValue;

    #[test]
    fn only_the_exact_rest_counts() {
        let rest = |text: &'static str| is_rest(Some(&HeaderValue::from_static(text)), 100, 200);
        assert!(rest("bytes 100-199/200"));
        for text in [
            "bytes 99-199/200",
            "bytes 101-199/200",
            "bytes 100-198/200",
            "bytes 100-199/*",
            "bytes 100-199/201",
            "bytes */200",
            "bytes 100-200/200",
            "bytes 100-200/201",
            "bytes +100-199/200",
            "bytes 100-18446744073709551615/200",
            "bytes 100-199/99999999999999999999",
            "bytes=100-199/200",
            "items 100-199/200",
            "",
        ] {
            assert!(!rest(text), "{text}");
        }
        assert!(!is_rest(None, 100, 200));
        assert!(!is_rest(Some(&HeaderValue::from_static("bytes 0-0/0")), 0, 0));
    }
}

use reqwest::header::{CONTENT_RANGE, HeaderMap};

/// The size of the whole in bytes, if `Content-Range` (RFC 9110, section 14.4) says that exactly what is left of it from
/// `offset` on is coming.
pub fn total_of_rest(headers: &HeaderMap, offset: u64) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (part, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = part.split_once('-')?;
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    (first == offset && first <= last && last.checked_add(1) == Some(total)).then_some(total)
}

/// Without the sign that Rust would allow.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue};

    use super::total_of_rest;

    #[test]
    fn only_the_exact_rest_counts() {
        let from = |offset, text: &'static str| {
            let headers = HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_static(text))]);
            total_of_rest(&headers, offset)
        };
        assert_eq!(from(100, "bytes 100-199/200"), Some(200));
        assert_eq!(from(0, "bytes 0-0/1"), Some(1));
        for text in [
            "bytes 99-199/200",
            "bytes 101-199/200",
            "bytes 100-198/200",
            "bytes 100-199/*",
            "bytes 100-199/201",
            "bytes */200",
            "bytes 100-200/200",
            "bytes 100-99/100",
            "bytes 100-99/200",
            "bytes +100-199/200",
            "bytes 100-+199/200",
            "bytes -199/200",
            "bytes 100-18446744073709551615/200",
            "bytes 100-18446744073709551615/18446744073709551615",
            "bytes 100-199/99999999999999999999",
            "bytes=100-199/200",
            "items 100-199/200",
            "",
        ] {
            assert_eq!(from(100, text), None, "{text}");
        }
        assert_eq!(from(0, "bytes 0-0/0"), None);
        assert_eq!(total_of_rest(&HeaderMap::new(), 0), None);
    }
}

//! What makes it certain that a resumed download goes on with the same bytes.

use std::time::Duration;

use reqwest::header::{DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED};

/// A date is a strong validator only if the file was not changed again within its resolution of a second (RFC 9110,
/// 8.8.2.2). As the two clocks involved may be different ones, a minute is asked for.
const SETTLED: Duration = Duration::from_mins(1);

/// The validator of an answer for use in `If-Range`, if it has one that is strong: its entity tag, or else its date.
pub(super) fn strong(headers: &HeaderMap) -> Option<&str> {
    match single(headers, &ETAG) {
        // The date must not be used where there is a tag, even if that is weak (RFC 9110, 13.1.5).
        Given::Once(tag) => is_strong_tag(tag).then_some(tag),
        Given::Unusable => None,
        Given::Not => {
            let (Given::Once(modified), Given::Once(date)) =
                (single(headers, &LAST_MODIFIED), single(headers, &DATE))
            else {
                return None;
            };
            let parse = |text| httpdate::parse_http_date(text).ok();
            let age = parse(date)?.duration_since(parse(modified)?).ok()?;
            (age >= SETTLED).then_some(modified)
        }
    }
}

/// Whether a partial answer says of itself that it is of something else than `validator` names.
pub(super) fn contradicts(headers: &HeaderMap, validator: &str) -> bool {
    let name = if is_strong_tag(validator) { &ETAG } else { &LAST_MODIFIED };
    match single(headers, name) {
        Given::Not => false,
        Given::Once(given) => given != validator,
        Given::Unusable => true,
    }
}

enum Given<'a> {
    Not,
    Once(&'a str),
    Unusable,
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Given<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Given::Not,
        (Some(value), None) => value.to_str().map_or(Given::Unusable, Given::Once),
        _ => Given::Unusable,
    }
}

fn is_strong_tag(text: &str) -> bool {
    text.len() > 1
        && text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .is_some_and(|opaque| opaque.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{contradicts, strong};

    type Line = (&'static str, &'static str);

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn headers(lines: &[Line]) -> HeaderMap {
        let parse = |&(name, value): &Line| (HeaderName::from_static(name), HeaderValue::from_static(value));
        // `collect` would keep only the last of several values.
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(parse) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn only_what_is_strong_is_used() {
        let old = ("last-modified", MODIFIED);
        let now = ("date", "Sun, 06 Nov 1994 08:50:37 GMT");
        let cases: [(&[Line], Option<&str>); 11] = [
            (&[("etag", "\"ab-1\"")], Some("\"ab-1\"")),
            (&[("etag", "\"\"")], Some("\"\"")),
            (&[("etag", "W/\"ab\""), old, now], None),
            (&[("etag", "ab"), old, now], None),
            (&[("etag", "\"a\"b\""), old, now], None),
            (&[("etag", "\"a\""), ("etag", "\"b\""), old, now], None),
            (&[old, now], Some(MODIFIED)),
            (&[old, ("date", "Sun, 06 Nov 1994 08:50:36 GMT")], None),
            (&[old, ("date", "Sun, 06 Nov 1994 08:48:37 GMT")], None),
            (&[old], None),
            (&[("last-modified", "yesterday"), now], None),
        ];
        for (lines, expected) in cases {
            assert_eq!(strong(&headers(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_part_of_something_else_is_noticed() {
        for (line, validator, expected) in [
            (("etag", "\"a\""), "\"a\"", false),
            (("etag", "\"b\""), "\"a\"", true),
            (("etag", "W/\"a\""), "\"a\"", true),
            (("last-modified", MODIFIED), "\"a\"", false),
            (("last-modified", MODIFIED), MODIFIED, false),
            (("last-modified", "Sun, 06 Nov 1994 08:49:38 GMT"), MODIFIED, true),
        ] {
            assert_eq!(contradicts(&headers(&[line]), validator), expected, "{line:?} {validator}");
        }
    }
}

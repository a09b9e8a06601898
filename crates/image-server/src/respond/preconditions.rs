//! Preconditions of RFC 9110, section 13, in the order of section 13.2.2. Every request here is a GET or a HEAD.

use axum::http::HeaderMap;
use axum::http::header::{
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use httpdate::HttpDate;

use super::entity_tag::EntityTag;

/// What tells one version from another.
#[derive(Debug)]
pub(super) struct Validators {
    pub(super) entity_tag: EntityTag,
    /// Absent when nobody knows; then no precondition on dates has a meaning.
    pub(super) last_modified: Option<HttpDate>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    NotModified,
    Failed,
}

/// Judges everything but `If-Range`. An entity tag goes before a date of the same meaning.
pub(super) fn judge(headers: &HeaderMap, validators: &Validators) -> Verdict {
    let is_newer_than = |date| validators.last_modified.is_some_and(|modified| modified > date);
    if headers.contains_key(IF_MATCH) {
        if !any_tag_matches(headers, IF_MATCH, &validators.entity_tag, Comparison::Strong) {
            return Verdict::Failed;
        }
    } else if date(headers, IF_UNMODIFIED_SINCE).is_some_and(is_newer_than) {
        return Verdict::Failed;
    }
    let has_it = if headers.contains_key(IF_NONE_MATCH) {
        any_tag_matches(headers, IF_NONE_MATCH, &validators.entity_tag, Comparison::Weak)
    } else {
        validators.last_modified.is_some()
            && date(headers, IF_MODIFIED_SINCE).is_some_and(|date| !is_newer_than(date))
    };
    if has_it { Verdict::NotModified } else { Verdict::Met }
}

/// Whether a range continues the version that the client has: `If-Range` is absent, or names exactly this version.
pub(super) fn range_applies(headers: &HeaderMap, validators: &Validators) -> bool {
    let Some(value) = headers.get(IF_RANGE) else { return true };
    match date(headers, IF_RANGE) {
        Some(date) => validators.last_modified == Some(date),
        None => value.as_bytes() == validators.entity_tag.as_str().as_bytes(),
    }
}

/// A date; none where the header is absent or means nothing.
fn date(headers: &HeaderMap, name: HeaderName) -> Option<HttpDate> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// Weak tags match nothing.
    Strong,
    /// Weak tags match like others.
    Weak,
}

fn any_tag_matches(headers: &HeaderMap, name: HeaderName, tag: &EntityTag, comparison: Comparison) -> bool {
    headers.get_all(name).iter().filter_map(|value: &HeaderValue| value.to_str().ok()).any(|list| {
        list.trim() == "*"
            || tags(list)
                .any(|(is_weak, found)| found == tag.as_str() && (comparison == Comparison::Weak || !is_weak))
    })
}

/// The tags of a list, in their quotes, and whether each is weak. Commas can be part of a tag. The list ends where it
/// is no list any more.
fn tags(list: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let is_weak = rest.starts_with("W/");
        let tag = rest.strip_prefix("W/").unwrap_or(rest);
        let end = tag.strip_prefix('"')?.find('"')? + 2;
        rest = &tag[end..];
        Some((is_weak, &tag[..end]))
    })
}

#[cfg(test)]
mod tests {
    use super::tags;

    #[test]
    fn lists_of_tags_are_read() {
        for (list, expected) in [
            (r#""a""#, &[(false, r#""a""#)][..]),
            (r#""a", W/"b" ,,"c,d""#, &[(false, r#""a""#), (true, r#""b""#), (false, r#""c,d""#)]),
            (r#""a", b, "c""#, &[(false, r#""a""#)]),
            (r#""a"#, &[]),
            ("W/", &[]),
            ("*", &[]),
            ("", &[]),
        ] {
            assert_eq!(tags(list).collect::<Vec<_>>(), expected, "{list}");
        }
    }
}

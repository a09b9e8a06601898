//! The query of a request, read as the predecessor reads it.

use axum::http::Uri;
use url::form_urlencoded;

/// The parameters behind a URL's question mark, read as the predecessor reads them.
///
/// A parameter that is escaped badly, or holds a semicolon, does not count.
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn of(uri: &'a Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// The first parameter of this name, unless it is empty.
    pub(super) fn first(&self, name: &str) -> Option<String> {
        self.0
            .split('&')
            .filter(|parameter| is_well_formed(parameter))
            .flat_map(|parameter| form_urlencoded::parse(parameter.as_bytes()))
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.into_owned())
            .filter(|value| !value.is_empty())
    }
}

fn is_well_formed(parameter: &str) -> bool {
    let is_hexadecimal = |digits: &[u8]| digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit);
    let mut escapes = parameter.split('%').skip(1);
    !parameter.contains(';') && escapes.all(|rest| rest.as_bytes().get(..2).is_some_and(is_hexadecimal))
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn the_first_well_formed_parameter_counts() {
        for (query, expected) in [
            ("version=4.18", Some("4.18")),
            ("arch=x&version=4.18&version=4.19", Some("4.18")),
            ("version=4%2e18", Some("4.18")),
            ("%76ersion=4.18", Some("4.18")),
            ("version=a+b%20c", Some("a b c")),
            ("version=4.18=x", Some("4.18=x")),
            ("version=4.1%8&version=4.19", Some("4.19")),
            ("version=4;18&version=4.19", Some("4.19")),
            ("version=&version=4.19", None),
            ("version", None),
            ("version=%", None),
            ("version=%4", None),
            ("version=%zz", None),
            ("version=%é", None),
            ("Version=4.18", None),
            ("", None),
        ] {
            assert_eq!(Query(query).first("version").as_deref(), expected, "{query:?}");
        }
    }
}

//! What an admin may set about downloads: additions to requests, whom to trust, how patient to be.

use std::fmt;
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE,
    TRANSFER_ENCODING,
};
use serde_json::{Map, Value};

use crate::RetryPolicy;

/// How images are downloaded.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sent with every request for an image.
    pub headers: RequestHeaders,
    /// Added to the URL of every image.
    pub query_params: QueryParams,
    /// A PEM bundle of authorities to be trusted beside the system's.
    pub trusted_ca_pem: Option<Vec<u8>>,
    /// Whether TLS certificates are not verified. Has no effect beside `trusted_ca_pem`, as in the predecessor: whoever
    /// says whom to trust wants it verified.
    pub insecure_skip_verify: bool,
    /// The `User-Agent`.
    pub user_agent: String,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a server may send nothing.
    pub read_timeout: Duration,
    /// A server that is slower counts as one that sends nothing.
    pub min_rate: MinRate,
    /// How many requests in a row may fail without bringing the download on.
    pub tries: u32,
    /// How long to wait between them. A server that asks to be left alone for longer than the longest wait ends the
    /// download.
    pub retry: RetryPolicy,
    /// The largest image, in bytes.
    pub max_size: u64,
}

/// How fast a download has to be: a gigabyte at this rate takes days, and others may wait for it to end.
#[derive(Clone, Copy, Debug)]
pub struct MinRate {
    /// So many bytes have to arrive
    pub bytes: u64,
    /// in this time, again and again.
    pub within: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            headers: RequestHeaders::default(),
            query_params: QueryParams::default(),
            trusted_ca_pem: None,
            insecure_skip_verify: false,
            user_agent: concat!("coreos-image-service/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_mins(1),
            min_rate: MinRate { bytes: 1 << 20, within: Duration::from_mins(5) },
            tries: 4,
            retry: RetryPolicy { shortest: Duration::from_secs(1), longest: Duration::from_secs(30) },
            // Appliance ISOs have up to 60 GiB.
            max_size: 128 << 30,
        }
    }
}

/// `OS_IMAGES_REQUEST_HEADERS` or `OS_IMAGES_REQUEST_QUERY_PARAMS` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct InvalidRequestParameters {
    /// What is wrong, one sentence each. Names are repeated, values never: they are secrets.
    pub problems: Vec<String>,
}

/// Headers that an admin adds to requests for images. Their values are never shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeaders {
    sent: HeaderMap,
    ignored: Vec<HeaderName>,
}

impl RequestHeaders {
    /// Headers that belong to the connection or the download; another value would break them. The predecessor's HTTP
    /// library ignores most of them too.
    const OURS: [HeaderName; 7] =
        [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, ACCEPT_ENCODING, RANGE, IF_RANGE];

    /// Reads a JSON object of strings. Headers that would break the download are left out, see [`Self::ignored`].
    pub fn parse(json: &str) -> Result<Self, InvalidRequestParameters> {
        let mut problems = Vec::new();
        let (mut sent, mut ignored) = (HeaderMap::new(), Vec::new());
        for (name, value) in strings(json, &mut problems) {
            let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
                problems.push(format!("{name:?} is not the name of a header"));
                continue;
            };
            let Ok(mut value) = HeaderValue::try_from(value) else {
                problems.push(format!("the value of {name:?} holds characters that no header may have"));
                continue;
            };
            if Self::OURS.contains(&header) {
                ignored.push(header);
                continue;
            }
            value.set_sensitive(true);
            sent.insert(header, value);
        }
        if problems.is_empty() {
            Ok(Self { sent, ignored })
        } else {
            Err(InvalidRequestParameters { problems })
        }
    }

    /// The headers that are not sent because the download itself sets them. The admin should be told.
    pub fn ignored(&self) -> &[HeaderName] {
        &self.ignored
    }

    pub(super) fn into_map(self) -> HeaderMap {
        self.sent
    }
}

/// Query parameters that an admin adds to the URLs of images. Their values are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct QueryParams(Vec<(String, String)>);

impl QueryParams {
    /// Reads a JSON object of strings.
    pub fn parse(json: &str) -> Result<Self, InvalidRequestParameters> {
        let mut problems = Vec::new();
        let params = strings(json, &mut problems).collect();
        if problems.is_empty() { Ok(Self(params)) } else { Err(InvalidRequestParameters { problems }) }
    }

    pub(super) fn add_to(&self, url: &mut url::Url) {
        // Without any, a `?` would be added all the same.
        if !self.0.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.0);
        }
    }
}

impl fmt::Debug for QueryParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// The members of a JSON object, sorted, as far as they are strings.
fn strings(json: &str, problems: &mut Vec<String>) -> impl Iterator<Item = (String, String)> + use<> {
    let members = match serde_json::from_str(json) {
        Ok(Value::Object(members)) => members,
        Ok(_) => {
            problems.push("expected a JSON object of strings".to_owned());
            Map::new()
        }
        Err(error) => {
            problems.push(format!("not JSON: {error}"));
            Map::new()
        }
    };
    for (name, _) in members.iter().filter(|(_, value)| !value.is_string()) {
        problems.push(format!("the value of {name:?} must be a string"));
    }
    members.into_iter().filter_map(|(name, value)| match value {
        Value::String(value) => Some((name, value)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::{QueryParams, RequestHeaders};

    #[test]
    fn secrets_are_neither_shown_nor_repeated() {
        let json = r#"{"Authorization": "Bearer secret", "X-Key": "secret", "range": "secret"}"#;
        let headers = RequestHeaders::parse(json).unwrap();
        let params = QueryParams::parse(json).unwrap();
        assert_eq!((headers.sent.len(), headers.ignored()), (2, &[super::RANGE][..]), "{headers:?}");
        for shown in [format!("{headers:?}"), format!("{params:?}")] {
            assert!(!shown.contains("secret"), "{shown}");
        }
        let error =
            RequestHeaders::parse(r#"{"a b": "secret", "c": "secret\n", "d": ["secret"]}"#).unwrap_err();
        assert_eq!(
            error.problems,
            [
                "the value of \"d\" must be a string",
                "\"a b\" is not the name of a header",
                "the value of \"c\" holds characters that no header may have",
            ]
        );
        for json in ["", "[\"secret\"]", "\"secret\"", "{\"secret"] {
            let problems = QueryParams::parse(json).unwrap_err().problems;
            assert!(problems.len() == 1 && !problems[0].contains("secret"), "{json}: {problems:?}");
        }
    }

    #[test]
    fn parameters_come_after_those_that_the_url_has() {
        let mut url = "https://mirror/x.iso?b=%20".parse().unwrap();
        QueryParams::parse("{}").unwrap().add_to(&mut url);
        assert_eq!(url.as_str(), "https://mirror/x.iso?b=%20");
        QueryParams::parse(r#"{"c": "&", "a": "1"}"#).unwrap().add_to(&mut url);
        assert_eq!(url.as_str(), "https://mirror/x.iso?b=%20&a=1&c=%26");
    }
}

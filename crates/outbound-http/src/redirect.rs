use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

/// How many redirects are followed by those who follow any. Whoever sends on more often goes in circles.
pub const MAX_REDIRECTS: usize = 10;

/// It is a redirect, and says nothing that could be a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it redirects to nowhere")]
pub struct NoTarget;

/// Where the answer of `from` sends on to (RFC 9110, sections 15.4 and 10.2.2). `None` if it is no redirect.
///
/// Whether to go there, and what may go along to whom, is for those to say who have asked: nothing is checked here.
pub fn redirect_target(from: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Option<Url>, NoTarget> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok()).ok_or(NoTarget)?;
    from.join(location).map(Some).map_err(|_| NoTarget)
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, HeaderValue, LOCATION};
    use url::Url;

    use super::{NoTarget, redirect_target};

    fn target(status: u16, location: &'static [u8]) -> Result<Option<String>, NoTarget> {
        let from: Url = "https://a.lab/x/y?q=1".parse().unwrap();
        let location = HeaderValue::from_bytes(location).unwrap();
        let headers = HeaderMap::from_iter([(LOCATION, location)]);
        let target = redirect_target(&from, StatusCode::from_u16(status).unwrap(), &headers)?;
        Ok(target.map(|target| target.to_string()))
    }

    #[test]
    fn locations_are_relative_to_whoever_says_them() {
        for (location, url) in [
            (&b"https://b.lab/z?s=1"[..], "https://b.lab/z?s=1"),
            (b"/z", "https://a.lab/z"),
            (b"z", "https://a.lab/x/z"),
            (b"//b.lab:5000/z", "https://b.lab:5000/z"),
            (b"", "https://a.lab/x/y?q=1"),
        ] {
            for status in [301, 302, 303, 307, 308] {
                assert_eq!(target(status, location), Ok(Some(url.to_owned())), "{status}");
            }
        }
    }

    #[test]
    fn other_answers_send_nobody_on() {
        for status in [200, 201, 300, 304, 401, 503] {
            assert_eq!(target(status, b"/z"), Ok(None), "{status}");
        }
    }

    #[test]
    fn what_is_no_url_leads_nowhere() {
        for location in [&b"https://"[..], b"https://[x]/", b"/\xff"] {
            assert_eq!(target(302, location), Err(NoTarget), "{location:?}");
        }
        let from = "https://a.lab/".parse().unwrap();
        assert_eq!(redirect_target(&from, StatusCode::FOUND, &HeaderMap::new()), Err(NoTarget));
    }
}

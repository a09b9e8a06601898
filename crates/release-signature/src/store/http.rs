//! Signatures on a web server. They prove themselves, so plain HTTP will do where the admin says so.

use std::time::Duration;

use coreos_names::Sha256;
use outbound_http::{ClientRecipe, NamedCas, Proxies, Trust};
use reqwest::header::ACCEPT_ENCODING;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, StatusCode};
use url::Url;

use super::{MAX_SIGNATURE, Unreadable};
use crate::error::Error;

const MAX_REDIRECTS: usize = 5;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For the whole answer, which is a kilobyte.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn client(trusted_ca_pem: Option<&[u8]>, user_agent: &str) -> Result<Client, Error> {
    let trust = match trusted_ca_pem {
        Some(pem) => Trust::Beside(NamedCas::from_pem(pem).map_err(Error::TrustedCa)?),
        None => Trust::System,
    };
    let recipe = ClientRecipe {
        user_agent,
        connect_timeout: CONNECT_TIMEOUT,
        proxies: Proxies::from_env(),
        trust,
        http1_only: false,
    };
    let builder = recipe.builder().timeout(TIMEOUT).redirect(Policy::custom(follow)).no_gzip();
    builder.build().map_err(Error::Client)
}

fn follow(attempt: Attempt) -> reqwest::redirect::Action {
    let from_https = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if from_https && attempt.url().scheme() != "https" {
        attempt.error("it redirects to a place that is not encrypted")
    } else {
        attempt.follow()
    }
}

/// Where a signature is. Other than in stores of container images, there is no repository in the path.
pub(crate) fn signature(store: &Url, digest: Sha256, number: u32) -> Url {
    let mut url = store.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(&format!("sha256={digest}")).push(&format!("signature-{number}"));
    }
    url
}

/// The same for people.
pub(crate) fn place(digest: Sha256, number: u32) -> String {
    format!("sha256={digest}/signature-{number}")
}

/// Fetches a signature. `None` means that there is none of this number nor of any higher one.
pub(crate) async fn get(client: &Client, url: &Url) -> Result<Option<Vec<u8>>, Unreadable> {
    let transport = |error: reqwest::Error| Unreadable::Transport(error.without_url());
    let request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
    let mut response = request.send().await.map_err(transport)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        status => return Err(Unreadable::Status(status)),
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if bytes.len() + chunk.len() > MAX_SIGNATURE {
            return Err(Unreadable::TooLarge { limit: MAX_SIGNATURE });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use coreos_names::Sha256;

    use super::signature;

    #[test]
    fn a_signature_lies_under_its_digest_and_number() {
        let digest = Sha256::from([0x0c; 32]);
        for (store, url) in [
            ("https://a.lab/b", format!("https://a.lab/b/sha256={digest}/signature-1")),
            ("https://a.lab/b/", format!("https://a.lab/b/sha256={digest}/signature-1")),
            ("http://a.lab:81?c=d", format!("http://a.lab:81/sha256={digest}/signature-1?c=d")),
        ] {
            assert_eq!(signature(&store.parse().unwrap(), digest, 1).as_str(), url);
        }
    }
}

//! Who has to vouch for a release, and where it is looked for what they say.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use coreos_names::Sha256;
use reqwest::Client;

use crate::error::{Answer, Error, Finding, Refusal, Unacceptable};
use crate::keyring::Keyring;
use crate::store::{self, Bundle, Store, Unreadable};

/// How far ahead of ours, in seconds, the clock of a signer may be. A day, since disconnected machines have nobody to
/// ask for the time.
pub(crate) const CLOCK_SKEW: u64 = 24 * 60 * 60;

/// What signatures are asked of releases.
#[derive(Clone, Debug)]
pub struct Config {
    /// A key of **each** of them has to vouch for a release.
    pub keyrings: Vec<Keyring>,
    /// Where signatures are looked for, in this order.
    pub stores: Vec<Store>,
    /// Certificates trusted for stores beside the system's, as a bundle of PEM.
    pub trusted_ca_pem: Option<Vec<u8>>,
    /// Sent with every request.
    pub user_agent: String,
}

/// Decides whether a release may be used. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct SignaturePolicy(Arc<Inner>);

struct Inner {
    keyrings: Vec<Keyring>,
    stores: Vec<Store>,
    client: Client,
}

/// Every keyring vouches for a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The signatures that say so, one for each keyring.
    pub signatures: Vec<Signed>,
}

/// A valid signature by a key that the admin trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The [fingerprint](Keyring::fingerprint) of the keyring.
    pub keyring: Sha256,
    /// The id of the key or subkey, in hexadecimal.
    pub key_id: String,
    /// Who the key belongs to, as it says itself.
    pub user_id: Option<String>,
    /// Where the signature was.
    pub store: String,
    /// The digest that it vouches for.
    pub digest: Sha256,
    /// The name under which its publisher knows the release.
    pub docker_reference: String,
}

impl Verification {
    /// The fingerprints of the keyrings.
    pub fn keyrings(&self) -> BTreeSet<Sha256> {
        self.signatures.iter().map(|signed| signed.keyring).collect()
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key_id)?;
        if let Some(user_id) = &self.user_id {
            write!(f, " ({user_id})")?;
        }
        write!(f, " via {}", self.store)
    }
}

impl SignaturePolicy {
    /// A policy that has asked nobody yet.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { keyrings, stores, trusted_ca_pem, user_agent } = config;
        let client = store::http::client(trusted_ca_pem.as_deref(), &user_agent)?;
        Ok(Self(Arc::new(Inner { keyrings, stores, client })))
    }

    /// The fingerprints of the keyrings that have to vouch for a release.
    pub fn keyrings(&self) -> BTreeSet<Sha256> {
        self.0.keyrings.iter().map(Keyring::fingerprint).collect()
    }

    /// Looks for signatures of a release by which every keyring vouches for it.
    ///
    /// `digests` are those by which the release can be known: of what its name stands for and, if that is a list, of the
    /// image in it that is read. A signature over any of them will do. `now` is the time.
    pub async fn verify(&self, digests: &[Sha256], now: SystemTime) -> Result<Verification, Refusal> {
        let mut inquiry = Inquiry { pending: self.0.keyrings.iter().collect(), signatures: Vec::new(), now };
        let mut answers = Vec::new();
        for store in &self.0.stores {
            let mut findings = Vec::new();
            for &digest in digests {
                if inquiry.pending.is_empty() {
                    break;
                }
                let goes_on = match store {
                    Store::Http(url) => {
                        inquiry.ask_server(&self.0.client, store, url, digest, &mut findings).await
                    }
                    Store::Path(path) => {
                        let path = path.clone();
                        let found = tokio::task::spawn_blocking(move || store::path::find(&path, digest));
                        let found =
                            found.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                        inquiry.weigh_all(store, digest, found, &mut findings)
                    }
                };
                if !goes_on {
                    break;
                }
            }
            if inquiry.pending.is_empty() {
                return Ok(Verification { signatures: inquiry.signatures });
            }
            answers.push(Answer { store: store.to_string(), findings });
        }
        Err(Refusal {
            digests: digests.to_vec(),
            keyrings: inquiry.pending.iter().map(|keyring| keyring.name().to_owned()).collect(),
            answers,
        })
    }
}

/// What is known so far of one release.
struct Inquiry<'a> {
    /// The keyrings that do not vouch for it yet.
    pending: Vec<&'a Keyring>,
    signatures: Vec<Signed>,
    now: SystemTime,
}

impl Inquiry<'_> {
    /// Asks a server for one signature after the other. Returns whether there is sense in asking it for more.
    async fn ask_server(
        &mut self,
        client: &Client,
        store: &Store,
        url: &url::Url,
        digest: Sha256,
        findings: &mut Vec<Finding>,
    ) -> bool {
        for number in 1..=store::MAX_SIGNATURES {
            match store::http::get(client, &store::http::signature(url, digest, number)).await {
                Ok(None) => break,
                Ok(Some(bytes)) => {
                    let place = store::http::place(digest, number);
                    self.weigh(store, digest, &place, &bytes, findings);
                    if self.pending.is_empty() {
                        break;
                    }
                }
                Err(source) => {
                    let is_silent = matches!(source, Unreadable::Transport(_));
                    let place = store::http::place(digest, number);
                    findings.push(Finding::Unreadable { place, source });
                    // Who cannot be reached for one cannot for the next, and each try takes its time.
                    if is_silent {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn weigh_all(
        &mut self,
        store: &Store,
        digest: Sha256,
        found: Result<Vec<Bundle>, Unreadable>,
        findings: &mut Vec<Finding>,
    ) -> bool {
        let bundles = match found {
            Ok(bundles) => bundles,
            Err(source) => {
                findings.push(Finding::Unreadable { place: "it".to_owned(), source });
                return false;
            }
        };
        for Bundle { place, content } in bundles {
            for signature in content.unwrap_or_else(|source| vec![Err(source)]) {
                match signature {
                    Ok(bytes) => self.weigh(store, digest, &place, &bytes, findings),
                    Err(source) => findings.push(Finding::Unreadable { place: place.clone(), source }),
                }
            }
        }
        true
    }

    /// Lets each keyring that does not vouch for the release yet judge a signature.
    fn weigh(
        &mut self,
        store: &Store,
        digest: Sha256,
        place: &str,
        bytes: &[u8],
        findings: &mut Vec<Finding>,
    ) {
        let (now, signatures) = (self.now, &mut self.signatures);
        self.pending.retain(|keyring| match keyring.judge(bytes, digest, now) {
            Ok(vouched) => {
                signatures.push(Signed {
                    keyring: keyring.fingerprint(),
                    key_id: vouched.key_id,
                    user_id: vouched.user_id,
                    store: store.to_string(),
                    digest,
                    docker_reference: vouched.docker_reference,
                });
                false
            }
            Err(source) => {
                findings.push(unacceptable(place, keyring, source));
                true
            }
        });
    }
}

fn unacceptable(place: &str, keyring: &Keyring, source: Unacceptable) -> Finding {
    Finding::Unacceptable { place: place.to_owned(), keyring: keyring.name().to_owned(), source }
}

impl fmt::Debug for SignaturePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignaturePolicy")
            .field("keyrings", &self.0.keyrings)
            .field("stores", &self.0.stores)
            .finish_non_exhaustive()
    }
}

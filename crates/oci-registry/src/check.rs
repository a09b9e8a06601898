use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use coreos_names::WithCauses;
use reqwest::StatusCode;

use crate::auth::Access;
use crate::client::{Ask, Inner};
use crate::media_type;
use crate::reply::Reply;
use crate::rounds::Rounds;
use crate::subject::Subject;
use crate::transport::tls_error;
use crate::{
    Answer, CredentialsUsed, Error, InvalidReference, InvalidRegistryHost, NearMiss, PullSource, Reference,
    Registry, RegistryHost, UnusableEntry,
};

/// What the credentials are tried on. Each one proves something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckTarget {
    /// A registry as a whole: that it knows the credentials, and nothing of what they are good for.
    Registry(RegistryHost),
    /// A repository: that its list of tags can be read, which takes the right to pull.
    Repository(Reference),
    /// An image: that its manifest can be pulled.
    Image(Reference),
}

/// The text is neither a registry, nor a repository, nor an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub enum InvalidCheckTarget {
    /// It has no `/`, and is no registry.
    Registry(#[from] InvalidRegistryHost),
    /// It has one, and is no reference.
    Reference(#[from] InvalidReference),
}

impl CheckTarget {
    fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Registry(_) => None,
            Self::Repository(reference) | Self::Image(reference) => Some(reference),
        }
    }

    fn subject(&self) -> Subject {
        match self {
            Self::Registry(host) => Subject::registry(host),
            Self::Repository(reference) => Subject::repository_of(reference),
            Self::Image(reference) => Subject::manifest(reference),
        }
    }

    /// What is asked for, below `/v2/`.
    fn path(&self) -> String {
        match self {
            Self::Registry(_) => String::new(),
            Self::Repository(reference) => format!("{}/tags/list?n=1", reference.repository()),
            Self::Image(reference) => {
                format!("{}/manifests/{}", reference.repository(), reference.manifest_name())
            }
        }
    }
}

/// As it is written: `host[:port]`, `host[:port]/repository`, or an image with tag or digest.
impl fmt::Display for CheckTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(host) => write!(f, "{host}"),
            Self::Repository(reference) => write!(f, "{}/{}", reference.registry(), reference.repository()),
            Self::Image(reference) => write!(f, "{reference}"),
        }
    }
}

impl FromStr for CheckTarget {
    type Err = InvalidCheckTarget;

    fn from_str(text: &str) -> Result<Self, InvalidCheckTarget> {
        let Some((_, name)) = text.split_once('/') else { return Ok(Self::Registry(text.parse()?)) };
        let reference = text.parse()?;
        Ok(if name.contains([':', '@']) { Self::Image(reference) } else { Self::Repository(reference) })
    }
}

/// What has come of trying the credentials for something.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The registry has accepted them.
    Accepted {
        /// The pull secret's entry.
        entry: String,
    },
    /// It works without credentials.
    Anonymous {
        /// The pull secret's entry that nobody has asked for.
        entry: Option<String>,
    },
    /// The registry does not know them.
    WrongCredentials {
        /// The pull secret's entry.
        entry: String,
        /// What the registry says.
        answer: Answer,
    },
    /// The registry knows them, and they do not cover the repository.
    NoPullAccess {
        /// The pull secret's entry.
        entry: String,
        /// The repository, with its registry.
        repository: String,
        /// What the registry says.
        answer: Answer,
    },
    /// The registry wants credentials, and there are none for it.
    NoEntry {
        /// Those that were perhaps meant.
        near_miss: Option<NearMiss>,
    },
    /// The pull secret's entry makes no sense.
    UnusableEntry(UnusableEntry),
    /// The registry does not object, but there is nothing by that name. A registry may also say so of what must not
    /// be seen.
    NotFound {
        /// The pull secret's entry.
        entry: Option<String>,
        /// What was asked for.
        target: CheckTarget,
    },
    /// The registry's certificate is not trusted. Nothing was sent to it.
    UntrustedCertificate(Error),
    /// No connection, no TLS over it, or no answer in time.
    Unreachable(Error),
    /// An answer that says nothing of the credentials.
    Failed(Error),
}

impl Verdict {
    /// Whether there is nothing to mend. A repository that does not exist counts as no fault of the credentials: keys
    /// of pull secrets are often only the beginnings of repositories' names.
    pub const fn is_ok(&self) -> bool {
        match self {
            Self::Accepted { .. } | Self::Anonymous { .. } => true,
            Self::NotFound { entry, target } => {
                entry.is_some() && matches!(target, CheckTarget::Repository(_))
            }
            _ => false,
        }
    }

    /// One word, for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "ok",
            Self::Anonymous { .. } => "anonymous",
            Self::WrongCredentials { .. } => "wrong-credentials",
            Self::NoPullAccess { .. } => "no-pull-access",
            Self::NoEntry { .. } => "no-entry",
            Self::UnusableEntry(_) => "unusable-entry",
            Self::NotFound { .. } => "not-found",
            Self::UntrustedCertificate(_) => "untrusted-certificate",
            Self::Unreachable(_) => "unreachable",
            Self::Failed(_) => "failed",
        }
    }

    /// The pull secret's entry that it is about.
    pub fn entry(&self) -> Option<&str> {
        match self {
            Self::Accepted { entry }
            | Self::WrongCredentials { entry, .. }
            | Self::NoPullAccess { entry, .. } => Some(entry),
            Self::Anonymous { entry } | Self::NotFound { entry, .. } => entry.as_deref(),
            Self::UnusableEntry(entry) => Some(&entry.key),
            _ => None,
        }
    }

    fn of(answer: Result<(Access, Reply), Error>, target: &CheckTarget) -> Self {
        match answer {
            Ok((access, _)) => match access.entry_shown() {
                Some(entry) => Self::Accepted { entry: entry.to_owned() },
                None => Self::Anonymous { entry: access.entry().map(str::to_owned) },
            },
            Err(error) => Self::of_error(error, target),
        }
    }

    fn of_error(error: Error, target: &CheckTarget) -> Self {
        match error {
            Error::Unauthorized { credentials: CredentialsUsed::Entry(entry), answer, .. } => {
                Self::WrongCredentials { entry, answer }
            }
            Error::Unauthorized { credentials: CredentialsUsed::NoEntry(near_miss), .. } => {
                Self::NoEntry { near_miss }
            }
            Error::Denied { key, answer, .. } => match target.reference() {
                Some(reference) => {
                    let repository = format!("{}/{}", reference.registry(), reference.repository());
                    Self::NoPullAccess { entry: key, repository, answer }
                }
                // Its token is good for nothing, as was asked.
                None => Self::Accepted { entry: key },
            },
            Error::UnusableEntry { source, .. } => Self::UnusableEntry(source),
            Error::Tls { ref source, .. } => match tls_error(source) {
                Some(rustls::Error::InvalidCertificate(_)) => Self::UntrustedCertificate(error),
                _ => Self::Unreachable(error),
            },
            Error::Transport { .. } | Error::TimedOut { .. } => Self::Unreachable(error),
            _ => Self::Failed(error),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { .. } => f.write_str("ok"),
            Self::Anonymous { entry: None } => f.write_str("anonymous: no credentials are needed"),
            Self::Anonymous { entry: Some(entry) } => {
                write!(
                    f,
                    "anonymous: no credentials are asked for, so those of entry {entry:?} were not tried"
                )
            }
            Self::WrongCredentials { entry, answer } => {
                write!(f, "wrong credentials in entry {entry:?}{answer}")
            }
            Self::NoPullAccess { entry, repository, answer } => write!(
                f,
                "the credentials of entry {entry:?} are valid, but no pull access to {repository}{answer}"
            ),
            Self::NoEntry { near_miss } => {
                f.write_str("credentials are wanted, and the pull secret has none for it")?;
                near_miss.as_ref().map_or(Ok(()), |near_miss| write!(f, "; {near_miss}"))
            }
            Self::UnusableEntry(entry) => write!(f, "{entry}"),
            Self::NotFound { entry, target } => {
                if self.is_ok() {
                    f.write_str("ok, though ")?;
                }
                match target {
                    CheckTarget::Registry(host) => write!(f, "there is no registry at {host}")?,
                    CheckTarget::Repository(_) => write!(f, "there is no repository {target}")?,
                    CheckTarget::Image(_) => write!(f, "there is no image {target}")?,
                }
                entry.as_ref().map_or(Ok(()), |entry| write!(f, " for entry {entry:?} to see"))
            }
            Self::UntrustedCertificate(error) => write!(f, "certificate not trusted: {}", WithCauses(error)),
            Self::Unreachable(error) => write!(f, "unreachable: {}", WithCauses(error)),
            Self::Failed(error) => write!(f, "{}", WithCauses(error)),
        }
    }
}

impl Registry {
    /// Tries the credentials for something, at the registry that is named and at no mirror of it. Nothing is kept of
    /// what it answers.
    pub async fn check(&self, target: &CheckTarget) -> Verdict {
        if target.reference().is_some_and(|reference| reference.path().is_some()) {
            // In a folder nobody asks for credentials.
            return Verdict::Anonymous { entry: None };
        }
        let subject = target.subject();
        let here = vec![self.0.mirrors.source_itself(subject.reference())];
        let mut rounds = Rounds::new(subject, here, self.0.retry.clone(), Arc::default());
        loop {
            let answer = match rounds.next().await {
                Ok(source) => match self.0.try_access(&source, rounds.subject(), target).await {
                    Err(error) => {
                        rounds.failed(error);
                        continue;
                    }
                    answer => answer,
                },
                Err(error) => Err(error),
            };
            return match answer {
                Ok((access, reply)) if reply.status() == StatusCode::NOT_FOUND && !reply.redirected => {
                    let entry = access.entry_shown().map(str::to_owned);
                    Verdict::NotFound { entry, target: target.clone() }
                }
                answer => Verdict::of(answer, target),
            };
        }
    }
}

impl Inner {
    async fn try_access(
        &self,
        source: &PullSource,
        subject: &Subject,
        target: &CheckTarget,
    ) -> Result<(Access, Reply), Error> {
        let (accept, path) = (media_type::accept(), target.path());
        let accept = matches!(target, CheckTarget::Image(_)).then_some(accept.as_str());
        let (access, reply) = self.exchange(source, subject, Ask { path: &path, accept, offset: 0 }).await?;
        match reply.status() {
            StatusCode::OK | StatusCode::NOT_FOUND if !reply.redirected => Ok((access, reply)),
            StatusCode::OK => Ok((access, reply)),
            _ => Err(access.refused(subject, reply).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CheckTarget;

    #[test]
    fn targets_are_told_apart_and_written_as_they_were() {
        for (text, kind) in [
            ("quay.io", "registry"),
            ("mirror.lab:5000", "registry"),
            ("mirror.lab:5000/openshift/release", "repository"),
            ("quay.io/a/b:t", "image"),
            ("[fd00::1]:5000/a", "repository"),
        ] {
            let target: CheckTarget = text.parse().unwrap();
            let found = match target {
                CheckTarget::Registry(_) => "registry",
                CheckTarget::Repository(_) => "repository",
                CheckTarget::Image(_) => "image",
            };
            assert_eq!((found, target.to_string().as_str()), (kind, text));
        }
        for text in ["", "mirror", "https://quay.io", "quay.io/", "quay.io/A"] {
            assert!(text.parse::<CheckTarget>().is_err(), "{text}");
        }
    }
}

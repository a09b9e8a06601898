use std::fmt;
use std::sync::Arc;

use crate::{Descriptor, Reference, RegistryHost};

/// What a request was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    noun: &'static str,
    reference: Arc<Reference>,
}

impl Subject {
    const REGISTRY: &str = "registry";
    const REPOSITORY: &str = "repository";

    pub(crate) fn manifest(reference: &Reference) -> Self {
        Self { noun: "manifest", reference: Arc::new(reference.clone()) }
    }

    pub(crate) fn blob(reference: &Reference, blob: &Descriptor) -> Self {
        Self { noun: "blob", reference: Arc::new(reference.with_digest(blob.digest)) }
    }

    /// The registry itself, and nothing in it.
    pub(crate) fn registry(host: &RegistryHost) -> Self {
        Self { noun: Self::REGISTRY, reference: Arc::new(Reference::of_registry(host)) }
    }

    /// A repository as a whole.
    pub(crate) fn repository_of(reference: &Reference) -> Self {
        Self { noun: Self::REPOSITORY, reference: Arc::new(reference.clone()) }
    }

    /// The part of a registry that a token is needed for. `None` if for none.
    pub(crate) fn repository(&self) -> Option<&str> {
        (self.noun != Self::REGISTRY).then(|| self.reference.repository())
    }

    /// The manifest or blob.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (noun, reference) = (self.noun, &self.reference);
        match noun {
            Self::REGISTRY => write!(f, "{noun} {}", reference.registry()),
            Self::REPOSITORY => write!(f, "{noun} {}/{}", reference.registry(), reference.repository()),
            _ => write!(f, "{noun} {reference}"),
        }
    }
}

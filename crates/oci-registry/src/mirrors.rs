//! Where else the images of a registry lie.

use crate::Reference;

/// What the admin says of mirrors. The default knows none.
#[derive(Clone, Debug, Default)]
pub struct Mirrors {}

/// One place to ask for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullSource {
    /// The image's name there, with the tag and digest that were asked for.
    pub reference: Reference,
    /// Whether the admin lets this place go without verified TLS, or without TLS.
    pub insecure: bool,
}

/// The admin forbids to pull an image from anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reference} must not be pulled: {rule:?} is blocked")]
pub struct Blocked {
    /// What was asked for.
    pub reference: Reference,
    /// The prefix of the rule that says so.
    pub rule: String,
}

impl Mirrors {
    /// The places to ask for an image, the first one first, never none.
    pub fn pull_sources(&self, reference: &Reference) -> Result<Vec<PullSource>, Blocked> {
        Ok(vec![PullSource { reference: reference.clone(), insecure: false }])
    }
}

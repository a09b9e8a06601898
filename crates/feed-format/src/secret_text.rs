use std::fmt;
use std::hash::{Hash, Hasher};

use secrecy::{ExposeSecret as _, SecretString};

/// Text that can be compared, but not printed.
#[derive(Clone)]
pub struct SecretText(SecretString);

impl SecretText {
    /// Takes the text.
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The text, for whoever has to use it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for SecretText {}

impl Hash for SecretText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

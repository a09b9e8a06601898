use std::fmt;

use crate::NearMiss;

/// What was shown to a registry that refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsUsed {
    /// Those of the pull secret's entry with this key.
    Entry(String),
    /// None, for want of an entry. One that was perhaps meant.
    NoEntry(Option<NearMiss>),
    /// None, and none were asked for.
    NotAsked,
}

impl CredentialsUsed {
    /// Those of the entry with this key, if there is one.
    pub(crate) fn of(key: Option<&str>) -> Self {
        key.map_or(Self::NoEntry(None), |key| Self::Entry(key.to_owned()))
    }
}

impl fmt::Display for CredentialsUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(key) => {
                write!(f, "the registry refuses the credentials of pull secret entry {key:?}")
            }
            Self::NoEntry(near_miss) => {
                f.write_str("the registry wants credentials and no entry of the pull secret matches")?;
                near_miss.as_ref().map_or(Ok(()), |near_miss| write!(f, "; {near_miss}"))
            }
            Self::NotAsked => f.write_str("the registry refuses without asking for credentials"),
        }
    }
}

use std::fmt;
use std::str::FromStr;

/// The build of the operating system in an image: the RHCOS version `418.94.202511191518-0` or `9.6.20251212-1`.
///
/// It becomes part of file names, so it holds only letters, digits, `.`, `-`, `_` and `+` and begins with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OsBuild(String);

impl OsBuild {
    /// More than twice what any known build uses.
    const MAX_LEN: usize = 64;

    /// The build as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OsBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text cannot be the build of an operating system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid OS build {0:?}: expected something like 418.94.202511191518-0")]
pub struct InvalidOsBuild(pub String);

impl FromStr for OsBuild {
    type Err = InvalidOsBuild;

    fn from_str(text: &str) -> Result<Self, InvalidOsBuild> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
        let valid = text.len() <= Self::MAX_LEN
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(known);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidOsBuild(text.chars().take(Self::MAX_LEN).collect()))
        }
    }
}

crate::serde_as_text!(OsBuild);

#[cfg(test)]
mod tests {
    use super::OsBuild;

    #[test]
    fn builds_found_in_the_field_are_read() {
        for text in ["418.94.202511191518-0", "9.6.20251212-1", "42.20250526.3.0", "46.82.202112161843-0"] {
            assert_eq!(text.parse::<OsBuild>().map(|build| build.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn text_that_could_leave_a_directory_is_refused() {
        for text in ["", ".", "..", "../x", "a/b", "a\0b", "a b", ".hidden", &"9".repeat(65)] {
            assert!(text.parse::<OsBuild>().is_err(), "{text:?}");
        }
    }
}

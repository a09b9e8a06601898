//! Kernel arguments to be added, written as they are given.
//!
//! Boot loaders read them in their own ways. GRUB takes a line for its script: unquoted, `{ } | & ; < >` end a word, and
//! `$` begins a variable. isolinux and s390x take it for text. No spelling suits all, and the predecessor of this service
//! leaves the choice to those who set the arguments, so this crate does, too.

use std::fmt;

use crate::PlanError;

/// Kernel arguments to be added to those an image has.
///
/// They may be secret, so [`fmt::Debug`] shows only their number.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KernelArguments {
    joined: String,
    count: usize,
}

impl KernelArguments {
    /// Accepts arguments unless one holds a control character, such as a newline: it could end the line that a boot
    /// loader reads and begin another one.
    pub fn new(arguments: impl IntoIterator<Item = String>) -> Result<Self, PlanError> {
        let mut joined = String::new();
        let mut count = 0;
        for argument in arguments {
            if count > 0 {
                joined.push(' ');
            }
            count += 1;
            if let Some(character) = argument.chars().find(|character| character.is_control()) {
                return Err(PlanError::InvalidKernelArgument { position: count, character });
            }
            joined.push_str(&argument);
        }
        Ok(Self { joined, count })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none. An empty list is still written, as the blank it is joined with.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The arguments, joined by spaces.
    pub fn as_str(&self) -> &str {
        &self.joined
    }
}

impl fmt::Debug for KernelArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KernelArguments({} of them)", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::KernelArguments;
    use crate::PlanError;

    fn arguments(arguments: &[&str]) -> Result<KernelArguments, PlanError> {
        KernelArguments::new(arguments.iter().copied().map(str::to_owned))
    }

    #[test]
    fn arguments_are_joined_by_spaces() {
        for (list, joined) in
            [(&["p1", "p2=x y"][..], "p1 p2=x y"), (&["naïve=ü"], "naïve=ü"), (&["", ""], " "), (&[], "")]
        {
            let arguments = arguments(list).unwrap();
            assert_eq!(arguments.as_str(), joined);
            assert_eq!(arguments.len(), list.len());
            assert_eq!(arguments.is_empty(), list.is_empty());
        }
    }

    #[test]
    fn control_characters_are_refused() {
        for character in ['\n', '\0', '\r', '\t', '\u{1b}', '\u{7f}', '\u{85}'] {
            let refused = arguments(&["quiet", &format!("a{character}b")]);
            assert_eq!(refused, Err(PlanError::InvalidKernelArgument { position: 2, character }));
        }
    }

    #[test]
    fn debug_output_discloses_nothing() {
        assert_eq!(format!("{:?}", arguments(&["password=secret"]).unwrap()), "KernelArguments(1 of them)");
    }
}

use std::fmt;

/// A few words that somebody else wrote, made fit for an error message: short, on one line, no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    const MAX_CHARS: usize = 300;

    /// The beginning of a text, made fit.
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        let mut short: String =
            text.chars().take(Self::MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if text.chars().nth(Self::MAX_CHARS).is_some() {
            short.push('…');
        }
        Self(short)
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Excerpt;
    use proptest::prelude::*;

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(Excerpt::of(&"é".repeat(300)).as_str(), "é".repeat(300));
        assert_eq!(Excerpt::of(&"é".repeat(301)).as_str(), format!("{}…", "é".repeat(300)));
    }

    proptest! {
        #[test]
        fn nothing_can_forge_a_log_line(text: String) {
            prop_assert!(!Excerpt::of(&text).as_str().contains(char::is_control));
        }
    }
}

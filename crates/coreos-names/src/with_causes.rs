use std::error::Error;
use std::fmt;

/// An error and all its causes in one sentence: `cannot read X: connection refused`.
///
/// What an admin is shown must name every cause, and errors here leave theirs to `source`.
#[derive(Debug)]
pub struct WithCauses<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::WithCauses;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner(#[source] io::Error);

    #[test]
    fn every_cause_is_shown_once() {
        let error = Outer(Inner(io::Error::other("root")));
        assert_eq!(WithCauses(&error).to_string(), "outer: inner: root");
    }
}

use super::{Location, Scope};

/// Where else the images of a scope are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorRule {
    /// Which images.
    pub scope: Scope,
    /// The place of the scope itself, if its images are not where their names say.
    pub location: Option<Location>,
    /// The places that are asked before, the first one first.
    pub mirrors: Vec<Mirror>,
    /// Whether `location` may do without verified TLS. Where nothing is said, the next wider rule counts.
    pub insecure: Option<bool>,
    /// Whether the place itself must not be asked. Where nothing is said, the next wider rule counts.
    pub blocked: Option<bool>,
}

/// A copy of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where the scope's images are in it.
    pub location: Location,
    /// Which images are asked for there.
    pub pull: MirrorPull,
    /// Whether it may do without verified TLS. Where nothing is said, the rule for the mirror's own name counts.
    pub insecure: Option<bool>,
}

/// Which images a mirror is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MirrorPull {
    /// All.
    #[default]
    All,
    /// Those that are referred to by digest, with or without a tag beside it.
    DigestOnly,
    /// Those that are referred to by tag alone.
    TagOnly,
}

impl MirrorRule {
    /// The most mirrors that readers of configurations accept for one scope; nobody has as many.
    pub const MAX_MIRRORS: usize = 64;

    /// A rule that says nothing yet.
    pub const fn new(scope: Scope) -> Self {
        Self { scope, location: None, mirrors: Vec::new(), insecure: None, blocked: None }
    }

    /// Takes over what another rule for the same scope says. What is said here goes first, a ban always counts.
    pub(super) fn merge(&mut self, other: Self) {
        self.location = self.location.take().or(other.location);
        self.insecure = self.insecure.or(other.insecure);
        self.blocked = match (self.blocked, other.blocked) {
            (Some(ours), Some(theirs)) => Some(ours || theirs),
            (ours, theirs) => ours.or(theirs),
        };
        self.mirrors.extend(other.mirrors);
    }
}

impl MirrorPull {
    pub(super) const fn applies(self, by_digest: bool) -> bool {
        match self {
            Self::All => true,
            Self::DigestOnly => by_digest,
            Self::TagOnly => !by_digest,
        }
    }
}

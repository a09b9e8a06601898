//! The kinds of CoreOS there are, told by the volume id. ISOs of anything else are refused.

use std::fmt;

/// A kind of CoreOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Distribution {
    /// Red Hat Enterprise Linux CoreOS, as its OpenShift builds call it.
    Rhcos,
    /// Fedora CoreOS.
    FedoraCoreos,
    /// CentOS Stream CoreOS.
    Scos,
    /// Red Hat Enterprise Linux CoreOS, as its layered builds call it.
    RhelCoreos,
}

impl Distribution {
    /// Every distribution.
    pub const ALL: [Self; 4] = [Self::Rhcos, Self::FedoraCoreos, Self::Scos, Self::RhelCoreos];

    /// The name in volume ids and file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rhcos => "rhcos",
            Self::FedoraCoreos => "fedora-coreos",
            Self::Scos => "scos",
            Self::RhelCoreos => "rhel-coreos",
        }
    }

    /// The distribution that a volume id such as `rhcos-418.94.202511191518-0` begins with.
    pub(super) fn of_volume(volume_id: &str) -> Option<Self> {
        let names = |distribution: &Self| {
            volume_id.strip_prefix(distribution.name()).is_some_and(|version| version.starts_with('-'))
        };
        Self::ALL.into_iter().find(names)
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Distribution;

    #[test]
    fn volume_ids_begin_with_the_name() {
        for (volume_id, expected) in [
            ("rhcos-418.94.202511191518-0", Some(Distribution::Rhcos)),
            ("fedora-coreos-42.20250526.3.0", Some(Distribution::FedoraCoreos)),
            ("scos-419.9.202502122042-0", Some(Distribution::Scos)),
            ("rhel-coreos-9.6.20250523-0", Some(Distribution::RhelCoreos)),
            ("rhcos", None),
            ("rhcosx-1", None),
            ("RHCOS-1", None),
            ("Fedora-WS-Live-40-1-14", None),
            ("", None),
        ] {
            assert_eq!(Distribution::of_volume(volume_id), expected, "{volume_id}");
        }
    }
}

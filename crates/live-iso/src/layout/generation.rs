//! How the format has grown since 2020. Nothing is decided by the generation: each part is looked for by itself, and the
//! generation only says what was found.

use super::{Features, IgnitionArea, IgnitionAreaSource, KernelArgumentAreaSource, KernelArgumentAreas};
use crate::embed_headers::EmbedHeaders;

/// A state of the format, told by what an ISO says of its embed areas and features. Later ones are greater.
///
/// The months are those in which the builder of all CoreOS images changed, the versions those of OpenShift. Images for
/// s390x lack what most of the earlier states are told by, so of these they may seem older than they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Generation {
    /// Nothing describes any area.
    Undescribed,
    /// A `coreiso+` header in the system area describes the area for the Ignition config (September 2020 or before, 4.6).
    IgnitionHeader,
    /// A `coreKarg` header describes the areas for kernel arguments (January 2021, 4.7).
    KernelArgumentHeader,
    /// `coreos/kargs.json` describes them too (September 2021, 4.9).
    Kargs,
    /// `coreos/features.json` says what the system understands (December 2021, 4.10).
    Features,
    /// The headers are gone (February 2022, 4.11).
    WithoutHeaders,
    /// `coreos/features.json` names the directives of coreos-installer's config (September 2022, 4.12).
    InstallerDirectives,
    /// `coreos/igninfo.json` describes the area for the Ignition config (December 2022, 4.13).
    IgnInfo,
    /// `coreos/kargs.json` says how an area is filled up, so that s390x has one too (July 2023, 4.14).
    PadAndEnd,
}

impl Generation {
    pub(super) fn told_by(
        headers: &EmbedHeaders,
        features: Option<&Features>,
        ignition: Option<&IgnitionArea>,
        kernel_arguments: Option<&KernelArgumentAreas>,
    ) -> Self {
        let has_headers = headers.ignition.is_some() || headers.kernel_arguments.is_some();
        let names_directives =
            features.is_some_and(|features| features.installer_config_directives().next().is_some());
        let has_kargs =
            kernel_arguments.is_some_and(|areas| areas.source() == KernelArgumentAreaSource::Kargs);

        if kernel_arguments.is_some_and(KernelArgumentAreas::say_how_to_fill) {
            Self::PadAndEnd
        } else if ignition.is_some_and(|area| area.source() == IgnitionAreaSource::IgnInfo) {
            Self::IgnInfo
        } else if names_directives {
            Self::InstallerDirectives
        } else if features.is_some() && !has_headers {
            Self::WithoutHeaders
        } else if features.is_some() {
            Self::Features
        } else if has_kargs {
            Self::Kargs
        } else if headers.kernel_arguments.is_some() {
            Self::KernelArgumentHeader
        } else if headers.ignition.is_some() {
            Self::IgnitionHeader
        } else {
            Self::Undescribed
        }
    }
}

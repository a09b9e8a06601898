//! The live ISOs that `make fixtures` builds.

use std::path::{Path, PathBuf};

use coreos_names::Arch;

/// The OS build that every fixture claims to be.
pub const OS_BUILD: &str = "418.94.202511191518-0";

/// The live ISO for an architecture. There is none of its own for ppc64le; the one for arm64 stands in for it.
///
/// # Panics
///
/// If it has not been built.
pub fn live_iso(arch: Arch) -> PathBuf {
    let name = match arch {
        Arch::Ppc64le => Arch::Arm64.rpm_name(),
        other => other.rpm_name(),
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/fixtures/{name}.iso"));
    assert!(path.exists(), "{} is missing; run `make fixtures`", path.display());
    path
}

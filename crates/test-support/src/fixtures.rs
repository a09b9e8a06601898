//! The live ISOs that `make fixtures` builds; `fixtures/INDEX.md` says what each one is.

use std::path::{Path, PathBuf};

use coreos_names::Arch;

/// The OS build that every fixture of today's RHCOS claims to be.
pub const OS_BUILD: &str = "418.94.202511191518-0";

/// All of them, in the order of the index.
pub const ALL: [LiveIso; 15] = [
    LiveIso::X86_64,
    LiveIso::Aarch64,
    LiveIso::S390x,
    LiveIso::Ppc64le,
    LiveIso::FedoraCoreOs,
    LiveIso::StreamCoreOs,
    LiveIso::Rhel10,
    LiveIso::Ocp4_6,
    LiveIso::Ocp4_7,
    LiveIso::Ocp4_9,
    LiveIso::Ocp4_11,
    LiveIso::Ocp4_13,
    LiveIso::S390xOcp4_11,
    LiveIso::S390xOcp4_13,
    LiveIso::S390xKernelImg,
];

/// A fixture, one per generation and architecture of live ISOs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveIso {
    /// RHCOS of today.
    X86_64,
    /// RHCOS of today.
    Aarch64,
    /// RHCOS of today; its areas lie inside `images/cdboot.img`.
    S390x,
    /// RHCOS of today, with HFS+ and an Apple partition map over the same files.
    Ppc64le,
    /// Fedora CoreOS.
    FedoraCoreOs,
    /// CentOS Stream CoreOS.
    StreamCoreOs,
    /// RHEL CoreOS 10, whose root file system is EROFS.
    Rhel10,
    /// September 2020: the `coreiso+` header, no place for kernel arguments.
    Ocp4_6,
    /// January 2021: `coreiso+` and `coreKarg`, no `coreos/`.
    Ocp4_7,
    /// September 2021: both headers, and `kargs.json` without pad and end.
    Ocp4_9,
    /// February 2022: no headers, `images/ignition.img` known by its name.
    Ocp4_11,
    /// March 2023: `igninfo.json`, and `kargs.json` without pad and end.
    Ocp4_13,
    /// February 2022: no area that anything reads at boot.
    S390xOcp4_11,
    /// March 2023: an area for Ignition, none for kernel arguments.
    S390xOcp4_13,
    /// July 2023: both areas, and a kernel named `kernel.img`.
    S390xKernelImg,
}

impl LiveIso {
    /// The name that `fixtures/iso/build` knows it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::S390x => "s390x",
            Self::Ppc64le => "ppc64le",
            Self::FedoraCoreOs => "fcos",
            Self::StreamCoreOs => "scos",
            Self::Rhel10 => "rhel10",
            Self::Ocp4_6 => "4.6",
            Self::Ocp4_7 => "4.7",
            Self::Ocp4_9 => "4.9",
            Self::Ocp4_11 => "4.11",
            Self::Ocp4_13 => "4.13",
            Self::S390xOcp4_11 => "s390x-4.11",
            Self::S390xOcp4_13 => "s390x-4.13",
            Self::S390xKernelImg => "s390x-kernel.img",
        }
    }

    /// The architecture it is for. Those for `x86_64` boot.
    #[must_use]
    pub const fn arch(self) -> Arch {
        match self {
            Self::Aarch64 => Arch::Arm64,
            Self::S390x | Self::S390xOcp4_11 | Self::S390xOcp4_13 | Self::S390xKernelImg => Arch::S390x,
            Self::Ppc64le => Arch::Ppc64le,
            _ => Arch::X86_64,
        }
    }

    /// Where it lies.
    ///
    /// # Panics
    ///
    /// If it has not been built.
    #[must_use]
    pub fn path(self) -> PathBuf {
        let name = self.name();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/fixtures/{name}.iso"));
        assert!(path.exists(), "{} is missing; run `make fixtures`", path.display());
        path
    }
}

/// The live ISO of today's RHCOS for an architecture.
///
/// # Panics
///
/// If it has not been built.
#[must_use]
pub fn live_iso(arch: Arch) -> PathBuf {
    let fixture = match arch {
        Arch::X86_64 => LiveIso::X86_64,
        Arch::Arm64 => LiveIso::Aarch64,
        Arch::S390x => LiveIso::S390x,
        Arch::Ppc64le => LiveIso::Ppc64le,
    };
    fixture.path()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_list_is_what_the_builder_builds() {
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/iso/build");
        let output = Command::new(build).arg("--list").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let names = String::from_utf8(output.stdout).unwrap();
        assert_eq!(names.lines().collect::<Vec<_>>(), ALL.map(LiveIso::name));
    }

    #[test]
    fn every_fixture_is_an_iso_for_the_architecture_it_names() {
        for fixture in ALL {
            let bytes = std::fs::read(fixture.path()).unwrap();
            assert_eq!(&bytes[0x8001..0x8006], b"CD001", "{fixture:?}");
            let osmet = format!("metal.{}.raw.osmet", fixture.arch().rpm_name());
            assert!(bytes.windows(osmet.len()).any(|window| window == osmet.as_bytes()), "{fixture:?}");
        }
    }
}

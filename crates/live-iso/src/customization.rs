//! From a layout and a request's wishes to a plan.

use bytes::Bytes;

use crate::{Extent, IgnitionArchive, KernelArguments, Layout, Plan, PlanError, Ramdisk, Segment, initrd};

/// What can be had of an ISO as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Artifact {
    /// The ISO, customised.
    FullIso,
    /// The kernel, for booting over the network.
    Kernel,
    /// The root file system, which a system booted over the network fetches.
    Rootfs,
    /// The initramfs for booting over the network, followed by the archives it is customised with.
    Initrd,
    /// Where an s390x machine loads [`Artifact::Initrd`] to, and how large that is when customised in the same way.
    InitrdAddrSize,
    /// What an s390x logical partition loads, and to which addresses: `generic.ins`.
    InsFile,
}

impl Artifact {
    /// The name in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullIso => "full ISO",
            Self::Kernel => "kernel",
            Self::Rootfs => "rootfs",
            Self::Initrd => "initrd",
            Self::InitrdAddrSize => "initrd.addrsize",
            Self::InsFile => "ins-file",
        }
    }
}

/// What an artifact shall have that its base has not. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Customization {
    /// What the machine that boots it shall do.
    pub ignition: Option<IgnitionArchive>,
    /// What is added to the kernel arguments in it.
    pub kernel_arguments: Option<KernelArguments>,
    /// How the machine shall configure its network.
    pub ramdisk: Option<Ramdisk>,
    /// The size in bytes of the archive with the program that applies the ramdisk's configuration; a plan refers to the
    /// archive as [`Segment::Nmstate`].
    pub nmstate_len: Option<u64>,
}

impl Customization {
    /// Fails if anything is to be embedded that `artifact` has no place for: what is not among `places`.
    pub(crate) fn require_places(&self, artifact: &'static str, places: &[Part]) -> Result<(), PlanError> {
        let parts = [
            (Part::Ignition, self.ignition.is_some()),
            (Part::KernelArguments, self.kernel_arguments.is_some()),
            (Part::Ramdisk, self.ramdisk.is_some()),
            (Part::Nmstate, self.nmstate_len.is_some()),
        ];
        match parts.iter().find(|(part, wanted)| *wanted && !places.contains(part)) {
            Some((part, _)) => Err(PlanError::NotCustomizable { artifact, part: part.name() }),
            None => Ok(()),
        }
    }
}

/// A part of a [`Customization`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Ignition,
    KernelArguments,
    Ramdisk,
    Nmstate,
}

impl Part {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ignition => "an Ignition config",
            Self::KernelArguments => "kernel arguments",
            Self::Ramdisk => "a network configuration",
            Self::Nmstate => "nmstatectl",
        }
    }
}

impl Layout {
    /// Plans an artifact. Nothing is read: the plan is made from what the layout remembers.
    pub fn plan(&self, artifact: Artifact, customization: &Customization) -> Result<Plan, PlanError> {
        let places: &[Part] = match artifact {
            Artifact::FullIso => &[Part::Ignition, Part::Ramdisk, Part::KernelArguments],
            Artifact::Initrd | Artifact::InitrdAddrSize => &[Part::Ignition, Part::Ramdisk, Part::Nmstate],
            Artifact::Kernel | Artifact::Rootfs | Artifact::InsFile => &[],
        };
        customization.require_places(artifact.name(), places)?;
        let missing = PlanError::NoSuchArtifact { artifact: artifact.name() };
        match artifact {
            Artifact::FullIso => self.full_iso(customization),
            Artifact::Kernel => Ok(Plan::base(self.kernel())),
            Artifact::Rootfs => Ok(Plan::base(self.rootfs())),
            Artifact::Initrd => Ok(initrd::plan(self.initrd(), customization)),
            Artifact::InitrdAddrSize => {
                let size = initrd::plan(self.initrd(), customization).len();
                self.initrd_address().map(|address| address.with_size(size)).ok_or(missing)
            }
            Artifact::InsFile => self.ins_file().map(Plan::base).ok_or(missing),
        }
    }

    fn full_iso(&self, customization: &Customization) -> Result<Plan, PlanError> {
        let mut plan = Plan::base(Extent { offset: 0, len: self.size() });
        if customization.ignition.is_some() || customization.ramdisk.is_some() {
            let area = self.ignition_area().ok_or(PlanError::NoIgnitionArea)?.extent();
            let segments =
                ignition_area(area.len, customization.ignition.as_ref(), customization.ramdisk.as_ref())?;
            plan = plan.overlay(area.offset, segments)?;
        }
        if let Some(arguments) = &customization.kernel_arguments {
            for area in self.kernel_argument_areas().ok_or(PlanError::NoKernelArgumentArea)?.areas() {
                plan = plan.overlay(area.extent().offset, [Segment::Bytes(area.with(arguments)?)])?;
            }
        }
        Ok(plan)
    }
}

/// The whole Ignition area. The kernel unpacks it as any number of archives, so a ramdisk can follow the config.
pub(crate) fn ignition_area(
    area: u64,
    ignition: Option<&IgnitionArchive>,
    ramdisk: Option<&Ramdisk>,
) -> Result<[Segment; 3], PlanError> {
    let bytes = |bytes: Option<&Bytes>| Segment::Bytes(bytes.cloned().unwrap_or_default());
    let ignition = bytes(ignition.map(IgnitionArchive::as_bytes));
    let ramdisk = bytes(ramdisk.map(Ramdisk::as_bytes));
    let too_large = PlanError::IgnitionTooLarge { len: ignition.len(), area };
    let room = area.checked_sub(ignition.len()).ok_or(too_large)?;
    let too_large = PlanError::RamdiskTooLarge { len: ramdisk.len(), room };
    let left = room.checked_sub(ramdisk.len()).ok_or(too_large)?;
    // What was embedded before must not shine through.
    Ok([ignition, ramdisk, Segment::Zeros(left)])
}

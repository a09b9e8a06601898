//! From a layout and a request's wishes to a plan.

use bytes::Bytes;

use crate::{
    Extent, IgnitionArchive, IgnitionArea, KernelArgumentArea, KernelArgumentAreas, KernelArguments, Layout,
    Plan, PlanError, Ramdisk, Segment, initrd,
};

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
        let places = EmbedPlaces {
            ignition: self.ignition_area().map(IgnitionArea::extent),
            ramdisk: None,
            kernel_arguments: self.kernel_argument_areas().map_or(&[], KernelArgumentAreas::areas),
        };
        places.embed(customization, Plan::base(Extent { offset: 0, len: self.size() }))
    }
}

/// Where an ISO has room for what it is customised with.
pub(crate) struct EmbedPlaces<'a> {
    pub(crate) ignition: Option<Extent>,
    /// None where a ramdisk has to share the Ignition area.
    pub(crate) ramdisk: Option<Extent>,
    pub(crate) kernel_arguments: &'a [KernelArgumentArea],
}

impl EmbedPlaces<'_> {
    /// The plan with what is wanted in these places.
    pub(crate) fn embed(&self, customization: &Customization, mut plan: Plan) -> Result<Plan, PlanError> {
        let Customization { ignition, kernel_arguments, ramdisk, .. } = customization;
        let beside_ignition = ramdisk.as_ref().filter(|_| self.ramdisk.is_none());
        if ignition.is_some() || beside_ignition.is_some() {
            let area = self.ignition.ok_or(PlanError::NoIgnitionArea)?;
            plan = plan.overlay(area.offset, ignition_area(area.len, ignition.as_ref(), beside_ignition)?)?;
        }
        if let (Some(ramdisk), Some(place)) = (ramdisk, self.ramdisk) {
            if ramdisk.len() > place.len {
                return Err(PlanError::RamdiskTooLarge { len: ramdisk.len(), room: place.len });
            }
            plan = plan.overlay(place.offset, [Segment::Bytes(ramdisk.as_bytes().clone())])?;
        }
        if let Some(arguments) = kernel_arguments {
            if self.kernel_arguments.is_empty() {
                return Err(PlanError::NoKernelArgumentArea);
            }
            for area in self.kernel_arguments {
                plan = plan.overlay(area.extent().offset, [Segment::Bytes(area.with(arguments)?)])?;
            }
        }
        Ok(plan)
    }
}

/// The whole Ignition area. The kernel unpacks it as any number of archives, so a ramdisk can follow the config.
fn ignition_area(
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

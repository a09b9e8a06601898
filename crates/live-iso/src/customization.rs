//! From a layout and a request's wishes to a plan.

use crate::{Extent, IgnitionArchive, KernelArguments, Layout, Plan, PlanError, Segment};

/// What can be had of an ISO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Artifact {
    /// The ISO, customised.
    FullIso,
    /// The kernel, for booting over the network.
    Kernel,
    /// The root file system, which a system booted over the network fetches.
    Rootfs,
}

impl Artifact {
    const fn name(self) -> &'static str {
        match self {
            Self::FullIso => "full ISO",
            Self::Kernel => "kernel",
            Self::Rootfs => "rootfs",
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
}

impl Customization {
    /// Whether there is nothing to customise.
    pub fn is_empty(&self) -> bool {
        self.ignition.is_none() && self.kernel_arguments.is_none()
    }
}

impl Layout {
    /// Plans an artifact. Nothing is read: the plan is made from what the layout remembers.
    pub fn plan(&self, artifact: Artifact, customization: &Customization) -> Result<Plan, PlanError> {
        let as_it_is = |extent| {
            if customization.is_empty() {
                Ok(Plan::base(extent))
            } else {
                Err(PlanError::NotCustomizable { artifact: artifact.name() })
            }
        };
        match artifact {
            Artifact::FullIso => self.full_iso(customization),
            Artifact::Kernel => as_it_is(self.kernel()),
            Artifact::Rootfs => as_it_is(self.rootfs()),
        }
    }

    fn full_iso(&self, customization: &Customization) -> Result<Plan, PlanError> {
        let mut plan = Plan::base(Extent { offset: 0, len: self.size() });
        if let Some(archive) = &customization.ignition {
            let area = self.ignition_area().ok_or(PlanError::NoIgnitionArea)?.extent();
            let left = area.len.checked_sub(archive.len());
            let left = left.ok_or(PlanError::IgnitionTooLarge { len: archive.len(), area: area.len })?;
            // What was embedded before must not shine through.
            plan = plan
                .overlay(area.offset, [Segment::Bytes(archive.as_bytes().clone()), Segment::Zeros(left)])?;
        }
        if let Some(arguments) = &customization.kernel_arguments {
            for area in self.kernel_argument_areas().ok_or(PlanError::NoKernelArgumentArea)?.areas() {
                plan = plan.overlay(area.extent().offset, [Segment::Bytes(area.with(arguments)?)])?;
            }
        }
        Ok(plan)
    }
}

//! Everything that any request may need to know of one live ISO, found once.
//!
//! Where a description exists (`coreos/*.json`) it is believed and must be true: a description that cannot be read,
//! or that names what does not exist, is an error. Only its absence means an older ISO.

mod distribution;
mod ignition_area;
mod kernel_argument_areas;
mod metadata;

use std::sync::Arc;
use std::time::SystemTime;

use crate::initrd::InitrdAddress;
use crate::minimal::Original;
use crate::read_at::Source;
use crate::{Error, Extent, ReadAt, Volume};

pub use distribution::Distribution;
pub use ignition_area::{IgnitionArea, IgnitionAreaSource};
pub(crate) use kernel_argument_areas::SIZE_MAX as KERNEL_ARGUMENT_AREA_MAX;
pub use kernel_argument_areas::{KernelArgumentArea, KernelArgumentAreas};

const KERNEL: &str = "images/pxeboot/vmlinuz";
/// What s390x images had instead of [`KERNEL`] until 2025; some have both.
const KERNEL_S390X: &str = "images/pxeboot/kernel.img";
const INITRD: &str = "images/pxeboot/initrd.img";
const ROOTFS: &str = "images/pxeboot/rootfs.img";
const INITRD_ADDR_SIZE: &str = "images/initrd.addrsize";
const INS_FILE: &str = "generic.ins";

/// Where things are in a live ISO.
#[derive(Clone, Debug)]
pub struct Layout {
    volume_id: String,
    size: u64,
    created: Option<SystemTime>,
    distribution: Distribution,
    kernel: Extent,
    initrd: Extent,
    rootfs: Extent,
    initrd_address: Option<InitrdAddress>,
    ins_file: Option<Extent>,
    ignition_area: Option<IgnitionArea>,
    kernel_argument_areas: Option<KernelArgumentAreas>,
    original: Result<Arc<Original>, Arc<str>>,
}

impl Layout {
    /// Finds everything, and proves that the ISO holds it.
    pub fn read<R: ReadAt + ?Sized>(iso: &R) -> Result<Self, Error> {
        let source = Source::new(iso)?;
        let volume = Volume::read_from(&source)?;
        let distribution = Distribution::of_volume(volume.volume_id())
            .ok_or_else(|| Error::NotCoreos { volume_id: volume.volume_id().to_owned() })?;
        source.require("the volume", Extent { offset: 0, len: volume.space_size() })?;

        let needed = |paths: &[&str]| {
            let file = paths.iter().find_map(|path| volume.find(path));
            let file = file.ok_or_else(|| Error::MissingFile { path: paths.join(" or ") })?;
            let extent = file.extent()?;
            source.require(file.path(), extent)?;
            Ok(extent)
        };
        let optional = |path| volume.find(path).map(|_| needed(&[path])).transpose();
        let layout = Self {
            volume_id: volume.volume_id().to_owned(),
            size: source.size(),
            created: volume.created(),
            distribution,
            kernel: needed(&[KERNEL, KERNEL_S390X])?,
            initrd: needed(&[INITRD])?,
            rootfs: needed(&[ROOTFS])?,
            initrd_address: optional(INITRD_ADDR_SIZE)?
                .map(|file| InitrdAddress::read(&source, file))
                .transpose()?,
            ins_file: optional(INS_FILE)?,
            ignition_area: IgnitionArea::find(&source, &volume)?,
            kernel_argument_areas: KernelArgumentAreas::find(&source, &volume)?,
            original: Original::read(&source, &volume)?,
        };
        layout.refuse_overlapping_areas()?;
        Ok(layout)
    }

    fn refuse_overlapping_areas(&self) -> Result<(), Error> {
        let ignition = self.ignition_area.iter().map(|area| (area.to_string(), area.extent()));
        let arguments = self.kernel_argument_areas.iter().flat_map(KernelArgumentAreas::areas);
        let mut areas: Vec<_> =
            ignition.chain(arguments.map(|area| (area.to_string(), area.extent()))).collect();
        areas.sort_by_key(|(_, extent)| *extent);
        for (first, second) in areas.iter().zip(areas.iter().skip(1)) {
            if first.1.overlaps(second.1) {
                return Err(Error::OverlappingAreas { first: first.0.clone(), second: second.0.clone() });
            }
        }
        Ok(())
    }

    /// The name that boot loaders and the running system find the volume by.
    pub fn volume_id(&self) -> &str {
        &self.volume_id
    }

    /// The size of the ISO in bytes, padding behind the volume included.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When the ISO was built, if it says so.
    pub fn created(&self) -> Option<SystemTime> {
        self.created
    }

    /// Which CoreOS it is.
    pub fn distribution(&self) -> Distribution {
        self.distribution
    }

    /// Which CoreOS it is, as volume ids and file names spell it: `rhcos`.
    pub fn os_name(&self) -> &'static str {
        self.distribution.name()
    }

    /// Which state of the format the ISO is in.
    pub fn generation(&self) -> Generation {
        let ignition_info =
            self.ignition_area.as_ref().is_some_and(|area| area.source() == IgnitionAreaSource::IgnInfo);
        match &self.kernel_argument_areas {
            Some(areas) if areas.say_how_to_fill() => Generation::PadAndEnd,
            _ if ignition_info => Generation::IgnInfo,
            Some(_) => Generation::Kargs,
            None => Generation::Undescribed,
        }
    }

    /// The kernel, `images/pxeboot/vmlinuz` or on older s390x images `kernel.img`.
    pub fn kernel(&self) -> Extent {
        self.kernel
    }

    /// The initramfs of the live system, `images/pxeboot/initrd.img`.
    pub fn initrd(&self) -> Extent {
        self.initrd
    }

    /// The root file system of the live system, `images/pxeboot/rootfs.img`.
    pub fn rootfs(&self) -> Extent {
        self.rootfs
    }

    /// What an s390x logical partition loads, `generic.ins`. None on other architectures.
    pub fn ins_file(&self) -> Option<Extent> {
        self.ins_file
    }

    pub(crate) fn initrd_address(&self) -> Option<InitrdAddress> {
        self.initrd_address
    }

    /// What a minimal image is made from, or why there can be none.
    pub(crate) fn original(&self) -> Result<&Original, &str> {
        self.original.as_deref().map_err(|reason| &**reason)
    }

    /// Where an Ignition config can be embedded. None on s390x images before 2023.
    pub fn ignition_area(&self) -> Option<&IgnitionArea> {
        self.ignition_area.as_ref()
    }

    /// Where kernel arguments can be embedded. None where no `coreos/kargs.json` tells, as in images of 4.8 and before.
    pub fn kernel_argument_areas(&self) -> Option<&KernelArgumentAreas> {
        self.kernel_argument_areas.as_ref()
    }
}

/// A state of the format, told by the descriptions of embed areas an ISO carries. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Generation {
    /// No JSON file describes any area; headers in the system area may (2020, OpenShift 4.6).
    Undescribed,
    /// `coreos/kargs.json` describes the areas for kernel arguments (September 2021, OpenShift 4.9).
    Kargs,
    /// `coreos/igninfo.json` describes the area for the Ignition config (March 2023, OpenShift 4.13).
    IgnInfo,
    /// `coreos/kargs.json` says how an area is filled up, so that s390x has one too (July 2023, OpenShift 4.14).
    PadAndEnd,
}

//! Everything that any request may need to know of one live ISO, found once.
//!
//! Where a description exists (`coreos/*.json`, before that headers in the system area) it is believed and must be true:
//! a description that cannot be read, that names what does not exist, or that contradicts another one, is an error. Only
//! its absence means an older ISO. `coreos/features.json` alone is not so: it describes nothing that is in the ISO.

mod architecture;
mod distribution;
mod features;
mod generation;
mod ignition_area;
mod kernel_argument_areas;
mod metadata;

use std::sync::Arc;
use std::time::SystemTime;

use coreos_names::Arch;

use crate::embed_headers::EmbedHeaders;
use crate::initrd::InitrdAddress;
use crate::minimal::MinimalSource;
use crate::read_at::Source;
use crate::{BootCatalog, Error, Extent, PartitionTables, ReadAt, Volume};

pub use distribution::Distribution;
pub use features::Features;
pub use generation::Generation;
pub use ignition_area::{IgnitionArea, IgnitionAreaSource};
pub(crate) use kernel_argument_areas::SIZE_MAX as KERNEL_ARGUMENT_AREA_MAX;
pub use kernel_argument_areas::{KernelArgumentArea, KernelArgumentAreaSource, KernelArgumentAreas};

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
    generation: Generation,
    architecture: Option<Arch>,
    features: Option<Features>,
    boot_catalog: Option<BootCatalog>,
    partition_tables: PartitionTables,
    kernel: Extent,
    initrd: Extent,
    rootfs: Extent,
    initrd_address: Option<InitrdAddress>,
    ins_file: Option<Extent>,
    ignition_area: Option<IgnitionArea>,
    kernel_argument_areas: Option<KernelArgumentAreas>,
    minimal_source: Result<Arc<MinimalSource>, Arc<str>>,
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
        let kernel = needed(&[KERNEL, KERNEL_S390X])?;
        let headers = EmbedHeaders::read(&source)?;
        let features = Features::find(&source, &volume)?;
        let ignition_area = IgnitionArea::find(&source, &volume, &headers)?;
        let kernel_argument_areas = KernelArgumentAreas::find(&source, &volume, &headers)?;
        let layout = Self {
            volume_id: volume.volume_id().to_owned(),
            size: source.size(),
            created: volume.created(),
            distribution,
            generation: Generation::told_by(
                &headers,
                features.as_ref(),
                ignition_area.as_ref(),
                kernel_argument_areas.as_ref(),
            ),
            architecture: architecture::find(&source, &volume, kernel)?,
            features,
            boot_catalog: volume.boot_catalog().cloned(),
            partition_tables: volume.partition_tables(),
            kernel,
            initrd: needed(&[INITRD])?,
            rootfs: optional(ROOTFS)?.ok_or(Error::NoRootfs)?,
            initrd_address: optional(INITRD_ADDR_SIZE)?
                .map(|file| InitrdAddress::read(&source, file))
                .transpose()?,
            ins_file: optional(INS_FILE)?,
            ignition_area,
            kernel_argument_areas,
            minimal_source: MinimalSource::read(&source, &volume, headers)?,
        };
        layout.refuse_overlapping_areas()?;
        Ok(layout)
    }

    /// Fails if what is written into an area would change another area, or what has to stay as it is.
    fn refuse_overlapping_areas(&self) -> Result<(), Error> {
        let ignition = self.ignition_area.iter().map(|area| (area.to_string(), area.extent()));
        let arguments = self.kernel_argument_areas.iter().flat_map(KernelArgumentAreas::areas);
        let areas: Vec<_> = ignition.chain(arguments.map(|area| (area.to_string(), area.extent()))).collect();
        let files = [(KERNEL, self.kernel), (INITRD, self.initrd), (ROOTFS, self.rootfs)];
        for (number, (first, extent)) in areas.iter().enumerate() {
            let others = areas.iter().skip(number + 1).map(|(other, at)| (other.as_str(), *at));
            if let Some((second, _)) = others.chain(files).find(|(_, other)| extent.overlaps(*other)) {
                return Err(Error::OverlappingAreas { first: first.clone(), second: second.to_owned() });
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

    /// Which state of the format the ISO is in.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Which architecture it is for, if the kernel or a boot loader tells.
    pub fn architecture(&self) -> Option<Arch> {
        self.architecture
    }

    /// What the operating system understands of `coreos-installer iso customize`. None before December 2021.
    pub fn features(&self) -> Option<&Features> {
        self.features.as_ref()
    }

    /// What firmware may start when the ISO is a CD. None on ppc64le, whose firmware looks for a file.
    pub fn boot_catalog(&self) -> Option<&BootCatalog> {
        self.boot_catalog.as_ref()
    }

    /// What firmware finds when the ISO is a disk.
    pub fn partition_tables(&self) -> PartitionTables {
        self.partition_tables
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
    pub(crate) fn minimal_source(&self) -> Result<&MinimalSource, &str> {
        self.minimal_source.as_deref().map_err(|reason| &**reason)
    }

    /// Where an Ignition config can be embedded. None on s390x images of 4.12 and before.
    pub fn ignition_area(&self) -> Option<&IgnitionArea> {
        self.ignition_area.as_ref()
    }

    /// Where kernel arguments can be embedded. None in images of 4.6, and on s390x in those of 4.13 and before.
    pub fn kernel_argument_areas(&self) -> Option<&KernelArgumentAreas> {
        self.kernel_argument_areas.as_ref()
    }
}

//! The minimal image: the ISO without its root file system, which it fetches from a URL when it boots.
//!
//! It is a plan like any other: a new head (see [`Head`](crate::volume::Head)), a few rewritten files, and the ISO's own
//! bytes. Names, dates, modes, boot entries and partition tables are those of the ISO, so it boots from a CD and from a
//! disk if the ISO does; and the same ISO, URL and nmstate archive make the same bytes everywhere.
//!
//! What changes:
//! - `images/pxeboot/rootfs.img` and `coreos/miniso.dat` go;
//! - `images/assisted_installer_custom.img` comes, 1 MiB of zeros with room for a network configuration, and, if wanted,
//!   `images/nmstate.img`. Boot loaders load both behind the images they already load;
//! - the kernel arguments lose `coreos.liveiso=` and get `coreos.live.rootfs_url="URL"`, in the configurations of all
//!   boot loaders, in every area for kernel arguments, and in the default ones in `coreos/kargs.json`;
//! - the areas for kernel arguments grow by as much, so that an argument which fits into the ISO fits into the minimal
//!   image. coreos-installer accepts no larger ones than 2048 bytes, so there growth ends.
//!
//! On s390x nothing lists initramfs images: kernel, arguments and initramfs are one file, `images/cdboot.img`. There the
//! arguments are changed within their area, which cannot grow, a network configuration goes behind the Ignition config
//! into its area, as in the full ISO, and nmstatectl has no place. `*.prm` files, which no boot from the ISO itself reads,
//! keep naming the volume.

mod arguments;
mod boot_config;
mod rootfs_url;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coreos_names::WithCauses;

use crate::customization::{EmbedPlaces, Part};
use crate::layout::KERNEL_ARGUMENT_AREA_MAX;
use crate::volume::{Edits, NewFile, Rewritten};
use crate::{
    Customization, Extent, IgnitionArea, KernelArgumentArea, KernelArgumentAreas, Layout, Plan, PlanError,
    Segment,
};

use boot_config::{Area, BootConfig};
use source::KARGS;

pub use rootfs_url::RootfsUrl;
pub(crate) use source::MinimalSource;

/// How it is called when it has no place for something.
const NAME: &str = "minimal ISO";

const IMAGES: &str = "images";
const RAMDISK: &str = "assisted_installer_custom.img";
const RAMDISK_PATH: &str = "/images/assisted_installer_custom.img";
const NMSTATE: &str = "nmstate.img";
const NMSTATE_PATH: &str = "/images/nmstate.img";

/// The room for a network configuration.
const RAMDISK_ROOM: u64 = 1 << 20;
/// Real archives have 5 MB.
const NMSTATE_MAX: u64 = 1 << 30;

/// A minimal image, to be customised any number of times.
#[derive(Clone, Debug)]
pub struct MinimalIso(Arc<Image>);

#[derive(Debug)]
struct Image {
    plan: Plan,
    ignition_area: Option<Extent>,
    kernel_argument_areas: Vec<KernelArgumentArea>,
    /// None where a network configuration has to share the Ignition area.
    ramdisk: Option<Extent>,
}

impl Layout {
    /// The image without its root file system, which it fetches from `rootfs_url`. Nothing is read: it is planned from
    /// what the layout remembers.
    ///
    /// `nmstate_len` is the size in bytes of the nmstate archive, which goes in as `images/nmstate.img` (see
    /// [`Segment::Nmstate`]); None leaves it out.
    pub fn minimal(&self, rootfs_url: &RootfsUrl, nmstate_len: Option<u64>) -> Result<MinimalIso, PlanError> {
        let source = self.minimal_source().map_err(impossible)?;
        let image = Draft::new(self, source, rootfs_url)?.finish(nmstate_len)?;
        Ok(MinimalIso(Arc::new(image)))
    }
}

impl MinimalIso {
    /// Plans the image with what a request wants in it.
    pub fn plan(&self, customization: &Customization) -> Result<Plan, PlanError> {
        customization.require_places(NAME, &[Part::Ignition, Part::Ramdisk, Part::KernelArguments])?;
        let Image { plan, ignition_area, kernel_argument_areas, ramdisk } = &*self.0;
        let places = EmbedPlaces {
            ignition: *ignition_area,
            ramdisk: *ramdisk,
            kernel_arguments: kernel_argument_areas,
        };
        places.embed(customization, plan.clone())
    }

    /// The size of the image in bytes, whatever it is customised with.
    pub fn size(&self) -> u64 {
        self.0.plan.len()
    }
}

/// A minimal image in the making.
struct Draft<'a> {
    layout: &'a Layout,
    source: &'a MinimalSource,
    argument: String,
    default_arguments: String,
    areas: Vec<EditedArea<'a>>,
    /// The new size of each area.
    size: u64,
}

/// An area for kernel arguments, and the new ones.
struct EditedArea<'a> {
    old: &'a KernelArgumentArea,
    text: String,
}

impl EditedArea<'_> {
    fn filled(&self, size: u64) -> Result<Bytes, PlanError> {
        let filled = self.old.filled(&self.text, size);
        filled.ok_or_else(|| impossible(format!("{} is too small", self.old)))
    }
}

/// Where an area is in the new image.
enum Destination {
    /// In a rewritten configuration, so far into it.
    Config(Extent, u64),
    /// In a file that stays.
    Kept(Extent),
}

impl<'a> Draft<'a> {
    fn new(layout: &'a Layout, source: &'a MinimalSource, rootfs_url: &RootfsUrl) -> Result<Self, PlanError> {
        let argument = rootfs_url.argument();
        let areas = layout.kernel_argument_areas();
        let default_arguments = areas.map(KernelArgumentAreas::default_arguments).unwrap_or_default();
        let edited =
            |old: &'a KernelArgumentArea| EditedArea { old, text: arguments::edited(old.text(), &argument) };
        let mut draft = Self {
            layout,
            source,
            default_arguments: arguments::edited(default_arguments, &argument),
            areas: areas.map_or(&[][..], KernelArgumentAreas::areas).iter().map(edited).collect(),
            argument,
            size: 0,
        };
        draft.size = draft.new_size(rootfs_url.as_str().len())?;
        Ok(draft)
    }

    fn config_of(&self, area: &KernelArgumentArea) -> Option<&'a BootConfig> {
        let holds = |config: &&BootConfig| {
            let offset = area.extent().offset.checked_sub(config.extent.offset);
            offset.is_some_and(|offset| config.extent.part(offset, area.extent().len).is_some())
        };
        self.source.configs.iter().find(holds)
    }

    /// The size that all areas will have.
    fn new_size(&self, url_len: usize) -> Result<u64, PlanError> {
        let Some(first) = self.areas.first() else { return Ok(0) };
        let texts = self.areas.iter().map(|area| area.text.len() + 1);
        let needed = texts.chain([self.default_arguments.len()]).max().unwrap_or(0);
        let growth = first.text.len().saturating_sub(first.old.text().len());
        let can_grow = self.areas.iter().all(|area| self.config_of(area.old).is_some());
        let old = first.old.extent().len;
        let size = if can_grow { (old + growth as u64).min(KERNEL_ARGUMENT_AREA_MAX).max(old) } else { old };
        let missing = (needed as u64).saturating_sub(size);
        if missing > 0 {
            let room = url_len.saturating_sub(usize::try_from(missing).unwrap_or(usize::MAX));
            return Err(PlanError::RootfsUrlTooLong { len: url_len, room });
        }
        Ok(size)
    }

    fn finish(self, nmstate_len: Option<u64>) -> Result<Image, PlanError> {
        let has_list = !self.source.configs.is_empty();
        if !has_list && self.areas.is_empty() {
            return Err(impossible("it is not known where its boot loader has the kernel arguments"));
        }
        if nmstate_len.is_some_and(|len| !has_list || len > NMSTATE_MAX) {
            return Err(PlanError::NotCustomizable { artifact: NAME, part: Part::Nmstate.name() });
        }
        let mut edits = Edits {
            removed: vec![self.layout.rootfs()],
            directory: IMAGES,
            sibling: self.layout.ignition_area().map(IgnitionArea::extent),
            ..Edits::default()
        };
        edits.removed.extend(self.source.packed_minimal_iso);
        let mut images = Vec::new();
        if has_list {
            edits.added.push(NewFile { name: RAMDISK, content: Segment::Zeros(RAMDISK_ROOM) });
            images.push(RAMDISK_PATH);
        }
        if let Some(len) = nmstate_len {
            edits.added.push(NewFile { name: NMSTATE, content: Segment::Nmstate(Extent { offset: 0, len }) });
            images.push(NMSTATE_PATH);
        }
        if let Some(area) = self.areas.iter().find(|area| has_list && self.config_of(area.old).is_none()) {
            return Err(impossible(format!("{} is in no configuration that loads further images", area.old)));
        }
        let places = self.edit_arguments(&mut edits, &images)?;
        let rewritten =
            self.source.head.rewrite(&edits).map_err(|error| impossible(WithCauses(&error).to_string()))?;
        self.image(rewritten, &places)
    }

    /// Edits all that holds kernel arguments, and says where each area will be.
    fn edit_arguments(&self, edits: &mut Edits, images: &[&str]) -> Result<Vec<Destination>, PlanError> {
        let mut places: Vec<Option<Destination>> = self.areas.iter().map(|_| None).collect();
        for config in &self.source.configs {
            let mut numbers = Vec::new();
            let mut areas = Vec::new();
            for (number, area) in self.areas.iter().enumerate() {
                if self.config_of(area.old).is_some_and(|other| std::ptr::eq(other, config)) {
                    numbers.push(number);
                    areas.push(self.area_in(config, area)?);
                }
            }
            let edited = config
                .edited(&self.argument, &areas, images)
                .map_err(|error| impossible(WithCauses(&error).to_string()))?;
            for (number, offset) in numbers.into_iter().zip(edited.areas) {
                if let Some(place) = places.get_mut(number) {
                    *place = Some(Destination::Config(config.extent, offset));
                }
            }
            edits.replaced.push((config.extent, edited.text.into()));
        }
        let mut all = Vec::new();
        for (area, place) in self.areas.iter().zip(places) {
            if place.is_none() {
                edits.patched.push((area.old.extent().offset, area.filled(self.size)?));
            }
            all.push(place.unwrap_or(Destination::Kept(area.old.extent())));
        }
        if let Some((extent, json)) = &self.source.kargs_json {
            let json = self.kargs_json(json, &all);
            let json = json.map_err(|error| impossible(format!("{KARGS} cannot be understood: {error}")))?;
            edits.replaced.push((*extent, json));
        }
        if let (Some(extent), Some(first)) = (self.source.default_arguments, self.areas.first()) {
            let content = first.old.filled(&self.default_arguments, self.size);
            let content = content.ok_or_else(|| impossible("its default kernel arguments do not fit"))?;
            edits.replaced.push((extent, content));
        }
        Ok(all)
    }

    fn area_in(&self, config: &BootConfig, area: &EditedArea<'_>) -> Result<Area, PlanError> {
        let extent = area.old.extent();
        let start = usize::try_from(extent.offset - config.extent.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(extent.len).unwrap_or(usize::MAX));
        let content = String::from_utf8(area.filled(self.size)?.into())
            .map_err(|_| impossible(format!("{} is filled with something else than text", area.old)))?;
        Ok(Area { range: start..end, content })
    }

    /// `coreos/kargs.json`, whose files are the areas, with their new places.
    fn kargs_json(&self, json: &[u8], places: &[Destination]) -> serde_json::Result<Bytes> {
        let mut kargs: serde_json::Value = serde_json::from_slice(json)?;
        if let Some(kargs) = kargs.as_object_mut() {
            kargs.insert("default".to_owned(), self.default_arguments.as_str().into());
            kargs.insert("size".to_owned(), self.size.into());
            let files = kargs.get_mut("files").and_then(serde_json::Value::as_array_mut);
            for (file, place) in files.into_iter().flatten().zip(places) {
                if let (Some(file), Destination::Config(_, offset)) = (file.as_object_mut(), place) {
                    file.insert("offset".to_owned(), (*offset).into());
                }
            }
        }
        let mut text = serde_json::to_vec_pretty(&kargs)?;
        if json.ends_with(b"\n") {
            text.push(b'\n');
        }
        Ok(text.into())
    }

    fn image(self, rewritten: Rewritten, places: &[Destination]) -> Result<Image, PlanError> {
        let lost = |what: String| impossible(format!("{what} shares blocks with something that moves"));
        let ignition_area = match self.layout.ignition_area() {
            Some(area) => Some(rewritten.kept(area.extent()).ok_or_else(|| lost(area.to_string()))?),
            None => None,
        };
        let mut moved = BTreeMap::new();
        let mut kernel_argument_areas = Vec::new();
        for (EditedArea { old, text }, place) in self.areas.into_iter().zip(places) {
            let offset = match place {
                Destination::Config(config, offset) => {
                    rewritten.replaced(*config).map(|start| start + offset)
                }
                Destination::Kept(extent) => rewritten.kept(*extent).map(|extent| extent.offset),
            };
            let offset = offset.ok_or_else(|| lost(old.to_string()))?;
            moved.insert(old.extent().offset, offset);
            kernel_argument_areas.push(old.moved(Extent { offset, len: self.size }, text));
        }
        if let Some(extent) = self.source.default_arguments {
            moved.extend(rewritten.replaced(extent).map(|offset| (extent.offset, offset)));
        }
        let headers = self.source.headers.moved(ignition_area, self.size, &moved);
        let plan = headers.into_iter().try_fold(rewritten.plan, |plan, (offset, header)| {
            plan.overlay(offset, [Segment::Bytes(header)])
        })?;
        let has_list = !self.source.configs.is_empty();
        Ok(Image {
            plan: plan.into_segments().collect(),
            ignition_area,
            kernel_argument_areas,
            ramdisk: rewritten.added.first().copied().filter(|_| has_list),
        })
    }
}

fn impossible(reason: impl Into<String>) -> PlanError {
    PlanError::NoMinimalIso { reason: reason.into() }
}

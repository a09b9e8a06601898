//! `iso inspect`: what an ISO is, what it can be made into, and what is embedded in it.

use std::io::{self, Write};

use anyhow::Context;
use coreos_names::WithCauses;
use live_iso::{
    BootCatalog, BootEntry, BootPlatform, Embedded, Generation, KernelArgumentAreas, Layout, PlanError,
    RootfsUrl,
};

use super::Iso;

/// The file in the initramfs that Ignition reads.
const IGNITION_CONFIG: &str = "config.ign";

/// Prints what an ISO is, or only the Ignition config embedded in it.
pub(super) fn inspect(iso: &Iso<'_>, ignition_only: bool) -> anyhow::Result<()> {
    let embedded = live_iso::embedded(&iso.file, &iso.layout)
        .with_context(|| format!("cannot read {}", iso.path.display()))?;
    let mut out = io::stdout().lock();
    if ignition_only {
        let config = embedded.files.iter().find(|file| file.name == IGNITION_CONFIG);
        let config =
            config.with_context(|| format!("no Ignition config is embedded in {}", iso.path.display()))?;
        out.write_all(&config.content)
    } else {
        let rootfs = live_iso::rootfs_info(&iso.file, &iso.layout);
        let rootfs = rootfs.map_or_else(|error| WithCauses(&error).to_string(), |info| info.to_string());
        show(&iso.layout, &rootfs, &embedded, &mut out)
    }
    .context("cannot write the answer")
}

fn show(layout: &Layout, rootfs: &str, embedded: &Embedded, out: &mut impl Write) -> io::Result<()> {
    let architecture = layout.architecture().map_or("not told", coreos_names::Arch::name);
    let built = layout.created().and_then(|time| jiff::Timestamp::try_from(time).ok());
    let built = built.map_or("not told".to_owned(), |time| time.to_string());
    writeln!(out, "volume id         {}", layout.volume_id())?;
    writeln!(out, "operating system  {}", layout.distribution())?;
    writeln!(out, "architecture      {architecture}")?;
    writeln!(out, "built             {built}")?;
    writeln!(out, "format            {}", era(layout.generation()))?;
    writeln!(out, "boots             {}", boots(layout))?;
    writeln!(out, "rootfs            {rootfs}")?;
    writeln!(out, "size              {} bytes", layout.size())?;
    writeln!(out, "minimal ISO       {}", minimal_iso(layout))?;

    writeln!(out, "\nembed areas")?;
    let ignition = layout.ignition_area().map(|area| (area.to_string(), area.extent()));
    let arguments = layout.kernel_argument_areas().into_iter().flat_map(KernelArgumentAreas::areas);
    let areas: Vec<_> =
        ignition.into_iter().chain(arguments.map(|area| (area.to_string(), area.extent()))).collect();
    for (name, extent) in &areas {
        writeln!(out, "  {name}: {} bytes at {}", extent.len, extent.offset)?;
    }
    none_if(areas.is_empty(), out)?;

    writeln!(out, "\nembedded files")?;
    for file in &embedded.files {
        writeln!(out, "  {} ({} bytes)", file.name, file.size())?;
    }
    none_if(embedded.files.is_empty(), out)?;

    if let Some(arguments) = &embedded.kernel_arguments {
        writeln!(out, "\nkernel arguments")?;
        writeln!(out, "  built with  {}", arguments.default)?;
        writeln!(out, "  boots with  {}", arguments.current)?;
    }

    if let Some(features) = layout.features() {
        writeln!(out, "\nfeatures")?;
        let directives: Vec<_> = features.installer_config_directives().collect();
        for (name, present, details) in [
            ("installer-config", features.installer_config(), directives.join(", ")),
            ("live-initrd-network", features.live_initrd_network(), String::new()),
        ] {
            if present {
                writeln!(out, "  {name}{}{details}", if details.is_empty() { "" } else { ": " })?;
            }
        }
    }
    Ok(())
}

/// What starts from the ISO when it is a CD, and whether it has partitions, as a disk needs them.
fn boots(layout: &Layout) -> String {
    let entries = layout.boot_catalog().map(BootCatalog::entries).unwrap_or_default();
    let platform = |entry: &BootEntry| match entry.platform() {
        BootPlatform::Bios => "El Torito".to_owned(),
        BootPlatform::Uefi => "El Torito UEFI".to_owned(),
        other => format!("El Torito {other:?}"),
    };
    let tables = layout.partition_tables();
    let tables = [("MBR", tables.mbr), ("GPT", tables.gpt)].into_iter().filter(|(_, present)| *present);
    let ways: Vec<_> = entries.iter().map(platform).chain(tables.map(|(name, _)| name.to_owned())).collect();
    if ways.is_empty() { "nothing says how".to_owned() } else { ways.join(", ") }
}

/// Whether one can be made of the ISO, and if not, why.
fn minimal_iso(layout: &Layout) -> String {
    let short_url = "http://h/".parse::<RootfsUrl>().expect("a URL that boot loaders take as it is");
    match layout.minimal(&short_url, None) {
        Ok(minimal) => format!("possible, {} bytes without nmstatectl", minimal.size()),
        Err(PlanError::NoMinimalIso { reason }) => format!("impossible: {reason}"),
        Err(error) => format!("impossible: {error}"),
    }
}

fn none_if(empty: bool, out: &mut impl Write) -> io::Result<()> {
    if empty { writeln!(out, "  none") } else { Ok(()) }
}

fn era(generation: Generation) -> &'static str {
    match generation {
        Generation::Undescribed => "nothing describes the embed areas",
        Generation::IgnitionHeader => "4.6: coreiso+ header",
        Generation::KernelArgumentHeader => "4.7 or 4.8: coreiso+ and coreKarg headers",
        Generation::Kargs => "4.9: headers and kargs.json",
        Generation::Features => "4.10: headers, kargs.json and features.json",
        Generation::WithoutHeaders => "4.11: kargs.json and features.json",
        Generation::InstallerDirectives => "4.12: kargs.json, and features.json with directives",
        Generation::IgnInfo => "4.13: kargs.json and igninfo.json",
        Generation::PadAndEnd => "4.14 or later: kargs.json with filling, and igninfo.json",
        _ => "unknown",
    }
}

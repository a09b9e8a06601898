//! The El Torito boot catalog: what firmware may start from the volume when it is a CD. It has records of 32 bytes:
//!
//! ```text
//! validation   01, platform, 2 bytes, maker (24), checksum (2), 55 AA
//! entry        88 (or 00: not bootable), media, segment (2), type, a byte, sectors of 512 bytes (2), block (4), ...
//! header       90 (or 91: the last one), platform, number of entries (2), name (28)
//! extension    44, ...
//! ```
//!
//! A validation record and an entry come first, then any number of headers, each with its entries, which extensions may
//! follow. Numbers are little-endian. The records that do not fit into a block are not read; real catalogs have five.
//!
//! Reference: the specification, version 1.0.

use super::{BLOCK, field};
use crate::read_at::Source;
use crate::{Error, Extent, ReadAt};

const RECORD: usize = 32;
const SECTOR: u64 = 512;

const VALIDATION: u8 = 0x01;
const BOOTABLE: u8 = 0x88;
const HEADER: u8 = 0x90;
const LAST_HEADER: u8 = 0x91;
const EXTENSION: u8 = 0x44;
const BIOS: u8 = 0x00;
const UEFI: u8 = 0xef;

/// What firmware may start from a CD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootCatalog {
    entries: Vec<BootEntry>,
}

/// One thing to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootEntry {
    platform: BootPlatform,
    loaded: Extent,
}

/// The kind of firmware that a [`BootEntry`] is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BootPlatform {
    /// A BIOS, and the firmware of s390x, which has no number of its own.
    Bios,
    /// UEFI.
    Uefi,
    /// Another one, with its number.
    Other(u8),
}

impl BootCatalog {
    /// The entries that are marked as bootable, in order; the default one is the first of them.
    pub fn entries(&self) -> &[BootEntry] {
        &self.entries
    }

    /// Whether firmware of a kind finds something to start.
    pub fn boots(&self, platform: BootPlatform) -> bool {
        self.entries.iter().any(|entry| entry.platform == platform)
    }

    pub(super) fn read<R: ReadAt + ?Sized>(source: &Source<'_, R>, offset: u64) -> Result<Self, Error> {
        let catalog = source.read("the boot catalog", Extent { offset, len: BLOCK }, BLOCK)?;
        let entries = parse(&catalog)
            .map_err(|problem| Error::Malformed { what: "the boot catalog".to_owned(), problem })?;
        for entry in &entries {
            source.require("a boot image", entry.loaded)?;
        }
        Ok(Self { entries })
    }
}

impl BootEntry {
    /// The kind of firmware that it is meant for.
    pub fn platform(&self) -> BootPlatform {
        self.platform
    }

    /// The bytes that the firmware loads at first. Those of UEFI are a file system, of which it reads more when needed,
    /// and may be said to be none.
    pub fn loaded(&self) -> Extent {
        self.loaded
    }
}

impl BootPlatform {
    fn new(number: u8) -> Self {
        match number {
            BIOS => Self::Bios,
            UEFI => Self::Uefi,
            other => Self::Other(other),
        }
    }
}

/// An entry, bootable or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where in the catalog it is.
    pub(super) at: usize,
    platform: BootPlatform,
    is_bootable: bool,
    sectors: u16,
    /// Where the boot image begins.
    pub(super) block: u32,
}

impl Entry {
    /// Where in an entry the block is.
    pub(super) const BLOCK: usize = 8;

    fn parse(at: usize, record: &[u8], platform: BootPlatform) -> Option<Self> {
        Some(Self {
            at,
            platform,
            is_bootable: record.first() == Some(&BOOTABLE),
            sectors: field::u16_le(record, 6)?,
            block: field::u32_le(record, Self::BLOCK)?,
        })
    }

    /// Whether it is what a BIOS starts.
    pub(super) fn is_default(&self) -> bool {
        self.at == RECORD
    }

    fn loaded(&self) -> Extent {
        Extent { offset: u64::from(self.block) * BLOCK, len: u64::from(self.sectors) * SECTOR }
    }
}

/// All entries of a catalog, of which the first is the default one.
pub(super) fn entries(catalog: &[u8]) -> Result<Vec<Entry>, &'static str> {
    let mut records = (0..).step_by(RECORD).zip(catalog.chunks_exact(RECORD));
    let validation = records.next().map(|(_, record)| record).filter(|record| is_valid(record));
    let validation = validation.ok_or("its first record is invalid")?;
    let platform = BootPlatform::new(validation.get(1).copied().unwrap_or_default());
    let mut entries = Vec::new();
    entries.extend(records.next().and_then(|(at, record)| Entry::parse(at, record, platform)));

    while let Some((_, [kind @ (HEADER | LAST_HEADER), platform, rest @ ..])) = records.next() {
        for _ in 0..field::u16_le(rest, 0).unwrap_or_default() {
            let record = records.find(|(_, record)| record.first() != Some(&EXTENSION));
            let (at, record) = record.ok_or("it has more entries than there is room for")?;
            entries.extend(Entry::parse(at, record, BootPlatform::new(*platform)));
        }
        if *kind == LAST_HEADER {
            break;
        }
    }
    Ok(entries)
}

fn parse(catalog: &[u8]) -> Result<Vec<BootEntry>, &'static str> {
    let bootable = entries(catalog)?.into_iter().filter(|entry| entry.is_bootable);
    Ok(bootable.map(|entry| BootEntry { platform: entry.platform, loaded: entry.loaded() }).collect())
}

fn is_valid(record: &[u8]) -> bool {
    let words = record.chunks_exact(2).filter_map(|word| field::u16_le(word, 0));
    record.first() == Some(&VALIDATION)
        && record.ends_with(&[0x55, 0xaa])
        && words.fold(0, u16::wrapping_add) == 0
}

#[cfg(test)]
mod tests {
    use super::{BootEntry, BootPlatform, entries, parse};
    use crate::Extent;

    fn catalog(records: &[&[u8]]) -> Vec<u8> {
        let mut catalog = Vec::new();
        for record in records {
            catalog.extend_from_slice(record);
            catalog.resize(catalog.len().next_multiple_of(32), 0);
        }
        catalog.resize(2048, 0);
        catalog
    }

    fn validation(platform: u8) -> Vec<u8> {
        let mut record = vec![0; 32];
        record[..2].copy_from_slice(&[1, platform]);
        record[30..].copy_from_slice(&[0x55, 0xaa]);
        let checksum = 0_u16.wrapping_sub(0xaa55).wrapping_sub(u16::from_le_bytes([1, platform]));
        record[28..30].copy_from_slice(&checksum.to_le_bytes());
        record
    }

    fn found(platform: BootPlatform, block: u64, sectors: u64) -> BootEntry {
        BootEntry { platform, loaded: Extent { offset: block * 2048, len: sectors * 512 } }
    }

    const FIRST: &[u8] = b"\x88\0\0\0\0\0\x04\0\x2c\0\0\0";
    const SECOND: &[u8] = b"\x88\0\0\0\0\0\xff\xff\xff\xff\xff\xff";

    #[test]
    fn the_default_entry_and_those_of_sections_are_read() {
        let validation = validation(0);
        let records: &[&[u8]] = &[&validation, FIRST, b"\x91\xef\x01\0", SECOND];
        let uefi = found(BootPlatform::Uefi, 0xffff_ffff, 0xffff);
        assert_eq!(parse(&catalog(records)), Ok(vec![found(BootPlatform::Bios, 44, 4), uefi]));

        let records: &[&[u8]] = &[
            &validation,
            b"\0",
            b"\x90\x01\x02\0",
            b"\0",
            b"\x44",
            b"\x44",
            FIRST,
            b"\x91\xef\x01\0",
            SECOND,
        ];
        assert_eq!(parse(&catalog(records)), Ok(vec![found(BootPlatform::Other(1), 44, 4), uefi]));
    }

    #[test]
    fn entries_are_told_by_where_they_are() {
        let validation = validation(0);
        let records: &[&[u8]] =
            &[&validation, b"\0", b"\x90\0\x02\0", FIRST, b"\x44", b"\0", b"\x91\xef\x01\0", SECOND];
        let catalog = catalog(records);
        let places: Vec<_> = entries(&catalog).unwrap().iter().map(|entry| (entry.at, entry.block)).collect();
        assert_eq!(places, [(32, 0), (96, 0x2c), (160, 0), (224, 0xffff_ffff)]);
        assert!(
            entries(&catalog).unwrap().iter().map(super::Entry::is_default).eq([true, false, false, false])
        );
    }

    #[test]
    fn nothing_is_read_behind_the_last_header() {
        let validation = validation(0xef);
        let only = found(BootPlatform::Uefi, 44, 4);
        for rest in [&b"\x91\0\0\0"[..], b"\0", b"\x88", b"\x44"] {
            let records: &[&[u8]] = &[&validation, FIRST, rest, b"\x91\xef\x01\0", SECOND];
            assert_eq!(parse(&catalog(records)), Ok(vec![only]), "{rest:?}");
        }
    }

    #[test]
    fn a_catalog_must_be_valid() {
        let mut falsified = validation(0);
        falsified[4] = 1;
        let mut without_key = validation(0);
        without_key[28..].fill(0);
        for validation in [&falsified[..], &without_key, b"", FIRST] {
            assert_eq!(parse(&catalog(&[validation, FIRST])), Err("its first record is invalid"));
        }
        assert!(parse(b"").is_err());
    }

    #[test]
    fn a_catalog_ends_with_its_block() {
        let validation = validation(0);
        let records: &[&[u8]] = &[&validation, FIRST, b"\x90\xef\x3d\0"];
        assert_eq!(parse(&catalog(records)).unwrap().len(), 1);
        let records: &[&[u8]] = &[&validation, FIRST, b"\x90\xef\x3e\0"];
        assert_eq!(parse(&catalog(records)), Err("it has more entries than there is room for"));
    }
}

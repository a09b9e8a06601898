//! Numbers and texts in on-disk structures, read without trusting that they are there.

/// The little-endian `u32` at `at`; of a number in both byte orders, this is the first half.
pub(super) fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// The little-endian `u16` at `at`; of a number in both byte orders, this is the first half.
pub(super) fn u16_le(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

/// The text of `len` bytes at `at`, without the blanks and NULs that fill it up.
pub(super) fn text(bytes: &[u8], at: usize, len: usize) -> Option<String> {
    let field = bytes.get(at..)?.get(..len)?;
    Some(String::from_utf8_lossy(field).trim_end_matches([' ', '\0']).to_owned())
}

/// The little-endian `u64` at `at`.
pub(super) fn u64_le(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

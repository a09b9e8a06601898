//! Which block of the old volume is which of the new one.

use std::ops::Range;

use super::super::BLOCK;

/// The unit of partition tables.
pub(super) const SECTOR: u64 = 512;

/// Blocks that stay together, or that others take the place of.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) old: Range<u64>,
    pub(super) new: Range<u64>,
    /// Whether the new blocks are the old ones.
    pub(super) kept: bool,
}

/// Where things move to. The order of what there is does not change.
#[derive(Clone, Debug)]
pub(super) struct Relocation {
    /// Without gaps, from block 0 to the end of the volume.
    pieces: Vec<Piece>,
    /// Bytes of the ISO, the padding behind the volume included.
    old_size: u64,
    new_size: u64,
}

impl Relocation {
    pub(super) fn new(pieces: Vec<Piece>, old_size: u64, new_size: u64) -> Self {
        Self { pieces, old_size, new_size }
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    fn piece(&self, old: u64) -> Option<&Piece> {
        let index = self.pieces.partition_point(|piece| piece.old.end <= old);
        self.pieces.get(index)
    }

    /// Where the volume ends, in blocks.
    pub(super) fn new_end(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.new.end)
    }

    /// What a block has become: of a piece that was replaced, the start. The end of the volume counts as a block.
    pub(super) fn block(&self, old: u64) -> Option<u64> {
        match self.piece(old) {
            Some(piece) if piece.kept => Some(piece.new.start + (old - piece.old.start)),
            Some(piece) => Some(piece.new.start),
            None => (self.pieces.last()?.old.end == old).then(|| self.new_end()),
        }
    }

    /// Where blocks are now, if all of them were kept, and together.
    pub(super) fn kept(&self, old: Range<u64>) -> Option<u64> {
        let piece = self.piece(old.start).filter(|piece| piece.kept && old.end <= piece.old.end)?;
        Some(piece.new.start + (old.start - piece.old.start))
    }

    /// The piece with exactly these blocks, if it was made anew.
    pub(super) fn made(&self, old: &Range<u64>) -> Option<&Piece> {
        self.piece(old.start).filter(|piece| !piece.kept && piece.old == *old)
    }

    /// Where the piece with exactly these blocks is now, if it was made anew.
    pub(super) fn replaced(&self, old: &Range<u64>) -> Option<u64> {
        self.made(old).map(|piece| piece.new.start)
    }

    pub(super) fn old_sectors(&self) -> u64 {
        self.old_size / SECTOR
    }

    pub(super) fn new_sectors(&self) -> u64 {
        self.new_size / SECTOR
    }

    /// What the sector that a partition begins with has become.
    pub(super) fn sector(&self, old: u64) -> Option<u64> {
        let sectors = BLOCK / SECTOR;
        let Some(piece) = self.piece(old / sectors) else { return self.at_same_distance_from_end(old) };
        let sector = piece.new.start * sectors + (old - piece.old.start * sectors);
        Some(sector.min(piece.new.end * sectors))
    }

    /// What the sector behind the last one of a partition has become.
    pub(super) fn sector_after(&self, old: u64) -> Option<u64> {
        let sectors = BLOCK / SECTOR;
        let last = old.checked_sub(1)?;
        match self.piece(last / sectors) {
            _ if old == self.old_sectors() => Some(self.new_sectors()),
            Some(piece) if piece.kept => self.sector(last).map(|last| last + 1),
            Some(piece) => Some(piece.new.end * sectors),
            None => self.at_same_distance_from_end(old),
        }
    }

    /// Behind the volume, sectors keep their distance from the end of the ISO.
    pub(super) fn at_same_distance_from_end(&self, old: u64) -> Option<u64> {
        self.new_sectors().checked_sub(self.old_sectors().checked_sub(old)?)
    }
}

//! What a response consists of, piece by piece, before a single byte is read.
//!
//! Bytes that are too many to be held in memory come from one of two places: the ISO, and beside it the archive of
//! nmstatectl that was made from the ISO.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;

use bytes::Bytes;

use crate::{Extent, PlanError, ReadAt};

/// How much is read at once.
const PIECE: u64 = 1 << 20;

/// A sequence of bytes, most of which are still in the ISO. Collected from segments, it makes their bytes in that order.
///
/// A plan has no gaps and no overlaps: a segment begins where the one before it ends. No segment is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pieces: Vec<Piece>,
    len: u64,
}

/// A part of a [`Plan`].
#[derive(Clone, PartialEq, Eq)]
pub enum Segment {
    /// Bytes of the ISO.
    Base(Extent),
    /// Bytes of the nmstate archive that is kept beside the ISO.
    Nmstate(Extent),
    /// Bytes held in memory.
    Bytes(Bytes),
    /// So many zeros.
    Zeros(u64),
}

/// A segment and its place in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    offset: u64,
    segment: Segment,
    is_overlay: bool,
}

impl Plan {
    /// Part of the ISO as it is.
    pub fn base(extent: Extent) -> Self {
        Self::from_iter([Segment::Base(extent)])
    }

    /// The plan with `segments` in place of what it has at `offset`. No two overlays may share a byte.
    pub fn overlay(
        self,
        offset: u64,
        segments: impl IntoIterator<Item = Segment>,
    ) -> Result<Self, PlanError> {
        let segments: Vec<_> = segments.into_iter().collect();
        let len = segments.iter().map(Segment::len).fold(0, u64::saturating_add);
        let end = offset
            .checked_add(len)
            .filter(|end| *end <= self.len)
            .ok_or(PlanError::OverlayBeyondEnd { offset, len, end: self.len })?;
        if self.slice(offset..end).pieces.iter().any(|piece| piece.is_overlay) {
            return Err(PlanError::OverlappingOverlays { offset, len });
        }
        let mut plan = self.slice(0..offset);
        for segment in segments {
            plan.push(segment, true);
        }
        for piece in self.slice(end..self.len).pieces {
            plan.push(piece.segment, piece.is_overlay);
        }
        Ok(plan)
    }

    /// How many bytes it makes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it makes none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The segments, in order.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &Segment> {
        self.pieces.iter().map(|piece| &piece.segment)
    }

    /// The segments, in order, to be kept without the plan.
    pub fn into_segments(self) -> impl ExactSizeIterator<Item = Segment> {
        self.pieces.into_iter().map(|piece| piece.segment)
    }

    /// The plan for some of the bytes, of which those beyond the end are left out. Nothing is copied.
    #[must_use]
    pub fn slice(&self, range: Range<u64>) -> Self {
        let first = self.pieces.partition_point(|piece| piece.end() <= range.start);
        let mut plan = Self::empty();
        for piece in self.pieces.iter().skip(first).take_while(|piece| piece.offset < range.end) {
            let from = range.start.saturating_sub(piece.offset);
            let to = range.end.min(piece.end()) - piece.offset;
            plan.push(piece.segment.part(from..to), piece.is_overlay);
        }
        plan
    }

    /// Writes the bytes: those of `iso`, of the nmstate archive beside it, and those made here.
    pub fn write_to<R: ReadAt + ?Sized, N: ReadAt + ?Sized>(
        &self,
        iso: &R,
        nmstate: &N,
        out: &mut impl Write,
    ) -> io::Result<()> {
        for segment in self.segments() {
            match segment {
                Segment::Base(extent) => copy(iso, *extent, out)?,
                Segment::Nmstate(extent) => copy(nmstate, *extent, out)?,
                Segment::Bytes(bytes) => out.write_all(bytes)?,
                Segment::Zeros(len) => {
                    io::copy(&mut io::Read::take(io::repeat(0), *len), out)?;
                }
            }
        }
        Ok(())
    }

    fn empty() -> Self {
        Self { pieces: Vec::new(), len: 0 }
    }

    fn push(&mut self, segment: Segment, is_overlay: bool) {
        let len = segment.len();
        if len > 0 {
            self.pieces.push(Piece { offset: self.len, segment, is_overlay });
            self.len += len;
        }
    }
}

impl FromIterator<Segment> for Plan {
    fn from_iter<T: IntoIterator<Item = Segment>>(segments: T) -> Self {
        let mut plan = Self::empty();
        for segment in segments {
            plan.push(segment, false);
        }
        plan
    }
}

impl Piece {
    fn end(&self) -> u64 {
        self.offset + self.segment.len()
    }
}

impl Segment {
    /// How many bytes it makes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Base(extent) | Self::Nmstate(extent) => extent.len,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(len) => *len,
        }
    }

    /// Whether it makes none. A segment of a plan always makes some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the bytes; `range` must lie within the segment.
    fn part(&self, range: Range<u64>) -> Self {
        let len = range.end.saturating_sub(range.start);
        let part = |extent: &Extent| Extent { offset: extent.offset.saturating_add(range.start), len };
        match self {
            Self::Base(extent) => Self::Base(part(extent)),
            Self::Nmstate(extent) => Self::Nmstate(part(extent)),
            Self::Bytes(bytes) => {
                let index =
                    |index: u64| usize::try_from(index).map_or(bytes.len(), |index| index.min(bytes.len()));
                Self::Bytes(bytes.slice(index(range.start)..index(range.start + len)))
            }
            Self::Zeros(_) => Self::Zeros(len),
        }
    }
}

fn copy<R: ReadAt + ?Sized>(source: &R, extent: Extent, out: &mut impl Write) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut done = 0;
    while done < extent.len {
        let len = (extent.len - done).min(PIECE);
        buffer.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        source.read_exact_at(&mut buffer, extent.offset + done)?;
        out.write_all(&buffer)?;
        done += len;
    }
    Ok(())
}

/// What is embedded may be secret, so only its size is shown.
impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(extent) => write!(f, "Base({} bytes at {})", extent.len, extent.offset),
            Self::Nmstate(extent) => write!(f, "Nmstate({} bytes at {})", extent.len, extent.offset),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Zeros(len) => write!(f, "Zeros({len})"),
        }
    }
}

//! The bytes of a new image, one after another.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::super::BLOCK;
use super::super::malformed;
use crate::{Error, Plan, Segment};

/// Collects segments; bytes that follow one another become one.
#[derive(Default)]
pub(super) struct Writer {
    segments: Vec<Segment>,
    pending: Vec<u8>,
    pub(super) len: u64,
}

/// Fewer zeros than this are not worth a segment.
const ZEROS_MIN: u64 = 2 * BLOCK;

impl Writer {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
        self.len += bytes.len() as u64;
    }

    pub(super) fn segment(&mut self, segment: Segment) {
        self.flush();
        self.len += segment.len();
        self.segments.push(segment);
    }

    fn flush(&mut self) {
        let zeros = self.pending.iter().rev().take_while(|byte| **byte == 0).count();
        let zeros = if zeros as u64 >= ZEROS_MIN { zeros } else { 0 };
        self.pending.truncate(self.pending.len() - zeros);
        self.segments.push(Segment::Bytes(std::mem::take(&mut self.pending).into()));
        self.segments.push(Segment::Zeros(zeros as u64));
    }

    pub(super) fn fill_block(&mut self) {
        self.fill_to(self.len.next_multiple_of(BLOCK));
    }

    pub(super) fn fill_to(&mut self, end: u64) {
        let zeros = end.saturating_sub(self.len);
        if zeros >= ZEROS_MIN {
            self.segment(Segment::Zeros(zeros));
        } else if let Ok(zeros) = usize::try_from(zeros) {
            self.pending.resize(self.pending.len() + zeros, 0);
            self.len = self.len.max(end);
        }
    }

    pub(super) fn finish(mut self) -> Plan {
        self.flush();
        self.segments.into_iter().collect()
    }
}

/// The plan with bytes written over it, as if it had always been so. There may be as many as there are records.
pub(super) fn patched(plan: &Plan, patches: BTreeMap<u64, Bytes>) -> Result<Plan, Error> {
    let clash = || malformed("the head of the volume", "parts of it overlap");
    let mut segments = Vec::new();
    let mut end = 0;
    for (offset, bytes) in patches {
        let patch_end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= plan.len());
        let patch_end = patch_end.filter(|_| end <= offset).ok_or_else(clash)?;
        segments.extend(plan.slice(end..offset).into_segments());
        segments.push(Segment::Bytes(bytes));
        end = patch_end;
    }
    segments.extend(plan.slice(end..plan.len()).into_segments());
    Ok(segments.into_iter().collect())
}

//! What a piece of work is to bring at the time, and its entries in the catalog.
//!
//! Whoever follows the list and whoever is at the work share it. When the list only wants a part any more, the entries of
//! the rest leave the roster, and what brings their images ends; nothing else of the work is touched.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coreos_names::{Arch, OpenshiftVersion};
use image_store::EntryId;
use tokio::task::AbortHandle;

use crate::desired::Wanted;

/// A piece of work, as far as both have to know it.
#[derive(Debug)]
pub(crate) struct Roster<W>(Arc<Mutex<State<W>>>);

#[derive(Debug)]
struct State<W> {
    wanted: W,
    entries: Vec<Listed>,
}

/// An entry of the catalog that a piece of work has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) openshift_version: OpenshiftVersion,
    /// `None` while only the payload knows; the entry then stands for all of the work.
    pub(crate) arch: Option<Arch>,
    pub(crate) id: EntryId,
}

#[derive(Debug)]
struct Listed {
    entry: Entry,
    /// Ends what brings its image and no other.
    abort: Option<AbortHandle>,
}

impl<W> Clone for Roster<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Wanted> Roster<W> {
    pub(crate) fn new(wanted: W) -> Self {
        Self(Arc::new(Mutex::new(State { wanted, entries: Vec::new() })))
    }

    pub(crate) fn wanted(&self) -> W {
        self.lock().wanted.clone()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.iter().map(|listed| listed.entry.clone()).collect()
    }

    /// Replaces the entries by what `others` makes of what is wanted and of them, before anything brings their images.
    /// What is wanted does not change meanwhile.
    pub(crate) fn replace(&self, others: impl FnOnce(&W, Vec<Entry>) -> Vec<Entry>) {
        let mut state = self.lock();
        let entries = state.entries.drain(..).map(|listed| listed.entry).collect();
        let entries = others(&state.wanted, entries);
        state.entries = entries.into_iter().map(|entry| Listed { entry, abort: None }).collect();
    }

    /// Says what brings the image of an entry and of no other. If the entry has left, that ends at once.
    pub(crate) fn set_task(&self, id: EntryId, task: AbortHandle) {
        match self.lock().entries.iter_mut().find(|listed| listed.entry.id == id) {
            Some(listed) => listed.abort = Some(task),
            None => task.abort(),
        }
    }

    /// Goes on with a part of what was wanted. Returns the entries that have left the roster. For a moment they may still
    /// change.
    pub(crate) fn narrow(&self, wanted: W) -> Vec<EntryId> {
        let mut state = self.lock();
        let is_left = |listed: &mut Listed| !wanted.wants(&listed.entry.openshift_version, listed.entry.arch);
        let left: Vec<Listed> = state.entries.extract_if(.., is_left).collect();
        state.wanted = wanted;
        for abort in left.iter().filter_map(|listed| listed.abort.as_ref()) {
            abort.abort();
        }
        left.into_iter().map(|listed| listed.entry.id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

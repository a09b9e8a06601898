//! Pieces of the work that a list makes, and what becomes of them when another list comes.

use image_store::EntryId;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use crate::desired::Wanted;
use crate::roster::Roster;

/// The way of an image or a release from its announcement until all is there.
pub(crate) trait Journey: Send + 'static {
    /// What it is to bring.
    type Wanted: Wanted;

    /// Makes ready what an earlier process brought in. Asks nobody and reads no image whole.
    fn serve_known(&mut self) -> impl Future<Output = ()> + Send;

    /// Does all that can be done. Returns when nothing is left to do.
    fn provision(self) -> impl Future<Output = ()> + Send;
}

/// A piece of work, and how far it is.
pub(crate) struct Piece<J: Journey> {
    pub(crate) roster: Roster<J::Wanted>,
    stage: Stage<J>,
}

enum Stage<J> {
    Announced(J),
    Begun {
        abort: AbortHandle,
        /// Closed when the journey has ended, in whichever way.
        ended: oneshot::Receiver<()>,
    },
}

impl<J: Journey> Piece<J> {
    pub(crate) async fn serve_known(&mut self) {
        if let Stage::Announced(journey) = &mut self.stage {
            journey.serve_known().await;
        }
    }

    pub(crate) fn begin(mut self, tasks: &mut JoinSet<()>) -> Self {
        if let Stage::Announced(journey) = self.stage {
            let (ends, ended) = oneshot::channel::<()>();
            let abort = tasks.spawn(async move {
                let _ends = ends;
                journey.provision().await;
            });
            self.stage = Stage::Begun { abort, ended };
        }
        self
    }

    /// Ends it. What it has begun itself is told to end, too, and may come to its next pause first, or to the end of a
    /// file: for a moment its entries may still change.
    async fn stop(self) -> Roster<J::Wanted> {
        if let Stage::Begun { abort, ended } = self.stage {
            abort.abort();
            // That nothing was sent is what is waited for.
            let _ = ended.await;
        }
        self.roster
    }
}

/// What somebody was at and nobody wants any more.
pub(crate) struct Superseded<J: Journey> {
    pieces: Vec<Piece<J>>,
    /// Of pieces that go on.
    entries: Vec<EntryId>,
}

impl<J: Journey> Superseded<J> {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.entries.is_empty()
    }

    /// Ends it all. Returns the entries, which are to be taken out of the catalog.
    pub(crate) async fn stop(self) -> Vec<EntryId> {
        let mut entries = self.entries;
        for piece in self.pieces {
            entries.extend(piece.stop().await.entries().into_iter().map(|entry| entry.id));
        }
        entries
    }
}

/// Goes on with what of the pieces is wanted, and announces what they do not bring.
pub(crate) fn replace<J: Journey>(
    pieces: &mut Vec<Piece<J>>,
    wanted: Vec<(usize, J::Wanted)>,
    announce: impl Fn(usize, J::Wanted, Roster<J::Wanted>) -> J,
) -> Superseded<J> {
    let mut superseded = Superseded { pieces: std::mem::take(pieces), entries: Vec::new() };
    for (order, wanted) in wanted {
        let mut missing = Some(wanted);
        let mut others = Vec::new();
        for piece in superseded.pieces {
            let common = missing.as_ref().and_then(|missing| missing.common(&piece.roster.wanted()));
            let Some(common) = common else {
                others.push(piece);
                continue;
            };
            missing = missing.and_then(|missing| missing.without(&common));
            superseded.entries.extend(piece.roster.narrow(common));
            pieces.push(piece);
        }
        superseded.pieces = others;
        if let Some(wanted) = missing {
            let roster = Roster::new(wanted.clone());
            let stage = Stage::Announced(announce(order, wanted, roster.clone()));
            pieces.push(Piece { roster, stage });
        }
    }
    superseded
}

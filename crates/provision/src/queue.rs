//! Who may go next where only so many may go at a time.
//!
//! First comes what somebody asks for, then what has failed least often, then what stands first in the configuration.
//! Nobody is interrupted: the order counts when a slot becomes free. A slot is never held while somebody waits to try
//! again, so that servers that do not answer hold up nobody else.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use image_store::{Catalog, EntryId};
use tokio::sync::oneshot;

use crate::origin::Permission;

/// A number of slots, and those who wait for one.
#[derive(Debug)]
pub(crate) struct Queue {
    catalog: Arc<Catalog>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// In the order they came.
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    place: Arc<Place>,
    wake: oneshot::Sender<Slot>,
}

/// What decides when an image comes to its turn.
#[derive(Debug)]
pub(crate) struct Place {
    /// The entries that want the image.
    entries: Arc<[EntryId]>,
    /// Where it stands in the configuration.
    order: usize,
    failures: AtomicU32,
}

impl Place {
    pub(crate) fn new(entries: Arc<[EntryId]>, order: usize) -> Arc<Self> {
        Arc::new(Self { entries, order, failures: AtomicU32::new(0) })
    }

    /// Puts the image behind those that have not failed so often.
    pub(crate) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl Queue {
    pub(crate) fn new(catalog: Arc<Catalog>, slots: usize) -> Arc<Self> {
        Arc::new(Self { catalog, state: Mutex::new(State { free: slots, waiting: Vec::new() }) })
    }

    /// Waits for a turn.
    pub(crate) async fn turn(self: &Arc<Self>, place: &Arc<Place>) -> Turn {
        let mut turn =
            Turn { queue: Arc::clone(self), place: Arc::clone(place), running: None, lasted: Duration::ZERO };
        turn.regain().await;
        turn
    }

    async fn slot(self: &Arc<Self>, place: &Arc<Place>) -> Slot {
        let woken = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Slot(Some(Arc::clone(self)));
            }
            let (wake, woken) = oneshot::channel();
            state.waiting.retain(|waiting| !waiting.wake.is_closed());
            state.waiting.push(Waiting { place: Arc::clone(place), wake });
            woken
        };
        woken.await.expect("who waits leaves the queue, which lives here, only with a slot")
    }

    /// Gives a slot that has become free to the next.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.lock();
                let Some(next) = self.next(&state.waiting) else {
                    state.free += 1;
                    return;
                };
                state.waiting.remove(next)
            };
            match next.wake.send(Slot(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // It has gone without waiting for its turn.
                Err(mut slot) => slot.0 = None,
            }
        }
    }

    fn next(&self, waiting: &[Waiting]) -> Option<usize> {
        let rank = |place: &Place| {
            let is_requested = place.entries.iter().any(|&entry| self.catalog.is_requested(entry));
            (Reverse(is_requested), place.failures.load(Ordering::Relaxed), place.order)
        };
        let ranked = waiting.iter().enumerate().map(|(index, waiting)| (rank(&waiting.place), index));
        ranked.min().map(|(_, index)| index)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to go. Dropped, it passes to the next.
#[derive(Debug)]
struct Slot(Option<Arc<Queue>>);

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.pass_on();
        }
    }
}

/// An image's turn, which may be interrupted to let others go first.
#[derive(Debug)]
pub(crate) struct Turn {
    queue: Arc<Queue>,
    place: Arc<Place>,
    running: Option<(Slot, Instant)>,
    lasted: Duration,
}

impl Turn {
    /// How long it has lasted, interruptions not counted.
    pub(crate) fn lasted(&self) -> Duration {
        self.lasted + self.running.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }
}

impl Permission for Turn {
    fn give_back(&mut self) {
        self.lasted = self.lasted();
        self.place.count_failure();
        self.running = None;
    }

    async fn regain(&mut self) {
        if self.running.is_none() {
            let slot = self.queue.slot(&self.place).await;
            self.running = Some((slot, Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use coreos_names::{Arch, ImageKind};
    use image_store::{Catalog, DesiredImage, Lookup};

    use super::{Place, Queue, Turn};
    use crate::origin::Permission as _;

    /// The turn, if it has come.
    fn poll(turn: Pin<&mut impl Future<Output = Turn>>) -> Option<Turn> {
        match turn.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    /// One slot, and an image for each version in the order of the configuration.
    fn site<const N: usize>(versions: [&str; N]) -> (Arc<Catalog>, Arc<Queue>, [Arc<Place>; N]) {
        let catalog = Arc::new(Catalog::default());
        let mut order = 0..;
        let places = versions.map(|version| {
            let entry = catalog.add(DesiredImage {
                openshift_version: version.parse().unwrap(),
                release_version: None,
                arch: Some(Arch::X86_64),
                kind: ImageKind::Full,
            });
            Place::new([entry].into(), order.next().unwrap())
        });
        let queue = Queue::new(Arc::clone(&catalog), 1);
        (catalog, queue, places)
    }

    #[test]
    fn what_is_asked_for_goes_first_and_then_the_order_of_the_configuration_counts() {
        let (catalog, queue, [a, b, c, d]) = site(["4.15", "4.16", "4.17", "4.18"]);
        let mut running = pin!(queue.turn(&a));
        let mut running = poll(running.as_mut());
        assert!(running.is_some());
        let (mut d, mut c, mut b) = (pin!(queue.turn(&d)), pin!(queue.turn(&c)), pin!(queue.turn(&b)));
        assert!(poll(d.as_mut()).is_none() && poll(c.as_mut()).is_none() && poll(b.as_mut()).is_none());
        assert!(matches!(catalog.find("4.17", Arch::X86_64, ImageKind::Full), Lookup::NotReady(_)));

        drop(running.take());
        let mut running = poll(c.as_mut());
        assert!(running.is_some() && poll(d.as_mut()).is_none() && poll(b.as_mut()).is_none());
        drop(running.take());
        let running = poll(b.as_mut());
        assert!(running.is_some() && poll(d.as_mut()).is_none());
        drop(running);
        assert!(poll(d.as_mut()).is_some());
    }

    #[test]
    fn who_has_failed_waits_behind_who_has_not() {
        let (_, queue, [a, b]) = site(["4.17", "4.18"]);
        let mut turn = pin!(queue.turn(&a));
        let mut turn = poll(turn.as_mut()).unwrap();
        let mut other = pin!(queue.turn(&b));
        assert!(poll(other.as_mut()).is_none());
        turn.give_back();
        let other = poll(other.as_mut()).unwrap();
        let third = Place::new([].into(), 9);
        let mut third = pin!(queue.turn(&third));
        assert!(poll(third.as_mut()).is_none());
        let mut again = pin!(async {
            turn.regain().await;
            turn
        });
        assert!(poll(again.as_mut()).is_none());
        drop(other);
        let third = poll(third.as_mut());
        assert!(third.is_some() && poll(again.as_mut()).is_none());
        drop(third);
        assert!(poll(again.as_mut()).is_some());
    }

    #[test]
    fn who_goes_without_waiting_for_the_turn_takes_none_from_others() {
        let (_, queue, [a, b, c]) = site(["4.16", "4.17", "4.18"]);
        let mut running = pin!(queue.turn(&a));
        let running = poll(running.as_mut()).unwrap();
        let mut gone_early = Box::pin(queue.turn(&b));
        assert!(poll(gone_early.as_mut()).is_none());
        drop(gone_early);
        // This one has gone after the slot was given to it and before it looked.
        let mut gone_late = Box::pin(queue.turn(&b));
        let mut last = pin!(queue.turn(&c));
        assert!(poll(gone_late.as_mut()).is_none() && poll(last.as_mut()).is_none());
        drop(running);
        assert!(poll(last.as_mut()).is_none());
        drop(gone_late);
        assert!(poll(last.as_mut()).is_some());
        let mut free = pin!(queue.turn(&a));
        assert!(poll(free.as_mut()).is_some());
    }
}

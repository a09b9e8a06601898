//! The list of what is desired is followed: what is new is begun, what is gone is stopped, and the rest goes on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use coreos_names::{Arch, OpenshiftVersion};
use image_store::EntryId;
use release_payload::release_images::ReleaseImage;
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::desired::{Desired, Remaining, WantedRelease, Work};
use crate::os_image::{DesiredOsImage, WantedOsImage};
use crate::os_images::{OsImage, Source};
use crate::provisioner::Provisioner;
use crate::release::{Release, say_that_it_is_covered};

/// Images that are brought in as a list desires them that may change at any time.
pub struct Provisioning {
    provisioner: Arc<Provisioner>,
    desired: watch::Receiver<Desired>,
    os_images: Vec<Piece<WantedOsImage, DesiredOsImage>>,
    releases: Vec<Piece<WantedRelease, Release>>,
    /// The architectures of releases of which it was said that OS_IMAGES brings them.
    said: BTreeSet<(String, Arch)>,
    names: watch::Sender<Names>,
    tasks: JoinSet<()>,
}

/// What the list names beside images.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Its release images, as the admin wrote them.
    pub releases: BTreeSet<String>,
    /// What unfinished downloads of its images are called in the store, which is to keep them.
    pub downloads: BTreeSet<String>,
    /// Whether these are all: [`Desired::is_complete`].
    pub is_complete: bool,
}

/// The way of an image or a release from its announcement until all is there.
pub(crate) trait Journey: Send + 'static {
    /// Makes ready what an earlier process brought in. Asks nobody and reads no image whole.
    fn serve_known(&mut self) -> impl Future<Output = ()> + Send;

    /// Does all that can be done. Returns when nothing is left to do.
    fn provision(self) -> impl Future<Output = ()> + Send;
}

/// The entries of one journey, as they are at the time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster(Arc<Mutex<Vec<(OpenshiftVersion, Arch, EntryId)>>>);

impl Roster {
    pub(crate) fn set(&self, entries: impl IntoIterator<Item = (OpenshiftVersion, Arch, EntryId)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = entries.into_iter().collect();
    }

    fn get(&self) -> Vec<(OpenshiftVersion, Arch, EntryId)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A piece of work, and how far it is.
struct Piece<W, J> {
    wanted: W,
    roster: Roster,
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

impl<W, J: Journey> Piece<W, J> {
    async fn serve_known(&mut self) {
        if let Stage::Announced(journey) = &mut self.stage {
            journey.serve_known().await;
        }
    }

    fn begin(mut self, tasks: &mut JoinSet<()>) -> Self {
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
    async fn stop(self) -> Roster {
        if let Stage::Begun { abort, ended } = self.stage {
            abort.abort();
            // That nothing was sent is what is waited for.
            let _ = ended.await;
        }
        self.roster
    }
}

impl Provisioner {
    /// Puts every image of the list into the catalog. From here on a request for one is answered "not ready", not
    /// "unknown".
    ///
    /// OS images own their names: what one of them covers is not fetched from a release.
    pub fn follow(self: &Arc<Self>, mut desired: watch::Receiver<Desired>) -> Provisioning {
        let first = desired.borrow_and_update().clone();
        let mut provisioning = Provisioning {
            provisioner: Arc::clone(self),
            desired,
            os_images: Vec::new(),
            releases: Vec::new(),
            said: BTreeSet::new(),
            names: watch::Sender::default(),
            tasks: JoinSet::new(),
        };
        let (os_images, releases) = provisioning.announce(&first);
        debug_assert!(os_images.is_empty() && releases.is_empty(), "nothing was desired before");
        provisioning.note(&first);
        provisioning
    }
}

type Superseded = (Vec<Piece<WantedOsImage, DesiredOsImage>>, Vec<Piece<WantedRelease, Release>>);

impl Provisioning {
    /// What the list names at the time.
    pub fn names(&self) -> watch::Receiver<Names> {
        self.names.subscribe()
    }

    /// Makes ready what an earlier process brought in. Asks nobody, so it is done before the first request is answered.
    pub async fn serve_known(&mut self) {
        for image in &mut self.os_images {
            image.serve_known().await;
        }
        for release in &mut self.releases {
            release.serve_known().await;
        }
    }

    /// Brings every other image in, and follows the list. Ends when each is ready or can never be and there will be no
    /// other list; dropped, it stops everything.
    pub async fn run(mut self) {
        self.begin();
        let mut is_last = false;
        loop {
            tokio::select! {
                changed = self.desired.changed(), if !is_last => match changed {
                    Ok(()) => self.change().await,
                    Err(_) => is_last = true,
                },
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended
                        && error.is_panic()
                    {
                        tracing::error!(%error, "provisioning of one image or release has ended for good");
                    }
                }
                else => return,
            }
        }
    }

    /// Goes over to the list that is there now.
    async fn change(&mut self) {
        let desired = self.desired.borrow_and_update().clone();
        self.provisioner.set_registry(&desired.registry);
        let (os_images, releases) = self.announce(&desired);
        let mut rosters = Vec::new();
        for piece in os_images {
            rosters.push(piece.stop().await);
        }
        for piece in releases {
            rosters.push(piece.stop().await);
        }
        // Only now are the successors in the catalog, so that no name is without an image.
        for (_, _, entry) in rosters.iter().flat_map(Roster::get) {
            self.provisioner.catalog.remove(entry);
        }
        self.serve_known().await;
        self.note(&desired);
        self.begin();
    }

    /// Adds what the list has and nobody is at, and returns what somebody is at and the list has not.
    fn announce(&mut self, desired: &Desired) -> Superseded {
        self.provisioner.set_registry(&desired.registry);
        let Desired { os_images, releases, .. } = desired;
        let work = Work::of(os_images, releases);
        self.said.retain(|(name, _)| releases.iter().any(|release| covered_name(release) == *name));
        for (release, arch) in work.covered {
            if self.said.insert((covered_name(&release), arch)) {
                say_that_it_is_covered(&release, arch);
            }
        }
        let provisioner = &self.provisioner;
        let superseded_images = replace(&mut self.os_images, work.os_images, WantedOsImage::without, {
            |order, wanted, roster| {
                wanted.warn_of_contradictions(os_images);
                DesiredOsImage::announce(provisioner, wanted, order, roster)
            }
        });
        let superseded_releases = replace(&mut self.releases, work.releases, WantedRelease::without, {
            |order, wanted, roster| Release::announce(Arc::clone(provisioner), wanted, order, roster.clone())
        });
        for (order, image) in (0..).zip(os_images) {
            if let Some(entry) = self.entry(image) {
                self.provisioner.catalog.set_order(entry, order);
            }
        }
        (superseded_images, superseded_releases)
    }

    /// The entry in the catalog of one in OS_IMAGES, if that is the first of its kind.
    fn entry(&self, image: &OsImage) -> Option<EntryId> {
        let name = |(version, arch, id): (OpenshiftVersion, Arch, EntryId)| {
            (version == image.openshift_version && arch == image.arch).then_some(id)
        };
        let rosters: Vec<&Roster> = match &image.source {
            Source::Web(_) => {
                let of_key = self.os_images.iter().filter(|piece| piece.wanted.is_for(&image.key()));
                of_key.map(|piece| &piece.roster).collect()
            }
            Source::Release(pullspec) => {
                let of_os_images = self.releases.iter().filter(|piece| piece.wanted.stated.is_some());
                let of_release = of_os_images.filter(|piece| piece.wanted.image.pullspec == *pullspec);
                of_release.map(|piece| &piece.roster).collect()
            }
        };
        rosters.into_iter().flat_map(Roster::get).find_map(name)
    }

    fn begin(&mut self) {
        let tasks = &mut self.tasks;
        self.os_images = self.os_images.drain(..).map(|piece| piece.begin(tasks)).collect();
        self.releases = self.releases.drain(..).map(|piece| piece.begin(tasks)).collect();
    }

    /// Tells others that there is another list.
    fn note(&self, desired: &Desired) {
        let Desired { os_images, releases, is_complete, .. } = desired;
        if *is_complete && os_images.is_empty() && releases.is_empty() {
            self.provisioner.catalog.settle();
        }
        // Its images are in the catalog by now.
        self.provisioner.catalog.set_list_awaited(!is_complete);
        let of_os_images = self.releases.iter().map(|piece| piece.wanted.image.identity());
        let releases = releases.iter().map(ReleaseImage::identity).chain(of_os_images);
        self.names.send_replace(Names {
            releases: releases.collect(),
            downloads: self.os_images.iter().map(|piece| piece.wanted.download_name()).collect(),
            is_complete: *is_complete,
        });
    }
}

/// Keeps the pieces that are part of what is wanted and announces the rest of that. Returns the other pieces.
fn replace<W: Clone, J>(
    pieces: &mut Vec<Piece<W, J>>,
    wanted: Vec<(usize, W)>,
    without: impl Fn(&W, &W) -> Remaining<W>,
    announce: impl Fn(usize, W, &Roster) -> J,
) -> Vec<Piece<W, J>> {
    let mut superseded = std::mem::take(pieces);
    for (order, wanted) in wanted {
        let mut rest = Some(wanted);
        let mut others = Vec::new();
        for piece in superseded {
            match rest.as_ref().map_or(Remaining::All, |rest| without(rest, &piece.wanted)) {
                Remaining::All => others.push(piece),
                Remaining::Part(remaining) => {
                    rest = Some(remaining);
                    pieces.push(piece);
                }
                Remaining::Nothing => {
                    rest = None;
                    pieces.push(piece);
                }
            }
        }
        superseded = others;
        if let Some(wanted) = rest {
            let roster = Roster::default();
            let stage = Stage::Announced(announce(order, wanted.clone(), &roster));
            pieces.push(Piece { wanted, roster, stage });
        }
    }
    superseded
}

fn covered_name(release: &ReleaseImage) -> String {
    format!("{} {}", release.openshift_version, release.pullspec)
}

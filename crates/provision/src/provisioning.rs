//! The list of what is desired is followed: what is new is begun, what is gone is stopped, and the rest goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use coreos_names::Arch;
use image_store::EntryId;
use release_payload::release_images::ReleaseImage;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::desired::{Desired, Work};
use crate::os_image::DesiredOsImage;
use crate::os_images::{OsImage, Source};
use crate::piece::{Piece, Superseded, replace};
use crate::provisioner::Provisioner;
use crate::release::Release;
use crate::roster::{Entry, Roster};

/// Images that are brought in as a list desires them that may change at any time.
pub struct Provisioning {
    provisioner: Arc<Provisioner>,
    desired: watch::Receiver<Desired>,
    os_images: Vec<Piece<DesiredOsImage>>,
    releases: Vec<Piece<Release>>,
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
        let entries = [os_images.stop().await, releases.stop().await].concat();
        // Only now are the successors in the catalog, so that no name is without an image.
        for entry in entries {
            self.provisioner.catalog.remove(entry);
        }
        self.serve_known().await;
        self.note(&desired);
        self.begin();
    }

    /// Adds what the list has and nobody is at, and returns what somebody is at and the list has not.
    fn announce(&mut self, desired: &Desired) -> (Superseded<DesiredOsImage>, Superseded<Release>) {
        self.provisioner.set_registry(&desired.registry);
        let Desired { os_images, releases, .. } = desired;
        let work = Work::of(os_images, releases);
        self.said.retain(|(name, _)| releases.iter().any(|release| covered_name(release) == *name));
        for (release, arch) in work.covered {
            if self.said.insert((covered_name(&release), arch)) {
                tracing::info!(
                    release.pullspec = %release.pullspec, openshift.version = %release.openshift_version, %arch,
                    "OS_IMAGES has an image for this version and architecture; the release's is not fetched"
                );
            }
        }
        let provisioner = &self.provisioner;
        let superseded_images = replace(&mut self.os_images, work.os_images, |order, wanted, roster| {
            wanted.warn_of_contradictions(os_images);
            DesiredOsImage::announce(provisioner, wanted, order, &roster)
        });
        let superseded_releases = replace(&mut self.releases, work.releases, |order, wanted, roster| {
            Release::announce(Arc::clone(provisioner), wanted, order, roster)
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
        let entries: Vec<Entry> = match &image.source {
            Source::Web(_) => {
                let rosters = self.os_images.iter().map(|piece| &piece.roster);
                let of_key = rosters.filter(|roster| roster.wanted().is_for(&image.key()));
                of_key.flat_map(Roster::entries).collect()
            }
            Source::Release(pullspec) => {
                let rosters = self.releases.iter().map(|piece| &piece.roster);
                let of_release = rosters.filter(|roster| {
                    let wanted = roster.wanted();
                    wanted.stated.is_some() && wanted.image.pullspec == *pullspec
                });
                of_release.flat_map(Roster::entries).collect()
            }
        };
        let is_it = |entry: &&Entry| {
            entry.openshift_version == image.openshift_version && entry.arch == Some(image.arch)
        };
        entries.iter().find(is_it).map(|entry| entry.id)
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
        let of_os_images = self.releases.iter().map(|piece| piece.roster.wanted().image.identity());
        let releases = releases.iter().map(ReleaseImage::identity).chain(of_os_images);
        self.names.send_replace(Names {
            releases: releases.collect(),
            downloads: self.os_images.iter().map(|piece| piece.roster.wanted().download_name()).collect(),
            is_complete: *is_complete,
        });
    }
}

fn covered_name(release: &ReleaseImage) -> String {
    format!("{} {}", release.openshift_version, release.pullspec)
}

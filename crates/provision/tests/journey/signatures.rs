//! Releases that somebody has to vouch for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use coreos_names::Arch;
use image_store::{ImageStore, Limits};
use provision::Collector;
use release_payload::SignaturePolicy;
use release_signature::{Config, Keyring, Store};
use tempfile::TempDir;
use test_support::fixtures::OS_BUILD;
use test_support::gpg::{Gpg, statement};
use test_support::payload::{Release, ReleaseBuilder};
use test_support::registry::Fault;

use crate::site::{Run, Site, content};

/// Who signs releases, and where they put their signatures.
struct Publisher {
    gpg: Gpg,
    key: String,
    store: TempDir,
}

impl Publisher {
    fn new() -> Self {
        let gpg = Gpg::new();
        let key = gpg.key("Publisher", "ed25519");
        Self { gpg, key, store: TempDir::new().unwrap() }
    }

    /// The policy that these keys and this store make.
    fn policy(&self) -> SignaturePolicy {
        let keyring = Keyring::read("publisher.gpg", &self.gpg.export(&[&self.key])).unwrap();
        let stores = vec![Store::Path(self.store.path().to_owned())];
        let config =
            Config { keyrings: vec![keyring], stores, trusted_ca_pem: None, user_agent: "test".to_owned() };
        SignaturePolicy::new(config).unwrap()
    }

    /// Signs a digest, `sha256:…`.
    fn sign(&self, digest: &str) {
        let signature = self.gpg.sign(&[&self.key], &statement(digest));
        let place = self.store.path().join(digest.replace(':', "-"));
        // Nobody may see half of it.
        let unfinished = self.store.path().join(".unfinished");
        fs::write(&unfinished, signature).unwrap();
        fs::rename(unfinished, place).unwrap();
    }
}

fn release(version: &str, arch: Arch) -> Release {
    builder(version).iso(arch, content(arch)).build().unwrap()
}

fn builder(version: &str) -> ReleaseBuilder {
    ReleaseBuilder::new(version, OS_BUILD)
        .component_repository("127.0.0.1:1/openshift-release-dev/ocp-v4.0-art-dev")
}

async fn refused(run: &Run, version: &str) -> String {
    run.until("the release is refused", |run| run.reason(version).is_some()).await;
    run.reason(version).unwrap()
}

#[tokio::test]
async fn only_a_release_that_is_signed_is_brought_in() {
    let (mut site, publisher) = (Site::new().await, Publisher::new());
    site.signatures = Some(publisher.policy());
    let (bad, good) = (release("4.17.1", Arch::X86_64), release("4.18.52", Arch::S390x));
    publisher.sign(&good.image.digest());
    let (bad_pullspec, good_pullspec) = (site.publish_built(&bad), site.publish_built(&good));
    let run = site.provision(&[
        ("4.17", "4.17.1", "x86_64", &bad_pullspec),
        ("4.18", "4.18.52", "s390x", &good_pullspec),
    ]);
    let digest = bad.image.digest();
    run.assert_only_the_good_one_is_there(
        &site,
        &[
            &format!("{bad_pullspec} is refused: the release {digest} has no valid signature of a key in publisher.gpg"),
            &format!("{} has no signature of it", publisher.store.path().display()),
        ],
    )
    .await;
    // Nothing that the release holds was looked at.
    let layer = bad.image.images()[0].layers.last().unwrap().content.digest();
    assert!(!site.registry.requests().iter().any(|request| request.path.ends_with(&layer)));

    // Its signature comes later.
    publisher.sign(&digest);
    run.finished().await;
    assert!(run.is_ready("4.17", Arch::X86_64));
}

#[tokio::test]
async fn of_a_multi_payload_the_list_is_signed_or_the_image_that_is_read() {
    let arches = [Arch::X86_64, Arch::S390x];
    let built = arches.iter().fold(builder("4.18.52"), |release, &arch| release.iso(arch, content(arch)));
    let built = built.multi().build().unwrap();
    let list = built.image.digest();
    let manifests = built.image.manifests();
    let children = manifests.iter().map(|(_, content)| content.digest());
    let children: Vec<_> = children.filter(|digest| *digest != list).collect();
    for (signed, accepted) in [(&list, true), (&children[0], true), (&children[1], false)] {
        let (publisher, mut site) = (Publisher::new(), Site::new().await);
        site.signatures = Some(publisher.policy());
        publisher.sign(signed);
        let pullspec = site.publish_built(&built);
        let run = site.provision(&[("4.18", "4.18.52-multi", "multi", &pullspec)]);
        if accepted {
            run.finished().await;
            assert!(arches.iter().all(|&arch| run.is_ready("4.18", arch)), "{signed}");
        } else {
            let reason = refused(&run, "4.18").await;
            assert!(
                reason.contains(&format!("the release {list} or {} has no valid", children[0])),
                "{reason}"
            );
        }
    }
}

#[tokio::test]
async fn a_signature_of_an_image_that_is_not_read_counts_for_nothing() {
    let (mut site, publisher) = (Site::new().await, Publisher::new());
    site.signatures = Some(publisher.policy());
    let arches = [Arch::X86_64, Arch::S390x];
    let built = arches.iter().fold(builder("4.18.52"), |release, &arch| release.iso(arch, content(arch)));
    let built = built.multi().build().unwrap();
    let [first, second] = [0, 1].map(|child: usize| built.image.images()[child].manifest.digest());
    publisher.sign(&first);
    let pullspec = site.publish_built(&built);
    site.registry.inject(&first, Fault::status(404));
    let run = site.provision(&[("4.18", "4.18.52-multi", "multi", &pullspec)]);
    let reason = refused(&run, "4.18").await;
    let expected = format!("the release {} or {second} has no valid signature", built.image.digest());
    assert!(reason.contains(&expected), "{expected:?} is not in {reason}");
}

#[tokio::test]
async fn an_old_release_does_not_pass_for_another_though_it_is_signed() {
    let (mut site, publisher) = (Site::new().await, Publisher::new());
    let old = release("4.18.1", Arch::X86_64);
    publisher.sign(&old.image.digest());
    let pullspec = site.publish_built(&old);
    let wanted = [("4.18", "4.18.52", "x86_64", &*pullspec)];
    site.signatures = Some(publisher.policy());
    let run = site.provision(&wanted);
    let reason = refused(&run, "4.18").await;
    assert!(
        reason.starts_with(&format!("{pullspec} is release 4.18.1, and its entry says 4.18.52")),
        "{reason}"
    );
    assert!(site.published().is_empty());
    run.stop().await;

    // Who asks for no signatures is only warned.
    site.signatures = None;
    let run = site.provision(&wanted);
    run.finished().await;
    assert!(run.is_ready("4.18", Arch::X86_64));
}

/// The builds that are served though no entry does.
async fn retired(site: &Site, run: &Run, keyrings: BTreeSet<coreos_names::Sha256>) -> bool {
    let store = ImageStore::open(site.data_dir(), Limits::default()).unwrap();
    let day = Duration::from_hours(24);
    let collector = Collector::new(store, std::sync::Arc::clone(&run.catalog), run.names.clone(), day)
        .requiring(keyrings);
    collector.serve_known().await;
    run.is_ready(OS_BUILD, Arch::X86_64)
}

#[tokio::test]
async fn what_was_brought_in_unsigned_waits_for_a_signature_and_is_not_fetched_again() {
    let (mut site, publisher) = (Site::new().await, Publisher::new());
    let built = release("4.18.52", Arch::X86_64);
    let pullspec = site.publish_built(&built);
    let wanted = [("4.18", "4.18.52", "x86_64", &*pullspec)];
    site.provision(&wanted).finished().await;
    let file = site.published();

    // Keys are set, the release is not signed.
    site.signatures = Some(publisher.policy());
    let keyrings = publisher.policy().keyrings();
    let run = site.provision(&wanted);
    refused(&run, "4.18").await;
    assert_eq!(run.known.get(), Some(&0));
    assert!(!run.is_ready("4.18", Arch::X86_64));
    assert!(!retired(&site, &run, keyrings.clone()).await, "nor is it served by its build");
    assert!(retired(&site, &run, BTreeSet::new()).await, "as it would be if no signature were asked for");
    run.catalog.set_retired(Vec::new());

    // It is signed.
    publisher.sign(&built.image.digest());
    run.finished().await;
    assert!(run.is_ready("4.18", Arch::X86_64));
    assert_eq!((site.iso_downloads(), site.published()), (1, file));
    drop(run);

    // From now on it needs nobody.
    site.stop_registry().await;
    fs::remove_dir_all(publisher.store.path()).unwrap();
    fs::create_dir(Path::new(publisher.store.path())).unwrap();
    let run = site.provision(&wanted);
    run.until("what is known is served", |run| run.known.get().is_some()).await;
    assert_eq!(run.known.get(), Some(&1));
    assert!(retired(&site, &run, keyrings).await || run.is_ready(OS_BUILD, Arch::X86_64));

    // Unless the keys are others.
    site.signatures = Some(Publisher::new().policy());
    let run = site.provision(&wanted);
    run.until("nothing is known", |run| run.known.get().is_some()).await;
    assert_eq!(run.known.get(), Some(&0));
}

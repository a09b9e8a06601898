//! The list of what is desired changes while images are served and brought in.

use coreos_names::{Arch, ImageKind};
use image_store::{ImageState, Lookup};
use provision::RetryPolicy;
use serde_json::{Value, json};
use test_support::fixtures::OS_BUILD;
use test_support::origin::File;
use test_support::payload::{Flaw, Image, Release, ReleaseBuilder};
use test_support::registry::{Fault, Gate};

use crate::site::{Run, Site, content};

const NEWER: &str = "418.94.209901010000-0";

fn release(version: &str, os_build: &str, arches: &[Arch]) -> ReleaseBuilder {
    let builder = ReleaseBuilder::new(version, os_build)
        .component_repository("127.0.0.1:1/openshift-release-dev/ocp-v4.0-art-dev");
    let builder = arches.iter().fold(builder, |builder, &arch| builder.iso(arch, content(arch)));
    if arches.len() > 1 { builder.multi() } else { builder }
}

fn os_image(openshift_version: &str, os_build: &str, arch: Arch, url: &str) -> Value {
    json!({"openshift_version": openshift_version, "cpu_architecture": arch.name(), "version": os_build, "url": url})
}

fn build(run: &Run, version: &str, arch: Arch) -> String {
    run.ready(version, arch).key().os_build.to_string()
}

fn is_unknown(run: &Run, version: &str, arch: Arch) -> bool {
    matches!(run.catalog.find(version, arch, ImageKind::Full), Lookup::Unknown)
}

/// The digest of the layer with the ISO.
fn iso_layer(release: &Release) -> String {
    iso_layers(release).remove(0)
}

/// Those of a release of several architectures, in their order.
fn iso_layers(release: &Release) -> Vec<String> {
    release.machine_os_images().image.images().iter().map(largest_layer).collect()
}

fn largest_layer(image: &Image) -> String {
    image.layers.iter().max_by_key(|layer| layer.content.size()).unwrap().content.digest()
}

#[tokio::test]
async fn what_is_added_is_brought_in_and_the_rest_is_not_asked_for_again() {
    let site = Site::new().await;
    let first = site.publish(release("4.18.52", OS_BUILD, &[Arch::X86_64]));
    let second = site.publish(release("4.17.1", NEWER, &[Arch::S390x]));
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &first)]);
    run.until("the first is ready", |run| run.is_ready("4.18", Arch::X86_64)).await;
    site.registry.clear_requests();
    run.desire(&[], &[("4.18", "4.18.52", "x86_64", &first), ("4.17", "4.17.1", "s390x", &second)]);
    run.finished().await;
    assert_eq!(build(&run, "4.17", Arch::S390x), NEWER);
    assert_eq!(build(&run, "4.18", Arch::X86_64), OS_BUILD);
    let requests = site.registry.requests();
    assert!(requests.iter().any(|request| request.path.ends_with("/manifests/4.17.1-s390x")));
    assert!(
        !requests.iter().any(|request| request.path.ends_with("/manifests/4.18.52-x86_64")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_list_that_is_empty_at_first_is_followed_all_the_same() {
    let site = Site::new().await;
    let pullspec = site.publish(release("4.18.52", OS_BUILD, &[Arch::X86_64]));
    let run = site.provision(&[]);
    assert!(run.catalog.is_settled());
    let list = [("4.18", "4.18.52", "x86_64", pullspec.as_str())];
    run.desire(&[], &list);
    run.ask_with(site.registry_client(&format!(r#"{{"auths": {{{}}}}}"#, site.pull_secret_entry()), &list));
    run.finished().await;
    run.ready("4.18", Arch::X86_64);
}

#[tokio::test]
async fn a_running_download_is_not_disturbed_by_what_else_the_list_says() {
    let site = Site::new().await;
    let built = release("4.18.52", OS_BUILD, &[Arch::X86_64]).build().unwrap();
    site.registry.inject(&iso_layer(&built), Fault::StallAfter(10_000_000));
    let first = site.publish_built(&built);
    let multi = site.publish(release("4.17.1", NEWER, &[Arch::S390x, Arch::Arm64]));
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &first)]);
    run.until("bytes arrive", |run| run.received("4.18") > 4 << 20).await;
    run.desire(&[], &[("4.17", "4.17.1", "multi", &multi), ("4.18", "4.18.52", "x86_64", &first)]);
    run.until("the other is ready", |run| run.is_ready("4.17", Arch::S390x)).await;
    run.desire(&[], &[("4.18", "4.18.52", "x86_64", &first)]);
    run.until("the other is gone", |run| is_unknown(run, "4.17", Arch::S390x)).await;
    assert!(run.received("4.18") > 4 << 20);
    let statistics = run.catalog.statistics();
    assert_eq!((statistics.fetches(), statistics.failed_fetches()), (3, 0));
    assert_eq!(site.asked_for(&iso_layer(&built)), 1);
    run.stop().await;
}

/// Two architectures whose downloads have begun and are held back: that of x86_64 until the gate is opened, the other's
/// until the registry is healed.
struct Held {
    site: Site,
    pullspec: String,
    /// The layers of x86_64 and s390x.
    layers: [String; 2],
    gate: Gate,
}

impl Held {
    async fn new() -> Self {
        let site = Site::new().await;
        let built = release("4.18.52", OS_BUILD, &[Arch::X86_64, Arch::S390x]).build().unwrap();
        let layers: [String; 2] = iso_layers(&built).try_into().unwrap();
        let gate = Gate::default();
        site.registry.inject(&layers[0], Fault::HoldAfter(10_000_000, gate.clone()));
        site.registry.inject(&layers[1], Fault::StallAfter(10_000_000));
        let pullspec = site.publish_built(&built);
        Self { site, pullspec, layers, gate }
    }

    async fn until_both_run(&self, run: &Run) {
        for arch in [Arch::X86_64, Arch::S390x] {
            run.until("bytes arrive", |run| run.received_of("4.18", arch) > 4 << 20).await;
        }
    }

    /// The download of x86_64 has gone on all the time, and the other was begun so often.
    async fn finish(self, run: &Run, others: usize) {
        assert!(run.received_of("4.18", Arch::X86_64) > 4 << 20);
        self.gate.open();
        run.finished().await;
        assert_eq!(build(run, "4.18", Arch::X86_64), OS_BUILD);
        assert_eq!(self.layers.map(|layer| self.site.asked_for(&layer)), [1, others]);
        self.site.until_nothing_is_unfinished().await;
    }
}

#[tokio::test]
async fn an_architecture_that_leaves_a_release_and_comes_back_leaves_the_others_download_alone() {
    let held = Held::new().await;
    let list = |arches: &'static str| [("4.18", "4.18.52", arches, held.pullspec.as_str())];
    let run = held.site.provision(&list("x86_64,s390x"));
    held.until_both_run(&run).await;
    run.desire(&[], &list("x86_64"));
    run.until("the other is gone", |run| is_unknown(run, "4.18", Arch::S390x)).await;
    held.site.until(|site| site.unfinished().len() == 1).await;
    held.site.registry.heal();
    run.desire(&[], &list("s390x,x86_64"));
    run.until("it is back", |run| run.is_ready("4.18", Arch::S390x)).await;
    run.desire(&[], &list("x86_64,s390x"));
    run.desire(&[], &list("x86_64"));
    run.until("it is gone again", |run| is_unknown(run, "4.18", Arch::S390x)).await;
    assert!(matches!(run.catalog.find(OS_BUILD, Arch::S390x, ImageKind::Full), Lookup::Ready(_)));
    held.finish(&run, 2).await;
}

#[tokio::test]
async fn what_os_images_covers_and_uncovers_leaves_the_other_architectures_download_alone() {
    for arches in ["x86_64,s390x", "multi"] {
        let held = Held::new().await;
        let list = [("4.18", "4.18.52", arches, held.pullspec.as_str())];
        let run = held.site.provision(&list);
        held.until_both_run(&run).await;
        let url = held.site.origin.publish("/live.iso", File::new(content(Arch::S390x)));
        run.desire(&[os_image("4.18", NEWER, Arch::S390x, &url)], &list);
        run.until("OS_IMAGES has brought it", |run| run.is_ready("4.18", Arch::S390x)).await;
        assert_eq!(build(&run, "4.18", Arch::S390x), NEWER);
        held.site.until(|site| site.unfinished().len() == 1).await;
        held.site.registry.heal();
        run.desire(&[], &list);
        run.until("the release has brought it", |run| build(run, "4.18", Arch::S390x) == OS_BUILD).await;
        held.finish(&run, 2).await;
    }
}

#[tokio::test]
async fn an_entry_of_os_images_that_goes_leaves_the_download_of_the_same_releases_other_alone() {
    let held = Held::new().await;
    let url = format!("release-image://{}", held.pullspec);
    let entry = |os_build, arch| os_image("4.18", os_build, arch, &url);
    let run =
        held.site.provision_os_images(&[entry(OS_BUILD, Arch::X86_64), entry(OS_BUILD, Arch::S390x)], &[]);
    held.until_both_run(&run).await;
    held.site.registry.heal();
    // What an entry states is part of it.
    run.desire(&[entry(NEWER, Arch::S390x), entry(OS_BUILD, Arch::X86_64)], &[]);
    run.until("the other is there", |run| run.is_ready("4.18", Arch::S390x)).await;
    run.desire(&[entry(OS_BUILD, Arch::X86_64)], &[]);
    run.until("the other is gone", |run| is_unknown(run, "4.18", Arch::S390x)).await;
    held.finish(&run, 2).await;
}

#[tokio::test]
async fn what_leaves_before_the_payload_is_known_is_never_fetched() {
    let held = Held::new().await;
    let manifest = format!("/manifests/{}", held.pullspec.rsplit_once(':').unwrap().1);
    held.site.registry.inject(&manifest, Fault::status(503));
    let list = [("4.18", "4.18.52", "multi", held.pullspec.as_str())];
    let run = held.site.provision(&list);
    run.until("it has failed", |run| run.reason("4.18").is_some()).await;
    let url = held.site.origin.publish("/live.iso", File::new(content(Arch::S390x)));
    run.desire(&[os_image("4.18", NEWER, Arch::S390x, &url)], &list);
    run.until("OS_IMAGES has brought it", |run| run.is_ready("4.18", Arch::S390x)).await;
    held.site.registry.heal();
    run.finished().await;
    assert_eq!(build(&run, "4.18", Arch::X86_64), OS_BUILD);
    assert_eq!(build(&run, "4.18", Arch::S390x), NEWER);
    assert_eq!(held.layers.map(|layer| held.site.asked_for(&layer)), [1, 0]);
}

#[tokio::test]
async fn a_version_that_leaves_an_os_image_leaves_its_download_alone() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(content(Arch::X86_64)));
    let gate = Gate::default();
    site.origin.inject("/live.iso", Fault::HoldAfter(10_000_000, gate.clone()));
    let images = ["4.17", "4.18"].map(|version| os_image(version, OS_BUILD, Arch::X86_64, &url));
    let run = site.provision_os_images(&images, &[]);
    run.until("bytes arrive", |run| run.received("4.18") > 4 << 20).await;
    run.desire(&images[1..], &[]);
    run.until("the other is gone", |run| is_unknown(run, "4.17", Arch::X86_64)).await;
    assert!(run.received("4.18") > 4 << 20);
    gate.open();
    run.finished().await;
    assert_eq!(build(&run, "4.18", Arch::X86_64), OS_BUILD);
    assert_eq!(site.origin.requests().len(), 1);
}

#[tokio::test]
async fn a_release_that_comes_to_ask_for_more_architectures_only_fetches_those() {
    let site = Site::new().await;
    let pullspec = site.publish(release("4.18.52", OS_BUILD, &[Arch::X86_64, Arch::S390x]));
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.until("the first is ready", |run| run.is_ready("4.18", Arch::X86_64)).await;
    run.desire(&[], &[("4.18", "4.18.52", "multi", &pullspec)]);
    run.until("the second is ready", |run| run.is_ready("4.18", Arch::S390x)).await;
    run.ready("4.18", Arch::X86_64);
    assert_eq!(run.catalog.statistics().fetches(), 2);
    run.finished().await;

    // What both have brought is known after a restart.
    let run = site.provision(&[("4.18", "4.18.52", "multi", &pullspec)]);
    run.finished().await;
    assert_eq!(run.known.get(), Some(&2));
}

#[tokio::test]
async fn what_is_removed_answers_to_its_build_alone_and_at_once() {
    let site = Site::new().await;
    let pullspec = site.publish(release("4.18.52", OS_BUILD, &[Arch::X86_64]));
    let url = site.origin.publish("/live.iso", File::new(content(Arch::Arm64)));
    let images = [os_image("4.18", NEWER, Arch::Arm64, &url)];
    let run = site.provision_os_images(&images, &[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.until("both are ready", |run| {
        run.is_ready("4.18", Arch::X86_64) && run.is_ready("4.18", Arch::Arm64)
    })
    .await;
    run.desire(&[], &[]);
    run.until("the names are gone", |run| run.catalog.report().is_empty()).await;
    for (arch, os_build) in [(Arch::X86_64, OS_BUILD), (Arch::Arm64, NEWER)] {
        assert!(is_unknown(&run, "4.18", arch) && is_unknown(&run, "4.18.52", arch));
        let Lookup::Ready(found) = run.catalog.find(os_build, arch, ImageKind::Full) else {
            panic!("{arch}")
        };
        assert_eq!(found.openshift_version.unwrap().to_string(), "4.18");
    }
    assert!(run.catalog.is_settled());

    // Asked for again, they are there at once.
    run.desire(&images, &[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.finished().await;
    assert_eq!(build(&run, "4.18", Arch::X86_64), OS_BUILD);
    assert_eq!(build(&run, "4.18", Arch::Arm64), NEWER);
    assert_eq!(run.catalog.statistics().fetches(), 2);
}

#[tokio::test]
async fn the_download_of_what_is_removed_is_stopped() {
    let site = Site::new().await;
    let built = release("4.18.52", OS_BUILD, &[Arch::X86_64]).build().unwrap();
    site.registry.inject(&iso_layer(&built), Fault::StallAfter(10_000_000));
    let pullspec = site.publish_built(&built);
    let url = site.origin.publish("/live.iso", File::new(content(Arch::Arm64)));
    site.origin.inject("/live.iso", Fault::StallAfter(10_000_000));
    let images = [os_image("4.17", NEWER, Arch::Arm64, &url)];
    let run = site.provision_os_images(&images, &[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.until("bytes arrive", |run| run.received("4.18") > 4 << 20 && run.received("4.17") > 4 << 20).await;
    run.desire(&[], &[]);
    run.until("both are gone", |run| run.catalog.report().is_empty()).await;
    site.until(|site| site.unfinished().iter().all(|name| name.contains(".part"))).await;
    assert!(run.names.borrow().downloads.is_empty(), "what can be resumed is the collector's");
    run.finished().await;
    assert!(site.published().is_empty());
}

#[tokio::test]
async fn a_name_moves_to_another_release_only_when_that_is_ready() {
    let site = Site::new().await;
    let old = site.publish(release("4.18.51", OS_BUILD, &[Arch::X86_64]));
    let new = release("4.18.52", NEWER, &[Arch::X86_64]).flaw(Flaw::NoComponent);
    let new = site.publish(new);
    let run = site.provision(&[("4.18", "4.18.51", "x86_64", &old)]);
    run.until("the old one is ready", |run| run.is_ready("4.18", Arch::X86_64)).await;
    run.desire(&[], &[("4.18", "4.18.52", "x86_64", &new)]);
    let has_failed = |run: &Run| run.catalog.report().iter().any(|image| image.state.name() == "failed");
    run.until("the new one has failed", has_failed).await;
    assert_eq!(build(&run, "4.18", Arch::X86_64), OS_BUILD);
    assert_eq!(build(&run, "4.18.51", Arch::X86_64), OS_BUILD);

    let mended = site.publish(release("4.18.52", NEWER, &[Arch::X86_64]));
    assert_eq!(mended, new);
    run.finished().await;
    assert_eq!(build(&run, "4.18", Arch::X86_64), NEWER);
    assert!(is_unknown(&run, "4.18.51", Arch::X86_64));
    assert_eq!(build(&run, OS_BUILD, Arch::X86_64), OS_BUILD);
    assert_eq!(run.catalog.retired().len(), 1);

    // An older one takes its place just so.
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &new)]);
    run.until("the newer one is ready", |run| run.is_ready("4.18", Arch::X86_64)).await;
    run.desire(&[], &[("4.18", "4.18.51", "x86_64", &old)]);
    run.finished().await;
    assert_eq!(build(&run, "4.18", Arch::X86_64), OS_BUILD);
}

#[tokio::test]
async fn a_name_moves_between_releases_and_os_images_only_when_there_is_an_image() {
    let site = Site::new().await;
    let pullspec = site.publish(release("4.18.52", OS_BUILD, &[Arch::X86_64, Arch::S390x]));
    let url = site.origin.publish("/live.iso", File::new(content(Arch::X86_64)));
    site.origin.inject("/live.iso", Fault::status(503));
    let releases = [("4.18", "4.18.52", "multi", pullspec.as_str())];
    let run = site.provision(&releases);
    run.until("the release is ready", |run| {
        run.is_ready("4.18", Arch::X86_64) && run.is_ready("4.18", Arch::S390x)
    })
    .await;
    run.desire(&[os_image("4.18", NEWER, Arch::X86_64, &url)], &releases);
    run.until("the OS image has failed", |run| {
        run.catalog.report().iter().any(|image| matches!(image.state, ImageState::Failed { .. }))
    })
    .await;
    assert_eq!(build(&run, "4.18", Arch::X86_64), OS_BUILD);
    assert_eq!(build(&run, "4.18", Arch::S390x), OS_BUILD);
    site.origin.heal();
    run.until("it has the name", |run| build(run, "4.18", Arch::X86_64) == NEWER).await;
    assert_eq!(run.catalog.report().len(), 2);

    run.desire(&[], &releases);
    run.until("the release has it again", |run| build(run, "4.18", Arch::X86_64) == OS_BUILD).await;
    assert_eq!(site.iso_downloads(), 2, "it was not fetched again");
    run.finished().await;
}

#[tokio::test]
async fn of_os_images_with_one_name_the_first_counts_wherever_it_was_added() {
    let site = Site::new().await;
    let [one, other] = [Arch::X86_64, Arch::S390x]
        .map(|arch| site.origin.publish(&format!("/{arch}.iso"), File::new(content(arch))));
    let first = os_image("4.18", NEWER, Arch::X86_64, &one);
    let second = os_image("4.18", OS_BUILD, Arch::X86_64, &other);
    let run = site.provision_os_images(std::slice::from_ref(&second), &[]);
    run.until("the second is ready", |run| run.is_ready("4.18", Arch::X86_64)).await;
    run.desire(&[first.clone(), second.clone()], &[]);
    run.until("the first has the name", |run| build(run, "4.18", Arch::X86_64) == NEWER).await;
    run.desire(&[second, first], &[]);
    run.until("the second has it again", |run| build(run, "4.18", Arch::X86_64) == OS_BUILD).await;
    assert_eq!(run.catalog.statistics().fetches(), 2);
    run.finished().await;
}

#[tokio::test]
async fn another_client_is_used_at_once_for_what_has_failed() {
    let site = Site::new().await;
    let pullspec = site.publish(release("4.18.52", OS_BUILD, &[Arch::X86_64]));
    let list = [("4.18", "4.18.52", "x86_64", pullspec.as_str())];
    let hour = std::time::Duration::from_hours(1);
    let run = site.provision_patiently(
        &format!(r#"{{"auths": {{"{}": {{"auth": "cHVsbGVyOndyb25n"}}}}}}"#, site.registry.address()),
        &list,
        RetryPolicy { shortest: hour, longest: 2 * hour },
    );
    run.until("it has failed", |run| run.reason("4.18").is_some()).await;
    run.ask_with(site.registry_client(&format!(r#"{{"auths": {{{}}}}}"#, site.pull_secret_entry()), &list));
    run.finished().await;
    run.ready("4.18", Arch::X86_64);
}

#[tokio::test]
async fn an_entry_of_os_images_may_name_a_release() {
    let site = Site::new().await;
    let pullspec = site.publish(release("4.18.52", OS_BUILD, &[Arch::X86_64, Arch::S390x]));
    let url = format!("release-image://{pullspec}");
    let images = [
        os_image("4.18", OS_BUILD, Arch::X86_64, &url),
        os_image("4.18", "418.94.1-0", Arch::S390x, &url),
        os_image("4.18", OS_BUILD, Arch::Arm64, &url),
    ];
    let other = site.publish(release("4.18.99", NEWER, &[Arch::X86_64]));
    let run = site.provision_os_images(&images, &[("4.18", "4.18.99", "x86_64", &other)]);
    run.until("what is there is ready", |run| {
        run.is_ready("4.18", Arch::X86_64) && run.is_ready("4.18", Arch::S390x)
    })
    .await;
    assert_eq!(build(&run, "4.18", Arch::X86_64), OS_BUILD);
    assert_eq!(build(&run, OS_BUILD, Arch::S390x), OS_BUILD, "the payload knows better than the entry");
    run.until("the third has failed", |run| {
        run.catalog.report().iter().any(|image| {
            matches!(&image.state, ImageState::Failed { reason, .. } if reason.contains("is not for arm64"))
        })
    })
    .await;
    let requests = site.registry.requests();
    assert!(
        !requests.iter().any(|request| request.path.ends_with("/manifests/4.18.99-x86_64")),
        "it is covered"
    );
    assert!(run.names.borrow().releases.contains(&pullspec));
    run.stop().await;

    let run = site.provision_os_images(&images[..2], &[]);
    run.finished().await;
    assert_eq!(run.known.get(), Some(&2), "a restart needs no registry");
}

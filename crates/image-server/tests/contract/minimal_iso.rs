//! ISOs without the root file system, which the host fetches from this service.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use coreos_names::Arch;
use image_store::{Catalog, ImageState};
use live_iso::{IgnitionArchive, Volume};
use test_support::assisted_service::{FakeAssistedService, Reply};
use test_support::fixtures::LiveIso;

use crate::site::{ARM64, ID, OS_BUILD, Published, S390X, Site, X86_64, add, wanted, within};

const BASE: &str = "http://images.example.com:8080/a";
const MINIMAL_ISO: &str = "/byid/0a5b1d7e-8f3c-4a52-9d36-2f1c64a8e001/4.17/x86_64/minimal.iso";
const RAMDISK_ROOM: usize = 1024 * 1024;

/// 4.17, which needs no nmstatectl.
fn catalog() -> Arc<Catalog> {
    let catalog = Arc::new(Catalog::default());
    for (arch, image) in all() {
        add(&catalog, wanted("4.17", arch), ImageState::Ready(image.lease.clone()));
    }
    catalog
}

fn all() -> [(Arch, &'static Published); 3] {
    [(Arch::X86_64, &X86_64), (Arch::Arm64, &ARM64), (Arch::S390x, &S390X)]
}

async fn site() -> Site {
    Site::with_base_url(BASE, catalog()).await
}

/// What coreos-installer, which is no work of ours, says about an ISO.
fn coreos_installer(arguments: &[&str], iso: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("minimal.iso");
    fs::write(&path, iso).unwrap();
    let output = Command::new("coreos-installer").arg("iso").args(arguments).arg(&path).output();
    let output = output.unwrap_or_else(|error| panic!("coreos-installer: {error}: run `make setup`"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_minimal_iso_is_the_full_one_without_the_rootfs_and_says_where_that_is() {
    let site = site().await;
    site.upstream.set_kernel_arguments(r#"[{"operation":"append","value":"p1"}]"#);
    for (arch, image) in all() {
        let iso = site.get(&format!("/byid/{ID}/4.17/{arch}/minimal.iso")).await;
        assert_eq!(iso.status, 200);
        let rootfs = image.lease.layout().rootfs();
        assert!(iso.body.len() < image.iso.len() - within(rootfs).len() + 2 * RAMDISK_ROOM, "{arch}");
        let path = format!("/boot-artifacts/rootfs?arch={arch}&version={OS_BUILD}");
        let arguments = coreos_installer(&["kargs", "show"], &iso.body);
        let ending = format!(" coreos.live.rootfs_url=\"{BASE}{path}\" p1");
        assert!(arguments.trim_end().ends_with(&ending), "{arguments}");
        assert!(!arguments.contains("coreos.liveiso="), "{arguments}");
        let fetched = site.get(&format!("/a{path}")).await;
        assert!(fetched.body == image.iso[within(rootfs)], "{arch}");
    }
}

#[tokio::test]
async fn the_ignition_config_of_a_minimal_iso_is_where_that_of_a_full_one_is() {
    let site = site().await;
    for (arch, _) in all() {
        let iso = site.get(&format!("/byid/{ID}/4.17/{arch}/minimal.iso")).await;
        let config = coreos_installer(&["ignition", "show"], &iso.body);
        assert_eq!(config, r#"{"ignition":{"version":"3.4.0"}}"#, "{arch}");
    }
}

#[tokio::test]
async fn the_ramdisk_is_a_file_of_the_minimal_iso() {
    let site = site().await;
    for (len, arch) in [(10_023, "x86_64"), (RAMDISK_ROOM, "arm64"), (0, "x86_64")] {
        let mut expected = vec![0x5a; len];
        site.upstream.set_ramdisk(Reply::ok(expected.clone()));
        let iso = site.get(&format!("/byid/{ID}/4.17/{arch}/minimal.iso")).await.body.to_vec();
        let volume = Volume::read(&iso).unwrap();
        let file = volume.find("images/assisted_installer_custom.img").unwrap().extent().unwrap();
        expected.resize(RAMDISK_ROOM, 0);
        assert!(iso[within(file)] == expected, "{len} {arch}");
    }
    // Where there is no such file it shares the Ignition config's area.
    let area = S390X.lease.layout().ignition_area().unwrap().extent();
    let ignition = IgnitionArchive::new(br#"{"ignition":{"version":"3.4.0"}}"#).unwrap();
    site.upstream.set_ramdisk(Reply::ok("network"));
    let iso = site.get(&format!("/byid/{ID}/4.17/s390x/minimal.iso")).await.body;
    let both = [&ignition.as_bytes()[..], b"network\0"].concat();
    let at: Vec<_> = (0..iso.len() - both.len()).filter(|at| iso[*at..].starts_with(&both)).collect();
    let [at] = at[..] else { panic!("{at:?}") };
    let rest = &iso[at + both.len()..at + within(area).len()];
    assert!(rest.iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn nmstatectl_is_a_file_of_the_minimal_iso_for_hosts_that_need_it() {
    let site = site().await;
    for (arch, image) in all() {
        add(&site.catalog, wanted("4.18", arch), ImageState::Ready(image.lease.clone()));
    }
    for (arch, image) in [(Arch::X86_64, &X86_64), (Arch::Arm64, &ARM64)] {
        let path = format!("/byid/{ID}/4.18/{arch}/minimal.iso");
        let iso = site.get(&path).await.body.to_vec();
        let volume = Volume::read(&iso).unwrap();
        let file = within(volume.find("images/nmstate.img").unwrap().extent().unwrap());
        let files = live_iso::unpack(&iso[file.clone()]).unwrap();
        let [program] = &files[..] else { panic!("{} files", files.len()) };
        assert_eq!(program.name.trim_start_matches('/'), "usr/bin/nmstatectl");
        assert!(program.content == image.nmstatectl(), "{arch}");
        let range = format!("bytes={}-{}", file.start - 100, file.start + 99);
        let part = site.get_with(&path, &[("range", &range)]).await;
        assert_eq!(part.body, iso[file.start - 100..file.start + 100]);
    }
    let s390x = format!("/byid/{ID}/4.18/s390x/minimal.iso");
    assert_eq!(site.head(&s390x).await.status, 200);
    site.upstream.set_ramdisk(Reply::ok("network"));
    let text = "a minimal ISO for s390x has no place for nmstatectl, which hosts of this version need for their \
                network configuration; use the full ISO";
    site.get(&s390x).await.assert_line(422, text);
    assert_eq!(site.head(&s390x.replace("minimal", "full")).await.status, 200);
}

#[tokio::test]
async fn without_need_there_is_no_nmstatectl_in_the_minimal_iso() {
    let site = site().await;
    let iso = site.get(MINIMAL_ISO).await.body.to_vec();
    assert!(Volume::read(&iso).unwrap().find("images/nmstate.img").is_none());
}

#[tokio::test]
async fn a_ramdisk_that_does_not_fit_is_unprocessable() {
    let site = site().await;
    site.upstream.set_ramdisk(Reply::ok(vec![0x5a; RAMDISK_ROOM + 1]));
    let text =
        "the network configuration is too large: it has 1048577 bytes, but this image has room for 1048576";
    site.get(MINIMAL_ISO).await.assert_line(422, text);
}

#[tokio::test]
async fn a_minimal_iso_comes_with_the_headers_of_a_full_one_and_in_ranges() {
    let (site, replica) = (site().await, site().await);
    site.upstream.set_ramdisk(Reply::ok("network"));
    replica.upstream.set_ramdisk(Reply::ok("network"));
    let whole = site.get(MINIMAL_ISO).await;
    let long = format!("/images/{ID}?version={OS_BUILD}&type=minimal-iso");
    for answer in [site.head(MINIMAL_ISO).await, replica.head(&long).await] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-length"), Some(&*whole.body.len().to_string()));
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
        assert_eq!(answer.header("last-modified"), Some(FakeAssistedService::LAST_MODIFIED));
        let disposition = format!("attachment; filename={ID}-discovery.iso");
        assert_eq!(answer.header("content-disposition"), Some(&*disposition));
        assert_eq!(answer.header("etag"), whole.header("etag"));
    }
    let mut joined = Vec::new();
    for start in (0..whole.body.len()).step_by(999_999) {
        let range = format!("bytes={start}-{}", start + 999_998);
        joined.extend_from_slice(&site.get_with(MINIMAL_ISO, &[("range", &range)]).await.body);
    }
    assert!(joined == whole.body);
    replica.upstream.set_ramdisk(Reply::ok("notwork"));
    assert_ne!(replica.head(&long).await.header("etag"), whole.header("etag"));
}

#[tokio::test]
async fn another_base_url_makes_another_minimal_iso() {
    let (one, other) = (site().await, Site::with_base_url("http://images.example.com", catalog()).await);
    let (one, other) = (one.head(MINIMAL_ISO).await, other.head(MINIMAL_ISO).await);
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200));
    assert_ne!(one.header("etag"), other.header("etag"));
}

#[tokio::test]
async fn a_minimal_iso_needs_the_ramdisk_too_and_all_at_the_same_time() {
    let site = site().await;
    site.upstream.answer_together(3);
    assert_eq!(site.head(MINIMAL_ISO).await.status, 200);
    let mut asked = site.upstream.asked();
    asked.sort_by_key(|asked| asked.path.len());
    let paths: Vec<_> = asked.iter().map(|asked| asked.path.rsplit(ID).next().unwrap()).collect();
    assert_eq!(paths, ["", "/downloads/files", "/downloads/minimal-initrd"]);
    let parameters = [("discovery_iso_type", "minimal-iso"), ("file_name", "discovery.ign")];
    assert_eq!(asked[1].query, parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert!(asked[0].query.is_empty() && asked[2].query.is_empty());
}

#[tokio::test]
async fn who_is_refused_the_ramdisk_is_refused_the_minimal_iso() {
    let site = site().await;
    for (upstream, status) in [(401, 401), (404, 404), (409, 409), (206, 502), (302, 502), (500, 502)] {
        site.upstream.set_ramdisk(Reply::status(upstream));
        let answer = site.get(MINIMAL_ISO).await;
        match status {
            502 => answer.assert_trouble(502, "the infra-env service gave an answer that makes no sense"),
            _ => answer.assert_empty(status),
        }
    }
}

#[tokio::test]
async fn without_a_base_url_there_are_no_minimal_isos() {
    let site = Site::with_catalog(catalog()).await;
    add(&site.catalog, wanted("4.16", Arch::Ppc64le), ImageState::Waiting);
    for path in [MINIMAL_ISO, &format!("/images/{ID}?version=4.17&type=minimal-iso")] {
        let text = "there are no minimal ISOs as long as IMAGE_SERVICE_BASE_URL is not set";
        site.get(path).await.assert_trouble(503, text);
    }
    site.get(&format!("/byid/{ID}/9.9/x86_64/minimal.iso")).await.assert_not_found();
    assert_eq!(
        site.get(&format!("/byid/{ID}/4.16/ppc64le/minimal.iso")).await.header("retry-after"),
        Some("10")
    );
    assert_eq!(site.head(&format!("/byid/{ID}/4.17/x86_64/full.iso")).await.status, 200);
    assert!(site.upstream.asked().iter().all(|asked| !asked.path.ends_with("minimal-initrd")));
}

#[tokio::test]
async fn an_image_that_no_minimal_iso_can_be_made_of_is_not_available_as_one() {
    let iso = fs::read(LiveIso::S390xOcp4_11.path()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let old = Published::publish(directory.path(), iso.into(), Arch::S390x);
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.11", Arch::S390x), ImageState::Ready(old.lease));
    let site = Site::with_base_url(BASE, catalog).await;
    let answer = site.get(&format!("/byid/{ID}/4.11/s390x/minimal.iso")).await;
    answer.assert_line(404, "the image for 4.11 s390x is not available as a minimal ISO");
    assert!(site.upstream.asked().is_empty());
}

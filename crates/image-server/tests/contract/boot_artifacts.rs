use std::sync::Arc;

use coreos_names::{Arch, ImageKind};
use image_store::{Catalog, DesiredImage, ImageState};

use crate::site::{OS_BUILD, S390X, Site, X86_64, add, wanted, within};

const NO_VERSION: &str = "Failed to parse query parameters: 'version' parameter required";

#[tokio::test]
async fn kernel_and_rootfs_are_the_images_own() {
    let site = Site::start().await;
    let layout = X86_64.lease.layout();
    for (artifact, file_name, extent) in
        [("kernel", "vmlinuz", layout.kernel()), ("rootfs", "rootfs.img", layout.rootfs())]
    {
        for version in ["4.18", "4.18.52", OS_BUILD] {
            let file = site.get(&format!("/boot-artifacts/{artifact}?arch=x86_64&version={version}")).await;
            assert_eq!(file.status, 200);
            assert!(file.body == X86_64.iso[within(extent)], "{artifact}");
            let disposition = format!("attachment; filename={file_name}");
            assert_eq!(file.header("content-disposition"), Some(&*disposition));
            assert_eq!(file.header("content-type"), Some("application/octet-stream"));
            assert_eq!(file.header("accept-ranges"), Some("bytes"));
            assert_eq!(file.header("content-length"), Some(&*extent.len.to_string()));
        }
    }
    assert!(site.upstream.asked().is_empty(), "no infra-env is needed");
}

#[tokio::test]
async fn the_ins_file_is_the_images_own_as_text() {
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::S390x), ImageState::Ready(S390X.lease.clone()));
    let site = Site::with_catalog(catalog).await;
    let file = site.get("/boot-artifacts/ins-file?version=4.18&arch=s390x").await;
    assert_eq!(file.status, 200);
    assert_eq!(file.body, S390X.iso[within(S390X.lease.layout().ins_file().unwrap())]);
    assert!(file.text().contains("images/pxeboot/initrd.img"), "{}", file.text());
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=generic.ins"));
    assert_eq!(file.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[tokio::test]
async fn only_s390x_has_an_ins_file() {
    let site = Site::start().await;
    let only =
        "Failed to parse artifact: ins-file is only available for the s390x architecture. Current arch: ";
    for arch in ["", "&arch=x86_64", "&arch=amd64"] {
        let answer = site.get(&format!("/boot-artifacts/ins-file?version=4.18{arch}")).await;
        answer.assert_line(404, &format!("{only}x86_64"));
    }
}

#[tokio::test]
async fn the_date_of_an_artifact_is_that_of_the_iso_itself() {
    let site = Site::start().await;
    let created = httpdate::fmt_http_date(X86_64.lease.layout().created().unwrap());
    for artifact in ["kernel", "rootfs"] {
        let file = site.head(&format!("/boot-artifacts/{artifact}?version=4.18")).await;
        assert_eq!(file.header("last-modified"), Some(&*created));
    }
}

#[tokio::test]
async fn the_architecture_is_x86_64_unless_told_and_has_several_names() {
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(X86_64.lease.clone()));
    add(&catalog, wanted("4.18", Arch::S390x), ImageState::Ready(S390X.lease.clone()));
    let site = Site::with_catalog(catalog).await;
    let kernel = async |arch: &str| site.head(&format!("/boot-artifacts/kernel?version=4.18{arch}")).await;
    let x86_64 = kernel("").await;
    assert_eq!(x86_64.header("content-length"), Some(&*X86_64.lease.layout().kernel().len.to_string()));
    for arch in ["&arch=", "&arch=x86_64", "&arch=amd64"] {
        assert_eq!(kernel(arch).await.headers.get("etag"), x86_64.headers.get("etag"));
    }
    let s390x = kernel("&arch=s390x").await;
    assert_eq!(s390x.header("content-length"), Some(&*S390X.lease.layout().kernel().len.to_string()));
    assert_eq!(s390x.header("content-disposition"), Some("attachment; filename=vmlinuz"));
}

#[tokio::test]
async fn an_artifact_needs_a_version() {
    let site = Site::start().await;
    for path in ["kernel", "rootfs?version=", "rootfs?version=%zz", "ins-file", "", "x", "x/y"] {
        site.get(&format!("/boot-artifacts/{path}")).await.assert_line(400, NO_VERSION);
    }
}

#[tokio::test]
async fn an_unknown_version_or_architecture_of_an_artifact_is_a_bad_request() {
    let site = Site::start().await;
    for (version, arch) in [("9.9", "x86_64"), ("4.18", "arm64"), ("4.18", "sparc")] {
        for artifact in ["kernel", "rootfs", "ins-file", "", "x"] {
            let answer = site.get(&format!("/boot-artifacts/{artifact}?version={version}&arch={arch}")).await;
            let text = format!("Failed to parse query parameters: version for {version} {arch}, not found");
            answer.assert_line(400, &text);
        }
    }
}

#[tokio::test]
async fn an_unknown_artifact_is_not_found() {
    let site = Site::start().await;
    for path in ["/boot-artifacts/", "/boot-artifacts/x", "/boot-artifacts/x/y", "/boot-artifacts/kernel/"] {
        let answer = site.get(&format!("{path}?version=4.18")).await;
        answer.assert_line(404, &format!("Failed to parse artifact: malformed download path: {path}"));
    }
}

#[tokio::test]
async fn a_version_that_is_only_there_as_a_disconnected_iso_has_no_artifacts() {
    let catalog = Arc::new(Catalog::default());
    let disconnected = DesiredImage { kind: ImageKind::Disconnected, ..wanted("4.19", Arch::X86_64) };
    add(&catalog, disconnected, ImageState::Waiting);
    let site = Site::with_catalog(catalog).await;
    for artifact in ["kernel", "rootfs"] {
        let answer = site.get(&format!("/boot-artifacts/{artifact}?version=4.19")).await;
        answer.assert_line(404, "there are no boot artifacts of the image for 4.19 x86_64");
    }
}

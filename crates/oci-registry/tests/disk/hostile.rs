//! Folders that somebody else has filled: nothing is read that is not in them, and nothing is believed.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use coreos_names::WithCauses;
use oci_registry::{Blob, Digest, DiskError, Error, Reference};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use tempfile::TempDir;
use test_support::payload::Image;

use crate::support::{REPOSITORY, TAG, client, descriptor, in_folder, oc_mirror, problem, reference};

/// A mirror of oc in a folder, beside which something lies that is not to be read.
struct Mirror {
    directory: TempDir,
    image: Image,
}

impl Mirror {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let image = oc_mirror(&directory.path().join("mirror"));
        Self { directory, image }
    }

    fn release(&self) -> Reference {
        in_folder(&self.directory.path().join("mirror"))
    }

    fn repository(&self) -> PathBuf {
        self.directory.path().join("mirror/v2").join(REPOSITORY)
    }

    /// The file of the large layer.
    fn layer(&self) -> PathBuf {
        self.repository().join("blobs").join(self.image.layers[1].content.digest())
    }

    async fn open_layer(&self) -> Result<Blob, Error> {
        client().blob(&self.release(), &descriptor(&self.image.layers[1].content)).await
    }
}

#[tokio::test]
async fn no_link_leads_out_not_even_to_the_right_bytes() {
    let mirror = Mirror::new();
    let outside = mirror.directory.path().join("outside");
    fs::rename(mirror.layer(), &outside).unwrap();
    for target in
        [outside.as_path(), Path::new("../../../../../outside"), Path::new("/proc/self/root/etc/passwd")]
    {
        symlink(target, mirror.layer()).unwrap();
        let error = problem(mirror.open_layer().await.unwrap_err());
        assert!(matches!(&error, DiskError::Escapes { path } if *path == mirror.layer()), "{error}");
        fs::remove_file(mirror.layer()).unwrap();
    }
    // Within the folder links may lead anywhere.
    fs::rename(&outside, mirror.directory.path().join("mirror/inside")).unwrap();
    symlink("../../../../inside", mirror.layer()).unwrap();
    mirror.open_layer().await.unwrap().bytes(64 << 20).await.unwrap();

    // Neither does a tag, nor a folder on the way.
    let manifests = mirror.repository().join("manifests");
    fs::remove_file(manifests.join(TAG)).unwrap();
    symlink("../../../../../outside", manifests.join(TAG)).unwrap();
    let tagged = mirror.release().with_tag(TAG).unwrap();
    let error = problem(client().manifest(&tagged).await.unwrap_err());
    assert!(matches!(error, DiskError::Escapes { .. }), "{error}");
    let blobs = mirror.repository().join("blobs");
    fs::rename(&blobs, mirror.directory.path().join("blobs")).unwrap();
    symlink(mirror.directory.path().join("blobs"), &blobs).unwrap();
    let error = problem(mirror.open_layer().await.unwrap_err());
    assert!(matches!(error, DiskError::Escapes { .. }), "{error}");
}

#[tokio::test]
async fn a_link_in_a_circle_is_an_error() {
    let mirror = Mirror::new();
    fs::remove_file(mirror.layer()).unwrap();
    symlink(mirror.layer().file_name().unwrap(), mirror.layer()).unwrap();
    assert!(matches!(problem(mirror.open_layer().await.unwrap_err()), DiskError::Escapes { .. }));
}

#[tokio::test]
async fn what_is_no_regular_file_is_neither_read_nor_waited_for() {
    let mirror = Mirror::new();
    fs::remove_file(mirror.layer()).unwrap();
    let make: [fn(&Path); 3] = [
        |path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
        |path| {
            drop(UnixListener::bind(path).unwrap());
        },
        |path| fs::create_dir(path).unwrap(),
    ];
    // The name of a blob is too long for a socket.
    let short = mirror.directory.path().join("mirror/x");
    symlink("../../../../x", mirror.layer()).unwrap();
    for make in make {
        make(&short);
        let error = problem(mirror.open_layer().await.unwrap_err());
        assert!(matches!(&error, DiskError::NotAFile { path } if *path == mirror.layer()), "{error}");
        fs::remove_file(&short).or_else(|_| fs::remove_dir(&short)).unwrap();
    }
}

#[tokio::test]
async fn wrong_bytes_are_never_seen_whole() {
    let mirror = Mirror::new();
    let right = fs::read(mirror.layer()).unwrap();
    let mut wrong = right.clone();
    *wrong.last_mut().unwrap() ^= 1;
    fs::write(mirror.layer(), &wrong).unwrap();
    let mut blob = mirror.open_layer().await.unwrap();
    let mut seen = 0;
    let error = loop {
        match blob.chunk().await {
            Some(Ok(chunk)) => seen += chunk.len(),
            Some(Err(error)) => break error,
            None => panic!("the end was seen"),
        }
    };
    assert!(matches!(error, Error::DigestMismatch { actual, .. } if actual == Digest::of(&wrong)));
    assert!(seen < right.len());

    let manifest = mirror.repository().join("manifests").join(mirror.image.manifest.digest());
    let mut bytes = fs::read(&manifest).unwrap();
    bytes.push(b'\n');
    fs::write(&manifest, &bytes).unwrap();
    let pinned = mirror.release().with_digest(mirror.image.manifest.sha256().into());
    let error = client().manifest(&pinned).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { actual, .. } if actual == Digest::of(&bytes)));
}

#[tokio::test]
async fn a_wrong_size_is_told_before_anything_is_read() {
    let mirror = Mirror::new();
    let right = fs::metadata(mirror.layer()).unwrap().len();
    for wrong in [0, right - 1, right + 1] {
        File::options().write(true).open(mirror.layer()).unwrap().set_len(wrong).unwrap();
        let error = mirror.open_layer().await.unwrap_err();
        let expected = format!("{} has {wrong} bytes and should have {right}", mirror.layer().display());
        assert!(WithCauses(&error).to_string().ends_with(&expected));
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_noticed() {
    let mirror = Mirror::new();
    let right = fs::metadata(mirror.layer()).unwrap().len();
    let blob = mirror.open_layer().await.unwrap();
    OpenOptions::new().append(true).open(mirror.layer()).unwrap().write_all(b"more").unwrap();
    assert!(matches!(blob.bytes(64 << 20).await, Err(Error::TooLong { expected, .. }) if expected == right));

    File::options().write(true).open(mirror.layer()).unwrap().set_len(right).unwrap();
    let blob = mirror.open_layer().await.unwrap();
    File::options().write(true).open(mirror.layer()).unwrap().set_len(right - 1).unwrap();
    let error = blob.bytes(64 << 20).await.unwrap_err();
    let Error::Truncated { received, url, .. } = error else { panic!("{error}") };
    assert_eq!((received, url.to_string()), (right - 1, format!("file://{}", mirror.layer().display())));
}

#[tokio::test]
async fn indexes_of_the_wrong_kind_are_refused() {
    let layout = TempDir::new().unwrap();
    fs::write(layout.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = layout.path().join("index.json");
    let tagged = reference(&format!("oci:{}:t", layout.path().display()));
    let entry =
        |digest: &str| json!({"digest": digest, "annotations": {"org.opencontainers.image.ref.name": "t"}});
    let [one, other] = ["one", "other"].map(|text| entry(&Digest::of(text.as_bytes()).to_string()));
    for (bytes, problem_told) in [
        (format!("{{\"x\":{}", "[".repeat(100_000)), "EOF while parsing"),
        (format!("{{\"manifests\":{}", "[".repeat(100_000)), "invalid type"),
        ("{}".to_owned(), "missing field `manifests`"),
        (json!({"manifests": [entry("sha256:../../../../etc/passwd")]}).to_string(), "SHA-256"),
        (json!({"manifests": [entry("sha512:00")]}).to_string(), "\"sha512\""),
        (json!({"manifests": [one, other]}).to_string(), "several images have the tag t"),
    ] {
        fs::write(&index, bytes).unwrap();
        let error = client().manifest(&tagged).await.unwrap_err();
        let text = WithCauses(&error).to_string();
        assert!(text.contains(problem_told) && text.contains("index.json cannot be used"), "{text}");
    }
    // A hole of four terabytes.
    File::create(&index).unwrap().set_len(4 << 40).unwrap();
    let error = problem(client().manifest(&tagged).await.unwrap_err());
    assert!(matches!(error, DiskError::TooLarge { limit: 4_194_304, .. }), "{error}");
    // An index that lists an image that is not there, under names that are none.
    let names: Vec<_> = (0..100)
        .map(|n| {
            json!({"digest": "", "annotations":
        {"org.opencontainers.image.ref.name": format!("{n}\n\u{1b}[31m")}})
        })
        .collect();
    fs::write(&index, json!({"manifests": names}).to_string()).unwrap();
    let text = WithCauses(&client().manifest(&tagged).await.unwrap_err()).to_string();
    assert!(!text.contains(char::is_control) && text.len() < 1000, "{text}");
}

#[tokio::test]
async fn a_link_of_a_registrys_storage_leads_to_digests_only() {
    let storage = TempDir::new().unwrap();
    let tag = storage
        .path()
        .join(format!("docker/registry/v2/repositories/{REPOSITORY}/_manifests/tags/t/current"));
    fs::create_dir_all(&tag).unwrap();
    let tagged = in_folder(storage.path()).with_tag("t").unwrap();
    for text in ["", "../../../../../../etc/passwd", "sha256:../x", "sha512:00", "/etc/passwd"] {
        fs::write(tag.join("link"), text).unwrap();
        let error = problem(client().manifest(&tagged).await.unwrap_err());
        assert!(matches!(error, DiskError::Invalid { .. }), "{text}: {error}");
    }
    fs::write(tag.join("link"), [b' '; 4096]).unwrap();
    let error = problem(client().manifest(&tagged).await.unwrap_err());
    assert!(matches!(error, DiskError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_of_any_size_is_refused_before_it_is_in_memory() {
    let mirror = Mirror::new();
    let manifest = mirror.repository().join("manifests").join(mirror.image.manifest.digest());
    fs::remove_file(&manifest).unwrap();
    File::create(&manifest).unwrap().set_len(4 << 40).unwrap();
    let tagged = mirror.release().with_tag(TAG).unwrap();
    let error = problem(client().manifest(&tagged).await.unwrap_err());
    assert!(matches!(error, DiskError::TooLarge { .. }), "{error}");
}

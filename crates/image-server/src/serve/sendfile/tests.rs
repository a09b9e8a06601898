use std::fs::File;
use std::io::Write;
use std::path::Path;

use coreos_names::{Arch, ImageKind};
use image_store::{Expected, ImageKey, ImageStore, Limits};
use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::guarded_body::GuardedBody;

/// An image on a file system that can tell what it has in memory, which that for temporary files may not.
struct Published {
    directory: TempDir,
    lease: Lease,
    iso: Bytes,
}

impl Published {
    fn new() -> Self {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
        let iso = std::fs::read(target.join("fixtures/x86_64.iso")).expect("run `make fixtures`");
        let directory = tempfile::tempdir_in(target).unwrap();
        let mut staging = ImageStore::open(directory.path(), Limits::default()).unwrap().stage().unwrap();
        staging.write_all(&iso).unwrap();
        let key = ImageKey {
            os_build: "418.94.202511191518-0".parse().unwrap(),
            arch: Arch::X86_64,
            kind: ImageKind::Full,
        };
        let lease = staging.seal(Expected::Structure).unwrap().publish(key).unwrap();
        Self { directory, lease, iso: iso.into() }
    }

    fn file(&self) -> File {
        File::options().write(true).open(self.directory.path().join(self.lease.key().file_name())).unwrap()
    }

    fn bytes(&self, extent: Extent) -> &[u8] {
        let start = usize::try_from(extent.offset).unwrap();
        &self.iso[start..start + usize::try_from(extent.len).unwrap()]
    }
}

/// A connection: our end, its outbox, and the client's end.
async fn connect() -> (SendfileStream, Outbox, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let outbox = Outbox::default();
    (SendfileStream::new(listener.accept().await.unwrap().0, outbox.clone()), outbox, client)
}

async fn received(client: &mut TcpStream, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    client.read_exact(&mut bytes).await.unwrap();
    bytes
}

const EXTENT: Extent = Extent { offset: 5, len: 1 << 20 };

#[test]
fn a_placeholder_is_known_by_its_place() {
    assert!(is_placeholder(&PLACEHOLDER[5..40]));
    assert!(!is_placeholder(&Bytes::copy_from_slice(&PLACEHOLDER[5..40])));
}

#[tokio::test]
async fn a_copied_placeholder_is_refused_wherever_it_is() {
    let image = Published::new();
    let (mut stream, outbox, _client) = connect().await;
    let placeholder = outbox.put(&image.lease, EXTENT, &Arc::default());
    for start in 0..=PERIOD {
        for before in 0..2 * PERIOD {
            let copy = [&vec![b'x'; before], &placeholder[start..start + LEN_MIN], b"more"].concat();
            assert!(stream.write_all(&copy).await.is_err(), "from {start}, behind {before} bytes");
        }
    }
    stream.write_all(&[b'x'; 4096]).await.unwrap();
}

#[tokio::test]
async fn a_placeholder_that_was_dropped_breaks_the_connection() {
    let image = Published::new();
    let (mut stream, outbox, _client) = connect().await;
    let placeholder = outbox.put(&image.lease, EXTENT, &Arc::default());
    stream.write_all(b"head").await.unwrap();
    drop(placeholder);
    assert!(stream.write_all(b"next").await.is_err());
}

#[tokio::test]
async fn an_extent_is_sent_in_place_of_its_placeholder() {
    let image = Published::new();
    let (mut stream, outbox, mut client) = connect().await;
    assert!(Outbox::takes(&image.lease, EXTENT));
    assert!(!Outbox::takes(&image.lease, Extent { len: EXTENT.len + 1, ..EXTENT }));
    let delivery = Arc::default();
    for _ in 0..2 {
        let placeholder = outbox.put(&image.lease, EXTENT, &delivery);
        assert!(!delivery.is_complete());
        let (sent, received) =
            tokio::join!(stream.write_all(&placeholder), received(&mut client, EXTENT.len));
        sent.unwrap();
        assert!(received == image.bytes(EXTENT));
        assert!(delivery.is_complete());
    }
    stream.write_all(b"next").await.unwrap();
}

/// As if all that waits had been waiting for a client.
fn let_time_pass(outbox: &Outbox) {
    for parcel in &mut outbox.queue().parcels {
        parcel.seen -= 2 * STAYS;
    }
}

#[tokio::test]
async fn what_has_left_the_memory_meanwhile_is_read_and_sent() {
    let image = Published::new();
    let (mut stream, outbox, mut client) = connect().await;
    let placeholder = outbox.put(&image.lease, EXTENT, &Arc::default());
    fadvise(image.file(), 0, None, Advice::DontNeed).unwrap();
    assert!(!image.lease.is_cached(EXTENT), "or else nothing is tested");
    let_time_pass(&outbox);
    let (sent, received) = tokio::join!(stream.write_all(&placeholder), received(&mut client, EXTENT.len));
    sent.unwrap();
    assert!(received == image.bytes(EXTENT));
}

/// A body, and what tells whether it is still there.
fn guarded() -> (Body, std::sync::Weak<()>) {
    let guard = Arc::new(());
    let there = Arc::downgrade(&guard);
    (Body::new(GuardedBody::new(Body::empty(), guard)), there)
}

#[tokio::test]
async fn a_body_is_kept_until_what_is_before_its_end_is_sent() {
    let image = Published::new();
    let (mut stream, outbox, mut client) = connect().await;
    let delivery = Arc::default();
    let first = outbox.put(&image.lease, EXTENT, &delivery);
    let (body, first_is_there) = guarded();
    outbox.keep(body);
    let second = outbox.put(&image.lease, EXTENT, &delivery);
    let (body, second_is_there) = guarded();
    outbox.keep(body);

    let (sent, _) = tokio::join!(stream.write_all(&first), received(&mut client, EXTENT.len));
    sent.unwrap();
    assert!(first_is_there.upgrade().is_none() && second_is_there.upgrade().is_some());
    let (sent, _) = tokio::join!(stream.write_all(&second), received(&mut client, EXTENT.len));
    sent.unwrap();
    assert!(second_is_there.upgrade().is_none());
    let (body, third_is_there) = guarded();
    outbox.keep(body);
    assert!(third_is_there.upgrade().is_none(), "there is nothing to wait for");
}

#[tokio::test]
async fn a_body_is_kept_no_longer_than_its_connection() {
    let image = Published::new();
    let (stream, outbox, _client) = connect().await;
    let _placeholder = outbox.put(&image.lease, EXTENT, &Arc::default());
    let (body, is_there) = guarded();
    outbox.keep(body);
    assert!(is_there.upgrade().is_some());
    drop(stream);
    assert!(is_there.upgrade().is_none());
}

#[tokio::test]
async fn what_cannot_be_read_when_its_turn_comes_is_told_the_body() {
    for is_looked_at_again in [true, false] {
        let image = Published::new();
        let (mut stream, outbox, _client) = connect().await;
        let delivery = Arc::default();
        let placeholder = outbox.put(&image.lease, EXTENT, &delivery);
        image.file().set_len(EXTENT.offset).unwrap();
        if is_looked_at_again {
            let_time_pass(&outbox);
        }
        assert!(stream.write_all(&placeholder).await.is_err());
        let (extent, error) = delivery.take_failure().unwrap();
        assert_eq!((extent.offset, error.kind()), (EXTENT.offset, io::ErrorKind::UnexpectedEof));
        assert!(!delivery.is_complete());
    }
}

//! Clients that take what they asked for slowly, or not at all.

use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use coreos_names::Arch;
use image_server::{Patience, Policy};
use image_store::{Catalog, EntryId, ImageState};
use reqwest::Client;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::site::{FULL_ISO, Published, Setup, Site, X86_64, add, fixture, wanted};

/// What can be sent from the image without a byte in memory.
pub(crate) const ROOTFS: &str = "/boot-artifacts/rootfs?version=4.18";

const BY_ID: &str = "/byid/:token";

/// A service that gives up a client which takes nothing for so long.
fn with_stall(stall: Duration) -> Setup {
    let patience = Patience { stall, ..Patience::default() };
    Setup { patience, send_buffer: Some(64 * 1024), ..Setup::default() }
}

/// A client that has asked and has a small buffer for the answer.
async fn ask(site: &Site, path: &str) -> TcpStream {
    ask_with(site, path, "connection: close\r\n").await
}

/// The same with other headers.
pub(crate) async fn ask_with(site: &Site, path: &str, headers: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut stream = socket.connect(site.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads the head of the answer and not much more.
async fn begin(stream: &mut TcpStream) {
    let mut status = [0; 16];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200 OK\r");
}

/// A service with an image that nothing else holds.
struct Held {
    site: Site,
    entry: EntryId,
    directory: TempDir,
}

impl Held {
    async fn serve(setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = Published::publish(directory.path(), fixture(Arch::X86_64), Arch::X86_64);
        let catalog = Arc::new(Catalog::default());
        let entry = add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(image.lease));
        Self { site: Site::with_catalog_and(catalog, setup).await, entry, directory }
    }

    /// Takes the image out of the catalog, so that only downloads hold it.
    fn retire(&self) {
        self.site.catalog.remove(self.entry);
        // As the collector does when nobody wants the image any more.
        self.site.catalog.set_retired(Vec::new());
    }

    fn is_open(&self) -> bool {
        let directory = self.directory.path().canonicalize().unwrap();
        open_files().iter().any(|file| file.starts_with(&directory))
    }

    async fn until_closed(&self) {
        for _ in 0..1000 {
            if !self.is_open() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the image is still open");
    }
}

/// What the descriptors of this process stand for.
fn open_files() -> Vec<PathBuf> {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    // One of them is that of the directory itself, and others may be gone by now.
    descriptors.filter_map(|descriptor| fs::read_link(descriptor.unwrap().path()).ok()).collect()
}

/// How much memory this process has, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    line.unwrap().trim().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_download_of_which_nothing_is_taken_is_cut_off() {
    let held = Held::serve(with_stall(Duration::from_secs(1))).await;
    let mut stream = ask(&held.site, FULL_ISO).await;
    begin(&mut stream).await;
    held.retire();
    assert!(held.is_open(), "the download holds the image");
    held.site.until_in_flight(BY_ID, 0).await;
    held.until_closed().await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < X86_64.iso.len(), "{}", rest.len());
}

#[tokio::test]
async fn a_slow_download_is_never_cut_off() {
    let stall = Duration::from_secs(2);
    let site = Site::with(with_stall(stall)).await;
    let begun = Instant::now();
    let mut stream = ask(&site, FULL_ISO).await;
    let mut answer = Vec::new();
    while begun.elapsed() < 3 * stall {
        let mut piece = vec![0; 256 * 1024];
        stream.read_exact(&mut piece).await.unwrap();
        answer.append(&mut piece);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(site.in_flight(BY_ID).await, 1, "the download was not complete before");
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > X86_64.iso.len());
}

#[tokio::test]
async fn a_download_of_which_less_is_taken_than_makes_room_in_the_send_buffer_is_not_cut_off() {
    let stall = Duration::from_secs(4);
    // As large as the system allows (net.core.wmem_max, which is 208 KiB or more, doubled); a third has to be free.
    let setup = Setup { send_buffer: Some(4 * 1024 * 1024), ..with_stall(stall) };
    let site = Site::with(setup).await;
    let mut stream = ask(&site, FULL_ISO).await;
    begin(&mut stream).await;
    let begun = Instant::now();
    // Less than this and the client's own system would not tell ours.
    let mut piece = vec![0; 12 * 1024];
    while begun.elapsed() < 3 * stall {
        stream.read_exact(&mut piece).await.unwrap();
        tokio::time::sleep(stall / 8).await;
    }
    assert_eq!(site.in_flight(BY_ID).await, 1);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() > X86_64.iso.len() - 1024 * 1024);
}

#[tokio::test]
async fn a_stream_of_which_nothing_is_taken_is_cut_off_and_its_neighbours_go_on() {
    let held = Held::serve(with_stall(Duration::from_secs(2))).await;
    let client = Client::builder()
        .http2_prior_knowledge()
        .http2_initial_stream_window_size(256 * 1024)
        .http2_initial_connection_window_size(4 * 1024 * 1024)
        .no_proxy()
        .build()
        .unwrap();
    let stalled = client.get(held.site.url(FULL_ISO)).send().await.unwrap();
    let mut neighbour = client.get(held.site.url(FULL_ISO)).send().await.unwrap();
    held.site.until_in_flight(BY_ID, 2).await;
    let mut len = 0;
    while held.site.in_flight(BY_ID).await == 2 {
        len += neighbour.chunk().await.unwrap().unwrap().len();
    }
    assert!(stalled.bytes().await.is_err());
    assert_eq!(len + neighbour.bytes().await.unwrap().len(), X86_64.iso.len());
    held.site.until_in_flight(BY_ID, 0).await;
    held.retire();
    held.until_closed().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_mid_download_gives_back_its_slot_and_the_image() {
    let max_concurrent_requests = NonZeroU32::MIN;
    let policy = Policy { max_concurrent_requests, queue_time: Duration::from_hours(1), ..Policy::default() };
    let held = Held::serve(Setup { policy, ..Setup::default() }).await;
    let mut stream = ask(&held.site, FULL_ISO).await;
    begin(&mut stream).await;
    held.site.until_in_flight(BY_ID, 1).await;
    drop(stream);
    let client = Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let mut response = client.get(held.site.url(FULL_ISO)).send().await.unwrap();
    assert_ne!(response.chunk().await.unwrap().unwrap().len(), 0);
    drop(response);
    assert_eq!(held.site.get(FULL_ISO).await.body.len(), X86_64.iso.len());
    held.site.until_in_flight(BY_ID, 0).await;
    held.retire();
    held.until_closed().await;
}

#[tokio::test]
async fn a_download_has_its_slot_until_its_client_has_taken_it() {
    let setup = Setup { send_buffer: Some(64 * 1024), ..Setup::default() };
    let held = Held::serve(setup).await;
    let mut stream = ask_with(&held.site, ROOTFS, "range: bytes=-1048576\r\n").await;
    let mut begun = BytesMut::new();
    let head_len = loop {
        stream.read_buf(&mut begun).await.unwrap();
        if let Some(end) = begun.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
    };
    assert!(begun.starts_with(b"HTTP/1.1 206 "));
    let handler = "/boot-artifacts/rootfs";
    assert_eq!(held.site.in_flight(handler).await, 1, "most of it is still to be sent");
    held.retire();
    assert!(held.is_open());
    let mut rest = vec![0; head_len + (1 << 20) - begun.len()];
    stream.read_exact(&mut rest).await.unwrap();
    held.site.until_in_flight(handler, 0).await;
    held.until_closed().await;
    stream.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut next = [0; 15];
    stream.read_exact(&mut next).await.unwrap();
    assert_eq!(&next, b"HTTP/1.1 200 OK", "and the connection goes on");
}

#[tokio::test]
async fn a_thousand_slow_clients_cost_a_bounded_amount_each_and_keep_nobody_waiting() {
    const CLIENTS: usize = 1000;
    let limit = Rlimit { current: getrlimit(Resource::Nofile).maximum, ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let policy = Policy { max_concurrent_requests: NonZeroU32::new(1001).unwrap(), ..Policy::default() };
    let setup = Setup { policy, send_buffer: Some(64 * 1024), ..Setup::default() };
    let held = Held::serve(setup).await;
    let images = |files: &[PathBuf]| {
        let directory = held.directory.path().canonicalize().unwrap();
        files.iter().filter(|file| file.starts_with(&directory)).count()
    };
    let (before, memory) = (open_files(), resident());

    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = ask(&held.site, FULL_ISO).await;
        begin(&mut client).await;
        clients.push(client);
    }
    for _ in 0..3 {
        for client in &mut clients {
            client.read_exact(&mut [0; 1024]).await.unwrap();
        }
    }
    assert_eq!(held.site.in_flight(BY_ID).await, CLIENTS as u64);
    assert_eq!(held.site.get(FULL_ISO).await.body.len(), X86_64.iso.len());

    let during = open_files();
    assert_eq!(images(&during), images(&before), "all read through one descriptor");
    // Both ends of each connection are in this process, and other tests are.
    assert!(during.len() < before.len() + 2 * CLIENTS + 500, "{} after {}", during.len(), before.len());
    let each = resident().saturating_sub(memory) / CLIENTS as u64;
    // Three pieces of the image, and what the runtime needs for both ends.
    assert!(each < 1536 * 1024, "{each} bytes each");

    drop(clients);
    held.site.until_in_flight(BY_ID, 0).await;
}

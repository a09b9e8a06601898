//! Peers that are never silent and never done: whoever asks them is answered all the same.
//!
//! The clock stands still from the moment on at which the peer is reached, and goes on whenever everybody waits for it.

use std::sync::Arc;
use std::time::Duration;

use coreos_names::WithCauses;
use futures_util::future::join;
use oci_registry::{
    CheckTarget, Config, Descriptor, Digest, Error, ImageManifest, PullSecret, Reference, Registry, Retry,
    Verdict,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, pause, sleep};

use crate::support::config;

/// What is sent for one path, and how.
#[derive(Clone)]
struct Answer {
    path_end: String,
    bytes: Vec<u8>,
    /// How much of it comes at once.
    prompt: usize,
    /// The rest comes in pieces of this size,
    piece: usize,
    /// each after so long.
    pause: Duration,
}

impl Answer {
    fn prompt(path_end: &str, head: &str, body: &str) -> Self {
        let length = body.len();
        let bytes = format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        let (path_end, prompt) = (path_end.to_owned(), bytes.len());
        Self { path_end, bytes: bytes.into(), prompt, piece: 1, pause: Duration::from_secs(10) }
    }

    /// From the last so many bytes on, one at a time.
    fn trickling(self, last: usize) -> Self {
        Self { prompt: self.bytes.len() - last, ..self }
    }

    /// Nothing for a while, and then everything.
    fn late(self, pause: Duration) -> Self {
        Self { prompt: 0, piece: self.bytes.len(), pause, ..self }
    }
}

/// A registry that answers with what it is told to.
struct Site {
    address: String,
    /// Told when the first slow answer has begun.
    slow: Arc<Notify>,
    server: JoinHandle<()>,
}

impl Site {
    async fn start(answers: impl FnOnce(&str) -> Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (answers, slow) = (Arc::new(answers(&address)), Arc::new(Notify::new()));
        let told = Arc::clone(&slow);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&answers), Arc::clone(&told)));
            }
        });
        Self { address, slow, server }
    }

    fn reference(&self) -> Reference {
        format!("{}/a/b:t", self.address).parse().unwrap()
    }

    /// A client that asks once.
    fn client(&self, change: impl FnOnce(Config) -> Config) -> Registry {
        let config = config(PullSecret::default(), &[&self.address]);
        Registry::new(change(Config { retry: Retry { tries: 1, ..Retry::default() }, ..config })).unwrap()
    }

    /// What comes of a request that runs into the slow answer.
    async fn outcome<T>(&self, request: impl Future<Output = T>) -> T {
        let reached = async {
            self.slow.notified().await;
            pause();
        };
        join(request, reached).await.0
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(mut stream: TcpStream, answers: Arc<Vec<Answer>>, slow: Arc<Notify>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            // Not the beginning of a TLS handshake, which is tried first.
            Ok(byte) if byte.is_ascii_graphic() || byte.is_ascii_whitespace() => request.push(byte),
            _ => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().split('?').next().unwrap();
    let Some(answer) = answers.iter().find(|answer| path.ends_with(&answer.path_end)) else {
        panic!("nobody asks for {path}");
    };
    let (prompt, rest) = answer.bytes.split_at(answer.prompt);
    // A client that has given up is none of our business.
    let _ = stream.write_all(prompt).await;
    for piece in rest.chunks(answer.piece) {
        slow.notify_one();
        sleep(answer.pause).await;
        let _ = stream.write_all(piece).await;
    }
}

const LONG: usize = 1000;

fn open() -> Answer {
    Answer::prompt("/v2/", "200 OK", "{}")
}

fn challenge(address: &str) -> Answer {
    let head = format!("401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{address}/token\"");
    Answer::prompt("/v2/", &head, "")
}

fn timed_out(error: &Error, url: &str) {
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("no whole answer from {url} within 120s"));
    assert!(error.is_retryable() && error.is_silence());
}

#[tokio::test]
async fn a_manifest_that_trickles_is_given_up() {
    let body = "x".repeat(LONG);
    let site = Site::start(|_| vec![open(), Answer::prompt("/t", "200 OK", &body).trickling(LONG)]).await;
    let (client, reference) = (site.client(|config| config), site.reference());
    let error = site.outcome(client.manifest(&reference)).await.unwrap_err();
    timed_out(&error, &format!("http://{}/v2/a/b/manifests/t", site.address));
}

#[tokio::test]
async fn a_token_that_trickles_is_given_up() {
    let body = "x".repeat(LONG);
    let answers =
        |address: &str| vec![challenge(address), Answer::prompt("/token", "200 OK", &body).trickling(LONG)];
    let site = Site::start(answers).await;
    let (client, reference) = (site.client(|config| config), site.reference());
    let error = site.outcome(client.manifest(&reference)).await.unwrap_err();
    timed_out(&error, &format!("http://{}/token", site.address));
}

#[tokio::test]
async fn a_head_that_trickles_is_given_up() {
    let head = format!("200 OK\r\nX-Long: {}", "x".repeat(LONG));
    let site = Site::start(|_| vec![Answer::prompt("/v2/", &head, "").trickling(LONG)]).await;
    // Heads have to come within the time that a peer may be silent.
    let patient = |config| Config { read_timeout: Duration::from_hours(1), ..config };
    let (client, reference) = (site.client(patient), site.reference());
    let error = site.outcome(client.manifest(&reference)).await.unwrap_err();
    timed_out(&error, &format!("http://{}/v2/", site.address));
}

#[tokio::test]
async fn redirects_take_their_time_together() {
    let hop = |path: &str, to: &str| {
        let head = format!("307 Temporary Redirect\r\nLocation: {to}");
        Answer::prompt(path, &head, "").late(Duration::from_secs(50))
    };
    let site = Site::start(|_| vec![open(), hop("/t", "/1"), hop("/1", "/2"), hop("/2", "/3")]).await;
    let (client, reference) = (site.client(|config| config), site.reference());
    let error = site.outcome(client.manifest(&reference)).await.unwrap_err();
    timed_out(&error, &format!("http://{}/2", site.address));
}

fn blob(length: usize) -> (Descriptor, String) {
    let body = "x".repeat(length);
    let (digest, media_type) = (Digest::of(body.as_bytes()), String::new());
    (Descriptor { digest, size: length as u64, media_type, platform: None }, body)
}

#[tokio::test]
async fn a_configuration_that_trickles_is_given_up() {
    let (config, body) = blob(LONG);
    let path = format!("/blobs/{}", config.digest);
    let site = Site::start(|_| vec![open(), Answer::prompt(&path, "200 OK", &body).trickling(LONG)]).await;
    let (client, reference) = (site.client(|config| config), site.reference());
    let image = ImageManifest { config, layers: Vec::new() };
    let error = site.outcome(client.config(&reference, &image)).await.unwrap_err();
    timed_out(&error, &format!("http://{}/v2/a/b{path}", site.address));
}

#[tokio::test]
async fn a_layer_may_take_longer_as_long_as_it_gets_on() {
    let (layer, body) = blob(20);
    let path = format!("/blobs/{}", layer.digest);
    let site = Site::start(|_| vec![open(), Answer::prompt(&path, "200 OK", &body).trickling(20)]).await;
    let (client, reference) = (site.client(|config| config), site.reference());
    let download = async {
        let start = Instant::now();
        let bytes = client.blob(&reference, &layer).await?.bytes(u64::MAX).await?;
        Ok::<_, Error>((bytes, start.elapsed()))
    };
    let (bytes, took) = site.outcome(download).await.unwrap();
    assert!(bytes == body && took > Config::default().request_timeout, "{took:?}");
}

#[tokio::test]
async fn a_refusal_whose_words_trickle_is_one() {
    let body = "x".repeat(LONG);
    let missing = Answer::prompt("/t", "404 Not Found", &body).trickling(LONG);
    let site = Site::start(|_| vec![open(), missing]).await;
    let (client, reference) = (site.client(|config| config), site.reference());
    let error = site.outcome(client.manifest(&reference)).await.unwrap_err();
    assert!(error.is_not_found() && !error.to_string().contains('('), "{error}");
}

#[tokio::test]
async fn who_trickles_when_credentials_are_tried_is_unreachable() {
    let body = "x".repeat(LONG);
    let answers =
        |address: &str| vec![challenge(address), Answer::prompt("/token", "200 OK", &body).trickling(LONG)];
    let site = Site::start(answers).await;
    let client = site.client(|config| config);
    let target: CheckTarget = site.address.parse().unwrap();
    let verdict = site.outcome(client.check(&target)).await;
    let Verdict::Unreachable(error) = verdict else { panic!("{verdict}") };
    assert!(WithCauses(&error).to_string().contains("/token within 120s"), "{error}");
}

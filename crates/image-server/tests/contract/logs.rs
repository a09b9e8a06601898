use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use coreos_names::Arch;
use image_store::{Catalog, ImageState};
use serde_json::Value;
use test_support::NOBODY;
use test_support::assisted_service::Reply;
use test_support::fixtures::LiveIso;
use tokio::io::AsyncReadExt;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use url::Url;

use crate::site::{FULL_ISO, ID, Published, Setup, Site, add, assisted_service, fixture, wanted};
use crate::slow_clients::{ROOTFS, ask_with};

/// What this thread logs; a test and its service share one.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn capture() -> (Self, DefaultGuard) {
        // Tracing remembers of each event whether anybody wants it. Where only one thread has a subscriber, another one that
        // comes to the event first says for all that nobody does; so all have one.
        static FOR_ALL_THREADS: Once = Once::new();
        FOR_ALL_THREADS.call_once(|| {
            let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        });
        let log = Self::default();
        let json = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(log.clone());
        // What libraries say below a warning the front door keeps out, too.
        let ours = Targets::new()
            .with_default(tracing::Level::WARN)
            .with_target("image_server", tracing::Level::TRACE);
        let subscriber = tracing_subscriber::registry().with(json).with(ours);
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The events of requests, once there are so many.
    async fn requests(&self, count: usize) -> Vec<Value> {
        for _ in 0..1000 {
            let text = self.text();
            let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let requests: Vec<_> = events.filter(|event| event["message"] == "request").collect();
            if requests.len() >= count {
                assert_eq!(requests.len(), count, "{text}");
                return requests;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("too few requests in\n{}", self.text())
    }
}

impl io::Write for Log {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_request_is_one_event_when_its_body_has_ended() {
    let (log, _guard) = Log::capture();
    let site = Site::start().await;
    let len = site.get(FULL_ISO).await.body.len();
    let event = &log.requests(1).await[0];
    assert_eq!(event["level"], "INFO");
    assert_eq!(event["http.method"], "GET");
    assert_eq!(event["http.route"], "/byid/{infra_env}/{version}/{arch}/{file}");
    assert_eq!(event["http.status_code"], 200);
    assert_eq!(event["http.response_bytes"], len);
    assert_eq!(event["http.complete"], true);
    assert!(event["duration_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(event["request.id"].as_str().unwrap().len(), 36);
    assert_eq!(event.get("error"), None);

    let directory = tempfile::tempdir().unwrap();
    let iso = std::fs::read(LiveIso::S390xOcp4_11.path()).unwrap();
    let old = Published::publish(directory.path(), iso.into(), Arch::S390x);
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.11", Arch::S390x), ImageState::Ready(old.lease));
    let site = Site::with_base_url("http://images.example.com", catalog).await;
    site.get(&format!("/byid/{ID}/4.11/s390x/minimal.iso")).await;
    let event = &log.requests(2).await[1];
    assert_eq!((&event["level"], &event["http.status_code"]), (&"INFO".into(), &404.into()));
    let error = event["error"].as_str().unwrap();
    assert!(error.starts_with("no minimal ISO can be made of this image: "), "{error}");
}

#[tokio::test]
async fn the_chatter_of_probes_is_for_debugging() {
    let (log, _guard) = Log::capture();
    let site = Site::start().await;
    for path in ["/health", "/live", "/metrics"] {
        site.get(path).await;
    }
    for event in log.requests(3).await {
        assert_eq!(event["level"], "DEBUG", "{event}");
    }
}

#[tokio::test]
async fn ranges_are_for_debugging() {
    let (log, _guard) = Log::capture();
    let site = Site::start().await;
    assert_eq!(site.get_with(FULL_ISO, &[("range", "bytes=0-9")]).await.status, 206);
    let event = &log.requests(1).await[0];
    assert_eq!((&event["level"], &event["http.response_bytes"]), (&"DEBUG".into(), &10.into()));
}

#[tokio::test]
async fn a_client_that_leaves_early_is_seen() {
    let (log, _guard) = Log::capture();
    let site = Site::start().await;
    drop(site.client.get(site.url(FULL_ISO)).send().await.unwrap());
    let event = &log.requests(1).await[0];
    assert_eq!(event["http.complete"], false);
    assert_eq!(event["http.status_code"], 200);
}

/// A service that sends little beyond what its clients take, and its image.
async fn with_small_buffers(directory: &Path) -> (Site, Published) {
    let image = Published::publish(directory, fixture(Arch::X86_64), Arch::X86_64);
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(image.lease.clone()));
    let setup = Setup { send_buffer: Some(64 * 1024), ..Setup::default() };
    (Site::with_catalog_and(catalog, setup).await, image)
}

#[tokio::test]
async fn a_client_that_leaves_before_it_has_taken_the_end_is_seen() {
    let (log, _guard) = Log::capture();
    let directory = tempfile::tempdir().unwrap();
    let (site, _image) = with_small_buffers(directory.path()).await;
    let mut stream = ask_with(&site, ROOTFS, "range: bytes=-1048576\r\n").await;
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    drop(stream);
    let event = &log.requests(1).await[0];
    assert_eq!(event["http.complete"], false);
    assert_eq!(event.get("error"), None);
}

#[tokio::test]
async fn an_image_that_cannot_be_read_when_its_turn_comes_is_one_event() {
    let (log, _guard) = Log::capture();
    let directory = tempfile::tempdir().unwrap();
    let (site, image) = with_small_buffers(directory.path()).await;
    let mut stream = ask_with(&site, ROOTFS, "range: bytes=-1048576\r\n").await;
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    std::fs::File::options().write(true).open(&image.path).unwrap().set_len(1000).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 1 << 20, "{}", rest.len());
    let event = &log.requests(1).await[0];
    assert_eq!(event["level"], "WARN");
    assert_eq!(event["http.complete"], false);
    let error = event["error"].as_str().unwrap();
    assert!(error.starts_with("cannot read ") && error.contains("of the image 418.94"), "{error}");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_seen() {
    let (log, _guard) = Log::capture();
    let site = Site::start().await;
    site.upstream.set_ignition(Reply::hangs());
    let request = site.client.get(site.url(FULL_ISO)).send();
    assert!(tokio::time::timeout(Duration::from_millis(200), request).await.is_err());
    let event = &log.requests(1).await[0];
    assert_eq!(event["http.complete"], false);
    assert_eq!(event.get("http.status_code"), None);
}

#[tokio::test]
async fn trouble_of_ours_is_logged_with_all_its_causes_under_the_id_that_the_client_got() {
    let (log, _guard) = Log::capture();
    let url = Url::parse(&format!("http://{NOBODY}")).unwrap();
    let site = Site::with_infra_envs(assisted_service(&url, Duration::from_secs(20))).await;
    let answer = site.get(FULL_ISO).await;
    let event = &log.requests(1).await[0];
    assert_eq!(event["level"], "WARN");
    assert!(answer.text().contains(event["request.id"].as_str().unwrap()));
    let error = event["error"].as_str().unwrap();
    assert!(error.starts_with("the source of infra-envs cannot be asked for the "), "{error}");
    assert!(error.contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn an_image_that_cannot_be_read_is_one_event() {
    let (log, _guard) = Log::capture();
    let directory = tempfile::tempdir().unwrap();
    let image = Published::publish(directory.path(), fixture(Arch::X86_64), Arch::X86_64);
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(image.lease));
    let site = Site::with_catalog(catalog).await;
    std::fs::File::options().write(true).open(&image.path).unwrap().set_len(1_000_000).unwrap();
    let response = site.client.get(site.url(FULL_ISO)).send().await.unwrap();
    assert!(response.bytes().await.is_err());
    let event = &log.requests(1).await[0];
    assert_eq!(event["level"], "WARN");
    assert_eq!(event["http.complete"], false);
    let error = event["error"].as_str().unwrap();
    assert!(error.starts_with("cannot read 262144 bytes at 786432 of the image 418.94"), "{error}");
    assert_eq!(error.matches("cannot read").count(), 1, "{error}");
    let events = log.text();
    assert_eq!(events.lines().filter(|line| !line.contains("DEBUG")).count(), 1, "{events}");
}

#[tokio::test]
async fn no_secret_is_ever_logged() {
    let (log, _guard) = Log::capture();
    let unreachable = Url::parse(&format!("http://{NOBODY}")).unwrap();
    let token = format!("SECRET.{}.SECRET", BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"{ID}"}}"#)));
    let sites = [
        Site::start().await,
        Site::impatient().await,
        Site::with_infra_envs(assisted_service(&unreachable, Duration::from_secs(20))).await,
    ];
    sites[0].upstream.set_ignition(Reply::ok(r#"{"ignition":{"config":"SECRET"}}"#));
    sites[1].upstream.set_ignition(Reply::hangs());
    let paths = [
        format!("/bytoken/{token}/4.18/x86_64/full.iso"),
        format!("/byapikey/{token}/4.18/x86_64/full.iso"),
        format!("/byapikey/{token}/4.18/x86_64/SECRET.iso"),
        format!("/byapikey/{token}SECRET/4.18/x86_64"),
        "/byapikey/SECRET/4.18/x86_64/full.iso".to_owned(),
        format!("{FULL_ISO}?api_key=SECRET"),
        format!("{FULL_ISO}?image_token=SECRET"),
        format!("{FULL_ISO}?image_token=SECRET%0a"),
        format!("/images/{ID}?version=4.18&type=SECRET"),
        "/boot-artifacts/SECRET?version=SECRET".to_owned(),
        "/SECRET?SECRET".to_owned(),
    ];
    let mut count = 0;
    for site in &sites {
        for path in &paths {
            site.request(reqwest::Method::HEAD, path, &[("authorization", "Bearer SECRET")]).await;
            count += 1;
        }
    }
    for arguments in [r#"["SECRET"]"#, r#"[{"operation":"append","value":"SECRET\n"}]"#, "SECRET"] {
        sites[0].upstream.set_kernel_arguments(arguments);
        assert_eq!(sites[0].get(FULL_ISO).await.status, 422);
        count += 1;
    }
    sites[0].upstream.set_infra_env(Reply::ok(r#""SECRET""#));
    assert_eq!(sites[0].get(FULL_ISO).await.status, 502);
    log.requests(count + 1).await;
    assert!(!log.text().contains("SECRET"), "{}", log.text());
}

//! The client of web servers against a web server: everything that can go wrong on the way from a URL to bytes.

use std::io;
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime};

use coreos_names::WithCauses;
use provision::RetryPolicy;
use provision::origin::{
    Config, Error, MinRate, Origin, OriginUrl, Permission, QueryParams, RequestHeaders, Sink,
};
use test_support::install_crypto_provider;
use test_support::origin::{Fault, File, OriginServer};
use test_support::payload::Content;
use test_support::registry::Certificate;

const SIZE: usize = 8 << 20;
const HALF: u64 = 4 << 20;
const MODIFIED: &str = "Tue, 21 Oct 2025 07:28:00 GMT";

/// One of two files whose bytes differ wherever one looks.
fn content(number: usize) -> Content {
    static CONTENTS: LazyLock<[Content; 2]> = LazyLock::new(|| {
        [1_u64, 2].map(|mut state| {
            let next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            };
            std::iter::repeat_with(next).take(SIZE).collect::<Vec<_>>().into()
        })
    });
    CONTENTS[number - 1].clone()
}

/// Keeps what it is given.
#[derive(Default)]
struct Memory {
    bytes: Vec<u8>,
    validator: Option<String>,
    restarts: usize,
    totals: Vec<Option<u64>>,
    /// When this many bytes are there the disk is full, once.
    full_at: Option<usize>,
}

impl Sink for Memory {
    fn written(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn validator(&self) -> Option<&str> {
        self.validator.as_deref()
    }

    fn restart(&mut self, validator: Option<&str>) -> io::Result<()> {
        self.bytes.clear();
        self.validator = validator.map(str::to_owned);
        self.restarts += 1;
        Ok(())
    }

    fn begin(&mut self, total: Option<u64>) -> io::Result<()> {
        self.totals.push(total);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.full_at.is_some_and(|limit| self.bytes.len() + bytes.len() > limit) {
            self.full_at = None;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

fn config() -> Config {
    install_crypto_provider();
    let moment = Duration::from_millis(1);
    Config { retry: RetryPolicy { shortest: moment, longest: Duration::from_secs(5) }, ..Config::default() }
}

async fn download_with(config: Config, url: &str, sink: Memory) -> (Memory, Result<(), Error>) {
    let url: OriginUrl = url.parse().unwrap();
    Origin::new(config).unwrap().download(&url, sink).await
}

/// Downloads what must arrive.
async fn download(config: Config, url: &str) -> Memory {
    let (sink, result) = download_with(config, url, Memory::default()).await;
    result.unwrap_or_else(|error| panic!("{}", WithCauses(&error)));
    sink
}

/// Downloads what must not arrive. Returns why, and what did.
async fn failure(config: Config, url: &str) -> (Error, Memory) {
    let (sink, result) = download_with(config, url, Memory::default()).await;
    (result.expect_err("it failed"), sink)
}

fn assert_holds(sink: &Memory, content: &Content) {
    assert_eq!(sink.bytes.len() as u64, content.size());
    assert!(sink.bytes == content.bytes().unwrap());
}

#[tokio::test]
async fn a_file_is_asked_for_once_and_as_it_is() {
    let server = OriginServer::start().await;
    let file = content(1);
    let url = server.publish("/x.iso", File::new(file.clone()));
    let sink = download(Config { user_agent: "tester/1".to_owned(), ..config() }, &url).await;
    assert_holds(&sink, &file);
    assert_eq!((sink.restarts, sink.totals), (1, vec![Some(SIZE as u64)]));
    assert_eq!(sink.validator, Some(format!("\"{}\"", file.sha256())));
    let [request] = server.requests().try_into().unwrap();
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.header("user-agent"), Some("tester/1"));
    assert_eq!((request.header("range"), request.header("if-range")), (None, None));
}

#[tokio::test]
async fn a_broken_connection_is_resumed_at_the_byte() {
    for (file, validator) in [
        (File::new(content(1)).etag("\"v1\""), "\"v1\""),
        (File::new(content(1)).no_etag().last_modified(MODIFIED), MODIFIED),
        (File::new(content(1)).etag("\"v1\"").chunked(), "\"v1\""),
    ] {
        let server = OriginServer::start().await;
        let url = server.publish("/x.iso", file);
        // More often than it is tried without coming on.
        for _ in 0..5 {
            server.inject_once("/x.iso", Fault::CutAfter(3 << 19));
        }
        let sink = download(config(), &url).await;
        assert_holds(&sink, &content(1));
        assert_eq!(sink.restarts, 1, "{validator}");
        let requests = server.requests();
        assert_eq!(requests.len(), 6, "{validator}");
        for (before, request) in requests.iter().zip(&requests[1..]) {
            let first = |range: Option<&str>| -> u64 {
                range.map_or(0, |range| range["bytes=".len()..range.len() - 1].parse().unwrap())
            };
            assert!(first(request.header("range")) > first(before.header("range")));
            assert_eq!(request.header("if-range"), Some(validator));
        }
    }
}

#[tokio::test]
async fn without_a_strong_validator_it_starts_over() {
    let just_now = httpdate::fmt_http_date(SystemTime::now());
    for file in [
        File::new(content(1)).etag("W/\"v1\"").last_modified(MODIFIED),
        File::new(content(1)).no_etag(),
        File::new(content(1)).no_etag().last_modified(&just_now),
    ] {
        let server = OriginServer::start().await;
        let url = server.publish("/x.iso", file);
        server.inject_once("/x.iso", Fault::CutAfter(HALF));
        let sink = download(config(), &url).await;
        assert_holds(&sink, &content(1));
        assert_eq!((sink.restarts, server.ranges_asked()), (2, vec![None, None]));
    }
}

#[tokio::test]
async fn a_server_without_ranges_sends_everything_again() {
    let server = OriginServer::start().await;
    let url = server.publish("/x.iso", File::new(content(1)).no_ranges());
    server.inject_once("/x.iso", Fault::CutAfter(HALF));
    let sink = download(config(), &url).await;
    assert_holds(&sink, &content(1));
    assert_eq!(sink.restarts, 2);
    assert!(server.ranges_asked()[1].is_some());
}

#[tokio::test]
async fn a_file_that_changes_half_way_is_taken_whole() {
    let changed = [
        File::new(content(2)),
        // Is shorter than what is there already, so that there is no such range.
        File::new(Content::from_bytes("short")).etag("\"v1\""),
        // Says nothing, but is of another size.
        File::new(content(2)).etag("\"v1\"").content_range("bytes 1-2/3"),
    ];
    for after in changed {
        let expected = after.clone();
        let server = OriginServer::start().await;
        let url = server.publish("/x.iso", File::new(content(1)).etag("\"v1\"").then(after));
        server.inject_once("/x.iso", Fault::CutAfter(HALF));
        let sink = download(config(), &url).await;
        assert_holds(&sink, expected.content());
        assert_eq!(sink.restarts, if server.requests().len() == 2 { 2 } else { 3 });
    }
}

#[tokio::test]
async fn a_part_of_another_file_is_not_joined_on() {
    // Its server believes the validator, but what it sends is tagged otherwise.
    let server = OriginServer::start().await;
    let liar = File::new(content(2)).etag("\"v2\"").ignoring_if_range();
    let url = server.publish("/x.iso", File::new(content(1)).etag("\"v1\"").then(liar));
    server.inject_once("/x.iso", Fault::CutAfter(HALF));
    let sink = download(config(), &url).await;
    assert_holds(&sink, &content(2));
}

#[tokio::test]
async fn a_failed_download_is_gone_on_with_by_the_next() {
    let server = OriginServer::start().await;
    let url = server.publish("/x.iso", File::new(content(1)));
    server.inject("/x.iso", Fault::CutAfter(HALF));
    let config = || Config { tries: 1, ..config() };
    let (error, sink) = failure(config(), &url).await;
    assert!(error.is_retryable(), "{error}");
    assert!(sink.written() > 0);
    let there = sink.written();
    server.heal();
    let (sink, result) = download_with(config(), &url, sink).await;
    result.unwrap();
    assert_holds(&sink, &content(1));
    assert_eq!(server.ranges_asked().last().unwrap().as_deref(), Some(format!("bytes={there}-").as_str()));
}

#[tokio::test]
async fn a_validator_that_is_no_header_is_not_sent() {
    let server = OriginServer::start().await;
    let url = server.publish("/x.iso", File::new(content(1)));
    let sink = Memory { bytes: vec![0; 7], validator: Some("\"a\nb\"".to_owned()), ..Memory::default() };
    let (sink, result) = download_with(config(), &url, sink).await;
    result.unwrap();
    assert_holds(&sink, &content(1));
    assert_eq!(server.ranges_asked(), [None]);
}

#[tokio::test]
async fn chunks_without_a_length_are_accepted() {
    let server = OriginServer::start().await;
    let url = server.publish("/x.iso", File::new(content(1)).chunked());
    let sink = download(config(), &url).await;
    assert_holds(&sink, &content(1));
    assert_eq!(sink.totals, [None]);
}

#[tokio::test]
async fn more_or_less_than_was_said_is_not_the_file() {
    let server = OriginServer::start().await;
    let more = server.publish("/more.iso", File::new(content(1)).stated_length(SIZE as u64 + 1).no_ranges());
    let (error, _) = failure(config(), &more).await;
    let said = format!("of {} bytes", SIZE + 1);
    assert!(matches!(error, Error::BrokenOff { .. }) && error.to_string().contains(&said), "{error}");

    // HTTP ends the body there, so that it is for the prover to find out.
    let less = server.publish("/less.iso", File::new(content(1)).stated_length(HALF));
    assert_eq!(download(config(), &less).await.written(), HALF);
}

#[tokio::test]
async fn a_silent_server_is_left_and_asked_again() {
    let server = OriginServer::start().await;
    let url = server.publish("/x.iso", File::new(content(1)));
    server.inject_once("/x.iso", Fault::StallAfter(HALF));
    let sink = download(Config { read_timeout: Duration::from_secs(1), ..config() }, &url).await;
    assert_holds(&sink, &content(1));
    assert_eq!(sink.restarts, 1);
    assert!(server.requests().len() > 1);
}

#[tokio::test]
async fn a_server_that_trickles_is_left_and_asked_again() {
    let server = OriginServer::start().await;
    let url = server.publish("/x.iso", File::new(content(1)));
    // More than can trickle in that time, whatever machine this is.
    let min_rate = MinRate { bytes: 1 << 20, within: Duration::from_secs(1) };
    server.inject_once("/x.iso", Fault::TrickleAfter(HALF + 7));
    assert_holds(&download(Config { min_rate, ..config() }, &url).await, &content(1));
    assert_eq!(server.ranges_asked().len(), 2);
    let resumed: u64 =
        server.ranges_asked()[1].as_deref().unwrap()["bytes=".len()..].trim_end_matches('-').parse().unwrap();
    assert!((HALF..HALF + (1 << 20)).contains(&resumed), "{resumed}");

    server.inject("/x.iso", Fault::TrickleAfter(0));
    let (error, _) = failure(Config { min_rate, tries: 1, ..config() }, &url).await;
    assert!(matches!(error, Error::TooSlow { .. }) && error.is_retryable(), "{error}");
    assert_eq!(error.to_string(), format!("{url} sends fewer than 1048576 bytes in 1 s"));
}

#[tokio::test]
async fn others_go_first_while_a_server_that_brought_nothing_is_left_alone() {
    /// Notes what happens to it.
    struct Noted(Vec<&'static str>);

    impl Permission for Noted {
        fn give_back(&mut self) {
            self.0.push("given back");
        }

        async fn regain(&mut self) {
            self.0.push("regained");
        }
    }

    let server = OriginServer::start().await;
    let url = server.publish("/x.iso", File::new(content(1)));
    server.inject_once("/x.iso", Fault::status(503));
    server.inject_once("/x.iso", Fault::CutAfter(HALF));
    let mut permission = Noted(Vec::new());
    let origin = Origin::new(config()).unwrap();
    let (sink, result) =
        origin.download_permitted(&url.parse().unwrap(), Memory::default(), &mut permission).await;
    result.unwrap();
    assert_holds(&sink, &content(1));
    // The second request brought bytes, so the download goes on without queueing again.
    assert_eq!(permission.0, ["given back", "regained", "regained"]);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_when_it_says() {
    let server = OriginServer::start().await;
    let url = server.publish("/x.iso", File::new(content(1)));
    server.inject_once("/x.iso", Fault::Status(503, vec![("retry-after", "1".to_owned())]));
    server.inject_once("/x.iso", Fault::Status(429, vec![("retry-after", "0".to_owned())]));
    let started = Instant::now();
    assert_holds(&download(config(), &url).await, &content(1));
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_server_that_asks_for_a_long_wait_is_left_alone() {
    let server = OriginServer::start().await;
    let url = server.publish("/x.iso", File::new(content(1)));
    server.inject("/x.iso", Fault::Status(429, vec![("retry-after", "3600".to_owned())]));
    let (error, _) = failure(config(), &url).await;
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn what_will_not_help_is_not_tried_again() {
    let server = OriginServer::start().await;
    server.publish("/x.iso", File::new(content(1)));
    server.publish("/encoded.iso", File::new(content(1)).encoding("gzip"));
    server.inject("/secret.iso", Fault::status(401));
    for (path, tries, reason) in [
        ("/gone.iso?token=secret", 1, "/gone.iso answers 404 Not Found"),
        ("/secret.iso", 1, "/secret.iso answers 401 Unauthorized"),
        ("/encoded.iso", 1, "/encoded.iso sends the file encoded as \"gzip\"; it has to be sent as it is"),
    ] {
        server.clear_requests();
        let url = server.url(path).replace("http://", "http://user:secret@");
        let (error, sink) = failure(config(), &url).await;
        assert_eq!(WithCauses(&error).to_string(), format!("http://{}{reason}", server.address()));
        assert!(!error.is_retryable());
        assert_eq!((sink.written(), server.requests().len()), (0, tries));
    }
    server.inject("/x.iso", Fault::status(500));
    server.clear_requests();
    let (error, _) = failure(config(), &server.url("/x.iso")).await;
    assert!(error.is_retryable());
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn nobody_there_is_a_failure_that_may_pass() {
    let address = OriginServer::start().await.address();
    let (error, _) = failure(config(), &format!("http://u:secret@{address}/x.iso?secret")).await;
    let text = WithCauses(&error).to_string();
    assert!(
        error.is_retryable() && text.starts_with(&format!("no answer from http://{address}/x.iso: ")),
        "{text}"
    );
    assert!(!format!("{error:?}{text}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn nothing_is_larger_than_the_limit() {
    let server = OriginServer::start().await;
    let said = server.publish("/said.iso", File::new(content(1)));
    let unsaid = server.publish("/unsaid.iso", File::new(content(1)).chunked());
    let limit = |max_size| Config { max_size, ..config() };
    let (error, sink) = failure(limit(SIZE as u64 - 1), &said).await;
    assert!(matches!(error, Error::TooLarge { .. }) && !error.is_retryable());
    assert_eq!(sink.written(), 0);
    let (error, sink) = failure(limit(SIZE as u64 - 1), &unsaid).await;
    assert!(matches!(error, Error::TooLarge { .. }));
    assert!(sink.written() < SIZE as u64);
    for url in [&said, &unsaid] {
        assert_holds(&download(limit(SIZE as u64), url).await, &content(1));
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_download_and_loses_nothing() {
    let server = OriginServer::start().await;
    let url = server.publish("/x.iso", File::new(content(1)));
    let full = Memory { full_at: Some(SIZE / 2), ..Memory::default() };
    let (sink, result) = download_with(config(), &url, full).await;
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Sink(_)) && error.is_retryable());
    assert_eq!(WithCauses(&error).to_string(), "cannot store the download: no storage space");
    let there = sink.written();
    let (sink, result) = download_with(config(), &url, sink).await;
    result.unwrap();
    assert_holds(&sink, &content(1));
    assert_eq!(server.ranges_asked(), [None, Some(format!("bytes={there}-"))]);
}

/// A configuration with a header and a query parameter that only one server may learn.
fn with_secrets() -> Config {
    Config {
        headers: RequestHeaders::parse(r#"{"X-Key": "secret", "User-Agent": "admin's"}"#).unwrap(),
        query_params: QueryParams::parse(r#"{"token": "a secret&"}"#).unwrap(),
        ..config()
    }
}

#[tokio::test]
async fn additions_to_requests_are_sent_every_time() {
    let server = OriginServer::start().await;
    server.require_header("x-key", "secret");
    server.require_query_param("token", "a secret&");
    let url = server.publish("/x.iso", File::new(content(1)));
    server.inject_once("/x.iso", Fault::CutAfter(HALF));
    assert_holds(&download(with_secrets(), &format!("{url}?a=b")).await, &content(1));
    for request in server.requests() {
        assert_eq!(request.query, "a=b&token=a+secret%26");
        assert_eq!(request.header("user-agent"), Some("admin's"));
    }
    let (error, _) = failure(config(), &url).await;
    assert!(error.to_string().ends_with(" answers 403 Forbidden"), "{error}");
}

#[tokio::test]
async fn additions_to_requests_stay_with_the_server_they_are_meant_for() {
    let (server, elsewhere) = (OriginServer::start().await, OriginServer::start().await);
    server.inject("/x.iso", Fault::Redirect("/here.iso".to_owned()));
    server.inject("/here.iso", Fault::Redirect(elsewhere.url("/cdn.iso?signature=1")));
    elsewhere.publish("/cdn.iso", File::new(content(1)));
    elsewhere.inject_once("/cdn.iso", Fault::CutAfter(HALF));
    let url = server.url("/x.iso").replace("http://", "http://user:secret@");
    assert_holds(&download(with_secrets(), &url).await, &content(1));

    let asked = server.requests();
    for request in &asked {
        assert_eq!(
            (request.header("x-key"), request.header("authorization").is_some()),
            (Some("secret"), true)
        );
    }
    assert_eq!([&asked[0], &asked[1]].map(|request| request.query.as_str()), ["token=a+secret%26", ""]);
    let asked = elsewhere.requests();
    assert_eq!(asked.len(), 2);
    for request in asked {
        let secrets = ["x-key", "authorization"].map(|name| request.header(name));
        assert_eq!((secrets, request.query.as_str()), ([None, None], "signature=1"));
    }
}

#[tokio::test]
async fn redirects_end_somewhere() {
    let server = OriginServer::start().await;
    server.inject("/x.iso", Fault::Redirect("/x.iso?secret".to_owned()));
    let (error, _) = failure(config(), &server.url("/x.iso")).await;
    assert_eq!(error.to_string(), format!("more than 10 redirects, the last to {}", server.url("/x.iso")));
    assert_eq!(server.requests().len(), 11);
}

#[tokio::test]
async fn tls_is_verified_against_the_admins_authority() {
    let certificate = Certificate::generate();
    let server = OriginServer::start_tls(&certificate).await;
    let url = server.publish("/x.iso", File::new(content(1)));
    let trusting = |ca: &Certificate| Config { trusted_ca_pem: Some(ca.ca_pem.clone().into()), ..config() };
    assert_holds(&download(trusting(&certificate), &url).await, &content(1));
    assert_holds(&download(Config { insecure_skip_verify: true, ..config() }, &url).await, &content(1));

    for pem in ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = Origin::new(Config { trusted_ca_pem: Some(pem.into()), ..config() }).unwrap_err();
        assert!(matches!(error, Error::TrustedCas(_)), "{pem:?}: {error:?}");
    }

    let other = Certificate::generate();
    // Whoever names an authority wants it to count.
    let both = Config { insecure_skip_verify: true, ..trusting(&other) };
    for config in [config(), trusting(&other), both] {
        let (error, _) = failure(Config { tries: 1, ..config }, &url).await;
        let text = WithCauses(&error).to_string();
        assert!(text.contains("invalid peer certificate"), "{text}");
    }
}

#[tokio::test]
async fn a_server_may_be_its_own_authority() {
    let certificate = Certificate::self_signed();
    let server = OriginServer::start_tls(&certificate).await;
    let url = server.publish("/x.iso", File::new(content(1)));
    let config = Config { trusted_ca_pem: Some(certificate.ca_pem.clone().into()), ..config() };
    assert_holds(&download(config, &url).await, &content(1));
}

#[tokio::test]
async fn nobody_is_followed_from_tls_to_plain_http() {
    let plain = OriginServer::start().await;
    plain.publish("/x.iso", File::new(content(1)));
    let server = OriginServer::start_tls(&Certificate::generate()).await;
    server.inject("/x.iso", Fault::Redirect(plain.url("/x.iso")));
    let config = Config { insecure_skip_verify: true, ..config() };
    let (error, _) = failure(config.clone(), &server.url("/x.iso")).await;
    assert!(matches!(error, Error::PlainHttp { .. }) && !error.is_retryable(), "{error}");
    assert_eq!(plain.requests().len(), 0);

    // The other way round is fine.
    plain.inject("/y.iso", Fault::Redirect(server.publish("/y.iso", File::new(content(1)))));
    assert_holds(&download(config, &plain.url("/y.iso")).await, &content(1));
}

#[tokio::test]
async fn proxies_are_those_of_the_environment() {
    const HERE: &str = "downloads_through_the_proxy_of_its_environment";
    let (proxy, direct) = (OriginServer::start().await, OriginServer::start().await);
    proxy.publish("/proxied.iso", File::new(content(1)));
    direct.publish("/direct.iso", File::new(content(1)));
    // Settings of a process are no place for a test among others, so a process of its own does it.
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", HERE, "--ignored", "--nocapture"]);
    for name in ["http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "no_proxy"] {
        child.env_remove(name);
    }
    child
        .env("HTTP_PROXY", proxy.url("/"))
        .env("NO_PROXY", "example.com,127.0.0.0/8")
        .env("DIRECT", direct.url("/"));
    let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let hosts = |server: &OriginServer| -> Vec<_> {
        server.requests().iter().map(|request| request.header("host").unwrap().to_owned()).collect()
    };
    assert_eq!(hosts(&proxy), ["mirror.invalid"]);
    assert_eq!(hosts(&direct), [direct.address()]);
}

#[tokio::test]
#[ignore = "is run by proxies_are_those_of_the_environment"]
async fn downloads_through_the_proxy_of_its_environment() {
    assert_holds(&download(config(), "http://mirror.invalid/proxied.iso").await, &content(1));
    let direct = std::env::var("DIRECT").unwrap();
    assert_holds(&download(config(), &format!("{direct}direct.iso")).await, &content(1));
}

#[tokio::test]
async fn a_download_that_is_given_up_stops_writing() {
    /// Tells when it is dropped.
    struct Watched(Memory, Arc<Mutex<Option<u64>>>);

    impl Sink for Watched {
        fn written(&self) -> u64 {
            self.0.written()
        }
        fn validator(&self) -> Option<&str> {
            self.0.validator()
        }
        fn restart(&mut self, validator: Option<&str>) -> io::Result<()> {
            self.0.restart(validator)
        }
        fn begin(&mut self, total: Option<u64>) -> io::Result<()> {
            self.0.begin(total)
        }
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.write(bytes)
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = Some(self.written());
        }
    }

    let server = OriginServer::start().await;
    let url: OriginUrl = server.publish("/x.iso", File::new(content(1))).parse().unwrap();
    server.inject("/x.iso", Fault::StallAfter(HALF));
    let origin = Origin::new(config()).unwrap();
    let dropped = Arc::new(Mutex::new(None));
    let sink = Watched(Memory::default(), Arc::clone(&dropped));
    let task = tokio::spawn(async move { origin.download(&url, sink).await.1 });
    let until = async |done: &dyn Fn() -> bool| {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until(&|| server.requests().first().is_some_and(|request| request.bytes_served() == HALF)).await;
    task.abort();
    until(&|| dropped.lock().unwrap().is_some()).await;
    assert!(dropped.lock().unwrap().unwrap() <= HALF);
}

//! Downloads that break: they go on where they broke, or say why they do not. Never is anything wrong taken for whole.

use std::time::Duration;

use coreos_names::WithCauses;
use futures_util::FutureExt as _;
use oci_registry::{Blob, Config, Descriptor, Error, MinRate, PullSecret, Registry, ResumePatience};
use test_support::payload::{Artifact, Compression, Content, ImageBuilder, LayerBuilder, MediaTypes};
use test_support::registry::{
    DockerRegistry, Fault, FaultProxy, LineFault, Request, TokenRegistry, TokenRegistryBuilder,
};

use crate::support::{
    PASSWORD, USER, builder, client, config, descriptor, impatient, noise, pull_secret, reference, shown,
};

const MIB: u64 = 1 << 20;

/// A registry with a blob of 16 MiB, which no buffer on the way holds whole.
struct Site {
    server: TokenRegistry,
    client: Registry,
    bytes: Vec<u8>,
    blob: Descriptor,
}

impl Site {
    async fn new(builder: TokenRegistryBuilder) -> Self {
        let server = builder.start().await;
        let bytes = noise(16 << 20);
        let content = Content::from_bytes(bytes.clone());
        server.publish_blob(&content);
        Self { client: client(&server), bytes, blob: descriptor(&content), server }
    }

    fn impatient(self) -> Self {
        let config = config(pull_secret(self.server.address(), USER, PASSWORD), &[self.server.address()]);
        Self { client: Registry::new(impatient(config)).unwrap(), ..self }
    }

    fn digest(&self) -> String {
        self.blob.digest.to_string()
    }

    async fn open(&self) -> Blob {
        self.client.blob(&reference(self.server.address()), &self.blob).await.unwrap()
    }

    /// All bytes, or how many came before the error.
    async fn download(&self) -> Result<(), (u64, Error)> {
        finish(self.open().await, &self.bytes).await
    }

    async fn recovers(&self) {
        self.download().await.unwrap();
    }

    /// How a download fails.
    async fn fails(&self) -> Error {
        let (received, error) = self.download().await.unwrap_err();
        match &error {
            Error::Truncated { received: said, .. } => assert_eq!(*said, received),
            other => panic!("{other:?}"),
        }
        error
    }

    /// The requests for the blob, at the registry or its CDN.
    fn asked(&self, cdn: bool) -> Vec<Request> {
        let digest = self.digest();
        let all = self.server.requests().into_iter();
        all.filter(|request| request.cdn == cdn && request.path.ends_with(&digest)).collect()
    }
}

/// Reads to the end, which must be the right one, or to an error, which must come before it.
async fn finish(mut blob: Blob, expected: &[u8]) -> Result<(), (u64, Error)> {
    let mut bytes = Vec::new();
    while let Some(chunk) = blob.chunk().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(error) => {
                assert!(blob.chunk().await.is_none());
                assert!(bytes.len() < expected.len(), "all was handed out before the verdict");
                return Err((bytes.len() as u64, error));
            }
        }
    }
    assert!(bytes == expected, "other bytes");
    Ok(())
}

fn range_of(request: &Request) -> u64 {
    let range = request.header("range").expect("a part is asked for");
    range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_where_it_broke() {
    let site = Site::new(builder()).await;
    for fault in [Fault::CutAfter(0), Fault::CutAfter(1), Fault::CutAfter(9 * MIB), Fault::EndAfter(15 * MIB)]
    {
        site.server.clear_requests();
        site.server.inject_once(&site.digest(), fault.clone());
        site.recovers().await;
        let asked = site.asked(false);
        assert_eq!(asked.len(), 2, "{fault:?}");
        assert_eq!(asked[0].header("range"), None);
        match fault {
            // Nothing has come: all is asked for.
            Fault::CutAfter(0) => assert_eq!(asked[1].header("range"), None),
            Fault::EndAfter(end) => assert_eq!(range_of(&asked[1]), end),
            _ => assert!(range_of(&asked[1]) <= 9 * MIB),
        }
    }
}

#[tokio::test]
async fn whoever_gets_on_may_break_as_often_as_it_likes() {
    let site = Site::new(builder()).await;
    site.server.inject(&site.digest(), Fault::EndAfter(MIB));
    site.recovers().await;
    assert_eq!(site.asked(false).len(), 16);
    // Small steps bring it on, too.
    site.server.heal();
    site.server.inject(&site.digest(), Fault::EndAfter(MIB - 1));
    site.recovers().await;
}

#[tokio::test]
async fn whoever_does_not_get_on_is_given_up_with_all_that_is_known() {
    let site = Site::new(builder()).await.impatient();
    site.server.inject_once(&site.digest(), Fault::EndAfter(2 * MIB));
    site.server.inject(&site.digest(), Fault::EndAfter(MIB - 1));
    let error = site.fails().await;
    let Error::Truncated { received, resumed, .. } = error else { unreachable!() };
    assert_eq!((received, resumed), (3 * MIB - 1, 1));
    assert!(error.is_retryable());
    let words =
        format!("broke off after {received} of {} bytes from http://{}/v2/", 16 * MIB, site.server.address());
    assert!(error.to_string().contains(&words) && error.to_string().ends_with(", resumed once"), "{error}");
}

#[tokio::test]
async fn a_silent_peer_is_left_and_asked_for_the_rest() {
    let site = Site::new(builder()).await;
    let config = config(pull_secret(site.server.address(), USER, PASSWORD), &[site.server.address()]);
    let impatient = Config { read_timeout: Duration::from_secs(2), ..config };
    let site = Site { client: Registry::new(impatient).unwrap(), ..site };
    site.server.inject_once(&site.digest(), Fault::StallAfter(5 * MIB));
    site.recovers().await;
    assert_eq!(range_of(&site.asked(false)[1]), 5 * MIB);
}

#[tokio::test]
async fn a_peer_that_trickles_is_left_and_asked_for_the_rest() {
    let site = Site::new(builder()).await;
    let config = config(pull_secret(site.server.address(), USER, PASSWORD), &[site.server.address()]);
    let min_rate = MinRate { bytes: MIB, within: Duration::from_secs(3) };
    let site = Site { client: Registry::new(Config { min_rate, ..config }).unwrap(), ..site };
    site.server.inject_once(&site.digest(), Fault::TrickleAfter(5 * MIB));
    site.recovers().await;
    assert!(range_of(&site.asked(false)[1]) >= 5 * MIB);
}

#[tokio::test]
async fn what_goes_wrong_when_going_on_is_tried_again() {
    let site = Site::new(builder()).await;
    let limited = |seconds: &str| Fault::Status(429, vec![("retry-after", seconds.to_owned())]);
    for fault in [Fault::status(500), Fault::status(503), limited("0")] {
        site.server.inject_once(&site.digest(), Fault::EndAfter(2 * MIB));
        site.server.inject_once(&site.digest(), fault);
        site.recovers().await;
    }
    // Too long to be waited for.
    site.server.inject_once(&site.digest(), Fault::EndAfter(2 * MIB));
    site.server.inject_once(&site.digest(), limited("3600"));
    let error = site.fails().await;
    assert!(WithCauses(&error).to_string().contains("too many requests (FAULT: injected)"), "{error}");
    // Gone for good.
    site.server.inject_once(&site.digest(), Fault::EndAfter(2 * MIB));
    site.server.inject_once(&site.digest(), Fault::status(404));
    let error = site.fails().await;
    assert!(WithCauses(&error).to_string().contains("not found (FAULT: injected)"), "{error}");
}

#[tokio::test]
async fn without_ranges_what_was_seen_is_skipped() {
    let site = Site::new(builder().no_ranges()).await.impatient();
    site.server.inject_once(&site.digest(), Fault::CutAfter(9 * MIB));
    site.recovers().await;
    let asked = site.asked(false);
    assert!(asked.len() == 2 && asked[1].bytes_served() == 16 * MIB);

    // Breaking again before it is as far as it was is no progress.
    site.server.inject(&site.digest(), Fault::EndAfter(3 * MIB));
    let Error::Truncated { received, resumed, .. } = site.fails().await else { unreachable!() };
    assert_eq!((received, resumed), (3 * MIB, 1));
}

#[tokio::test]
async fn who_sends_another_part_than_was_asked_for_is_asked_for_the_whole() {
    let site = Site::new(builder()).await;
    for label in [
        "bytes 0-16777215/16777216",
        "bytes 2097152-16777215/16777217",
        "bytes 2097152-16777214/16777216",
        "x",
    ] {
        site.server.heal();
        site.server.inject_once(&site.digest(), Fault::EndAfter(2 * MIB));
        site.server.inject_once(&site.digest(), Fault::ContentRange(label));
        site.server.clear_requests();
        site.recovers().await;
        let ranges: Vec<_> =
            site.asked(false).iter().map(|request| request.header("range").map(str::to_owned)).collect();
        assert_eq!(ranges, [None, Some("bytes=2097152-".to_owned()), None], "{label:?}");

        // If that fails, too, what was wrong is said.
        site.server.inject_once(&site.digest(), Fault::EndAfter(2 * MIB));
        site.server.inject_once(&site.digest(), Fault::ContentRange(label));
        site.server.inject_once(&site.digest(), Fault::status(404));
        let shown = shown(&site.fails().await);
        assert!(
            shown.contains(&format!("from byte 2097152 on and answers with Content-Range {label:?}")),
            "{shown}"
        );
    }
    // Nor does a 416 end it.
    site.server.inject_once(&site.digest(), Fault::EndAfter(2 * MIB));
    site.server.inject_once(&site.digest(), Fault::status(416));
    site.recovers().await;
    // The registry's blob is shorter than the manifest says, and ends without a word.
    site.server.heal();
    site.server.inject(&site.digest(), Fault::EndAfter(u64::MAX));
    let longer = Descriptor { size: 17 * MIB, ..site.blob.clone() };
    let blob = site.client.blob(&reference(site.server.address()), &longer).await.unwrap();
    let error = blob.bytes(u64::MAX).await.unwrap_err();
    assert!(shown(&error).contains("and answers with Content-Range \"bytes */16777216\""), "{error:?}");
}

#[tokio::test]
async fn wrong_bytes_after_a_break_are_found_out() {
    let site = Site::new(builder()).await;
    for fault in [Fault::Corrupt(0), Fault::Corrupt(14 * MIB - 1), Fault::Append(b"more")] {
        site.server.inject_once(&site.digest(), Fault::EndAfter(2 * MIB));
        site.server.inject_once(&site.digest(), fault.clone());
        let (_, error) = site.download().await.unwrap_err();
        let found_out = match fault {
            Fault::Append(_) => matches!(error, Error::TooLong { .. }),
            _ => matches!(error, Error::DigestMismatch { .. }),
        };
        assert!(found_out && error.is_wrong_content() && !error.is_retryable(), "{fault:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_link_that_expires_is_asked_for_anew() {
    let site = Site::new(builder().cdn_with_expiring_links()).await;
    let both = [site.server.address(), site.server.cdn_address()];
    let config = config(pull_secret(site.server.address(), USER, PASSWORD), &both);
    let site = Site { client: Registry::new(config).unwrap(), ..site };
    let at_cdn = format!("/storage/{}", site.digest());
    for _ in 0..2 {
        site.server.inject_once(&at_cdn, Fault::EndAfter(2 * MIB));
    }
    site.recovers().await;
    let ranges = |requests: &[Request]| -> Vec<_> {
        requests.iter().map(|request| request.header("range").map(str::to_owned)).collect()
    };
    let expected = [None, Some("bytes=2097152-".to_owned()), Some("bytes=4194304-".to_owned())];
    let (registry, cdn) = (site.asked(false), site.asked(true));
    assert_eq!((ranges(&registry), ranges(&cdn)), (expected.to_vec(), expected.to_vec()));
    assert!(registry.iter().all(|request| request.header("authorization").is_some()));
    assert!(cdn.iter().all(|request| request.header("authorization").is_none()));
    let mut queries: Vec<_> = cdn.iter().map(|request| request.query.as_str()).collect();
    queries.dedup();
    assert_eq!(queries.len(), 3);
}

#[tokio::test]
async fn a_token_that_expires_meanwhile_is_renewed() {
    let site = Site::new(builder()).await;
    site.server.inject_once(&site.digest(), Fault::EndAfter(2 * MIB));
    let blob = site.open().await;
    site.server.revoke_tokens();
    finish(blob, &site.bytes).await.unwrap();
    assert_eq!(site.asked(false).len(), 3, "one of them refused");
    let tokens = site.server.requests().iter().filter(|request| request.path == "/token").count();
    assert_eq!(tokens, 2);
}

#[tokio::test]
async fn a_reader_without_patience_loses_nothing() {
    let site = Site::new(builder()).await;
    site.server.inject(&site.digest(), Fault::EndAfter(3 * MIB));
    let (mut blob, mut bytes, mut waits) = (site.open().await, Vec::new(), 0);
    loop {
        match blob.chunk().now_or_never() {
            None => {
                waits += 1;
                tokio::task::yield_now().await;
            }
            Some(Some(chunk)) => bytes.extend_from_slice(&chunk.unwrap()),
            Some(None) => break,
        }
    }
    assert!(bytes == site.bytes && waits > 0);
}

const NONE: ResumePatience = ResumePatience {
    longest_outage: Duration::ZERO,
    first_delay: Duration::from_secs(1),
    longest_delay: Duration::from_secs(1),
};

/// A registry that others wrote, behind a bad line, with an image whose layer has 8 MiB.
struct Behind {
    server: DockerRegistry,
    line: FaultProxy,
    client: Registry,
    layer: Content,
}

impl Behind {
    async fn new(server: DockerRegistry, insecure: bool, resume: ResumePatience) -> Self {
        let layer = LayerBuilder::new(Compression::None).file("noise", noise(8 << 20)).build().unwrap();
        let image = ImageBuilder::new(MediaTypes::Oci, coreos_names::Arch::X86_64).layer(layer).build();
        server.push("openshift/release:4.18.52-x86_64", &Artifact::from(image.clone()));
        let line = FaultProxy::start(server.address()).await;
        let credentials = server.pull_secret().replace(server.address(), line.address());
        let listed = if insecure { vec![line.address()] } else { Vec::new() };
        let config = config(PullSecret::parse(&credentials).unwrap(), &listed);
        let trusted_ca_pem = (!insecure).then(|| server.ca_pem().as_bytes().to_vec());
        let read_timeout = Duration::from_secs(2);
        let config = Config { trusted_ca_pem, read_timeout, resume, ..config };
        let client = Registry::new(config).unwrap();
        client.manifest(&reference(line.address())).await.unwrap();
        Self { client, line, layer: image.layers[0].content.clone(), server }
    }

    async fn download(&self) -> Result<(), (u64, Error)> {
        let blob = self.client.blob(&reference(self.line.address()), &descriptor(&self.layer)).await;
        finish(blob.map_err(|error| (0, error))?, &crate::support::read(&self.layer)).await
    }
}

#[tokio::test]
async fn docker_registry_is_resumed() {
    for (server, insecure) in [(DockerRegistry::start(), true), (DockerRegistry::start_with_tls(), false)] {
        let site = Behind::new(server, insecure, ResumePatience::default()).await;
        for fault in [LineFault::Cut, LineFault::Stall] {
            site.line.fail_after(site.layer.size() * 9 / 10, fault);
            let faults = site.line.faults();
            site.download().await.unwrap();
            assert_eq!(site.line.faults(), faults + 1);
            assert!(site.line.passed() < site.layer.size() / 5, "only the rest was sent again");
        }
        site.line.fail_every(2 * MIB, LineFault::Cut);
        let faults = site.line.faults();
        site.download().await.unwrap();
        assert!(site.line.faults() >= faults + 3);
    }
}

#[tokio::test]
async fn a_line_that_lets_next_to_nothing_through_is_given_up() {
    let site = Behind::new(DockerRegistry::start(), true, NONE).await;
    // Enough for the head of an answer and some bytes of its body.
    site.line.fail_every(100_000, LineFault::Cut);
    let (received, error) = site.download().await.unwrap_err();
    assert!(received < 100_000);
    assert!(matches!(error, Error::Truncated { resumed: 0, .. }) && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_registry_that_does_not_come_back_is_named() {
    let Behind { server, line, client, layer } = Behind::new(DockerRegistry::start(), true, NONE).await;
    line.fail_after(3 * MIB, LineFault::Cut);
    let blob = client.blob(&reference(line.address()), &descriptor(&layer)).await.unwrap();
    server.stop();
    let (_, error) = finish(blob, &crate::support::read(&layer)).await.unwrap_err();
    assert!(matches!(error, Error::Truncated { source: Some(_), .. }), "{error:?}");
    assert!(shown(&error).contains(line.address()));
}

#[tokio::test]
async fn a_registry_that_is_gone_for_a_while_is_waited_for() {
    let site = Behind::new(DockerRegistry::start(), true, ResumePatience::default()).await;
    let address = site.line.address().to_owned();
    site.line.fail_after(site.layer.size() * 9 / 10, LineFault::Close);
    let (back, ()) = tokio::join!(
        async {
            while site.line.faults() == 0 {
                tokio::task::yield_now().await;
            }
            // Longer than the tries of a first request take.
            tokio::time::sleep(Duration::from_secs(5)).await;
            FaultProxy::start_at(&address, site.server.address()).await
        },
        async { site.download().await.unwrap() },
    );
    assert!(back.passed() < site.layer.size() / 5, "only the rest was sent again");
    assert!(back.connections() > 0);
}

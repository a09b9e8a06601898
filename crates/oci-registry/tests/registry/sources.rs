//! Mirrors that are asked: who is asked when, what is believed, and what is said when nobody has it.

use std::fmt::Write as _;

use coreos_names::WithCauses;
use oci_registry::{
    Config, Descriptor, Error, Mirrors, PullSecret, Reference, RegistriesConf, Registry, Retry,
};
use test_support::payload::{Artifact, Compression, Content, Image, MediaTypes};
use test_support::registry::{Fault, FaultProxy, LineFault, TokenRegistry, TokenRegistryBuilder};

use crate::support::{REPOSITORY, config, count, descriptor, image, image_of, layer, noise, read, reference};

const TAG: &str = "4.18.52-x86_64";
const MIB: u64 = 1 << 20;

fn anonymous() -> TokenRegistryBuilder {
    TokenRegistry::builder().anonymous()
}

/// Rules by which what is called like the last of these hosts may come from all of them, with any TLS or none.
fn mirrors(hosts: &[&str]) -> Mirrors {
    let (home, mirrors) = hosts.split_last().unwrap();
    let mut conf = format!("[[registry]]\nprefix = \"{home}\"\nlocation = \"{home}\"\ninsecure = true\n");
    for mirror in mirrors {
        write!(conf, "[[registry.mirror]]\nlocation = \"{mirror}\"\ninsecure = true\n").unwrap();
    }
    parsed(&conf)
}

fn parsed(conf: &str) -> Mirrors {
    Mirrors::new(RegistriesConf::parse("registries.conf", conf).unwrap().into_rules())
}

fn client(mirrors: Mirrors) -> Registry {
    Registry::new(Config { mirrors, ..config(PullSecret::default(), &[]) }).unwrap()
}

/// Two mirrors and the place that the image is named after; all have it.
struct Site {
    registries: [TokenRegistry; 3],
    image: Image,
}

impl Site {
    async fn new() -> Self {
        let image = image(MediaTypes::Docker, Compression::Gzip);
        let start = async || {
            let registry = anonymous().start().await;
            registry.publish(REPOSITORY, TAG, &Artifact::from(image.clone()));
            registry
        };
        Self { registries: [start().await, start().await, start().await], image }
    }

    fn client(&self) -> Registry {
        client(mirrors(&self.registries.each_ref().map(TokenRegistry::address)))
    }

    fn reference(&self) -> Reference {
        reference(self.registries[2].address())
    }

    fn pinned(&self) -> Reference {
        self.reference().with_digest(self.image.manifest.sha256().into())
    }

    /// How many requests for what ends so went to each.
    fn asked(&self, path_end: &str) -> [usize; 3] {
        self.registries.each_ref().map(|registry| count(registry, path_end))
    }
}

#[tokio::test]
async fn the_first_that_has_it_answers() {
    let site = Site::new().await;
    let (client, layer) = (site.client(), layer(&site.image));
    let manifest = client.manifest(&site.reference()).await.unwrap();
    let image = image_of(manifest.kind);
    client.config(&site.pinned(), &image).await.unwrap();
    let blob = client.blob(&site.pinned(), &layer).await.unwrap();
    assert!(blob.bytes(u64::MAX).await.unwrap() == read(&site.image.layers[1].content));
    assert!(site.registries[1].requests().is_empty() && site.registries[2].requests().is_empty());
}

#[tokio::test]
async fn whatever_is_wrong_with_a_mirror_the_next_one_is_asked_at_once() {
    let garbled = Fault::Replace(b"<html>Sign in</html>");
    for fault in
        [404, 401, 403, 429, 500].map(Fault::status).into_iter().chain([garbled, Fault::StatedLength(3)])
    {
        let site = Site::new().await;
        // Nobody would wait so long.
        let retry = Retry { first_delay: std::time::Duration::from_hours(1), ..Retry::default() };
        let hosts = site.registries.each_ref().map(TokenRegistry::address);
        let config = Config { mirrors: mirrors(&hosts), retry, ..config(PullSecret::default(), &[]) };
        let ask = async |reference: Reference| {
            let client = Registry::new(config.clone()).unwrap();
            let image = image_of(client.manifest(&reference).await.unwrap().kind);
            let client = Registry::new(config.clone()).unwrap();
            client.config(&reference, &image).await.unwrap();
            let client = Registry::new(config.clone()).unwrap();
            client.blob(&reference, &layer(&site.image)).await.unwrap().bytes(u64::MAX).await
        };
        let digests = [site.image.manifest.digest(), site.image.config.digest()];
        for end in digests.iter().map(String::as_str).chain([TAG]) {
            site.registries[0].inject(end, fault.clone());
        }
        // A body that is other than it should be is told only when it has come. That of the layer is dealt with below.
        if !matches!(fault, Fault::Replace(_)) {
            site.registries[0].inject(&layer(&site.image).digest.to_string(), fault.clone());
        }
        for reference in [site.reference(), site.pinned()] {
            let bytes = ask(reference).await.unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
            assert!(bytes == read(&site.image.layers[1].content));
        }
        assert_eq!(site.asked(TAG)[1..], [1, 0], "{fault:?}");
        assert!(site.asked(&digests[1])[0] >= 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_mirror_that_is_down_is_remembered() {
    let site = Site::new().await;
    let hosts = site.registries.each_ref().map(TokenRegistry::address).map(str::to_owned);
    let client = site.client();
    site.registries[0].inject(TAG, Fault::status(502));
    for _ in 0..3 {
        client.manifest(&site.reference()).await.unwrap();
    }
    assert_eq!(site.asked(TAG), [1, 3, 0]);
    // The second dies, and the third is called by its own name.
    let Site { registries: [first, second, third], image } = site;
    drop(second);
    let pinned = reference(&hosts[2]).with_digest(image.manifest.sha256().into());
    first.inject(&image.manifest.digest(), Fault::status(502));
    for _ in 0..3 {
        client.manifest(&pinned).await.unwrap();
    }
    assert_eq!(count(&first, &image.manifest.digest()), 1);
    assert_eq!(count(&third, &image.manifest.digest()), 3);
}

#[tokio::test]
async fn who_may_recover_is_asked_again_when_all_have_failed() {
    let site = Site::new().await;
    site.registries[0].inject(TAG, Fault::status(404));
    for registry in &site.registries[1..] {
        registry.inject_once(TAG, Fault::status(503));
        registry.inject_once(TAG, Fault::status(503));
    }
    site.client().manifest(&site.reference()).await.unwrap();
    assert_eq!(site.asked(TAG), [1, 3, 2]);
}

#[tokio::test]
async fn when_nobody_has_it_every_attempt_is_told_with_its_own_reason() {
    let site = Site::new().await;
    site.registries[0].inject(TAG, Fault::status(404));
    site.registries[1].inject(TAG, Fault::status(403));
    let hosts = site.registries.each_ref().map(TokenRegistry::address).map(str::to_owned);
    let (client, image) = (site.client(), site.reference());
    let Site { registries: [first, second, third], .. } = site;
    drop(third);
    let error = client.manifest(&image).await.unwrap_err();
    let Error::Unavailable { attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!(attempts.len(), 3);
    assert!(error.is_retryable() && error.is_unauthorized() && !error.is_not_found());
    let words = WithCauses(&error).to_string();
    let [a, b, c] = hosts.map(|host| format!("{host}/{REPOSITORY}:{TAG}"));
    for expected in [
        format!("cannot get manifest {c} from anywhere; tried {a}: manifest {a} not found"),
        format!("; {b}: not allowed to read manifest {b}: "),
        format!("; {c}: no answer from "),
        "onnection refused".to_owned(),
    ] {
        assert!(words.contains(&expected), "{words}");
    }

    second.heal();
    second.inject(TAG, Fault::status(404));
    let only = client.clone();
    drop(first);
    let error = only.manifest(&image).await.unwrap_err();
    assert!(!error.is_not_found(), "two of them could not be asked");
    assert!(!error.is_silence(), "one of them answered");
    drop(second);
    let error = only.manifest(&image).await.unwrap_err();
    assert!(error.is_silence() && !error.is_not_found(), "{error:?}");
}

#[tokio::test]
async fn not_found_means_nowhere() {
    let site = Site::new().await;
    let missing = site.reference().with_tag("missing").unwrap();
    let error = site.client().manifest(&missing).await.unwrap_err();
    assert!(error.is_not_found() && !error.is_retryable(), "{error:?}");
    assert_eq!(site.asked("/missing"), [1, 1, 1]);
}

#[tokio::test]
async fn one_place_alone_speaks_for_itself() {
    let site = Site::new().await;
    let client = client(mirrors(&[site.registries[0].address()]));
    let missing = reference(site.registries[0].address()).with_tag("missing").unwrap();
    let error = client.manifest(&missing).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn who_delivers_wrong_bytes_is_asked_last_from_then_on() {
    let site = Site::new().await;
    let (client, layer, digest) = (site.client(), layer(&site.image), layer(&site.image).digest.to_string());
    let download = async || client.blob(&site.pinned(), &layer).await.unwrap().bytes(u64::MAX).await;

    site.registries[0].inject(&digest, Fault::Corrupt(layer.size - 1));
    let error = download().await.unwrap_err();
    assert!(matches!(&error, Error::WrongBytes { .. }) && error.is_retryable(), "{error:?}");
    let words = WithCauses(&error).to_string();
    let guilty = format!("wrong bytes came from {}/{REPOSITORY}@", site.registries[0].address());
    assert!(words.starts_with(&guilty) && words.contains("its digest is"), "{words}");
    assert_eq!(site.asked(&digest), [1, 0, 0]);

    assert!(download().await.unwrap() == read(&site.image.layers[1].content));
    assert_eq!(site.asked(&digest), [1, 1, 0]);

    // The others go wrong, too, each in its way.
    site.registries[1].inject(&digest, Fault::Append(b"more"));
    site.registries[2].inject(&digest, Fault::Corrupt(0));
    let error = download().await.unwrap_err();
    assert!(matches!(&error, Error::WrongBytes { .. }), "{error:?}");
    let error = download().await.unwrap_err();
    assert!(matches!(&error, Error::DigestMismatch { .. }) && !error.is_retryable(), "{error:?}");
    assert_eq!(site.asked(&digest), [1, 2, 1]);
}

/// A blob of 16 MiB at two registries.
async fn large(
    first: TokenRegistryBuilder,
    second: TokenRegistryBuilder,
) -> ([TokenRegistry; 2], Vec<u8>, Descriptor) {
    let bytes = noise(16 << 20);
    let content = Content::from_bytes(bytes.clone());
    let registries = [first.start().await, second.start().await];
    for registry in &registries {
        registry.publish_blob(&content);
    }
    (registries, bytes, descriptor(&content))
}

#[tokio::test]
async fn what_one_mirror_begins_another_may_end() {
    for second in [anonymous(), anonymous().no_ranges()] {
        let (registries, bytes, blob) = large(anonymous(), second).await;
        let digest = blob.digest.to_string();
        let client = client(mirrors(&registries.each_ref().map(TokenRegistry::address)));
        registries[0].inject_once(&digest, Fault::EndAfter(2 * MIB));
        registries[0].inject(&digest, Fault::status(500));
        let download = client.blob(&reference(registries[1].address()), &blob).await.unwrap();
        assert!(download.bytes(u64::MAX).await.unwrap() == bytes);
        let ranges = registries.each_ref().map(|registry| {
            let asked = registry.requests().into_iter().filter(|request| request.path.ends_with(&digest));
            asked.map(|request| request.header("range").map(str::to_owned)).collect::<Vec<_>>()
        });
        let rest = Some("bytes=2097152-".to_owned());
        assert_eq!(ranges, [vec![None, rest.clone()], vec![rest]]);
    }
}

#[tokio::test]
async fn who_makes_nothing_of_ranges_is_trusted_all_the_same() {
    let (registries, bytes, blob) = large(anonymous(), anonymous()).await;
    let digest = blob.digest.to_string();
    let client = client(mirrors(&registries.each_ref().map(TokenRegistry::address)));
    let home = reference(registries[1].address());
    let download = async || client.blob(&home, &blob).await.unwrap().bytes(u64::MAX).await;
    for fault in [Fault::EndAfter(2 * MIB), Fault::ContentRange("bytes 0-1/2"), Fault::status(404)] {
        registries[0].inject_once(&digest, fault);
    }
    assert!(download().await.unwrap() == bytes);
    assert_eq!(registries.each_ref().map(|registry| count(registry, &digest)), [3, 1]);
    // Its word counts when the other goes wrong.
    registries[1].inject(&digest, Fault::Corrupt(0));
    let error = download().await.unwrap_err();
    assert!(matches!(&error, Error::WrongBytes { from, .. } if from.len() == 1), "{error:?}");
    assert!(download().await.unwrap() == bytes);
}

#[tokio::test]
async fn who_announces_other_bytes_when_asked_for_the_whole_is_told_so() {
    let (registries, _, blob) = large(anonymous(), anonymous()).await;
    let digest = blob.digest.to_string();
    let client = client(mirrors(&[registries[0].address()]));
    let faults = [Fault::EndAfter(2 * MIB), Fault::ContentRange("bytes 0-1/2"), Fault::StatedLength(3 * MIB)];
    for fault in faults {
        registries[0].inject_once(&digest, fault);
    }
    let download = client.blob(&reference(registries[0].address()), &blob).await.unwrap();
    let words = WithCauses(&download.bytes(u64::MAX).await.unwrap_err()).to_string();
    assert!(words.contains("states 3145728 bytes for blob"), "{words}");
}

#[tokio::test]
async fn another_mirror_that_goes_on_with_something_else_is_found_out() {
    let (registries, bytes, blob) = large(anonymous(), anonymous()).await;
    let digest = blob.digest.to_string();
    let client = client(mirrors(&registries.each_ref().map(TokenRegistry::address)));
    registries[0].inject_once(&digest, Fault::EndAfter(2 * MIB));
    registries[0].inject(&digest, Fault::status(500));
    registries[1].inject(&digest, Fault::Corrupt(5 * MIB));
    let download = client.blob(&reference(registries[1].address()), &blob).await.unwrap();
    let error = download.bytes(u64::MAX).await.unwrap_err();
    // Either could be to blame.
    assert!(matches!(&error, Error::WrongBytes { from, .. } if from.len() == 2), "{error:?}");
    assert!(error.is_retryable());
    // The second alone is, and then is convicted.
    let home = reference(registries[1].address());
    let error = client.blob(&home, &blob).await.unwrap().bytes(u64::MAX).await.unwrap_err();
    assert!(matches!(&error, Error::WrongBytes { from, .. } if from.len() == 1), "{error:?}");
    registries[0].heal();
    assert!(client.blob(&home, &blob).await.unwrap().bytes(u64::MAX).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_mirror_that_spoils_the_beginning_does_not_spoil_the_origin() {
    let (registries, bytes, blob) = large(anonymous(), anonymous()).await;
    let digest = blob.digest.to_string();
    let line = FaultProxy::start(registries[0].address()).await;
    let hosts = [line.address(), registries[1].address()];
    // The mirror's token server has the address behind the line.
    let config = config(PullSecret::default(), &[registries[0].address()]);
    let client = Registry::new(Config { mirrors: mirrors(&hosts), ..config }).unwrap();
    let download =
        async || client.blob(&reference(registries[1].address()), &blob).await.unwrap().bytes(u64::MAX).await;
    registries[0].inject_once(&digest, Fault::Corrupt(0));
    registries[0].inject(&digest, Fault::status(404));
    line.fail_after(3 * MIB, LineFault::Cut);
    let error = download().await.unwrap_err();
    assert!(matches!(&error, Error::WrongBytes { from, .. } if from.len() == 2), "{error:?}");
    assert!(error.is_retryable());
    for _ in 0..2 {
        assert!(download().await.unwrap() == bytes);
    }
}

#[tokio::test]
async fn a_download_that_ends_nowhere_tells_of_all() {
    let (registries, _, blob) = large(anonymous(), anonymous()).await;
    let digest = blob.digest.to_string();
    let client = client(mirrors(&registries.each_ref().map(TokenRegistry::address)));
    registries[0].inject_once(&digest, Fault::EndAfter(2 * MIB));
    registries[0].inject(&digest, Fault::status(500));
    registries[1].inject_once(&digest, Fault::ContentRange("bytes 0-1/2"));
    registries[1].inject(&digest, Fault::status(404));
    let download = client.blob(&reference(registries[1].address()), &blob).await.unwrap();
    let error = download.bytes(u64::MAX).await.unwrap_err();
    assert!(matches!(error, Error::Truncated { received, .. } if received == 2 * MIB), "{error:?}");
    let words = WithCauses(&error).to_string();
    for expected in ["broke off after 2097152 of 16777216", "answers 500", "Content-Range \"bytes 0-1/2\""] {
        assert!(words.contains(expected), "{words}");
    }
}

#[tokio::test]
async fn what_is_blocked_is_not_asked_for() {
    let site = Site::new().await;
    let home = site.registries[2].address();
    let client =
        client(parsed(&format!("[[registry]]\nlocation = \"{home}\"\nblocked = true\ninsecure = true\n")));
    let error = client.manifest(&site.reference()).await.unwrap_err();
    assert!(matches!(error, Error::Blocked(_)) && !error.is_retryable(), "{error:?}");
    let error = client.blob(&site.reference(), &layer(&site.image)).await.unwrap_err();
    assert!(matches!(error, Error::Blocked(_)), "{error:?}");
    assert!(site.registries[2].requests().is_empty());
}

/// A registry with TLS that nobody trusts, with the image in it.
async fn untrusted(builder: TokenRegistryBuilder) -> (TokenRegistry, Image) {
    let server = builder.start().await;
    let image = image(MediaTypes::Docker, Compression::Gzip);
    server.publish(REPOSITORY, TAG, &Artifact::from(image.clone()));
    (server, image)
}

/// The rule for one host, insecure or not.
fn rule(prefix: &str, location: &str, insecure: bool) -> String {
    format!("[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{location}\"\ninsecure = {insecure}\n")
}

#[tokio::test]
async fn insecure_is_one_place_and_no_other() {
    let (insecure, _) = untrusted(anonymous().tls()).await;
    let (strict, _) = untrusted(anonymous().tls()).await;
    let conf =
        rule(insecure.address(), insecure.address(), true) + &rule(strict.address(), strict.address(), false);
    let client = client(parsed(&conf));
    client.manifest(&reference(insecure.address())).await.unwrap();
    let error = client.manifest(&reference(strict.address())).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(strict.requests().is_empty());
}

#[tokio::test]
async fn what_was_learnt_without_trust_is_no_use_where_trust_is_wanted() {
    let (server, _) = untrusted(anonymous().tls()).await;
    let there = |path: &str| format!("{}/{path}", server.address());
    let conf = rule("a.test/x", &there("openshift"), true)
        + &rule("b.test/x/release", &there("openshift/release"), false);
    let client = client(parsed(&conf));
    let image = |host: &str| format!("{host}/x/release:{TAG}").parse().unwrap();
    client.manifest(&image("a.test")).await.unwrap();
    let requests = server.requests().len();
    let error = client.manifest(&image("b.test")).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert_eq!(server.requests().len(), requests);
    client.manifest(&image("a.test")).await.unwrap();
}

#[tokio::test]
async fn insecure_is_not_passed_on_to_a_cdn_or_a_token_server() {
    let (server, image) = untrusted(anonymous().tls().cdn()).await;
    let client_of = |server: &TokenRegistry| client(parsed(&rule(server.address(), server.address(), true)));
    let error = client_of(&server).blob(&reference(server.address()), &layer(&image)).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains(server.cdn_address()), "{error}");

    let (elsewhere, _) = untrusted(anonymous().tls()).await;
    let (server, _) =
        untrusted(anonymous().tls().realm(&format!("https://{}/token", elsewhere.address()))).await;
    let error = client_of(&server).manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains(elsewhere.address()), "{error}");
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn plain_http_is_for_insecure_places_only() {
    let site = Site::new().await;
    let strict = site.registries[0].address();
    let client = client(parsed(&rule(strict, strict, false)));
    let error = client.manifest(&reference(strict)).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(site.registries[0].requests().is_empty());
}

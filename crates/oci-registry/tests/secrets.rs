//! What is logged and what errors say, searched for every secret that was used. Alone in its process: it takes the log.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use coreos_names::WithCauses;
use oci_registry::{
    Config, Descriptor, Error, Proxies, PullSecret, Reference, Registry, ResumePatience, Retry,
};
use test_support::payload::Content;
use test_support::registry::{Fault, TokenRegistry};
use tracing_subscriber::filter::LevelFilter;

const USER: &str = "robot+account";
const PASSWORD: &str = "correct-horse-battery";
const PROXY_PASSWORD: &str = "staple-of-the-proxy";
const MIB: u64 = 1 << 20;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn download(client: &Registry, image: &Reference, blob: &Descriptor) -> Result<(), Error> {
    client.blob(image, blob).await?.bytes(u64::MAX).await.map(drop)
}

#[tokio::test]
async fn no_secret_is_ever_shown() {
    test_support::install_crypto_provider();
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(move || writer.clone()).init();

    let server = TokenRegistry::builder().user(USER, PASSWORD).cdn_with_expiring_links().start().await;
    let content = Content::from_bytes(vec![7; 8 << 20]);
    server.publish_blob(&content);
    let blob = Descriptor {
        digest: content.sha256().into(),
        size: content.size(),
        media_type: String::new(),
        platform: None,
    };
    let image: Reference = format!("{}/a/b:c", server.address()).parse().unwrap();
    let auth = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let credentials =
        PullSecret::parse(&format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, server.address())).unwrap();
    let proxy = format!("http://proxy:{PROXY_PASSWORD}@127.0.0.1:9").parse().unwrap();
    let config = Config {
        credentials: credentials.into(),
        proxies: Proxies::all(proxy, ""),
        insecure: [server.address(), server.cdn_address()].iter().map(|host| host.parse().unwrap()).collect(),
        retry: Retry { first_delay: Duration::ZERO, ..Retry::default() },
        // Enough for what recovers, and what does not is given up soon.
        resume: ResumePatience {
            longest_outage: Duration::from_secs(2),
            first_delay: Duration::ZERO,
            longest_delay: Duration::ZERO,
        },
        ..Config::default()
    };
    let client = Registry::new(config.clone()).unwrap();
    let mut shown = format!("{client:?} {config:?}");

    // Broken at the CDN, then refused there, then with a token that has expired.
    let at_cdn = format!("/storage/{}", blob.digest);
    for fault in [Fault::CutAfter(2 * MIB), Fault::status(500), Fault::EndAfter(2 * MIB)] {
        server.inject_once(&at_cdn, fault);
    }
    download(&client, &image, &blob).await.unwrap();
    let mut secrets = server.secrets();
    server.revoke_tokens();
    download(&client, &image, &blob).await.unwrap();
    secrets.extend(server.secrets());

    for (end, fault) in [
        (at_cdn.as_str(), Fault::status(403)),
        (&at_cdn, Fault::EndAfter(1)),
        (&at_cdn, Fault::Corrupt(1)),
        (&at_cdn, Fault::Redirect("http://evil.test/?X-Amz-Signature=y".to_owned())),
        ("/token", Fault::status(401)),
        ("/token", Fault::status(200)),
    ] {
        server.inject(end, fault);
        server.revoke_tokens();
        let error = download(&client, &image, &blob).await.unwrap_err();
        write!(shown, "{} {error:?}", WithCauses(&error)).unwrap();
        secrets.extend(server.secrets());
        server.heal();
    }
    // By way of a proxy that is not there.
    let elsewhere: Reference = "registry.test/a/b:c".parse().unwrap();
    let error = client.manifest(&elsewhere).await.unwrap_err();
    write!(shown, "{} {error:?}", WithCauses(&error)).unwrap();

    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        logged.contains("a download goes on") && logged.contains("token received"),
        "the log was not taken"
    );
    secrets.extend([PASSWORD, PROXY_PASSWORD, &auth].map(str::to_owned));
    for secret in secrets {
        for text in [&logged, &shown] {
            let line = text.lines().find(|line| line.contains(&secret));
            assert_eq!(line, None, "{secret}");
        }
    }
}

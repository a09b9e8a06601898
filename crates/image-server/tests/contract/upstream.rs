//! assisted-service as the source of infra-envs.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use image_server::{AssistedService, InvalidAssistedService};
use test_support::assisted_service::{FakeAssistedService, Reply};
use test_support::registry::Certificate;
use test_support::{NOBODY, install_crypto_provider};
use url::Url;

use crate::site::{FULL_ISO, ID, Site, assisted_service};

const SENSELESS: &str = "the infra-env service gave an answer that makes no sense";
const BROKEN: &str = "the infra-env service cannot be reached";

#[tokio::test]
async fn an_iso_needs_the_ignition_config_and_the_infra_env() {
    let site = Site::start().await;
    assert_eq!(site.head(FULL_ISO).await.status, 200);
    let mut asked = site.upstream.asked();
    asked.sort_by_key(|asked| asked.path.len());
    let [infra_env, ignition] = &asked[..] else { panic!("{asked:?}") };
    let path = format!("/api/assisted-install/v2/infra-envs/{ID}");
    assert_eq!(infra_env.path, path);
    assert!(infra_env.query.is_empty());
    assert_eq!(ignition.path, format!("{path}/downloads/files"));
    let parameter = |name: &str| ignition.query.get(name).map(String::as_str);
    assert_eq!(ignition.query.len(), 2);
    assert_eq!(parameter("discovery_iso_type"), Some("full-iso"));
    assert_eq!(parameter("file_name"), Some("discovery.ign"));
}

#[tokio::test]
async fn both_are_asked_for_at_the_same_time() {
    let site = Site::start().await;
    site.upstream.answer_together(2);
    assert_eq!(site.head(FULL_ISO).await.status, 200);
}

#[tokio::test]
async fn the_first_failure_ends_the_wait_for_the_other() {
    let site = Site::start().await;
    site.upstream.set_ignition(Reply::hangs());
    site.upstream.set_infra_env(Reply::status(403));
    let before = Instant::now();
    site.get(FULL_ISO).await.assert_empty(403);
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn refusals_are_passed_on() {
    let site = Site::start().await;
    for status in [400, 401, 403, 404, 409, 410, 429] {
        site.upstream.set_ignition(Reply::status(status));
        site.upstream.set_infra_env(Reply::ok("{}"));
        site.get(FULL_ISO).await.assert_empty(status);
        site.upstream.set_ignition(Reply::ok("{}"));
        site.upstream.set_infra_env(Reply::status(status));
        site.get(FULL_ISO).await.assert_empty(status);
    }
}

#[tokio::test]
async fn any_other_status_is_a_bad_gateway() {
    let site = Site::start().await;
    for status in [201, 204, 206, 302, 304, 500, 502, 503] {
        let redirect = Reply::status(status).header("location", "/elsewhere");
        site.upstream.set_ignition(redirect.clone());
        site.upstream.set_infra_env(Reply::ok("{}"));
        site.get(FULL_ISO).await.assert_trouble(502, SENSELESS);
        site.upstream.set_ignition(Reply::ok("{}"));
        site.upstream.set_infra_env(redirect);
        site.get(FULL_ISO).await.assert_trouble(502, SENSELESS);
    }
    assert!(site.upstream.asked().iter().all(|asked| asked.path != "/elsewhere"), "no redirect is followed");
}

#[tokio::test]
async fn an_infra_env_that_is_not_json_is_a_bad_gateway() {
    let site = Site::start().await;
    for body in ["", "<html>", "[1]", r#"{"kernel_arguments":[]}"#] {
        site.upstream.set_infra_env(Reply::ok(body));
        site.get(FULL_ISO).await.assert_trouble(502, SENSELESS);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_bad_gateway() {
    let site = Site::start().await;
    site.upstream.set_ignition(Reply::breaks_off());
    site.get(FULL_ISO).await.assert_trouble(502, BROKEN);
    site.upstream.set_ignition(Reply::ok("{}"));
    site.upstream.set_infra_env(Reply::breaks_off());
    site.get(FULL_ISO).await.assert_trouble(502, BROKEN);
    site.upstream.set_ramdisk(Reply::breaks_off());
    site.get(&format!("/images/{ID}/pxe-initrd?version=4.18")).await.assert_trouble(502, BROKEN);
}

#[tokio::test]
async fn an_unreachable_service_is_a_bad_gateway_and_its_address_is_not_told() {
    let url = Url::parse(&format!("http://{NOBODY}")).unwrap();
    let site = Site::with_infra_envs(assisted_service(&url, Duration::from_secs(20))).await;
    site.get(FULL_ISO).await.assert_trouble(502, "the infra-env service cannot be reached");
}

#[tokio::test]
async fn a_service_that_does_not_answer_in_time_is_a_gateway_timeout() {
    let site = Site::impatient().await;
    for reply in [Reply::hangs(), Reply::stalls(), Reply::trickles()] {
        site.upstream.set_ignition(reply.clone());
        site.upstream.set_infra_env(Reply::ok("{}"));
        site.get(FULL_ISO).await.assert_trouble(504, "the infra-env service did not answer in time");
        site.upstream.set_ignition(Reply::ok("{}"));
        site.upstream.set_infra_env(reply);
        site.get(FULL_ISO).await.assert_trouble(504, "the infra-env service did not answer in time");
    }
}

#[tokio::test]
async fn an_ignition_config_that_does_not_fit_is_unprocessable() {
    let site = Site::start().await;
    // Bytes that do not compress: a little generator will do.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    site.upstream.set_ignition(Reply::ok(noise.take(300_000).collect::<Vec<u8>>()));
    let answer = site.get(FULL_ISO).await;
    assert!(
        answer.text().starts_with("the Ignition config is too large: compressed it has 300"),
        "{}",
        answer.text()
    );
    assert!(answer.text().ends_with(" bytes, but this image has room for 262144\n"), "{}", answer.text());
    assert_eq!(answer.status, 422);
}

#[tokio::test]
async fn an_answer_beyond_all_bounds_is_not_read_to_the_end() {
    let site = Site::start().await;
    site.upstream.set_ignition(Reply::endless());
    site.get(FULL_ISO).await.assert_line(422, "more than 8388608 bytes of Ignition config are not accepted");
    site.upstream.set_ignition(Reply::ok("{}"));
    site.upstream.set_infra_env(Reply::endless());
    site.get(FULL_ISO).await.assert_line(422, "more than 16777216 bytes of infra-env are not accepted");
    site.upstream.set_ramdisk(Reply::endless());
    let answer = site.get(&format!("/images/{ID}/pxe-initrd?version=4.18")).await;
    answer.assert_line(422, "more than 16777216 bytes of network configuration are not accepted");
}

#[tokio::test]
async fn kernel_arguments_that_cannot_be_applied_are_unprocessable() {
    let site = Site::start().await;
    let long = format!(r#"[{{"operation":"append","value":"{}"}}]"#, "x".repeat(2000));
    let room = "the kernel arguments are too long: they have 2000 bytes, but this image has room for ";
    for (arguments, text) in [
        ("quiet", "the kernel arguments are not a JSON list of operations and values"),
        ("", "the kernel arguments are not a JSON list of operations and values"),
        (
            r#"[{"operation":"append","value":"a"},{"operation":"delete","value":"b"}]"#,
            "kernel argument 2 has operation \"delete\": only \"append\" can be done to an image",
        ),
        (
            r#"[{"operation":"append","value":"a\nb"}]"#,
            "kernel argument 1 holds the control character '\\n': only printable text is accepted",
        ),
        (&long, room),
    ] {
        site.upstream.set_kernel_arguments(arguments);
        let answer = site.get(FULL_ISO).await;
        assert_eq!(answer.status, 422, "{arguments}");
        assert!(answer.text().starts_with(text), "{}", answer.text());
        assert!(answer.text().ends_with('\n'));
    }
}

#[tokio::test]
async fn a_service_with_a_ca_of_its_own_is_trusted_through_that_only() {
    install_crypto_provider();
    let certificate = Certificate::generate();
    let upstream = FakeAssistedService::start_tls(&certificate).await;
    let client = |ca: Option<&str>| {
        let ca = ca.map(str::as_bytes);
        Arc::new(AssistedService::new(upstream.url(), ca, Duration::from_secs(20)).unwrap())
    };
    let site = Site::with_infra_envs(client(Some(&certificate.ca_pem))).await;
    assert_eq!(site.head(FULL_ISO).await.status, 200);
    for other in [None, Some(Certificate::generate().ca_pem)] {
        let site = Site::with_infra_envs(client(other.as_deref())).await;
        site.get(FULL_ISO).await.assert_trouble(502, "the infra-env service cannot be reached");
    }
}

#[tokio::test]
async fn a_certificate_that_is_its_own_ca_is_trusted_where_it_is_named() {
    install_crypto_provider();
    let later = SystemTime::now() + Duration::from_hours(1);
    let earlier = SystemTime::now() - Duration::from_hours(1);
    let own = Certificate::self_signed();
    let other = Certificate::self_signed();
    let elsewhere = Certificate::self_signed_for("127.0.0.2", later);
    let expired = Certificate::self_signed_for("127.0.0.1", earlier);
    for (shown, named, is_trusted) in [
        (&own, &own, true),
        (&own, &other, false),
        (&elsewhere, &elsewhere, false),
        (&expired, &expired, false),
    ] {
        let upstream = FakeAssistedService::start_tls(shown).await;
        let ca = Some(named.ca_pem.as_bytes());
        let source = AssistedService::new(upstream.url(), ca, Duration::from_secs(20)).unwrap();
        let site = Site::with_infra_envs(Arc::new(source)).await;
        let status = site.head(FULL_ISO).await.status;
        assert_eq!(status, if is_trusted { 200 } else { 502 });
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_the_start() {
    install_crypto_provider();
    let refused = |address: &str, ca: Option<&[u8]>| {
        AssistedService::new(&Url::parse(address).unwrap(), ca, Duration::from_secs(1)).unwrap_err()
    };
    assert!(matches!(refused("ftp://host", None), InvalidAssistedService::Address(_)));
    assert!(matches!(refused("data:x", None), InvalidAssistedService::Address(_)));
    assert!(matches!(refused("http://host", Some(b"")), InvalidAssistedService::TrustedCas(_)));
}

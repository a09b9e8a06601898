//! Between this service and assisted-service. Proxies are an affair of the environment, which a process cannot change:
//! each test runs itself once more in another one.

use std::process::Command;
use std::time::Duration;

use test_support::assisted_service::FakeAssistedService;
use url::Url;

use crate::site::{FULL_ISO, Site, assisted_service};

/// Set in the environment of a process that is there for one request: the address of assisted-service.
const ADDRESS: &str = "COREOS_IMAGE_SERVICE_TEST_ADDRESS";

/// Which status an ISO has if assisted-service is at `address` and the environment names a proxy, and how often that is
/// asked.
async fn behind_a_proxy(test: &'static str, address: &str, no_proxy: &'static str) -> (u16, usize) {
    if let Ok(address) = std::env::var(ADDRESS) {
        let source = assisted_service(&Url::parse(&address).unwrap(), Duration::from_secs(20));
        let status = Site::with_infra_envs(source).await.head(FULL_ISO).await.status;
        println!("the status is {}", status.as_u16());
        std::process::exit(0);
    }
    let proxy = FakeAssistedService::start().await;
    let mut command = Command::new(std::env::current_exe().unwrap());
    for name in ["HTTP_PROXY", "http_proxy"] {
        command.env(name, proxy.url().as_str());
    }
    for name in ["NO_PROXY", "no_proxy"] {
        command.env(name, no_proxy);
    }
    command.args(["--exact", test, "--nocapture"]).env(ADDRESS, address);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let status = printed.lines().find_map(|line| line.split_once("the status is ")?.1.parse().ok());
    (status.unwrap_or_else(|| panic!("{output:?}")), proxy.asked().len())
}

#[tokio::test]
async fn an_assisted_service_elsewhere_is_asked_through_the_proxy() {
    let test = "proxies::an_assisted_service_elsewhere_is_asked_through_the_proxy";
    assert_eq!(behind_a_proxy(test, "http://assisted.invalid:8090", "other.invalid").await, (200, 2));
}

#[tokio::test]
async fn what_no_proxy_names_is_asked_directly() {
    let test = "proxies::what_no_proxy_names_is_asked_directly";
    for no_proxy in ["assisted.invalid", "assisted.invalid:8090", "x,.invalid", "invalid", "*"] {
        let (status, proxied) = behind_a_proxy(test, "http://assisted.invalid:8090", no_proxy).await;
        assert_eq!((status, proxied), (502, 0), "{no_proxy}: there is no such host");
    }
}

#[tokio::test]
async fn an_assisted_service_on_this_machine_is_asked_directly() {
    let test = "proxies::an_assisted_service_on_this_machine_is_asked_directly";
    let upstream = FakeAssistedService::start().await;
    let port = upstream.url().port().unwrap();
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(behind_a_proxy(test, &format!("http://{host}:{port}"), "").await, (200, 0), "{host}");
    }
    assert_eq!(upstream.asked().len(), 4);
}

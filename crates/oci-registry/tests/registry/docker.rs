//! A registry that others wrote, filled by a tool that others wrote.

use coreos_names::Arch;
use oci_registry::{Config, Error, ManifestKind, PullSecret, Registry};
use test_support::payload::{Artifact, Compression, ImageBuilder, Index, LayerBuilder, MediaTypes};
use test_support::registry::DockerRegistry;

use crate::support::{config, image, image_of, pull_secret, read, reference, shown};

fn credentials(registry: &DockerRegistry) -> PullSecret {
    PullSecret::parse(&registry.pull_secret()).unwrap()
}

#[tokio::test]
async fn an_image_pushed_by_skopeo_is_read_byte_by_byte() {
    let server = DockerRegistry::start();
    let client = Registry::new(config(credentials(&server), &[server.address()])).unwrap();
    for (media_types, compression, tag) in [
        (MediaTypes::Docker, Compression::Gzip, "docker"),
        (MediaTypes::Oci, Compression::Gzip, "oci"),
        (MediaTypes::Oci, Compression::Zstd, "zstd"),
        (MediaTypes::Oci, Compression::None, "plain"),
    ] {
        let pushed = image(media_types, compression);
        server.push(&format!("openshift/release:{tag}"), &Artifact::from(pushed.clone()));

        let reference = reference(server.address()).with_tag(tag).unwrap();
        let manifest = client.manifest(&reference).await.unwrap();
        assert_eq!(manifest.digest, pushed.manifest.sha256().into());
        assert_eq!(manifest.size, pushed.manifest.size());
        let pinned = reference.with_digest(manifest.digest);
        assert_eq!(client.manifest(&pinned).await.unwrap(), manifest);

        let pulled = image_of(manifest.kind);
        let config = client.config(&pinned, &pulled).await.unwrap();
        assert_eq!((config.os.as_str(), config.architecture.as_str()), ("linux", "amd64"));
        assert_eq!(config.labels["io.openshift.release"], "4.18.52");

        assert_eq!(pulled.layers.len(), pushed.layers.len());
        for (layer, pushed) in pulled.layers.iter().zip(&pushed.layers) {
            let bytes = client.blob(&pinned, layer).await.unwrap().bytes(layer.size).await.unwrap();
            assert!(bytes == read(&pushed.content), "{tag}: other bytes");
        }
    }
}

#[tokio::test]
async fn a_list_comes_whole_and_in_order() {
    let server = DockerRegistry::start();
    let client = Registry::new(config(credentials(&server), &[server.address()])).unwrap();
    for media_types in [MediaTypes::Docker, MediaTypes::Oci] {
        let child = |arch: Arch| {
            let layer = LayerBuilder::new(Compression::Gzip).file("arch", arch.name()).build().unwrap();
            ImageBuilder::new(media_types, arch).layer(layer).build()
        };
        let pushed = Index::new(media_types, Arch::ALL.map(child).into());
        server.push("openshift/release:multi", &pushed.clone().into());

        let reference = reference(server.address()).with_tag("multi").unwrap();
        let ManifestKind::Index(index) = client.manifest(&reference).await.unwrap().kind else {
            panic!("no index")
        };
        for ((entry, pushed), arch) in index.manifests.iter().zip(&pushed.images).zip(Arch::ALL) {
            assert_eq!(entry.platform.as_ref().unwrap().architecture, arch.oci_name());
            let manifest = client.manifest(&reference.with_digest(entry.digest)).await.unwrap();
            assert_eq!(manifest.digest, pushed.manifest.sha256().into());
        }
    }
}

#[tokio::test]
async fn tls_is_verified_unless_the_registry_is_listed_as_insecure() {
    let server = DockerRegistry::start_with_tls();
    let pushed = Artifact::from(image(MediaTypes::Docker, Compression::Gzip));
    server.push("openshift/release:4.18.52-x86_64", &pushed);
    let reference = reference(server.address());
    let strict = config(credentials(&server), &[]);
    let pushing = server.requests().len();

    let error = Registry::new(strict.clone()).unwrap().manifest(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(!error.is_retryable());
    assert!(shown(&error).contains(server.address()));
    assert_eq!(server.requests().len(), pushing, "nothing may be asked over an untrusted connection");

    let trusting = Config { trusted_ca_pem: Some(server.ca_pem().into()), ..strict };
    Registry::new(trusting).unwrap().manifest(&reference).await.unwrap();

    let insecure = config(credentials(&server), &[server.address()]);
    Registry::new(insecure).unwrap().manifest(&reference).await.unwrap();
}

#[tokio::test]
async fn a_registry_without_tls_is_refused_unless_listed_as_insecure() {
    let server = DockerRegistry::start();
    let client = Registry::new(config(credentials(&server), &[])).unwrap();
    let error = client.manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert_eq!(server.requests(), []);
}

#[tokio::test]
async fn wrong_credentials_and_none_are_told_apart() {
    let server = DockerRegistry::start();
    let reference = reference(server.address());

    let wrong = config(pull_secret(server.address(), DockerRegistry::USER, "hunter2"), &[server.address()]);
    let error = Registry::new(wrong).unwrap().manifest(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }) && error.is_unauthorized(), "{error:?}");
    assert!(
        error
            .to_string()
            .contains(&format!("refuses the credentials of pull secret entry {:?}", server.address()))
    );
    assert!(!shown(&error).contains("hunter2"));

    let none = config(pull_secret("quay.io", "user", "hunter2"), &[server.address()]);
    let error = Registry::new(none).unwrap().manifest(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert!(error.to_string().contains("no entry of the pull secret matches"));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = DockerRegistry::start();
    let client = Registry::new(config(credentials(&server), &[server.address()])).unwrap();
    let error = client.manifest(&reference(server.address())).await.unwrap_err();
    assert!(error.is_not_found() && !error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("MANIFEST_UNKNOWN"), "{error}");
}

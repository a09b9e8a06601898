//! Blobs: whoever sees the end of one has seen the right bytes.

use std::time::Duration;

use oci_registry::{Config, Descriptor, Digest, Error, Registry};
use test_support::payload::{Artifact, Compression, Content, MediaTypes};
use test_support::registry::Fault;

use crate::support::{
    PASSWORD, REPOSITORY, USER, builder, client, config, descriptor, image, image_of, impatient, layer,
    pull_secret, read, reference, serve,
};

/// What came before the error, and the error.
async fn fail(client: &Registry, address: &str, blob: &Descriptor) -> (u64, Error) {
    let mut stream = client.blob(&reference(address), blob).await.unwrap();
    let mut received = 0;
    loop {
        match stream.chunk().await.expect("no end without an error") {
            Ok(chunk) => received += chunk.len() as u64,
            Err(error) => {
                assert!(stream.chunk().await.is_none(), "an error is the last that is said");
                return (received, error);
            }
        }
    }
}

#[tokio::test]
async fn every_kind_of_layer_arrives_as_it_is() {
    let (server, _) = serve(builder()).await;
    let client = client(&server);
    for media_types in [MediaTypes::Docker, MediaTypes::Oci] {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let image = image(media_types, compression);
            server.publish(REPOSITORY, "4.18.52-x86_64", &Artifact::from(image.clone()));
            let mut stream = client.blob(&reference(server.address()), &layer(&image)).await.unwrap();
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.chunk().await {
                let chunk = chunk.unwrap();
                assert!(!chunk.is_empty());
                bytes.extend_from_slice(&chunk);
            }
            assert!(bytes == read(&image.layers[1].content), "{media_types:?} {compression:?}");
            assert!(stream.chunk().await.is_none());
        }
    }
}

#[tokio::test]
async fn an_empty_blob_has_only_an_end() {
    let (server, _) = serve(builder()).await;
    let client = client(&server);
    let content = Content::from_bytes(Vec::new());
    server.publish_blob(&content);
    let mut blob = client.blob(&reference(server.address()), &descriptor(&content)).await.unwrap();
    assert!(blob.chunk().await.is_none());
}

#[tokio::test]
async fn a_blob_that_breaks_off_at_the_same_place_again_and_again_says_where() {
    let (server, image) = serve(builder().no_ranges()).await;
    let layer = layer(&image);
    let config = config(pull_secret(server.address(), USER, PASSWORD), &[server.address()]);
    let client = Registry::new(impatient(config)).unwrap();
    let digest = layer.digest.to_string();
    for cut in [0, 1, 1_000_000, layer.size - 1] {
        for fault in [Fault::CutAfter(cut), Fault::EndAfter(cut)] {
            server.heal();
            server.inject(&digest, fault.clone());
            let (seen, error) = fail(&client, server.address(), &layer).await;
            let Error::Truncated { expected, received, resumed, source, .. } = &error else {
                panic!("{fault:?}: {error:?}")
            };
            assert_eq!((*expected, *received), (layer.size, seen), "{fault:?}");
            match fault {
                // More than a MiB is progress, after which the rest is asked for at once.
                Fault::EndAfter(_) if seen >= 1 << 20 => assert!(seen == cut && *resumed == 1),
                Fault::EndAfter(_) => assert!(seen == cut && source.is_none() && *resumed == 0),
                // What was still on its way is lost with the connection.
                _ => assert!(seen <= cut && source.is_some()),
            }
            assert!(error.is_retryable());
            assert_eq!(error.to_string().contains(", resumed "), *resumed > 0, "{error}");
        }
    }
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_given_up() {
    let (server, image) = serve(builder()).await;
    let layer = layer(&image);
    server.inject(&layer.digest.to_string(), Fault::StallAfter(1000));
    let config = config(pull_secret(server.address(), USER, PASSWORD), &[server.address()]);
    let config = impatient(Config { read_timeout: Duration::from_secs(2), ..config });
    let (seen, error) = fail(&Registry::new(config).unwrap(), server.address(), &layer).await;
    assert_eq!(seen, 1000);
    assert!(matches!(error, Error::Truncated { source: Some(_), .. }), "{error:?}");
}

#[tokio::test]
async fn the_last_bytes_of_a_blob_that_is_not_the_right_one_are_never_seen() {
    let (server, image) = serve(builder()).await;
    let (client, layer) = (client(&server), layer(&image));
    let digest = layer.digest.to_string();
    for place in [0, layer.size / 2, layer.size - 1] {
        server.heal();
        server.inject(&digest, Fault::Corrupt(place));
        let (seen, error) = fail(&client, server.address(), &layer).await;
        assert!(
            matches!(&error, Error::DigestMismatch { expected, .. } if *expected == layer.digest),
            "{error:?}"
        );
        assert!(seen < layer.size);
        assert!(!error.is_retryable());
    }
    server.heal();
    server.inject(&digest, Fault::Append(b"more"));
    let (seen, error) = fail(&client, server.address(), &layer).await;
    assert!(matches!(error, Error::TooLong { expected, .. } if expected == layer.size), "{error:?}");
    assert!(seen < layer.size);
}

#[tokio::test]
async fn a_manifest_that_lies_about_a_size_is_found_out() {
    let (server, image) = serve(builder()).await;
    let client = client(&server);
    let longer = Descriptor { size: layer(&image).size + 1, ..layer(&image) };
    let shorter = Descriptor { size: layer(&image).size - 1, ..layer(&image) };
    for lie in [&longer, &shorter] {
        let error = client.blob(&reference(server.address()), lie).await.unwrap_err();
        let Error::WrongLength { expected, stated, .. } = error else { panic!("{error:?}") };
        assert_eq!((expected, stated), (lie.size, layer(&image).size));
    }

    let no_length_stated = Fault::EndAfter(u64::MAX);
    server.inject(&layer(&image).digest.to_string(), no_length_stated);
    let (_, error) = fail(&client, server.address(), &longer).await;
    assert!(matches!(error, Error::Truncated { .. }), "{error:?}");
    let (_, error) = fail(&client, server.address(), &shorter).await;
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
}

#[tokio::test]
async fn only_what_is_small_enough_is_taken_into_memory() {
    let (server, image) = serve(builder()).await;
    let (client, layer) = (client(&server), layer(&image));
    let open = async || client.blob(&reference(server.address()), &layer).await.unwrap();
    assert_eq!(open().await.bytes(layer.size).await.unwrap().len() as u64, layer.size);
    let error = open().await.bytes(layer.size - 1).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_blob_that_is_not_there_is_not_found() {
    let (server, image) = serve(builder()).await;
    let missing = Descriptor { digest: Digest::of(b"missing"), ..layer(&image) };
    let error = client(&server).blob(&reference(server.address()), &missing).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    assert!(error.to_string().starts_with(&format!(
        "blob {}/{REPOSITORY}@{}",
        server.address(),
        missing.digest
    )));
}

#[tokio::test]
async fn a_config_is_verified_like_everything_else() {
    let (server, image) = serve(builder()).await;
    let client = client(&server);
    let reference = reference(server.address());
    let manifest = image_of(client.manifest(&reference).await.unwrap().kind);
    server.inject(&image.config.digest(), Fault::Corrupt(3));
    let error = client.config(&reference, &manifest).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
    server.heal();
    server.inject_once(&image.config.digest(), Fault::CutAfter(3));
    assert_eq!(client.config(&reference, &manifest).await.unwrap().architecture, "amd64");
}

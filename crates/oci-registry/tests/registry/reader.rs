//! A blob for blocking code.

use std::io::{self, Read as _};

use oci_registry::{BlobReader, Error};
use test_support::registry::Fault;

use crate::support::{builder, client, layer, read, reference, serve};

#[tokio::test]
async fn a_blob_is_read_to_its_verified_end() {
    let (server, image) = serve(builder()).await;
    let blob = client(&server).blob(&reference(server.address()), &layer(&image)).await.unwrap();
    let bytes = blob.read_with(|mut reader| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    assert!(bytes.await.unwrap() == read(&image.layers[1].content));
}

#[tokio::test]
async fn what_is_not_read_is_judged_all_the_same() {
    let (server, image) = serve(builder()).await;
    let client = client(&server);
    let layer = layer(&image);
    let read_little = |mut reader: BlobReader| {
        reader.read_exact(&mut [0; 1000])?;
        reader.finish()
    };
    let blob = client.blob(&reference(server.address()), &layer).await.unwrap();
    blob.read_with(read_little).await.unwrap();

    server.inject(&layer.digest.to_string(), Fault::Corrupt(layer.size - 1));
    let blob = client.blob(&reference(server.address()), &layer).await.unwrap();
    let error = blob.read_with(read_little).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(matches!(error.downcast::<Error>(), Ok(Error::DigestMismatch { .. })));
}

#[tokio::test]
async fn an_error_stays_an_error() {
    let (server, image) = serve(builder().no_ranges()).await;
    let layer = layer(&image);
    server.inject(&layer.digest.to_string(), Fault::CutAfter(1_000_000));
    let blob = client(&server).blob(&reference(server.address()), &layer).await.unwrap();
    let (read, error, again) = blob
        .read_with(|mut reader| {
            let mut bytes = Vec::new();
            let error = reader.read_to_end(&mut bytes).unwrap_err();
            (bytes.len(), error, reader.read(&mut [0; 10]))
        })
        .await;
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let error = error.downcast::<Error>().unwrap();
    assert!(matches!(error, Error::Truncated { received, .. } if received == read as u64), "{error:?}");
    assert!(again.is_err(), "not the end");
}

//! What a feed asked for is remembered by a later process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use image_store::{ImageStore, Limits};
use serde_json::{Value, json};

#[test]
fn a_feed_is_remembered_until_it_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let open = || ImageStore::open(directory.path(), Limits::default()).unwrap();
    assert_eq!(open().remembered_feed::<Value>().unwrap(), None);
    for feed in [json!({"a": 1}), json!({"b": "2"})] {
        open().remember_feed(&feed).unwrap();
        assert_eq!(open().remembered_feed().unwrap(), Some(feed));
    }
    let path = directory.path().join(".coreos-image-service/v1/feed.json");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    fs::write(&path, "{").unwrap();
    assert_eq!(open().remembered_feed::<Value>().unwrap(), None, "it is damaged");
    for _ in 0..2 {
        open().forget_feed().unwrap();
        assert!(!path.exists());
    }
}

//! Signatures as stores give them, keyrings, and files of ConfigMaps. The first byte says which.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use coreos_names::Sha256;
use libfuzzer_sys::fuzz_target;
use release_signature::{Keyring, fuzzing};

static KEYRING: LazyLock<Keyring> =
    LazyLock::new(|| fuzzing::keyring(include_bytes!("../signature-key.gpg")).expect("a keyring"));

fuzz_target!(|bytes: &[u8]| {
    let digest = Sha256::from([0xab; 32]);
    let now = UNIX_EPOCH + Duration::from_secs(1_685_577_600);
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => {
            fuzzing::judge(&KEYRING, bytes, digest, now);
        }
        1 => {
            // A keyring that is its own message asks every packet what it is.
            if let Some(keyring) = fuzzing::keyring(bytes) {
                fuzzing::judge(&keyring, bytes, digest, now);
                keyring.keys().for_each(drop);
            }
        }
        _ => fuzzing::config_maps(bytes, digest),
    }
});

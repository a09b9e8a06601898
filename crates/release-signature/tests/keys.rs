//! Messages that GnuPG has signed, and what keyrings say of them.

use std::fs;
use std::time::{Duration, SystemTime};

use coreos_names::{Sha256, WithCauses};
use release_signature::{Config, Keyring, Refusal, SignaturePolicy, Store, UnusableKeyring, Verification};
use tempfile::TempDir;
use test_support::gpg::{Gpg, statement};
use test_support::install_crypto_provider;

/// 1 June 2023. Signatures are of January.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(468_216)
}

fn digest() -> Sha256 {
    Sha256::from([0xab; 32])
}

fn document() -> String {
    statement(&format!("sha256:{}", digest()))
}

fn keyring(gpg: &Gpg, keys: &[&str]) -> Keyring {
    Keyring::read("keys.gpg", &gpg.export(keys)).unwrap()
}

async fn verify(keyrings: &[Keyring], signatures: &[&[u8]]) -> Result<Verification, Refusal> {
    Asked::of(keyrings).about(signatures).await
}

/// A policy and its only store.
struct Asked {
    policy: SignaturePolicy,
    store: TempDir,
}

impl Asked {
    fn of(keyrings: &[Keyring]) -> Self {
        install_crypto_provider();
        let store = TempDir::new().unwrap();
        fs::create_dir(store.path().join(format!("sha256={}", digest()))).unwrap();
        let config = Config {
            keyrings: keyrings.to_vec(),
            stores: vec![Store::Path(store.path().to_owned())],
            trusted_ca_pem: None,
            user_agent: "test".to_owned(),
        };
        Self { policy: SignaturePolicy::new(config).unwrap(), store }
    }

    async fn about(&self, signatures: &[&[u8]]) -> Result<Verification, Refusal> {
        for (number, signature) in (1..).zip(signatures) {
            let place = format!("sha256={}/signature-{number}", digest());
            fs::write(self.store.path().join(place), signature).unwrap();
        }
        self.policy.verify(&[digest()], now()).await
    }
}

/// Signatures that do not count, and why.
async fn assert_refused(keyring: &Keyring, signature: &[u8], reason: &str) {
    let refusal = verify(std::slice::from_ref(keyring), &[signature]).await.unwrap_err();
    let text = WithCauses(&refusal).to_string();
    assert!(text.contains(reason), "{reason:?} is not in {text}");
    assert!(!refusal.is_retryable(), "{text}");
}

#[tokio::test]
async fn a_release_signed_by_a_key_of_the_keyring_is_accepted() {
    let gpg = Gpg::new();
    for algorithm in ["rsa4096", "ed25519", "nistp256"] {
        let key = gpg.key(&format!("Publisher {algorithm} <release@example.com>"), algorithm);
        let keyring = keyring(&gpg, &[&key]);
        for arguments in
            [&["--sign"][..], &["--compress-algo", "none", "--sign"], &["--compress-algo", "zlib", "--sign"]]
        {
            let time = ["--faked-system-time", "20230101T000000"];
            let signature = gpg.sign_with(&[&key], &document(), &[&time, arguments].concat());
            let verification = verify(std::slice::from_ref(&keyring), &[&signature]).await.unwrap();
            let [signed] = verification.signatures.as_slice() else { panic!("{verification:?}") };
            assert!(key.ends_with(&signed.key_id) && signed.key_id.len() == 16, "{signed}");
            let user = format!("Publisher {algorithm} <release@example.com>");
            assert_eq!(signed.user_id.as_deref(), Some(user.as_str()));
            assert_eq!((signed.keyring, signed.digest), (keyring.fingerprint(), digest()));
            assert_eq!(signed.docker_reference, "quay.io/openshift-release-dev/ocp-release:4.18.52-x86_64");
        }
    }
}

#[tokio::test]
async fn every_changed_byte_is_noticed() {
    let gpg = Gpg::new();
    let key = gpg.key("Publisher", "ed25519");
    let asked = Asked::of(&[keyring(&gpg, &[&key])]);
    let none = ["--faked-system-time", "20230101T000000", "--compress-algo", "none", "--sign"];
    let good = gpg.sign_with(&[&key], &document(), &none);
    assert!(asked.about(&[&good]).await.is_ok());
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for (position, step) in (0..good.len()).flat_map(|position| [(position, 1), (position, 0x80)]) {
        let mut bad = good.clone();
        bad[position] ^= step;
        match asked.about(&[&bad]).await {
            Ok(verification) => accepted.push((position, verification)),
            Err(_) => refused += 1,
        }
        assert!(asked.about(&[&good[..position]]).await.is_err(), "cut at {position}");
    }
    // The document and all that is hashed with it cannot be changed. Names and times of the literal packet, and what
    // announces a signature, are not signed and mean nothing.
    let begin = good.windows(10).position(|bytes| bytes == b"{\"critical").unwrap();
    assert!(refused > document().len() * 2, "{refused}");
    for (position, verification) in accepted {
        assert!(!(begin..begin + document().len()).contains(&position), "{position}");
        assert_eq!(verification.signatures[0].digest, digest());
    }
}

#[tokio::test]
async fn who_is_not_in_the_keyring_vouches_for_nothing() {
    let gpg = Gpg::new();
    let [trusted, other] = ["Trusted", "Other"].map(|user| gpg.key(user, "ed25519"));
    let keyring = keyring(&gpg, &[&trusted]);
    let by_other = gpg.sign(&[&other], &document());
    let id = &other[24..];
    assert_refused(
        &keyring,
        &by_other,
        &format!("it is signed by key {id}, which the keyring does not have"),
    )
    .await;
    // One trusted signer is enough, in the same message or in another.
    let by_both = gpg.sign(&[&other, &trusted], &document());
    assert!(verify(std::slice::from_ref(&keyring), &[&by_both]).await.is_ok());
    let by_trusted = gpg.sign(&[&trusted], &document());
    assert!(verify(&[keyring], &[&by_other, b"rubbish", &by_trusted]).await.is_ok());
}

#[tokio::test]
async fn every_keyring_has_to_vouch_for_a_release() {
    let gpg = Gpg::new();
    let [one, two] = ["One", "Two"].map(|user| gpg.key(user, "ed25519"));
    let keyrings =
        [keyring(&gpg, &[&one]), Keyring::read("second.asc", &gpg.export_armored(&[&two])).unwrap()];
    let [by_one, by_two, by_both] =
        [&[&*one][..], &[&*two], &[&*one, &*two]].map(|keys| gpg.sign(keys, &document()));
    for signatures in [&[&*by_one, &*by_two][..], &[&*by_two, &*by_one], &[&*by_both]] {
        let verification = verify(&keyrings, signatures).await.unwrap();
        assert_eq!(verification.keyrings(), keyrings.iter().map(Keyring::fingerprint).collect());
    }
    let refusal = verify(&keyrings, &[&by_one]).await.unwrap_err();
    assert_eq!(refusal.keyrings, ["second.asc"]);
    // In one file they are alternatives.
    let both = keyring(&gpg, &[&one, &two]);
    assert!(verify(&[both], &[&by_two]).await.is_ok());
}

#[tokio::test]
async fn a_key_counts_only_for_the_time_when_it_was_good() {
    let gpg = Gpg::new();
    let key = gpg.key("Publisher", "ed25519");
    let at = |time: &str, arguments: &[&str]| {
        gpg.sign_with(
            &[&key],
            &document(),
            &[&["--faked-system-time", time], arguments, &["--sign"]].concat(),
        )
    };
    let [early, late] = ["20210101T000000", "20230101T000000"].map(|time| at(time, &[]));
    let short = at("20230101T000000", &["--default-sig-expire", "1m"]);
    let long = at("20230101T000000", &["--default-sig-expire", "1y"]);
    let future = at("20240101T000000", &[]);
    let fresh = keyring(&gpg, &[&key]);
    for good in [&early, &late, &long] {
        assert!(verify(std::slice::from_ref(&fresh), &[good]).await.is_ok());
    }
    assert_refused(&fresh, &short, "expired at 2023-01-3").await;
    assert_refused(&fresh, &future, "was made at 2024-01-01T00:00:00Z, but the clock here says 2023-06-01")
        .await;

    gpg.expire(&key, "20220101T000000");
    let expired = keyring(&gpg, &[&key]);
    assert!(verify(std::slice::from_ref(&expired), &[&early]).await.is_ok(), "it was good then");
    assert_refused(&expired, &late, "the key had expired when the signature was made").await;
    // The older file says less, but it does not know better.
    assert!(verify(std::slice::from_ref(&fresh), &[&late]).await.is_ok());
}

#[tokio::test]
async fn a_revoked_key_counts_for_nothing_or_for_what_came_before() {
    for (reason, early_counts) in [(1, false), (3, true)] {
        let gpg = Gpg::new();
        let key = gpg.key("Publisher", "ed25519");
        let sign = |time: &str| gpg.sign_with(&[&key], &document(), &["--faked-system-time", time, "--sign"]);
        let [early, late] = ["20210101T000000", "20230101T000000"].map(sign);
        gpg.revoke(&key, "20220101T000000", reason);
        let keyring = keyring(&gpg, &[&key]);
        assert_refused(&keyring, &late, "the key is revoked").await;
        assert_eq!(verify(&[keyring], &[&early]).await.is_ok(), early_counts, "reason {reason}");
    }
}

#[tokio::test]
async fn a_subkey_signs_for_its_key_if_it_may() {
    let gpg = Gpg::new();
    let key = gpg.key("Publisher", "ed25519");
    let subkey = gpg.subkey(&key, "rsa3072", "sign");
    let keyring = keyring(&gpg, &[&key]);
    let by_subkey = gpg.sign(&[&format!("{subkey}!")], &document());
    let verification = verify(std::slice::from_ref(&keyring), &[&by_subkey]).await.unwrap();
    assert_eq!(verification.signatures[0].key_id, subkey[24..]);
    let by_primary = gpg.sign(&[&format!("{key}!")], &document());
    assert_eq!(verify(&[keyring], &[&by_primary]).await.unwrap().signatures[0].key_id, key[24..]);

    // Without the primary key's word a subkey is nobody's.
    let export = gpg.export(&[&key]);
    let binding = export.len() - 1;
    let mut unbound = export.clone();
    unbound[binding] ^= 1;
    let unbound = Keyring::read("keys.gpg", &unbound).unwrap();
    assert_refused(&unbound, &by_subkey, "the key has no valid signature of its owner").await;
}

#[tokio::test]
async fn only_the_statement_about_the_release_counts() {
    let gpg = Gpg::new();
    let key = gpg.key("Publisher", "ed25519");
    let keyring = keyring(&gpg, &[&key]);
    for (document, reason) in [
        (document().replace("abab", "cdcd"), "it is for the digest \"sha256:cdcd"),
        (
            document().replace("atomic", "cosign"),
            "it signs a document of type \"cosign container signature\"",
        ),
        (document().replace("\"creator\"", "\"expires\": 1, \"creator\""), "unknown field `expires`"),
        (
            document().replace("quay.io/openshift-release-dev/ocp-release:4.18.52-x86_64", ""),
            "it names no image",
        ),
        ("hello".to_owned(), "it does not sign what signatures of releases sign"),
    ] {
        assert_refused(&keyring, &gpg.sign(&[&key], &document), reason).await;
    }
}

#[tokio::test]
async fn only_a_binary_signed_message_counts() {
    let gpg = Gpg::new();
    let key = gpg.key("Publisher", "rsa3072");
    let keyring = keyring(&gpg, &[&key]);
    let time = ["--faked-system-time", "20230101T000000"];
    let made = |arguments: &[&str]| gpg.sign_with(&[&key], &document(), &[&time, arguments].concat());
    let bomb = format!("{}{}", document(), " ".repeat(20 << 20));
    let bomb = gpg.sign_with(&[&key], &bomb, &[&time[..], &["--compress-level", "9", "--sign"]].concat());
    for (message, reason) in [
        (made(&["--detach-sign"]), "it is a detached signature, without what it signs"),
        (made(&["--clear-sign"]), "it is ASCII-armored"),
        (made(&["--armor", "--sign"]), "it is ASCII-armored"),
        (made(&["--digest-algo", "SHA1", "--sign"]), "uses SHA1, which is not accepted"),
        (made(&["--store"]), "it is not signed"),
        (made(&["--passphrase", "secret", "--symmetric"]), "it is encrypted"),
        (Vec::new(), "it is empty"),
        (document().into_bytes(), "it is not a signed OpenPGP message"),
        (gpg.export(&[&key]), "it is not a signed OpenPGP message"),
        (bomb.clone(), "inflates to more than 262144 bytes"),
        (vec![0; 60 << 10], "has more than 51200 bytes"),
    ] {
        assert_refused(&keyring, &message, reason).await;
    }
    assert!(bomb.len() <= 50 << 10, "{}", bomb.len());
}

#[test]
fn a_keyring_is_binary_or_armored_and_holds_only_public_keys() {
    let gpg = Gpg::new();
    let keys = ["One", "Two"].map(|user| gpg.key(user, "ed25519"));
    let [one, two] = [&*keys[0], &*keys[1]];
    let armored = |key| String::from_utf8(gpg.export_armored(&[key])).unwrap();
    let both = format!("Two keys, one after the other:\r\n\r\n{}\nand\n{}\n", armored(one), armored(two));
    for bytes in [gpg.export(&[one, two]), gpg.export_armored(&[one, two]), both.into_bytes()] {
        let keyring = Keyring::read("keys", &bytes).unwrap();
        assert_eq!(keyring.keys().collect::<Vec<_>>(), [format!("{one} (One)"), format!("{two} (Two)")]);
    }
    let read = |bytes: &[u8]| Keyring::read("keys", bytes).unwrap_err();
    assert!(matches!(read(&gpg.export_secret(one)), UnusableKeyring::SecretKey));
    assert!(matches!(read(b"no keys"), UnusableKeyring::NoKeys));
    assert!(matches!(read(b""), UnusableKeyring::NoKeys));
    assert!(matches!(read(b"\0\0\0\x20\x01\x01\0\x02KBXf"), UnusableKeyring::Keybox));
    assert!(matches!(read(&vec![b' '; 9 << 20]), UnusableKeyring::TooLarge));
    for (bytes, kept) in [(gpg.export(&[one]), 20), (gpg.export(&[one]), 0)] {
        assert!(Keyring::read("keys", &bytes[..kept]).is_err(), "{kept}");
    }
}

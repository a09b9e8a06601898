//! A public key with what its owner has said of it: for how long it holds, what it may do, whether it is revoked.
//!
//! Only the owner's own signatures over the key count, and only verified ones. They may use SHA-1, as old keys do: the
//! key is the admin's choice, and nobody can add to it. Of several the newest counts, as in GnuPG.

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{KeyFlags, RevocationCode, Signature, SignatureType, SubpacketData};
use pgp::types::{Fingerprint, KeyDetails, KeyId, Tag};

/// Why a key of the keyring cannot have made a valid signature, although it has made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// Its owner has not signed it, or not as one of their keys.
    #[error("the key has no valid signature of its owner")]
    Unbound,
    /// It is for encryption, or for other keys.
    #[error("the key is not for signing")]
    NotForSigning,
    /// It is younger than the signature.
    #[error("the key did not exist when the signature was made")]
    NotYet,
    /// It had expired when the signature was made.
    #[error("the key had expired when the signature was made")]
    Expired,
    /// It was revoked before the signature was made, or it was stolen.
    #[error("the key is revoked")]
    Revoked,
}

/// A key of a keyring, with its subkeys.
#[derive(Clone, Debug)]
pub(crate) struct Certificate(pub(crate) SignedPublicKey);

/// What issued a signature: the key itself or one of its subkeys.
#[derive(Clone, Copy)]
pub(crate) enum Issuer<'a> {
    Primary,
    Subkey(&'a SignedPublicSubKey),
}

impl Certificate {
    /// The part of the key that a signature names as its issuer.
    pub(crate) fn issuer_of(&self, signature: &Signature) -> Option<Issuer<'_>> {
        let issued = |id: KeyId, fingerprint: &Fingerprint| {
            let ids = signature.issuer_key_id();
            ids.contains(&&id) || signature.issuer_fingerprint().contains(&fingerprint)
        };
        if issued(self.0.primary_key.legacy_key_id(), &self.0.primary_key.fingerprint()) {
            return Some(Issuer::Primary);
        }
        let mut subkeys = self.0.public_subkeys.iter();
        subkeys.find(|subkey| issued(subkey.legacy_key_id(), &subkey.fingerprint())).map(Issuer::Subkey)
    }

    /// Whether the issuer has made the signature over these bytes. Says nothing of whether it was allowed to.
    pub(crate) fn has_made(&self, issuer: Issuer<'_>, signature: &Signature, data: &[u8]) -> bool {
        match issuer {
            Issuer::Primary => signature.verify(&self.0.primary_key, data).is_ok(),
            Issuer::Subkey(subkey) => signature.verify(&subkey.key, data).is_ok(),
        }
    }

    /// Whether the issuer could make signatures at `made`, as is known `now`, both in seconds since 1970.
    pub(crate) fn may_sign(&self, issuer: Issuer<'_>, made: u64, now: u64) -> Result<(), KeyFault> {
        let primary = &self.0.primary_key;
        let own = self.self_signature(now).ok_or(KeyFault::Unbound)?;
        let revocations = self.0.details.revocation_signatures.iter();
        let revocation =
            Revocation::of(revocations.filter(|signature| signature.verify_key(primary).is_ok()));
        held(primary, own, &revocation, made)?;
        let Issuer::Subkey(subkey) = issuer else {
            // Keys from before there were flags may do everything.
            return flags(own).is_none_or(KeyFlags::sign).then_some(()).ok_or(KeyFault::NotForSigning);
        };
        let bound = |kind| {
            let signatures = subkey.signatures.iter().filter(move |signature| signature.typ() == Some(kind));
            signatures.filter(|signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok())
        };
        let binding = newest(bound(SignatureType::SubkeyBinding), now).ok_or(KeyFault::Unbound)?;
        held(&subkey.key, binding, &Revocation::of(bound(SignatureType::SubkeyRevocation)), made)?;
        if !flags(binding).is_some_and(KeyFlags::sign) {
            return Err(KeyFault::NotForSigning);
        }
        // Else anybody could claim another's signing key as a subkey.
        let agrees = binding
            .embedded_signature()
            .is_some_and(|signature| signature.verify_primary_key_binding(&subkey.key, primary).is_ok());
        if agrees { Ok(()) } else { Err(KeyFault::Unbound) }
    }

    /// Who the key says that it belongs to.
    pub(crate) fn user_id(&self) -> Option<String> {
        let users = &self.0.details.users;
        let user = users.iter().find(|user| user.is_primary()).or_else(|| users.first())?;
        Some(String::from_utf8_lossy(user.id.id()).chars().take(100).filter(|c| !c.is_control()).collect())
    }

    /// The newest statement of the owner about the primary key.
    fn self_signature(&self, now: u64) -> Option<&Signature> {
        let primary = &self.0.primary_key;
        let direct = self.0.details.direct_signatures.iter();
        let direct = direct.filter(|signature| {
            signature.typ() == Some(SignatureType::Key) && signature.verify_key(primary).is_ok()
        });
        let of_users = self.0.details.users.iter().filter_map(|user| {
            let own = || {
                let signatures = user.signatures.iter();
                signatures.filter(|signature| {
                    // Others may have signed it, too.
                    signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
                })
            };
            let is_revocation =
                |signature: &&Signature| signature.typ() == Some(SignatureType::CertRevocation);
            let certification = newest(own().filter(|signature| !is_revocation(signature)), now)?;
            let revoked = newest(own().filter(is_revocation), now);
            revoked.is_none_or(|revoked| created(revoked) < created(certification)).then_some(certification)
        });
        newest(direct.chain(of_users), now)
    }
}

/// The ids of the keys that a signature names as its issuers.
pub(crate) fn issuers(signature: &Signature) -> Vec<String> {
    let mut ids: Vec<String> = signature.issuer_key_id().into_iter().map(hexadecimal).collect();
    if ids.is_empty() {
        ids.extend(signature.issuer_fingerprint().into_iter().map(hexadecimal));
    }
    ids
}

/// The way in which keys are written.
pub(crate) fn hexadecimal(id: &impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    id.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// When a signature was made, in seconds since 1970.
pub(crate) fn created(signature: &Signature) -> Option<u64> {
    signature.created().map(|time| time.as_secs().into())
}

/// When a signature expires, in seconds since 1970.
pub(crate) fn expires(signature: &Signature) -> Option<u64> {
    let lifetime = signature.signature_expiration_time().filter(|lifetime| lifetime.as_secs() != 0)?;
    Some(created(signature)?.saturating_add(lifetime.as_secs().into()))
}

/// The newest of the owner's signatures that holds.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>, now: u64) -> Option<&'a Signature> {
    let holds = |signature: &&Signature| {
        signature.hash_alg().is_some_and(|hash| hash != HashAlgorithm::Md5)
            && created(signature).is_some_and(|made| made <= now.saturating_add(crate::policy::CLOCK_SKEW))
            && expires(signature).is_none_or(|end| now < end)
    };
    signatures.filter(holds).max_by_key(|signature| created(signature))
}

/// Whether a key was alive at a time, in seconds since 1970.
fn held(
    key: &impl KeyDetails,
    binding: &Signature,
    revocation: &Revocation,
    at: u64,
) -> Result<(), KeyFault> {
    let born = u64::from(key.created_at().as_secs());
    let lifetime = binding.key_expiration_time().map_or(0, |lifetime| u64::from(lifetime.as_secs()));
    if revocation.holds(at) {
        Err(KeyFault::Revoked)
    } else if at < born {
        Err(KeyFault::NotYet)
    } else if lifetime != 0 && born.saturating_add(lifetime) <= at {
        Err(KeyFault::Expired)
    } else {
        Ok(())
    }
}

fn flags(signature: &Signature) -> Option<&KeyFlags> {
    signature.config()?.hashed_subpackets().find_map(|subpacket| match &subpacket.data {
        SubpacketData::KeyFlags(flags) => Some(flags),
        _ => None,
    })
}

/// From when on nothing that a key has signed counts.
enum Revocation {
    Never,
    /// The key went out of use then; what it signed before stays.
    From(u64),
    /// The key may have been stolen: who knows when a signature was made?
    Always,
}

impl Revocation {
    fn of<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Self {
        signatures.fold(Self::Never, |so_far, signature| {
            let out_of_use = matches!(
                signature.revocation_reason_code(),
                Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired)
            );
            match (so_far, created(signature).filter(|_| out_of_use)) {
                (Self::Never, Some(time)) => Self::From(time),
                (Self::From(earlier), Some(time)) => Self::From(earlier.min(time)),
                (Self::Always, _) | (_, None) => Self::Always,
            }
        })
    }

    fn holds(&self, at: u64) -> bool {
        match *self {
            Self::Never => false,
            Self::From(time) => time <= at,
            Self::Always => true,
        }
    }
}

//! A signed OpenPGP message: data and signatures over it, in one.
//!
//! The packets are taken one by one, in the two orders that RFC 9580 (10.3) knows, and nothing else is accepted: no
//! encryption, no nesting but one compressed packet around all, as `gpg --sign` makes it.

use std::io::Read as _;

use pgp::packet::{Packet, PacketParser, Signature};

/// The document has some 300 bytes, and a signature of an RSA key with 4096 bits 600.
const MAX_INFLATED: u64 = 256 << 10;

/// One for each of a publisher's keys.
const MAX_SIGNATURES: usize = 16;

/// With the packets of that many signatures.
const MAX_PACKETS: usize = 2 * MAX_SIGNATURES + 8;

/// Why bytes are not a signed message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("it is empty")]
    Empty,
    #[error("it is ASCII-armored; signatures of releases are binary")]
    Armored,
    #[error("it is a detached signature, without what it signs")]
    Detached,
    #[error("it is not signed")]
    Unsigned,
    #[error("it is encrypted")]
    Encrypted,
    #[error("it inflates to more than {MAX_INFLATED} bytes")]
    TooLarge,
    #[error("it holds more than {MAX_SIGNATURES} signatures")]
    TooMany,
    #[error("it is not a signed OpenPGP message")]
    Malformed(#[source] Option<pgp::errors::Error>),
}

/// A message whose signatures are yet to be verified.
pub(crate) struct SignedMessage {
    pub(crate) data: Vec<u8>,
    pub(crate) signatures: Vec<Signature>,
}

impl SignedMessage {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Err(Error::Empty);
        }
        if bytes.trim_ascii_start().starts_with(b"-----BEGIN PGP") {
            return Err(Error::Armored);
        }
        let packets = packets(bytes)?;
        match packets.as_slice() {
            [Packet::CompressedData(compressed)] => {
                let mut inflated = Vec::new();
                let malformed = |error: std::io::Error| Error::Malformed(Some(error.into()));
                let reader = compressed.decompress().map_err(|error| Error::Malformed(Some(error)))?;
                reader.take(MAX_INFLATED + 1).read_to_end(&mut inflated).map_err(malformed)?;
                if inflated.len() as u64 > MAX_INFLATED {
                    return Err(Error::TooLarge);
                }
                Self::of(self::packets(&inflated)?)
            }
            _ => Self::of(packets),
        }
    }

    /// One-pass signatures announce as many signatures behind the data; older messages have them before it.
    fn of(packets: Vec<Packet>) -> Result<Self, Error> {
        let (mut announced, mut data, mut signatures) = (0, None, Vec::new());
        let mut before = 0;
        for packet in packets {
            match packet {
                Packet::Marker(_) | Packet::Padding(_) => {}
                Packet::OnePassSignature(_) if data.is_none() && signatures.is_empty() => announced += 1,
                Packet::LiteralData(literal) if data.is_none() => {
                    before = signatures.len();
                    data = Some(literal.into_bytes().to_vec());
                }
                Packet::Signature(signature) => signatures.push(signature),
                Packet::SymEncryptedData(_)
                | Packet::SymEncryptedProtectedData(_)
                | Packet::GnupgAeadData(_)
                | Packet::PublicKeyEncryptedSessionKey(_)
                | Packet::SymKeyEncryptedSessionKey(_) => return Err(Error::Encrypted),
                _ => return Err(Error::Malformed(None)),
            }
        }
        if signatures.len() > MAX_SIGNATURES {
            return Err(Error::TooMany);
        }
        let Some(data) = data else {
            return Err(if signatures.is_empty() { Error::Malformed(None) } else { Error::Detached });
        };
        if signatures.is_empty() {
            return Err(Error::Unsigned);
        }
        let in_order = if announced > 0 {
            before == 0 && signatures.len() == announced
        } else {
            before == signatures.len()
        };
        if in_order { Ok(Self { data, signatures }) } else { Err(Error::Malformed(None)) }
    }
}

fn packets(bytes: &[u8]) -> Result<Vec<Packet>, Error> {
    let mut packets = Vec::new();
    for packet in PacketParser::new(bytes) {
        packets.push(packet.map_err(|error| Error::Malformed(Some(error)))?);
        if packets.len() > MAX_PACKETS {
            return Err(Error::TooMany);
        }
    }
    Ok(packets)
}

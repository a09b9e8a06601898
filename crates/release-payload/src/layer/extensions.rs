//! What tar says of a member beyond its header: POSIX (PAX) records and GNU long names.

use std::io;

/// Go's archive/tar, which writes and reads most layers, has the same limit.
pub(super) const MAX_EXTENSION: u64 = 1 << 20;

/// What the members in front of a member say of it.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) long_name: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
    pub(super) pax: PaxRecords,
}

/// The records that change what is read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// The member is the pieces of a file, in one of GNU's formats.
    pub(super) is_sparse: bool,
}

impl PaxRecords {
    /// Reads records of the form `LENGTH KEYWORD=VALUE\n`. An empty value leaves what the header says.
    pub(super) fn parse(mut bytes: &[u8]) -> io::Result<Self> {
        let mut records = Self::default();
        let mut sparse_name = None;
        while !bytes.is_empty() {
            let (keyword, value, rest) = record(bytes).ok_or_else(|| invalid("a PAX record is malformed"))?;
            bytes = rest;
            records.is_sparse |= keyword.starts_with(b"GNU.sparse.");
            if value.is_empty() {
                continue;
            }
            match keyword {
                b"path" => records.path = Some(value.to_vec()),
                b"linkpath" => records.link = Some(value.to_vec()),
                b"GNU.sparse.name" => sparse_name = Some(value.to_vec()),
                b"size" => {
                    let size = decimal(value).ok_or_else(|| invalid("a PAX record states no usable size"))?;
                    records.size = Some(size);
                }
                _ => {}
            }
        }
        // Its path is then that of a place nobody is to look at.
        if sparse_name.is_some() {
            records.path = sparse_name;
        }
        Ok(records)
    }
}

/// The first record, and what follows it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|&byte| byte == b'=')?;
    Some((&pair[..equals], &pair[equals + 1..], rest))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

pub(super) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_that_matter_are_read() {
        let text =
            b"20 path=coreos/x\n=y\n30 mtime=1700000000.123456789\n20 size=99999999999\n13 linkpath=\n";
        let records = PaxRecords::parse(text).unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"coreos/x\n=y"[..]));
        assert_eq!((records.size, records.link, records.is_sparse), (Some(99_999_999_999), None, false));

        let sparse = PaxRecords::parse(b"22 GNU.sparse.major=1\n21 GNU.sparse.name=x\n").unwrap();
        assert_eq!((sparse.path.as_deref(), sparse.is_sparse), (Some(&b"x"[..]), true));
    }

    #[test]
    fn malformed_records_are_refused() {
        for text in [
            "7 a=b",
            "6 a=b\nx",
            "0 a=b\n",
            "5 a=b\n",
            "-6 a=b\n",
            "99999999999999999999999 a=b\n",
            "18446744073709551615 a=b\n",
            "7 path\n",
            "10 size=x\n",
            "11 size=-1\n",
            "29 size=99999999999999999999\n",
            " ",
            "x",
        ] {
            assert!(PaxRecords::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert_eq!(PaxRecords::parse(b"6 a=b\n").unwrap(), PaxRecords::default());
    }
}

//! ISO 9660 level 1 names, which are all there is without Rock Ridge: `COREOS/KARGS.JSO;1`.

/// The name without its version number and without the dot that a name with no extension ends in.
pub(super) fn without_version(identifier: &[u8]) -> String {
    let name = identifier.split(|byte| *byte == b';').next().unwrap_or_default();
    let name = name.strip_suffix(b".").unwrap_or(name);
    String::from_utf8_lossy(name).into_owned()
}

/// Whether `path` may be what became `stored`: the same but for case, or after being cut to level 1.
pub(super) fn matches(stored: &str, path: &str) -> bool {
    let mut stored = stored.split('/');
    let mut path = path.split('/');
    loop {
        match (stored.next(), path.next()) {
            (None, None) => return true,
            (Some(stored), Some(name)) if stored.eq_ignore_ascii_case(name) || stored == cut(name) => {}
            _ => return false,
        }
    }
}

/// The name that genisoimage and xorriso give a file or directory at level 1: eight letters, a dot, three letters.
fn cut(name: &str) -> String {
    let (base, extension) = match name.rsplit_once('.') {
        Some((base, extension)) if !base.is_empty() => (base, extension),
        _ => (name, ""),
    };
    let allowed =
        |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    let mut cut: String = base.chars().map(allowed).take(8).collect();
    if !extension.is_empty() {
        cut.push('.');
        cut.extend(extension.chars().map(allowed).take(3));
    }
    cut
}

/// Names at level 1 for a file, best first: as [`cut`], then with numbers in place of the last letters.
pub(super) fn candidates(name: &str) -> impl Iterator<Item = String> {
    let first = cut(name);
    let (base, extension) = first.split_once('.').unwrap_or((&first, ""));
    let (base, extension) = (base.to_owned(), extension.to_owned());
    let numbered = (0..1000).map(move |number| {
        let base: String = base.chars().take(5).collect();
        format!("{base}{number:03}.{extension}")
    });
    std::iter::once(first).chain(numbered)
}

#[cfg(test)]
mod tests {
    use super::{candidates, cut, matches, without_version};

    /// As `genisoimage -o OUT.iso .` and `isoinfo -f` show them.
    #[test]
    fn names_are_cut_as_genisoimage_cuts_them() {
        for (name, expected) in [
            ("igninfo.json", "IGNINFO.JSO"),
            ("initrd.addrsize", "INITRD.ADD"),
            ("boot.catalog", "BOOT.CAT"),
            ("vmlinuz", "VMLINUZ"),
            ("genericdvd.prm", "GENERICD.PRM"),
            (".cmdline", "_CMDLINE"),
            ("a.b.c", "A_B.C"),
            ("tar.gz.xz", "TAR_GZ.XZ"),
            ("foo+bar.txt", "FOO_BAR.TXT"),
            ("powerpc-ieee1275", "POWERPC_"),
        ] {
            assert_eq!(cut(name), expected);
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let first: Vec<_> = candidates("assisted_installer_custom.img").take(3).collect();
        assert_eq!(first, ["ASSISTED.IMG", "ASSIS000.IMG", "ASSIS001.IMG"]);
        assert_eq!(candidates("nmstate.img").nth(1).unwrap(), "NMSTA000.IMG");
    }

    #[test]
    fn stored_names_lose_version_and_empty_extension() {
        assert_eq!(without_version(b"VMLINUZ.;1"), "VMLINUZ");
        assert_eq!(without_version(b"KARGS.JSO;1"), "KARGS.JSO");
        assert_eq!(without_version(b"COREOS"), "COREOS");
        assert_eq!(without_version(b""), "");
    }

    #[test]
    fn paths_match_part_by_part() {
        assert!(matches("COREOS/KARGS.JSO", "coreos/kargs.json"));
        assert!(matches("coreos/kargs.json", "coreos/kargs.json"));
        assert!(matches("COREOS/KARGS.JSON", "coreos/kargs.json"));
        assert!(!matches("COREOS/KARGS.JSO", "kargs.json"));
        assert!(!matches("KARGS.JSO", "coreos/kargs.json"));
        assert!(!matches("COREOS/KARGS.JSO", "coreos/karg.json"));
    }
}

//! Paths as they should have been written, to be redirected to.

/// The first segments of the paths that lead somewhere.
pub(crate) const ROUTES: [&str; 8] =
    ["byid", "bytoken", "byapikey", "images", "boot-artifacts", "health", "live", "metrics"];

/// Those of them that are directories to the predecessor, whose names end in a slash.
const DIRECTORIES: [&str; 2] = ["images", "boot-artifacts"];

/// The path without empty, `.` and `..` segments, and with a slash behind a directory, if that is another path and
/// leads somewhere.
///
/// A base URL with a slash too many makes such paths, and the predecessor redirects from them.
pub(crate) fn clean_path(path: &str) -> Option<String> {
    let mut kept = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let is_directory = matches!(kept[..], [only] if DIRECTORIES.contains(&only));
    let slash = if is_directory || (path.ends_with('/') && !kept.is_empty()) { "/" } else { "" };
    let clean = format!("/{}{slash}", kept.join("/"));
    // Nothing else is echoed, so that no redirect can ever lead to another host.
    let leads_somewhere = kept.first().is_some_and(|first| ROUTES.contains(first));
    (leads_somewhere && clean != path).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::clean_path;

    #[test]
    fn only_paths_that_lead_somewhere_are_cleaned() {
        for (path, clean) in [
            ("//byid/x/4.18/x86_64/full.iso", Some("/byid/x/4.18/x86_64/full.iso")),
            ("/byid//x/./4.18/x86_64/full.iso", Some("/byid/x/4.18/x86_64/full.iso")),
            ("/a/../images/x", Some("/images/x")),
            ("/../../images/x/", Some("/images/x/")),
            ("/images/x", None),
            ("/images", Some("/images/")),
            ("/images/", None),
            ("/boot-artifacts", Some("/boot-artifacts/")),
            ("/boot-artifacts/kernel/..", Some("/boot-artifacts/")),
            ("//health", Some("/health")),
            ("/health", None),
            ("/byid", None),
            ("//", None),
            ("//example.com/images/x", None),
            ("//images", Some("/images/")),
            ("/images/../..", None),
            ("/\\example.com//images/x", None),
        ] {
            assert_eq!(clean_path(path).as_deref(), clean, "{path}");
        }
    }
}

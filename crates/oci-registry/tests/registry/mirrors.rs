//! Which places are asked for an image, by registries.conf.
//!
//! Most rows are put to skopeo, too: what it tries, in which order, and where it would do without TLS.

use std::process::Command;

use oci_registry::{Blocked, Digest, Mirrors, Reference, RegistriesConf};
use tempfile::TempDir;

/// A configuration, and images with the places that are asked for them. `D` is a digest, `!` means insecure, and
/// `blocked RULE` that nothing is asked.
type Table = (&'static str, &'static [(&'static str, &'static str)]);

const JUDGED_BY_SKOPEO: &[Table] = &[
    (
        // The example of containers-registries.conf(5).
        r#"
unqualified-search-registries = ["example.com"]
[[registry]]
prefix = "example.com/foo"
insecure = false
blocked = false
location = "internal.net/bar"
[[registry.mirror]]
location = "mirror-0.local/mirror-for-foo"
[[registry.mirror]]
location = "mirror-1.local/mirrors/foo"
insecure = true
[[registry]]
location = "registry.com"
[[registry.mirror]]
location = "mirror.registry.com"
"#,
        &[
            (
                "example.com/foo/image:v1",
                "mirror-0.local/mirror-for-foo/image:v1 mirror-1.local/mirrors/foo/image:v1! internal.net/bar/image:v1",
            ),
            (
                "example.com/foo/image@D",
                "mirror-0.local/mirror-for-foo/image@D mirror-1.local/mirrors/foo/image@D! internal.net/bar/image@D",
            ),
            (
                "example.com/foo:v1",
                "mirror-0.local/mirror-for-foo:v1 mirror-1.local/mirrors/foo:v1! internal.net/bar:v1",
            ),
            ("example.com/food/image:v1", "example.com/food/image:v1"),
            ("example.com/image:v1", "example.com/image:v1"),
            ("other.example.com/foo/image:v1", "other.example.com/foo/image:v1"),
            ("registry.com/image:v1", "mirror.registry.com/image:v1 registry.com/image:v1"),
            ("registry.com:5000/image:v1", "mirror.registry.com:5000/image:v1 registry.com:5000/image:v1"),
            ("mirror.registry.com/image:v1", "mirror.registry.com/image:v1"),
            ("registry.community/image:v1", "registry.community/image:v1"),
        ],
    ),
    (
        // What oc-mirror and the agent installer write for a release.
        r#"
[[registry]]
location = "quay.io/openshift-release-dev/ocp-release"
mirror-by-digest-only = true
[[registry.mirror]]
location = "mirror.lab:8443/openshift/release-images"
[[registry]]
location = "quay.io/openshift-release-dev/ocp-v4.0-art-dev"
mirror-by-digest-only = true
[[registry.mirror]]
location = "mirror.lab:8443/openshift/release"
insecure = true
[[registry.mirror]]
location = "second.lab/openshift/release"
"#,
        &[
            (
                "quay.io/openshift-release-dev/ocp-release@D",
                "mirror.lab:8443/openshift/release-images@D quay.io/openshift-release-dev/ocp-release@D",
            ),
            (
                "quay.io/openshift-release-dev/ocp-release:4.18.1-x86_64",
                "quay.io/openshift-release-dev/ocp-release:4.18.1-x86_64",
            ),
            (
                "quay.io/openshift-release-dev/ocp-v4.0-art-dev@D",
                "mirror.lab:8443/openshift/release@D! second.lab/openshift/release@D quay.io/openshift-release-dev/ocp-v4.0-art-dev@D",
            ),
            (
                "quay.io/openshift-release-dev/ocp-release-nightly@D",
                "quay.io/openshift-release-dev/ocp-release-nightly@D",
            ),
            ("quay.io/openshift-release-dev@D", "quay.io/openshift-release-dev@D"),
            (
                "quay.io:443/openshift-release-dev/ocp-release@D",
                "quay.io:443/openshift-release-dev/ocp-release@D",
            ),
        ],
    ),
    (
        // The longest prefix decides alone, wherever it stands.
        r#"
[[registry]]
location = "quay.lab"
[[registry.mirror]]
location = "whole.lab"
[[registry]]
location = "quay.lab/a/b/c"
insecure = true
[[registry]]
location = "quay.lab/a"
[[registry.mirror]]
location = "a.lab/x/y"
[[registry]]
location = "quay.lab/a/b"
[[registry.mirror]]
location = "b.lab"
"#,
        &[
            ("quay.lab/z:1", "whole.lab/z:1 quay.lab/z:1"),
            ("quay.lab/a/z:1", "a.lab/x/y/z:1 quay.lab/a/z:1"),
            ("quay.lab/a:1", "a.lab/x/y:1 quay.lab/a:1"),
            ("quay.lab/a/b/z:1", "b.lab/z:1 quay.lab/a/b/z:1"),
            ("quay.lab/a/b/c:1", "quay.lab/a/b/c:1!"),
            ("quay.lab/a/b/c/d@D", "quay.lab/a/b/c/d@D!"),
            ("quay.lab/a/bb:1", "a.lab/x/y/bb:1 quay.lab/a/bb:1"),
            ("quay.lab/ab:1", "whole.lab/ab:1 quay.lab/ab:1"),
        ],
    ),
    (
        // Each mirror may be for digests or for tags only.
        r#"
[[registry]]
location = "quay.lab"
[[registry.mirror]]
location = "digests.lab"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.lab"
pull-from-mirror = "tag-only"
insecure = true
[[registry.mirror]]
location = "all.lab"
pull-from-mirror = "all"
[[registry.mirror]]
location = "unsaid.lab"
pull-from-mirror = ""
"#,
        &[
            ("quay.lab/a@D", "digests.lab/a@D all.lab/a@D unsaid.lab/a@D quay.lab/a@D"),
            ("quay.lab/a:1", "tags.lab/a:1! all.lab/a:1 unsaid.lab/a:1 quay.lab/a:1"),
        ],
    ),
    (
        // A blocked place is not asked itself; its mirrors are.
        r#"
[[registry]]
location = "blocked.lab"
blocked = true
[[registry]]
location = "blocked.lab/mirrored"
blocked = true
[[registry.mirror]]
location = "mirror.lab/m"
pull-from-mirror = "digest-only"
[[registry]]
location = "blocked.lab/free"
[[registry]]
location = "user.lab"
[[registry.mirror]]
location = "blocked.lab/x"
[[registry.mirror]]
location = "blocked.lab/free"
"#,
        &[
            ("blocked.lab/a:1", "blocked blocked.lab"),
            ("blocked.lab/mirrored/a@D", "mirror.lab/m/a@D"),
            ("blocked.lab/mirrored/a:1", "blocked blocked.lab/mirrored"),
            ("blocked.lab/free/a:1", "blocked.lab/free/a:1"),
            ("blocked.lab:5000/a:1", "blocked blocked.lab"),
            ("user.lab/a:1", "blocked.lab/free/a:1 user.lab/a:1"),
            ("mirror.lab/m/a@D", "mirror.lab/m/a@D"),
        ],
    ),
    (
        // Subdomains at any depth; a location moves them, none leaves them where they are.
        r#"
[[registry]]
prefix = "*.example.lab"
insecure = true
[[registry]]
prefix = "*.deep.example.lab"
[[registry.mirror]]
location = "mirror.lab/deep"
[[registry]]
location = "named.example.lab"
[[registry]]
prefix = "*.moved.lab"
location = "moved-to.lab/all"
[[registry]]
prefix = "*.blocked.lab"
blocked = true
"#,
        &[
            ("a.example.lab/x:1", "a.example.lab/x:1!"),
            ("a.b.example.lab/x@D", "a.b.example.lab/x@D!"),
            ("a.example.lab:5000/x:1", "a.example.lab:5000/x:1!"),
            ("example.lab/x:1", "example.lab/x:1"),
            ("aexample.lab/x:1", "aexample.lab/x:1"),
            ("a.example.lab.org/x:1", "a.example.lab.org/x:1"),
            ("quay.lab/a.example.lab/x:1", "quay.lab/a.example.lab/x:1"),
            ("named.example.lab/x:1", "named.example.lab/x:1"),
            ("deep.example.lab/x:1", "deep.example.lab/x:1!"),
            ("a.deep.example.lab/x:1", "mirror.lab/deep/x:1 a.deep.example.lab/x:1"),
            ("a.moved.lab/x/y@D", "moved-to.lab/all/x/y@D"),
            ("a.blocked.lab/x:1", "blocked *.blocked.lab"),
        ],
    ),
    (
        // Insecure is said of each place; nothing is inherited, and nothing has to be mirrored.
        r#"
[[registry]]
location = "plain.lab:5000"
insecure = true
[[registry]]
location = "plain.lab:5000/tls"
[[registry]]
prefix = "logical.lab"
location = "plain.lab:5000/logical"
insecure = true
[[registry.mirror]]
location = "plain.lab:5000/mirror"
[[registry]]
location = "anyport.lab"
insecure = true
"#,
        &[
            ("plain.lab:5000/a:1", "plain.lab:5000/a:1!"),
            ("plain.lab:5001/a:1", "plain.lab:5001/a:1"),
            ("plain.lab/a:1", "plain.lab/a:1"),
            ("plain.lab:5000/tls/a:1", "plain.lab:5000/tls/a:1"),
            ("logical.lab/a@D", "plain.lab:5000/mirror/a@D plain.lab:5000/logical/a@D!"),
            ("anyport.lab:5000/a:1", "anyport.lab:5000/a:1!"),
            ("anyport.lab/a:1", "anyport.lab/a:1!"),
        ],
    ),
    (
        // A slash at the end says nothing.
        r#"
[[registry]]
prefix = "slash.lab/"
location = "second.lab/"
[[registry.mirror]]
location = "mirror.lab/a"
"#,
        &[("slash.lab/x:1", "mirror.lab/a/x:1 second.lab/x:1")],
    ),
    (
        // Docker Hub's official images have to be written in full.
        r#"
[[registry]]
location = "docker.io/alpine"
blocked = true
[[registry]]
location = "docker.io/library"
[[registry.mirror]]
location = "mirror.lab/hub"
"#,
        &[
            ("docker.io/alpine:3", "mirror.lab/hub/alpine:3 docker.io/library/alpine:3"),
            ("docker.io/library/alpine:3", "mirror.lab/hub/alpine:3 docker.io/library/alpine:3"),
            ("docker.io/alpine/git:3", "blocked docker.io/alpine"),
            ("docker.io/a/b:3", "docker.io/a/b:3"),
        ],
    ),
];

/// Where skopeo gives up, takes a file's word otherwise, or asks a place that the file forbids.
const OURS_ALONE: &[Table] = &[
    (
        // An image by tag and digest is one by digest.
        r#"
[[registry]]
location = "quay.lab"
[[registry.mirror]]
location = "digests.lab"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.lab"
pull-from-mirror = "tag-only"
"#,
        &[("quay.lab/a:1@D", "digests.lab/a:1@D quay.lab/a:1@D")],
    ),
    (
        // The manual lets a prefix end in a tag or digest.
        r#"
[[registry]]
location = "quay.lab/a:bad"
blocked = true
[[registry]]
prefix = "quay.lab/a:moved"
location = "elsewhere.lab/b"
[[registry]]
prefix = "quay.lab/b@D"
location = "elsewhere.lab/c@D"
"#,
        &[
            ("quay.lab/a:good", "quay.lab/a:good"),
            ("quay.lab/a:bad", "blocked quay.lab/a:bad"),
            ("quay.lab/a:bad@D", "blocked quay.lab/a:bad"),
            ("quay.lab/a/c:bad", "quay.lab/a/c:bad"),
            ("quay.lab/a:moved", "elsewhere.lab/b:moved"),
            ("quay.lab/b@D", "elsewhere.lab/c@D"),
            ("quay.lab/b:1@D", "elsewhere.lab/c:1@D"),
        ],
    ),
    (
        // A port that the prefix says nothing of does not break a location that has a port or a path.
        r#"
[[registry]]
location = "quay.lab"
[[registry.mirror]]
location = "mirror.lab:8443"
[[registry.mirror]]
location = "mirror.lab/path"
[[registry]]
prefix = "[fd00::1]"
location = "[fd00::2]"
[[registry]]
prefix = "*.wild.lab"
location = "mirror.lab/wild"
"#,
        &[
            ("quay.lab:5000/a:1", "mirror.lab:8443/a:1 mirror.lab/path/a:1 quay.lab:5000/a:1"),
            ("[fd00:0::1]:5000/a:1", "[fd00::2]:5000/a:1"),
            ("a.wild.lab:5000/a:1", "mirror.lab/wild/a:1"),
        ],
    ),
    (
        // What is blocked by its logical name stays so where it has another place.
        r#"
[[registry]]
prefix = "logical.lab"
location = "physical.lab"
blocked = true
"#,
        &[("logical.lab/a:1", "blocked logical.lab")],
    ),
    (
        // A host goes before a wildcard that is as long.
        r#"
[[registry]]
prefix = "*.tie.lab"
blocked = true
[[registry]]
location = "a.tie.lab"
"#,
        &[("a.tie.lab/x:1", "a.tie.lab/x:1"), ("b.tie.lab/x:1", "blocked *.tie.lab")],
    ),
    (
        // A place that cannot have the image is left out; one place is asked once.
        r#"
[[registry]]
location = "quay.lab/a"
[[registry.mirror]]
location = "mirror.lab"
[[registry.mirror]]
location = "quay.lab/a"
insecure = true
[[registry.mirror]]
location = "second.lab/a"
"#,
        &[
            ("quay.lab/a:1", "quay.lab/a:1! second.lab/a:1"),
            ("quay.lab/a/b:1", "mirror.lab/b:1 quay.lab/a/b:1! second.lab/a/b:1"),
        ],
    ),
    (
        // The first of two tables for one prefix counts, and slashes at an end say nothing, in mirrors either.
        r#"
[[registry]]
prefix = "twice.lab/"
location = "first.lab"
[[registry]]
prefix = "twice.lab"
location = "second.lab"
[[registry]]
location = "slash.lab"
[[registry.mirror]]
location = "mirror.lab/a/"
"#,
        &[("twice.lab/x:1", "first.lab/x:1"), ("slash.lab/x:1", "mirror.lab/a/x:1 slash.lab/x:1")],
    ),
    ("", &[("quay.lab/a:1", "quay.lab/a:1")]),
];

fn with_digest(text: &str) -> String {
    text.replace("@D", &format!("@{}", Digest::of(b"image")))
}

/// What is asked for an image, in the words of the tables.
fn resolved(conf: &str, image: &str) -> String {
    let conf = RegistriesConf::parse("registries.conf", &with_digest(conf)).unwrap();
    let image: Reference = with_digest(image).parse().unwrap();
    match Mirrors::new(conf.into_rules()).pull_sources(&image) {
        Ok(sources) => {
            let shown = |source: &oci_registry::PullSource| {
                format!("{}{}", source.reference, if source.insecure { "!" } else { "" })
            };
            sources.iter().map(shown).collect::<Vec<_>>().join(" ")
        }
        Err(Blocked { rule, .. }) => format!("blocked {rule}"),
    }
}

/// What skopeo tries, in the same words, with a proxy that is not there.
fn tried_by_skopeo(conf: &str, image: &str) -> String {
    let home = TempDir::new().unwrap();
    let file = home.path().join("registries.conf");
    std::fs::write(&file, with_digest(conf)).unwrap();
    let output = Command::new("skopeo")
        .env("HOME", home.path())
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("NO_PROXY", "")
        .arg("--debug")
        .arg("--registries-conf")
        .arg(file)
        .arg("inspect")
        .arg(format!("docker://{}", with_digest(image)))
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    // Each attempt's part of the log begins with its name; the last line sums up all of them.
    let (log, _) = log.split_once("level=fatal").unwrap();
    let attempts = log.split("Trying to access \\\"").skip(1).filter_map(|part| {
        let (place, rest) = part.split_once("\\\"").unwrap();
        let insecure = if rest.contains("\"GET http://") { "!" } else { "" };
        let blocked = rest.contains(" is blocked in ");
        (!blocked).then(|| format!("{place}{insecure}"))
    });
    attempts.collect::<Vec<_>>().join(" ")
}

#[test]
fn mirrors_are_resolved_as_the_table_says() {
    for (conf, rows) in JUDGED_BY_SKOPEO.iter().chain(OURS_ALONE) {
        for (image, places) in *rows {
            assert_eq!(resolved(conf, image), with_digest(places), "{image} by{conf}");
        }
    }
    let rows = |tables: &[Table]| tables.iter().map(|(_, rows)| rows.len()).sum::<usize>();
    assert!(rows(JUDGED_BY_SKOPEO) + rows(OURS_ALONE) >= 60);
}

#[test]
fn skopeo_resolves_mirrors_alike() {
    for (conf, rows) in JUDGED_BY_SKOPEO {
        for (image, places) in *rows {
            let places = if places.starts_with("blocked ") { "" } else { places };
            assert_eq!(tried_by_skopeo(conf, image), with_digest(places), "{image} by{conf}");
        }
    }
}

/// What is wrong with a file.
fn problems(text: &str) -> Vec<String> {
    RegistriesConf::parse("x.conf", text).unwrap_err().problems
}

#[test]
fn every_problem_is_named_with_its_file_table_and_key() {
    let text = r#"
[[registry]]
insecure = true
[[registry]]
prefix = "quay.lab/a"
[[registry]]
location = "https://user:hunter2@quay.lab"
pull-from-mirror = "all"
blocked = "yes"
[[registry]]
location = "mirrored.lab"
mirror-by-digest-only = true
[[registry.mirror]]
insecure = true
[[registry.mirror]]
location = ""
[[registry.mirror]]
location = "m.lab"
pull-from-mirror = "tag-only"
[[registry]]
location = "conflict.lab"
insecure = true
[[registry]]
prefix = "other.lab"
location = "conflict.lab"
blocked = true
[[registry.mirror]]
location = "m.lab:x"
pull-from-mirror = "digests"
[[registry.mirror]]
location = "*.m.lab"
[[registry.mirror]]
location = "m.lab/x:tag"
[[registry]]
location = "*.a.lab/x"
[[registry]]
location = 7
mirror = "m.lab"
"#;
    let expected = [
        "x.conf: [[registry]] 1: neither prefix nor location is given",
        "x.conf: [[registry]] 2 (quay.lab/a): location is missing; only a prefix such as *.example.com needs none",
        "x.conf: [[registry]] 3: pull-from-mirror belongs into a [[registry.mirror]]",
        "x.conf: [[registry]] 3: location: a scheme is given: write host[:port][/path]",
        "x.conf: [[registry]] 3: blocked must be true or false",
        "x.conf: [[registry]] 4 (mirrored.lab): mirror 1: location is missing",
        "x.conf: [[registry]] 4 (mirrored.lab): mirror 2: location is missing",
        "x.conf: [[registry]] 4 (mirrored.lab): mirror 3: pull-from-mirror is given beside mirror-by-digest-only: one of them is enough",
        "x.conf: [[registry]] 6 (other.lab): mirror 1: pull-from-mirror: expected all, digest-only or tag-only, not \"digests\"",
        "x.conf: [[registry]] 6 (other.lab): mirror 1: location: invalid registry \"m.lab:x\": expected host or host:port, such as quay.io, localhost, mirror.lab:5000 or [fd00::1]:5000",
        "x.conf: [[registry]] 6 (other.lab): mirror 2: location: *.m.lab is no place",
        "x.conf: [[registry]] 6 (other.lab): mirror 3: location: m.lab/x:tag changes the tag or digest of its prefix",
        "x.conf: [[registry]] 6 (other.lab): insecure differs from what another table says of the same location, conflict.lab",
        "x.conf: [[registry]] 6 (other.lab): blocked differs from what another table says of the same location, conflict.lab",
        "x.conf: [[registry]] 7: location: invalid wildcard \"*.a.lab/x\": there is only *.host, without port or path, and only where images are chosen",
        "x.conf: [[registry]] 8: location must be a string",
        "x.conf: [[registry]] 8: neither prefix nor location is given",
        "x.conf: [[registry]] 8: mirror is no array of tables: write [[mirror]]",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn files_of_another_kind_are_refused() {
    assert_eq!(
        problems("[registries.search]\nregistries = ['docker.io']\n"),
        [
            "x.conf: [registries.search] is of version 1 of the format, which knows no mirrors and is not read: write [[registry]] tables"
        ]
    );
    assert_eq!(
        problems("[registry]\nlocation = 'quay.io'\n"),
        ["x.conf: registry is no array of tables: write [[registry]]"]
    );
    let syntax = problems("a = 1\nkind: ImageDigestMirrorSet\n");
    assert!(syntax[0].starts_with("x.conf: not TOML: line 2: "), "{syntax:?}");
    let large = "#".repeat(RegistriesConf::MAX_SIZE + 1);
    assert_eq!(problems(&large), ["x.conf: larger than 1048576 bytes"]);
    let mirror = "[[registry.mirror]]\nlocation = 'm.lab'\n";
    let many = format!("[[registry]]\nlocation = 'a.lab'\n{}", mirror.repeat(65));
    assert_eq!(problems(&many), ["x.conf: [[registry]] 1 (a.lab): 65 mirrors, but at most 64 are asked"]);
}

#[test]
fn what_does_not_concern_mirrors_is_ignored_and_what_nobody_knows_is_told() {
    let conf = RegistriesConf::parse(
        "x.conf",
        "\u{feff}short-name-mode = 'enforcing'\ncredential-helpers = ['x']\n[aliases]\n'a' = 'quay.io/a'\n\
         [registries.search]\nregistries = []\n\
         [[registry]]\nlocation = 'a.lab'\nmirrors = []\n[[registry.mirror]]\nlocation = 'b.lab'\nsecure = false\n\
         [[registry]]\nlocation = 'a.lab'\n",
    )
    .unwrap();
    assert_eq!(
        conf.warnings(),
        [
            "x.conf: [[registry]] 1 (a.lab): nobody knows the key \"mirrors\"",
            "x.conf: [[registry]] 1 (a.lab): mirror 1: nobody knows the key \"secure\"",
            "x.conf: [[registry]] 2 (a.lab): an earlier table has the same prefix, and only that one counts",
        ]
    );
}

#[test]
fn a_drop_in_replaces_tables_of_the_same_prefix_as_a_whole() {
    let read = |text| RegistriesConf::parse("x.conf", text).unwrap();
    let mut conf = read(
        "[[registry]]\nlocation = 'a.lab'\ninsecure = true\n[[registry.mirror]]\nlocation = 'm.lab'\n\
         [[registry]]\nlocation = 'b.lab'\ninsecure = true\n",
    );
    conf.override_by(read(
        "[[registry]]\nlocation = 'a.lab'\n[[registry]]\nlocation = 'c.lab'\nblocked = true\n",
    ));
    let mirrors = Mirrors::new(conf.into_rules());
    let insecure = |image: &str| {
        let sources = mirrors.pull_sources(&image.parse().unwrap())?;
        Ok::<_, Blocked>(sources.iter().map(|source| source.insecure).collect::<Vec<_>>())
    };
    assert_eq!(insecure("a.lab/x:1"), Ok(vec![false]), "neither the mirror nor the flag is left");
    assert_eq!(insecure("b.lab/x:1"), Ok(vec![true]));
    assert_eq!(
        insecure("c.lab/x:1").unwrap_err().to_string(),
        "c.lab/x:1 must not be pulled: \"c.lab\" is blocked, and no mirror is left to ask"
    );
}

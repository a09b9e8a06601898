//! Which places are asked for an image, by OpenShift's mirror sets.

use std::fmt::Write as _;

use oci_registry::{Digest, Mirrors};
use release_payload::mirror_sets;

/// Images and the places that are asked for them. `D` is a digest, and `blocked RULE` that nothing is asked.
type Rows = &'static [(&'static str, &'static str)];

/// An object: its kind, and entries with a source, mirrors and a policy.
type Set = (&'static str, &'static [(&'static str, &'static str, &'static str)]);

const DIGESTS: &str = "ImageDigestMirrorSet";
const TAGS: &str = "ImageTagMirrorSet";
const POLICY: &str = "ImageContentSourcePolicy";
const NEVER: &str = "NeverContactSource";
const ALLOW: &str = "AllowContactingSource";

/// What oc-mirror writes, with tags and an older policy.
const OC_MIRROR: &str = r"---
apiVersion: config.openshift.io/v1
kind: ImageDigestMirrorSet
metadata:
  name: idms-release-0
spec:
  imageDigestMirrors:
  - mirrors:
    - mirror.lab:8443/ocp/openshift/release
    source: quay.io/openshift-release-dev/ocp-v4.0-art-dev
  - mirrors:
    - mirror.lab:8443/ocp/openshift/release-images
    source: quay.io/openshift-release-dev/ocp-release
status: {}
---
apiVersion: config.openshift.io/v1
kind: ImageTagMirrorSet
metadata:
  name: itms-release-0
spec:
  imageTagMirrors:
  - mirrors:
    - tags.lab/ocp/release-images
    source: quay.io/openshift-release-dev/ocp-release
---
apiVersion: operator.openshift.io/v1alpha1
kind: ImageContentSourcePolicy
metadata:
  name: operators
spec:
  repositoryDigestMirrors:
  - mirrors: [icsp.lab/redhat]
    source: registry.redhat.io/redhat
---
";

const DOCUMENTS: &[(&str, Rows)] = &[
    (
        OC_MIRROR,
        &[
            (
                "quay.io/openshift-release-dev/ocp-release@D",
                "mirror.lab:8443/ocp/openshift/release-images@D quay.io/openshift-release-dev/ocp-release@D",
            ),
            (
                "quay.io/openshift-release-dev/ocp-release:4.18.1",
                "tags.lab/ocp/release-images:4.18.1 quay.io/openshift-release-dev/ocp-release:4.18.1",
            ),
            (
                "quay.io/openshift-release-dev/ocp-v4.0-art-dev@D",
                "mirror.lab:8443/ocp/openshift/release@D quay.io/openshift-release-dev/ocp-v4.0-art-dev@D",
            ),
            (
                "quay.io/openshift-release-dev/ocp-v4.0-art-dev:x",
                "quay.io/openshift-release-dev/ocp-v4.0-art-dev:x",
            ),
            ("registry.redhat.io/redhat/a@D", "icsp.lab/redhat/a@D registry.redhat.io/redhat/a@D"),
            ("registry.redhat.io/redhat/a:1", "registry.redhat.io/redhat/a:1"),
            ("registry.redhat.io/redhat-x/a@D", "registry.redhat.io/redhat-x/a@D"),
        ],
    ),
    (
        // A List, and one whose items do without a kind.
        "apiVersion: v1\nkind: List\nitems:\n\
                 - kind: ImageTagMirrorSet\n  spec: {imageTagMirrors: [{source: q.lab, mirrors: [t.lab]}]}\n\
                 - kind: ImageDigestMirrorSetList\n  items:\n\
                 \x20 - spec: {imageDigestMirrors: [{source: q.lab, mirrors: [d.lab]}]}\n",
        &[("q.lab/x@D", "d.lab/x@D q.lab/x@D"), ("q.lab/x:1", "t.lab/x:1 q.lab/x:1")],
    ),
    (
        // As pasted into an install-config.
        "imageContentSources:\n- mirrors: [c.lab/x]\n  source: q.lab/c\n---\n\
                 apiVersion: v1\nimageDigestSources:\n- mirrors: [d.lab/x]\n  source: q.lab/d\n  sourcePolicy: NeverContactSource\n\
                 metadata: {name: cluster}\npullSecret: '{}'\n",
        &[("q.lab/c@D", "c.lab/x@D q.lab/c@D"), ("q.lab/c:1", "q.lab/c:1"), ("q.lab/d@D", "d.lab/x@D")],
    ),
    ("---\n---\n# nothing yet\n", &[("q.lab/x@D", "q.lab/x@D")]),
    ("", &[("q.lab/x:1", "q.lab/x:1")]),
];

const SETS: &[(&[Set], Rows)] = &[
    (
        // The source may be closed, for digests and tags alike.
        &[(DIGESTS, &[("q.lab/a", "m.lab/a", NEVER), ("q.lab/b", "m.lab/b", ALLOW)])],
        &[
            ("q.lab/a/x@D", "m.lab/a/x@D"),
            ("q.lab/a/x:1", "blocked q.lab/a"),
            ("q.lab/b/x@D", "m.lab/b/x@D q.lab/b/x@D"),
            ("q.lab/c/x@D", "q.lab/c/x@D"),
        ],
    ),
    (
        &[(TAGS, &[("q.lab/a", "m.lab/a", NEVER)])],
        &[("q.lab/a/x:1", "m.lab/a/x:1"), ("q.lab/a/x@D", "blocked q.lab/a")],
    ),
    (
        // One ban among several sets counts.
        &[(DIGESTS, &[("q.lab", "m.lab", ALLOW)]), (TAGS, &[("q.lab", "t.lab", NEVER)])],
        &[("q.lab/x@D", "m.lab/x@D"), ("q.lab/x:1", "t.lab/x:1"), ("q.lab/x:1@D", "m.lab/x:1@D")],
    ),
    (
        // The most specific source alone counts, wherever it stands.
        &[(DIGESTS, &[("q.lab", "all.lab", ""), ("q.lab/a/b", "ab.lab/x", ""), ("q.lab/a", "a.lab", NEVER)])],
        &[
            ("q.lab/z@D", "all.lab/z@D q.lab/z@D"),
            ("q.lab/a/z@D", "a.lab/z@D"),
            ("q.lab/a/bb@D", "a.lab/bb@D"),
            ("q.lab:5000/z@D", "all.lab:5000/z@D q.lab:5000/z@D"),
        ],
    ),
    (
        // A source that says nothing of being asked follows a wider one; one that does, does not.
        &[(DIGESTS, &[("q.lab", "all.lab", NEVER), ("q.lab/a", "a.lab", ""), ("q.lab/b", "b.lab", ALLOW)])],
        &[("q.lab/a/z@D", "a.lab/z@D"), ("q.lab/b/z@D", "b.lab/z@D q.lab/b/z@D")],
    ),
    (
        // B C and A B are A B C.
        &[(DIGESTS, &[("q.lab", "b.lab, c.lab", "")]), (POLICY, &[("q.lab", "a.lab, b.lab", "")])],
        &[("q.lab/x@D", "a.lab/x@D b.lab/x@D c.lab/x@D q.lab/x@D")],
    ),
    (
        &[(DIGESTS, &[("q.lab", "a.lab, b.lab", ""), ("q.lab", "b.lab, a.lab", ""), ("q.lab", "c.lab", "")])],
        &[("q.lab/x@D", "c.lab/x@D a.lab/x@D b.lab/x@D q.lab/x@D")],
    ),
    (
        // The source may be named among its mirrors; alone it is no mirror, and its policy means nothing.
        &[(
            DIGESTS,
            &[("q.lab", "a.lab, q.lab, b.lab", ""), ("r.lab", "r.lab", NEVER), ("s.lab", "", NEVER)],
        )],
        &[
            ("q.lab/x@D", "a.lab/x@D q.lab/x@D b.lab/x@D"),
            ("r.lab/x@D", "r.lab/x@D"),
            ("s.lab/x@D", "s.lab/x@D"),
        ],
    ),
    (
        &[(DIGESTS, &[("q.lab", "a.lab, q.lab", ""), ("q.lab", "b.lab", "")])],
        &[("q.lab/x@D", "a.lab/x@D b.lab/x@D q.lab/x@D")],
    ),
    (
        // A mirror that is itself closed is not asked.
        &[(DIGESTS, &[("q.lab", "closed.lab, open.lab", ""), ("closed.lab", "m.lab", NEVER)])],
        &[("q.lab/x@D", "open.lab/x@D q.lab/x@D"), ("closed.lab/x@D", "m.lab/x@D")],
    ),
    (
        &[(DIGESTS, &[("*.q.lab", "m.lab/q", NEVER), ("one.q.lab", "m.lab/one", "")])],
        &[
            ("a.q.lab/x@D", "m.lab/q/x@D"),
            ("a.b.q.lab/x@D", "m.lab/q/x@D"),
            ("one.q.lab/x@D", "m.lab/one/x@D"),
            ("q.lab/x@D", "q.lab/x@D"),
        ],
    ),
];

/// An object as YAML.
fn document((kind, entries): Set) -> String {
    let list = match kind {
        DIGESTS => "imageDigestMirrors",
        TAGS => "imageTagMirrors",
        _ => "repositoryDigestMirrors",
    };
    let mut yaml = format!("---\nkind: {kind}\nmetadata: {{name: x}}\nspec:\n  {list}:\n");
    for (source, mirrors, policy) in entries {
        write!(yaml, "  - {{source: '{source}', mirrors: [{mirrors}]").unwrap();
        let policy =
            if policy.is_empty() { String::new() } else { format!(", mirrorSourcePolicy: {policy}") };
        writeln!(yaml, "{policy}}}").unwrap();
    }
    yaml
}

/// What is asked for an image, in the words of the tables.
fn resolved(yaml: &str, image: &str) -> String {
    let digest = Digest::of(b"image").to_string();
    let rules = mirror_sets::parse(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    let image = image.replace("@D", &format!("@{digest}"));
    match Mirrors::new(rules).pull_sources(&image.parse().unwrap()) {
        Ok(sources) => {
            assert!(sources.iter().all(|source| !source.insecure), "no mirror set says so");
            let places = sources.iter().map(|source| source.reference.to_string().replace(&digest, "D"));
            places.collect::<Vec<_>>().join(" ")
        }
        Err(blocked) => format!("blocked {}", blocked.rule),
    }
}

#[test]
fn mirror_sets_are_resolved_as_the_table_says() {
    let sets = SETS.iter().map(|(sets, rows)| (sets.iter().copied().map(document).collect(), *rows));
    let documents = DOCUMENTS.iter().map(|(yaml, rows)| ((*yaml).to_owned(), *rows));
    for (yaml, rows) in documents.chain(sets) {
        for (image, places) in rows {
            assert_eq!(resolved(&yaml, image), *places, "{image} by\n{yaml}");
        }
    }
}

#[test]
fn every_problem_is_named_with_its_document_object_and_member() {
    let yaml = "kind: ConfigMap\nmetadata: {name: signatures}\n---\nitems: []\n---\n- source: q.lab\n---\n\
            kind: ImageDigestMirrorSet\nmetadata: {name: idms}\nspec:\n  imageDigestMirrors:\n\
            \x20 - mirrors: [m.lab, 'https://user:hunter2@m.lab', '*.m.lab', m.lab/x:tag, 7]\n    source: q.lab/a:1\n\
            \x20 - {source: q.lab, mirrors: m.lab, mirrorSourcePolicy: Never}\n  - text\n\
            ---\nkind: ImageTagMirrorSet\nspec: []\n---\nkind: ImageContentSourcePolicy\nspec: {repositoryDigestMirrors: {}}\n\
            ---\n  bad: [\n";
    let problems = mirror_sets::parse(yaml).unwrap_err().problems;
    let expected = [
        "document 1 (ConfigMap signatures): expected ImageDigestMirrorSet, ImageTagMirrorSet, ImageContentSourcePolicy or a List of them",
        "document 2: kind is missing",
        "document 3: expected an object of Kubernetes, or a part of an install-config",
        "document 4 (ImageDigestMirrorSet idms): spec.imageDigestMirrors[0]: source: a source has neither tag nor digest",
        "document 4 (ImageDigestMirrorSet idms): spec.imageDigestMirrors[0]: mirrors[1]: a scheme is given: write host[:port][/path]",
        "document 4 (ImageDigestMirrorSet idms): spec.imageDigestMirrors[0]: mirrors[2]: invalid wildcard \"*.m.lab\": there is only *.host, without port or path, and only where images are chosen",
        "document 4 (ImageDigestMirrorSet idms): spec.imageDigestMirrors[0]: mirrors[3]: \"m.lab/x:tag\" has a tag or digest: write host[:port][/path]",
        "document 4 (ImageDigestMirrorSet idms): spec.imageDigestMirrors[0]: mirrors[4]: must be a string",
        "document 4 (ImageDigestMirrorSet idms): spec.imageDigestMirrors[1]: mirrors must be a list",
        "document 4 (ImageDigestMirrorSet idms): spec.imageDigestMirrors[1]: mirrorSourcePolicy: expected AllowContactingSource or NeverContactSource",
        "document 4 (ImageDigestMirrorSet idms): spec.imageDigestMirrors[2]: expected an object with source and mirrors",
        "document 5 (ImageTagMirrorSet): spec must be an object",
        "document 6 (ImageContentSourcePolicy): spec.repositoryDigestMirrors must be a list",
    ];
    assert_eq!(problems[..13], expected);
    assert!(problems[13].starts_with("document 7: not YAML: "), "{problems:?}");
    assert_eq!(problems.len(), 14);
    let large = format!("#{}", "x".repeat(mirror_sets::MAX_SIZE));
    assert_eq!(mirror_sets::parse(&large).unwrap_err().problems, ["larger than 1048576 bytes"]);
    let mirrors: Vec<_> = (0..65).map(|number| format!("m{number}.lab")).collect();
    let many = format!("imageDigestSources: [{{source: q.lab, mirrors: [{}]}}]", mirrors.join(", "));
    let problems = mirror_sets::parse(&many).unwrap_err().problems;
    assert_eq!(problems, ["q.lab: 65 mirrors, but at most 64 are asked"]);
}

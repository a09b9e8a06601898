use proptest::prelude::*;

use super::*;
use crate::policy::INCLUDE;

fn pullspec(name: &str) -> Reference {
    format!("quay.io/openshift-release-dev/ocp-release:{name}").parse().unwrap()
}

fn set(name: &str, labels: &[(&str, &str)]) -> ImageSet {
    ImageSet {
        name: name.to_owned(),
        release_image: pullspec(name).to_string(),
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        annotations: BTreeMap::new(),
    }
}

fn read(version: &str, arches: &[Arch]) -> Known {
    let facts = Facts {
        version: version.parse().unwrap(),
        arches: arches.iter().copied().collect(),
        os_builds: BTreeMap::new(),
    };
    Known { facts: Some(facts), failure: None }
}

/// A hub with x86_64 hosts on which every set's release image was read; the sets are named by their versions.
fn hub(sets: Vec<ImageSet>) -> Observed {
    let known = sets.iter().map(|set| (pullspec(&set.name), read(&set.name, &[Arch::X86_64]))).collect();
    Observed { sets, known, arches: BTreeSet::from([Arch::X86_64]), ..Observed::default() }
}

/// Each of these sets has an installation that refers to it.
fn refer(observed: &mut Observed, sets: &[&str]) {
    observed.installs = sets.iter().map(|set| (format!("ns/for-{set}"), (*set).to_owned())).collect();
}

fn listed(observed: &Observed) -> Vec<String> {
    select(observed).releases.iter().map(|release| release.version.to_string()).collect()
}

fn outcome(observed: &Observed, name: &str) -> (ReleaseState, String) {
    let outcome = select(observed).outcomes.into_iter().find(|outcome| outcome.name == name);
    let outcome = outcome.unwrap_or_else(|| panic!("{name} is not looked at"));
    (outcome.state, outcome.message)
}

/// Releases that are listed, each for one set; an empty name where that is not known.
fn present(releases: &[(&str, &str)]) -> BTreeMap<Reference, Listed> {
    let entry = |(version, set): &(&str, &str)| {
        let facts = read(version, &[Arch::X86_64]).facts.unwrap();
        let entry = release(&pullspec(version), &facts, &facts.arches);
        let sets = BTreeSet::from([(*set).to_owned()]);
        let sets = sets.into_iter().filter(|set| !set.is_empty()).collect();
        (pullspec(version), Listed { entry, sets, installs: BTreeSet::new() })
    };
    releases.iter().map(entry).collect()
}

const ACM: &[(&str, &str)] = &[("channel", "fast"), ("visible", "true")];

#[test]
fn nothing_is_taken_by_default() {
    let observed = hub(vec![set("4.18.1", ACM), set("4.18.2", &[]), set("4.19.0", &[("channel", "fast")])]);
    assert_eq!(select(&observed), Desired::default());
    assert!(candidates(&observed).is_empty(), "not even metadata is read");
}

#[test]
fn what_an_installation_refers_to_is_always_taken() {
    let mut observed = hub(vec![set("4.12.1", ACM), set("4.18.1", ACM), set("4.18.2", ACM)]);
    refer(&mut observed, &["4.12.1", "4.18.1", "gone"]);
    observed.policy.minimum_version = Some("4.17".parse().unwrap());
    observed.policy.max_releases = Some(0);
    assert_eq!(listed(&observed), ["4.18.1", "4.12.1"]);
    assert_eq!(outcome(&observed, "4.18.1").1, "an AgentClusterInstall refers to it");
}

#[test]
fn releases_before_4_11_hold_no_iso() {
    let mut observed = hub(vec![set("4.10.67", &[]), set("4.11.0", &[])]);
    refer(&mut observed, &["4.10.67", "4.11.0"]);
    assert_eq!(listed(&observed), ["4.11.0"]);
    let (state, message) = outcome(&observed, "4.10.67");
    assert_eq!(state, ReleaseState::Skipped);
    assert!(message.contains("older than 4.11"), "{message}");
}

#[test]
fn a_label_or_an_annotation_takes_a_set() {
    let mut annotated = set("4.18.2", ACM);
    annotated.annotations.insert(INCLUDE.to_owned(), "true".to_owned());
    let mut observed = hub(vec![
        set("4.18.1", &[("channel", "fast"), (INCLUDE, "true")]),
        annotated,
        set("4.18.3", &[("channel", "fast"), ("site", "edge")]),
        set("4.18.4", ACM),
    ]);
    assert_eq!(listed(&observed), ["4.18.2", "4.18.1"], "all of them, not only the newest");
    observed.policy.labels.insert("site".to_owned(), "edge".to_owned());
    assert_eq!(listed(&observed), ["4.18.3", "4.18.2", "4.18.1"]);
    observed.policy.annotations.insert("owner".to_owned(), "me".to_owned());
    assert_eq!(listed(&observed), ["4.18.2", "4.18.1"], "labels and annotations must both match");
}

#[test]
fn of_visible_sets_the_newest_of_each_minor_version_is_taken() {
    let mut observed = hub(vec![
        set("4.17.9", ACM),
        set("4.17.10", ACM),
        set("4.18.1", ACM),
        set("4.18.2", &[("channel", "fast"), ("visible", "false")]),
        set("4.18.3", &[]),
    ]);
    observed.policy.visible = true;
    assert_eq!(listed(&observed), ["4.18.1", "4.17.10"]);
    assert!(outcome(&observed, "4.17.9").1.contains("newer releases of 4.17"));
    observed.policy.newest_per_minor = 2;
    assert_eq!(listed(&observed), ["4.18.1", "4.17.10", "4.17.9"]);
}

#[test]
fn an_unlabelled_set_is_one_without_a_channel() {
    let mut observed = hub(vec![set("4.17.1", &[("channel", "fast")]), set("4.18.1", &[("channel", "")])]);
    observed.policy.unlabelled = true;
    assert_eq!(listed(&observed), ["4.18.1"]);
    observed.sets[1].labels.insert(INCLUDE.to_owned(), "false".to_owned());
    assert!(listed(&observed).is_empty(), "the admin's veto");
}

#[test]
fn the_newest_counts_for_each_architecture() {
    let mut observed = hub(vec![set("4.18.1", ACM), set("4.18.2", ACM)]);
    observed.known.insert(pullspec("4.18.1"), read("4.18.1", &[Arch::X86_64, Arch::Arm64]));
    observed.policy.visible = true;
    assert_eq!(listed(&observed), ["4.18.2"]);
    observed.arches.insert(Arch::Arm64);
    assert_eq!(listed(&observed), ["4.18.2", "4.18.1"], "only the older one has arm64");
}

#[test]
fn only_wanted_architectures_are_listed() {
    let mut observed = hub(vec![set("4.18.1", &[])]);
    refer(&mut observed, &["4.18.1"]);
    observed.known.insert(pullspec("4.18.1"), read("4.18.1", &Arch::ALL));
    let architectures = |observed: &Observed| select(observed).releases[0].architectures.clone();
    assert_eq!(architectures(&observed), Architectures::Listed(vec![Arch::X86_64]));
    observed.policy.architectures = Some(BTreeSet::from([Arch::S390x, Arch::Arm64]));
    assert_eq!(architectures(&observed), Architectures::Listed(vec![Arch::Arm64, Arch::S390x]));
    observed.known.insert(pullspec("4.18.1"), read("4.18.1", &[Arch::Ppc64le]));
    assert_eq!(
        outcome(&observed, "4.18.1"),
        (ReleaseState::Skipped, "it is for ppc64le; wanted are arm64, s390x".to_owned())
    );
}

#[test]
fn an_infra_env_asks_by_version() {
    let mut observed = hub(Vec::new());
    observed.sets = vec![
        set("img4.18.9-multi-appsub", ACM),
        set("img4.18.10-multi-appsub", ACM),
        set("by-tag", &[("channel", "fast"), ("releaseTag", "4.17.3-x86_64")]),
        set("unnamed", ACM),
    ];
    let names = |observed: &Observed| -> Vec<String> {
        candidates(observed).into_iter().map(|candidate| candidate.name).collect()
    };
    assert!(names(&observed).is_empty());
    observed.os_image_versions = BTreeSet::from(["4.18".parse().unwrap(), "4.17.3".parse().unwrap()]);
    assert_eq!(names(&observed), ["by-tag", "img4.18.10-multi-appsub"]);
    observed.known.insert(pullspec("unnamed"), read("4.18.11", &[Arch::X86_64]));
    assert_eq!(names(&observed), ["by-tag", "unnamed"], "what was read counts more than a name");
    assert_eq!(listed(&observed), ["4.18.11"]);
}

#[test]
fn at_most_so_many_are_taken_beside_those_in_use() {
    let mut observed = hub(vec![
        set("4.16.1", &[("channel", "fast"), (INCLUDE, "true")]),
        set("4.17.1", ACM),
        set("4.18.1", ACM),
        set("4.15.1", ACM),
    ]);
    refer(&mut observed, &["4.15.1"]);
    observed.policy.visible = true;
    observed.policy.max_releases = Some(2);
    assert_eq!(
        listed(&observed),
        ["4.18.1", "4.16.1", "4.15.1"],
        "what is named goes before what is only newest"
    );
    assert!(outcome(&observed, "4.17.1").1.contains("maxReleases"));
}

#[test]
fn what_is_listed_stays_while_newer_ones_are_unread() {
    let mut observed = hub(vec![set("4.18.1", ACM), set("4.18.2", ACM), set("4.18.3", ACM)]);
    observed.policy.visible = true;
    observed.known.insert(pullspec("4.18.3"), Known::default());
    assert!(listed(&observed).is_empty(), "4.18.2 would be fetched only to be superseded");
    observed.listed = present(&[("4.18.1", "4.18.1")]);
    assert_eq!(listed(&observed), ["4.18.1"]);
    let failure = Some("the registry is away".to_owned());
    observed.known.insert(pullspec("4.18.3"), Known { facts: None, failure });
    assert_eq!(listed(&observed), ["4.18.2"], "a failure is an answer");
    assert_eq!(outcome(&observed, "4.18.3"), (ReleaseState::Failed, "the registry is away".to_owned()));
}

#[test]
fn a_release_stays_until_that_of_its_set_is_read() {
    let moved = |known: Known, listed_for: &str| {
        let mut observed = hub(vec![set("4.18.2", &[]), set("4.17.1", &[])]);
        observed.sets[0].name = "s1".to_owned();
        observed.known.insert(pullspec("4.18.2"), known);
        refer(&mut observed, &["s1", "4.17.1"]);
        observed.listed = present(&[("4.18.1", listed_for), ("4.17.1", "4.17.1")]);
        observed
    };
    let failing = || Known { facts: None, failure: Some("the registry is away".to_owned()) };
    assert_eq!(listed(&moved(Known::default(), "s1")), ["4.18.1", "4.17.1"]);
    assert_eq!(listed(&moved(Known::default(), "gone")), ["4.18.1", "4.17.1"]);
    assert_eq!(listed(&moved(read("4.18.2", &[Arch::X86_64]), "s1")), ["4.18.2", "4.17.1"]);
    assert_eq!(listed(&moved(failing(), "s1")), ["4.18.1", "4.17.1"]);
    let message = "the registry is away; 4.18.1 stays listed meanwhile".to_owned();
    assert_eq!(outcome(&moved(failing(), "s1"), "s1"), (ReleaseState::Failed, message));
    assert_eq!(listed(&moved(failing(), "gone")), ["4.17.1"]);
    assert_eq!(listed(&moved(failing(), "")), ["4.18.1", "4.17.1"], "it may be that of s1");

    // It is known for whom it stays, round after round.
    let mut observed = moved(failing(), "s1");
    observed.listed = select(&observed).listed;
    assert_eq!(listed(&observed), ["4.18.1", "4.17.1"]);
    assert_eq!(observed.listed[&pullspec("4.17.1")].sets, BTreeSet::from(["4.17.1".to_owned()]));
}

/// An installation `ns/one` that was at the set `a` and is now at `b`, of which this is known.
fn moved(known: Option<Known>) -> Observed {
    let mut observed = hub(vec![set("4.18.1", &[])]);
    observed.sets[0].name = "a".to_owned();
    observed.installs = BTreeMap::from([("ns/one".to_owned(), "a".to_owned())]);
    observed.listed = select(&observed).listed;
    observed.installs = BTreeMap::from([("ns/one".to_owned(), "b".to_owned())]);
    if let Some(known) = known {
        observed.sets.push(ImageSet { name: "b".to_owned(), ..set("4.18.2", &[]) });
        observed.known.insert(pullspec("4.18.2"), known);
    }
    observed
}

fn failing() -> Known {
    Known { facts: None, failure: Some("the registry is away".to_owned()) }
}

#[test]
fn an_installation_that_moves_keeps_its_release_until_the_new_one_is_listed() {
    assert_eq!(listed(&moved(Some(Known::default()))), ["4.18.1"], "it is being read");
    assert_eq!(listed(&moved(None)), ["4.18.1"], "the set is not there yet");
    assert_eq!(listed(&moved(Some(read("4.18.2", &[Arch::X86_64])))), ["4.18.2"]);
    let mut observed = moved(Some(failing()));
    assert_eq!(listed(&observed), ["4.18.1"]);
    let message = "the registry is away; 4.18.1 stays listed meanwhile".to_owned();
    assert_eq!(outcome(&observed, "b"), (ReleaseState::Failed, message));

    // Round after round, and without the set that it was listed for.
    observed.sets.retain(|set| set.name == "b");
    for _ in 0..2 {
        observed.listed = select(&observed).listed;
        assert_eq!(listed(&observed), ["4.18.1"]);
        assert_eq!(observed.listed[&pullspec("4.18.1")].installs, BTreeSet::from(["ns/one".to_owned()]));
    }
    observed.known.insert(pullspec("4.18.2"), read("4.18.2", &[Arch::X86_64]));
    assert_eq!(listed(&observed), ["4.18.2"]);
}

#[test]
fn a_release_goes_with_the_installation_that_it_stayed_for() {
    let mut observed = moved(Some(failing()));
    observed.installs.clear();
    assert!(listed(&observed).is_empty());
    // Another one that was never there does not keep it.
    observed.installs.insert("ns/two".to_owned(), "b".to_owned());
    assert!(listed(&observed).is_empty());
}

#[test]
fn a_release_that_others_want_too_still_stays_for_who_has_moved() {
    let mut observed = moved(Some(failing()));
    observed.installs.insert("ns/two".to_owned(), "a".to_owned());
    observed.listed = select(&observed).listed;
    observed.installs.remove("ns/two");
    assert_eq!(listed(&observed), ["4.18.1"]);
    observed.listed = select(&observed).listed;
    assert_eq!(observed.listed[&pullspec("4.18.1")].installs, BTreeSet::from(["ns/one".to_owned()]));
}

#[test]
fn a_set_that_is_taken_away_takes_its_release_with_it() {
    let mut observed = hub(vec![set("4.18.1", &[])]);
    observed.sets[0].name = "a".to_owned();
    observed.installs = BTreeMap::from([("ns/one".to_owned(), "a".to_owned())]);
    observed.listed = select(&observed).listed;
    observed.sets.clear();
    assert!(listed(&observed).is_empty(), "nobody has moved");
}

#[test]
fn a_set_that_can_never_be_listed_is_an_answer() {
    assert!(listed(&moved(Some(read("4.18.2", &[Arch::S390x])))).is_empty());
    assert!(listed(&moved(Some(read("4.10.2", &[Arch::X86_64])))).is_empty());
}

#[test]
fn a_release_that_was_read_before_stays_when_it_cannot_be_read_again() {
    let mut observed = hub(vec![set("4.18.1", &[])]);
    refer(&mut observed, &["4.18.1"]);
    observed.known.get_mut(&pullspec("4.18.1")).unwrap().failure = Some("no route to host".to_owned());
    assert_eq!(listed(&observed), ["4.18.1"]);
    assert!(outcome(&observed, "4.18.1").1.contains("no route to host"));
}

#[test]
fn one_bad_set_harms_no_other() {
    for written in ["https://quay.io/what?", "", "file:///etc", "dir:/etc", "oci:/data:4.18.1"] {
        let mut bad = set("bad", &[]);
        bad.release_image = written.to_owned();
        let mut observed = hub(vec![set("4.18.1", &[])]);
        observed.sets.push(bad);
        refer(&mut observed, &["4.18.1", "bad"]);
        assert_eq!(listed(&observed), ["4.18.1"]);
        assert_eq!(outcome(&observed, "bad").0, ReleaseState::Failed, "{written}");
    }
}

#[test]
fn two_sets_with_one_release_image_are_one_release() {
    let mut observed = hub(vec![set("4.18.1", &[])]);
    observed.sets.push(ImageSet { name: "again".to_owned(), ..observed.sets[0].clone() });
    refer(&mut observed, &["4.18.1", "again"]);
    assert_eq!(listed(&observed), ["4.18.1"]);
    assert_eq!(outcome(&observed, "again").0, ReleaseState::Listed);
}

prop_compose! {
    fn any_set()(
        minor in 9_u64..14, patch in 0_u64..6, channel: bool, visible: bool,
        include in prop::option::of(any::<bool>()), number in 0_u8..30,
    ) -> (ImageSet, Option<OpenshiftVersion>) {
        let mut labels = BTreeMap::new();
        if channel {
            labels.insert("channel".to_owned(), "fast".to_owned());
            labels.insert("visible".to_owned(), visible.to_string());
        }
        labels.extend(include.map(|include| (INCLUDE.to_owned(), include.to_string())));
        let name = format!("set-{number}");
        let release_image = format!("r.example.com/ocp:4.{minor}.{patch}-{number}");
        let version = (number % 7 != 0).then(|| format!("4.{minor}.{patch}").parse().unwrap());
        (ImageSet { name, release_image, labels, annotations: BTreeMap::new() }, version)
    }
}

prop_compose! {
    fn any_hub()(
        sets in prop::collection::vec(any_set(), 0..25),
        referenced in prop::collection::btree_set(0_u8..30, 0..4),
        arches in prop::sample::subsequence(Arch::ALL.to_vec(), 0..=4),
        of_release in prop::collection::vec(prop::sample::subsequence(Arch::ALL.to_vec(), 1..=4), 25),
        visible: bool, unlabelled: bool, newest_per_minor in 1_usize..3, max_releases in prop::option::of(0_usize..4),
        asked in prop::option::of(9_u64..14),
    ) -> Observed {
        // A set's name is its identity.
        let sets: BTreeMap<_, _> = sets.into_iter().map(|(set, version)| (set.name.clone(), (set, version))).collect();
        let known = sets.values().zip(of_release).map(|((set, version), arches)| {
            let known = version.as_ref().map_or_else(Known::default, |version| read(&version.to_string(), &arches));
            (set.release_image.parse().unwrap(), known)
        }).collect();
        Observed {
            sets: sets.into_values().map(|(set, _)| set).collect(),
            installs: referenced.into_iter().map(|number| (format!("ns/{number}"), format!("set-{number}"))).collect(),
            os_image_versions: asked.into_iter().map(|minor| format!("4.{minor}").parse().unwrap()).collect(),
            arches: arches.into_iter().collect(),
            policy: Policy { visible, unlabelled, newest_per_minor, max_releases, ..Policy::default() },
            known,
            listed: BTreeMap::new(),
        }
    }
}

proptest! {
    #[test]
    fn the_order_of_what_is_seen_does_not_matter(observed in any_hub(), seed in any::<u64>()) {
        let mut shuffled = observed.clone();
        let mut state = seed | 1;
        shuffled.sets.sort_by_cached_key(|_| { state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); state });
        prop_assert_eq!(select(&observed), select(&shuffled));
    }

    #[test]
    fn what_is_listed_was_asked_for_and_can_be_served(observed in any_hub()) {
        let desired = select(&observed);
        let json = release_payload::release_images::to_json(&desired.releases);
        prop_assert_eq!(release_payload::release_images::parse(&json), Ok(desired.releases.clone()));
        for release in &desired.releases {
            prop_assert!(release.version.payload_has_iso());
            let Architectures::Listed(arches) = &release.architectures else { panic!("without a list") };
            prop_assert!(!arches.is_empty() && arches.iter().all(|arch| observed.arches.contains(arch)));
        }
        let candidates = candidates(&observed);
        let asked = |release: &ReleaseImage| candidates.iter().any(|candidate| candidate.pullspec.as_ref() == Ok(&release.pullspec));
        prop_assert!(desired.releases.iter().all(asked));
    }

    #[test]
    fn what_is_referred_to_is_listed_if_it_can_be_served(observed in any_hub()) {
        let desired = select(&observed);
        for set in observed.sets.iter().filter(|set| observed.installs.values().any(|name| *name == set.name)) {
            let pullspec: Reference = set.release_image.parse().unwrap();
            let servable = observed.known[&pullspec].facts.as_ref().is_some_and(|facts| {
                facts.version.payload_has_iso() && !facts.arches.is_disjoint(&observed.arches)
            });
            prop_assert_eq!(servable, desired.releases.iter().any(|release| release.pullspec == pullspec));
        }
    }

    #[test]
    fn limits_hold(observed in any_hub()) {
        let desired = select(&observed);
        let candidates = candidates(&observed);
        let whys = |wanted: fn(Why) -> bool| -> BTreeSet<_> {
            candidates.iter().zip(&desired.outcomes)
                .filter(|(candidate, outcome)| wanted(candidate.why) && outcome.state == ReleaseState::Listed)
                .map(|(candidate, _)| candidate.pullspec.clone().unwrap())
                .collect()
        };
        if let Some(maximum) = observed.policy.max_releases {
            prop_assert!(whys(|why| !why.in_use()).len() <= maximum);
        }
        let newest = whys(|why| why == Why::Newest);
        for minor in 9..14 {
            for arch in Arch::ALL.into_iter().filter(|arch| observed.arches.contains(arch)) {
                let facts: Vec<_> = newest.iter().map(|pullspec| observed.known[pullspec].facts.as_ref().unwrap())
                    .filter(|facts| facts.version.minor() == minor).collect();
                // A release beyond the newest of one architecture is there for the sake of another.
                let only_here = facts.iter().filter(|facts| facts.arches.iter().filter(|arch| observed.arches.contains(arch)).eq([&arch]));
                let versions: BTreeSet<_> = only_here.map(|facts| &facts.version).collect();
                prop_assert!(versions.len() <= observed.policy.newest_per_minor);
            }
        }
    }

    #[test]
    fn without_unread_ones_what_was_listed_does_not_matter(mut observed in any_hub()) {
        for known in observed.known.values_mut().filter(|known| known.facts.is_none()) {
            known.failure = Some("unreadable".to_owned());
        }
        let before = select(&observed);
        observed.listed = present(&[("4.14.1", "gone"), ("4.15.1", "gone, too")]);
        prop_assert_eq!(before, select(&observed));
    }

    #[test]
    fn while_anything_is_unread_nothing_that_is_listed_goes(mut observed in any_hub()) {
        observed.listed = present(&[("4.14.1", "gone"), ("4.15.1", "set-1")]);
        let desired = select(&observed);
        if desired.outcomes.iter().any(|outcome| outcome.state == ReleaseState::Pending) {
            prop_assert!(observed.listed.keys().all(|pullspec| desired.listed.contains_key(pullspec)));
        }
        let keys: BTreeSet<_> = desired.releases.iter().map(|release| &release.pullspec).collect();
        prop_assert_eq!(keys, desired.listed.keys().collect::<BTreeSet<_>>());
    }
}

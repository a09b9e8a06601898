//! docs/METRICS.md and `/metrics` say the same, and the families that are our own tell what is in the catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use coreos_names::{Arch, ImageKind};
use image_store::{Catalog, Expected, Found, ImageState};
use tempfile::TempDir;

use crate::document::read;
use crate::site::{ARM64, FULL_ISO, Published, S390X, Site, X86_64, add, fixture, wanted};

/// A family as `/metrics` shows it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    labels: BTreeMap<String, String>,
    value: String,
}

impl Family {
    fn labels(&self) -> BTreeSet<&str> {
        self.samples.iter().flat_map(|sample| sample.labels.keys()).map(String::as_str).collect()
    }
}

/// Takes the text format apart. No label value of ours has a comma or a quote in it.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|family| family.split_once(' ')) {
            families.insert(name.to_owned(), Family { kind: kind.to_owned(), samples: Vec::new() });
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').unwrap().split(',').filter(|label| !label.is_empty());
            let labels = labels.map(|label| {
                let (name, value) = label.split_once('=').unwrap();
                (name.to_owned(), value.trim_matches('"').to_owned())
            });
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
            let family = of_histogram.filter(|family| families.contains_key(*family)).unwrap_or(name);
            let sample = Sample {
                // The bounds of buckets are part of the type.
                labels: labels.filter(|(name, _)| name != "le").collect(),
                value: value.to_owned(),
            };
            families.get_mut(family).unwrap().samples.push(sample);
        }
    }
    families
}

async fn scrape(site: &Site) -> BTreeMap<String, Family> {
    parse(site.get("/metrics").await.text())
}

/// All families: those about requests are there once a request was counted.
async fn all_families() -> BTreeMap<String, Family> {
    let site = Site::start().await;
    site.head(FULL_ISO).await;
    site.until_in_flight("/byid/:token", 0).await;
    for _ in 0..3000 {
        let families = scrape(&site).await;
        if families.contains_key("assisted_image_service_http_response_size_bytes") {
            return families;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the request was never counted");
}

fn value<'a>(families: &'a BTreeMap<String, Family>, name: &str) -> &'a str {
    let [sample] = &*families[&format!("coreos_image_service_{name}")].samples else { panic!("{name}") };
    assert!(sample.labels.is_empty(), "{name}");
    &sample.value
}

/// The values of a family by its one label.
fn by_label<'a>(families: &'a BTreeMap<String, Family>, name: &str) -> Vec<(&'a str, &'a str)> {
    let samples = families[&format!("coreos_image_service_{name}")].samples.iter();
    samples
        .map(|sample| {
            let [label] = sample.labels.values().collect::<Vec<_>>()[..] else { panic!("{name}") };
            (label.as_str(), sample.value.as_str())
        })
        .collect()
}

/// The rows of the document's tables with these columns, without the backticks.
fn rows(columns: &str) -> Vec<Vec<String>> {
    let text = read("../../docs/METRICS.md");
    let mut rows = Vec::new();
    let mut in_table = false;
    for line in text.lines() {
        if line == columns {
            in_table = true;
        } else if !line.starts_with('|') {
            in_table = false;
        } else if in_table && !line.starts_with("|---") {
            let cells = line.trim_matches('|').split('|');
            rows.push(cells.map(|cell| cell.trim().replace('`', "")).collect());
        }
    }
    assert!(!rows.is_empty(), "there is no table {columns}");
    rows
}

#[tokio::test]
async fn the_document_lists_the_families_that_there_are() {
    let families = all_families().await;
    let there: Vec<(String, String, String)> = families
        .iter()
        .map(|(name, family)| {
            let labels = family.labels().into_iter().collect::<Vec<_>>().join(", ");
            (name.clone(), family.kind.clone(), labels)
        })
        .collect();
    let mut listed: Vec<_> = rows("| name | type | unit | labels | meaning |")
        .into_iter()
        .map(|row| {
            let [name, kind, unit, labels, meaning] = row.try_into().unwrap();
            assert!(!meaning.is_empty(), "{name}");
            let base = name.trim_end_matches("_total");
            let unit_in_name = ["seconds", "bytes"].into_iter().find(|unit| base.ends_with(unit));
            assert_eq!(unit_in_name.unwrap_or(&unit), unit, "{name}");
            assert!(!unit.is_empty(), "{name}");
            (name, kind, labels)
        })
        .collect();
    listed.sort();
    assert_eq!(listed, there);
}

#[tokio::test]
async fn the_document_lists_the_values_that_labels_have() {
    let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows("| label | values |") {
        let [label, values] = row.try_into().unwrap();
        listed.insert(label, values.split(", ").map(str::to_owned).collect());
    }
    let mut there: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sample in all_families().await.values().flat_map(|family| &family.samples) {
        for (label, value) in &sample.labels {
            there.entry(label.clone()).or_default().insert(value.clone());
        }
    }
    for label in ["state", "proof", "result", "source"] {
        assert_eq!(listed[label], there[label], "{label}");
    }
    for label in ["handler", "method"] {
        assert!(there[label].is_subset(&listed[label]), "{label}: {:?}", there[label]);
    }
    assert_eq!(there["version"], [env!("CARGO_PKG_VERSION").to_owned()].into());
}

#[tokio::test]
async fn the_document_asks_for_nothing_else() {
    let families = all_families().await;
    let text = read("../../docs/METRICS.md");
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    for name in words.filter(|word| word.contains("_image_service_") && !word.ends_with('_')) {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        assert!(families.contains_key(of_histogram.unwrap_or(name)), "{name}");
    }
}

#[tokio::test]
async fn images_are_counted_by_state_and_by_proof() {
    let directory = TempDir::new().unwrap();
    let admin = Published::publish_proven(
        directory.path(),
        fixture(Arch::S390x),
        Arch::S390x,
        ImageKind::Full,
        Expected::Admin(S390X.lease.sha256()),
    );
    let unproven = Published::publish_proven(
        directory.path(),
        fixture(Arch::Arm64),
        Arch::Arm64,
        ImageKind::Full,
        Expected::Structure,
    );
    let catalog = Arc::new(Catalog::default());
    for (version, arch, state) in [
        ("4.11", Arch::X86_64, ImageState::Waiting),
        ("4.12", Arch::X86_64, ImageState::Fetching { received: 1, total: None }),
        ("4.13", Arch::X86_64, ImageState::Fetching { received: 1, total: Some(2) }),
        ("4.18", Arch::X86_64, ImageState::Ready(X86_64.lease.clone())),
        ("4.19", Arch::X86_64, ImageState::Ready(X86_64.lease.clone())),
        ("4.18", Arch::S390x, ImageState::Ready(admin.lease)),
        ("4.18", Arch::Arm64, ImageState::Ready(unproven.lease)),
        ("4.14", Arch::X86_64, ImageState::Failed { reason: "no".to_owned(), retry_at: SystemTime::now() }),
        ("4.10", Arch::X86_64, ImageState::Unsupported { reason: "too old".to_owned() }),
    ] {
        add(&catalog, wanted(version, arch), state);
    }
    catalog.set_retired(vec![Found { lease: ARM64.lease.clone(), openshift_version: None }]);
    let site = Site::with_catalog(catalog).await;
    let families = scrape(&site).await;
    assert_eq!(
        by_label(&families, "images"),
        [
            ("failed", "1"),
            ("fetching", "2"),
            ("ready", "4"),
            ("retired", "1"),
            ("unsupported", "1"),
            ("waiting", "1")
        ]
    );
    assert_eq!(
        by_label(&families, "ready_images"),
        [("admin-sha256", "1"), ("digest", "2"), ("structure-only", "1")]
    );
}

#[tokio::test]
async fn an_empty_service_has_a_zero_for_every_state_and_proof() {
    let site = Site::with_catalog(Arc::default()).await;
    let families = scrape(&site).await;
    for (family, labels) in [("images", 6), ("ready_images", 3)] {
        let values = by_label(&families, family);
        assert_eq!(values.len(), labels);
        assert!(values.iter().all(|(_, value)| *value == "0"), "{values:?}");
    }
}

#[tokio::test]
async fn an_image_is_in_use_while_it_is_downloaded() {
    // Other tests read the image that they share.
    let directory = TempDir::new().unwrap();
    let image = Published::publish(directory.path(), fixture(Arch::X86_64), Arch::X86_64);
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(image.lease.clone()));
    drop(image);
    let site = Site::with_catalog(catalog).await;
    assert_eq!(value(&scrape(&site).await, "images_in_use"), "0");
    let until_in_use = async |images: &str| {
        let mut seen = String::new();
        for _ in 0..3000 {
            value(&scrape(&site).await, "images_in_use").clone_into(&mut seen);
            if seen == images {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{seen} instead of {images} images are in use");
    };
    let downloads = [site.client.get(site.url(FULL_ISO)).send().await.unwrap(), {
        site.client.get(site.url(FULL_ISO)).send().await.unwrap()
    }];
    until_in_use("1").await;
    drop(downloads);
    until_in_use("0").await;
}

#[tokio::test]
async fn what_was_fetched_and_collected_is_shown() {
    let site = Site::start().await;
    let statistics = site.catalog.statistics();
    let counters = [
        "fetches_total",
        "fetch_failures_total",
        "fetched_bytes_total",
        "fetch_seconds_total",
        "release_lookups_total",
        "release_lookup_failures_total",
        "images_collected_total",
    ];
    let families = scrape(&site).await;
    assert_eq!(counters.map(|name| value(&families, name)), ["0"; 7]);
    for (count, times) in [
        (&(|| statistics.count_fetch()) as &dyn Fn(), 5),
        (&|| statistics.count_failed_fetch(), 4),
        (&|| statistics.count_fetched_bytes(1 << 30), 3),
        (&|| statistics.count_fetching(Duration::from_millis(1250)), 2),
        (&|| statistics.count_lookup(), 7),
        (&|| statistics.count_failed_lookup(), 6),
        (&|| statistics.count_collected_images(1), 1),
    ] {
        (0..times).for_each(|_| count());
    }
    let families = scrape(&site).await;
    let expected = ["5", "4", "3221225472", "2.5", "7", "6", "1"];
    assert_eq!(counters.map(|name| value(&families, name)), expected);
}

#[tokio::test]
async fn lists_and_their_entries_are_counted() {
    let site = Site::start().await;
    let statistics = site.catalog.statistics();
    (0..3).for_each(|_| statistics.count_applied_list());
    statistics.count_refused_list();
    site.catalog.set_list_entries(5, 7);
    let families = scrape(&site).await;
    assert_eq!(by_label(&families, "list_reloads_total"), [("applied", "3"), ("refused", "1")]);
    assert_eq!(by_label(&families, "list_entries"), [("environment", "5"), ("feed", "7")]);
}

#[tokio::test]
async fn the_version_and_the_start_are_shown() {
    let an_hour = Duration::from_hours(1);
    let before = SystemTime::now();
    let site = Site::started_at(Arc::default(), Instant::now().checked_sub(an_hour).unwrap()).await;
    let families = scrape(&site).await;
    assert_eq!(by_label(&families, "build_info"), [(env!("CARGO_PKG_VERSION"), "1")]);
    let seconds = value(&families, "start_time_seconds").parse().unwrap();
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds);
    let earliest = before - an_hour - Duration::from_mins(1);
    assert!(earliest < started && started < SystemTime::now() - an_hour + Duration::from_mins(1));
}

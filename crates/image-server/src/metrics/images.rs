//! What the inbound wing has done, and what there is to serve. Read from the catalog at each scrape.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use image_store::{Catalog, ImageReport, ImageState, Proof};
use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::{
    BUILD_INFO, FETCH_FAILURES, FETCH_TIME, FETCHED_BYTES, FETCHES, Family, IMAGES, IMAGES_COLLECTED,
    IMAGES_IN_USE, LIST_ENTRIES, LIST_RELOADS, READY_IMAGES, RELEASE_LOOKUP_FAILURES, RELEASE_LOOKUPS,
    START_TIME,
};

const FAMILIES: [Family; 14] = [
    BUILD_INFO,
    START_TIME,
    IMAGES,
    READY_IMAGES,
    IMAGES_IN_USE,
    IMAGES_COLLECTED,
    FETCHES,
    FETCH_FAILURES,
    FETCHED_BYTES,
    FETCH_TIME,
    RELEASE_LOOKUPS,
    RELEASE_LOOKUP_FAILURES,
    LIST_RELOADS,
    LIST_ENTRIES,
];

/// The state of images that nobody asks for any more, beside those that [`ImageState`] names.
const RETIRED: &str = "retired";

/// The metrics of images.
pub(crate) struct ImageMetrics {
    catalog: Arc<Catalog>,
    started: SystemTime,
    descriptions: Vec<Desc>,
}

impl ImageMetrics {
    /// Adds the metrics of the images in `catalog`, and of the service that began at `started`.
    pub(crate) fn register(
        registry: &Registry,
        catalog: Arc<Catalog>,
        started: Instant,
    ) -> Result<(), prometheus::Error> {
        let describe = |Family { name, labels, help }: &Family| {
            let labels = labels.iter().map(ToString::to_string).collect();
            Desc::new((*name).to_owned(), (*help).to_owned(), labels, HashMap::new())
        };
        let descriptions = FAMILIES.iter().map(describe).collect::<Result<_, _>>()?;
        let started = SystemTime::now().checked_sub(started.elapsed()).unwrap_or(UNIX_EPOCH);
        registry.register(Box::new(Self { catalog, started, descriptions }))
    }
}

impl Collector for ImageMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // The report holds leases, which would count as use.
        let in_use = self.catalog.images_in_use();
        let report = self.catalog.report();
        let (statistics, list) = (self.catalog.statistics(), self.catalog.list());
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        vec![
            BUILD_INFO.gauges([(env!("CARGO_PKG_VERSION"), 1.0)]),
            START_TIME.gauge(started.as_secs_f64()),
            IMAGES.gauges(by_state(&report, self.catalog.retired().len())),
            READY_IMAGES.gauges(by_proof(&report)),
            IMAGES_IN_USE.gauge(number(in_use as u64)),
            IMAGES_COLLECTED.counter(number(statistics.collected_images())),
            FETCHES.counter(number(statistics.fetches())),
            FETCH_FAILURES.counter(number(statistics.failed_fetches())),
            FETCHED_BYTES.counter(number(statistics.fetched_bytes())),
            FETCH_TIME.counter(statistics.fetching().as_secs_f64()),
            RELEASE_LOOKUPS.counter(number(statistics.lookups())),
            RELEASE_LOOKUP_FAILURES.counter(number(statistics.failed_lookups())),
            LIST_RELOADS.counters([
                ("applied", number(statistics.applied_lists())),
                ("refused", number(statistics.refused_lists())),
            ]),
            LIST_ENTRIES.gauges([
                ("environment", number(list.of_environment as u64)),
                ("feed", number(list.of_feed as u64)),
            ]),
        ]
    }
}

fn by_state(report: &[ImageReport], retired: usize) -> BTreeMap<&'static str, f64> {
    let mut images: BTreeMap<_, _> = ImageState::NAMES.into_iter().map(|name| (name, 0.0)).collect();
    for image in report {
        *images.entry(image.state.name()).or_default() += 1.0;
    }
    images.insert(RETIRED, number(retired as u64));
    images
}

fn by_proof(report: &[ImageReport]) -> BTreeMap<&'static str, f64> {
    let mut images: BTreeMap<_, _> = Proof::ALL.into_iter().map(|proof| (proof.name(), 0.0)).collect();
    for proof in report.iter().filter_map(ImageReport::proof) {
        *images.entry(proof.name()).or_default() += 1.0;
    }
    images
}

/// Prometheus knows floats only. They are exact up to 2⁵³, and rates beyond that do not need to be.
#[expect(clippy::cast_precision_loss)]
fn number(value: u64) -> f64 {
    value as f64
}

impl Family {
    fn counter(&self, value: f64) -> MetricFamily {
        self.with(MetricType::COUNTER, vec![counter(value)])
    }

    /// One counter for each value of the family's labels, of which it has at most one.
    fn counters(&self, values: impl IntoIterator<Item = (&'static str, f64)>) -> MetricFamily {
        let metrics = values.into_iter().map(|(label, value)| self.labelled(counter(value), label));
        self.with(MetricType::COUNTER, metrics.collect())
    }

    fn gauge(&self, value: f64) -> MetricFamily {
        self.with(MetricType::GAUGE, vec![gauge(value)])
    }

    /// One gauge for each value of the family's labels, of which it has at most one.
    fn gauges(&self, values: impl IntoIterator<Item = (&'static str, f64)>) -> MetricFamily {
        let metrics = values.into_iter().map(|(label, value)| self.labelled(gauge(value), label));
        self.with(MetricType::GAUGE, metrics.collect())
    }

    fn labelled(&self, mut metric: Metric, value: &str) -> Metric {
        let label = |name: &&str| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value(value.to_owned());
            label
        };
        metric.set_label(self.labels.iter().map(label).collect());
        metric
    }

    fn with(&self, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        family
    }
}

fn gauge(value: f64) -> Metric {
    Metric::from_gauge({
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        gauge
    })
}

fn counter(value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric
}

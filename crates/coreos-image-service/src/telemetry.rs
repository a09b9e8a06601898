//! Logs: one JSON object per event on standard error, with the keys that log collectors know from the predecessor.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// Starts logging. Libraries are heard from `warn` on; what they tell below may hold URLs with tokens in them.
pub(crate) fn init(level: LevelFilter) {
    let format = tracing_subscriber::fmt::layer().event_format(Json).with_writer(std::io::stderr);
    let subscriber = {
        use tracing_subscriber::layer::SubscriberExt;
        tracing_subscriber::registry().with(format).with(filter(level))
    };
    INITIALIZED.store(tracing::subscriber::set_global_default(subscriber).is_ok(), Ordering::Relaxed);
}

fn filter(level: LevelFilter) -> Targets {
    let ours = [
        "coreos_image_service",
        "image_feed",
        "image_operator",
        "image_server",
        "image_store",
        "oci_registry",
        "provision",
        "pull_secret_sync",
        "release_payload",
    ];
    let filter = Targets::new().with_default(level.min(LevelFilter::WARN));
    let filter = ours.iter().fold(filter, |filter, target| filter.with_target(*target, level));
    // They tell of every attempt to reach an API server; what becomes of them is told by those who ask, and once.
    ["kube_client", "kube_runtime"]
        .iter()
        .fold(filter, |filter, target| filter.with_target(*target, LevelFilter::OFF))
}

/// Whether errors can be logged rather than printed.
pub(crate) fn is_initialized() -> bool {
    INITIALIZED.load(Ordering::Relaxed)
}

/// `level`, `msg` and `time` as logrus writes them; every other field beside them.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let Fields(mut object) = fields;
        object.insert("level".to_owned(), Value::from(logrus_name(*event.metadata().level())));
        object.insert("time".to_owned(), Value::from(jiff::Timestamp::now().to_string()));
        writeln!(writer, "{}", Value::Object(object))
    }
}

const fn logrus_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: Value) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_words_are_heard_and_those_of_libraries_from_warn_on_but_for_kube() {
        let filter = filter(LevelFilter::INFO);
        for target in ["image_feed::cluster", "pull_secret_sync::sync", "coreos_image_service"] {
            assert!(filter.would_enable(target, &Level::INFO), "{target}");
            assert!(!filter.would_enable(target, &Level::DEBUG), "{target}");
        }
        assert!(filter.would_enable("hyper::client", &Level::WARN));
        assert!(!filter.would_enable("hyper::client", &Level::INFO));
        for target in ["kube_client::client", "kube_runtime::watcher"] {
            assert!(!filter.would_enable(target, &Level::ERROR), "{target}");
        }
    }
}

//! Settings as text: a flag where one was given, else the environment variable.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ArgMatches;

use super::Problems;
use super::table::Setting;

/// The text of every setting that was given. An empty one counts as not given, as in container configurations.
pub(crate) struct Merged {
    values: BTreeMap<&'static str, String>,
    problems: Vec<String>,
}

impl Merged {
    /// Reads what was typed.
    pub(crate) fn new(
        tables: &[&'static [Setting]],
        flags: &ArgMatches,
        environment: impl Fn(&str) -> Option<std::ffi::OsString>,
    ) -> Self {
        let mut merged = Self { values: BTreeMap::new(), problems: Vec::new() };
        // The predecessor reads LOGLEVEL, but its documentation calls it LOG_LEVEL.
        let alias = |variable| (variable == "LOGLEVEL").then_some("LOG_LEVEL");
        for variable in tables.iter().flat_map(|table| table.iter()).map(|setting| setting.variable) {
            let flag = flags.try_get_one::<String>(variable).ok().flatten().cloned();
            let from_environment = || environment(variable).or_else(|| environment(alias(variable)?));
            let value = flag.map_or_else(
                || from_environment().map(std::ffi::OsString::into_string).transpose(),
                |flag| Ok(Some(flag)),
            );
            match value {
                Ok(Some(value)) if !value.is_empty() => {
                    merged.values.insert(variable, value);
                }
                Ok(_) => {}
                Err(_) => merged.problems.push(format!("{variable}: the value is not UTF-8")),
            }
        }
        merged
    }

    /// What went wrong while reading, to start a validation with.
    pub(crate) fn problems(&self) -> Problems {
        Problems(self.problems.clone())
    }

    pub(crate) fn text(&self, variable: &str) -> Option<&str> {
        self.values.get(variable).map(String::as_str)
    }

    pub(crate) fn path(&self, variable: &str) -> Option<PathBuf> {
        self.text(variable).map(PathBuf::from)
    }

    /// A value of a type that can be parsed; `default` where none was given or it cannot.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(
        &self,
        variable: &str,
        default: T,
        problems: &mut Problems,
    ) -> T {
        self.parsed_if_given(variable, problems).unwrap_or(default)
    }

    /// A value of a type that can be parsed, if there is one.
    pub(crate) fn parsed_if_given<T: FromStr<Err: Display>>(
        &self,
        variable: &str,
        problems: &mut Problems,
    ) -> Option<T> {
        let text = self.text(variable)?;
        text.trim().parse().map_err(|error| problems.add(format!("{variable}={text}: {error}"))).ok()
    }

    /// The contents of the file that a setting names.
    pub(crate) fn file(&self, variable: &str, problems: &mut Problems) -> Option<String> {
        let path = self.path(variable)?;
        std::fs::read_to_string(&path)
            .map_err(|error| problems.add(format!("{variable}={}: cannot be read: {error}", path.display())))
            .ok()
    }
}

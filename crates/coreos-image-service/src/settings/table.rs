//! Every setting: its variable, what it is when absent, and what it means.

use clap::{Arg, Command};

/// One setting.
pub(crate) struct Setting {
    /// The environment variable.
    pub(crate) variable: &'static str,
    /// What holds when it is absent, for people.
    pub(crate) default: &'static str,
    /// What it means.
    pub(crate) meaning: &'static str,
    /// A secret has no flag, since command lines are visible to every user of a machine.
    secret: bool,
}

impl Setting {
    const fn new(variable: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self { variable, default, meaning, secret: false }
    }

    /// The flag of the same name: `LISTEN_PORT` is `--listen-port`.
    fn flag(&self) -> String {
        self.variable.to_lowercase().replace('_', "-")
    }
}

/// Settings of the commands that ask a registry.
pub(crate) const REGISTRY: &[Setting] = &[
    Setting {
        secret: true,
        ..Setting::new(
            "PULL_SECRET",
            "",
            "the pull secret itself, as JSON (`{\"auths\":{}}` for registries that ask for none)",
        )
    },
    Setting::new("PULL_SECRET_FILE", "", "a file that holds the pull secret"),
    Setting::new(
        "REGISTRY_TRUSTED_CA_FILE",
        "",
        "PEM file with CAs trusted for registries beside the system's",
    ),
    Setting::new(
        "INSECURE_REGISTRIES",
        "",
        "comma-separated `host[:port]` where TLS is not verified and plain HTTP is allowed",
    ),
];

/// Settings of the service alone.
pub(crate) const SERVE: &[Setting] = &[
    Setting::new(
        "RELEASE_IMAGES",
        "",
        "JSON list of release images, in assisted-service's format; acted on only if a pull secret is given",
    ),
    Setting::new("DATA_DIR", "required", "directory for the images; what is in it survives a restart"),
    Setting::new("LISTEN_ADDRESS", "all interfaces", "address to listen on"),
    Setting::new("LISTEN_PORT", "8080", "port to listen on"),
    Setting::new(
        "ASSISTED_SERVICE_HOST",
        "",
        "`host[:port]` of assisted-service; this or INFRA_ENV_DIR is required",
    ),
    Setting::new("ASSISTED_SERVICE_SCHEME", "http", "`http` or `https`"),
    Setting::new(
        "ASSISTED_SERVICE_API_TRUSTED_CA_FILE",
        "",
        "PEM file with the CAs trusted for assisted-service, instead of the system's",
    ),
    Setting::new(
        "INFRA_ENV_DIR",
        "",
        "stand-alone instead of assisted-service: `<id>/discovery.ign`, `<id>/kernel_arguments.json`, `<id>/minimal-initrd`",
    ),
    Setting::new(
        "INFRA_ENV_REUSE_SECONDS",
        "1",
        "for how long an answer of assisted-service serves requests with the same credentials; 0 is for one only",
    ),
    Setting::new(
        "IMAGE_SERVICE_BASE_URL",
        "",
        "the URL under which hosts reach this service, also with a path; without it there are no minimal ISOs",
    ),
    Setting::new("DOWNLOAD_CONCURRENCY", "2", "how many images are fetched at a time"),
    Setting::new(
        "LOGLEVEL",
        "info",
        "`panic`, `fatal`, `error`, `warn`, `info`, `debug` or `trace` (LOG_LEVEL is read too)",
    ),
];

/// Adds a flag for each setting to a command.
pub(crate) fn add_flags(command: Command, tables: &[&'static [Setting]]) -> Command {
    tables.iter().flat_map(|table| table.iter()).filter(|setting| !setting.secret).fold(
        command,
        |command, setting| {
            let default = if setting.default.is_empty() {
                String::new()
            } else {
                format!(" [default: {}]", setting.default)
            };
            command.arg(
                Arg::new(setting.variable)
                    .long(setting.flag())
                    .value_name(setting.variable)
                    .help(format!("{}{default}; variable {}", setting.meaning, setting.variable)),
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_every_setting() {
        let readme =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
        for setting in SERVE.iter().chain(REGISTRY) {
            let row = format!("| {} | {} | {} |", setting.variable, setting.default, setting.meaning);
            assert!(readme.contains(&row), "README.md has no row\n{row}");
        }
    }
}

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
    Setting::new("PULL_SECRET_FILE", "", "a file that holds the pull secret; read again when it changes"),
    Setting::new(
        "REGISTRIES_CONF",
        "`/etc/containers/registries.conf`, if any",
        "containers-registries.conf(5), version 2: mirrors, and insecure and blocked registries; also reads `<file>.d/*.conf`",
    ),
    Setting::new(
        "DIGEST_MIRRORS_FILE",
        "",
        "YAML file with any number of ImageDigestMirrorSet, ImageTagMirrorSet and ImageContentSourcePolicy objects",
    ),
    REGISTRY_TRUSTED_CA_FILE,
    Setting::new(
        "REGISTRY_CERTS_DIR",
        "`/etc/containers/certs.d`, `/etc/docker/certs.d`",
        "directory with `<host[:port]>/*.crt` trusted there, and `*.cert` with `*.key` shown there (containers-certs.d(5))",
    ),
    INSECURE_REGISTRIES,
    Setting::new(
        "REGISTRY_HTTP1_ONLY",
        "false",
        "`true`: HTTP/2 is not offered to registries, for proxies that break it",
    ),
    RELEASE_SIGNATURE_KEYS,
    RELEASE_SIGNATURE_STORES,
];

const RELEASE_SIGNATURE_KEYS: Setting = Setting::new(
    "RELEASE_SIGNATURE_KEYS",
    "",
    "comma-separated files with OpenPGP public keys; a release is refused unless a key of each file has signed it",
);
const RELEASE_SIGNATURE_STORES: Setting = Setting::new(
    "RELEASE_SIGNATURE_STORES",
    "OpenShift's two public ones",
    "comma-separated URLs and directories where signatures of releases lie",
);

const REGISTRY_TRUSTED_CA_FILE: Setting = Setting::new(
    "REGISTRY_TRUSTED_CA_FILE",
    "",
    "PEM file with CAs trusted for registries beside the system's",
);

const INSECURE_REGISTRIES: Setting = Setting::new(
    "INSECURE_REGISTRIES",
    "",
    "comma-separated `host[:port]` where TLS is not verified and plain HTTP is allowed",
);

/// Settings of the operator. Pull secret and mirrors are those of the cluster.
pub(crate) const OPERATOR: &[Setting] = &[
    Setting::new(
        "POD_NAMESPACE",
        "that of the service account",
        "the namespace of the image service and of its `CoreosImageService`",
    ),
    Setting::new("POD_NAME", "", "begins the name of this replica in the Lease"),
    Setting::new(
        "OPERATOR_LISTEN_PORT",
        "8383",
        "port for the operator's `/healthz`, `/readyz` and `/metrics`",
    ),
    LISTEN_ADDRESS,
    REGISTRY_TRUSTED_CA_FILE,
    INSECURE_REGISTRIES,
    RELEASE_SIGNATURE_KEYS,
    RELEASE_SIGNATURE_STORES,
];

/// Settings of `pull-secret sync`. Names are those of other clients of the account service and of Vault.
pub(crate) const PULL_SECRET_SYNC: &[Setting] = &[
    Setting::new("OCM_BASE_URL", "`https://api.openshift.com`", "the account service"),
    Setting::new("OCM_TOKEN_URL", "Red Hat's", "the token endpoint of single sign-on"),
    Setting::new("OCM_SERVICE_CLIENT_ID", "", "the service account whose pull secret it is"),
    Setting { secret: true, ..Setting::new("OCM_SERVICE_CLIENT_SECRET", "", "its secret") },
    Setting {
        secret: true,
        ..Setting::new("OCM_REFRESH_TOKEN", "", "instead of a service account, a person's offline token")
    },
    Setting::new("OCM_TRUSTED_CA_FILE", "", "PEM file with CAs trusted for both beside the system's"),
    Setting::new("VAULT_ADDR", "required", "the address of Vault"),
    Setting::new("VAULT_NAMESPACE", "", "its namespace, where it has any"),
    Setting::new("VAULT_CACERT", "", "PEM file with CAs trusted for Vault beside the system's"),
    Setting { secret: true, ..Setting::new("VAULT_TOKEN", "", "the way into Vault: a token") },
    Setting::new("VAULT_KUBERNETES_ROLE", "", "or the role of the pod's service account"),
    Setting::new("VAULT_KUBERNETES_MOUNT", "kubernetes", "where that method is mounted"),
    Setting::new("VAULT_KUBERNETES_TOKEN_FILE", "the pod's", "the service account's token"),
    Setting::new("VAULT_APPROLE_ROLE_ID", "", "or an application"),
    Setting { secret: true, ..Setting::new("VAULT_APPROLE_SECRET_ID", "", "its secret") },
    Setting::new("VAULT_APPROLE_MOUNT", "approle", "where that method is mounted"),
    Setting::new("VAULT_KV_MOUNT", "secret", "where the key-value store, version 2, is mounted"),
    Setting::new("VAULT_KV_PATH", "required", "the path of the secret in it"),
    Setting::new(
        "VAULT_KV_FIELD",
        ".dockerconfigjson",
        "the field with the pull secret; others are left as they are",
    ),
    Setting::new(
        "PULL_SECRET_SYNC_CHECK",
        "`quay.io/openshift-release-dev/ocp-v4.0-art-dev`",
        "the registry, repository or image that the pull secret is tried on before it is written",
    ),
    Setting::new("PULL_SECRET_SYNC_INTERVAL", "once", "how long to wait between two runs, such as `6h`"),
    REGISTRY_TRUSTED_CA_FILE,
    INSECURE_REGISTRIES,
];

/// Which releases are wanted, of the commands that are about many.
pub(crate) const RELEASES: &[Setting] = &[Setting::new(
    "RELEASE_IMAGES",
    "",
    "JSON list of release images, in assisted-service's format; acted on only if a pull secret is given",
)];

/// Settings of the service alone.
pub(crate) const SERVE: &[Setting] = &[
    Setting::new(
        "OS_IMAGES",
        "",
        "JSON list of ISOs on web servers, or in releases (`release-image://` and the pullspec), in assisted-service's format, with an optional `sha256`; goes before RELEASE_IMAGES where both have a version",
    ),
    Setting::new(
        "FEED",
        "auto",
        "`kubernetes`: images are asked for by the ConfigMap and the Secret `coreos-image-service-feed`, too, and followed while they change; `auto`: in a pod, unless its service account may not read them; `none`",
    ),
    Setting::new(
        "FEED_DIR",
        "",
        "the same from a directory with `release-images.json`, `os-images.json`, `registries.conf`, `mirrors.yaml`, `ca.crt`, `.dockerconfigjson`, all of them optional",
    ),
    Setting::new("RHCOS_VERSIONS", "", "OS_IMAGES by its older name; counts where OS_IMAGES is absent"),
    Setting {
        secret: true,
        ..Setting::new(
            "OS_IMAGES_REQUEST_HEADERS",
            "",
            "JSON object of headers to be sent with requests for the ISOs of OS_IMAGES",
        )
    },
    Setting {
        secret: true,
        ..Setting::new(
            "OS_IMAGES_REQUEST_QUERY_PARAMS",
            "",
            "JSON object of query parameters to be added to the URLs of OS_IMAGES",
        )
    },
    Setting::new(
        "OS_IMAGE_DOWNLOAD_TRUSTED_CA_FILE",
        "",
        "PEM file with CAs trusted for OS_IMAGES beside the system's",
    ),
    Setting::new(
        "INSECURE_SKIP_VERIFY",
        "false",
        "`true`: TLS certificates are not verified for OS_IMAGES, unless OS_IMAGE_DOWNLOAD_TRUSTED_CA_FILE is given; never about registries",
    ),
    Setting::new(
        "DATA_DIR",
        "required",
        "directory for the images, which has to exist; what is in it survives a restart",
    ),
    Setting::new(
        "DATA_DIR_MAX_BYTES",
        "what the disk has",
        "how many bytes the images of this service may take in DATA_DIR",
    ),
    Setting::new("DATA_TEMP_DIR", "", "accepted, and needed for nothing"),
    Setting::new("DOWNLOAD_CONCURRENCY", "2", "how many images are fetched at a time"),
    Setting::new(
        "RETIRE_AFTER",
        "24h",
        "how long an image that nothing asks for any more is still served by its RHCOS version, before it is removed",
    ),
    Setting::new("POPULATE", "eager", "when images are fetched; there is only `eager` so far"),
    LISTEN_ADDRESS,
    Setting::new("LISTEN_PORT", "8080", "port to listen on, with HTTPS where there is a certificate"),
    Setting::new(
        "HTTP_LISTEN_PORT",
        "",
        "port for plain HTTP; beside HTTPS it has only what hosts need that boot over the network",
    ),
    Setting::new(
        "HTTPS_CERT_FILE",
        "",
        "PEM file with the certificate for HTTPS; read again when it changes",
    ),
    Setting::new("HTTPS_KEY_FILE", "", "PEM file with its key"),
    Setting::new("TLS_MIN_VERSION", "VersionTLS12", "`VersionTLS12` or `VersionTLS13`"),
    Setting::new(
        "TLS_CIPHER_SUITES",
        "all",
        "comma-separated cipher suites for TLS 1.2, by their IANA or OpenSSL names",
    ),
    Setting::new(
        "IMAGE_SERVICE_BASE_URL",
        "",
        "the URL under which hosts reach this service, also with a path; without it there are no minimal ISOs",
    ),
    Setting::new(
        "ALLOWED_DOMAINS",
        "",
        "comma-separated origins of web pages that may read images, such as `https://console.example.com`",
    ),
    Setting::new(
        "MAX_CONCURRENT_REQUESTS",
        "400",
        "how many images are downloaded at a time, and as many boot artifacts; others wait up to 30 s",
    ),
    Setting::new(
        "ASSISTED_SERVICE_HOST",
        "",
        "`host[:port]` of assisted-service; this or INFRA_ENV_DIR is required",
    ),
    Setting::new("ASSISTED_SERVICE_SCHEME", "http", "`http` or `https`"),
    Setting::new(
        "ASSISTED_SERVICE_API_TRUSTED_CA_FILE",
        "HTTPS_CA_FILE",
        "PEM file with the CAs trusted for assisted-service, instead of the system's; no proxy is used then",
    ),
    Setting::new(
        "HTTPS_CA_FILE",
        "",
        "the same; counts where ASSISTED_SERVICE_API_TRUSTED_CA_FILE is absent",
    ),
    Setting::new(
        "INFRA_ENV_REUSE_SECONDS",
        "1",
        "for how long an answer of assisted-service serves requests with the same credentials; 0 is for one only",
    ),
    Setting::new(
        "INFRA_ENV_DIR",
        "",
        "stand-alone instead of assisted-service: `<id>/discovery.ign`, `<id>/kernel_arguments.json`, `<id>/minimal-initrd`",
    ),
];

const LISTEN_ADDRESS: Setting = Setting::new("LISTEN_ADDRESS", "all interfaces", "address to listen on");

/// How much is logged, of the commands that can log.
pub(crate) const LOGGING: &[Setting] = &[Setting::new(
    "LOGLEVEL",
    "info",
    "`panic`, `fatal`, `error`, `warn`, `info`, `debug` or `trace` (LOG_LEVEL is read too)",
)];

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
        lists("README.md", &[RELEASES, SERVE, REGISTRY, LOGGING, OPERATOR]);
    }

    #[test]
    fn the_page_about_saas_lists_every_setting_of_the_synchronisation() {
        lists("docs/deploy/saas.md", &[PULL_SECRET_SYNC]);
    }

    fn lists(page: &str, tables: &[&[Setting]]) {
        let path = format!("{}/../../{page}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        for setting in tables.iter().copied().flatten() {
            let row = format!("| {} | {} | {} |", setting.variable, setting.default, setting.meaning);
            assert!(text.contains(&row), "{page} has no row\n{row}");
        }
    }
}

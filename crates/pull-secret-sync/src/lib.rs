//! Keeps the pull secret in Vault the one that the account service gives out.
//!
//! [`Sync::run`] is the whole story, once: the account is introduced to single sign-on, asked for its pull secret, and what
//! Vault holds is compared with it. A secret that differs is tried on a registry first, then written with
//! check-and-set, so that nobody else's change is lost, and read back. One that does not differ is neither tried nor
//! written: every version of it is another secret to guard. A registry that says nothing of a secret, such as one that is
//! away, keeps it from being written, too, but is told apart from one that refuses it.
//!
//! Nothing secret is ever part of an error or a log line. Every step has an error of its own.
//!
//! Protocols: OAuth 2.0 (RFC 6749) client credentials and refresh tokens, the account service of
//! <https://api.openshift.com>, HashiCorp Vault's KV version 2 and its login methods.

mod accounts;
mod error;
mod http;
mod sso;
mod sync;
mod vault;

pub use accounts::Accounts;
pub use error::{Error, Service};
pub use sso::{Identity, Sso};
pub use sync::{Outcome, Sync};
pub use vault::{Login, SecretPlace, Vault};

//! The client of web servers that OS images come from.
//!
//! [`Origin::download`] writes a file into a [`Sink`], over as many connections as it takes: one that breaks is resumed
//! at the byte where that is certain to give the same bytes (a strong validator, RFC 9110), and started over where it is
//! not. What an admin adds to requests goes to the server the URL names and to nobody it redirects to. Knows nothing of
//! ISOs; whoever has the bytes has to prove them.

mod config;
mod download;
mod error;
mod retry;
mod transport;
mod url;
mod validator;

pub use config::{Config, InvalidRequestParameters, MinRate, QueryParams, RequestHeaders};
pub use download::{Origin, Permission, Sink};
pub use error::Error;
pub use url::{InvalidOriginUrl, OriginUrl};

//! The client on folders: what real tools have written, and what somebody else has tampered with.

mod hostile;
mod layouts;
mod missing;
mod support;

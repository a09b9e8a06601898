//! The whole crate on small volumes made for the test at hand, sound and hostile ones.
//!
//! What real tools write is tested in `fixtures.rs`.

mod embedded;
mod eras;
mod iso;
mod layout;
mod minimal;
mod plan;
mod volume;

//! What all HTTP clients of this program have in common.
//!
//! A [`ClientRecipe`] is where each of them begins: through which proxy, whom to trust, following nobody. What goes beyond
//! that (timeouts of whole answers, which redirects to follow, compression) is for those to say who know what is fetched.
//! Beside it, three headers of answers are read here: [`retry_after`], [`total_of_rest`] and [`redirect_target`].
//!
//! There is one rule for proxies, and it is Go's, see [`Proxies`]. [`NamedCas`] says what a named certificate is good for.

mod content_range;
mod proxies;
mod recipe;
mod redirect;
mod retry_after;
mod trust;

pub use content_range::total_of_rest;
pub use proxies::Proxies;
pub use recipe::ClientRecipe;
pub use redirect::{MAX_REDIRECTS, NoTarget, redirect_target};
pub use retry_after::retry_after;
pub use trust::{InvalidCas, NamedCas, Trust, tls_config};

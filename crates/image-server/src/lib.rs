//! Requests become byte streams.

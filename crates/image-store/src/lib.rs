//! What is on disk, its state, and who holds it.

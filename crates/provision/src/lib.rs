//! Desired images become images in the store.

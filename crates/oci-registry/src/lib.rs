//! A pull-only OCI registry client whose every byte is verified.

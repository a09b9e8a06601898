//! OpenShift release payloads, and the CoreOS live ISO inside them.

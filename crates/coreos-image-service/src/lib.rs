//! Serves bare-metal hosts their CoreOS live ISO, given only a release image and a pull secret.

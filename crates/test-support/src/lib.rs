//! Stand-ins and fixtures for the tests of this workspace.

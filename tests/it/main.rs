//! Integration tests: they drive the built binary as a user does.

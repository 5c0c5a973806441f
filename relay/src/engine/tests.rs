//! What the native engines promise beside what every engine does (`tests/differential` compares those).
#![allow(clippy::unwrap_used)]

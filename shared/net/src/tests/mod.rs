//! Real sockets on 127.0.0.1: what two and three nodes do over every native transport, and what nonsense does.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod abuse;
mod blobs;
mod circuits;
mod jobs;
mod moves;
mod party;
mod transports;
mod versions;

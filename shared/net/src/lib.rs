//! libp2p for p2pnet: transports, behaviour, and the loop that feeds [`p2pnet_shared::node::Node`] and carries out its
//! effects. The only place where native and browser differ in `cfg`.

pub mod handle;

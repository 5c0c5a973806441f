//! What only a browser has: Web Workers that run kernels, IndexedDB that keeps a tab's identity and jobs, and the boot
//! of a node inside a tab. The page (`web`) starts a node here, shows what it says, and holds no logic of the network.
//!
//! Not all of it is in the page's own binary: see [`pieces`], whose binaries are in `bin/`.
//!
//! ```text
//! fn main() {
//!     p2pnet_browser::show_panics();                // a bug in the page says so instead of freezing
//!     let node = p2pnet_browser::start(p2pnet_browser::Options::default()).await?;   // inside spawn_local, before drawing
//!
//!     node.handle().events(Hears::Everything);                       // jobs, network: p2pnet_net::handle::Handle
//!     node.handle().network().await;                // connections, offers, what runs here, why nothing runs
//!     node.settings();                              // what the person lends; kept across reloads
//!     node.set_settings(Settings { lending: true, ..node.settings() });
//!     node.device();                                // cores, battery, online, visible
//!     node.health();                                // what is wrong: storage, workers, seed
//!     node.changes();                               // a Stream: settings, device or health changed; read them again
//!     let job = node.read_job(r#"{"kind":"map",…}"#).await?;    // JSON -> Job, or a Refusal that says where it is wrong
//!     let sample = node.dry_run(source).await?;     // a few units in a worker here: result, gas, speed
//!     let id = node.submit(job).await?;             // once it is kept
//! }
//! ```
//!
//! [`NodeRuntime`] is cheap to clone and compares by identity, so it can be a yew property or context.

mod clock;
mod device;
mod dry_run;
pub mod engine;
mod host;
mod js;
pub mod kinds;
mod panics;
pub mod pieces;
mod pool;
mod reins;
mod runtime;
mod seeds;
mod settings;
mod slot;
mod store;
mod ticker;
mod worker;

pub use clock::now;
pub use device::{Battery, Device};
pub use dry_run::DryRun;
pub use js::base_path;
pub use kinds::{Kinds, Readers};
/// Which jobs a listener hears of.
pub use p2pnet_net::handle::Hears;
pub use panics::show_panics;
pub use pool::{
    Lane, Pool, PoolRun,
    protocol::{Outcome, decode, encode},
};
pub use runtime::{Health, NodeRuntime, Options, SeedSearch, StartError, Storage, start};
pub use settings::Settings;
pub use store::StoreError;
pub use worker::run_in_worker;

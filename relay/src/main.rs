//! `p2pnet`: reads the command line, starts the runtime, and says how it ended.

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use p2pnet_native::{
    cli::{self, Cli},
    executor,
    http::page,
    install_crypto,
};
use rust_embed::RustEmbed;
use tracing_subscriber::EnvFilter;

/// The page as trunk built it (a debug build reads the folder as it runs). Whenever it is built anew its index is, too, and
/// with the index, which `build.rs` sees to, cargo compiles this file.
#[derive(RustEmbed)]
#[folder = "../dist"]
#[allow_missing = true]
struct Dist;

/// libp2p and the certificate store tell of every stranger that hangs up; RUST_LOG brings that back.
const LOG: &str =
    "info,libp2p=warn,webrtc=off,webrtc_sctp=off,webrtc_ice=off,webrtc_mdns=off,webrtc_dtls=off,quinn_udp=error";

fn main() -> ExitCode {
    // A worker has no command line, no runtime and no log: it computes and nothing else.
    if let Some(code) = executor::worker::run_if_worker().or_else(executor::compiler::run_if_compiler) {
        return code;
    }
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG)))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    install_crypto();
    page::install(Dist::get);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no threads can be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.to_string();
            if !text.is_empty() {
                cli::output::aside(text);
            }
            failure.exit_code()
        }
    }
}

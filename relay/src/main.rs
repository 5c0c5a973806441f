//! `p2pnet`: reads the command line, starts the runtime, and says how it ended.

// As in the library.
#![deny(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro)]

use std::{env, io::IsTerminal, process::ExitCode};

use clap::Parser;
use p2pnet_native::{
    cli::{self, Cli, failure::Failure, output},
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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            let code = ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2));
            return output::usage(&answer).map_or_else(|failure| told(&failure), |()| code);
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(log_filter())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // What cannot be written is lost. By default the loss is written to the same place, and that panics.
        .log_internal_errors(false)
        .init();
    install_crypto();
    page::install(Dist::get);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return told(&Failure::here(format!("no threads can be started: {error}"), "")),
    };
    runtime.block_on(cli::run(cli)).map_or_else(|failure| told(&failure), |()| ExitCode::SUCCESS)
}

/// Says why the process ends, and gives the code for it.
fn told(failure: &Failure) -> ExitCode {
    let text = failure.to_string();
    if !text.is_empty() {
        output::aside(text);
    }
    failure.exit_code()
}

/// What RUST_LOG says; the default where it says nothing that is understood, aloud.
fn log_filter() -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|error| {
        if env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
            output::aside(format_args!("warning: RUST_LOG is not understood, so it has no effect: {error}"));
        }
        EnvFilter::new(LOG)
    })
}

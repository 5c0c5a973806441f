//! A relay that speaks one version of the protocol under a name of its own, as a later build does that this one knows nothing
//! of. For the tests of what people see then. It holds no page.
//!
//! `another_version PROTOCOL PORT P2P_PORT WEBRTC_PORT DATA_DIR`

use std::{env, path::PathBuf, process::ExitCode};

use p2pnet_native::{
    cli::failure::Failure,
    config::{Config, Flags},
    daemon, executor, install_crypto,
};
use p2pnet_net::dialects::Dialects;
use p2pnet_shared::wire::Version;

fn main() -> ExitCode {
    if let Some(code) = executor::worker::run_if_worker().or_else(executor::compiler::run_if_compiler) {
        return code;
    }
    install_crypto();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit_code(),
    }
}

fn run() -> Result<(), Failure> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [protocol, port, p2p_port, webrtc_port, data] = &words[..] else {
        return Err(Failure::here("PROTOCOL PORT P2P_PORT WEBRTC_PORT DATA_DIR, please", ""));
    };
    let port_of = |text: &str| text.parse().map_err(|_| Failure::here(format!("{text} is no port"), ""));
    let flags = Flags {
        port: Some(port_of(port)?),
        p2p_port: Some(port_of(p2p_port)?),
        webrtc_port: Some(port_of(webrtc_port)?),
        data_dir: Some(Some(PathBuf::from(data))),
        provider: Some(false),
        ..Flags::default()
    };
    // Lives as long as the process.
    let dialects = Dialects::renamed(protocol.clone().leak(), Version::NEWEST);
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::here(error.to_string(), ""))?;
    runtime.block_on(daemon::relay::run(Config::read(&flags)?, dialects))
}

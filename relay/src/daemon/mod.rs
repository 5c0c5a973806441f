//! Processes that stay: the relay (seed) and the native provider. What both have in common is here.

pub mod provider;
pub mod relay;
pub mod signals;

use std::{
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures::channel::mpsc;
use p2pnet_net::{
    Options, Outside, WebRtc, dialects::Dialects, handle::Handle, host::HostFact, host::Start, new_certificate,
    node_id, start,
};
use p2pnet_shared::{
    api::ProviderSettings,
    clock::Mark,
    job::kinds,
    kernel::REWRITE_VERSION,
    node::{Keep, NodeConfig},
    units::Millis,
    wire::Role,
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    cli::failure::Failure,
    config::Config,
    executor::Executor,
    host::{self, NativeHost},
    store::{
        Caches, Store, StoreError,
        folder::{DataFolder, Ports},
    },
};

/// Facts that may wait for the loop; executors wait beyond that.
const FACTS: usize = 1_024;
/// Jobs that are over and kept, each of which takes some hundred bytes of memory; far more take their bytes of the disk before.
const KEPT_JOBS: u64 = 100_000;
/// How often it is looked whether a clock was set.
const LOOK_AT_CLOCKS: Duration = Duration::from_secs(60);
/// How long the node may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// A node that runs in this process.
struct Running {
    handle: Handle,
    outside: Outside,
    facts: mpsc::Sender<HostFact>,
    store: Store,
    node_loop: JoinHandle<()>,
    executor: Executor,
    /// Locked until the process ends.
    folder: Arc<DataFolder>,
    time: JoinHandle<()>,
}

impl Running {
    /// Starts the node of a data folder.
    async fn start(
        folder: DataFolder,
        role: Role,
        agent: &str,
        config: &Config,
        options: Options,
    ) -> Result<Self, Failure> {
        if let Some(mark) = folder.clock() {
            host::go_on(&mark);
        }
        let secret = folder.identity()?.bytes();
        let me = node_id(secret).ok_or_else(|| {
            Failure::here("the identity in the data folder is no key", "move the file `identity` away")
        })?;
        let caches = Caches::of(u64::from(config.keep_mib.value) << 20, folder.compiled());
        let compiled_bytes = caches.compiled_bytes();
        let (store, records) = Store::open(folder.database(), caches).await?;
        let modules = store.kernels_in_use().await?;
        let (facts, incoming) = mpsc::channel(FACTS);
        let executor = Executor::new(facts.clone(), &folder.compiled(), config.sandbox.value, config.memory_mib.value);
        executor.keep_compiled(compiled_bytes);
        let host = NativeHost::new(executor.clone(), store.clone(), facts.clone());
        let node_config = NodeConfig {
            me,
            role,
            agent: format!("p2pnet {} {agent}", env!("CARGO_PKG_VERSION")),
            seed: rand::random(),
            keep: Keep {
                age: Millis(u64::from(config.keep_days.value) * 24 * 3_600_000),
                bytes: u64::from(config.keep_mib.value) << 20,
                jobs: KEPT_JOBS,
            },
            can_rest: true,
            rewrite: REWRITE_VERSION,
        };
        let start_with = Start {
            secret,
            config: node_config,
            restored: records,
            lines_follow: true,
            read: Box::new(move |source, find| {
                kinds::read(source, &|hash| find(hash).or_else(|| modules.get(&hash).cloned()))
            }),
        };
        let (handle, outside, node_loop) = start(start_with, host, incoming, options).map_err(|error| {
            Failure::here(
                format!("the network cannot start: {error}"),
                "another program may have the port: choose others with --p2p-port and --webrtc-port (0: any)",
            )
        })?;
        let node_loop = tokio::spawn(node_loop);
        let (reads, told) = (store.clone(), facts.clone());
        tokio::spawn(async move { reads.tell_lines(told).await });
        let folder = Arc::new(folder);
        let time = tokio::spawn(keep_time(folder.clone()));
        Ok(Self { handle, outside, facts, store, node_loop, executor, folder, time })
    }

    /// Lends what the configuration says.
    async fn lend(&self, config: &Config, lending: bool) {
        self.handle
            .set_provider(ProviderSettings {
                lending,
                cores: config.cores.value.count(),
                cpu_percent: config.cpu_percent.value.0,
                memory_mib: config.memory_mib.value,
                on_battery: false,
            })
            .await;
    }

    /// Says goodbye, ends workers, writes what is left.
    async fn stop(self) {
        let goodbye = async {
            self.handle.stop().await;
            // An error means that the loop panicked, which has been logged.
            let _ = self.node_loop.await;
        };
        if timeout(GOODBYE, goodbye).await.is_err() {
            tracing::warn!("the node did not say goodbye in time");
        }
        self.executor.stop();
        self.store.close().await;
        self.time.abort();
        keep_mark(&self.folder, &host::mark());
    }
}

/// Keeps what a restart needs to go on with the time, whenever the last mark does not tell it any more.
async fn keep_time(folder: Arc<DataFolder>) {
    let mut kept: Option<Mark> = None;
    loop {
        let mark = host::mark();
        if kept.as_ref().is_none_or(|kept| kept.is_old(&mark)) {
            let (folder, new) = (folder.clone(), mark.clone());
            // An error means that the process ends. What could not be kept is tried again.
            if let Ok(true) = tokio::task::spawn_blocking(move || keep_mark(&folder, &new)).await {
                kept = Some(mark);
            }
        }
        sleep(LOOK_AT_CLOCKS).await;
    }
}

/// Whether it is kept now.
fn keep_mark(folder: &DataFolder, mark: &Mark) -> bool {
    let kept = folder.keep_clock(mark);
    if let Err(error) = &kept {
        tracing::warn!(%error, "the time is not kept: the next start goes on by the wall clock");
    }
    kept.is_ok()
}

/// The certificate of the data folder, made at the first start.
fn certificate(folder: &DataFolder) -> Result<String, Failure> {
    if let Some(pem) = folder.certificate()? {
        return Ok(pem);
    }
    let pem = new_certificate().map_err(|error| Failure::here(error.to_string(), ""))?;
    folder.keep_certificate(&pem)?;
    Ok(pem)
}

/// Where libp2p listens.
fn options(host: IpAddr, p2p_port: u16, webrtc_port: u16, certificate: String, external: Vec<String>) -> Options {
    let interfaces = match host {
        // Everywhere means on IPv6 too, where there is any.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Options::default().interfaces,
        one @ (IpAddr::V4(_) | IpAddr::V6(_)) => vec![one],
    };
    Options {
        interfaces,
        tcp_port: Some(p2p_port),
        quic_port: Some(p2p_port),
        webrtc: Some(WebRtc { port: webrtc_port, certificate }),
        external,
        dialects: Dialects::default(),
    }
}

/// The port to use: the wanted one; for 0 the one of the last run if it is still free, else any free one.
fn choose_port(host: IpAddr, wanted: u16, last: u16, kind: PortKind) -> u16 {
    if wanted != 0 {
        return wanted;
    }
    if last != 0 && is_free(host, last, kind) {
        return last;
    }
    for _ in 0..64 {
        let port = match kind {
            PortKind::Udp => UdpSocket::bind((host, 0)).and_then(|socket| socket.local_addr()),
            PortKind::TcpAndUdp => TcpListener::bind((host, 0)).and_then(|socket| socket.local_addr()),
        }
        .map_or(0, |address| address.port());
        if port != 0 && is_free(host, port, kind) {
            return port;
        }
    }
    0
}

/// Which protocols must find a port free.
#[derive(Clone, Copy)]
enum PortKind {
    Udp,
    TcpAndUdp,
}

fn is_free(host: IpAddr, port: u16, kind: PortKind) -> bool {
    let udp = UdpSocket::bind((host, port)).is_ok();
    match kind {
        PortKind::Udp => udp,
        PortKind::TcpAndUdp => udp && TcpListener::bind((host, port)).is_ok(),
    }
}

/// Keeps the ports for the next start, which goes without them if need be.
fn keep_ports(folder: &DataFolder, ports: Ports) {
    if let Err(error) = folder.keep_ports(ports) {
        tracing::warn!(%error, "the ports are not kept: the next start may choose others where it may choose");
    }
}

fn open_folder(path: &Path) -> Result<DataFolder, Failure> {
    Ok(DataFolder::open(path)?)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // The sentence says what to do.
        Failure::here(error.to_string(), "")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn port_zero_finds_the_last_one_again_unless_it_is_taken() {
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(choose_port(host, 7, 8, PortKind::TcpAndUdp), 7);
        let first = choose_port(host, 0, 0, PortKind::TcpAndUdp);
        assert!(first != 0);
        assert_eq!(choose_port(host, 0, first, PortKind::TcpAndUdp), first);
        let _taken = UdpSocket::bind((host, first)).unwrap();
        assert_ne!(choose_port(host, 0, first, PortKind::TcpAndUdp), first);
    }
}

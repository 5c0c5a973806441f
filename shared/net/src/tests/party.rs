//! A node's links without the node: a test plays the node. The links run in a task of their own, as they do under the
//! loop: WebRTC's packets move only while they run.
#![expect(clippy::wildcard_enum_match_arm)]

use std::{
    net::Ipv4Addr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use libp2p::{Multiaddr, identity::Keypair};
use p2pnet_shared::{api::Path, id::NodeId, node::Input, units::Moment, wire::Message};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::{Options, Outside, WebRtc, links::Links, new_certificate, node_id, platform};

type Act = Box<dyn FnOnce(&mut Links) + Send>;

/// Running links, and the inputs that came of them.
pub(super) struct Party {
    pub me: NodeId,
    pub outside: Outside,
    acts: mpsc::UnboundedSender<Act>,
    inputs: mpsc::UnboundedReceiver<Input>,
    task: JoinHandle<()>,
    clock: fn() -> Moment,
}

/// When [`Party::in_stopped_time`] is.
pub(super) const STOPPED: Moment = Moment(1_000_000);

/// Nothing that a test waits for takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a native webrtc-direct handshake takes at most on a busy machine, if it does not hang.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A native webrtc-direct handshake hangs once in twenty-five times (see [`platform::can_dial`]), and what is left of
/// it spoils every further dial from the same socket.
const DIALLERS: u32 = 6;

/// Everything on 127.0.0.1 on any free port.
pub(super) fn everything() -> Options {
    Options {
        interfaces: vec![Ipv4Addr::LOCALHOST.into()],
        tcp_port: Some(0),
        quic_port: Some(0),
        webrtc: Some(WebRtc { port: 0, certificate: new_certificate().unwrap() }),
        external: Vec::new(),
        ..Options::default()
    }
}

pub(super) fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Moment(u64::try_from(since.as_millis()).unwrap())
}

/// Waits until both know of each other.
pub(super) async fn met(a: &mut Party, b: &mut Party) -> ((Path, &'static str), (Path, &'static str)) {
    let (a_me, b_me) = (a.me, b.me);
    tokio::join!(a.connected(b_me), b.connected(a_me))
}

/// A new party that reaches `listener` over webrtc-direct as a browser would, and what the two know of each other.
pub(super) async fn met_over_webrtc(
    seed: u8,
    listener: &mut Party,
) -> (Party, (Path, &'static str), (Path, &'static str)) {
    let address = listener.address("/webrtc-direct/").await.parse::<Multiaddr>().unwrap();
    for _ in 0..DIALLERS {
        let mut dialler = Party::new(seed, false, everything());
        // A WebRTC dial needs a socket of our own.
        dialler.address("/webrtc-direct/").await;
        let (node, to) = (listener.me, address.clone());
        dialler.act(move |links| links.dial_beside(node, to));
        if let Ok((from_dialler, from_listener)) = timeout(HANDSHAKE, met(&mut dialler, listener)).await {
            return (dialler, from_dialler, from_listener);
        }
        dialler.kill().await;
    }
    panic!("{DIALLERS} webrtc-direct handshakes in a row hung");
}

impl Party {
    pub(super) fn new(seed: u8, serve: bool, options: Options) -> Self {
        Self::with_clock(seed, serve, options, now)
    }

    /// For this one no time passes: whatever it does about others, it does for another reason than time.
    pub(super) fn in_stopped_time(seed: u8, options: Options) -> Self {
        Self::with_clock(seed, false, options, || STOPPED)
    }

    /// For this one, time passes fifteen times as fast.
    pub(super) fn in_fast_time(seed: u8, options: Options) -> Self {
        Self::with_clock(seed, false, options, || Moment(now().0 * 15))
    }

    fn with_clock(seed: u8, serve: bool, options: Options, clock: fn() -> Moment) -> Self {
        let secret = [seed; 32];
        let keypair = Keypair::ed25519_from_bytes(secret).unwrap();
        let me = node_id(secret).unwrap();
        let (swarm, outside, inside, external) = platform::open(&keypair, "test".to_owned(), serve, options).unwrap();
        let (acts, mut to_do) = mpsc::unbounded_channel::<Act>();
        let (report, inputs) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut links = Links::new(me, serve, swarm, inside, external);
            loop {
                links.maintain(clock());
                while let Some(input) = links.poll_input() {
                    _ = report.send(input);
                }
                tokio::select! {
                    happening = links.next() => links.handle(clock(), happening),
                    Some(act) = to_do.recv() => act(&mut links),
                    () = tokio::time::sleep(Duration::from_millis(100)) => {}
                }
            }
        });
        Self { me, outside, acts, inputs, task, clock }
    }

    /// Does something with the links, soon.
    pub(super) fn act(&self, act: impl FnOnce(&mut Links) + Send + 'static) {
        self.acts.send(Box::new(act)).ok().unwrap();
    }

    /// Does something with the links, and waits for what it gives.
    pub(super) async fn ask<T: Send + 'static>(&self, act: impl FnOnce(&mut Links) -> T + Send + 'static) -> T {
        let (answer, answered) = oneshot::channel();
        self.act(move |links| _ = answer.send(act(links)));
        timeout(PATIENCE, answered).await.expect("the links stood still for a minute").unwrap()
    }

    pub(super) fn dial(&self, node: NodeId, addresses: &[String]) {
        let (addresses, clock) = (addresses.to_vec(), self.clock);
        self.act(move |links| links.dial(clock(), node, &addresses));
    }

    pub(super) fn send(&self, to: NodeId, message: Message) {
        let clock = self.clock;
        self.act(move |links| links.send(clock(), to, &message));
    }

    /// The loop stands still until what this gives is dropped; connections stay open.
    pub(super) fn freeze(&self) -> std::sync::mpsc::Sender<()> {
        let (thaw, frozen) = std::sync::mpsc::channel();
        self.act(move |_| _ = frozen.recv());
        thaw
    }

    /// Everything breaks off, as when the process is killed.
    pub(super) async fn kill(self) {
        self.task.abort();
        _ = self.task.await;
    }

    pub(super) async fn input(&mut self) -> Input {
        timeout(PATIENCE, self.inputs.recv()).await.expect("nothing happened for a minute").unwrap()
    }

    /// Waits until an input is what `wanted` looks for.
    pub(super) async fn until<T>(&mut self, mut wanted: impl FnMut(Input) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.input().await) {
                return found;
            }
        }
    }

    pub(super) async fn connected(&mut self, whom: NodeId) -> (Path, &'static str) {
        self.until(|input| match input {
            Input::Connected { node, path, transport } if node == whom => Some((path, transport)),
            Input::DialFailed { node } if node == whom => panic!("the dial to {node} failed"),
            _ => None,
        })
        .await
    }

    pub(super) async fn gone(&mut self) -> NodeId {
        self.until(|input| match input {
            Input::Disconnected { node } => Some(node),
            _ => None,
        })
        .await
    }

    /// What a node says next, whoever else comes and goes meanwhile.
    pub(super) async fn received_from(&mut self, whom: NodeId) -> Message {
        self.until(|input| match input {
            Input::Received { from, message } if from == whom => Some(message),
            Input::Disconnected { node } if node == whom => panic!("{node} is gone"),
            _ => None,
        })
        .await
    }

    pub(super) async fn received(&mut self) -> Message {
        self.until(|input| match input {
            Input::Received { message, .. } => Some(message),
            Input::Disconnected { node } => panic!("{node} is gone"),
            _ => None,
        })
        .await
    }

    /// This node's address that holds `part`, once it listens there.
    pub(super) async fn address(&mut self, part: &str) -> String {
        let mut addresses = self.outside.addresses.clone();
        let all = addresses.wait_for(|all| all.iter().any(|address| address.contains(part))).await.unwrap();
        all.iter().find(|address| address.contains(part)).cloned().unwrap()
    }
}

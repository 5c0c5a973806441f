//! A node's links without the node: a test plays the node. The links run in a task of their own, as they do under the
//! loop: WebRTC's packets move only while they run.

use std::{
    net::Ipv4Addr,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use libp2p::identity::Keypair;
use p2pnet_shared::{api::Path, id::NodeId, node::Input, units::Moment, wire::Message};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{Options, Outside, WebRtc, links::Links, new_certificate, node_id, platform};

type Act = Box<dyn FnOnce(&mut Links) + Send>;

/// Running links, and the inputs that came of them.
pub struct Party {
    pub me: NodeId,
    pub outside: Outside,
    acts: mpsc::UnboundedSender<Act>,
    inputs: mpsc::UnboundedReceiver<Input>,
    dialled: Mutex<Vec<String>>,
    task: JoinHandle<()>,
}

/// libp2p-webrtc's native handshake hangs now and then on a loaded machine (3 of 40 runs) until it times out. A node
/// dials again; so does a party.
const REDIALS: u32 = 4;

/// Everything on 127.0.0.1 on any free port.
pub fn everything() -> Options {
    Options {
        interfaces: vec![Ipv4Addr::LOCALHOST.into()],
        tcp_port: Some(0),
        quic_port: Some(0),
        webrtc: Some(WebRtc { port: 0, certificate: new_certificate().unwrap() }),
        external: Vec::new(),
    }
}

pub fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Moment(u64::try_from(since.as_millis()).unwrap())
}

/// Waits until both know of each other.
pub async fn met(a: &mut Party, b: &mut Party) -> ((Path, &'static str), (Path, &'static str)) {
    let (a_me, b_me) = (a.me, b.me);
    tokio::join!(a.connected(b_me), b.connected(a_me))
}

impl Party {
    pub fn new(seed: u8, serve: bool, options: Options) -> Self {
        let secret = [seed; 32];
        let keypair = Keypair::ed25519_from_bytes(secret).unwrap();
        let me = node_id(secret).unwrap();
        let (swarm, outside, inside, external) = platform::open(&keypair, "test".to_owned(), serve, options).unwrap();
        let (acts, mut to_do) = mpsc::unbounded_channel::<Act>();
        let (report, inputs) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut links = Links::new(me, serve, swarm, inside, external);
            loop {
                links.maintain(now());
                while let Some(input) = links.poll_input() {
                    _ = report.send(input);
                }
                tokio::select! {
                    happening = links.next() => links.handle(now(), happening),
                    Some(act) = to_do.recv() => act(&mut links),
                    () = tokio::time::sleep(Duration::from_millis(100)) => {}
                }
            }
        });
        Self { me, outside, acts, inputs, dialled: Mutex::default(), task }
    }

    /// Does something with the links, soon.
    pub fn act(&self, act: impl FnOnce(&mut Links) + Send + 'static) {
        self.acts.send(Box::new(act)).ok().unwrap();
    }

    pub fn dial(&self, node: NodeId, addresses: &[String]) {
        let addresses = addresses.to_vec();
        self.dialled.lock().unwrap().clone_from(&addresses);
        self.act(move |links| links.dial(now(), node, &addresses));
    }

    pub fn send(&self, to: NodeId, message: Message) {
        self.act(move |links| links.send(now(), to, &message));
    }

    /// The loop stands still until what this gives is dropped; connections stay open.
    pub fn freeze(&self) -> std::sync::mpsc::Sender<()> {
        let (thaw, frozen) = std::sync::mpsc::channel();
        self.act(move |_| _ = frozen.recv());
        thaw
    }

    /// Everything breaks off, as when the process is killed.
    pub async fn kill(self) {
        self.task.abort();
        _ = self.task.await;
    }

    pub async fn input(&mut self) -> Input {
        self.inputs.recv().await.unwrap()
    }

    /// Waits until an input is what `wanted` looks for.
    pub async fn until<T>(&mut self, mut wanted: impl FnMut(Input) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.input().await) {
                return found;
            }
        }
    }

    pub async fn connected(&mut self, whom: NodeId) -> (Path, &'static str) {
        let mut redials = 0;
        loop {
            match self.input().await {
                Input::Connected { node, path, transport } if node == whom => return (path, transport),
                Input::DialFailed { node } if node == whom => {
                    redials += 1;
                    assert!(redials <= REDIALS, "dials to {node} failed");
                    let addresses = self.dialled.lock().unwrap().clone();
                    self.dial(whom, &addresses);
                }
                _ => {}
            }
        }
    }

    pub async fn gone(&mut self) -> NodeId {
        self.until(|input| match input {
            Input::Disconnected { node } => Some(node),
            _ => None,
        })
        .await
    }

    pub async fn received(&mut self) -> Message {
        self.until(|input| match input {
            Input::Received { message, .. } => Some(message),
            Input::Disconnected { node } => panic!("{node} is gone"),
            _ => None,
        })
        .await
    }

    /// This node's address that holds `part`, once it listens there.
    pub async fn address(&mut self, part: &str) -> String {
        let mut addresses = self.outside.addresses.clone();
        let all = addresses.wait_for(|all| all.iter().any(|address| address.contains(part))).await.unwrap();
        all.iter().find(|address| address.contains(part)).cloned().unwrap()
    }
}

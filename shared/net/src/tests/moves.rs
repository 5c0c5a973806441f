//! A better path appears between two nodes that a circuit joins: nothing that they say is lost, doubled or out of order.
#![expect(clippy::wildcard_enum_match_arm)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use libp2p::Multiaddr;
use p2pnet_shared::{
    api::Path,
    id::{AttemptId, Hash, NodeId},
    node::Input,
    wire::{Extensions, Message, Payload},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{
    circuits::join,
    party::{Party, everything, met},
};
use crate::Options;

/// Messages that each says to the other.
const MESSAGES: u64 = 1_000;
/// How many are under way at once.
const AHEAD: u64 = 40;

fn numbered(number: u64) -> Message {
    let len = usize::try_from(number * 7_919 % 40_000).unwrap();
    Message::Deliver {
        attempt: AttemptId(number),
        report: Payload::Inline(vec![7; len]),
        extensions: Extensions::default(),
    }
}

/// A part of a blob, which has a stream of its own.
fn part(number: u64) -> Message {
    Message::Chunk { hash: Hash([0; 32]), offset: number, total: 0, bytes: vec![5; 30_000] }
}

/// What one end hears.
#[derive(Default)]
struct Heard {
    next: u64,
    next_part: u64,
    moved: Option<(Path, &'static str)>,
}

impl Heard {
    fn take(&mut self, input: Input) {
        match input {
            Input::Received { message: Message::Deliver { attempt, .. }, .. } => {
                assert_eq!(attempt.0, self.next, "nothing is lost, doubled or out of order");
                self.next += 1;
            }
            Input::Received { message: Message::Chunk { offset, .. }, .. } => {
                assert_eq!(offset, self.next_part, "no part of a blob is, either");
                self.next_part += 1;
            }
            Input::Moved { path, transport, .. } => {
                assert!(self.moved.is_none());
                self.moved = Some((path, transport));
            }
            Input::Disconnected { node } => panic!("{node} is gone"),
            _ => {}
        }
    }
}

/// A seed, and two that know each other through its circuit. All listen. `older`: the first is of an older build.
async fn joined(older: bool) -> (Party, Party, Party) {
    let mut seed = Party::new(1, true, everything());
    let mut a = Party::new(2, false, everything());
    if older {
        a.act(|links| links.be_older());
    }
    let mut b = Party::new(3, false, everything());
    let address = seed.address("/tcp/").await;
    join(&mut a, &mut seed, &address).await;
    join(&mut b, &mut seed, &address).await;
    a.dial(b.me, &[]);
    let ((path, _), _) = met(&mut a, &mut b).await;
    assert_eq!(path, Path::Relayed { via: Some(seed.me) });
    (seed, a, b)
}

/// Dials one whom it knows through a circuit.
async fn dial_directly(from: &Party, to: &mut Party) {
    let address: Multiaddr = to.address("/tcp/").await.parse().unwrap();
    let node = to.me;
    from.act(move |links| links.dial_beside(node, address));
}

/// Both talk; in the middle something happens.
async fn talk(a: &mut Party, b: &mut Party, middle: impl AsyncFnOnce(&mut Party, &mut Party)) -> (Heard, Heard) {
    let (mut at_a, mut at_b) = (Heard::default(), Heard::default());
    let (mut by_a, mut by_b) = (0, 0);
    let mut middle = Some(middle);
    let is_over = |at: &Heard| at.next == MESSAGES && at.next_part == MESSAGES;
    while !is_over(&at_a) || !is_over(&at_b) {
        while by_a < MESSAGES.min(at_b.next.min(at_b.next_part) + AHEAD) {
            a.send(b.me, numbered(by_a));
            a.send(b.me, part(by_a));
            by_a += 1;
        }
        while by_b < MESSAGES.min(at_a.next.min(at_a.next_part) + AHEAD) {
            b.send(a.me, numbered(by_b));
            b.send(a.me, part(by_b));
            by_b += 1;
        }
        if at_a.next > MESSAGES / 4
            && let Some(middle) = middle.take()
        {
            middle(a, b).await;
        }
        tokio::select! {
            input = a.input() => at_a.take(input),
            input = b.input() => at_b.take(input),
        }
    }
    (at_a, at_b)
}

/// Waits until a party has so few connections.
async fn has_connections(party: &Party, few: usize) {
    for _ in 0..100 {
        if party.ask(|links| links.connections()).await == few {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it still has {} connections", party.ask(|links| links.connections()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_connection_takes_over_from_a_circuit_in_the_middle_of_everything() {
    let (_seed, mut a, mut b) = joined(false).await;
    let (at_a, at_b) = talk(&mut a, &mut b, async |a, b| dial_directly(a, b).await).await;
    assert_eq!((at_a.moved, at_b.moved), (Some((Path::Direct, "tcp")), Some((Path::Direct, "tcp"))));
    // The other one is to the seed.
    has_connections(&a, 2).await;
    has_connections(&b, 2).await;
    let (at_a, at_b) = talk(&mut a, &mut b, async |_, _| {}).await;
    assert_eq!((at_a.moved, at_b.moved), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_dial_each_other_directly_at_once_lose_nothing_either() {
    let (_seed, mut a, mut b) = joined(false).await;
    let both = async |a: &mut Party, b: &mut Party| {
        dial_directly(a, b).await;
        dial_directly(b, a).await;
    };
    let (mut at_a, mut at_b) = talk(&mut a, &mut b, both).await;
    // On a busy machine all may be said before they have.
    while at_a.moved.is_none() || at_b.moved.is_none() {
        tokio::select! {
            input = a.input() => at_a.take(input),
            input = b.input() => at_b.take(input),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_joined_to_one_of_an_older_build_stays_where_it_is_and_both_are_understood() {
    let (_seed, mut a, mut b) = joined(true).await;
    let (at_a, at_b) = talk(&mut a, &mut b, async |a, b| dial_directly(a, b).await).await;
    assert_eq!((at_a.moved, at_b.moved), (None, None));
}

/// Something between a node and its seed. It lets all through, until what comes from the node is held back, or it breaks.
struct Between {
    port: u16,
    holds: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Between {
    async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let holds = Arc::new(AtomicBool::new(false));
        let held = holds.clone();
        let task = tokio::spawn(async move {
            let (node, _) = listener.accept().await.unwrap();
            let seed = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (mut from_node, mut to_node) = node.into_split();
            let (mut from_seed, mut to_seed) = seed.into_split();
            let back = tokio::io::copy(&mut from_seed, &mut to_node);
            let forth = async {
                let mut bytes = [0; 1 << 12];
                loop {
                    if held.load(Ordering::Relaxed) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        continue;
                    }
                    let len = from_node.read(&mut bytes).await.unwrap_or(0);
                    if len == 0 || to_seed.write_all(&bytes[..len]).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                _ = back => {}
                () = forth => {}
            }
        });
        Self { port: own, holds, task }
    }
}

/// As [`joined`], with something between the first and the seed.
async fn joined_through(b: &mut Party) -> (Party, Party, Between) {
    let mut seed = Party::new(1, true, everything());
    let mut a = Party::new(2, false, Options::default());
    let address = seed.address("/tcp/").await;
    let between = Between::before(address.split('/').nth(4).unwrap().parse().unwrap()).await;
    let through = format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", between.port, seed.me);
    join(&mut a, &mut seed, &through).await;
    join(b, &mut seed, &address).await;
    a.dial(b.me, &[]);
    let ((path, _), _) = met(&mut a, b).await;
    assert_eq!(path, Path::Relayed { via: Some(seed.me) });
    (seed, a, between)
}

/// Waits until a party is told that the other is gone, and that it is back.
async fn gone_and_back(party: &mut Party, whom: NodeId) {
    while party.gone().await != whom {}
    assert_eq!(party.connected(whom).await.0, Path::Direct);
}

/// What is said from now on arrives.
async fn understand_each_other(a: &mut Party, b: &mut Party) {
    for number in 5_000..5_100 {
        a.send(b.me, numbered(number));
        b.send(a.me, numbered(number));
    }
    for number in 5_000..5_100 {
        assert_eq!(later(a, b.me).await, numbered(number));
        assert_eq!(later(b, a.me).await, numbered(number));
    }
}

/// The next of what was said since; what was on its way before may still come.
async fn later(party: &mut Party, whom: NodeId) -> Message {
    loop {
        let message = party.received_from(whom).await;
        if !matches!(message, Message::Deliver { attempt, .. } if attempt.0 < 5_000) {
            return message;
        }
    }
}

async fn moved(party: &mut Party) {
    party.until(|input| matches!(input, Input::Moved { .. }).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_connection_that_dies_in_the_middle_of_the_move_is_a_break_for_both() {
    let mut b = Party::new(3, false, everything());
    let (_seed, mut a, between) = joined_through(&mut b).await;
    between.holds.store(true, Ordering::Relaxed);
    for number in 0..10 {
        a.send(b.me, numbered(number));
    }
    dial_directly(&a, &mut b).await;
    tokio::join!(moved(&mut a), moved(&mut b));
    // On the new path, and not to be heard before what is held back.
    a.send(b.me, numbered(10));
    between.task.abort();
    let (a_me, b_me) = (a.me, b.me);
    tokio::join!(gone_and_back(&mut a, b_me), gone_and_back(&mut b, a_me));
    understand_each_other(&mut a, &mut b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_stream_that_never_ends_holds_the_new_one_back_for_a_while_and_costs_little() {
    let mut b = Party::in_fast_time(3, everything());
    let (_seed, mut a, between) = joined_through(&mut b).await;
    between.holds.store(true, Ordering::Relaxed);
    a.send(b.me, numbered(0));
    dial_directly(&a, &mut b).await;
    tokio::join!(moved(&mut a), moved(&mut b));
    let large = Message::Deliver {
        attempt: AttemptId(0),
        report: Payload::Inline(vec![7; 1 << 19]),
        extensions: Extensions::default(),
    };
    for _ in 0..32 {
        a.send(b.me, large.clone());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let to = b.me;
    let waits = a.ask(move |links| links.queued(to)).await;
    assert!(waits > 8 << 20, "only {waits} of 16 MiB wait with who sends them");
    let (a_me, b_me) = (a.me, b.me);
    tokio::join!(gone_and_back(&mut a, b_me), gone_and_back(&mut b, a_me));
    understand_each_other(&mut a, &mut b).await;
}

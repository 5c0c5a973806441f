//! Two ends and the connections between them, in an order that chance makes: each end hears of everything late, readers
//! and writers run at their own pace, connections come and die at any moment. What the two nodes hear of each other is
//! checked against what was said.
#![expect(clippy::wildcard_enum_match_arm)]

use std::collections::{BTreeMap, VecDeque};

use p2pnet_shared::id::Hash;

use super::{
    super::{Beginning, First, Made, Order, Paths},
    NODE, OTHER, VIA, hello, id,
};
use crate::limits;
use libp2p::swarm::ConnectionId;
use p2pnet_shared::{api::Path, units::Moment, wire::Message};

/// A number in the place of a name.
fn number(number: u64) -> Hash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    Hash(hash)
}

#[derive(Clone, Debug)]
enum Frame {
    Message(Message),
    End(bool),
    Begins(Beginning),
    GoesOn(u64),
}

/// One direction of a connection.
#[derive(Default)]
struct Stream {
    /// On their way.
    frames: VecDeque<Frame>,
    offered: bool,
    accepted: bool,
    taken: bool,
    began: bool,
    go: bool,
    /// It was read up to its end, and that was taken in.
    whole: bool,
    acknowledged: bool,
    told: bool,
}

/// A connection.
struct Line {
    direct: bool,
    alive: bool,
    /// What each end knows.
    connected: [bool; 2],
    opened: [bool; 2],
    closed: [bool; 2],
    /// From each end.
    streams: [Stream; 2],
    /// The same for parts of blobs, and what waits until that is open.
    blobs: [Stream; 2],
    waiting: [Option<Vec<Frame>>; 2],
}

/// A node and its end.
#[derive(Default)]
struct End {
    paths: Paths,
    connected: bool,
    breaks: u32,
    moves: u32,
    /// What it said last: how often it had greeted, and how many messages followed.
    said: (u64, u64),
    /// The same of what it heard, in this session.
    heard: Option<(u64, u64)>,
    /// The last part of a blob that it sent, and that it got.
    sent: u64,
    got: u64,
    parts: u64,
}

struct World {
    ends: [End; 2],
    lines: BTreeMap<ConnectionId, Line>,
    chance: u64,
    now: u64,
    most_lines: usize,
    deaths: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    Connected(ConnectionId, usize),
    Opened(ConnectionId, usize),
    Accepted(ConnectionId, usize),
    Frame(ConnectionId, usize),
    Acknowledged(ConnectionId, usize),
    Closed(ConnectionId, usize),
    BlobsOpened(ConnectionId, usize),
    BlobsAccepted(ConnectionId, usize),
    Part(ConnectionId, usize),
    BlobsAcknowledged(ConnectionId, usize),
    Send(usize),
    Die(ConnectionId),
    Restart(usize),
    Say(usize),
}

impl World {
    fn new(seed: u64, most_lines: usize, deaths: bool) -> Self {
        let chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { ends: Default::default(), lines: BTreeMap::new(), chance, now: 1_000, most_lines, deaths }
    }

    fn below(&mut self, end: usize) -> usize {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        usize::try_from(self.chance >> 33).unwrap() % end
    }

    /// All that can happen next. `calm`: nothing new.
    fn steps(&self, calm: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        if !calm {
            steps.extend((0..2).flat_map(|end| [Step::Say(end), Step::Send(end)]));
            if self.deaths {
                steps.extend((0..2).map(Step::Restart));
            }
            if self.lines.len() < self.most_lines {
                steps.push(Step::Connect);
            }
        }
        for (id, line) in &self.lines {
            if !calm && self.deaths && line.alive {
                steps.push(Step::Die(*id));
            }
            for end in 0..2 {
                if line.closed[end] || (!line.connected[end] && !line.alive) {
                    continue;
                }
                if !line.connected[end] {
                    steps.push(Step::Connected(*id, end));
                    continue;
                }
                if !line.alive {
                    steps.push(Step::Closed(*id, end));
                }
                // The stream that comes is the other end's.
                let incoming = &line.streams[1 - end];
                if line.alive && !line.opened[end] && line.connected[1 - end] {
                    steps.push(Step::Opened(*id, end));
                }
                if incoming.offered && !incoming.accepted {
                    steps.push(Step::Accepted(*id, end));
                }
                let waits = incoming.began && !incoming.go;
                if incoming.taken && !waits && !incoming.whole && !incoming.frames.is_empty() {
                    steps.push(Step::Frame(*id, end));
                }
                if line.alive && line.streams[end].acknowledged && !line.streams[end].told {
                    steps.push(Step::Acknowledged(*id, end));
                }
                let incoming = &line.blobs[1 - end];
                if line.alive && line.waiting[end].is_some() && !line.blobs[end].offered {
                    steps.push(Step::BlobsOpened(*id, end));
                }
                if incoming.offered && !incoming.accepted {
                    steps.push(Step::BlobsAccepted(*id, end));
                }
                let waits = incoming.began && !incoming.go;
                if incoming.taken && !waits && !incoming.whole && !incoming.frames.is_empty() {
                    steps.push(Step::Part(*id, end));
                }
                if line.alive && line.blobs[end].acknowledged && !line.blobs[end].told {
                    steps.push(Step::BlobsAcknowledged(*id, end));
                }
            }
        }
        steps
    }

    fn take(&mut self, step: Step) {
        self.now += 1;
        let now = Moment(self.now);
        match step {
            Step::Connect => {
                let direct = self.below(2) == 0;
                let number = self.lines.len() + 1;
                let line = Line {
                    direct,
                    alive: true,
                    connected: [false; 2],
                    opened: [false; 2],
                    closed: [false; 2],
                    streams: Default::default(),
                    blobs: Default::default(),
                    waiting: Default::default(),
                };
                self.lines.insert(id(number), line);
            }
            Step::Connected(id, end) => {
                let line = self.lines.get_mut(&id).unwrap();
                line.connected[end] = true;
                let (path, transport) = if line.direct { (Path::Direct, "tcp") } else { (VIA, "circuit") };
                // Nobody dials twice in the same way: that is another story.
                let made = Made { node: [OTHER, NODE][end], path, transport, inbound: false };
                self.ends[end].paths.connected(id, made);
            }
            Step::Opened(id, end) => {
                let line = self.lines.get_mut(&id).unwrap();
                line.opened[end] = true;
                line.streams[end].offered = true;
                self.ends[end].paths.opened(id, true);
                self.ends[end].paths.announce(now, [OTHER, NODE][end]);
            }
            Step::Accepted(id, end) => {
                let taken = self.ends[end].paths.accepted(id);
                let stream = &mut self.lines.get_mut(&id).unwrap().streams[1 - end];
                (stream.accepted, stream.taken) = (true, taken);
            }
            Step::Frame(id, end) => {
                let stream = &mut self.lines.get_mut(&id).unwrap().streams[1 - end];
                let first = !std::mem::replace(&mut stream.began, true);
                let paths = &mut self.ends[end].paths;
                if first {
                    let first = match stream.frames.front().unwrap() {
                        Frame::Begins(_) => First::Begins,
                        Frame::GoesOn(beginning) => First::GoesOn(*beginning),
                        Frame::Message(_) | Frame::End(_) => First::Message,
                    };
                    if let First::GoesOn(_) = first {
                        stream.frames.pop_front();
                    }
                    paths.began(now, id, first);
                } else {
                    match stream.frames.pop_front().unwrap() {
                        Frame::Message(message) => paths.received(now, id, message),
                        Frame::Begins(beginning) => paths.begins(now, id, beginning),
                        Frame::GoesOn(_) => panic!("a stream goes on in its middle"),
                        Frame::End(blobs) => {
                            stream.whole = true;
                            paths.ended(now, id, blobs);
                        }
                    }
                }
            }
            Step::Acknowledged(id, end) => {
                self.lines.get_mut(&id).unwrap().streams[end].told = true;
                self.ends[end].paths.acknowledged(id);
            }
            Step::Closed(id, end) => {
                self.lines.get_mut(&id).unwrap().closed[end] = true;
                self.ends[end].paths.closed(now, id);
            }
            Step::BlobsOpened(id, end) => {
                let stays = self.ends[end].paths.blobs_opened(id);
                let line = self.lines.get_mut(&id).unwrap();
                line.blobs[end].offered = true;
                let waiting = line.waiting[end].replace(Vec::new()).unwrap();
                assert!(stays || waiting.is_empty(), "what waited has moved");
                let end_of_all = if stays { None } else { Some(Frame::End(false)) };
                line.blobs[end].frames.extend(waiting.into_iter().chain(end_of_all));
            }
            Step::BlobsAccepted(id, end) => {
                let taken = self.ends[end].paths.accepted(id);
                let stream = &mut self.lines.get_mut(&id).unwrap().blobs[1 - end];
                (stream.accepted, stream.taken) = (true, taken);
            }
            Step::Part(id, end) => {
                let stream = &mut self.lines.get_mut(&id).unwrap().blobs[1 - end];
                let paths = &mut self.ends[end].paths;
                if !std::mem::replace(&mut stream.began, true) {
                    paths.blobs_began(id);
                } else {
                    match stream.frames.pop_front().unwrap() {
                        Frame::Message(message) => paths.blob(id, message),
                        Frame::End(_) => {
                            stream.whole = true;
                            paths.blobs_ended(id);
                        }
                        other => panic!("{other:?} among blobs"),
                    }
                }
            }
            Step::BlobsAcknowledged(id, end) => {
                self.lines.get_mut(&id).unwrap().blobs[end].told = true;
                self.ends[end].paths.blobs_acknowledged(id);
            }
            Step::Send(end) => {
                if self.ends[end].connected && self.ends[end].heard.is_some() {
                    self.ends[end].sent += 1;
                    let part = Message::Unknown { hash: number(self.ends[end].sent) };
                    let active = self.ends[end].paths.active([OTHER, NODE][end]).unwrap();
                    self.send(active, end, Frame::Message(part));
                }
            }
            Step::Die(id) => self.die(id),
            Step::Restart(end) => {
                let ids: Vec<_> = self.lines.keys().copied().collect();
                for id in ids {
                    self.die(id);
                    self.lines.get_mut(&id).unwrap().closed[end] = true;
                }
                let said = (self.ends[end].said.0, 0);
                self.ends[end] = End { said, sent: self.ends[end].sent, ..End::default() };
            }
            Step::Say(end) => {
                if self.ends[end].connected {
                    let (session, number) = self.ends[end].said;
                    self.ends[end].said = (session, number + 1);
                    self.say(
                        end,
                        Message::Chunk { hash: Hash([0; 32]), offset: number + 1, total: session, bytes: vec![] },
                    );
                }
            }
        }
        self.carry_out();
    }

    /// What was on its way may be lost from some point on.
    fn die(&mut self, id: ConnectionId) {
        for end in 0..2 {
            let len = self.lines[&id].streams[end].frames.len();
            let left = self.below(len + 1);
            self.lines.get_mut(&id).unwrap().streams[end].frames.truncate(left);
            let len = self.lines[&id].blobs[end].frames.len();
            let left = self.below(len + 1);
            self.lines.get_mut(&id).unwrap().blobs[end].frames.truncate(left);
        }
        self.lines.get_mut(&id).unwrap().alive = false;
    }

    fn say(&mut self, end: usize, message: Message) {
        let Some(active) = self.ends[end].paths.active([OTHER, NODE][end]) else { return };
        self.ends[end].paths.said(active);
        self.put(active, end, Frame::Message(message));
    }

    /// Sends a part of a blob, or waits until that can be sent.
    fn send(&mut self, id: ConnectionId, end: usize, frame: Frame) {
        let line = self.lines.get_mut(&id).unwrap();
        if !line.blobs[end].offered {
            line.waiting[end].get_or_insert_default().push(frame);
        } else if line.alive {
            assert!(!matches!(line.blobs[end].frames.back(), Some(Frame::End(_))), "something is sent behind the end");
            line.blobs[end].frames.push_back(frame);
        }
    }

    /// Ends what is said on a connection. Parts that wait there go where the end speaks now.
    fn end(&mut self, id: ConnectionId, end: usize, blobs: bool) {
        self.put(id, end, Frame::End(blobs));
        let line = self.lines.get_mut(&id).unwrap();
        let waiting = line.waiting[end].as_mut().map(std::mem::take).unwrap_or_default();
        if blobs {
            self.send(id, end, Frame::End(blobs));
        }
        let active = self.ends[end].paths.active([OTHER, NODE][end]).unwrap();
        for frame in waiting {
            self.send(active, end, frame);
        }
    }

    fn put(&mut self, id: ConnectionId, end: usize, frame: Frame) {
        let line = self.lines.get_mut(&id).unwrap();
        let frames = &mut line.streams[end].frames;
        assert!(!matches!(frames.back(), Some(Frame::End(_))), "something is said behind the end");
        if line.alive {
            frames.push_back(frame);
        }
    }

    fn carry_out(&mut self) {
        for end in 0..2 {
            while let Some(order) = self.ends[end].paths.poll_order() {
                self.obey(end, order);
            }
        }
    }

    fn obey(&mut self, end: usize, order: Order) {
        match order {
            Order::Connected { .. } => {
                let it = &mut self.ends[end];
                assert!(!it.connected);
                (it.connected, it.heard) = (true, None);
                it.said = (it.said.0 + 1, 0);
                let greeting = hello(it.said.0);
                self.say(end, greeting);
            }
            Order::Disconnected { node } => {
                let it = &mut self.ends[end];
                assert!(it.connected);
                it.connected = false;
                it.breaks += 1;
                it.paths.announce(Moment(self.now), node);
            }
            Order::Moved { .. } => {
                assert!(self.ends[end].connected);
                self.ends[end].moves += 1;
            }
            Order::Received { message, .. } => self.ends[end].hear(&message),
            Order::Listen(id) => {
                let line = self.lines.get_mut(&id).unwrap();
                for stream in [&mut line.streams[1 - end], &mut line.blobs[1 - end]] {
                    stream.taken = stream.accepted;
                }
            }
            Order::Read(id) => self.lines.get_mut(&id).unwrap().streams[1 - end].go = true,
            Order::Acknowledge(id) => self.lines.get_mut(&id).unwrap().streams[1 - end].acknowledged = true,
            Order::ReadBlobs(id) => self.lines.get_mut(&id).unwrap().blobs[1 - end].go = true,
            Order::AcknowledgeBlobs(id) => self.lines.get_mut(&id).unwrap().blobs[1 - end].acknowledged = true,
            Order::SayBegins(id, beginning) => self.put(id, end, Frame::Begins(beginning)),
            Order::SayGoesOn(id, beginning) => self.put(id, end, Frame::GoesOn(beginning)),
            Order::End { id, blobs } => self.end(id, end, blobs),
            Order::Close(id) => self.die(id),
        }
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            let possible = self.steps(false);
            // Deaths are rarer than what they interrupt.
            let step = possible[self.below(possible.len())];
            let rarity = match step {
                Step::Die(_) => 12,
                Step::Restart(_) => 40,
                _ => 1,
            };
            if self.below(rarity) == 0 {
                self.take(step);
            }
        }
        // Whoever still waits when nothing happens any more waits for what will never come.
        let mut patience = 3;
        loop {
            let possible = self.steps(true);
            if !possible.is_empty() {
                let step = possible[self.below(possible.len())];
                self.take(step);
            } else if patience > 0 {
                patience -= 1;
                self.now += limits::MOVE_QUIET.0;
                for end in &mut self.ends {
                    end.paths.tick(Moment(self.now));
                }
                self.carry_out();
            } else {
                return;
            }
        }
    }

    fn is_linked(&self) -> bool {
        self.lines.values().any(|line| line.alive && line.opened == [true; 2])
    }
}

impl End {
    fn hear(&mut self, message: &Message) {
        assert!(self.connected, "something is heard of one who is not there");
        match message {
            Message::Hello { session, .. } => {
                self.heard = Some((*session, 0));
            }
            Message::Chunk { total: session, offset: number, .. } => {
                let (of, last) = self.heard.expect("Hello comes first");
                assert_eq!((*session, *number), (of, last + 1), "nothing is lost, doubled or out of order");
                self.heard = Some((of, *number));
            }
            Message::Unknown { hash } => {
                let got = u64::from_be_bytes(hash.0[..8].try_into().unwrap());
                assert!(got > self.got, "no part is doubled or out of order");
                self.got = got;
                self.parts += 1;
            }
            other => panic!("{other:?} was never said"),
        }
    }
}

#[test]
fn whatever_comes_and_goes_two_ends_hear_all_or_both_know_of_a_break() {
    let (mut breaks, mut moves) = (0, 0);
    for seed in 1..4_000 {
        let mut world = World::new(seed, 6, true);
        world.run(200);
        let [a, b] = &world.ends;
        assert_eq!((a.connected, b.connected), (world.is_linked(), world.is_linked()), "with {seed}");
        if world.is_linked() {
            assert_eq!((a.heard, b.heard), (Some(b.said), Some(a.said)), "with {seed}");
        }
        breaks += a.breaks + b.breaks;
        moves += a.moves + b.moves;
    }
    assert!(breaks > 4_000 && moves > 1_000, "{breaks} breaks, {moves} moves");
}

#[test]
fn where_nothing_dies_every_move_loses_nothing_and_leaves_one_connection_of_those_it_replaces() {
    let mut moves = 0;
    for seed in 1..4_000 {
        let mut world = World::new(seed, 2, false);
        world.run(100);
        let [a, b] = &world.ends;
        assert_eq!((a.breaks, b.breaks), (0, 0), "with {seed}");
        if a.connected || b.connected {
            assert_eq!((a.heard, b.heard), (Some(b.said), Some(a.said)), "with {seed}");
            assert_eq!((a.parts, b.parts), (b.sent, a.sent), "no part of a blob is lost with {seed}");
        }
        if a.moves + b.moves == 2 {
            assert_eq!(world.lines.values().filter(|line| line.alive).count(), 1, "with {seed}");
            moves += 1;
        }
    }
    assert!(moves > 200, "only {moves} moves");
}

//! The two tasks of a connection: one reads frames into messages, one writes frames out, many in one write.
//!
//! Between messages there may be marks, which the links of two nodes say to each other: a frame of length 0, followed by
//! one byte that counts those of the mark.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
};
use libp2p::swarm::ConnectionId;
use p2pnet_shared::wire::{self, Message, Version, WireError};

use crate::{
    limits,
    links::{Beginning, First},
};

/// Bytes of the length that precedes a frame.
const PREFIX: usize = 4;

/// The two streams of a connection, of each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// For all that is said.
    Words,
    /// For parts of blobs, which keep nothing waiting that is said.
    Blobs,
}

impl Lane {
    /// The lane in which a message is sent, where the other side has both.
    pub(crate) fn of(message: &Message) -> Self {
        if let Message::Chunk { .. } = message { Self::Blobs } else { Self::Words }
    }
}

/// What the links of two nodes say to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// This was the last: nothing comes after it in this stream. What follows is said on another connection. `blobs`: there
    /// is a stream for blobs besides, which has an end of its own.
    End {
        /// Whether there is.
        blobs: bool,
    },
    /// First in a stream: it goes on with what was said on another connection up to its [`Mark::End`], since that
    /// beginning.
    GoesOn(u64),
    /// The node begins anew, with Hello.
    Begins(Beginning),
}

impl Mark {
    /// The mark's number, and what it says besides.
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::End { blobs } => vec![0, u8::from(blobs)],
            Self::GoesOn(beginning) => {
                let mut bytes = vec![1];
                bytes.extend(beginning.to_be_bytes());
                bytes
            }
            Self::Begins(Beginning { mine, yours, lost }) => {
                let mut bytes = vec![2];
                bytes.extend(mine.to_be_bytes());
                bytes.extend(yours.to_be_bytes());
                bytes.push(u8::from(lost));
                bytes
            }
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let (number, rest) = bytes.split_first().ok_or(WireError::Malformed)?;
        let mut words = rest.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_be_bytes);
        match (number, rest.len(), words.next(), words.next()) {
            (0, 1, None, None) => match rest {
                [blobs @ (0 | 1)] => Ok(Self::End { blobs: *blobs == 1 }),
                _ => Err(WireError::Malformed),
            },
            (1, 8, Some(beginning), None) => Ok(Self::GoesOn(beginning)),
            (2, 17, Some(mine), Some(yours)) => match rest.last() {
                Some(lost @ (0 | 1)) => Ok(Self::Begins(Beginning { mine, yours, lost: *lost == 1 })),
                Some(_) | None => Err(WireError::Malformed),
            },
            _ => Err(WireError::Malformed),
        }
    }
}

/// A frame without its length.
enum Frame {
    Message(Vec<u8>),
    Mark(Mark),
}

impl Frame {
    /// How many bytes it takes on the way.
    fn len(&self) -> usize {
        PREFIX
            + match self {
                Self::Message(bytes) => bytes.len(),
                Self::Mark(mark) => 1 + mark.bytes().len(),
            }
    }
}

/// What a frame says.
#[derive(Debug)]
enum Said {
    Message(Message),
    Mark(Mark),
}

/// What the tasks tell the loop.
#[derive(Debug)]
pub(crate) enum LinkFact {
    /// The first frame came, and waits.
    Began(First),
    /// A message came.
    Received(Message),
    /// [`Mark::Begins`] came.
    Begins(Beginning),
    /// [`Mark::End`] came. That it was read is not acknowledged yet.
    Whole {
        /// Whether there is a stream for blobs besides.
        blobs: bool,
    },
    /// The other side has read our stream up to [`Mark::End`].
    Acknowledged,
    /// A frame came that is no message.
    Garbled,
    /// The stream ended or broke, or the other side broke a bound: the connection is of no more use.
    Ended(Ending),
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The other side closed it, or the connection broke.
    Closed,
    /// A frame longer than the protocol allows was announced.
    TooLong,
    /// Too many frames were no messages.
    Garbled,
    /// It is a node of the first version whose messages or kernels are not ours.
    OtherVersion,
}

/// A link fact, its connection, and in which of its streams.
pub(crate) type LinkEvent = ((ConnectionId, Lane), LinkFact);

/// How much waits at a writer and how much it has written.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    queued: AtomicUsize,
    written: AtomicU64,
}

/// The loop's end of a writing task.
pub(crate) struct Outgoing {
    version: Version,
    frames: mpsc::UnboundedSender<Frame>,
    meter: Arc<Meter>,
}

/// What a writing task needs.
pub(crate) struct Queue {
    frames: mpsc::UnboundedReceiver<Frame>,
    meter: Arc<Meter>,
}

/// The loop's end of a reading task.
pub(crate) struct Reader {
    go: Option<oneshot::Sender<()>>,
    acknowledge: Option<oneshot::Sender<()>>,
}

/// What a reading task waits for.
pub(crate) struct Gate {
    go: oneshot::Receiver<()>,
    acknowledge: oneshot::Receiver<()>,
}

impl Reader {
    /// An end for the loop and what [`read`] needs.
    pub(crate) fn new() -> (Self, Gate) {
        let (go, gone) = oneshot::channel();
        let (acknowledge, acknowledged) = oneshot::channel();
        (Self { go: Some(go), acknowledge: Some(acknowledge) }, Gate { go: gone, acknowledge: acknowledged })
    }

    /// Lets it read beyond the first frame.
    pub(crate) fn go(&mut self) {
        // An error means that the task is over.
        let _ = self.go.take().map(|go| go.send(()));
    }

    /// Lets the other side know that its stream was read up to [`Mark::End`].
    pub(crate) fn acknowledge(&mut self) {
        let _ = self.acknowledge.take().map(|acknowledge| acknowledge.send(()));
    }
}

impl Outgoing {
    /// An end for the loop, of a stream in this version, and what [`write`] needs. The queue's bound is in bytes and the loop's to keep: it asks
    /// [`Outgoing::queued`] before it sends.
    pub(crate) fn new(version: Version) -> (Self, Queue) {
        let (sender, frames) = mpsc::unbounded();
        let meter = Arc::new(Meter::default());
        (Self { version, frames: sender, meter: meter.clone() }, Queue { frames, meter })
    }

    /// How messages are written to it.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Bytes that wait.
    pub(crate) fn queued(&self) -> usize {
        self.meter.queued.load(Ordering::Relaxed)
    }

    /// Bytes that the connection has taken since it was opened.
    pub(crate) fn written(&self) -> u64 {
        self.meter.written.load(Ordering::Relaxed)
    }

    /// Puts a message's frame (without its length) behind what waits; `false` when the writer is gone.
    pub(crate) fn send(&self, frame: Vec<u8>) -> bool {
        self.put(Frame::Message(frame))
    }

    /// Puts a mark behind what waits; after [`Mark::End`] nothing more is written. `false` when the writer is gone.
    pub(crate) fn mark(&self, mark: Mark) -> bool {
        self.put(Frame::Mark(mark))
    }

    fn put(&self, frame: Frame) -> bool {
        self.meter.queued.fetch_add(frame.len(), Ordering::Relaxed);
        self.frames.unbounded_send(frame).is_ok()
    }
}

/// Writes frames until the loop drops its [`Outgoing`] or the stream breaks; or up to [`Mark::End`], and then waits until
/// the other side has read that.
pub(crate) async fn write(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    Queue { mut frames, meter }: Queue,
    line: (ConnectionId, Lane),
    mut facts: mpsc::Sender<LinkEvent>,
) {
    let mut batch = Vec::new();
    let mut ends = false;
    while !ends && let Some(frame) = frames.next().await {
        batch.clear();
        ends = append(&mut batch, &frame);
        while !ends && batch.len() < limits::WRITE_BATCH {
            match frames.next().now_or_never() {
                Some(Some(frame)) => ends = append(&mut batch, &frame),
                Some(None) | None => break,
            }
        }
        if write_metered(&mut stream, &batch, &meter).await.is_err() {
            let _ = facts.send((line, LinkFact::Ended(Ending::Closed))).await;
            return;
        }
        if batch.capacity() > 4 * limits::WRITE_BATCH {
            batch = Vec::new();
        }
    }
    let _ = stream.close().await;
    if ends {
        // The other side closes its half when it has read ours. If the connection breaks instead, that shows elsewhere.
        let _ = stream.read(&mut [0]).await;
        let _ = facts.send((line, LinkFact::Acknowledged)).await;
    }
}

/// Reads frames until the stream ends or the loop is gone. Waits after the first until the loop lets it go on, and while
/// the loop is behind.
pub(crate) async fn read(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    version: Version,
    gate: Gate,
    line: (ConnectionId, Lane),
    mut facts: mpsc::Sender<LinkEvent>,
) {
    let mut chunk = vec![0; limits::READ_CHUNK];
    let mut pending = Pending::default();
    let (mut garbled, mut unknown) = (0, 0);
    let mut go = Some(gate.go);
    let is_blobs = line.1 == Lane::Blobs;
    let ending = 'ending: loop {
        let len = match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break Ending::Closed,
            Ok(len) => len,
        };
        pending.bytes.extend_from_slice(&chunk[..len]);
        loop {
            let said = match pending.next(version) {
                Ok(Some(said)) => Some(said),
                Ok(None) => break,
                // Of a later build, which may say more than we know.
                Err(WireError::UnknownKind) => {
                    unknown += 1;
                    if unknown > limits::UNKNOWN_FRAMES {
                        break 'ending Ending::Garbled;
                    }
                    continue;
                }
                Err(WireError::TooLong(_)) => break 'ending Ending::TooLong,
                Err(WireError::OtherVersion(_)) => break 'ending Ending::OtherVersion,
                Err(WireError::Malformed) => None,
            };
            let is_first = go.is_some();
            if let Some(said) = &said
                && let Some(go) = go.take()
            {
                let first = match said {
                    Said::Message(_) | Said::Mark(Mark::End { .. }) => First::Message,
                    Said::Mark(Mark::Begins(_)) => First::Begins,
                    Said::Mark(Mark::GoesOn(beginning)) => First::GoesOn(*beginning),
                };
                if facts.send((line, LinkFact::Began(first))).await.is_err() || go.await.is_err() {
                    return;
                }
            }
            let fact = match said {
                Some(Said::Message(message)) if !is_blobs || Lane::of(&message) == Lane::Blobs => {
                    LinkFact::Received(message)
                }
                Some(Said::Mark(Mark::Begins(beginning))) if !is_blobs => LinkFact::Begins(beginning),
                Some(Said::Mark(Mark::GoesOn(_))) if is_first && !is_blobs => continue,
                Some(Said::Mark(Mark::End { blobs })) => {
                    let told = facts.send((line, LinkFact::Whole { blobs })).await;
                    if told.is_ok() && gate.acknowledge.await.is_ok() {
                        let _ = stream.close().await;
                    }
                    return;
                }
                Some(Said::Message(_) | Said::Mark(Mark::GoesOn(_) | Mark::Begins(_))) | None => {
                    garbled += 1;
                    if garbled > limits::GARBLED_FRAMES {
                        break 'ending Ending::Garbled;
                    }
                    LinkFact::Garbled
                }
            };
            if facts.send((line, fact)).await.is_err() {
                return;
            }
        }
        pending.compact();
    };
    let _ = facts.send((line, LinkFact::Ended(ending))).await;
}

async fn write_metered(stream: &mut (impl AsyncWrite + Unpin), batch: &[u8], meter: &Meter) -> std::io::Result<()> {
    let mut done = 0;
    while done < batch.len() {
        let len = stream.write(&batch[done..]).await?;
        if len == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        done += len;
        meter.written.fetch_add(len as u64, Ordering::Relaxed);
        meter.queued.fetch_sub(len, Ordering::Relaxed);
    }
    stream.flush().await
}

/// Adds a frame to what is written next; whether it is the last.
fn append(batch: &mut Vec<u8>, frame: &Frame) -> bool {
    match frame {
        Frame::Message(bytes) => {
            // `wire::encode` keeps frames below MOST_FRAME, far from what 32 bits hold.
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            batch.extend_from_slice(&len.to_be_bytes());
            batch.extend_from_slice(bytes);
            false
        }
        Frame::Mark(mark) => {
            let bytes = mark.bytes();
            batch.extend_from_slice(&[0; PREFIX]);
            batch.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
            batch.extend_from_slice(&bytes);
            matches!(mark, Mark::End { .. })
        }
    }
}

/// Bytes that came and are not yet a whole frame. It grows with what was sent, never with what was announced.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    start: usize,
}

impl Pending {
    /// What the next whole frame says; `None` until more bytes come.
    fn next(&mut self, version: Version) -> Result<Option<Said>, WireError> {
        let rest = &self.bytes[self.start..];
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let len = u32::from_be_bytes(*prefix) as usize;
        if len > wire::MOST_FRAME {
            return Err(WireError::TooLong(len));
        }
        // No message is empty.
        if len == 0 {
            let mark = rest.split_first().and_then(|(len, rest)| rest.get(..usize::from(*len)));
            let Some(mark) = mark else { return Ok(None) };
            self.start += PREFIX + 1 + mark.len();
            return Mark::read(mark).map(|mark| Some(Said::Mark(mark)));
        }
        let Some(frame) = rest.get(..len) else { return Ok(None) };
        self.start += PREFIX + len;
        wire::decode(version, frame).map(|message| Some(Said::Message(message)))
    }

    /// Drops what was read, and the room for a long frame once it is no longer needed.
    fn compact(&mut self) {
        self.bytes.drain(..self.start);
        self.start = 0;
        if self.bytes.len() < limits::READ_CHUNK && self.bytes.capacity() > 4 * limits::READ_CHUNK {
            self.bytes.shrink_to(limits::READ_CHUNK);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic)]
mod tests {
    use futures::{executor::block_on, io::Cursor};
    use p2pnet_shared::id::Hash;

    use super::*;

    const BEGINNING: Beginning = Beginning { mine: 1 << 20, yours: 7, lost: true };

    const END: Mark = Mark::End { blobs: true };

    fn words() -> (ConnectionId, Lane) {
        (ConnectionId::new_unchecked(1), Lane::Words)
    }

    /// What a reader tells that is let go on at once, and that may acknowledge.
    fn facts_of(bytes: Vec<u8>) -> Vec<LinkFact> {
        block_on(async {
            let (sender, receiver) = mpsc::channel(0);
            let (mut reader, gate) = Reader::new();
            reader.go();
            reader.acknowledge();
            let reading = read(Cursor::new(bytes), Version::NEWEST, gate, words(), sender);
            let (_, facts) = futures::join!(reading, receiver.map(|(_, fact)| fact).collect());
            facts
        })
    }

    fn framed(frame: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        append(&mut bytes, &Frame::Message(frame.to_vec()));
        bytes
    }

    fn marked(mark: Mark) -> Vec<u8> {
        let mut bytes = Vec::new();
        append(&mut bytes, &Frame::Mark(mark));
        bytes
    }

    fn message(n: u8) -> Vec<u8> {
        framed(&wire::encode(Version::NEWEST, &unknown(n)).unwrap())
    }

    fn unknown(n: u8) -> Message {
        Message::Unknown { hash: Hash([n; 32]) }
    }

    #[test]
    fn what_is_written_is_read_again_in_order_and_in_few_writes() {
        let (outgoing, queue) = Outgoing::new(Version::NEWEST);
        for n in 0..100 {
            assert!(outgoing.send(wire::encode(Version::NEWEST, &unknown(n)).unwrap()));
        }
        assert_eq!(outgoing.queued(), 100 * (PREFIX + 33));
        let meter = queue.meter.clone();
        drop(outgoing);
        let (sender, _receiver) = mpsc::channel(0);
        let mut out = Cursor::new(Vec::new());
        block_on(write(&mut out, queue, words(), sender));
        let out = out.into_inner();
        assert_eq!(meter.queued.load(Ordering::Relaxed), 0);
        assert_eq!(meter.written.load(Ordering::Relaxed), out.len() as u64);
        let facts = facts_of(out);
        assert_eq!(facts.len(), 102);
        assert!(matches!(facts[0], LinkFact::Began(First::Message)));
        for (n, fact) in (0..100).zip(&facts[1..]) {
            assert!(matches!(fact, LinkFact::Received(message) if *message == unknown(n)));
        }
        assert!(matches!(facts[101], LinkFact::Ended(Ending::Closed)));
    }

    #[test]
    fn nothing_is_written_behind_the_end_and_what_was_read_to_it_is_acknowledged() {
        let (outgoing, queue) = Outgoing::new(Version::NEWEST);
        assert!(outgoing.mark(Mark::GoesOn(3)));
        assert!(outgoing.send(wire::encode(Version::NEWEST, &unknown(1)).unwrap()));
        assert!(outgoing.mark(END));
        assert!(outgoing.send(wire::encode(Version::NEWEST, &unknown(2)).unwrap()));
        let (sender, mut receiver) = mpsc::channel(0);
        let mut out = Cursor::new(Vec::new());
        block_on(async { futures::join!(write(&mut out, queue, words(), sender), receiver.next()).1 }).unwrap();
        let out = out.into_inner();
        assert_eq!(out, [marked(Mark::GoesOn(3)), message(1), marked(END)].concat());
        let facts = facts_of(out);
        let [LinkFact::Began(First::GoesOn(3)), LinkFact::Received(_), LinkFact::Whole { blobs: true }] = &facts[..]
        else {
            panic!("{facts:?}")
        };
    }

    #[test]
    fn beyond_its_first_frame_a_stream_is_read_when_the_loop_says_so() {
        let bytes = [message(1), marked(Mark::Begins(BEGINNING)), message(2)].concat();
        let (sender, mut facts) = mpsc::channel(9);
        let (mut reader, gate) = Reader::new();
        let mut reading = Box::pin(read(Cursor::new(bytes), Version::NEWEST, gate, words(), sender));
        assert!((&mut reading).now_or_never().is_none());
        assert!(matches!(facts.next().now_or_never(), Some(Some((_, LinkFact::Began(First::Message))))));
        assert!(facts.next().now_or_never().is_none());
        reader.go();
        block_on(reading);
        let rest: Vec<_> = block_on(facts.map(|(_, fact)| fact).collect());
        let [LinkFact::Received(_), LinkFact::Begins(BEGINNING), LinkFact::Received(_), LinkFact::Ended(_)] = &rest[..]
        else {
            panic!("{rest:?}")
        };
    }

    #[test]
    fn a_mark_in_the_wrong_place_and_one_that_nobody_knows_are_garbled() {
        let facts = facts_of([message(1), marked(Mark::GoesOn(3)), vec![0, 0, 0, 0, 3, 9, 9, 9], message(2)].concat());
        assert!(matches!(facts[2..4], [LinkFact::Garbled, LinkFact::Garbled]), "{facts:?}");
        assert!(matches!(facts[4], LinkFact::Received(_)));
    }

    #[test]
    fn a_garbled_frame_is_reported_and_the_next_one_is_read() {
        let mut bytes = framed(&[0xff; 9]);
        bytes.extend(framed(&wire::encode(Version::NEWEST, &unknown(1)).unwrap()));
        let facts = facts_of(bytes);
        assert!(matches!(facts[0], LinkFact::Garbled));
        assert!(matches!(facts[2], LinkFact::Received(_)));
    }

    #[test]
    fn nothing_but_parts_of_blobs_is_said_in_their_stream() {
        let part = Message::Chunk { hash: Hash([1; 32]), offset: 0, total: 1, bytes: vec![1] };
        let part = framed(&wire::encode(Version::NEWEST, &part).unwrap());
        let bytes = [part.clone(), message(1), marked(Mark::Begins(BEGINNING)), part].concat();
        let (sender, receiver) = mpsc::channel(99);
        let (mut reader, gate) = Reader::new();
        reader.go();
        block_on(read(
            Cursor::new(bytes),
            Version::NEWEST,
            gate,
            (ConnectionId::new_unchecked(1), Lane::Blobs),
            sender,
        ));
        let facts: Vec<_> = block_on(receiver.map(|(_, fact)| fact).collect());
        assert!(
            matches!(facts[1..5], [LinkFact::Received(_), LinkFact::Garbled, LinkFact::Garbled, LinkFact::Received(_)]),
            "{facts:?}"
        );
    }

    #[test]
    fn frames_of_kinds_that_only_later_builds_know_are_passed_over_up_to_a_bound() {
        let mut bytes = framed(&[99, 1, 2, 3]).repeat(1000);
        bytes.extend(message(1));
        let facts = facts_of(bytes);
        assert!(facts.iter().any(|fact| matches!(fact, LinkFact::Received(_))));
        assert!(!facts.iter().any(|fact| matches!(fact, LinkFact::Garbled)));
        let facts = facts_of(framed(&[99, 1, 2, 3]).repeat(2000));
        assert!(matches!(facts.last(), Some(LinkFact::Ended(Ending::Garbled))));
    }

    #[test]
    fn too_many_garbled_frames_end_it() {
        let facts = facts_of(framed(&[0xff; 9]).repeat(1000));
        assert_eq!(facts.len(), limits::GARBLED_FRAMES as usize + 1);
        assert!(matches!(facts.last(), Some(LinkFact::Ended(Ending::Garbled))));
    }

    #[test]
    fn an_announced_frame_beyond_the_bound_ends_it_before_its_bytes_come() {
        let facts = facts_of(u32::MAX.to_be_bytes().to_vec());
        assert!(matches!(facts[..], [LinkFact::Ended(Ending::TooLong)]));
    }

    #[test]
    fn half_a_frame_is_no_message() {
        let mut bytes = framed(&wire::encode(Version::NEWEST, &unknown(1)).unwrap());
        bytes.pop();
        assert!(matches!(facts_of(bytes)[..], [LinkFact::Ended(Ending::Closed)]));
    }
}

//! The two tasks of a connection: one reads frames into messages, one writes frames out, many in one write.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, SinkExt, StreamExt, channel::mpsc};
use libp2p::swarm::ConnectionId;
use p2pnet_shared::wire::{self, Message, WireError};

use crate::limits;

/// Bytes of the length that precedes a frame.
const PREFIX: usize = 4;

/// What the tasks tell the loop.
#[derive(Debug)]
pub enum LinkFact {
    /// A message came.
    Received(Message),
    /// A frame came that is no message.
    Garbled,
    /// The stream ended or broke, or the other side broke a bound: the connection is of no more use.
    Ended(Ending),
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The other side closed it, or the connection broke.
    Closed,
    /// A frame longer than the protocol allows was announced.
    TooLong,
    /// Too many frames were no messages.
    Garbled,
}

/// A link fact and its connection.
pub type LinkEvent = (ConnectionId, LinkFact);

/// How much waits at a writer and how much it has written.
#[derive(Debug, Default)]
pub struct Meter {
    queued: AtomicUsize,
    written: AtomicU64,
}

/// The loop's end of a writing task.
pub struct Outgoing {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    meter: Arc<Meter>,
}

impl Outgoing {
    /// An end for the loop and what [`write`] needs. The queue's bound is in bytes and the loop's to keep: it asks
    /// [`Outgoing::queued`] before it sends.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Vec<u8>>, Arc<Meter>) {
        let (frames, receiver) = mpsc::unbounded();
        let meter = Arc::new(Meter::default());
        (Self { frames, meter: meter.clone() }, receiver, meter)
    }

    /// Bytes that wait.
    pub fn queued(&self) -> usize {
        self.meter.queued.load(Ordering::Relaxed)
    }

    /// Bytes that the connection has taken since it was opened.
    pub fn written(&self) -> u64 {
        self.meter.written.load(Ordering::Relaxed)
    }

    /// Puts a frame (without its length) behind what waits; `false` when the writer is gone.
    pub fn send(&self, frame: Vec<u8>) -> bool {
        let len = frame.len() + PREFIX;
        self.meter.queued.fetch_add(len, Ordering::Relaxed);
        self.frames.unbounded_send(frame).is_ok()
    }
}

/// Writes frames until the loop drops its [`Outgoing`] or the stream breaks.
pub async fn write(
    mut stream: impl AsyncWrite + Unpin,
    mut frames: mpsc::UnboundedReceiver<Vec<u8>>,
    meter: Arc<Meter>,
    connection: ConnectionId,
    mut facts: mpsc::Sender<LinkEvent>,
) {
    let mut batch = Vec::new();
    while let Some(frame) = frames.next().await {
        batch.clear();
        append(&mut batch, &frame);
        while batch.len() < limits::WRITE_BATCH {
            match frames.next().now_or_never() {
                Some(Some(frame)) => append(&mut batch, &frame),
                Some(None) | None => break,
            }
        }
        if write_metered(&mut stream, &batch, &meter).await.is_err() {
            let _ = facts.send((connection, LinkFact::Ended(Ending::Closed))).await;
            return;
        }
        if batch.capacity() > 4 * limits::WRITE_BATCH {
            batch = Vec::new();
        }
    }
    let _ = stream.close().await;
}

/// Reads frames until the stream ends or the loop is gone. Waits while the loop is behind.
pub async fn read(mut stream: impl AsyncRead + Unpin, connection: ConnectionId, mut facts: mpsc::Sender<LinkEvent>) {
    let mut chunk = vec![0; limits::READ_CHUNK];
    let mut pending = Pending::default();
    let mut garbled = 0;
    let ending = 'ending: loop {
        let len = match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break Ending::Closed,
            Ok(len) => len,
        };
        pending.bytes.extend_from_slice(&chunk[..len]);
        loop {
            let fact = match pending.next() {
                Ok(Some(message)) => LinkFact::Received(message),
                Ok(None) => break,
                Err(WireError::TooLong(_)) => break 'ending Ending::TooLong,
                Err(WireError::Malformed) => {
                    garbled += 1;
                    if garbled > limits::GARBLED_FRAMES {
                        break 'ending Ending::Garbled;
                    }
                    LinkFact::Garbled
                }
            };
            if facts.send((connection, fact)).await.is_err() {
                return;
            }
        }
        pending.compact();
    };
    let _ = facts.send((connection, LinkFact::Ended(ending))).await;
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

fn append(batch: &mut Vec<u8>, frame: &[u8]) {
    // `wire::encode` keeps frames below MAX_FRAME, far from what 32 bits hold.
    let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    batch.extend_from_slice(&len.to_be_bytes());
    batch.extend_from_slice(frame);
}

/// Bytes that came and are not yet a whole frame. It grows with what was sent, never with what was announced.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    start: usize,
}

impl Pending {
    /// The next whole frame as a message; `None` until more bytes come.
    fn next(&mut self) -> Result<Option<Message>, WireError> {
        let rest = &self.bytes[self.start..];
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let len = u32::from_be_bytes(*prefix) as usize;
        if len > wire::MAX_FRAME {
            return Err(WireError::TooLong(len));
        }
        let Some(frame) = rest.get(..len) else { return Ok(None) };
        self.start += PREFIX + len;
        wire::decode(frame).map(Some)
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
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::{executor::block_on, io::Cursor};
    use p2pnet_shared::id::Hash;

    use super::*;

    fn connection() -> ConnectionId {
        ConnectionId::new_unchecked(1)
    }

    fn facts_of(bytes: Vec<u8>) -> Vec<LinkFact> {
        block_on(async {
            let (sender, receiver) = mpsc::channel(0);
            let reading = read(Cursor::new(bytes), connection(), sender);
            let (_, facts) = futures::join!(reading, receiver.map(|(_, fact)| fact).collect());
            facts
        })
    }

    fn framed(frame: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        append(&mut bytes, frame);
        bytes
    }

    fn unknown(n: u8) -> Message {
        Message::Unknown { hash: Hash([n; 32]) }
    }

    #[test]
    fn what_is_written_is_read_again_in_order_and_in_few_writes() {
        let (outgoing, frames, meter) = Outgoing::new();
        for n in 0..100 {
            assert!(outgoing.send(wire::encode(&unknown(n)).unwrap()));
        }
        assert_eq!(outgoing.queued(), 100 * (PREFIX + 33));
        drop(outgoing);
        let (sender, _receiver) = mpsc::channel(0);
        let mut out = Vec::new();
        block_on(write(&mut out, frames, meter.clone(), connection(), sender));
        assert_eq!(meter.queued.load(Ordering::Relaxed), 0);
        assert_eq!(meter.written.load(Ordering::Relaxed), out.len() as u64);
        let facts = facts_of(out);
        assert_eq!(facts.len(), 101);
        for (n, fact) in (0..100).zip(&facts) {
            assert!(matches!(fact, LinkFact::Received(message) if *message == unknown(n)));
        }
        assert!(matches!(facts[100], LinkFact::Ended(Ending::Closed)));
    }

    #[test]
    fn a_garbled_frame_is_reported_and_the_next_one_is_read() {
        let mut bytes = framed(&[0xff; 9]);
        bytes.extend(framed(&wire::encode(&unknown(1)).unwrap()));
        let facts = facts_of(bytes);
        assert!(matches!(facts[0], LinkFact::Garbled));
        assert!(matches!(facts[1], LinkFact::Received(_)));
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
        let mut bytes = framed(&wire::encode(&unknown(1)).unwrap());
        bytes.pop();
        assert!(matches!(facts_of(bytes)[..], [LinkFact::Ended(Ending::Closed)]));
    }
}

//! What the node and its worker processes say to each other over pipes: postcard behind a length of four bytes.

use std::{
    borrow::Cow,
    io::{self, Read, Write},
};

use p2pnet_shared::{
    engine::{Batch, BatchReport},
    id::Hash,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The longest order: a kernel, what its calls share, and their inputs.
pub(super) const MOST_ORDER_BYTES: usize = 256 << 20;
/// The longest answer: the outputs of a batch. A worker that says more is not trusted.
pub(super) const MOST_ANSWER_BYTES: usize = 160 << 20;

/// An order to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToWorker<'a> {
    /// Run a batch; answered by [`FromWorker::Done`].
    Run {
        /// Comes back in the answer.
        run: u64,
        /// Kernels that are not needed any more.
        forget: Vec<Hash>,
        /// The kernel's original bytes, if the worker does not have them.
        #[serde(with = "serde_bytes")]
        kernel: Option<Vec<u8>>,
        /// What to run.
        batch: Cow<'a, Batch>,
        /// Share of the core's time.
        cpu_percent: u8,
        /// Whether it rests at first.
        rests: bool,
    },
    /// What became of [`FromWorker::WantsCompiled`].
    Compiled {
        /// Which kernel.
        kernel: Hash,
        /// Whether its code lies in the folder now. If not, it never will.
        ready: bool,
    },
    /// Stop a run; its answer still comes.
    Stop {
        /// Which.
        run: u64,
    },
    /// Let a run rest, or go on.
    Rest {
        /// Which.
        run: u64,
        /// Whether it rests from now on.
        rests: bool,
    },
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromWorker {
    /// It is ready, behind these fences.
    Ready {
        /// Names of what keeps it in.
        fences: Vec<String>,
        /// What the system would not give.
        missing: Vec<String>,
    },
    /// The kernel of the run is worth compiling: asked once for each kernel, answered by [`ToWorker::Compiled`].
    WantsCompiled {
        /// Which kernel.
        kernel: Hash,
    },
    /// A run ended.
    Done {
        /// Which.
        run: u64,
        /// What came of it.
        report: BatchReport,
        /// Whether the process lacked something for it that a fresh one may have: files, memory, addresses.
        worn: bool,
    },
}

/// Writes one message.
pub(super) fn write(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    bytes = postcard::to_extend(message, bytes).map_err(io::Error::other)?;
    let len = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&len.to_be_bytes());
    to.write_all(&bytes)?;
    to.flush()
}

/// Reads one message of at most `most` bytes.
pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read, most: usize) -> io::Result<T> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let len = usize::try_from(u32::from_be_bytes(len)).map_err(io::Error::other)?;
    if len > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message that is too long"));
    }
    let mut bytes = Vec::new();
    // Not allocated at once: the length is only what the other side says.
    from.take(len as u64).read_to_end(&mut bytes)?;
    if bytes.len() < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_nonsense_does_not() {
        let mut bytes = Vec::new();
        write(&mut bytes, &ToWorker::Stop { run: 7 }).unwrap();
        write(&mut bytes, &ToWorker::Rest { run: 7, rests: true }).unwrap();
        let mut said = bytes.as_slice();
        assert!(matches!(read(&mut said, 100).unwrap(), ToWorker::Stop { run: 7 }));
        assert!(matches!(read(&mut said, 100).unwrap(), ToWorker::Rest { run: 7, rests: true }));
        bytes.clear();
        write(&mut bytes, &ToWorker::Stop { run: 7 }).unwrap();
        assert!(read::<ToWorker>(&mut bytes.as_slice(), 1).is_err(), "too long");
        bytes.pop();
        assert!(read::<ToWorker>(&mut bytes.as_slice(), 100).is_err(), "broken off");
        assert!(read::<ToWorker>(&mut [255; 8].as_slice(), usize::MAX).is_err(), "a length that never comes");
        assert!(read::<ToWorker>(&mut [0, 0, 0, 1, 99].as_slice(), 100).is_err(), "no such message");
    }
}

//! What the page and a worker say to each other: postcard in one buffer that changes hands without being copied.

use p2pnet_shared::{
    engine::{CallOutcome, EngineName, Limits, Prepared, Trap},
    id::Hash,
    kernel::Facts,
    units::Gas,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::{ByteBuf, Bytes};

/// Page to worker: run a batch. Borrowed on the way out.
#[derive(Debug, Serialize)]
pub(crate) struct RunRef<'a> {
    pub run: u64,
    pub kernel: Hash,
    pub source: SourceRef<'a>,
    /// Kernels that the worker drops first, so that its memory stays bounded. The page decides.
    pub forget: &'a [Hash],
    pub cpu_percent: u8,
    pub limits: Limits,
    pub common: Option<(Hash, &'a Bytes)>,
    pub calls: Vec<&'a Bytes>,
}

/// Where a worker has a batch's kernel from.
#[derive(Debug, Serialize)]
pub(crate) enum SourceRef<'a> {
    /// It has it.
    Ready,
    /// The kernel's original bytes.
    Original(&'a Bytes),
    /// A compiled module, sent beside the message.
    Compiled(&'a Facts),
}

/// The same as the worker reads it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Source {
    Ready,
    Original(ByteBuf),
    Compiled(Facts),
}

/// The same as the worker reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct Run {
    pub run: u64,
    pub kernel: Hash,
    pub source: Source,
    pub forget: Vec<Hash>,
    pub cpu_percent: u8,
    pub limits: Limits,
    pub common: Option<(Hash, ByteBuf)>,
    pub calls: Vec<ByteBuf>,
}

/// Worker to page.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Said {
    /// The worker is up and takes batches.
    Ready,
    /// A kernel new to the tab is compiled: the module is sent beside the message, for the other workers.
    Compiled { kernel: Hash, facts: Facts },
    /// A kernel new to the tab is not for the browser's compiler: each worker makes it ready for itself.
    NotCompiled { kernel: Hash },
    /// Calls that are done while the batch goes on, so that they are kept if it is stopped.
    Outcomes { run: u64, engine: EngineName, outcomes: Vec<Outcome> },
    /// The worker sleeps to keep to its share of the core; that time is not the kernel's.
    Resting { run: u64, millis: u32 },
    /// The batch is over: the outcomes not yet said.
    Done { run: u64, engine: EngineName, outcomes: Vec<Outcome>, busy_micros: u64, prepared: Prepared },
    /// A call needed the interpreter and could not have it, for this reason; or it could, after that.
    NoInterpreter { reason: Option<String> },
    /// The worker's own code failed; it is of no more use.
    Failed { reason: String },
}

/// A [`CallOutcome`] whose output is one run of bytes for serde, not a list of numbers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    output: Result<ByteBuf, Trap>,
    gas: Gas,
}

impl From<CallOutcome> for Outcome {
    fn from(outcome: CallOutcome) -> Self {
        Self { output: outcome.output.map(ByteBuf::from), gas: outcome.gas }
    }
}

impl From<Outcome> for CallOutcome {
    fn from(outcome: Outcome) -> Self {
        Self { output: outcome.output.map(ByteBuf::into_vec), gas: outcome.gas }
    }
}

/// The bytes of a message; `None` only for lack of memory.
pub fn encode(message: &impl Serialize) -> Option<Vec<u8>> {
    postcard::to_allocvec(message).ok()
}

/// Reads a message; `None` for anything else.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_run_arrives_as_it_was_sent() {
        let (kernel, calls) = (Hash([3; 32]), [b"one".to_vec(), Vec::new()]);
        let sent = RunRef {
            run: 9,
            kernel,
            source: SourceRef::Original(Bytes::new(b"\0asm")),
            forget: &[Hash([4; 32])],
            cpu_percent: 25,
            limits: Limits::default(),
            common: Some((Hash([5; 32]), Bytes::new(b"all"))),
            calls: calls.iter().map(|call| Bytes::new(call)).collect(),
        };
        let got: Run = decode(&encode(&sent).unwrap()).unwrap();
        assert_eq!((got.run, got.kernel, got.cpu_percent, got.limits), (9, kernel, 25, Limits::default()));
        assert_eq!(got.source, Source::Original(ByteBuf::from(*b"\0asm")));
        assert_eq!(got.forget, [Hash([4; 32])]);
        assert_eq!(got.common, Some((Hash([5; 32]), ByteBuf::from(*b"all"))));
        assert_eq!(got.calls, calls.map(ByteBuf::from));
    }

    #[test]
    fn what_a_worker_says_arrives_and_nonsense_does_not() {
        let outcomes = vec![
            Outcome::from(CallOutcome { output: Ok(vec![1, 2]), gas: Gas(5) }),
            Outcome::from(CallOutcome { output: Err(Trap::OutOfGas), gas: Gas(6) }),
        ];
        let prepared = Prepared { instances: 1, gas: Gas(9) };
        let said = Said::Done { run: 1, engine: EngineName::Wasmi, outcomes, busy_micros: 77, prepared };
        let bytes = encode(&said).unwrap();
        assert_eq!(decode::<Said>(&bytes).unwrap(), said);
        assert_eq!(decode::<Said>(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode::<Said>(&[200, 1]), None);
    }
}

//! A batch's calls and its report as bytes: inside their message, or a blob beside it. The same in every version of the
//! protocol, since a blob has one name whoever asks for it.

use serde::{Deserialize, Serialize};

use super::{MOST_CALLS, WireError};
use crate::{
    bytes,
    engine::{BatchReport, CallOutcome, EngineName, Prepared, Trap},
    units::Gas,
};

/// A batch's calls as they are written.
#[derive(Serialize)]
struct CallsOut<'a>(#[serde(serialize_with = "bytes::each::serialize")] &'a [Vec<u8>]);

/// The same as they are read.
#[derive(Deserialize)]
struct Calls(#[serde(deserialize_with = "bytes::each::deserialize")] Vec<Vec<u8>>);

/// The bytes of a batch's calls, as they stand in a [`super::Payload`].
///
/// # Errors
/// [`WireError::Malformed`] if postcard cannot write them.
pub fn encode_calls(calls: &[Vec<u8>]) -> Result<Vec<u8>, WireError> {
    postcard::to_allocvec(&CallsOut(calls)).map_err(|_| WireError::Malformed)
}

/// Reads what [`encode_calls`] wrote.
///
/// # Errors
/// [`WireError::Malformed`] for anything else, and for more than [`MOST_CALLS`].
pub fn decode_calls(bytes: &[u8]) -> Result<Vec<Vec<u8>>, WireError> {
    if count_calls(bytes)? > MOST_CALLS {
        return Err(WireError::Malformed);
    }
    postcard::from_bytes(bytes).map(|Calls(calls)| calls).map_err(|_| WireError::Malformed)
}

/// How many calls [`encode_calls`] wrote, from the first bytes alone. A frame of zeros would otherwise unfold to
/// twenty-four times its size before anybody counted.
///
/// # Errors
/// [`WireError::Malformed`] if no count stands there.
pub fn count_calls(bytes: &[u8]) -> Result<u64, WireError> {
    postcard::take_from_bytes(bytes).map(|(count, _)| count).map_err(|_| WireError::Malformed)
}

/// A report as it stands on the wire.
#[derive(Serialize, Deserialize)]
struct Report {
    engine: Engine,
    outcomes: Vec<Outcome>,
    busy_micros: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Engine {
    Wasmi,
    Browser,
    Wasmtime,
}

#[derive(Serialize, Deserialize)]
struct Outcome {
    #[serde(with = "bytes::or")]
    output: Result<Vec<u8>, Stop>,
    gas: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Stop {
    Trapped,
    OutOfGas,
    OutOfMemory,
    StackOverflow,
    BrokenContract,
    TimedOut,
    Cancelled,
    HostFailed,
    OutputTooLarge,
}

/// The same as it is written: outputs are not copied once more for it.
#[derive(Serialize)]
struct ReportOut<'a> {
    engine: Engine,
    outcomes: Vec<OutcomeOut<'a>>,
    busy_micros: u64,
}

#[derive(Serialize)]
struct OutcomeOut<'a> {
    output: Result<&'a serde_bytes::Bytes, Stop>,
    gas: u64,
}

/// The bytes of a report, as they stand in a [`super::Payload`]. What preparing took is said beside them
/// ([`super::Extensions::of_prepared`]).
///
/// # Errors
/// [`WireError::Malformed`] if postcard cannot write it.
pub fn encode_report(report: &BatchReport) -> Result<Vec<u8>, WireError> {
    let outcomes = report.outcomes.iter().map(|CallOutcome { output, gas }| OutcomeOut {
        output: output.as_ref().map(|bytes| serde_bytes::Bytes::new(bytes)).map_err(|trap| Stop::from(*trap)),
        gas: gas.0,
    });
    let out = ReportOut { engine: report.engine.into(), outcomes: outcomes.collect(), busy_micros: report.busy_micros };
    postcard::to_allocvec(&out).map_err(|_| WireError::Malformed)
}

/// Reads what [`encode_report`] wrote.
///
/// # Errors
/// [`WireError::Malformed`] for anything else, and for more than [`MOST_CALLS`] outcomes.
pub fn decode_report(bytes: &[u8]) -> Result<BatchReport, WireError> {
    let head: Result<((Engine, u64), &[u8]), _> = postcard::take_from_bytes(bytes);
    match head {
        Ok(((_, outcomes), _)) if outcomes <= MOST_CALLS => {
            postcard::from_bytes(bytes).map(|report: Report| report.into()).map_err(|_| WireError::Malformed)
        }
        Ok(_) | Err(_) => Err(WireError::Malformed),
    }
}

impl From<Report> for BatchReport {
    fn from(report: Report) -> Self {
        let outcome =
            |outcome: Outcome| CallOutcome { output: outcome.output.map_err(Trap::from), gas: Gas(outcome.gas) };
        Self {
            engine: report.engine.into(),
            outcomes: report.outcomes.into_iter().map(outcome).collect(),
            busy_micros: report.busy_micros,
            prepared: Prepared::default(),
        }
    }
}

/// Two enums that have the same variants, each as the other.
macro_rules! same {
    ($domain:ident = $wire:ident { $($variant:ident),+ $(,)? }) => {
        impl From<$domain> for $wire {
            fn from(value: $domain) -> Self {
                match value { $($domain::$variant => Self::$variant),+ }
            }
        }
        impl From<$wire> for $domain {
            fn from(value: $wire) -> Self {
                match value { $($wire::$variant => Self::$variant),+ }
            }
        }
    };
}
pub(super) use same;

same!(EngineName = Engine { Wasmi, Browser, Wasmtime });
same!(
    Trap = Stop {
        Trapped,
        OutOfGas,
        OutOfMemory,
        StackOverflow,
        BrokenContract,
        TimedOut,
        Cancelled,
        HostFailed,
        OutputTooLarge,
    }
);

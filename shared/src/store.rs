//! What a host keeps for a node: records under names, both of them bytes to whoever keeps them.
//!
//! The names are made here and nowhere else, so that every host keeps the same ones. A record lies in an envelope that says in
//! which version it is written, whose job it is of, and by a checksum whether it is what was kept. A reader that knows an
//! older version only still learns that much, and leaves the record alone. A result has no envelope: it is sent to whoever
//! asks as it lies there, and the record of its job, kept in the same moment, speaks for it.

use std::ops::Range;

use crate::id::{JobId, OwnerId};

/// The name of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreKey {
    /// A job that is not over: what was submitted.
    Job(JobId),
    /// The outputs of one finished span of such a job, by its first unit.
    Span(JobId, u64),
    /// The result of a finished job, as JSON text.
    Result(JobId),
    /// A job that is over: what was submitted, as far as that is shown, and what came of it.
    Over(JobId),
    /// What a list shows of a job that is over, and what counts for its owner.
    Finished(JobId),
}

/// What a record is of. Names of one noun stand together, in the order of their jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noun {
    /// See [`StoreKey::Job`].
    Job,
    /// See [`StoreKey::Span`].
    Span,
    /// See [`StoreKey::Result`].
    Result,
    /// See [`StoreKey::Over`].
    Over,
    /// See [`StoreKey::Finished`].
    Finished,
}

/// A change of a record: what it holds from then on, or that it is forgotten.
pub type Change = (StoreKey, Option<Vec<u8>>);

/// Bytes of a job's id, and of a unit's number.
const JOB_BYTES: usize = size_of::<JobId>();
const UNIT_BYTES: usize = size_of::<u64>();

impl Noun {
    /// All that there are, in the order of their names.
    pub const ALL: [Self; 5] = [Self::Job, Self::Span, Self::Result, Self::Over, Self::Finished];

    /// The first byte of its names. One that was used is never used for another noun: stores of before have it.
    const fn byte(self) -> u8 {
        match self {
            Self::Job => 1,
            Self::Span => 2,
            Self::Result => 3,
            Self::Over => 4,
            Self::Finished => 5,
        }
    }

    /// Between which all names of the noun lie, those of later versions among them.
    pub fn names(self) -> Range<Vec<u8>> {
        vec![self.byte()]..vec![self.byte() + 1]
    }

    /// Between which lie names of nouns that this version does not know.
    pub fn unknown_names() -> [Range<Vec<u8>>; 2] {
        let after = Self::ALL.iter().map(|noun| noun.byte() + 1).max().unwrap_or_default();
        // No name is as long as what ends the second.
        [Vec::new()..vec![Self::Job.byte()], vec![after]..vec![u8::MAX; 1 + JOB_BYTES + UNIT_BYTES]]
    }
}

impl StoreKey {
    /// What it is of.
    pub fn noun(self) -> Noun {
        match self {
            Self::Job(_) => Noun::Job,
            Self::Span(..) => Noun::Span,
            Self::Result(_) => Noun::Result,
            Self::Over(_) => Noun::Over,
            Self::Finished(_) => Noun::Finished,
        }
    }

    /// Of which job it is.
    pub fn job(self) -> JobId {
        match self {
            Self::Job(job) | Self::Span(job, _) | Self::Result(job) | Self::Over(job) | Self::Finished(job) => job,
        }
    }

    /// The name as a host keeps it.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut name = Vec::with_capacity(1 + JOB_BYTES + UNIT_BYTES);
        name.push(self.noun().byte());
        name.extend_from_slice(&self.job().0);
        if let Self::Span(_, unit) = self {
            name.extend_from_slice(&unit.to_be_bytes());
        }
        name
    }

    /// Reads a name that a host kept; `None` when this version makes no such name.
    pub fn read(name: &[u8]) -> Option<Self> {
        let (first, rest) = name.split_first()?;
        let noun = Noun::ALL.into_iter().find(|noun| noun.byte() == *first)?;
        let (job, rest) = rest.split_first_chunk::<JOB_BYTES>()?;
        let (job, unit) = (JobId(*job), <[u8; UNIT_BYTES]>::try_from(rest).map(u64::from_be_bytes));
        match noun {
            Noun::Span => Some(Self::Span(job, unit.ok()?)),
            Noun::Job | Noun::Result | Noun::Over | Noun::Finished if !rest.is_empty() => None,
            Noun::Job => Some(Self::Job(job)),
            Noun::Result => Some(Self::Result(job)),
            Noun::Over => Some(Self::Over(job)),
            Noun::Finished => Some(Self::Finished(job)),
        }
    }

    /// Between which the names of all spans of a job lie.
    pub fn spans(job: JobId) -> Range<Vec<u8>> {
        let mut end = Self::Span(job, u64::MAX).to_bytes();
        end.push(0);
        Self::Span(job, 0).to_bytes()..end
    }
}

/// How the envelope itself is laid out: the first byte of every record.
const LAYOUT: u8 = 1;
const CHECKSUM_BYTES: usize = 8;
/// Layout, version, owner, checksum.
const HEAD_BYTES: usize = 1 + size_of::<u16>() + size_of::<OwnerId>() + CHECKSUM_BYTES;

/// What lay in an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// In which version of its noun it is written.
    pub version: u16,
    /// Whose job it is of.
    pub owner: OwnerId,
    /// What was kept.
    pub body: &'a [u8],
}

/// Why a record is not read. It is left alone and told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is not what was kept.
    Damaged,
    /// A later version of this program wrote it, for a job of this owner, if that can be told.
    Later(Option<OwnerId>),
}

/// Puts what `write` writes into an envelope.
pub fn seal(key: StoreKey, version: u16, owner: OwnerId, write: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD_BYTES);
    record.push(LAYOUT);
    record.extend_from_slice(&version.to_le_bytes());
    record.extend_from_slice(&owner.0);
    record.extend_from_slice(&[0; CHECKSUM_BYTES]);
    let mut record = write(record);
    let sum = checksum(key, &record);
    record[HEAD_BYTES - CHECKSUM_BYTES..HEAD_BYTES].copy_from_slice(&sum);
    record
}

/// Opens an envelope whose body this version can read, in one of the versions up to `newest`.
///
/// # Errors
/// It is damaged, or of a later version.
pub fn open(key: StoreKey, newest: u16, record: &[u8]) -> Result<Opened<'_>, Unread> {
    let Some((head, body)) = record.split_first_chunk::<HEAD_BYTES>() else { return Err(Unread::Damaged) };
    if head[0] != LAYOUT {
        return Err(if head[0] > LAYOUT { Unread::Later(None) } else { Unread::Damaged });
    }
    if checksum(key, record) != head[HEAD_BYTES - CHECKSUM_BYTES..] {
        return Err(Unread::Damaged);
    }
    let version = u16::from_le_bytes([head[1], head[2]]);
    let mut owner = OwnerId::default();
    owner.0.copy_from_slice(&head[3..HEAD_BYTES - CHECKSUM_BYTES]);
    if version > newest { Err(Unread::Later(Some(owner))) } else { Ok(Opened { version, owner, body }) }
}

/// Of the name and of all that was kept but itself: a record under another's name is damage, too.
fn checksum(key: StoreKey, record: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.to_bytes());
    hasher.update(&record[..HEAD_BYTES - CHECKSUM_BYTES]);
    hasher.update(&record[HEAD_BYTES..]);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobId = JobId([0x5a; 16]);
    const OWNER: OwnerId = OwnerId([7; 16]);

    fn keys() -> [StoreKey; 6] {
        [
            StoreKey::Job(JOB),
            StoreKey::Span(JOB, 0),
            StoreKey::Span(JOB, u64::MAX),
            StoreKey::Result(JOB),
            StoreKey::Over(JOB),
            StoreKey::Finished(JOB),
        ]
    }

    #[test]
    fn every_name_reads_back_and_stands_where_its_noun_does() {
        for key in keys() {
            let name = key.to_bytes();
            assert_eq!(StoreKey::read(&name), Some(key));
            for noun in Noun::ALL {
                assert_eq!(noun.names().contains(&name), noun == key.noun(), "{key:?} {noun:?}");
            }
            assert!(Noun::unknown_names().iter().all(|names| !names.contains(&name)));
            let is_span = key.noun() == Noun::Span;
            assert_eq!(StoreKey::spans(JOB).contains(&name), is_span);
            assert!(!StoreKey::spans(JobId([0x5b; 16])).contains(&name));
        }
        let mut sorted = keys();
        sorted.sort_by_key(|key| key.to_bytes());
        assert_eq!(sorted, keys(), "bytes stand as the names do");
    }

    #[test]
    fn names_never_change_since_stores_hold_them() {
        let job = "5a".repeat(16);
        let hex = |key: StoreKey| key.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(StoreKey::Job(JOB)), format!("01{job}"));
        assert_eq!(hex(StoreKey::Span(JOB, 258)), format!("02{job}0000000000000102"));
        assert_eq!(hex(StoreKey::Result(JOB)), format!("03{job}"));
        assert_eq!(hex(StoreKey::Over(JOB)), format!("04{job}"));
        assert_eq!(hex(StoreKey::Finished(JOB)), format!("05{job}"));
    }

    #[test]
    fn names_of_other_versions_are_passed_over() {
        let long = [StoreKey::Job(JOB).to_bytes(), vec![1]].concat();
        let short = StoreKey::Span(JOB, 7).to_bytes()[..20].to_vec();
        let unknown = [vec![0], vec![6; 17], vec![255; 40]];
        for name in [Vec::new(), long, short].into_iter().chain(unknown.clone()) {
            assert_eq!(StoreKey::read(&name), None, "{name:?}");
        }
        for name in &unknown[..2] {
            assert!(Noun::unknown_names().iter().any(|names| names.contains(name)), "{name:?}");
        }
    }

    fn sealed(key: StoreKey, version: u16) -> Vec<u8> {
        seal(key, version, OWNER, |mut record| {
            record.extend_from_slice(b"body");
            record
        })
    }

    #[test]
    fn an_envelope_opens_for_its_own_name_and_tells_any_wrong_bit() {
        let key = StoreKey::Over(JOB);
        let record = sealed(key, 3);
        assert_eq!(open(key, 3, &record), Ok(Opened { version: 3, owner: OWNER, body: b"body" }));
        assert_eq!(open(StoreKey::Job(JOB), 3, &record), Err(Unread::Damaged), "it is another's");
        for bit in 0..record.len() * 8 {
            let mut damaged = record.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(open(key, 3, &damaged).is_err(), "bit {bit}");
        }
        for len in 0..record.len() {
            assert_eq!(open(key, 3, &record[..len]), Err(Unread::Damaged), "{len}");
        }
    }

    #[test]
    fn a_record_of_a_later_version_tells_whose_it_is() {
        let key = StoreKey::Finished(JOB);
        assert_eq!(open(key, 2, &sealed(key, 3)), Err(Unread::Later(Some(OWNER))));
        let mut later = sealed(key, 3);
        later[0] = LAYOUT + 1;
        assert_eq!(open(key, 3, &later), Err(Unread::Later(None)));
    }

    #[test]
    fn envelopes_never_change_since_stores_hold_them() {
        let record = sealed(StoreKey::Job(JOB), 1);
        let text = record.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(text, format!("010100{}{}626f6479", "07".repeat(16), GOLDEN_SUM));
    }

    /// Of the record above.
    const GOLDEN_SUM: &str = "0ac379670c2ec49e";
}

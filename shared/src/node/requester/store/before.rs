//! Records as they were kept before there were envelopes, when the record of a job had the same name whether or not it was over.
//! A host that finds such takes them over once, all of a job at a time.

use serde::Deserialize;

use super::{JOB_VERSION, JobRecord, SPAN_VERSION, line_of};
use crate::{
    api::JobSummary,
    id::{Holder, JobId, OwnerId},
    node::requester::finished::Finished,
    store::{StoreKey, seal},
};

/// What a store of before holds of a job, but for its result, whose bytes are the same now.
#[derive(Default)]
pub struct OfBefore {
    /// What was submitted and where it stood, as JSON.
    pub job: Option<Vec<u8>>,
    /// What lists showed of it once it was over, as JSON.
    pub line: Option<Vec<u8>>,
    /// The outputs of finished spans, by their first unit, as postcard.
    pub spans: Vec<(u64, Vec<u8>)>,
    /// How many bytes its result has, if there is one.
    pub result_bytes: Option<u64>,
}

/// The only version that there was.
const VERSION: u64 = 1;

/// What every version of before said.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// A line of before.
#[derive(Deserialize)]
struct Line {
    #[serde(flatten)]
    holder: Holder,
    summary: JobSummary,
    bytes: u64,
    has_result: bool,
}

impl OfBefore {
    /// The same in records of now, in place of those. What is not understood is put into an envelope as it is, so that it is
    /// left alone as anything else that is not.
    pub fn take_over(self, id: JobId) -> Vec<(StoreKey, Vec<u8>)> {
        let owner = self.owner();
        let mut records = Vec::new();
        let record = self.job.as_deref().filter(|job| version(job) == Some(VERSION));
        let record = record.and_then(|job| serde_json::from_slice::<JobRecord>(job).ok());
        let is_over = self.line.is_some() || record.as_ref().is_some_and(|record| record.state.is_final());
        let mut over = None;
        if let Some(job) = self.job {
            let key = if is_over { StoreKey::Over(id) } else { StoreKey::Job(id) };
            let sealed = record.map_or_else(|| as_it_is(key, owner, &job), |record| record.sealed(key));
            over = is_over.then(|| sealed.clone());
            records.push((key, sealed));
        }
        if is_over {
            let key = StoreKey::Finished(id);
            let line = self.line.as_deref().and_then(|line| now(id, line));
            let made = || line_of(id, over.as_deref()?, self.result_bytes).map(|(_, line)| line);
            // One of a later version says more than what can be made from the job's record.
            let is_later = self.line.as_deref().and_then(version).is_some_and(|version| version > VERSION);
            let sealed = line.or_else(|| made().filter(|_| !is_later));
            let kept = || self.line.as_deref().map(|line| as_it_is(key, owner, line));
            records.extend(sealed.or_else(kept).map(|line| (key, line)));
        } else {
            for (unit, span) in self.spans {
                let key = StoreKey::Span(id, unit);
                records.push((key, sealed(key, SPAN_VERSION, owner, &span)));
            }
        }
        records
    }

    fn owner(&self) -> OwnerId {
        let of = |record: &[u8]| serde_json::from_slice::<Holder>(record).ok().map(|holder| holder.owner);
        self.job.as_deref().and_then(of).or_else(|| self.line.as_deref().and_then(of)).unwrap_or_default()
    }
}

/// A line of before as it is kept now.
fn now(id: JobId, line: &[u8]) -> Option<Vec<u8>> {
    version(line).filter(|version| *version == VERSION)?;
    let Line { holder, mut summary, bytes, has_result } = serde_json::from_slice(line).ok()?;
    summary.holder = holder;
    let is_right = summary.id == id && summary.state.is_final();
    is_right.then(|| Finished::new(&summary, bytes, has_result).record(&summary))
}

fn version(record: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Versioned>(record).ok().map(|record| record.version)
}

/// What is not understood, in an envelope of the version that it says it has.
fn as_it_is(key: StoreKey, owner: OwnerId, record: &[u8]) -> Vec<u8> {
    let version = version(record).filter(|version| *version > VERSION);
    let version = version.map_or(JOB_VERSION, |version| u16::try_from(version).unwrap_or(u16::MAX));
    sealed(key, version, owner, record)
}

fn sealed(key: StoreKey, version: u16, owner: OwnerId, body: &[u8]) -> Vec<u8> {
    seal(key, version, owner, |mut record| {
        record.extend_from_slice(body);
        record
    })
}

//! Takes over what a tab kept before records had the names that the node gives them: texts with a noun.

use std::collections::BTreeMap;

use p2pnet_shared::{id::JobId, node::OfBefore, store::StoreKey};

use super::{Inner, Store, StoreError, bound};

/// Sorts after every character of a key.
const AFTER_ALL: char = '\u{ffff}';

/// What a record of before is of.
enum Named {
    Job(JobId),
    Span(JobId, u64),
    Result(JobId),
    Line(JobId),
}

impl Named {
    fn job(&self) -> JobId {
        match self {
            Self::Job(job) | Self::Span(job, _) | Self::Result(job) | Self::Line(job) => *job,
        }
    }
}

/// Reads a name of before; `None` for what no version had.
fn read(text: &str) -> Option<Named> {
    let (noun, name) = text.split_once('/')?;
    match noun {
        "job" => name.parse().ok().map(Named::Job),
        "result" => name.parse().ok().map(Named::Result),
        "finished" => name.parse().ok().map(Named::Line),
        "span" => {
            let (job, start) = name.split_once('/')?;
            Some(Named::Span(job.parse().ok()?, u64::from_str_radix(start, 16).ok()?))
        }
        _ => None,
    }
}

/// What is found of a job, and the keys that it lies under.
#[derive(Default)]
struct Found {
    records: OfBefore,
    result: Option<Vec<u8>>,
    keys: Vec<String>,
}

impl Store {
    /// Records of before, which from then on lie under their new names; in one transaction with the old ones' end. What has no
    /// name that any version gave stays where it is.
    pub(super) async fn take_over(&self) -> Result<Vec<(StoreKey, Vec<u8>)>, StoreError> {
        let prefix = format!("{}node/", self.inner.prefix);
        let range = bound(&prefix, &format!("{prefix}{AFTER_ALL}"))?;
        let mut jobs: BTreeMap<JobId, Found> = BTreeMap::new();
        for (key, record) in self.inner.all(&range).await? {
            let Some(named) = key.strip_prefix(&prefix).and_then(read) else { continue };
            let found = jobs.entry(named.job()).or_default();
            found.keys.push(key);
            match named {
                Named::Job(_) => found.records.job = Some(record),
                Named::Span(_, unit) => found.records.spans.push((unit, record)),
                Named::Line(_) => found.records.line = Some(record),
                Named::Result(_) => {
                    found.records.result_bytes = Some(record.len() as u64);
                    found.result = Some(record);
                }
            }
        }
        let (mut taken, mut changes) = (Vec::new(), Vec::new());
        for (job, Found { records, result, keys }) in jobs {
            let records = records.take_over(job);
            // One without a job is what a kill left of it.
            let result = result.filter(|_| !records.is_empty()).map(|result| (StoreKey::Result(job), result));
            let new = records.iter().cloned().chain(result);
            changes.extend(new.map(|(key, record)| (self.inner.node_key(key), Some(record))));
            changes.extend(keys.into_iter().map(|key| (key, None)));
            taken.extend(records);
        }
        if !changes.is_empty() {
            Inner::order(self.inner.clone(), changes, None);
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_before_are_read_and_all_others_passed_over() {
        let id = JobId([0x5a; 16]);
        let digits = id.to_string();
        assert!(matches!(read(&format!("job/{digits}")), Some(Named::Job(job)) if job == id));
        assert!(matches!(read(&format!("span/{digits}/00000000000000ff")), Some(Named::Span(job, 255)) if job == id));
        assert!(matches!(read(&format!("result/{digits}")), Some(Named::Result(job)) if job == id));
        assert!(matches!(read(&format!("finished/{digits}")), Some(Named::Line(job)) if job == id));
        for text in ["", "job", "job/xyz", "span/5a", "offer/5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}

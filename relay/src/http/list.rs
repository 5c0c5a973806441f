//! `GET /api/v1/jobs`: the asker's own jobs, newest first, page by page, narrowed by state, name and labels.
//!
//! A page ends with a cursor in the headers, never in the body, which stays a plain list. A cursor is the place of the
//! last job shown, by the time of its submission and its id: jobs that come or go meanwhile neither repeat others nor
//! hide them.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use p2pnet_shared::{
    api::JobSummary,
    id::{JobId, OwnerId},
    job::{
        JobState,
        metadata::{self, Metadata},
    },
    node::Listing,
    refusal::{Code, Refusal},
    units::Moment,
};
use serde::Deserialize as _;
use serde::de::{IntoDeserializer as _, value::StrDeserializer};

use super::{
    App,
    address::Base,
    answer::{Refused, refuse, short},
    limits,
    owners::Asker,
    wait::twice,
};
use crate::host;

/// Where the next page begins.
pub const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

const HINT: &str = "it may have state (queued, running, verifying, completed, failed, cancelled, expired), name, label \
                    (key:value or key, up to 32 times), limit (1 to 1000), cursor (from X-Next-Cursor) and before (an id)";

/// A place in the list: jobs behind it are older, or as old and of a smaller id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor(Moment, JobId);

impl Cursor {
    fn of(job: &JobSummary) -> Self {
        Self(job.created_at, job.id)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.0, self.1)
    }
}

impl FromStr for Cursor {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text.split_once('-').ok_or(())?;
        Ok(Self(Moment(at.parse().map_err(|_| ())?), id.parse().map_err(|_| ())?))
    }
}

/// What a list is narrowed to.
#[derive(Debug, Default)]
struct Wanted {
    state: Option<JobState>,
    name: Option<String>,
    /// Keys, and what they must say if that matters.
    labels: Vec<(String, Option<String>)>,
    limit: Option<usize>,
    cursor: Option<Cursor>,
    before: Option<JobId>,
}

impl Wanted {
    fn read(pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let mut wanted = Self::default();
        for (place, (name, value)) in pairs.iter().enumerate() {
            if name != "label" && pairs.iter().take(place).any(|(other, _)| other == name) {
                return Err(twice(name));
            }
            let bad = || {
                let message = format!("the query's {} cannot be {:?}", short(name), short(value));
                Refusal::new(Code::InvalidField, message, HINT)
            };
            match name.as_str() {
                "state" => {
                    let word: StrDeserializer<'_, serde::de::value::Error> = value.as_str().into_deserializer();
                    wanted.state = Some(JobState::deserialize(word).map_err(|_| bad())?);
                }
                // As jobs are named, without spaces around it.
                "name" if value.trim().is_empty() => return Err(bad()),
                "name" => wanted.name = Some(value.trim().to_owned()),
                "label" => wanted.want_label(value)?,
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=limits::JOBS_IN_A_LIST).contains(limit));
                    wanted.limit = Some(limit.ok_or_else(bad)?);
                }
                "cursor" => wanted.cursor = Some(value.parse().map_err(|()| bad())?),
                "before" => wanted.before = Some(value.parse().map_err(|_| bad())?),
                _ => {
                    let message = format!("the query has no {:?}", short(name));
                    return Err(Refusal::new(Code::InvalidField, message, HINT));
                }
            }
        }
        Ok(wanted)
    }

    /// As many as a job may have: more of them nobody needs, and each is looked for in each job.
    fn want_label(&mut self, text: &str) -> Result<(), Refusal> {
        let label = match text.split_once(':') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        };
        // One that no job can have is a slip, and not a question whose answer is an empty list.
        Metadata::default().add_label(&label.0, label.1.as_deref().unwrap_or_default())?;
        if self.labels.contains(&label) {
            return Ok(());
        }
        if self.labels.len() >= metadata::MOST_LABELS {
            let message = format!("the query has more labels than a job may have, which is {}", metadata::MOST_LABELS);
            return Err(Refusal::new(Code::InvalidField, message, "leave some out"));
        }
        self.labels.push(label);
        Ok(())
    }

    fn takes(&self, job: &JobSummary) -> bool {
        self.state.is_none_or(|state| job.state == state)
            && self.name.as_ref().is_none_or(|name| job.name.as_ref() == Some(name))
            && self.labels.iter().all(|(key, value)| match (job.labels.get(key), value) {
                (Some(have), Some(want)) => have == want,
                (Some(_), None) => true,
                (None, _) => false,
            })
    }

    /// How many are shown at once.
    fn limit(&self) -> usize {
        self.limit.unwrap_or(limits::JOBS_IN_A_LIST)
    }

    /// What to ask the node for: one more than is shown, to know whether the list goes on.
    fn listing(self, owner: Option<OwnerId>) -> Listing {
        Listing {
            owner,
            before: self.cursor.map(|Cursor(at, id)| (at, id)),
            before_job: self.before,
            most: self.limit() + 1,
            takes: Arc::new(move |job| self.takes(job)),
        }
    }
}

/// The page that is shown, and where the next one begins, if there is one.
fn page(mut jobs: Vec<JobSummary>, limit: usize) -> (Vec<JobSummary>, Option<Cursor>) {
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    let next = jobs.last().map(Cursor::of).filter(|_| more);
    (jobs, next)
}

/// `GET /api/v1/jobs`
pub async fn list(
    State(app): State<Arc<App>>,
    asker: Asker,
    base: Base,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(pairs) = query.map_err(|rejection| {
        let message = format!("the query is not understood: {}", short(&rejection.body_text()));
        Refusal::new(Code::InvalidField, message, HINT)
    })?;
    let wanted = Wanted::read(&pairs)?;
    // A few at a time: each takes the node's time and, until it is written, some memory.
    let Some(_turn) = app.listings.wait(asker.source, limits::LIST_BYTES).await else { return Err(busy().into()) };
    let (limit, before) = (wanted.limit(), wanted.before);
    let Some(jobs) = app.handle.jobs(wanted.listing((!asker.is_admin).then_some(asker.listed))).await? else {
        let id = before.map(|id| id.to_string()).unwrap_or_default();
        return refuse(Code::UnknownJob, format!("no job has the id {id}"), "go on with cursor instead of before");
    };
    let (jobs, next) = page(jobs, limit);
    let (body, cut) = written(&jobs, limits::LIST_BYTES)?;
    let next = cut.or(next);
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    if let Some(next) = next {
        let headers = response.headers_mut();
        for (name, value) in [(NEXT_CURSOR, next.to_string()), (header::LINK, link(&base, &pairs, next))] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
    Ok(response)
}

/// The refusal of one list too many.
pub(super) fn busy() -> Refusal {
    let message = "as many lists of jobs are being made here as this relay makes at once";
    Refusal::new(Code::RateLimited, message, "ask again in a few seconds, or for single jobs by their ids")
}

/// A list as JSON, of at most `most` bytes but at least one job, and where it goes on if that was not all.
fn written(jobs: &[JobSummary], most: usize) -> Result<(Vec<u8>, Option<Cursor>), Refusal> {
    let mut body = b"[".to_vec();
    let mut last = None;
    for job in jobs {
        let before = body.len();
        if last.is_some() {
            body.push(b',');
        }
        // The cursor keeps to the node's scale of time: a clock that is set moves no job.
        serde_json::to_writer(&mut body, &as_shown(job)).map_err(|error| {
            tracing::error!(%error, "a job cannot be written as JSON");
            Refusal::new(Code::Internal, "the relay failed to write this list", "please report it with the relay's log")
        })?;
        if last.is_some() && body.len() >= most {
            body.truncate(before);
            body.push(b']');
            return Ok((body, last));
        }
        last = Some(Cursor::of(job));
    }
    body.push(b']');
    Ok((body, None))
}

/// A job with its moments as the wall clock is set now.
pub(super) fn as_shown(job: &JobSummary) -> Cow<'_, JobSummary> {
    match host::set_by() {
        0 => Cow::Borrowed(job),
        by => {
            let mut job = job.clone();
            job.shift(by);
            Cow::Owned(job)
        }
    }
}

/// The same question about the next page, as RFC 8288 writes it.
fn link(base: &Base, pairs: &[(String, String)], next: Cursor) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs.iter().filter(|(name, _)| name != "cursor" && name != "before") {
        query.append_pair(name, value);
    }
    let query = query.append_pair("cursor", &next.to_string()).finish();
    format!("<{}/api/v1/jobs?{query}>; rel=\"next\"", base.as_str())
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use p2pnet_shared::api::Progress;

    use super::*;

    fn job(n: u8, at: u64, name: Option<&str>, labels: &[(&str, &str)]) -> JobSummary {
        JobSummary {
            id: JobId([n; 16]),
            holder: p2pnet_shared::id::Holder::LOCAL,
            name: name.map(str::to_owned),
            labels: labels
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
            kind: "map".to_owned(),
            computes: None,
            state: JobState::Queued,
            waiting: None,
            error: None,
            failed_parts: 0,
            progress: Progress::default(),
            created_at: Moment(at),
            finished_at: None,
        }
    }

    fn wanted(pairs: &[(&str, &str)]) -> Wanted {
        Wanted::read(&owned(pairs)).unwrap()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn ids(jobs: &[JobSummary]) -> Vec<u8> {
        jobs.iter().map(|job| job.id.0[0]).collect()
    }

    #[test]
    fn a_page_says_where_the_next_one_begins_if_there_is_one() {
        let all = vec![job(5, 30, None, &[]), job(4, 20, None, &[]), job(3, 20, None, &[])];
        let (first, next) = page(all.clone(), 2);
        assert_eq!((ids(&first), next.unwrap().to_string()), (vec![5, 4], format!("20-{}", JobId([4; 16]))));
        assert!(page(all, 3).1.is_none());
    }

    #[test]
    fn a_page_ends_where_its_bytes_do_and_the_next_one_goes_on_there() {
        let all: Vec<JobSummary> = (0..9).map(|n| job(9 - n, 90 - u64::from(n), Some("nightly"), &[])).collect();
        let whole = serde_json::to_vec(&all).unwrap();
        assert_eq!(written(&all, whole.len() + 1).unwrap(), (whole.clone(), None));
        assert_eq!(written(&[], 1).unwrap(), (b"[]".to_vec(), None));
        let (mut rest, mut seen) = (all.as_slice(), Vec::new());
        loop {
            let (body, next) = written(rest, whole.len() / 3).unwrap();
            assert!(body.len() <= whole.len() / 3);
            seen.extend(ids(&serde_json::from_slice::<Vec<JobSummary>>(&body).unwrap()));
            let Some(next) = next else { break };
            rest = &all[all.iter().position(|job| Cursor::of(job) < next).unwrap()..];
        }
        assert_eq!(seen, (1..=9).rev().collect::<Vec<u8>>());
        assert_eq!(written(&all, 0).unwrap().1, Some(Cursor::of(&all[0])), "one at least");
    }

    #[test]
    fn names_and_labels_narrow_the_list() {
        let all = [job(2, 2, Some("nightly"), &[("team", "a:b"), ("run", "1")]), job(1, 1, None, &[("team", "c")])];
        for (pairs, expected) in [
            (&[("name", "nightly")][..], &[2][..]),
            (&[("label", "team")], &[2, 1]),
            (&[("label", "team:a:b")], &[2]),
            (&[("label", "team:c"), ("label", "run:1")], &[]),
            (&[("state", "failed")], &[]),
        ] {
            let wanted = wanted(pairs);
            let taken: Vec<JobSummary> = all.iter().filter(|job| wanted.takes(job)).cloned().collect();
            assert_eq!(ids(&taken), expected, "{pairs:?}");
        }
    }

    #[test]
    fn queries_that_are_none_are_named() {
        for pair in [
            ("limit", "-1"),
            ("limit", ""),
            ("limit", "0"),
            ("limit", "1001"),
            ("name", "  "),
            ("state", "asleep"),
            ("cursor", "x"),
            ("before", "x"),
            ("colour", "red"),
            ("label", ""),
            ("label", ":value"),
            ("label", "a key"),
        ] {
            let refusal = Wanted::read(&owned(&[pair])).unwrap_err();
            assert!(refusal.code == Code::InvalidField && refusal.message.contains(pair.0), "{refusal}");
        }
    }

    #[test]
    fn what_stands_twice_in_a_query_is_named_but_for_labels() {
        for name in ["state", "name", "limit", "cursor", "before"] {
            let value = match name {
                "state" => "failed",
                "limit" => "7",
                "cursor" => &format!("7-{}", "ab".repeat(16)),
                _ => &"ab".repeat(16),
            };
            let refusal = Wanted::read(&owned(&[(name, value), ("label", "a"), (name, value)])).unwrap_err();
            assert!(refusal.message.contains(name) && refusal.message.contains("twice"), "{refusal}");
        }
        assert_eq!(wanted(&[("label", "a"), ("label", "b"), ("label", "a")]).labels.len(), 2);
        assert_eq!(wanted(&[("name", " nightly ")]).name.as_deref(), Some("nightly"));
    }

    #[test]
    fn a_query_has_no_more_labels_than_a_job() {
        let mut pairs: Vec<(String, String)> =
            (0..metadata::MOST_LABELS).map(|number| ("label".to_owned(), format!("key-{number}"))).collect();
        assert_eq!(Wanted::read(&pairs).unwrap().labels.len(), metadata::MOST_LABELS);
        pairs.push(("label".to_owned(), "one:more".to_owned()));
        let refusal = Wanted::read(&pairs).unwrap_err();
        assert!(refusal.code == Code::InvalidField && refusal.message.contains("32"), "{refusal}");
    }

    #[test]
    fn the_link_asks_the_same_of_the_next_page() {
        let pairs = owned(&[("limit", "2"), ("label", "a:b c"), ("cursor", "1-0")]);
        let link = link(&"/x".parse().unwrap(), &pairs, Cursor(Moment(7), JobId([0xab; 16])));
        assert_eq!(link, format!("</x/api/v1/jobs?limit=2&label=a%3Ab+c&cursor=7-{}>; rel=\"next\"", "ab".repeat(16)));
    }
}

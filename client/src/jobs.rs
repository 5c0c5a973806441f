//! Questions about jobs, each with its types.

use std::time::{Duration, Instant};

use p2pnet_shared::{
    api::{JobStatus, JobSummary, Submitted},
    id::{Hash, JobId},
    refusal::Code,
    units::Moment,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use tokio::time::sleep;

use crate::{Client, Error, Given, Page};

/// How long the relay may hold a question back until a job has ended, in seconds.
const WAIT_SECONDS: u64 = 30;
/// First and longest pause between two looks at a relay that does not hold questions back.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How often a relay that went away while we wait is tried again, once a second.
const MOST_SILENCE: u32 = 60;

/// Which jobs of a list are wanted; nothing said: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only in this state, by the API's word.
    pub state: Option<String>,
    /// Only of this name.
    pub name: Option<String>,
    /// Only with these labels, each `key` or `key:value`.
    pub labels: Vec<String>,
}

/// What became of a job that was asked to stop.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stopped {
    /// `cancelled` or `removed`.
    pub state: String,
}

/// What `PUT /api/v1/kernels` answers.
#[derive(Deserialize)]
struct Kept {
    hash: Hash,
}

/// The answer to `GET …/result`.
#[derive(Deserialize)]
struct Answer {
    result: Value,
}

/// The same, where only its being one is asked.
#[derive(Deserialize)]
struct AnyAnswer {
    #[serde(rename = "result")]
    _result: IgnoredAny,
}

/// What every description of a job has.
#[derive(Deserialize)]
struct Known {
    #[serde(rename = "id")]
    _id: JobId,
}

/// Of all of these: the relay said no, or none answered.
impl Client {
    /// Sends a job, as JSON text. The same job under the same `key` is sent once, however often it is tried.
    pub async fn submit(&self, job: String, key: Option<&str>) -> Result<JobId, Error> {
        self.post("api/v1/jobs", job, key).await.map(|Submitted { id }| id)
    }

    /// Leaves a module at the relay, which jobs then name by this hash.
    pub async fn keep_module(&self, module: Vec<u8>) -> Result<Hash, Error> {
        self.put("api/v1/kernels", module).await.map(|Kept { hash }| hash)
    }

    /// Where a job stands.
    pub async fn job(&self, id: JobId) -> Result<JobStatus, Error> {
        self.job_with_time(id).await.map(|(status, _)| status)
    }

    /// The same, with the relay's time when it answered: what it says of the past is told from there.
    pub async fn job_with_time(&self, id: JobId) -> Result<(JobStatus, Moment), Error> {
        self.get_with_time(&path(id, "")).await
    }

    /// The same as the relay's own JSON, checked to be of a job.
    pub async fn job_text(&self, id: JobId) -> Result<String, Error> {
        self.get_text::<Known>(&path(id, "")).await
    }

    /// Asks until a job has ended; a relay that restarts meanwhile, or a proxy that misses it, is waited for.
    pub async fn wait(&self, id: JobId) -> Result<JobSummary, Error> {
        let path = path(id, &format!("?wait={WAIT_SECONDS}"));
        let (mut pause, longest) = LOOK_AGAIN;
        let mut silent = 0;
        loop {
            let asked = Instant::now();
            match self.get::<JobStatus>(&path).await {
                Ok(status) if status.summary.state.is_final() => return Ok(status.summary),
                Ok(_) => silent = 0,
                Err(Error::Unreachable { .. } | Error::NoApi { may_pass: true, .. }) if silent < MOST_SILENCE => {
                    silent += 1;
                    pause = Duration::from_secs(1);
                }
                // Too many questions wait there already: look now and then instead.
                Err(Error::Refused(refusal)) if refusal.code == Code::RateLimited => pause = Duration::from_secs(1),
                Err(error) => return Err(error),
            }
            // A relay that holds questions back was worth no pause.
            if asked.elapsed() < longest {
                sleep(pause).await;
                pause = (pause * 3 / 2).min(longest.max(pause));
            }
        }
    }

    /// A job's result as a JSON value; bytes are texts in base64.
    pub async fn result(&self, id: JobId) -> Result<Value, Error> {
        self.get(&path(id, "/result")).await.map(|Answer { result }| result)
    }

    /// The same as the relay's own JSON, checked to be a result.
    pub async fn result_text(&self, id: JobId) -> Result<String, Error> {
        self.get_text::<AnyAnswer>(&path(id, "/result")).await
    }

    /// A job's result as the bytes that a kernel or a program put out; JSON, of a kind without bytes.
    pub async fn result_bytes(&self, id: JobId) -> Result<Given, Error> {
        self.bytes_or_result(&path(id, "/result")).await
    }

    /// What a program wrote to standard output, also if its job failed.
    pub async fn standard_output(&self, id: JobId) -> Result<Given, Error> {
        self.bytes_or_result(&path(id, "/result/stdout")).await
    }

    async fn bytes_or_result(&self, path: &str) -> Result<Given, Error> {
        Ok(match self.get_bytes::<Answer>(path).await? {
            Given::Bytes { bytes, failed_parts } => Given::Bytes { bytes, failed_parts },
            Given::Json(Answer { result }) => Given::Json(result),
        })
    }

    /// A page of the jobs that this client sees, newest first: those behind `cursor`, at most `limit` of them.
    pub async fn list(
        &self,
        filter: &Filter,
        limit: Option<usize>,
        cursor: Option<&str>,
    ) -> Result<Page<Vec<JobSummary>>, Error> {
        let Page { items, next, now } = self.list_values(filter, limit, cursor).await?;
        Ok(Page { items: self.jobs_of(items)?, next, now })
    }

    /// Jobs from the relay's own JSON.
    pub fn jobs_of(&self, values: Vec<Value>) -> Result<Vec<JobSummary>, Error> {
        let jobs: Result<Vec<JobSummary>, _> = values.into_iter().map(serde_json::from_value).collect();
        jobs.map_err(|error| self.other_json(&error))
    }

    /// The same as the relay's own JSON, each checked to be a job.
    pub async fn list_values(
        &self,
        filter: &Filter,
        limit: Option<usize>,
        cursor: Option<&str>,
    ) -> Result<Page<Vec<Value>>, Error> {
        let page: Page<Vec<Value>> = self.page(&filter.path(limit, cursor)).await?;
        for job in &page.items {
            Known::deserialize(job).map_err(|error| self.other_json(&error))?;
        }
        Ok(page)
    }

    /// Stops a job that runs, removes one that has ended.
    pub async fn stop(&self, id: JobId) -> Result<Stopped, Error> {
        self.delete(&path(id, "")).await
    }
}

fn path(id: JobId, rest: &str) -> String {
    format!("api/v1/jobs/{id}{rest}")
}

impl Filter {
    /// Whether it leaves out any job.
    pub fn is_narrow(&self) -> bool {
        *self != Self::default()
    }

    fn path(&self, limit: Option<usize>, cursor: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let limit = limit.map(|limit| limit.to_string());
        for (name, value) in [("state", &self.state), ("name", &self.name), ("limit", &limit)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        for label in &self.labels {
            query.append_pair("label", label);
        }
        if let Some(cursor) = cursor {
            query.append_pair("cursor", cursor);
        }
        let query = query.finish();
        if query.is_empty() { "api/v1/jobs".to_owned() } else { format!("api/v1/jobs?{query}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_asked_for_by_what_is_said_of_it() {
        assert_eq!(Filter::default().path(None, None), "api/v1/jobs");
        assert!(!Filter::default().is_narrow());
        let filter = Filter {
            state: Some("running".to_owned()),
            name: Some("a&b".to_owned()),
            labels: vec!["team:physics".to_owned(), "run".to_owned()],
        };
        assert_eq!(
            filter.path(Some(5), Some("x y")),
            "api/v1/jobs?state=running&name=a%26b&limit=5&label=team%3Aphysics&label=run&cursor=x+y"
        );
        assert!(filter.is_narrow());
    }
}

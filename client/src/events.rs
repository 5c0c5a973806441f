//! What changes at a relay, as it happens.

use std::{collections::VecDeque, time::Duration};

use futures::{Stream, stream};
use p2pnet_shared::{api::Event, id::JobId};
use reqwest::{Method, Response, header};
use serde::Deserialize;
use tokio::time::timeout;

use crate::{Client, Error};

/// A relay that says nothing for so long is gone: one that has no news says so every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// How long one may listen before it has to ask again.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The longest line, in bytes: a job with its labels is far shorter.
const MOST_LINE: usize = 1 << 20;

/// The data of a job that is gone.
#[derive(Deserialize)]
struct Removed {
    id: JobId,
}

impl Client {
    /// What changes from now on: the jobs that this client sees, and the network. The first is always the network: whoever
    /// listens should then fetch what it shows. It ends with an error where the relay
    /// goes away, and without one where the relay ends it; then one asks again.
    pub async fn events(&self) -> Result<impl Stream<Item = Result<Event, Error>> + use<'_>, Error> {
        let request = self.request(Method::GET, "api/v1/events")?;
        let request = request.header(header::ACCEPT, "text/event-stream").timeout(LONGEST);
        let response = self.checked(request, SILENCE).await?;
        let is_events = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
            String::from_utf8_lossy(kind.as_bytes()).trim_start().to_ascii_lowercase().starts_with("text/event-stream")
        });
        if !is_events {
            let came = self.came(response).await?;
            return Err(self.other(came.told()));
        }
        let listening =
            Listening { client: self, response, lines: Lines::default(), changes: VecDeque::new(), over: false };
        Ok(stream::unfold(listening, |mut listening| async move {
            let change = listening.next().await?;
            listening.over = change.is_err();
            Some((change, listening))
        }))
    }
}

struct Listening<'a> {
    client: &'a Client,
    response: Response,
    lines: Lines,
    changes: VecDeque<Event>,
    over: bool,
}

impl Listening<'_> {
    async fn next(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if self.over {
                return None;
            }
            if let Some(change) = self.changes.pop_front() {
                return Some(Ok(change));
            }
            let bytes = match timeout(SILENCE, self.response.chunk()).await {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => return None,
                Ok(Err(error)) => return Some(Err(self.client.unreachable(&error))),
                Err(_) => return Some(Err(self.client.gone("it says nothing more".to_owned()))),
            };
            match self.lines.take(&bytes) {
                Ok(changes) => self.changes.extend(changes),
                Err(what) => return Some(Err(self.client.other(what))),
            }
        }
    }
}

/// What has come of the lines of a stream of events.
#[derive(Default)]
struct Lines {
    /// The last one, as far as it is here.
    begun: Vec<u8>,
    name: String,
    data: String,
}

impl Lines {
    /// Takes more bytes, and gives the changes that they complete.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>, String> {
        let mut changes = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                if self.begun.len() >= MOST_LINE {
                    return Err(format!("an event with a line of more than {MOST_LINE} bytes"));
                }
                self.begun.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.begun);
            let line = String::from_utf8_lossy(&line);
            let line = line.strip_suffix('\r').unwrap_or(&line);
            if line.is_empty() {
                changes.extend(self.end()?);
            } else if let Some(name) = line.strip_prefix("event:") {
                self.name = name.trim_start().to_owned();
            } else if let Some(data) = line.strip_prefix("data:") {
                if self.data.len() + data.len() > MOST_LINE {
                    return Err(format!("an event of more than {MOST_LINE} bytes"));
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        Ok(changes)
    }

    /// The event that an empty line ends; none of another version's that is not known here.
    fn end(&mut self) -> Result<Option<Event>, String> {
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        let broken = |error: serde_json::Error| format!("an event of another version ({name}: {error})");
        Ok(match name.as_str() {
            "job" => {
                // By way of a `Value`: numbers of any size inside are only read from there.
                let job = serde_json::from_str::<serde_json::Value>(&data).and_then(serde_json::from_value);
                Some(Event::Job(Box::new(job.map_err(broken)?)))
            }
            "job_removed" => {
                Some(Event::JobRemoved { id: serde_json::from_str(&data).map(|Removed { id }| id).map_err(broken)? })
            }
            "network" => Some(Event::Network),
            _ => None,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn events_come_however_their_bytes_are_cut() {
        let id = "ab".repeat(16);
        let text = format!(
            ": a comment\n\nevent: network\ndata: {{}}\n\nevent: job_removed\r\ndata: {{\"id\":\"{id}\"}}\r\n\r\n\
             event: of_tomorrow\ndata: 1\n\nevent: network\n"
        );
        let expected = vec![Event::Network, Event::JobRemoved { id: id.parse().unwrap() }];
        for step in [1, 3, text.len()] {
            let mut lines = Lines::default();
            let pieces = text.as_bytes().chunks(step);
            let changes: Vec<Event> = pieces.flat_map(|piece| lines.take(piece).unwrap()).collect();
            assert_eq!(changes, expected, "{step}");
        }
    }

    #[test]
    fn what_is_no_event_is_told_and_bounded() {
        assert!(Lines::default().take(b"event: job\ndata: [1]\n\n").unwrap_err().contains("another version"));
        assert!(Lines::default().take(&vec![b'a'; MOST_LINE + 1]).unwrap_err().contains("more than"));
        let long = format!("data: {}\n", "a".repeat(MOST_LINE / 2));
        assert!(Lines::default().take(long.repeat(3).as_bytes()).unwrap_err().contains("an event of more than"));
    }
}

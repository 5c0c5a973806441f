//! `GET /metrics`: figures for Prometheus, in its text format (OpenMetrics). Units are in the names: `_total`, `_seconds`, `_bytes`.

use std::{sync::Arc, sync::atomic::AtomicU64, time::Duration};

use axum::{
    extract::State,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use p2pnet_shared::{
    api::{NetworkView, Path},
    job::JobState,
};
use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::{App, answer::Refused};
use crate::cli::failure::{internal, word};

type Labels = Vec<(&'static str, String)>;

/// What is counted as it happens; the rest is read from the node when somebody asks.
pub struct Metrics {
    requests: Family<Labels, Counter>,
    durations: Histogram,
    submitted: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Histogram::new(exponential_buckets(0.0005, 4.0, 9)),
            submitted: Counter::default(),
        }
    }
}

impl Metrics {
    /// Counts a request.
    pub fn request(&self, method: &Method, status: StatusCode, took: Duration) {
        // Methods are a stranger's words: only those that the relay knows become labels.
        let method = match *method {
            Method::GET | Method::POST | Method::PUT | Method::DELETE | Method::HEAD | Method::OPTIONS => {
                method.to_string()
            }
            _ => "other".to_owned(),
        };
        self.requests.get_or_create(&vec![("method", method), ("status", status.as_u16().to_string())]).inc();
        self.durations.observe(took.as_secs_f64());
    }

    /// Counts a job taken.
    pub fn job_submitted(&self) {
        self.submitted.inc();
    }
}

/// `GET /metrics`
pub async fn text(State(app): State<Arc<App>>) -> Result<Response, Refused> {
    let mut registry = Registry::with_prefix("p2pnet");
    let metrics = &app.metrics;
    registry.register("http_requests", "HTTP requests answered", metrics.requests.clone());
    registry.register_with_unit("http_request_duration", "Time to answer", Unit::Seconds, metrics.durations.clone());
    registry.register("jobs_submitted", "Jobs taken over HTTP", metrics.submitted.clone());
    gauge(&mut registry, "uptime", "Since the start", Some(Unit::Seconds), app.started.elapsed().as_secs());
    gauge(&mut registry, "websockets", "WebSockets connected at /p2p", None, app.sockets.taken() as u64);

    let figures = app.store.writer().figures();
    counter(&mut registry, "store_changes_written", "Changes written to the store", None, figures.written);
    counter(
        &mut registry,
        "store_changes_dropped",
        "Finished spans not kept: the disk was too slow",
        None,
        figures.dropped,
    );
    gauge(&mut registry, "store_waiting", "Changes that wait to be written", Some(Unit::Bytes), figures.waiting_bytes);

    let view = app.handle.network().await;
    let not_understood = view.as_ref().map_or(0, |view| view.records_not_understood);
    let help = "Records of the store that are damaged or of a later version, and left alone";
    gauge(&mut registry, "store_records_not_understood", help, None, not_understood);

    let jobs: Family<Labels, Gauge> = Family::default();
    for state in STATES {
        jobs.get_or_create(&vec![("state", word(&state))]).set(0);
    }
    for (state, count) in app.handle.states().await {
        jobs.get_or_create(&vec![("state", word(&state))]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("jobs", "Jobs that this relay keeps, by state", jobs);
    if let Some(view) = view {
        network(&mut registry, &view);
    }

    let mut body = String::new();
    encode(&mut body, &registry).map_err(|error| internal(format!("the figures cannot be written: {error}")))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], body).into_response())
}

const STATES: [JobState; 7] = [
    JobState::Queued,
    JobState::Running,
    JobState::Verifying,
    JobState::Completed,
    JobState::Failed,
    JobState::Cancelled,
    JobState::Expired,
];

fn network(registry: &mut Registry, view: &NetworkView) {
    let connected: Family<Labels, Gauge> = Family::default();
    let mut offers = 0;
    let mut cores = 0;
    for node in &view.nodes {
        if let Some(path) = &node.path {
            let path = match path {
                Path::Direct => "direct",
                Path::Relayed { via: _ } => "relayed",
            };
            let transport = node.transport.clone().unwrap_or_else(|| "unknown".into());
            connected.get_or_create(&vec![("path", path.into()), ("transport", transport)]).inc();
        }
        if let Some(offer) = &node.offer {
            offers += 1;
            cores += u64::from(offer.cores);
        }
    }
    registry.register("nodes_connected", "Nodes connected, by path and transport", connected);
    gauge(registry, "nodes_known", "Nodes connected or known from offers", None, view.nodes_total);
    gauge(registry, "offers", "Nodes that lend", None, offers);
    gauge(registry, "offered_cores", "Cores that they lend", None, cores);
    let provider = &view.provider;
    counter(registry, "tasks_executed", "Tasks that this node executed", None, provider.tasks_done);
    counter(registry, "gas_executed", "Gas of those", None, provider.gas_done.0);
    let busy: Counter<f64, AtomicU64> = Counter::default();
    busy.inc_by(Duration::from_micros(provider.busy_micros).as_secs_f64());
    registry.register_with_unit("busy", "Processor time of those", Unit::Seconds, busy);
    gauge(registry, "batches_running", "Batches that this node runs now", None, provider.running.len() as u64);
    gauge(registry, "batches_queued", "Batches that wait at this node", None, u64::from(provider.queued));
}

fn gauge(registry: &mut Registry, name: &str, help: &str, unit: Option<Unit>, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, gauge),
        None => registry.register(name, help, gauge),
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str, unit: Option<Unit>, value: u64) {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, counter),
        None => registry.register(name, help, counter),
    }
}

//! `GET /healthz`: whether this relay does its work, for monitors and load balancers.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::time::timeout;

use super::App;
use crate::store::Held;

/// A node's loop answers within microseconds; one that takes so long is stuck.
const PATIENCE: Duration = Duration::from_secs(2);

/// `GET /healthz`: 200 when everything works, 503 with the reason otherwise.
pub async fn check(State(app): State<Arc<App>>) -> Response {
    let node = if app.stopping.is_cancelled() {
        "stopping"
    } else {
        match timeout(PATIENCE, app.handle.network()).await {
            Ok(Some(_)) => "ok",
            Ok(None) => "stopped",
            Err(_) => "stuck",
        }
    };
    let trouble = app.store.trouble();
    let held = app.store.writer().held();
    let store = match (&trouble, held.records) {
        (Some(_), _) => "failing",
        (None, 0) => "ok",
        // Jobs are taken, and their ends are kept.
        (None, _) => "waiting",
    };
    let fine = node == "ok" && trouble.is_none();
    let mut body = json!({
        "status": if fine { "ok" } else { "failing" },
        "node": node,
        "store": store,
        "id": app.handle.me(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": app.started.elapsed().as_secs(),
    });
    if let Some(trouble) = trouble {
        let (what, hint) = trouble.words();
        body["reason"] = json!(what);
        body["hint"] = json!(hint);
    } else if store == "waiting" {
        body["reason"] = json!(why_waiting(held));
        body["hint"] = json!(
            "free some room there; a job whose result waits goes on from its finished parts if the relay restarts before"
        );
    }
    (if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body)).into_response()
}

fn why_waiting(held: Held) -> String {
    let Held { records, bytes } = held;
    let mib = bytes.div_ceil(1 << 20);
    format!(
        "the disk that holds this relay's data folder has no room for {records} results or parts of jobs ({mib} MiB), which wait in memory; everything smaller is kept"
    )
}

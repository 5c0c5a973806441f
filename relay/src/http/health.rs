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
    let store = if trouble.is_some() { "failing" } else { "ok" };
    let fine = node == "ok" && store == "ok";
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
    }
    (if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body)).into_response()
}

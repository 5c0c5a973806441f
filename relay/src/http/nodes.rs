//! `GET /api/v1/nodes`: who is connected, who lends, and what this relay itself lends.

use std::sync::Arc;

use axum::{Json, extract::State};
use p2pnet_shared::{api::NetworkView, refusal::Code};

use super::{
    App,
    answer::{Refused, refuse},
};
use crate::host;

/// `GET /api/v1/nodes`
pub async fn list(State(app): State<Arc<App>>) -> Result<Json<NetworkView>, Refused> {
    match app.handle.network().await {
        Some(mut view) => {
            // With a job's id one could read and stop it; which runs belong together is no secret.
            for run in &mut view.provider.running {
                run.job = app.owners.cover(run.job);
            }
            view.shift(host::set_by());
            Ok(Json(view))
        }
        None => refuse(Code::ShuttingDown, "this relay is stopping", "ask again in a few seconds"),
    }
}

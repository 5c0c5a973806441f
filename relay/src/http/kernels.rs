//! `PUT /api/v1/kernels`: a module on its own, as bytes, so that jobs may name it by its hash. JSON in base64 is a third
//! longer, and a job is read as a whole; this is the way for modules of any size that a node takes.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{ConnectInfo, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use p2pnet_shared::{
    id::Hash,
    job::kinds::command,
    kernel::{self, MOST_MODULE_BYTES},
    refusal::{Code, Refusal},
};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{
    App,
    answer::{Refused, refuse},
    browsers,
    compress::Encoding,
    intake::{self, Bound, SMALLER_MODULE},
    source::Source,
};

/// What a module is named by from now on.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// BLAKE3 of its bytes.
    hash: Hash,
    /// How many they are.
    bytes: usize,
}

/// `PUT /api/v1/kernels`: answers when the module is on the disk.
pub async fn keep(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    if app.stopping.is_cancelled() {
        return refuse(Code::ShuttingDown, "this relay is stopping", "send the module again in a few seconds");
    }
    browsers::check_content_type(&headers, &browsers::A_MODULE)?;
    let source = Source::of(app.proxies.client(peer, &headers));
    if !app.allowance.take(source, Instant::now()) {
        return refuse(Code::RateLimited, "too many modules and jobs from one address", "wait a second");
    }
    let encoding = Encoding::of(&headers)?;
    let body = app.intake.receive(source, body, &headers, Bound::OF_MODULE).await?;
    let weight = encoding.weight(&body.bytes, MOST_MODULE_BYTES);
    let Some(turn) = app.turns.wait(source, weight).await else { return Err(intake::full().into()) };
    let bytes = body.bytes.clone();
    let module = match spawn_blocking(move || check(encoding, bytes)).await {
        Ok(Ok(module)) => module,
        Ok(Err(refusal)) => {
            turn.refused();
            return Err(refusal.into());
        }
        Err(error) => {
            tracing::error!(%error, "reading a module panicked");
            return refuse(Code::Internal, "the relay failed to read this module", "please report it with the module");
        }
    };
    drop((turn, body));
    let (hash, bytes) = (Hash::of(&module), module.len());
    app.store.writer().promise_kernel(hash, module.to_vec()).await.map_err(|trouble| trouble.refusal_of_a_kernel())?;
    Ok(Json(Kept { hash, bytes }).into_response())
}

/// A module that some job could use.
fn check(encoding: Encoding, body: Bytes) -> Result<Bytes, Refusal> {
    let module = encoding.unfold(body, MOST_MODULE_BYTES, SMALLER_MODULE)?;
    if command::is_command(&module) {
        kernel::prepare(&command::adapt(&module)?)?;
    } else {
        kernel::prepare(&module)?;
    }
    Ok(module)
}

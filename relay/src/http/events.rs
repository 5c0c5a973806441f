//! `GET /api/v1/events`: what changes, as server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt, stream};
use p2pnet_net::handle::Hears;
use p2pnet_shared::{api::Event, refusal::Code};

use super::{
    App,
    answer::{Refused, refuse},
    limits,
    list::as_shown,
    owners::Asker,
};

/// A silent stream says so this often, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /api/v1/events`
///
/// The first event is always `network`: a listener then knows that it is connected and should fetch what it shows.
/// Jobs are the listener's own.
pub async fn listen(State(app): State<Arc<App>>, asker: Asker) -> Result<Response, Refused> {
    let Some(place) = app.listeners.enter(asker.source, false) else {
        return refuse(
            Code::RateLimited,
            format!("{} listeners are connected, which is as many as this relay serves", limits::LISTENERS.all),
            "look at GET /api/v1/jobs now and then instead",
        );
    };
    let gone = place.gone();
    let changes = app.handle.events(if asker.is_admin { Hears::Everything } else { Hears::Of(asker.listed) });
    let events = stream::once(async { Event::Network }).chain(changes).map(move |event| {
        // Held as long as the stream lives.
        let _ = &place;
        Ok::<_, Infallible>(to_sse(&event))
    });
    let events = until(events, app.stopping.clone()).take_until(gone);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// Ends with the process: a listener would otherwise hold the shutdown up for ever.
fn until<S: Stream>(stream: S, stopping: tokio_util::sync::CancellationToken) -> impl Stream<Item = S::Item> {
    stream.take_until(stopping.cancelled_owned())
}

fn to_sse(event: &Event) -> sse::Event {
    let name = match event {
        Event::Job(_) => "job",
        Event::JobRemoved { id: _ } => "job_removed",
        Event::Network => "network",
    };
    let data = match event {
        Event::Job(summary) => serde_json::to_string(&as_shown(summary)),
        Event::JobRemoved { id } => serde_json::to_string(&serde_json::json!({ "id": id })),
        Event::Network => Ok("{}".to_owned()),
    };
    match data {
        Ok(data) => sse::Event::default().event(name).data(data),
        Err(error) => {
            tracing::error!(%error, "an event cannot be written as JSON");
            sse::Event::default().comment("an event was lost")
        }
    }
}

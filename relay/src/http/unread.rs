//! Early answers. A refusal often goes out while the client is still sending. Closing then would throw the answer away:
//! what arrives at a closed port is answered with a reset, and a client that sends first and reads later sees nothing but
//! a broken connection. So what is still coming is taken and forgotten, as much and as long as is bearable.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};
use futures::future::poll_fn;
use tokio::time::{Instant, timeout_at};

use super::{App, answer, intake, limits, source::Source};

/// Answers, then reads on.
pub async fn drain(app: &Arc<App>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    // Who asks first whether to send will not send after a refusal.
    let asks_first = request.headers().contains_key(header::EXPECT);
    let source = super::source_of(app, &request);
    let home = Arc::new(Mutex::new(None));
    let request = request.map(|body| Body::new(Lent { body: Some(body), touched: false, home: Arc::clone(&home) }));
    let mut response = next.run(request).await;
    let left = home.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Returned { body, touched }) = left {
        // One that was too slow is not waited for.
        if (touched || !asks_first) && !answer::said(&response).is_some_and(intake::came_slowly) {
            tokio::spawn(forget(Arc::clone(app), source, body));
        }
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn forget(app: Arc<App>, source: Source, mut body: Body) {
    let Some(place) = app.draining.enter(source, false) else { return };
    let end = Instant::now() + limits::DRAIN_TIME;
    let mut bytes = 0;
    let read = async {
        while bytes < limits::DRAIN_BYTES {
            let until = end.min(Instant::now() + limits::DRAIN_SILENCE);
            match timeout_at(until, poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))).await {
                Ok(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, Bytes::len),
                Ok(None | Some(Err(_))) | Err(_) => return,
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = place.gone() => {}
    }
}

/// What an endpoint left.
struct Returned {
    body: Body,
    /// Whether it was asked for anything.
    touched: bool,
}

/// A body that goes home when an endpoint drops it before its end.
struct Lent {
    body: Option<Body>,
    touched: bool,
    home: Arc<Mutex<Option<Returned>>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        self.touched = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            let returned = Returned { body, touched: self.touched };
            *self.home.lock().unwrap_or_else(PoisonError::into_inner) = Some(returned);
        }
    }
}

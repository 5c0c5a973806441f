//! The whole body of a request, within bounds of size and time.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use futures::StreamExt as _;
use p2pnet_shared::refusal::{Code, Refusal};
use tokio::time::timeout;

use super::{
    answer::{Refused, refuse},
    limits,
};

/// A body before it is known whether it fits.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    /// Bytes that came beyond what is taken.
    beyond: usize,
}

/// Receives a body.
///
/// Of one that is too large the rest is read too, as far as it is not endless: most clients look for the answer only when
/// they have sent everything, and would see a broken connection instead of the reason.
pub async fn receive(body: Body, headers: &HeaderMap) -> Result<Bytes, Refused> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|len| len > limits::MOST_BODY_BYTES + limits::MOST_BYTES_BEYOND) {
        return Err(Refused(too_large()));
    }
    let keep = announced.is_none_or(|len| len <= limits::MOST_BODY_BYTES);
    match timeout(limits::BODY_PATIENCE, read(body, keep, announced.unwrap_or(0))).await {
        Ok(Ok(received)) if !keep || received.beyond > 0 => Err(Refused(too_large())),
        Ok(Ok(received)) => Ok(received.bytes.into()),
        Ok(Err(error)) => refuse(Code::InvalidJson, format!("the body broke off: {error}"), "send the request again"),
        Err(_) => refuse(
            Code::InvalidJson,
            format!("the body did not arrive within {} s", limits::BODY_PATIENCE.as_secs()),
            "send less data, or over a faster line",
        ),
    }
}

async fn read(body: Body, keep: bool, announced: usize) -> Result<Received, axum::Error> {
    let mut received = Received::default();
    if keep {
        // Not all at once: an announcement costs nothing.
        received.bytes.reserve(announced.min(1 << 20));
    }
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if keep && received.beyond == 0 && received.bytes.len() + chunk.len() <= limits::MOST_BODY_BYTES {
            received.bytes.extend_from_slice(&chunk);
            continue;
        }
        received.bytes = Vec::new();
        received.beyond += chunk.len();
        if received.beyond > limits::MOST_BODY_BYTES + limits::MOST_BYTES_BEYOND {
            break;
        }
    }
    Ok(received)
}

fn too_large() -> Refusal {
    Refusal::new(
        Code::TooLarge,
        format!("a body may have at most {} MiB", limits::MOST_BODY_BYTES >> 20),
        "send it with Content-Encoding: gzip, a large module with PUT /api/v1/kernels, or split the data over several jobs",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    const CHUNK: usize = 1 << 20;

    /// What comes of a body of so many chunks, and how many of them were read.
    async fn outcome(chunks: usize) -> (Result<usize, Code>, usize) {
        let read = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&read);
        let stream = futures::stream::iter((0..chunks).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(vec![b' '; CHUNK])
        }));
        let result = receive(Body::from_stream(stream), &HeaderMap::new()).await;
        (result.map(|bytes| bytes.len()).map_err(|refused| refused.0.code), read.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_body_too_large_is_read_on_but_not_for_ever() {
        let most = limits::MOST_BODY_BYTES / CHUNK;
        assert_eq!(outcome(most).await, (Ok(limits::MOST_BODY_BYTES), most));
        assert_eq!(outcome(most + 2).await, (Err(Code::TooLarge), most + 2));
        let (result, read) = outcome(1_000).await;
        assert!(result == Err(Code::TooLarge) && read < 200, "{read}");
    }

    #[tokio::test]
    async fn an_announcement_far_beyond_the_bound_is_refused_without_reading() {
        let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, "99999999999".parse().unwrap())]);
        let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(receive(body, &headers).await.unwrap_err().0.code, Code::TooLarge);
    }
}

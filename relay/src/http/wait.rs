//! `?wait=SECONDS` and `Prefer: wait=SECONDS`: a question about a job that is answered when the job has ended, or when
//! the time is over, whichever comes first.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri},
    middleware::Next,
    response::Response,
};
use futures::StreamExt as _;
use p2pnet_net::handle::Handle;
use p2pnet_shared::{
    id::JobId,
    refusal::{Code, Refusal},
};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, sleep_until, timeout},
};

use super::{
    App,
    answer::{Places, Refused, short},
    limits,
    source::Source,
};

/// RFC 7240.
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Says that a wish to wait was heard, and for how long at most.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// Rounds of ends that a waiter may be behind with before it looks for itself.
const ENDS: usize = 256;
/// A waiter looks for itself this often, should an end have come before it was listened for.
const LOOK: Duration = Duration::from_secs(5);

/// Tells waiters of the ends of jobs: one listener at the node for all of them.
pub struct Ends(broadcast::Sender<Arc<[JobId]>>);

impl Ends {
    /// Listens until the node stops.
    pub fn of(handle: &Handle) -> Self {
        let (sender, _) = broadcast::channel(ENDS);
        let (ends, told) = (handle.ends(), sender.clone());
        tokio::spawn(async move {
            let mut ends = std::pin::pin!(ends);
            while let Some(ended) = ends.next().await {
                // An error says that nobody waits just now.
                let _ = told.send(ended.into());
            }
        });
        Self(sender)
    }
}

/// How long a request wants to wait.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    seconds: u64,
    /// It came in the header, so the answer says that it was heard.
    preferred: bool,
}

/// Holds a question about a job back until it can be answered as its asker wishes. Nothing else can be said in its query.
pub async fn hold(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Places(places): Places<BTreeMap<String, String>>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let may_wait = matches!(*request.method(), Method::GET | Method::HEAD);
    if may_wait || *request.method() == Method::DELETE {
        check_names(request.uri(), if may_wait { &["wait"] } else { &[] })?;
    }
    if !may_wait {
        return Ok(next.run(request).await);
    }
    let wish = read(request.uri(), request.headers())?;
    let Some(wish) = wish else { return Ok(next.run(request).await) };
    if let Some(id) = places.get("id").and_then(|id| id.parse::<JobId>().ok())
        && wish.seconds > 0
    {
        let source = Source::of(app.proxies.client(peer, request.headers()));
        let Some(place) = app.waiters.enter_busy(source, source.is_this_machine()) else {
            let message = format!("{} questions wait already", limits::WAITERS.per_address);
            let hint = "ask without wait, or let one program wait for several jobs at /api/v1/events";
            return Err(Refused(Refusal::new(Code::RateLimited, message, hint)));
        };
        tokio::select! {
            () = ended(&app, id, Duration::from_secs(wish.seconds)) => {}
            // Others, who hold less, need the place: it is answered as when its time is over.
            () = place.gone() => {}
        }
    }
    let mut response = next.run(request).await;
    if wish.preferred
        && let Ok(value) = HeaderValue::try_from(format!("wait={}", wish.seconds))
    {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
    Ok(response)
}

/// Refuses whatever is said in the query of a request that has none: what nobody reads, nobody should rely on.
pub async fn without_query(request: Request, next: Next) -> Result<Response, Refused> {
    check_names(request.uri(), &[])?;
    Ok(next.run(request).await)
}

/// Returns when the job has ended or is gone, the time is over, or the relay stops.
pub(super) async fn ended(app: &App, id: JobId, patience: Duration) {
    let until = Instant::now() + patience;
    // Before the first look: an end between the two is not missed.
    let mut ends = app.ends.0.subscribe();
    while app.handle.is_over(id).await == Some(false) {
        let its_end = async {
            loop {
                match timeout(LOOK, ends.recv()).await {
                    Ok(Ok(ended)) if ended.contains(&id) => return true,
                    Ok(Ok(_)) => {}
                    Ok(Err(RecvError::Lagged(_))) | Err(_) => return true,
                    Ok(Err(RecvError::Closed)) => return false,
                }
            }
        };
        tokio::select! {
            look = its_end => if !look { return },
            () = sleep_until(until) => return,
            () = app.stopping.cancelled() => return,
        }
    }
}

/// The wish of a request: the query's, else the header's. A header that is not understood is passed over, as RFC 7240
/// wants it, and one that asks for more gets what there is; a query that does either is refused.
fn read(uri: &Uri, headers: &HeaderMap) -> Result<Option<Wish>, Refusal> {
    let most = limits::LONGEST_WAIT.as_secs();
    let asked = pairs(uri).find(|(name, _)| name == "wait");
    if let Some((_, text)) = asked {
        return match text.parse::<u64>() {
            Ok(seconds) if seconds <= most => Ok(Some(Wish { seconds, preferred: false })),
            Ok(_) | Err(_) => {
                let message = format!("wait cannot be {:?}", short(&text));
                Err(Refusal::new(Code::InvalidField, message, format!("it is a number of seconds from 0 to {most}")))
            }
        };
    }
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let seconds = preferences.flat_map(|value| value.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("wait") { value.parse::<u64>().ok() } else { None }
    });
    Ok(seconds.map(|seconds| Wish { seconds: seconds.min(most), preferred: true }))
}

/// The refusal of a query in which `name` stands twice: nobody can tell which is meant.
pub(super) fn twice(name: &str) -> Refusal {
    Refusal::new(Code::InvalidField, format!("the query has {} twice", short(name)), "leave one of them out")
}

fn pairs(uri: &Uri) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned()
}

/// Names the first part of a query that nobody reads, or that stands there twice.
fn check_names(uri: &Uri, known: &[&str]) -> Result<(), Refusal> {
    let mut seen = Vec::new();
    for (name, _) in pairs(uri).take_while(|(name, _)| known.contains(&name.as_str())) {
        if seen.contains(&name) {
            return Err(twice(&name));
        }
        seen.push(name);
    }
    let Some((name, _)) = pairs(uri).find(|(name, _)| !known.contains(&name.as_str())) else { return Ok(()) };
    let hint = match known {
        [] => "leave the query out".to_owned(),
        known => format!("it may have {} (a number of seconds)", known.join(", ")),
    };
    Err(Refusal::new(Code::InvalidField, format!("the query has no {:?}", short(&name)), hint))
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wish(uri: &str, prefer: Option<&'static str>) -> Result<Option<Wish>, Refusal> {
        let mut headers = HeaderMap::new();
        if let Some(prefer) = prefer {
            headers.insert(PREFER, HeaderValue::from_static(prefer));
        }
        read(&uri.parse().unwrap(), &headers)
    }

    #[test]
    fn the_query_is_heard_before_the_header() {
        let of = |seconds, preferred| Ok(Some(Wish { seconds, preferred }));
        assert_eq!(wish("/x", None), Ok(None));
        assert_eq!(wish("/x?wait=5", Some("wait=9")), of(5, false));
        assert_eq!((wish("/x?wait=0", None), wish("/x?wait=60", None)), (of(0, false), of(60, false)));
        assert_eq!(wish("/x", Some("wait=5000")), of(60, true));
        assert_eq!(wish("/x", Some("respond-async, WAIT=10; x=y")), of(10, true));
        assert_eq!(wish("/x", Some("wait=\"7\"")), of(7, true));
        assert_eq!(wish("/x", Some("wait=soon")), Ok(None));
        for bad in ["/x?wait=", "/x?wait=-1", "/x?wait=1.5", "/x?wait=ever", "/x?wait=61", "/x?wait=999999"] {
            assert_eq!(wish(bad, None).unwrap_err().code, Code::InvalidField, "{bad}");
        }
    }

    #[test]
    fn what_nobody_reads_in_a_query_is_named() {
        let check = |uri: &str, known| check_names(&uri.parse().unwrap(), known);
        assert_eq!(check("/x?wait=5", &["wait"]), Ok(()));
        assert_eq!(check("/x", &[]), Ok(()));
        assert!(check("/x?wait=5&wait=5", &["wait"]).unwrap_err().message.contains("wait twice"));
        for (uri, known) in [("/x?wait=5&format=raw", &["wait"][..]), ("/x?format", &[]), ("/x?Wait=1", &["wait"])] {
            let refusal = check(uri, known).unwrap_err();
            assert!(refusal.code == Code::InvalidField && refusal.message.contains('"'), "{refusal}");
        }
    }
}

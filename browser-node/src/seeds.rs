//! Where the network begins: the relay that served this page, asked for its addresses until the node is connected.

use futures::{
    FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    select,
};
use p2pnet_net::{address::websocket_address, handle::Handle, host::HostFact};
use p2pnet_shared::api::WellKnown;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortController, Request, RequestCache, RequestInit, Response};

use crate::{js, ticker::Ticker};

const WELL_KNOWN: &str = "/.well-known/p2pnet.json";
/// The answer of an honest relay is far smaller.
const MOST_BYTES: usize = 64 << 10;
/// First and longest pause between two tries, in milliseconds; each is twice the one before.
const FIRST_PAUSE: f64 = 250.0;
const LONGEST_PAUSE: f64 = 15_000.0;
/// How long a node that knows the relay may take to connect before its address is asked for again.
const CONNECT_MILLIS: f64 = 4_000.0;

/// How long the relay may take to answer before it is asked anew.
const ANSWER_MILLIS: f64 = 8_000.0;

/// A question to the relay that served the page: how is it reached? Dropped, it is taken back: a browser opens few
/// connections to one host, and questions that nobody answers must not use them up.
pub(crate) struct Question {
    answer: oneshot::Receiver<Result<WellKnown, String>>,
    heard: Option<Result<WellKnown, String>>,
    abort: Option<AbortController>,
}

impl Question {
    /// The first one: `index.html` has the browser ask it while the program is still on its way. No node waits for it.
    pub(crate) fn ask_early() -> Self {
        Self::ask(RequestCache::Default)
    }

    fn ask(cache: RequestCache) -> Self {
        let abort = AbortController::new().ok();
        let sent = send(cache, abort.as_ref()).map_err(|thrown| js::thrown_text(&thrown));
        let (tell, answer) = oneshot::channel();
        // Read as it comes, not when somebody asks for it: the page may be busy then.
        spawn_local(async move {
            let _ = tell.send(read(sent).await);
        });
        Self { answer, heard: None, abort }
    }

    /// How the relay is reached, if it has said so by now.
    pub(crate) fn known_by_now(&mut self) -> Option<Vec<String>> {
        if self.heard.is_none() {
            self.heard = self.answer.try_recv().ok().flatten();
        }
        let known = self.heard.as_ref()?.as_ref().ok()?;
        Some(addresses(known, Place::of_page().as_ref()))
    }

    /// How the relay is reached, or why it has not said so in time.
    async fn addresses(mut self, ticker: &Ticker) -> Result<Vec<String>, String> {
        let known = match self.heard.take() {
            Some(heard) => heard,
            None => select! {
                answer = (&mut self.answer).fuse() => answer.unwrap_or_else(|_| Err("the question was lost".into())),
                () = ticker.sleep(ANSWER_MILLIS).fuse() => Err("the relay does not answer".into()),
            },
        }?;
        Ok(addresses(&known, Place::of_page().as_ref()))
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }
}

fn send(cache: RequestCache, abort: Option<&AbortController>) -> Result<JsFuture, JsValue> {
    let window = web_sys::window().ok_or_else(|| JsValue::from_str("there is no window"))?;
    let init = RequestInit::new();
    init.set_cache(cache);
    init.set_signal(abort.map(AbortController::signal).as_ref());
    let request = Request::new_with_str_and_init(&format!("{}{WELL_KNOWN}", js::base_path()), &init)?;
    Ok(JsFuture::from(window.fetch_with_request(&request)))
}

async fn read(sent: Result<JsFuture, String>) -> Result<WellKnown, String> {
    let answer = sent?.await.map_err(|thrown| js::thrown_text(&thrown))?;
    let answer: Response = answer.dyn_into().map_err(|thrown: JsValue| js::thrown_text(&thrown))?;
    if !answer.ok() {
        return Err(format!("the relay answered {}", answer.status()));
    }
    let text = JsFuture::from(answer.text().map_err(|thrown| js::thrown_text(&thrown))?).await;
    let text = text.ok().and_then(|text| text.as_string()).ok_or("the relay's answer is no text")?;
    if text.len() > MOST_BYTES {
        return Err("the relay's answer is too long".into());
    }
    serde_json::from_str(&text).map_err(|error| format!("the relay's answer is not understood: {error}"))
}

/// How the page itself was reached: the relay's WebSocket runs on the same host and port.
pub(crate) struct Place {
    /// Whether over TLS.
    pub secure: bool,
    /// Name or address; an IPv6 address may stand in brackets.
    pub host: String,
    /// Port, also where the address bar does not show it.
    pub port: u16,
}

impl Place {
    fn of_page() -> Option<Self> {
        let location = web_sys::window()?.location();
        let secure = location.protocol().ok()? == "https:";
        let port = location.port().ok()?.parse().unwrap_or(if secure { 443 } else { 80 });
        let host = location.hostname().ok()?;
        Some(Self { secure, host, port })
    }

    fn address(&self, known: &WellKnown) -> String {
        websocket_address(&self.host, self.port, self.secure, &known.websocket_path, known.node)
    }
}

/// The addresses to try, all at once: the page's own way first, then what the relay says of itself, as far as a browser
/// can use it.
pub(crate) fn addresses(known: &WellKnown, place: Option<&Place>) -> Vec<String> {
    let mut addresses: Vec<String> = place.map(|place| place.address(known)).into_iter().collect();
    for address in &known.addresses {
        let is_usable =
            address.contains("/webrtc-direct/") || address.contains("/ws") || address.contains("/x-parity-ws");
        if is_usable && !addresses.contains(address) {
            addresses.push(address.clone());
        }
    }
    addresses
}

/// Finds the relay, and finds it again whenever the node has lost it, for as long as the tab lives. `first` was
/// asked before the node was up. `tried` hears of every failed try, and of success.
pub(crate) async fn keep_finding(
    first: Question,
    handle: Handle,
    mut facts: mpsc::Sender<HostFact>,
    ticker: Ticker,
    tried: impl Fn(Result<(), String>),
) {
    let woken = wake_when_online();
    let mut woken = woken.fuse();
    let mut question = first;
    let mut pause = FIRST_PAUSE;
    loop {
        match question.addresses(&ticker).await {
            Ok(addresses) => {
                tried(Ok(()));
                // What the node was told as it started it only hears again.
                let _ = facts.send(HostFact::SeedKnown { addresses }).await;
                wait_for(&handle, &ticker, true, CONNECT_MILLIS).await;
                if wait_for(&handle, &ticker, false, f64::INFINITY).await.is_none() {
                    return; // the node has stopped
                }
                pause = FIRST_PAUSE;
            }
            Err(reason) => tried(Err(reason)),
        }
        select! {
            () = ticker.sleep(pause).fuse() => pause = (pause * 2.0).min(LONGEST_PAUSE),
            _ = woken.next() => pause = FIRST_PAUSE,
        }
        question = Question::ask(RequestCache::NoStore);
    }
}

/// Waits until the node is connected to a seed (or is not); `None` when the node has stopped.
async fn wait_for(handle: &Handle, ticker: &Ticker, online: bool, most_millis: f64) -> Option<()> {
    let until = js::monotonic_millis() + most_millis;
    let look_every = if online { 200.0 } else { 1_000.0 };
    while handle.network().await?.online != online && js::monotonic_millis() < until {
        ticker.sleep(look_every).await;
    }
    Some(())
}

/// Says when the browser believes to have a network again.
fn wake_when_online() -> mpsc::Receiver<()> {
    let (mut wake, woken) = mpsc::channel(1);
    if let Some(window) = web_sys::window() {
        gloo::events::EventListener::new(&window, "online", move |_| {
            let _ = wake.try_send(());
        })
        .forget();
    }
    woken
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::id::NodeId;

    use super::*;

    fn known() -> WellKnown {
        WellKnown {
            node: NodeId([9; 32]),
            addresses: vec![
                "/ip4/1.2.3.4/tcp/5557".into(),
                "/ip4/1.2.3.4/udp/5557/quic-v1".into(),
                "/ip4/1.2.3.4/udp/5558/webrtc-direct/certhash/uEi".into(),
            ],
            websocket_path: "/p2p".into(),
            protocol: 2,
            protocols: vec!["/p2pnet/node/2".into(), "/p2pnet/node/1".into()],
            version: "0.1.0".into(),
        }
    }

    #[test]
    fn the_pages_own_way_comes_first_and_native_transports_are_left_out() {
        let place = Place { secure: false, host: "127.0.0.1".into(), port: 8080 };
        let found = addresses(&known(), Some(&place));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], format!("/ip4/127.0.0.1/tcp/8080/x-parity-ws/%2Fp2p/p2p/{}", known().node));
        assert!(found[1].contains("webrtc-direct"));
    }

    #[test]
    fn names_ipv6_and_tls_have_their_own_form() {
        let of = |secure, host: &str, port| Place { secure, host: host.into(), port }.address(&known());
        assert!(of(true, "p2pnet.example", 443).starts_with("/dns/p2pnet.example/tcp/443/x-parity-wss/%2Fp2p/p2p/"));
        assert!(of(false, "[::1]", 8080).starts_with("/ip6/::1/tcp/8080/x-parity-ws/"));
        assert!(of(false, "1.2.3.400", 80).starts_with("/dns/"));
    }
}

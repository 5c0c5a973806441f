//! What the page knows of its node, kept fresh a few times a second however fast the node goes.

use std::{cell::RefCell, collections::BTreeMap, pin::pin, rc::Rc};

use futures::{FutureExt, Stream, StreamExt, channel::oneshot, future::Either, stream};
use gloo::timers::future::TimeoutFuture;
use p2pnet_browser::{Device, Health, Hears, NodeRuntime, Settings, StartError};
use p2pnet_shared::{
    api::{Event, JobSummary, NetworkView},
    id::JobId,
    node::Listing,
};
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::wishes::Wishes;

/// Between two readings of the node.
const PAUSE_MILLIS: u32 = 200;

/// The same while no seed is connected: little happens then, and people wait for the word that says so.
const PAUSE_OFFLINE_MILLIS: u32 = 20;

/// Without news the page is drawn again this often, so that "3 seconds ago" stays true.
const BEAT_MILLIS: u32 = 5_000;

/// The node of this tab.
#[derive(Clone, PartialEq)]
pub enum Boot {
    /// On its way.
    Starting,
    /// It cannot start, and why.
    Failed(Rc<str>),
    /// It runs.
    Running(NodeRuntime),
}

/// The newest state of everything that pages show.
#[derive(Clone, Default, PartialEq)]
pub struct Views {
    /// Connections, offers, the lending side; absent until the node first answers.
    pub network: Option<Rc<NetworkView>>,
    /// Newest first; absent until the node first answers.
    pub jobs: Option<Rc<[JobSummary]>>,
    /// Goes up when a job changes.
    pub revisions: Rc<BTreeMap<JobId, u64>>,
    /// What the person lends.
    pub settings: Settings,
    /// Cores, battery, whether online.
    pub device: Device,
    /// What is wrong with storage, workers, seed.
    pub health: Option<Health>,
    /// Goes up now and then without news.
    pub beat: u64,
}

type Started = Result<NodeRuntime, StartError>;

/// A node that was started before there was a page. Cheap to clone; one of all clones gets it.
#[derive(Clone)]
pub struct Coming(Rc<RefCell<Option<oneshot::Receiver<Started>>>>);

impl PartialEq for Coming {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Coming {
    /// Of a node that whoever started it sends.
    pub fn new(node: oneshot::Receiver<Started>) -> Self {
        Self(Rc::new(RefCell::new(Some(node))))
    }

    /// The node, once it is up; `None` if it was taken already, or the page is closing.
    async fn node(&self) -> Option<Started> {
        let node = self.0.borrow_mut().take()?;
        node.await.ok()
    }
}

#[derive(Properties, PartialEq)]
pub struct NodeProviderProps {
    /// The node of this tab.
    pub node: Coming,
    pub children: Html,
}

/// Gives the node, and what it says, to everything inside.
#[component]
pub fn NodeProvider(props: &NodeProviderProps) -> Html {
    let boot = use_state_eq(|| Boot::Starting);
    let views = use_state_eq(Views::default);
    let wishes = use_memo((), {
        let views = views.setter();
        move |()| Wishes::new(move |settings| views.set(Views { settings, ..Views::default() }))
    });
    use_effect_with((), {
        let (boot, views, wishes) = (boot.setter(), views.setter(), (*wishes).clone());
        let node = props.node.clone();
        move |()| {
            spawn_local(async move {
                let Some(node) = node.node().await else { return };
                match node {
                    Ok(runtime) => {
                        wishes.node_is_up(&runtime);
                        boot.set(Boot::Running(runtime.clone()));
                        watch(&runtime, |fresh| views.set(fresh)).await;
                    }
                    Err(error) => {
                        wishes.no_node_comes();
                        boot.set(Boot::Failed(error.to_string().into()));
                    }
                }
            });
        }
    });
    html! {
        <ContextProvider<Boot> context={(*boot).clone()}>
            <ContextProvider<Wishes> context={(*wishes).clone()}>
                <ContextProvider<Views> context={(*views).clone()}>
                    { props.children.clone() }
                </ContextProvider<Views>>
            </ContextProvider<Wishes>>
        </ContextProvider<Boot>>
    }
}

/// How far the node of this tab is.
#[hook]
pub fn use_boot() -> Boot {
    use_context::<Boot>().unwrap_or(Boot::Starting)
}

/// The node of this tab, once it runs.
#[hook]
pub fn use_node() -> Option<NodeRuntime> {
    match use_boot() {
        Boot::Running(runtime) => Some(runtime),
        Boot::Starting | Boot::Failed(_) => None,
    }
}

/// The newest state; the component is drawn again when it changes, at most five times a second once connected.
#[hook]
pub fn use_views() -> Views {
    use_context::<Views>().unwrap_or_default()
}

/// What has to be read again.
enum News {
    Job(JobId),
    JobGone(JobId),
    Network,
    Device,
}

#[derive(Default)]
struct Stale {
    jobs: bool,
    network: bool,
    device: bool,
}

/// Reads the node whenever it says that something changed, in bundles. Ends when the node stops.
async fn watch(runtime: &NodeRuntime, show: impl Fn(Views)) {
    let mut news = pin!(news(runtime));
    let mut views = Views::default();
    let mut stale = Stale { jobs: true, network: true, device: true };
    loop {
        refresh(runtime, &mut views, &mut stale).await;
        show(views.clone());
        let online = views.network.as_ref().is_some_and(|network| network.online);
        TimeoutFuture::new(if online { PAUSE_MILLIS } else { PAUSE_OFFLINE_MILLIS }).await;
        let beat = pin!(TimeoutFuture::new(BEAT_MILLIS));
        match futures::future::select(news.next(), beat).await {
            Either::Left((Some(first), _)) => note(&mut views, &mut stale, first),
            Either::Left((None, _)) => return,
            Either::Right(((), _)) => views.beat += 1,
        }
        while let Some(Some(more)) = news.next().now_or_never() {
            note(&mut views, &mut stale, more);
        }
    }
}

fn news(runtime: &NodeRuntime) -> impl Stream<Item = News> {
    let events = runtime.handle().events(Hears::Everything).map(|event| match event {
        Event::Job(summary) => News::Job(summary.id),
        Event::JobRemoved { id } => News::JobGone(id),
        Event::Network => News::Network,
    });
    stream::select(events, runtime.changes().map(|()| News::Device))
}

fn note(views: &mut Views, stale: &mut Stale, news: News) {
    match news {
        News::Job(id) => {
            stale.jobs = true;
            *Rc::make_mut(&mut views.revisions).entry(id).or_default() += 1;
        }
        News::JobGone(id) => {
            stale.jobs = true;
            Rc::make_mut(&mut views.revisions).remove(&id);
        }
        // A listener that fell behind learns of it by this one, so the jobs are read again too.
        News::Network => {
            stale.network = true;
            stale.jobs = true;
        }
        News::Device => stale.device = true,
    }
}

async fn refresh(runtime: &NodeRuntime, views: &mut Views, stale: &mut Stale) {
    if stale.device {
        views.settings = runtime.settings();
        views.device = runtime.device();
        views.health = Some(runtime.health());
    }
    if stale.network {
        views.network = runtime.handle().network().await.map(Rc::new);
    }
    if stale.jobs {
        let jobs = runtime.handle().jobs(Listing::everything()).await.ok().flatten().unwrap_or_default();
        if views.jobs.as_deref() != Some(jobs.as_slice()) {
            views.jobs = Some(jobs.into());
        }
    }
    *stale = Stale::default();
}

//! What a person asks of the node, from the first moment of the page on: what is pressed before the node is up is kept and
//! carried out once it is.

use std::{cell::RefCell, rc::Rc};

use futures::channel::oneshot;
use p2pnet_browser::{NodeRuntime, Settings};
use yew::prelude::*;

type Change = Box<dyn Fn(&mut Settings)>;

enum State {
    /// The node is on its way.
    Waiting {
        changes: Vec<Change>,
        waiters: Vec<oneshot::Sender<NodeRuntime>>,
    },
    Up(NodeRuntime),
    /// There will be none.
    Failed,
}

/// The way to the node for every button. Cheap to clone.
#[derive(Clone)]
pub struct Wishes {
    state: Rc<RefCell<State>>,
    /// Shows settings that no node has yet.
    show: Rc<dyn Fn(Settings)>,
}

impl PartialEq for Wishes {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.state, &other.state)
    }
}

impl Wishes {
    /// Of a node that is on its way; `show` draws what was wished until then.
    pub fn new(show: impl Fn(Settings) + 'static) -> Self {
        let waiting = State::Waiting { changes: Vec::new(), waiters: Vec::new() };
        Self { state: Rc::new(RefCell::new(waiting)), show: Rc::new(show) }
    }

    /// Begins or ends lending: the opposite of what is so now, or was wished last.
    pub fn toggle_lending(&self) {
        let now = match &*self.state.borrow() {
            State::Waiting { changes, .. } => wished(changes, Settings::default()),
            // Asked anew: what is drawn may be a moment old.
            State::Up(node) => node.settings(),
            State::Failed => return,
        };
        let lending = !now.lending;
        self.change(move |settings| settings.lending = lending);
    }

    /// Changes what is lent, now or as soon as there is a node.
    pub fn change(&self, change: impl Fn(&mut Settings) + 'static) {
        let shown = match &mut *self.state.borrow_mut() {
            State::Waiting { changes, .. } => {
                changes.push(Box::new(change));
                wished(changes, Settings::default())
            }
            State::Up(node) => {
                let mut settings = node.settings();
                change(&mut settings);
                node.set_settings(settings);
                return;
            }
            State::Failed => return,
        };
        (self.show)(shown);
    }

    /// The node, once it is up; `None` if there will be none.
    pub async fn node(&self) -> Option<NodeRuntime> {
        let waits = match &mut *self.state.borrow_mut() {
            State::Waiting { waiters, .. } => {
                let (tell, hear) = oneshot::channel();
                waiters.push(tell);
                hear
            }
            State::Up(node) => return Some(node.clone()),
            State::Failed => return None,
        };
        waits.await.ok()
    }

    /// Carries out what was wished.
    pub fn node_is_up(&self, node: &NodeRuntime) {
        let before = self.state.replace(State::Up(node.clone()));
        let State::Waiting { changes, waiters } = before else { return };
        if !changes.is_empty() {
            node.set_settings(wished(&changes, node.settings()));
        }
        for waiter in waiters {
            let _ = waiter.send(node.clone()); // whoever waited may be gone from the page
        }
    }

    /// Forgets what was wished.
    pub fn no_node_comes(&self) {
        self.state.replace(State::Failed);
    }
}

fn wished(changes: &[Change], mut settings: Settings) -> Settings {
    changes.iter().for_each(|change| change(&mut settings));
    settings
}

/// The way to the node; absent outside the frame of the page.
#[hook]
pub fn use_wishes() -> Option<Wishes> {
    use_context::<Wishes>()
}

//! Which of this browser's identities a tab takes. Two open tabs are two nodes, a reloaded tab is the same node again.
//!
//! Identities are numbered from 1. A tab holds the lock of its number for as long as it lives and notes the number in
//! `sessionStorage`, which a reload keeps. Where the Lock API is missing (pages that are not served securely), a lease in
//! `localStorage`, renewed with every tick, takes its place.

use std::{cell::RefCell, rc::Rc};

use futures::channel::oneshot;
use js_sys::{Object, Promise, Reflect};
use p2pnet_shared::units::{Millis, Moment};
use wasm_bindgen::{JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::Storage;

use crate::{
    clock::wall,
    js::{self, LockManager},
    store::{StoreError, within},
    ticker::Ticker,
};

/// How many tabs of one browser keep an identity; further ones work with one that ends with the tab.
const MOST_SLOTS: u32 = 64;
/// A reload may run before the old page has let go of its lock.
const RELOAD_TRIES: u32 = 30;
const RELOAD_WAIT_MILLIS: u32 = 20;
/// How long the browser may take to say whether a lock is free.
const LOCK_MILLIS: u32 = 4_000;
/// A lease that was not renewed for so long is free. Longer than a device's short sleeps would matter little: the
/// owner sees that its lease is gone and keeps working, only its next reload takes another number.
const LEASE: Millis = Millis(5_000);
const NOTE: &str = "p2pnet.tab";

/// Takes a number for this tab, or says why there is none: all are taken, or nothing can be remembered.
pub(crate) async fn take(ticker: &Ticker) -> Result<u32, StoreError> {
    let session = web_sys::window().and_then(|window| window.session_storage().ok().flatten());
    let noted: Option<u32> =
        session.as_ref().and_then(|storage| storage.get_item(NOTE).ok().flatten()).and_then(|text| text.parse().ok());
    let slot = match js::locks() {
        Some(locks) => take_lock(&locks, noted).await,
        None => take_lease(ticker, noted).await,
    }?;
    if let Some(storage) = session {
        let _ = storage.set_item(NOTE, &slot.to_string());
    }
    Ok(slot)
}

async fn take_lock(locks: &LockManager, noted: Option<u32>) -> Result<u32, StoreError> {
    if let Some(slot) = noted {
        for _ in 0..RELOAD_TRIES {
            if try_lock(locks, slot).await? {
                return Ok(slot);
            }
            gloo::timers::future::TimeoutFuture::new(RELOAD_WAIT_MILLIS).await;
        }
    }
    for slot in 1..=MOST_SLOTS {
        if try_lock(locks, slot).await? {
            return Ok(slot);
        }
    }
    Err(StoreError::TooManyTabs)
}

/// Whether the lock is now ours; then it stays so until the tab is gone. Fails where the browser allows no locks, which it
/// says by a promise that fails while nothing is called, or by silence.
async fn try_lock(locks: &LockManager, slot: u32) -> Result<bool, StoreError> {
    let (tell, hear) = oneshot::channel();
    let tell = Rc::new(RefCell::new(Some(tell)));
    let told = tell.clone();
    let granted = Closure::<dyn FnMut(JsValue) -> Promise>::new(move |lock: JsValue| {
        let ours = !lock.is_null() && !lock.is_undefined();
        let heard = told.borrow_mut().take().is_some_and(|tell| tell.send(Ok(ours)).is_ok());
        // A lock that comes after nobody waits for it is let go at once.
        if ours && heard { Promise::new(&mut |_, _| ()) } else { Promise::resolve(&JsValue::UNDEFINED) }
    });
    let options = Object::new();
    let _ = Reflect::set(&options, &"ifAvailable".into(), &true.into());
    let failed = |thrown: JsValue| StoreError::Failed(js::thrown_text(&thrown));
    let asked = locks.request(&format!("p2pnet-node-{slot}"), &options, &granted).map_err(failed)?;
    spawn_local(async move {
        if let Err(thrown) = JsFuture::from(asked).await
            && let Some(tell) = tell.borrow_mut().take()
        {
            let _ = tell.send(Err(failed(thrown)));
        }
    });
    within(LOCK_MILLIS, hear).await.ok_or(StoreError::NoAnswer)?.unwrap_or(Err(StoreError::NoAnswer))
}

/// Two tabs that start in the same millisecond could both write; the one that reads its own mark back has won.
async fn take_lease(ticker: &Ticker, noted: Option<u32>) -> Result<u32, StoreError> {
    let nothing = || StoreError::Failed("this browser has no localStorage for this page".into());
    let storage = web_sys::window().and_then(|window| window.local_storage().ok().flatten()).ok_or_else(nothing)?;
    let mark = u64::from_le_bytes(js::random_bytes().ok_or_else(nothing)?);
    let mut wanted: Vec<u32> = (1..=MOST_SLOTS).collect();
    if let Some(slot) = noted.filter(|slot| (1..=MOST_SLOTS).contains(slot)) {
        wanted.insert(0, slot);
    }
    for slot in wanted {
        let held = read_lease(&storage, slot).is_some_and(|lease| lease.is_held(wall()));
        if held || storage.set_item(&lease_key(slot), &Lease::new(mark, wall()).to_text()).is_err() {
            continue;
        }
        gloo::timers::future::TimeoutFuture::new(RELOAD_WAIT_MILLIS).await;
        if read_lease(&storage, slot).is_some_and(|lease| lease.mark == mark) {
            keep_lease(ticker, storage, slot, mark);
            return Ok(slot);
        }
    }
    Err(StoreError::TooManyTabs)
}

fn keep_lease(ticker: &Ticker, storage: Storage, slot: u32, mark: u64) {
    let renewed = storage.clone();
    ticker.each(move || {
        if read_lease(&renewed, slot).is_none_or(|lease| lease.mark == mark) {
            let _ = renewed.set_item(&lease_key(slot), &Lease::new(mark, wall()).to_text());
        }
    });
    let Some(window) = web_sys::window() else { return };
    gloo::events::EventListener::new(&window, "pagehide", move |_| {
        if read_lease(&storage, slot).is_some_and(|lease| lease.mark == mark) {
            let _ = storage.remove_item(&lease_key(slot));
        }
    })
    .forget();
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    mark: u64,
    until: Moment,
}

impl Lease {
    fn new(mark: u64, now: Moment) -> Self {
        Self { mark, until: now + LEASE }
    }

    /// A lease that reaches further than any lease may was written under another clock: it counts for nothing.
    fn is_held(self, now: Moment) -> bool {
        self.until > now && self.until - now <= LEASE
    }

    fn to_text(self) -> String {
        format!("{} {}", self.mark, self.until.0)
    }

    fn from_text(text: &str) -> Option<Self> {
        let (mark, until) = text.split_once(' ')?;
        Some(Self { mark: mark.parse().ok()?, until: Moment(until.parse().ok()?) })
    }
}

fn lease_key(slot: u32) -> String {
    format!("p2pnet.lease.{slot}")
}

fn read_lease(storage: &Storage, slot: u32) -> Option<Lease> {
    Lease::from_text(&storage.get_item(&lease_key(slot)).ok().flatten()?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_reads_back_and_ends() {
        let lease = Lease::new(7, Moment(1_000));
        assert_eq!(Lease::from_text(&lease.to_text()).unwrap(), lease);
        assert!(lease.is_held(Moment(1_001)));
        assert!(!lease.is_held(Moment(1_000 + LEASE.0)));
    }

    #[test]
    fn nonsense_and_other_clocks_hold_no_lease() {
        for text in ["", "7", "seven 9", "1 -4", "99999999999999999999 1"] {
            assert_eq!(Lease::from_text(text), None);
        }
        assert!(!Lease { mark: 1, until: Moment(u64::MAX) }.is_held(Moment(5)));
    }
}

//! Waiting until a person has stopped typing.

use std::{cell::RefCell, rc::Rc};

use gloo::timers::callback::Timeout;
use yew::prelude::*;

/// The newest value, once it has stood for `millis`.
#[hook]
pub fn use_settled<T: Clone + PartialEq + 'static>(value: T, millis: u32) -> T {
    let settled = use_state_eq(|| value.clone());
    let timer = use_memo((), |()| RefCell::new(None::<Timeout>));
    use_effect_with(value, {
        let (settled, timer): (_, Rc<RefCell<Option<Timeout>>>) = (settled.setter(), timer.clone());
        move |value| {
            let value = value.clone();
            // A timer that is dropped does not fire.
            *timer.borrow_mut() = Some(Timeout::new(millis, move || settled.set(value)));
        }
    });
    (*settled).clone()
}

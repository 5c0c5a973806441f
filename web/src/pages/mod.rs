//! The pages: one file each, registered here by a route, a line in [`show`] and, if it stands in the menu, in [`MENU`].

use p2pnet_shared::id::JobId;
use yew::prelude::*;
use yew_router::prelude::*;

use crate::{
    parts::icon::Icon,
    text::{Text, shell},
};

mod about;
mod donate;
pub mod job;
mod jobs;
mod network;
pub mod new_job;
mod not_found;

/// Every address of the page.
#[derive(Clone, Debug, PartialEq, Routable)]
pub enum Route {
    #[at("/")]
    Donate,
    #[at("/jobs")]
    Jobs,
    #[at("/jobs/new")]
    NewJob,
    #[at("/jobs/:id")]
    Job { id: String },
    #[at("/network")]
    Network,
    #[at("/about")]
    About,
    #[not_found]
    #[at("/not-found")]
    NotFound,
}

/// What the menu shows, in order.
pub const MENU: &[(Route, Icon, Text)] = &[
    (Route::Donate, Icon::Donate, shell::NAV_DONATE),
    (Route::Jobs, Icon::Jobs, shell::NAV_JOBS),
    (Route::NewJob, Icon::New, shell::NAV_NEW_JOB),
    (Route::Network, Icon::Network, shell::NAV_NETWORK),
    (Route::About, Icon::About, shell::NAV_ABOUT),
];

/// The page at an address.
pub fn show(route: Route) -> Html {
    match route {
        Route::Donate => html! { <donate::Donate /> },
        Route::Jobs => html! { <jobs::Jobs /> },
        Route::NewJob => html! { <new_job::NewJob /> },
        Route::Job { id } => match id.parse::<JobId>() {
            Ok(id) => html! { <job::JobPage key={id.to_string()} {id} /> },
            Err(_) => html! { <not_found::NotFound /> },
        },
        Route::Network => html! { <network::Network /> },
        Route::About => html! { <about::About /> },
        Route::NotFound => html! { <not_found::NotFound /> },
    }
}

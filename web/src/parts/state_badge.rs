//! A job's state as a word in its colour.

use p2pnet_shared::job::JobState;
use yew::prelude::*;

use crate::{look::use_words, testid, text};

/// The API's word for a state, for styles and tests.
pub fn state_word(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Verifying => "verifying",
        JobState::Completed => "completed",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
        JobState::Expired => "expired",
    }
}

#[derive(Properties, PartialEq)]
pub struct StateBadgeProps {
    pub state: JobState,
    /// How many parts of a completed job failed.
    #[prop_or_default]
    pub failed_parts: u64,
}

/// The word.
#[component]
pub fn StateBadge(props: &StateBadgeProps) -> Html {
    let words = use_words();
    let word = state_word(props.state);
    let partly = props.state == JobState::Completed && props.failed_parts > 0;
    let said = if partly {
        words.count(text::job::COMPLETED_BUT, props.failed_parts)
    } else {
        words.say(text::job_state(props.state)).to_owned()
    };
    html! {
        <span class={classes!("state", word, partly.then_some("partly"))} data-testid={testid::JOB_STATE} data-state={word}>
            { said }
        </span>
    }
}

//! A relay and some people's browsers, for one story.

use anyhow::Result;
use tokio::task::JoinSet;

use crate::{browser::Browser, relay::Relay};

/// What a story plays on.
pub struct Stage {
    /// The relay.
    pub relay: Relay,
    /// The browsers, each a process tree of its own.
    pub people: Vec<Browser>,
    /// What a console may hold in this story, because the browser itself prints it when a server is away.
    pub expected: &'static [&'static str],
}

impl Stage {
    /// A relay that does not lend, and so many browsers without a window, none on the page yet.
    pub async fn new(people: usize) -> Result<Self> {
        let mut stage = Self { relay: Relay::without_provider()?, people: Vec::new(), expected: &[] };
        let mut starting = JoinSet::new();
        for _ in 0..people {
            starting.spawn(Browser::headless());
        }
        while let Some(person) = starting.join_next().await {
            stage.people.push(person??);
        }
        Ok(stage)
    }

    /// Plays a story; afterwards no console may hold an error. When it fails, everything that was printed is shown.
    pub async fn play(mut self, story: impl AsyncFnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let mut outcome = story(&mut self).await;
        for person in &mut self.people {
            outcome = outcome.and(person.no_errors_but(self.expected).await);
        }
        if outcome.is_err() {
            eprintln!("--- the relay printed:\n{}", self.relay.printed());
            for (number, person) in self.people.iter_mut().enumerate() {
                eprintln!("--- console of browser {number}:\n{}", person.console().await);
            }
        }
        outcome
    }
}

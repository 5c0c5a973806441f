//! A relay and some people's browsers, for one story.

use std::{thread, time::Instant};

use anyhow::Result;
use tokio::{
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    task::JoinSet,
};

use crate::{browser::Browser, relay::Relay};

/// Stories that measure what a processor does have the machine to themselves; others share it.
static MACHINE: RwLock<()> = RwLock::const_new(());

/// How much of the machine a story has.
enum Machine {
    Shared { _held: RwLockReadGuard<'static, ()> },
    Alone { _held: RwLockWriteGuard<'static, ()> },
}

/// What a story plays on.
pub struct Stage {
    /// The relay.
    pub relay: Relay,
    /// The browsers, each a process tree of its own.
    pub people: Vec<Browser>,
    /// What a console may hold in this story, because the browser itself prints it when a server is away.
    pub expected: &'static [&'static str],
    began: Instant,
    // Let go of last, when relay and browsers have ended.
    _machine: Machine,
}

impl Stage {
    /// A relay that does not lend, and so many browsers without a window, none on the page yet.
    pub async fn new(people: usize) -> Result<Self> {
        Self::on(Machine::Shared { _held: MACHINE.read().await }, people).await
    }

    /// The same, and no other story goes on meanwhile: for those that measure what a processor does, or need all of it.
    pub async fn alone(people: usize) -> Result<Self> {
        Self::on(Machine::Alone { _held: MACHINE.write().await }, people).await
    }

    async fn on(machine: Machine, people: usize) -> Result<Self> {
        let began = Instant::now();
        // They start side by side: a browser takes longer than a relay, and most of it is waiting.
        let mut starting = JoinSet::new();
        for _ in 0..people {
            starting.spawn(Browser::headless());
        }
        let relay = tokio::task::spawn_blocking(Relay::without_provider).await??;
        let mut stage = Self { relay, people: Vec::new(), expected: &[], began, _machine: machine };
        while let Some(person) = starting.join_next().await {
            stage.people.push(person??);
        }
        Ok(stage)
    }

    /// Plays a story; afterwards no console may hold an error. When it fails, everything that was printed is shown.
    pub async fn play(mut self, story: impl AsyncFnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let began = self.began;
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
        let name = thread::current().name().unwrap_or("a story").to_owned();
        println!("{name} took {:.1} s", began.elapsed().as_secs_f64());
        outcome
    }
}

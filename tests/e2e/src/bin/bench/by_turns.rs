//! Two builds by turns in one run: machines differ, and each from one hour to the next, by more than builds do.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Result, bail};
use p2pnet_e2e::report::number;

use crate::{Lender, TINY_TASKS, Tiny, median, one_task, tiny_kernels, tiny_tasks};

/// Of these, two builds can be measured by turns.
const BY_TURNS: [&str; 2] = ["tasks", "latency"];

/// How many turns each has.
const TURNS: usize = 7;

/// This build and another by turns, in one run, so that both meet with the same weather. Writes nothing.
pub(crate) async fn measure(wanted: &[String], other: &Path) -> Result<()> {
    if let Some(unknown) = wanted.iter().find(|name| !BY_TURNS.contains(&name.as_str())) {
        bail!("{unknown:?} is not measured by turns: {}", BY_TURNS.join(", "));
    }
    let builds = [Lender::each().await?, Lender::each_of(other).await?];
    println!("| what | where | this build | the other | ratio, median | least | most | lost |");
    println!("|---|---|--:|--:|--:|--:|--:|---|");
    let is_wanted = |bench: &str| wanted.is_empty() || wanted.iter().any(|name| name == bench);
    for place in 0..builds[0].len() {
        let variant = builds[0][place].0;
        let relays = builds.each_ref().map(|lenders| &lenders[place].1);
        if is_wanted("tasks") {
            for (name, kernel) in tiny_kernels()? {
                let mut turns = Turns::default();
                for turn in 0..=TURNS {
                    for (build, relay) in relays.into_iter().enumerate() {
                        let Tiny { a_second, lost } = tiny_tasks(relay, &kernel, TINY_TASKS).await?;
                        // The first one is for the compilers.
                        if turn > 0 {
                            turns.add(build, a_second, lost);
                        }
                    }
                }
                println!("{}", turns.row(name, variant, "/s"));
            }
        }
        if is_wanted("latency") {
            let mut turns = Turns::default();
            for turn in 0..=TURNS {
                for (build, relay) in relays.into_iter().enumerate() {
                    let took = median(one_task(relay).await?);
                    if turn > 0 {
                        turns.add(build, took, String::new());
                    }
                }
            }
            println!("{}", turns.row("one tiny task, median", variant, "ms"));
        }
    }
    Ok(())
}

/// What two builds achieved by turns.
#[derive(Default)]
struct Turns {
    figures: [Vec<f64>; 2],
    lost: BTreeSet<String>,
}

impl Turns {
    fn add(&mut self, build: usize, figure: f64, lost: String) {
        self.figures[build].push(figure);
        self.lost.insert(lost);
    }

    fn row(self, name: &str, variant: &str, unit: &str) -> String {
        let Self { figures: [own, other], lost } = self;
        let mut ratios: Vec<f64> = own.iter().zip(&other).map(|(own, other)| own / other).collect();
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (ratios.first().copied(), ratios.last().copied());
        let ratio = |ratio: Option<f64>| number(ratio.unwrap_or(f64::NAN));
        let lost: Vec<String> = lost.into_iter().collect();
        format!(
            "| {name} | {variant} | {} {unit} | {} {unit} | {} | {} | {} | {} |",
            number(median(own)),
            number(median(other)),
            number(median(ratios)),
            ratio(least),
            ratio(most),
            lost.join("; ")
        )
    }
}

//! What a network of nodes does with jobs, in fair weather: finding each other, sharing out, waiting with a reason,
//! stopping when told.

#![expect(clippy::unwrap_used, clippy::panic)]

use p2pnet_shared::{
    api::{IdleReason, JobSummary, ProviderSettings},
    id::{Holder, JobId, OwnerId},
    job::{AttemptState, Job, JobState, Policy, Priority, Requirements, WaitReason},
    node::{Found, Input, Listing, NoResult, Place},
    refusal::{Code, Refusal},
    units::Millis,
};
use p2pnet_sim::{actor::Actor, plan, world::World};

const DONOR: Actor = Actor::Donor { cores: 2, units_per_second: 100_000 };

/// A seed, a requester and some donors, who know each other's seed.
fn network(seed: u64, donors: &[Actor]) -> (World, usize, Vec<usize>) {
    let mut world = World::new(seed);
    world.add(Actor::Seed);
    let me = world.add(Actor::Requester);
    let donors = donors.iter().map(|donor| world.add(*donor)).collect();
    world.run_until(Millis(1_000), |_| false);
    (world, me, donors)
}

fn settings(lending: bool, cores: u16) -> Input {
    Input::Settings(ProviderSettings { lending, cores, ..ProviderSettings::default() })
}

fn why_no_result(world: &World, me: usize, job: JobId) -> Refusal {
    match world.node(me).result(job).unwrap_err() {
        NoResult::Because(refusal) => refusal,
        NoResult::AsLineSays(record) => panic!("{record:?} is in memory"),
    }
}

fn here(found: Found<JobSummary>) -> JobSummary {
    match found {
        Found::Here(job) => job,
        Found::Kept(record) => panic!("{record:?} is in memory"),
    }
}

#[test]
fn a_job_finds_a_donor_through_the_seed_and_completes() {
    let (mut world, me, donors) = network(1, &[DONOR]);
    let job = world.submit(me, plan::sum(1_000_000));
    assert!(world.run_until(Millis(30_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_sum(1_000_000));
    let status = world.job(me, job);
    assert_eq!(status.summary.state, JobState::Completed);
    assert_eq!(status.summary.progress.percent, 100);
    assert_eq!(status.nodes.len(), 1);
    assert_eq!(status.nodes[0].node, world.id(donors[0]));
    assert_eq!(status.nodes[0].units, 1_000_000);
    assert!(status.attempts.iter().all(|attempt| attempt.state == AttemptState::Accepted));
}

#[test]
fn a_node_that_lends_computes_its_own_job_alone() {
    let mut world = World::new(2);
    let me = world.add(DONOR);
    let job = world.submit(me, plan::squares(5_000, 0));
    assert!(world.run_until(Millis(30_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_squares(5_000));
    assert_eq!(world.job(me, job).nodes[0].tasks, 5_000);
}

#[test]
fn a_seed_that_lends_is_found_like_any_other() {
    let mut world = World::new(3);
    let seed = world.add(Actor::Seed);
    world.input(seed, settings(true, 2));
    // The seed of this simulator computes nothing, but it is offered.
    let me = world.add(Actor::Requester);
    let job = world.submit(me, plan::sum(10));
    world.run_until(Millis(500), |world| world.node(me).network().nodes.iter().any(|node| node.offer.is_some()));
    let nodes = world.node(me).network().nodes;
    assert!(nodes.iter().any(|node| node.node == world.id(seed) && node.offer.is_some()));
    world.input(me, Input::Cancelled { id: job });
}

#[test]
fn all_donors_get_a_share() {
    let (mut world, me, donors) = network(4, &[DONOR; 10]);
    let job = world.submit(me, plan::sum(20_000_000));
    assert!(world.run_until(Millis(120_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_sum(20_000_000));
    let status = world.job(me, job);
    assert_eq!(status.nodes.len(), donors.len());
    let least = status.nodes.iter().map(|share| share.units).min().unwrap();
    let most = status.nodes.iter().map(|share| share.units).max().unwrap();
    assert!(most < least * 2, "equal nodes do about the same: {least} to {most}");
    // Ten donors of two cores would need 10 s if nothing were lost.
    assert!(status.elapsed.ran < Millis(13_000), "it took {:?}", status.elapsed.ran);
}

#[test]
fn a_waiting_job_says_why_and_starts_soon_after_a_donor_comes() {
    let mut world = World::new(5);
    let me = world.add(Actor::Requester);
    let job = world.submit(me, plan::sum(1_000));
    world.run_until(Millis(200), |_| false);
    assert_eq!(world.job(me, job).summary.waiting, Some(WaitReason::NotConnected));

    let (mut world, me, _) = network(5, &[]);
    let job = world.submit(me, plan::sum(1_000));
    world.run_until(Millis(100_000), |_| false);
    assert_eq!(world.job(me, job).summary.waiting, Some(WaitReason::NoProviders));
    world.add(DONOR);
    // Connecting, offering, hearing of it, connecting, sending: ten times through a network of 2 to 40 ms.
    assert!(world.run_until(Millis(700), |world| world.job(me, job).summary.state != JobState::Queued));
    assert!(world.run_until(Millis(5_000), |world| world.is_over(me, job)));
}

#[test]
fn whoever_looks_at_a_job_only_when_told_sees_each_reason_to_wait() {
    const SEED: usize = 0;
    let (mut world, me, _) = network(41, &[]);
    // More jobs than are looked at in one step.
    let demanding =
        || Job { requirements: Requirements { memory_mib: 4096, ..Requirements::default() }, ..plan::sum(9) };
    let jobs: Vec<_> = (0..50).map(|_| world.submit(me, demanding())).collect();
    let told = |world: &World, reason: WaitReason| {
        jobs.iter().all(|job| world.told(me, *job).is_some_and(|summary| summary.waiting.as_ref() == Some(&reason)))
    };
    assert!(world.run_until(Millis(10_000), |world| told(world, WaitReason::NoProviders)));
    world.stop(SEED);
    assert!(world.run_until(Millis(60_000), |world| told(world, WaitReason::NotConnected)));
    world.start(SEED);
    assert!(world.run_until(Millis(60_000), |world| told(world, WaitReason::NoProviders)));
    let donor = world.add(DONOR);
    assert!(world.run_until(Millis(10_000), |world| told(world, WaitReason::NoneMeetsRequirements)));
    world.stop(donor);
    assert!(world.run_until(Millis(120_000), |world| told(world, WaitReason::NoProviders)));
}

#[test]
fn requirements_that_nobody_meets_are_named() {
    let (mut world, me, donors) = network(6, &[DONOR]);
    let mut job = plan::sum(1_000);
    job.requirements = Requirements { memory_mib: 4096, ..Requirements::default() };
    let job = world.submit(me, job);
    world.run_until(Millis(5_000), |_| false);
    assert_eq!(world.job(me, job).summary.waiting, Some(WaitReason::NoneMeetsRequirements));
    let more = ProviderSettings { lending: true, memory_mib: 4096, ..ProviderSettings::default() };
    world.input(donors[0], Input::Settings(more));
    assert!(world.run_until(Millis(5_000), |world| world.is_over(me, job)));
}

#[test]
fn cancel_stops_the_donors_at_once() {
    let (mut world, me, donors) = network(7, &[DONOR; 3]);
    let job = world.submit(me, plan::sum(1 << 30));
    assert!(world.run_until(Millis(5_000), |world| {
        donors.iter().all(|donor| !world.node(*donor).network().provider.running.is_empty())
    }));
    world.input(me, Input::Cancelled { id: job });
    assert_eq!(world.node(me).has_ended(job), Some(true));
    assert!(world.run_until(Millis(100), |world| {
        let is_idle = |donor: &usize| world.node(*donor).network().provider.running.is_empty();
        donors.iter().all(is_idle) && world.is_over(me, job)
    }));
    assert_eq!(world.job(me, job).summary.state, JobState::Cancelled);
    let refusal = why_no_result(&world, me, job);
    assert_eq!((refusal.code, refusal.hint.as_str()), (Code::NoResult, "submit it again"));
    world.input(me, Input::Removed { id: job });
    assert!(world.node(me).jobs(&Listing::everything()).unwrap().is_empty());
}

#[test]
fn what_is_cancelled_over_a_connection_that_is_dead_is_stopped_over_the_next_one() {
    let (mut world, me, donors) = network(7, &[Actor::Donor { cores: 1, units_per_second: 100_000 }]);
    let runs = |world: &World| !world.node(donors[0]).network().provider.running.is_empty();
    let mut endless = plan::call(1 << 40);
    endless.requirements.timeout_seconds = 3_600;
    let job = world.submit(me, endless);
    assert!(world.run_until(Millis(5_000), runs));
    world.goes_dead(me, donors[0], Millis(30_000));
    world.input(me, Input::Cancelled { id: job });
    assert!(!world.run_until(Millis(30_500), |world| !runs(world)), "it cannot hear so");
    let job = world.submit(me, plan::sum(1));
    assert!(world.run_until(Millis(10_000), |world| world.is_over(me, job)));
    assert!(!runs(&world));
}

#[test]
fn a_donor_on_battery_stops_and_says_so_and_the_job_goes_on_elsewhere() {
    let (mut world, me, donors) = network(8, &[DONOR; 2]);
    let job = world.submit(me, plan::sum(2_000_000));
    world.run_until(Millis(2_000), |_| false);
    let on_battery = ProviderSettings { lending: true, cores: 2, on_battery: true, ..ProviderSettings::default() };
    world.input(donors[0], Input::Settings(on_battery));
    let provider = world.node(donors[0]).network().provider;
    assert_eq!((provider.idle, provider.running.len()), (Some(IdleReason::OnBattery), 0));
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_sum(2_000_000));
    let provider = world.node(donors[1]).network().provider;
    assert_eq!(provider.idle, Some(IdleReason::NoWork));
}

#[test]
fn one_slow_node_does_not_hold_up_the_end() {
    let slow = Actor::Donor { cores: 2, units_per_second: 50 };
    let (mut world, me, _) = network(9, &[DONOR, DONOR, slow]);
    let job = world.submit(me, plan::sum(2_000_000));
    assert!(world.run_until(Millis(120_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_sum(2_000_000));
    // Four fast cores need 5 s; a probe alone takes the slow node 20 s.
    let ran = world.job(me, job).elapsed.ran;
    assert!(ran < Millis(8_000), "it took {ran:?}");
}

#[test]
fn inputs_and_outputs_larger_than_a_frame_travel_as_blobs() {
    let (mut world, me, _) = network(10, &[DONOR; 2]);
    // 16 KiB a call: batches of a few hundred calls are megabytes.
    let job = world.submit(me, plan::squares(3_000, 1024));
    assert!(world.run_until(Millis(120_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_squares(3_000));
    assert!(world.job(me, job).attempts.iter().any(|attempt| attempt.tasks * 16_384 > 1 << 20));
}

#[test]
fn a_kernel_that_traps_fails_the_job_fast_and_names_the_unit() {
    for donors in [1, 2] {
        let (mut world, me, _) = network(11, &vec![DONOR; donors]);
        let job = world.submit(me, plan::trapping(10_000, 777));
        assert!(world.run_until(Millis(20_000), |world| world.is_over(me, job)));
        let error = world.job(me, job).summary.error.unwrap();
        assert_eq!(error.code, Code::KernelTrapped);
        assert!(error.message.contains("unit 777"), "{}", error.message);
        assert_eq!(error.message.contains("nodes"), donors == 2, "{}", error.message);
    }
}

#[test]
fn a_broken_node_costs_tries_and_alone_it_costs_the_job() {
    let broken = Actor::Broken { cores: 2 };
    let (mut world, me, donors) = network(12, &[broken, DONOR]);
    let job = world.submit(me, plan::squares(3_000, 0));
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_squares(3_000));

    let (mut world, me, _) = network(12, &[broken]);
    let mut job = plan::squares(3_000, 0);
    job.policy = Policy { retries: 2, ..Policy::default() };
    let job = world.submit(me, job);
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, job)));
    let error = world.job(me, job).summary.error.unwrap();
    assert_eq!(error.code, Code::RetriesExhausted);
    assert!(error.message.contains("failed 3 times") && error.message.contains("12D3KooW"), "{}", error.message);
    assert_eq!(donors.len(), 2);
}

#[test]
fn a_job_that_runs_out_of_tries_names_its_cause() {
    let end = |seed, donors: &[Actor], retries| {
        let (mut world, me, _) = network(seed, donors);
        let mut job = plan::sum(1);
        job.policy = Policy { retries, ..Policy::default() };
        let job = world.submit(me, job);
        assert!(world.run_until(Millis(600_000), |world| world.is_over(me, job)));
        world.job(me, job).summary.error.unwrap()
    };
    let black_hole = Actor::BlackHole { cores: 1 };
    for (retries, times) in [(0, "a task failed 1 time: "), (1, "a task failed 2 times: ")] {
        let error = end(19, &[black_hole], retries);
        assert_eq!(error.code, Code::TimedOut, "{}", error.message);
        assert!(error.message.starts_with(times), "{}", error.message);
        assert!(error.message.contains("in time (unit 0 of 1, on node 12D3KooW"), "{}", error.message);
    }
    let error = end(20, &[black_hole, Actor::Broken { cores: 1 }], 1);
    assert_eq!(error.code, Code::RetriesExhausted, "{}", error.message);
    let last = ["the node did not deliver in time", "the node could not run the task"];
    // Two tries, and the copy that went to the broken one while the black hole was late.
    let named = last.iter().any(|last| error.message.contains(&format!("3 times, most recently: {last}")));
    assert!(named, "{}", error.message);
}

#[test]
fn a_failure_names_its_place_once() {
    let (mut world, me, donors) = network(21, &[DONOR]);
    let on = format!(" (on node {})", world.id(donors[0]));
    for (job, message) in [
        (
            r#"{"kind":"range_reduce","start":1,"end":10,"map":"1 // (x - 5)","reduce":"sum"}"#,
            "x = 5: this divides by zero",
        ),
        (r#"{"kind":"map","data":[4,5],"map":"1 // (x - 5)"}"#, "item 1, x = 5: this divides by zero"),
    ] {
        let job = world.submit(me, plan::read(job, &|_| None).unwrap());
        assert!(world.run_until(Millis(60_000), |world| world.is_over(me, job)));
        assert_eq!(world.job(me, job).summary.error.unwrap().message, format!("{message}{on}"));
    }
    let job = world.submit(me, plan::trapping(10_000, 777));
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, job)));
    assert_eq!(world.job(me, job).summary.error.unwrap().message, format!("the kernel trapped at unit 777{on}"));
}

#[test]
fn the_more_urgent_job_goes_first_and_equals_share() {
    let (mut world, me, _) = network(13, &[DONOR]);
    let low = |priority| {
        let mut job = plan::sum(1_000_000);
        job.policy = Policy { priority, ..Policy::default() };
        job
    };
    let patient = world.submit(me, low(Priority::Low));
    world.run_until(Millis(500), |_| false);
    let urgent = world.submit(me, low(Priority::Critical));
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, urgent)));
    assert!(!world.is_over(me, patient));
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, patient)));

    let mut world = World::new(14);
    world.add(Actor::Seed);
    let requesters = [world.add(Actor::Requester), world.add(Actor::Requester)];
    world.add(DONOR);
    let jobs = requesters.map(|requester| world.submit(requester, plan::sum(1_000_000)));
    assert!(world.run_until(Millis(60_000), |world| world.is_over(requesters[0], jobs[0])));
    let other = world.node(requesters[1]).summary(jobs[1]).unwrap().progress;
    assert!(other.percent > 60, "the other got its share too: {} %", other.percent);
}

#[test]
fn jobs_of_one_priority_take_turns_at_one_core() {
    let (mut world, me, _) = network(17, &[Actor::Donor { cores: 1, units_per_second: 1_000_000 }]);
    let long = world.submit(me, plan::sum(1_000_000_000_000));
    world.run_until(Millis(20_000), |_| false);
    let short = world.submit(me, plan::sum(1));
    let begun = world.elapsed();
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, short)));
    assert_eq!(world.result(me, short), plan::expected_sum(1));
    // Two batches of a second and a half are in front of it, the one that runs and the one that waits for the core.
    let waited = Millis(world.elapsed().0 - begun.0);
    assert!(waited < Millis(4_000), "it took {waited:?}");
    assert_eq!(world.job(me, long).summary.state, JobState::Running);

    // One that is as long gets as much of the core from now on.
    let twin = world.submit(me, plan::sum(1_000_000_000_000));
    let done = |world: &World, job| world.job(me, job).summary.progress.units_done;
    let before = done(&world, long);
    world.run_until(Millis(120_000), |_| false);
    let (first, second) = (done(&world, long) - before, done(&world, twin));
    assert!(first < second * 2 && second < first * 2, "equal jobs get about the same: {first} and {second}");
}

#[test]
fn a_job_does_not_expire_while_nodes_are_merely_busy() {
    let (mut world, me, _) = network(18, &[Actor::Donor { cores: 1, units_per_second: 1_000 }]);
    let with = |priority| {
        let mut job = plan::sum(1_000_000_000_000);
        job.policy = Policy { priority, ..Policy::default() };
        job
    };
    let urgent = world.submit(me, with(Priority::High));
    world.run_until(Millis(10_000), |_| false);
    let patient = world.submit(me, with(Priority::Low));
    world.run_until(Millis(25 * 3_600_000), |world| world.is_over(me, patient));
    let summary = world.job(me, patient).summary;
    assert_eq!((summary.state, summary.waiting), (JobState::Queued, Some(WaitReason::AllBusy)));
    world.input(me, Input::Cancelled { id: urgent });
    assert!(world.run_until(Millis(10_000), |world| world.job(me, patient).summary.state == JobState::Running));
}

#[test]
fn a_job_that_nobody_takes_expires_after_a_day() {
    let (mut world, me, _) = network(15, &[]);
    let job = world.submit(me, plan::sum(1_000));
    world.run_until(Millis(23 * 3_600_000), |world| world.is_over(me, job));
    assert_eq!(world.job(me, job).summary.state, JobState::Queued);
    assert!(world.run_until(Millis(3 * 3_600_000), |world| world.is_over(me, job)));
    assert_eq!(world.job(me, job).summary.state, JobState::Expired);
    assert_eq!(world.job(me, job).summary.error.unwrap().code, Code::NoProvider);
}

#[test]
fn a_node_takes_only_so_many_jobs_of_one_owner() {
    let mut world = World::new(16);
    let me = world.add(Actor::Requester);
    let mine = Holder::default();
    let first = world.submit(me, plan::sum(1_000));
    while world.node(me).may_submit(mine, 100).is_ok() {
        world.submit(me, plan::sum(1_000));
        assert!(world.node(me).jobs(&Listing::everything()).unwrap().len() <= 10_000);
    }
    assert_eq!(world.node(me).may_submit(mine, 100).unwrap_err().code, Code::TooManyJobs);
    assert_eq!(
        world.node(me).may_submit(Holder { owner: OwnerId::of(b"another"), ..mine }, 100),
        Ok(()),
        "and that refuses nobody else"
    );
    let refused = world.submit(me, plan::sum(1_000));
    assert_eq!(world.node(me).has_ended(refused), Some(true));
    world.input(me, Input::Cancelled { id: first });
    assert!(world.node(me).may_submit(mine, 100).is_ok());
    assert_eq!(world.node(me).may_submit(mine, 1 << 40).unwrap_err().code, Code::TooManyJobs);
    assert_eq!(why_no_result(&world, me, first).code, Code::NoResult);
}

#[test]
fn providers_know_jobs_apart_and_know_no_id() {
    let (mut world, me, donors) = network(31, &[DONOR; 3]);
    let jobs: Vec<JobId> = (1..=2).map(|_| world.submit(me, plan::sum(2_000_000))).collect();
    world.run_until(Millis(1_500), |_| false);
    world.cut_off(donors[0]); // what it may not have heard is said again
    assert!(world.run_until(Millis(120_000), |world| jobs.iter().all(|job| world.is_over(me, *job))));
    assert!(jobs.iter().all(|job| world.job(me, *job).attempts.len() > 10), "many batches each");
    assert_eq!(world.named.len(), 2, "one name for each job: {:?}", world.named);
    assert!(world.named.iter().all(|(_, name)| world.node(me).summary(*name).is_none() && !jobs.contains(name)));
    // Another requester has names of its own, and so has the same one in its next life.
    let other = world.add(Actor::Requester);
    let job = world.submit(other, plan::sum(1_000));
    assert!(world.run_until(Millis(60_000), |world| world.is_over(other, job)));
    assert!(world.named.iter().any(|(requester, name)| *requester == other && *name != job));
}

#[test]
fn a_list_is_an_owners_own_and_its_pages_neither_repeat_nor_miss_a_job() {
    let mut world = World::new(31);
    world.add(Actor::Seed);
    let me = world.add(Actor::Requester);
    world.add(Actor::Donor { cores: 2, units_per_second: 1_000_000 });
    let mine = OwnerId::of(b"mine");
    let submit = |world: &mut World, owner: OwnerId, units: u64| {
        let mut job = plan::sum(units);
        job.holder.owner = owner;
        world.submit(me, job)
    };
    let mut all = Vec::new();
    for number in 0..30 {
        all.push(submit(&mut world, mine, 1));
        submit(&mut world, OwnerId::LOCAL, 1);
        // Some are over, some begin in the same millisecond, some stay open.
        if number % 3 == 0 {
            world.run_until(Millis(2_000), |_| false);
        }
    }
    all.push(submit(&mut world, mine, 1 << 50));
    let page = |world: &World, before: Option<Place>, before_job: Option<JobId>| {
        let listing = Listing { owner: Some(mine), before, before_job, most: 7, takes: std::sync::Arc::new(|_| true) };
        world.node(me).jobs(&listing)
    };
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let jobs = page(&world, before, None).unwrap();
        let Some(last) = jobs.last() else { break };
        assert_eq!(page(&world, None, Some(last.id)), page(&world, Some((last.created_at, last.id)), None));
        before = Some((last.created_at, last.id));
        seen.extend(jobs.iter().map(|job| (job.created_at, job.id)));
        // Meanwhile others come and jobs end.
        submit(&mut world, mine, 1);
        world.run_until(Millis(500), |_| false);
    }
    assert!(seen.is_sorted_by(|one, next| one > next), "newest first, none twice");
    assert_eq!(seen.len(), all.len());
    assert!(all.iter().all(|id| seen.iter().any(|(_, job)| job == id)));
    // Made in steps, each of which looks at a few jobs, it is the same list.
    for looks in [1, 3, 20] {
        let takes = std::sync::Arc::new(|job: &JobSummary| job.id.0[15].is_multiple_of(2));
        let mut listing = Listing { owner: Some(mine), takes, ..Listing::everything() };
        let (whole, mut steps) = (world.node(me).jobs(&listing).unwrap(), Vec::new());
        while let Some(step) = world.node(me).list(&listing, looks) {
            assert!(step.jobs.len() <= looks);
            steps.extend(step.jobs.into_iter().map(here));
            listing.before = step.on;
            if step.on.is_none() {
                break;
            }
        }
        assert_eq!(steps, whole);
    }
    let strangers =
        world.node(me).jobs(&Listing::everything()).unwrap().into_iter().find(|job| job.holder.owner != mine).unwrap();
    assert_eq!(page(&world, None, Some(strangers.id)), None, "nobody finds out whether a job of others is there");
}

#[test]
fn a_list_made_in_steps_neither_repeats_nor_misses_a_job_while_jobs_end_come_and_go() {
    let (mut world, me, _) = network(37, &[DONOR; 2]);
    for (looks, most) in [(1, usize::MAX), (3, usize::MAX), (3, 12), (20, usize::MAX)] {
        // Some are over soon, some stay open; some are of the same millisecond.
        for number in 0..30 {
            world.submit(me, plan::sum(if number % 4 == 1 { 1_000_000 } else { 1 }));
            if number % 3 == 0 {
                world.run_until(Millis(300), |_| false);
            }
        }
        let places = |world: &World, listing: &Listing| -> Vec<Place> {
            world.node(me).jobs(listing).unwrap().iter().map(|job| (job.created_at, job.id)).collect()
        };
        // As it is asked for by whoever has seen the first two.
        let mut listing = Listing { most, ..Listing::everything() };
        listing.before_job = Some(places(&world, &listing)[1].1);
        let there = places(&world, &Listing { most: usize::MAX, ..listing.clone() });
        let (mut seen, mut gone) = (Vec::new(), Vec::new());
        let mut steps = 0;
        loop {
            let step = world.node(me).list(&listing, looks).unwrap();
            listing.most -= step.jobs.len();
            seen.extend(step.jobs.into_iter().map(here).map(|job| (job.created_at, job.id)));
            let Some(on) = step.on else { break };
            let named = listing.before_job.take();
            listing.before = Some(on);
            world.submit(me, plan::sum(1));
            world.run_until(Millis(200), |_| false);
            // The one that the next step begins behind goes, the one that the list began behind, or the oldest.
            let oldest = there.iter().rev().map(|(_, id)| *id).find(|id| world.is_over(me, *id));
            let near = named.or(Some(on.1)).filter(|id| steps % 2 == 0 && world.is_over(me, *id));
            if let Some(id) = near.or(oldest) {
                world.input(me, Input::Removed { id });
                gone.push(id);
            }
            steps += 1;
        }
        assert!(steps > 0 && !gone.is_empty(), "{looks} at once: {steps} steps, {} gone", gone.len());
        assert!(seen.is_sorted_by(|one, next| one > next), "newest first, none twice");
        assert!(seen.len() <= most && seen.iter().all(|place| there.contains(place)));
        let last = seen.last().filter(|_| seen.len() == most);
        let missed = |place: &&Place| !seen.contains(place) && !gone.contains(&place.1);
        let missed: Vec<&Place> =
            there.iter().filter(|place| last.is_none_or(|last| *place > last)).filter(missed).collect();
        assert!(missed.is_empty(), "{looks} at once: {missed:?}");
    }
}

#[test]
fn an_input_that_no_node_would_take_ends_its_job_with_the_reason() {
    let (mut world, me, _) = network(41, &[DONOR]);
    let job = world.submit(me, plan::squares(1, 65 << 16)); // 65 MiB
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, job)));
    let summary = world.job(me, job).summary;
    let error = summary.error.unwrap();
    assert_eq!((summary.state, error.code), (JobState::Failed, Code::TooLarge));
    assert!(error.message.contains("the input of units 0 to 0 of 1"), "{}", error.message);
    // Of several calls that are too large together, fewer go.
    let job = world.submit(me, plan::squares(1_000, 4 << 12)); // 256 KiB each
    assert!(world.run_until(Millis(600_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_squares(1_000));
}

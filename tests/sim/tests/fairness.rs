//! Nobody shuts others out: owners of many jobs, of urgent jobs, of jobs that never end, beside one with a small wish.

#![expect(clippy::unwrap_used, clippy::panic)]

use p2pnet_shared::{
    id::{Holder, JobId, OwnerId},
    job::{Job, Policy, Priority},
    node::{Found, Input},
    refusal::Code,
    units::Millis,
};
use p2pnet_sim::{actor::Actor, plan, world::World};

/// A job that nobody will see the end of.
const ENDLESS: u64 = 1 << 60;
/// The longest that a batch takes, as the scheduler plans it.
const BATCH: u64 = 1_500;

fn of(owner: &str, mut job: Job) -> Job {
    job.holder = Holder::of(OwnerId::of(owner.as_bytes()));
    job
}

fn with(priority: Priority, mut job: Job) -> Job {
    job.policy = Policy { priority, ..Policy::default() };
    job
}

/// How long a tiny job of an owner takes from now, in milliseconds.
fn tiny(world: &mut World, me: usize, owner: &str) -> u64 {
    let job = world.submit(me, of(owner, plan::sum(1)));
    let begun = world.elapsed().0;
    assert!(world.run_until(Millis(120_000), |world| world.is_over(me, job)));
    assert_eq!(world.result(me, job), plan::expected_sum(1));
    world.elapsed().0 - begun
}

fn done(world: &World, me: usize, jobs: &[JobId]) -> u64 {
    jobs.iter().map(|job| world.node(me).summary(*job).unwrap().progress.units_done).sum()
}

#[test]
fn hundreds_of_endless_jobs_of_one_owner_do_not_hold_up_a_tiny_job_of_another() {
    for donors in [1, 3] {
        let (mut world, me) =
            World::around_a_requester(1, &vec![Actor::Donor { cores: 2, units_per_second: 1_000_000 }; donors]);
        tiny(&mut world, me, "first"); // the kernel is there
        let idle = tiny(&mut world, me, "small");
        let jobs: Vec<JobId> = (0..256).map(|_| world.submit(me, of("greedy", plan::sum(ENDLESS)))).collect();
        world.run_until(Millis(60_000), |_| false);
        assert_eq!(jobs.iter().filter(|job| world.is_over(me, **job)).count(), 0, "all were taken");
        let times: Vec<u64> = (0..10).map(|_| tiny(&mut world, me, "small")).collect();
        // In front of it are the batch that runs and the one that waits for the core.
        assert!(times.iter().all(|time| *time <= idle + 2 * BATCH + 200), "{idle} ms alone, then {times:?}");
    }
}

#[test]
fn an_owner_with_one_job_gets_as_much_as_one_with_a_hundred() {
    let (mut world, me) = World::around_a_requester(2, &[Actor::Donor { cores: 2, units_per_second: 100_000 }; 2]);
    let many: Vec<JobId> = (0..100).map(|_| world.submit(me, of("many", plan::sum(ENDLESS)))).collect();
    world.run_until(Millis(60_000), |_| false);
    let one = [world.submit(me, of("one", plan::sum(ENDLESS)))];
    let before = done(&world, me, &many);
    world.run_until(Millis(200_000), |_| false);
    let (many, one) = (done(&world, me, &many) - before, done(&world, me, &one));
    assert!(many < one * 3 / 2 && one < many * 3 / 2, "a hundred jobs got {many}, one got {one}");
}

#[test]
fn urgency_counts_among_an_owners_own_jobs_and_not_against_others() {
    let (mut world, me) = World::around_a_requester(3, &[Actor::Donor { cores: 1, units_per_second: 100_000 }]);
    let endless = with(Priority::Critical, plan::sum(ENDLESS));
    let urgent = [world.submit(me, of("urgent", endless))];
    let late = world.submit(me, of("urgent", with(Priority::Low, plan::sum(ENDLESS))));
    world.run_until(Millis(30_000), |_| false);
    let patient = [world.submit(me, of("patient", with(Priority::Low, plan::sum(ENDLESS))))];
    let before = done(&world, me, &urgent);
    world.run_until(Millis(200_000), |_| false);
    let (urgent, patient) = (done(&world, me, &urgent) - before, done(&world, me, &patient));
    assert!(urgent < patient * 3 / 2, "the urgent one got {urgent}, the patient one {patient}");
    // It got what was left while the urgent one's first batch was out.
    let late = done(&world, me, &[late]);
    assert!(late * 1000 < urgent, "the same owner's less urgent job waits: {late}");
}

#[test]
fn calls_that_run_for_long_give_way_to_one_who_has_nothing_and_still_end() {
    // A first batch of a thousand units takes ten seconds, and all cores have one.
    let (mut world, me) = World::around_a_requester(4, &[Actor::Donor { cores: 2, units_per_second: 100 }]);
    let long: Vec<JobId> = (0..4).map(|_| world.submit(me, of("long", plan::sum(1 << 16)))).collect();
    world.run_until(Millis(4_000), |_| false);
    let times: Vec<u64> = (0..5).map(|_| tiny(&mut world, me, "small")).collect();
    // The first time a call gives way after five seconds; it may then run for twenty, and ends after ten.
    assert!(times[0] < 7_500 && times.iter().all(|time| *time < 11_000), "{times:?}");
    assert!(world.run_until(Millis(4_000_000), |world| long.iter().all(|job| world.is_over(me, *job))));
    for job in long {
        assert_eq!(world.result(me, job), plan::expected_sum(1 << 16));
    }
}

#[test]
fn a_small_job_that_a_node_took_behind_endless_calls_is_not_held_up_by_them() {
    for (cores, jobs) in [(1, 1), (1, 3), (2, 2), (2, 6)] {
        let (mut world, me) = World::around_a_requester(13, &[Actor::Donor { cores, units_per_second: 1 }]);
        // The node is known, so that it is given more than its cores can begin with.
        (0..3).for_each(|_| _ = tiny(&mut world, me, "first"));
        for _ in 0..jobs {
            world.submit(me, of("long", plan::sum(1 << 16)));
        }
        world.run_until(Millis(2_000), |_| false);
        let time = tiny(&mut world, me, "small");
        assert!(time < 10_000, "{time} ms behind {jobs} endless calls on {cores} cores");
    }
}

/// One call that takes so many seconds on a node of one unit a second, and may.
fn call(seconds: u64) -> Job {
    let mut job = plan::call(seconds);
    job.requirements.timeout_seconds = 3_600;
    job
}

fn attempts(world: &World, me: usize, job: JobId) -> u64 {
    match world.node(me).job(job).unwrap() {
        Found::Here(status) => status.attempts_total,
        Found::Kept(_) => panic!("it is not over"),
    }
}

#[test]
fn endless_calls_of_many_hold_up_small_jobs_no_longer_the_tenth_time_than_the_first() {
    for (cores, endless) in [(1, 1), (1, 2), (1, 5), (2, 2), (2, 7), (3, 5), (3, 6)] {
        let (mut world, me) = World::around_a_requester(21, &[Actor::Donor { cores, units_per_second: 1 }]);
        (0..3).for_each(|_| _ = tiny(&mut world, me, "first"));
        let calls: Vec<JobId> =
            (0..endless).map(|number| world.submit(me, of(&format!("long {number}"), call(3_600)))).collect();
        // Each of them has its first turn, in which nobody knows how long it is.
        world.run_until(Millis(60_000), |_| false);
        for round in 0..20 {
            let time = tiny(&mut world, me, "small");
            assert!(time < 9_000, "{endless} endless calls on {cores} cores, round {round}: {time} ms");
            world.run_until(Millis(700 * round), |_| false);
        }
        assert!(!calls.iter().any(|job| world.is_over(me, *job)), "they are still there");
    }
}

#[test]
fn a_long_call_among_many_small_jobs_is_begun_once_and_ends() {
    let (mut world, me) = World::around_a_requester(22, &[Actor::Donor { cores: 1, units_per_second: 1 }]);
    tiny(&mut world, me, "first");
    let long = world.submit(me, of("long", call(300)));
    world.run_until(Millis(3_000), |_| false);
    let begun = world.elapsed().0;
    while !world.is_over(me, long) {
        tiny(&mut world, me, "small");
        assert!(world.is_over(me, long) || attempts(&world, me, long) == 1, "no work of it is lost");
        assert!(world.elapsed().0 - begun < 900_000, "it has its turns");
    }
    assert_eq!(world.result(me, long), plan::expected_sum(300));
}

#[test]
fn two_long_calls_on_one_core_take_turns_and_neither_begins_anew() {
    let (mut world, me) = World::around_a_requester(23, &[Actor::Donor { cores: 1, units_per_second: 1 }]);
    tiny(&mut world, me, "first");
    let begun = world.elapsed().0;
    let [one, other] = ["one", "other"].map(|owner| world.submit(me, of(owner, call(60))));
    let first = |world: &World| world.is_over(me, one) || world.is_over(me, other);
    assert!(world.run_until(Millis(200_000), first));
    let at_first = world.elapsed().0 - begun;
    assert!(world.run_until(Millis(200_000), |world| world.is_over(me, one) && world.is_over(me, other)));
    let at_last = world.elapsed().0 - begun;
    assert!(at_first > 100_000, "neither had the core for itself: {at_first}");
    assert!(at_last < 125_000, "and no work was done twice: {at_last}");
}

#[test]
fn owners_of_many_long_calls_share_a_core_and_lose_no_work() {
    let (mut world, me) = World::around_a_requester(24, &[Actor::Donor { cores: 1, units_per_second: 1 }]);
    tiny(&mut world, me, "first");
    let begun = world.elapsed().0;
    let jobs: Vec<JobId> = ["one", "other"]
        .iter()
        .flat_map(|owner| [*owner; 3])
        .map(|owner| world.submit(me, of(owner, call(60))))
        .collect();
    let over = |world: &World| jobs.iter().all(|job| world.is_over(me, *job));
    assert!(world.run_until(Millis(1_000_000), |world| jobs.iter().any(|job| world.is_over(me, *job))));
    assert!(world.elapsed().0 - begun > 100_000, "neither owner has the core for himself");
    assert!(world.run_until(Millis(1_000_000), over));
    let took = world.elapsed().0 - begun;
    // Six times sixty seconds, and a few in which it was not known yet that they are long.
    assert!(took < 400_000, "{took}");
}

#[test]
fn one_owners_full_queue_refuses_only_him() {
    let (mut world, me) = World::around_a_requester(5, &[]);
    let submit = |world: &mut World, owner: &str| {
        let job = world.submit(me, of(owner, plan::sum(10)));
        world.node(me).has_ended(job) == Some(false)
    };
    let mut taken = 0;
    while submit(&mut world, "greedy") {
        taken += 1;
    }
    let refusal = world.node(me).may_submit(Holder::of(OwnerId::of(b"greedy")), 100).unwrap_err();
    assert_eq!(refusal.code, Code::TooManyJobs);
    assert!(refusal.message.contains(&format!("you already have {taken} jobs")), "{}", refusal.message);
    assert!(submit(&mut world, "small"));
    // However many greedy owners there are, one who comes is let in.
    for number in 0..30 {
        let owner = format!("greedy {number}");
        for _ in 0..taken {
            if !submit(&mut world, &owner) {
                break;
            }
        }
        assert!(submit(&mut world, &format!("small {number}")), "after {number} greedy owners");
    }
}

#[test]
fn whoever_has_many_networks_of_a_region_leaves_room_for_others() {
    let (mut world, me) = World::around_a_requester(13, &[]);
    let region = OwnerId::of(b"one region");
    let nearby = |number: u32| Holder { region, ..Holder::of(OwnerId::of(&number.to_le_bytes())) };
    for job in 0..256 * 12 {
        world.submit(me, Job { holder: nearby(job / 12), ..plan::sum(ENDLESS) });
    }
    for number in 0..100 {
        let job = world.submit(me, of(&format!("elsewhere {number}"), plan::sum(10)));
        assert_eq!(world.node(me).has_ended(job), Some(false), "{number}");
    }
    let refusal = world.node(me).may_submit(nearby(0), 100).unwrap_err();
    assert!(refusal.message.contains("your wide network (an IPv4 /16, an IPv6 /32)"), "{}", refusal.message);
}

#[test]
fn a_requester_that_calls_all_its_work_critical_gets_no_more_of_a_donor_than_another() {
    let mut world = World::new(6);
    world.add(Actor::Seed);
    let requesters = [world.add(Actor::Requester), world.add(Actor::Requester)];
    world.add(Actor::Donor { cores: 1, units_per_second: 100_000 });
    world.run_until(Millis(1_000), |_| false);
    let urgent = world.submit(requesters[0], with(Priority::Critical, plan::sum(ENDLESS)));
    world.run_until(Millis(20_000), |_| false);
    let patient = world.submit(requesters[1], with(Priority::Low, plan::sum(ENDLESS)));
    let before = done(&world, requesters[0], &[urgent]);
    world.run_until(Millis(200_000), |_| false);
    let (urgent, patient) = (done(&world, requesters[0], &[urgent]) - before, done(&world, requesters[1], &[patient]));
    assert!(urgent < patient * 3 / 2, "the urgent one got {urgent}, the patient one {patient}");
    world.input(requesters[0], Input::Tick);
}

#[test]
fn whoever_makes_up_owners_gets_no_more_than_his_household() {
    let (mut world, me) = World::around_a_requester(11, &[Actor::Donor { cores: 2, units_per_second: 100_000 }; 2]);
    let address = Holder::of(OwnerId::of(b"one address"));
    let made_up = |number: u32| Holder { owner: OwnerId::of(&number.to_le_bytes()), ..address };
    let many: Vec<JobId> =
        (0..100).map(|number| world.submit(me, Job { holder: made_up(number), ..plan::sum(ENDLESS) })).collect();
    beside_an_honest_one(&mut world, me, &many);
}

#[test]
fn whoever_has_many_households_gets_no_more_than_his_network() {
    let (mut world, me) = World::around_a_requester(12, &[Actor::Donor { cores: 2, units_per_second: 100_000 }; 2]);
    let network = OwnerId::of(b"one network");
    let next_door = |number: u32| Holder { region: network, network, ..Holder::of(OwnerId::of(&number.to_le_bytes())) };
    let many: Vec<JobId> =
        (0..100).map(|number| world.submit(me, Job { holder: next_door(number), ..plan::sum(ENDLESS) })).collect();
    beside_an_honest_one(&mut world, me, &many);
}

/// Looks whether one owner's job gets as much as those of many made-up ones together.
fn beside_an_honest_one(world: &mut World, me: usize, many: &[JobId]) {
    world.run_until(Millis(60_000), |_| false);
    let one = [world.submit(me, of("honest", plan::sum(ENDLESS)))];
    let before = done(world, me, many);
    world.run_until(Millis(200_000), |_| false);
    let (many, one) = (done(world, me, many) - before, done(world, me, &one));
    assert!(many < one * 3 / 2 && one < many * 3 / 2, "a hundred owners got {many}, one got {one}");
}

#[test]
fn an_owner_whose_jobs_lie_at_nodes_that_deliver_nothing_uses_up_nobody_elses_second_tries() {
    for seed in 0..4 {
        let (mut world, me) = World::around_a_requester(seed, &[Actor::BlackHole { cores: 4 }; 40]);
        // All that may be done twice for this owner, and more, goes to those who deliver nothing.
        let greedy: Vec<JobId> = (0..8).map(|_| world.submit(me, of("greedy", plan::squares(4_000, 0)))).collect();
        world.run_until(Millis(10_000), |_| false);
        let attempts: u64 = greedy.iter().map(|job| world.job(me, *job).attempts_total).sum();
        assert!(attempts >= 30, "{attempts} were made");
        // The first new node takes the other's job and delivers nothing; it gets its second try nevertheless.
        let job = world.submit(me, of("other", plan::sum(1)));
        world.add(Actor::BlackHole { cores: 4 });
        assert!(world.run_until(Millis(10_000), |world| world.job(me, job).attempts_total > 0));
        world.add(Actor::Donor { cores: 2, units_per_second: 1_000_000 });
        assert!(world.run_until(Millis(25_000), |world| world.is_over(me, job)), "seed {seed}");
        assert_eq!(world.result(me, job), plan::expected_sum(1));
    }
}

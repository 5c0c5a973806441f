//! A part of a program that runs out of time or gas is one part's failure: what the others put out stays, on whatever
//! nodes, and over a restart of the requester.

#![expect(clippy::unwrap_used)]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_shared::{
    job::{AttemptState, Job, JobState},
    refusal::Code,
    units::Millis,
};
use p2pnet_sim::{
    actor::Actor,
    executor::{BURNS_GAS, FILLS_A_BATCH, NEVER_ENDS},
    plan,
    world::{DISK, World},
};
use serde_json::{Value, json};

/// Counts the words of its input.
const PROGRAM: &[u8] = include_bytes!("../../../kernels/commands/built/frequencies.wasm");
const DONOR: Actor = Actor::Donor { cores: 2, units_per_second: 100 };
const TIMEOUT: u64 = 5;

/// A job over a hundred lines, of which the given ones end otherwise than by an output.
fn lines(retries: u32, ends: &[(usize, &[u8])]) -> Job {
    let line = |number: usize| {
        let other = ends.iter().find(|(line, _)| *line == number).map(|(_, end)| end.to_vec());
        other.unwrap_or_else(|| format!("word{number}\n").into_bytes())
    };
    let input: Vec<u8> = (0..100).flat_map(line).collect();
    let job = json!({"kind": "command", "module": STANDARD.encode(PROGRAM), "input": STANDARD.encode(input),
        "split": "lines", "requirements": {"timeout_seconds": TIMEOUT}, "policy": {"retries": retries}});
    plan::read(&job.to_string(), &|_| None).unwrap()
}

/// Looks whether the result has what every line put out but for these, and says of those that they lacked it.
fn check(result: &str, lacking: &[(usize, u32, &str)]) {
    let result: Value = serde_json::from_str(result).unwrap();
    let lacks = |number: &usize| lacking.iter().any(|(part, ..)| part == number);
    let output: String = (0..100).filter(|number| !lacks(number)).map(|number| format!("1\tword{number}\n")).collect();
    assert_eq!(result["stdout"], STANDARD.encode(output));
    let failed = lacking
        .iter()
        .map(|(part, exit_code, error)| json!({"part": part, "exit_code": exit_code, "error": error, "stderr": ""}));
    assert_eq!(result["failed"], Value::from_iter(failed));
    assert_eq!(result["exit_codes"]["0"], 100 - lacking.len());
}

#[test]
fn a_line_that_never_ends_fails_alone_and_first_in_its_batch_or_last() {
    for donors in [&[DONOR][..], &[DONOR, DONOR, DONOR]] {
        for (seed, line) in [(1, 0), (2, 1), (3, 50), (4, 99)] {
            let (mut world, me) = World::around_a_requester(seed, donors);
            let job = world.submit(me, lines(1, &[(line, NEVER_ENDS)]));
            assert!(world.run_until(Millis(120_000), |world| world.is_over(me, job)));
            check(&world.result(me, job), &[(line, 124, "timed_out")]);
            let status = world.job(me, job);
            assert_eq!(status.summary.state, JobState::Completed);
            let late = status.attempts.iter().filter(|attempt| attempt.state == AttemptState::Rejected);
            assert!(late.clone().all(|attempt| attempt.error.as_ref().unwrap().code == Code::TimedOut));
            assert!(late.count() >= 2, "it was tried as often as the job says");
            assert_eq!(status.nodes.iter().map(|share| share.units).sum::<u64>(), 99, "it is no node's work");
        }
    }
}

#[test]
fn several_lines_that_end_for_want_of_time_or_gas_leave_the_others() {
    for seed in 0..6 {
        let (mut world, me) = World::around_a_requester(seed, &[DONOR, DONOR]);
        let ends = [(3, NEVER_ENDS), (4, BURNS_GAS), (5, NEVER_ENDS), (60, BURNS_GAS), (99, NEVER_ENDS)];
        let job = world.submit(me, lines(0, &ends));
        assert!(world.run_until(Millis(300_000), |world| world.is_over(me, job)));
        check(&world.result(me, job), &ends.map(|(line, _)| (line, 124, "timed_out")));
    }
}

#[test]
fn lines_whose_outputs_are_too_much_together_are_each_computed_alone_and_cost_no_try() {
    for seed in 0..4 {
        let (mut world, me) = World::around_a_requester(seed, &[DONOR, DONOR]);
        let every: Vec<(usize, &[u8])> = [3, 20, 21, 22, 60, 99].map(|line| (line, FILLS_A_BATCH)).into();
        let job = world.submit(me, lines(0, &every));
        assert!(world.run_until(Millis(300_000), |world| world.is_over(me, job)));
        let status = world.job(me, job);
        assert_eq!(status.summary.state, JobState::Completed, "{:?}", status.summary.error);
        let result: Value = serde_json::from_str(&world.result(me, job)).unwrap();
        assert_eq!(result.get("failed"), None, "{result}");
        let output = String::from_utf8(STANDARD.decode(result["stdout"].as_str().unwrap()).unwrap()).unwrap();
        assert_eq!((output.matches("\tword").count(), output.matches("\tfills\n").count()), (94, 6));
    }
}

#[test]
fn lines_among_nodes_that_say_nothing_come_back_but_for_those_that_never_end() {
    for seed in 0..4 {
        let (mut world, me) =
            World::around_a_requester(seed, &[Actor::BlackHole { cores: 4 }, DONOR, Actor::BlackHole { cores: 4 }]);
        let job = world.submit(me, lines(2, &[(20, NEVER_ENDS)]));
        assert!(world.run_until(Millis(600_000), |world| world.is_over(me, job)));
        check(&world.result(me, job), &[(20, 124, "timed_out")]);
    }
}

#[test]
fn a_job_of_which_every_line_never_ends_is_given_up_after_some() {
    let (mut world, me) = World::around_a_requester(7, &[DONOR, DONOR]);
    let every: Vec<(usize, &[u8])> = (0..100).map(|line| (line, NEVER_ENDS)).collect();
    let job = world.submit(me, lines(0, &every));
    assert!(world.run_until(Millis(300_000), |world| world.is_over(me, job)));
    let summary = world.job(me, job).summary;
    assert_eq!((summary.state, summary.error.unwrap().code), (JobState::Failed, Code::TimedOut));
    assert!((16..25).contains(&summary.progress.units_done), "{} were tried", summary.progress.units_done);
}

#[test]
fn a_line_of_which_no_node_has_said_anything_is_not_said_to_have_run_out_of_time() {
    let (mut world, me) = World::around_a_requester(8, &[Actor::BlackHole { cores: 4 }]);
    let job = world.submit(me, lines(0, &[]));
    world.run_until(Millis(300_000), |world| world.is_over(me, job));
    let summary = world.job(me, job).summary;
    assert_ne!(summary.state, JobState::Completed, "nobody has computed anything");
    assert_eq!((summary.failed_parts, summary.progress.units_done), (0, 0));
}

#[test]
fn a_requester_that_restarts_keeps_what_stands_for_a_line_that_never_ended() {
    let (mut world, me) = World::around_a_requester(5, &[DONOR]);
    let job = world.submit(me, lines(0, &[(0, NEVER_ENDS), (90, NEVER_ENDS)]));
    let done = |world: &World| world.node(me).summary(job).unwrap().progress.units_done;
    // Everything but the last one that never ends.
    assert!(world.run_until(Millis(120_000), |world| done(world) == 99));
    world.run_until(DISK, |_| false);
    world.stop(me);
    world.start(me);
    assert!(done(&world) >= 98, "{} are done", done(&world));
    assert!(world.run_until(Millis(120_000), |world| world.is_over(me, job)));
    check(&world.result(me, job), &[(0, 124, "timed_out"), (90, 124, "timed_out")]);
    // Its list says so, and so does what is kept of it.
    assert_eq!(world.node(me).summary(job).unwrap().failed_parts, 2);
    assert_eq!(world.job(me, job).summary.failed_parts, 2);
}

#[test]
fn a_job_whose_only_part_never_ends_says_so() {
    let (mut world, me) = World::around_a_requester(6, &[DONOR]);
    let program = STANDARD.encode(PROGRAM);
    let job = json!({"kind": "command", "module": program, "input": STANDARD.encode(NEVER_ENDS),
        "requirements": {"timeout_seconds": TIMEOUT}, "policy": {"retries": 0}});
    let job = world.submit(me, plan::read(&job.to_string(), &|_| None).unwrap());
    assert!(world.run_until(Millis(60_000), |world| world.is_over(me, job)));
    let summary = world.job(me, job).summary;
    let error = summary.error.unwrap();
    assert_eq!((summary.state, error.code), (JobState::Failed, Code::TimedOut));
    assert!(error.message.starts_with("part 0 ran longer than requirements.timeout_seconds"), "{}", error.message);
}

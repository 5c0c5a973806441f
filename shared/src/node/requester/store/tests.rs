//! What becomes of records that are sound, damaged, of a later version, or of before.
#![expect(clippy::wildcard_enum_match_arm)]

mod golden;

use std::collections::BTreeMap;

use super::{super::Line, *};
use crate::{
    id::OwnerId,
    node::{Effect, Found, HostOrder, Input, Keep, Node, NodeConfig, Notice, mend_line, read_line, read_summary},
    refusal::Code,
    units::Millis,
    wire::Role,
};

const OWNER: OwnerId = OwnerId([7; 16]);

type Records = BTreeMap<StoreKey, Vec<u8>>;

fn node() -> Node {
    Node::new(config())
}

fn config() -> NodeConfig {
    NodeConfig {
        me: NodeId([1; 32]),
        role: Role::Client,
        agent: String::new(),
        seed: [7; 32],
        keep: Keep { age: Millis(1 << 40), ..Keep::default() },
        can_rest: true,
        rewrite: crate::kernel::REWRITE_VERSION,
    }
}

fn id(number: u8) -> JobId {
    JobId([number; 16])
}

fn job() -> Job {
    let mut job = crate::job::kinds::read(r#"{"kind":"map","data":[1,2],"map":"x"}"#, &|_| None).unwrap();
    job.holder = Holder::of(OWNER);
    job
}

/// The record of a job as it was kept before there were envelopes.
fn before(state: &str) -> Vec<u8> {
    let record = new_record(id(1), &job(), Moment(1));
    let text = String::from_utf8(open(StoreKey::Job(id(1)), 1, &record).unwrap().body.to_vec()).unwrap();
    let text = text.replace(r#""state":"queued""#, &format!(r#""state":"{state}""#));
    text.replacen('{', r#"{"version":1,"#, 1).into_bytes()
}

/// Does what the node orders of its store; gives what it told.
fn carry_out(node: &mut Node, records: &mut Records) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(effect) = node.poll_effect() {
        let (changes, token) = match effect {
            Effect::Host(HostOrder::Change(changes)) => (changes, None),
            Effect::Host(HostOrder::Keep { token, changes }) => (changes, Some(token)),
            Effect::Tell(Notice::JobChanged(id)) => {
                told.push(format!("changed {id}"));
                continue;
            }
            Effect::Tell(Notice::JobRemoved { id, owner }) => {
                told.push(format!("removed {id} of {owner}"));
                continue;
            }
            _ => continue,
        };
        for (key, record) in changes {
            match record {
                Some(record) => _ = records.insert(key, record),
                None => _ = records.remove(&key),
            }
        }
        if let Some(token) = token {
            node.handle(Moment(3), Input::Kept { token });
        }
    }
    told
}

/// A node that starts with what a store holds.
fn start(records: &mut Records) -> Node {
    let mut node = node();
    let of = |key: &StoreKey| matches!(key, StoreKey::Job(_) | StoreKey::Span(..));
    let open = records.iter().filter(|(key, _)| of(key)).map(|(key, record)| (*key, record.clone()));
    let open = open.collect();
    node.await_lines();
    node.restore(Moment(2), open, &crate::job::kinds::read);
    node.handle(Moment(2), Input::Loaded { lines: lines(records), is_all: true });
    assert_eq!(node.audit(), Ok(()));
    node
}

/// As a host makes them.
fn lines(records: &Records) -> Vec<Line> {
    let result = |id| records.get(&StoreKey::Result(id)).map(|result| result.len() as u64);
    let over = |id| records.get(&StoreKey::Over(id)).map(Vec::as_slice);
    let lines = records.iter().filter_map(|(key, record)| match key {
        StoreKey::Finished(id) => {
            Some(read_line(*id, record, false).unwrap_or_else(|| mend_line(*id, over(*id), result(*id))))
        }
        _ => None,
    });
    lines.collect()
}

/// A job that was cancelled, and its records.
fn ended() -> (Node, Records) {
    let (mut node, mut records) = (node(), Records::new());
    node.handle(Moment(1), Input::Submitted { id: id(1), job: Box::new(job()) });
    node.handle(Moment(2), Input::Cancelled { id: id(1) });
    carry_out(&mut node, &mut records);
    (node, records)
}

#[test]
fn a_record_that_is_not_understood_is_told_of_and_left_alone_with_its_spans_until_its_owner_removes_it() {
    let sound = new_record(id(1), &job(), Moment(1));
    let mut damaged = new_record(id(2), &job(), Moment(1));
    damaged[40] ^= 1;
    let later = seal(StoreKey::Job(id(3)), 99, OWNER, |record| record);
    let line = seal(StoreKey::Finished(id(4)), 99, OWNER, |record| record);
    let span = |job: JobId| (StoreKey::Span(job, 0), seal(StoreKey::Span(job, 0), 99, OWNER, |record| record));
    let records = [
        (StoreKey::Job(id(1)), sound),
        (StoreKey::Job(id(2)), damaged),
        (StoreKey::Job(id(3)), later),
        (StoreKey::Over(id(4)), b"whatever that is".to_vec()),
        (StoreKey::Finished(id(4)), line),
        span(id(1)),
        span(id(3)),
        span(id(9)),
    ];
    let mut records = Records::from(records);
    let before = records.clone();
    let mut node = start(&mut records);
    assert_eq!(node.damaged(), [StoreKey::Job(id(2))]);
    assert_eq!(node.records_not_understood(), 5, "three jobs, and two spans of others");
    assert_eq!(node.network().records_not_understood, 5);
    carry_out(&mut node, &mut records);
    assert_eq!(records, before, "nothing is lost");
    assert_eq!(node.summary(id(1)).unwrap().state, JobState::Queued);
    let owners = [1, 2, 3, 4].map(|number| node.left_alone(id(number)));
    assert_eq!(owners, [None, Some(OwnerId::LOCAL), Some(OWNER), Some(OWNER)]);
    for number in [2, 3, 4] {
        node.handle(Moment(3), Input::Removed { id: id(number) });
    }
    let told = carry_out(&mut node, &mut records);
    assert!(told.contains(&format!("removed {} of {OWNER}", id(4))), "{told:?}");
    assert!(!records.keys().any(|key| [2, 4].map(id).contains(&key.job())), "{records:?}");
    // What it had of the first goes when that ends.
    node.handle(Moment(4), Input::Cancelled { id: id(1) });
    carry_out(&mut node, &mut records);
    let kept: Vec<StoreKey> = records.keys().copied().filter(|key| key.job() == id(1)).collect();
    assert_eq!(kept, [StoreKey::Over(id(1)), StoreKey::Finished(id(1))]);
    assert_eq!(node.audit(), Ok(()));
}

#[test]
fn spans_that_are_understood_and_belong_to_no_job_are_forgotten() {
    let key = StoreKey::Span(id(9), 0);
    let span = SpanRecord { span: Span { start: 0, end: 1 }, outputs: vec![], node: NodeId([1; 32]), gas: Gas(0) };
    let record = seal(key, 1, OWNER, |record| postcard::to_extend(&span, record).unwrap());
    let mut records = Records::from([(key, record)]);
    let mut node = start(&mut records);
    carry_out(&mut node, &mut records);
    assert!(records.is_empty());
}

#[test]
fn a_job_that_this_version_does_not_read_is_left_alone_with_its_spans_and_goes_on_under_one_that_does() {
    let key = StoreKey::Span(id(1), 0);
    let span =
        SpanRecord { span: Span { start: 0, end: 1 }, outputs: vec![vec![9]], node: NodeId([1; 32]), gas: Gas(0) };
    let span = seal(key, 1, OWNER, |record| postcard::to_extend(&span, record).unwrap());
    let before = Records::from([(StoreKey::Job(id(1)), new_record(id(1), &job(), Moment(1))), (key, span)]);
    let refusal = Refusal::new(Code::UnknownKind, "there is no kind \"dance\"", "");
    let mut node = node();
    node.restore(Moment(2), before.clone().into_iter().collect(), &|_, _| Err(refusal.clone()));
    assert_eq!(node.not_resumed(), [(id(1), refusal.clone())]);
    assert_eq!((node.records_not_understood(), node.left_alone(id(1))), (1, Some(OWNER)));
    assert_eq!(node.summary(id(1)), None);
    let mut records = before.clone();
    carry_out(&mut node, &mut records);
    assert_eq!(records, before, "nothing is lost");
    assert_eq!(node.audit(), Ok(()));
    let node = start(&mut records);
    assert_eq!(node.summary(id(1)).unwrap().state, JobState::Queued, "the version that took it reads it");
    assert_eq!(node.records_not_understood(), 0);
}

#[test]
fn a_job_that_is_over_is_found_after_a_restart_by_its_records() {
    let (first, mut records) = ended();
    let summary = first.summary(id(1)).unwrap();
    let node = start(&mut records);
    assert_eq!(node.summary(id(1)), None, "it is not in memory");
    assert_eq!(node.find(id(1)), Some(Found::Kept(StoreKey::Finished(id(1)))));
    assert_eq!(read_summary(id(1), &records[&StoreKey::Finished(id(1))]), Some(summary.clone()));
    assert_eq!(node.job(id(1)), Some(Found::Kept(StoreKey::Over(id(1)))));
    assert_eq!(read_status(id(1), &records[&StoreKey::Over(id(1))]).unwrap().summary, summary);
    assert_eq!((node.owner(id(1)), node.is_over(id(1))), (Some(OWNER), Some(true)));
    assert_eq!(node.states(), BTreeMap::from([(JobState::Cancelled, 1)]));
    assert_eq!(node.result(id(1)), Err(super::super::NoResult::AsLineSays(StoreKey::Finished(id(1)))));
    assert_eq!(node.records_not_understood(), 0);
    // A host that keeps few of them has lists answered from memory.
    let line = read_line(id(1), &records[&StoreKey::Finished(id(1))], true).unwrap();
    let mut node = self::node();
    node.handle(Moment(2), Input::Loaded { lines: vec![line], is_all: true });
    assert_eq!(node.summary(id(1)), Some(summary));
}

#[test]
fn a_damaged_line_is_made_anew_from_the_record_with_what_is_kept_of_the_result() {
    let (_, mut records) = ended();
    records.get_mut(&StoreKey::Finished(id(1))).unwrap()[30] ^= 1;
    records.insert(StoreKey::Result(id(1)), vec![b'1'; 1_000_000]);
    let damaged = records.clone();
    let mut node = start(&mut records);
    assert_eq!(node.records_not_understood(), 0);
    assert_eq!(node.result(id(1)), Ok(StoreKey::Result(id(1))));
    assert!(node.requester.finished.bytes() > 1_000_000, "the result counts");
    carry_out(&mut node, &mut records);
    assert!(read_line(id(1), &records[&StoreKey::Finished(id(1))], false).is_some());
    // Where the record is damaged as well, both are left alone.
    let mut records = damaged;
    records.get_mut(&StoreKey::Over(id(1))).unwrap()[30] ^= 1;
    let before = records.clone();
    let mut node = start(&mut records);
    carry_out(&mut node, &mut records);
    assert_eq!((node.records_not_understood(), node.find(id(1))), (1, None));
    assert_eq!(records, before);
}

#[test]
fn nothing_is_dropped_and_nothing_counts_twice_while_lines_are_still_to_come() {
    let (mut first, mut records) = (node(), Records::new());
    for number in 1..=20 {
        first.handle(Moment(u64::from(number)), Input::Submitted { id: id(number), job: Box::new(job()) });
        first.handle(Moment(u64::from(number)), Input::Cancelled { id: id(number) });
    }
    carry_out(&mut first, &mut records);
    let mut all = lines(&records);
    let mut node = Node::new(NodeConfig {
        me: NodeId([1; 32]),
        role: Role::Client,
        agent: String::new(),
        seed: [7; 32],
        keep: Keep { jobs: 5, ..Keep::default() },
        can_rest: true,
        rewrite: crate::kernel::REWRITE_VERSION,
    });
    node.await_lines();
    node.restore(Moment(30), Vec::new(), &crate::job::kinds::read);
    node.handle(Moment(30), Input::Submitted { id: id(21), job: Box::new(job()) });
    node.handle(Moment(31), Input::Cancelled { id: id(21) });
    let rest = all.split_off(10);
    node.handle(Moment(32), Input::Loaded { lines: all, is_all: false });
    node.handle(Moment(32), Input::Loaded { lines: lines(&records).split_off(5), is_all: false });
    assert!(!node.is_loaded());
    assert_eq!(node.states(), BTreeMap::from([(JobState::Cancelled, 21)]));
    carry_out(&mut node, &mut records);
    assert_eq!(records.len(), 42, "nothing is dropped yet");
    node.handle(Moment(33), Input::Loaded { lines: rest, is_all: true });
    carry_out(&mut node, &mut records);
    assert_eq!((node.is_loaded(), records.len()), (true, 10));
    let kept: Vec<JobId> = records.keys().map(|key| key.job()).collect();
    assert!(kept.iter().all(|job| job.0[0] >= 17), "the oldest went: {kept:?}");
}

#[test]
fn that_a_job_is_over_or_gone_is_told_when_it_is_kept_and_not_before() {
    let mut node = node();
    node.handle(Moment(1), Input::Submitted { id: id(1), job: Box::new(job()) });
    while node.poll_effect().is_some() {}
    node.handle(Moment(1_000), Input::Cancelled { id: id(1) });
    let orders = |node: &mut Node| std::iter::from_fn(|| node.poll_effect()).collect::<Vec<_>>();
    let tokens = |orders: &[Effect]| {
        let token = |order: &Effect| match order {
            Effect::Host(HostOrder::Keep { token, .. }) => Some(*token),
            _ => None,
        };
        orders.iter().filter_map(token).collect::<Vec<_>>()
    };
    let tells = |orders: &[Effect]| {
        orders
            .iter()
            .any(|order| matches!(order, Effect::Tell(Notice::JobChanged(_)) | Effect::Tell(Notice::JobRemoved { .. })))
    };
    let first = orders(&mut node);
    assert!(!tells(&first) && node.is_over(id(1)) == Some(false));
    node.handle(Moment(5_000), Input::Tick);
    assert!(!tells(&orders(&mut node)));
    node.handle(Moment(5_001), Input::Kept { token: tokens(&first)[0] });
    assert!(matches!(orders(&mut node)[..], [Effect::Tell(Notice::JobChanged(job))] if job == id(1)));
    assert_eq!(node.is_over(id(1)), Some(true));
    node.handle(Moment(6_000), Input::Removed { id: id(1) });
    let second = orders(&mut node);
    assert!(!tells(&second));
    node.handle(Moment(6_001), Input::Kept { token: tokens(&second)[0] });
    let gone = orders(&mut node);
    assert!(
        matches!(gone[..], [Effect::Tell(Notice::JobRemoved { id: job, owner: OWNER })] if job == id(1)),
        "{gone:?}"
    );
    assert_eq!(node.audit(), Ok(()));
}

#[test]
fn the_end_of_a_job_is_one_change_of_all_its_records() {
    let (_, records) = ended();
    assert_eq!(records.keys().copied().collect::<Vec<_>>(), [StoreKey::Over(id(1)), StoreKey::Finished(id(1))]);
    let mut node = node();
    node.handle(Moment(1), Input::Submitted { id: id(1), job: Box::new(job()) });
    while node.poll_effect().is_some() {}
    node.handle(Moment(2), Input::Cancelled { id: id(1) });
    let orders: Vec<Effect> = std::iter::from_fn(|| node.poll_effect()).collect();
    let changes: Vec<_> = orders
        .iter()
        .filter(|order| matches!(order, Effect::Host(HostOrder::Change(_)) | Effect::Host(HostOrder::Keep { .. })))
        .collect();
    let [Effect::Host(HostOrder::Keep { changes, .. })] = changes[..] else { panic!("{changes:?}") };
    let kept: Vec<_> = changes.iter().map(|(key, record)| (*key, record.is_some())).collect();
    assert_eq!(kept, [(StoreKey::Job(id(1)), false), (StoreKey::Over(id(1)), true), (StoreKey::Finished(id(1)), true)]);
}

/// A line as it was kept before there were envelopes.
fn line_before(number: u8) -> Vec<u8> {
    let (first, _) = ended();
    let mut summary = first.summary(id(1)).unwrap();
    summary.id = id(number);
    let line = serde_json::json!({
        "version": 1, "owner": OWNER, "household": OWNER, "summary": summary, "bytes": 77, "has_result": true,
    });
    serde_json::to_vec(&line).unwrap()
}

fn taken_over(number: u8, of: OfBefore) -> Records {
    of.take_over(id(number)).into_iter().collect()
}

#[test]
fn records_of_before_there_were_envelopes_are_taken_over() {
    let span =
        SpanRecord { span: Span { start: 0, end: 1 }, outputs: vec![vec![1]], node: NodeId([1; 32]), gas: Gas(9) };
    let spans = vec![(0, postcard::to_allocvec(&span).unwrap())];
    let mut running = taken_over(1, OfBefore { job: Some(before("running")), spans, ..OfBefore::default() });
    assert_eq!(running.keys().copied().collect::<Vec<_>>(), [StoreKey::Job(id(1)), StoreKey::Span(id(1), 0)]);
    let node = start(&mut running);
    assert_eq!(node.records_not_understood(), 0);
    assert_eq!(node.summary(id(1)).unwrap().holder, Holder::of(OWNER));
    // One that is over, with its line and what a kill left of its spans.
    let spans = vec![(0, vec![1])];
    let of = OfBefore { job: Some(before("completed")), line: Some(line_before(2)), spans, result_bytes: Some(5) };
    let mut over = taken_over(2, of);
    assert_eq!(over.keys().copied().collect::<Vec<_>>(), [StoreKey::Over(id(2)), StoreKey::Finished(id(2))]);
    let node = start(&mut over);
    assert_eq!(node.result(id(2)), Ok(StoreKey::Result(id(2))));
    assert_eq!(node.requester.finished.bytes(), 77);
    // One that a kill kept from having a line, and one whose line was damaged.
    for line in [None, Some(b"{".to_vec())] {
        let of = OfBefore { job: Some(before("failed")), line, result_bytes: Some(5), ..OfBefore::default() };
        let mut over = taken_over(3, of);
        let node = start(&mut over);
        assert_eq!((node.states(), node.records_not_understood()), (BTreeMap::from([(JobState::Failed, 1)]), 0));
        assert_eq!(node.result(id(3)), Ok(StoreKey::Result(id(3))));
    }
    // What a kill left of one that was being removed may be all that a damaged file gives of one that was not.
    let left = taken_over(4, OfBefore { line: Some(line_before(4)), ..OfBefore::default() });
    assert_eq!(left.keys().copied().collect::<Vec<_>>(), [StoreKey::Finished(id(4))]);
}

#[test]
fn records_of_before_that_were_not_understood_are_kept_as_they_were() {
    let later = br#"{"version":99,"told_otherwise":true}"#.to_vec();
    let cut = before("queued")[..40].to_vec();
    for (job, damaged) in [(later.clone(), 0), (cut, 1)] {
        let spans = vec![(3, vec![1])];
        let mut records = taken_over(1, OfBefore { job: Some(job.clone()), spans, ..OfBefore::default() });
        let kept = &records[&StoreKey::Job(id(1))];
        assert!(kept.ends_with(&job), "as it was, behind its envelope");
        let before = records.clone();
        let mut node = start(&mut records);
        assert_eq!((node.records_not_understood(), node.damaged().len()), (1, damaged));
        carry_out(&mut node, &mut records);
        assert_eq!(records, before);
    }
    // A line of a later version says more than what could be made of the job's record.
    let of = OfBefore { job: Some(before("completed")), line: Some(later), ..OfBefore::default() };
    let node = start(&mut taken_over(2, of));
    assert_eq!((node.records_not_understood(), node.left_alone(id(2))), (1, Some(OWNER)));
}

#[test]
fn what_an_end_replaces_before_the_host_heard_of_it_is_never_written() {
    let mut node = node();
    node.handle(Moment(1), Input::Submitted { id: id(1), job: Box::new(job()) });
    node.handle(Moment(1), Input::Submitted { id: id(2), job: Box::new(job()) });
    node.handle(Moment(2), Input::Cancelled { id: id(1) });
    let (mut changed, mut kept) = (Vec::new(), 0);
    while let Some(effect) = node.poll_effect() {
        match effect {
            Effect::Host(HostOrder::Change(changes)) => changed.extend(changes.into_iter().map(|(key, _)| key)),
            Effect::Host(HostOrder::Keep { .. }) => kept += 1,
            _ => {}
        }
    }
    assert_eq!((changed, kept), (vec![StoreKey::Job(id(2))], 1));
}

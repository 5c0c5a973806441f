//! The bytes of every message, as they stand on the wire. Nodes of different ages talk to each other: a test that fails
//! here is a new protocol version, not a file to be written anew.
//!
//! `P2PNET_WRITE_GOLDEN=1 cargo test -p p2pnet-shared --test wire` writes files that are missing.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use p2pnet_shared::{
    engine::{BatchReport, CallOutcome, EngineName, Limits, Trap},
    id::{AttemptId, Hash, JobId, NodeId},
    job::{Priority, Requirements},
    units::{Gas, Moment},
    wire::{self, Assignment, Message, Offer, Payload, RefuseReason, Role, WireError},
};

const NODE: NodeId = NodeId([0xa1; 32]);
const HASH: Hash = Hash([0xb2; 32]);
const JOB: JobId = JobId([0xc3; 16]);
const ATTEMPT: AttemptId = AttemptId(300);

fn offer() -> Offer {
    Offer {
        node: NODE,
        role: Role::Client,
        agent: "p2pnet 0.1.0 browser".to_owned(),
        cores: 8,
        cpu_percent: 50,
        memory_mib: 1024,
        idle_cores: 3,
        addresses: vec!["/ip4/192.0.2.1/tcp/5557".to_owned()],
        made_at: Moment(1_790_000_000_000),
    }
}

fn assignment(common: Option<Hash>, calls: Payload) -> Assignment {
    let limits = Limits { gas: Gas(2_000_000), memory_bytes: 1 << 29, output_bytes: 1 << 20, time_millis: 30_000 };
    Assignment { attempt: ATTEMPT, job: JOB, kernel: HASH, common, priority: Priority::High, limits, calls }
}

fn report() -> BatchReport {
    let outcomes = vec![
        CallOutcome { output: Ok(b"forty-two".to_vec()), gas: Gas(1000) },
        CallOutcome { output: Err(Trap::OutOfGas), gas: Gas(2_000_000) },
    ];
    BatchReport { engine: EngineName::Browser, outcomes, busy_micros: 1_500 }
}

/// Every variant, and every form of what it carries.
fn messages() -> Vec<(&'static str, Message)> {
    let calls = Payload::Inline(wire::encode_calls(&[vec![1, 2, 3], Vec::new()]).unwrap());
    let large = Payload::Blob { hash: HASH, len: 10_000_000 };
    let deliver = Payload::Inline(wire::encode_report(&report()).unwrap());
    vec![
        ("hello", Message::Hello { version: 1, role: Role::Seed, agent: "p2pnet 0.1.0".to_owned(), session: 7 }),
        ("offer", Message::Offer(offer())),
        ("withdraw", Message::Withdraw),
        ("find", Message::Find { query: 1, requirements: Requirements::default(), limit: 64 }),
        ("found", Message::Found { query: 1, offers: vec![offer()], known: 12 }),
        ("assign", Message::Assign(assignment(None, calls))),
        ("assign_blob", Message::Assign(assignment(Some(HASH), large.clone()))),
        ("refuse", Message::Refuse { attempt: ATTEMPT, reason: RefuseReason::Busy }),
        ("started", Message::Started { attempt: ATTEMPT }),
        ("deliver", Message::Deliver { attempt: ATTEMPT, report: deliver }),
        ("deliver_blob", Message::Deliver { attempt: ATTEMPT, report: large }),
        ("settle", Message::Settle { attempt: ATTEMPT }),
        ("cancel", Message::Cancel { attempts: vec![ATTEMPT, AttemptId(301)] }),
        ("want", Message::Want { hash: HASH, offset: 131_072 }),
        ("chunk", Message::Chunk { hash: HASH, offset: 131_072, total: 131_075, bytes: vec![9, 8, 7] }),
        ("unknown", Message::Unknown { hash: HASH }),
        ("give_way", Message::GiveWay { attempt: ATTEMPT }),
        ("resting", Message::Resting { attempt: ATTEMPT }),
    ]
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(format!("{name}.hex"))
}

fn to_hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.chunks(32).map(|line| line.concat() + "\n").collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn every_message_has_the_bytes_that_it_had() {
    for (name, message) in messages() {
        let bytes = wire::encode(&message).unwrap();
        if std::env::var_os("P2PNET_WRITE_GOLDEN").is_some() && !file(name).exists() {
            fs::write(file(name), to_hex(&bytes)).unwrap();
        }
        let golden = fs::read_to_string(file(name)).unwrap_or_else(|_| panic!("tests/wire/{name}.hex is missing"));
        assert_eq!(to_hex(&bytes), golden, "{name}: what is sent now");
        assert_eq!(wire::decode(&from_hex(&golden)).unwrap(), message, "{name}: what was sent then");
    }
}

#[test]
fn the_documents_example_is_what_is_sent() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let text = fs::read_to_string(document).unwrap();
    let message = Message::Started { attempt: AttemptId(300) };
    let spaced: Vec<String> = wire::encode(&message).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let frame = format!("    00 00 00 {:02x}   {}\n", spaced.len(), spaced.join(" "));
    assert!(text.contains(&frame), "docs/protocol.md should hold {frame}");
}

#[test]
fn no_golden_file_is_left_without_its_message() {
    let known: Vec<&str> = messages().iter().map(|(name, _)| *name).collect();
    for entry in fs::read_dir(file("hello").parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(known.contains(&name.as_str()), "{name}.hex belongs to no message");
    }
}

#[test]
fn a_message_has_one_spelling_and_no_tail() {
    for (name, message) in messages() {
        let mut bytes = wire::encode(&message).unwrap();
        bytes.push(0);
        assert_eq!(wire::decode(&bytes), Err(WireError::Malformed), "{name} with a tail");
        bytes.truncate(bytes.len() - 2);
        assert_eq!(wire::decode(&bytes), Err(WireError::Malformed), "{name} cut short");
    }
    assert_eq!(wire::decode(&[]), Err(WireError::Malformed));
    assert_eq!(wire::decode(&vec![0; wire::MAX_FRAME + 1]), Err(WireError::TooLong(wire::MAX_FRAME + 1)));
}

#[test]
fn calls_and_reports_read_back_and_huge_counts_are_refused_before_they_unfold() {
    let calls = vec![vec![1, 2, 3], Vec::new(), vec![4]];
    let bytes = wire::encode_calls(&calls).unwrap();
    assert_eq!(wire::count_calls(&bytes).unwrap(), 3);
    assert_eq!(wire::decode_calls(&bytes).unwrap(), calls);
    assert_eq!(wire::decode_report(&wire::encode_report(&report()).unwrap()).unwrap(), report());

    let many = wire::encode_calls(&vec![Vec::new(); usize::try_from(wire::MAX_CALLS).unwrap() + 1]).unwrap();
    assert_eq!(wire::decode_calls(&many), Err(WireError::Malformed));
    assert_eq!(wire::decode_calls(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(WireError::Malformed));
    assert_eq!(wire::decode_report(&[0, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(WireError::Malformed));
    assert_eq!(wire::decode_report(&[]), Err(WireError::Malformed));
}

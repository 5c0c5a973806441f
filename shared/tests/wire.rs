//! The bytes of every message in every version of the protocol, as they stand on the wire. Nodes of different ages talk to
//! each other: a test that fails here is a new version, not a file to be written anew.
//!
//! `P2PNET_WRITE_GOLDEN=1 cargo test -p p2pnet-shared --test wire` writes files that are missing.

#![expect(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use p2pnet_shared::{
    engine::{BatchReport, CallOutcome, EngineName, Limits, Prepared, Trap},
    id::{AttemptId, Hash, JobId, NodeId},
    job::{Language, Priority, Requirements},
    kernel::REWRITE_VERSION,
    units::{Gas, Moment},
    wire::{
        self, Assignment, Extension, Extensions, MOST_EXTENSIONS, Message, Offer, Payload, RefuseReason, Role, Version,
        WireError,
    },
};

const NODE: NodeId = NodeId([0xa1; 32]);
const HASH: Hash = Hash([0xb2; 32]);
const JOB: JobId = JobId([0xc3; 16]);
const ATTEMPT: AttemptId = AttemptId(300);

/// What version 1 has words for.
fn none() -> Extensions {
    Extensions::default()
}

/// What a later version says beside a message.
fn some() -> Extensions {
    let extension = |key, value: &[u8]| Extension { key, value: value.to_vec() };
    Extensions::new(vec![extension(300, b"later"), extension(7, &[])]).unwrap()
}

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
        rewrite: 8,
        languages: [Language::Wasm].into(),
        extensions: none(),
    }
}

fn assignment(common: Option<Hash>, calls: Payload) -> Assignment {
    let limits = Limits { gas: Gas(2_000_000), memory_bytes: 1 << 29, output_bytes: 1 << 20, time_millis: 30_000 };
    Assignment {
        attempt: ATTEMPT,
        job: JOB,
        language: Language::Wasm,
        kernel: HASH,
        common,
        priority: Priority::High,
        limits,
        calls,
        rewrite: 8,
        extensions: none(),
    }
}

fn report() -> BatchReport {
    let outcomes = vec![
        CallOutcome { output: Ok(b"forty-two".to_vec()), gas: Gas(1000) },
        CallOutcome { output: Err(Trap::OutOfGas), gas: Gas(2_000_000) },
    ];
    BatchReport { engine: EngineName::Browser, outcomes, busy_micros: 1_500, prepared: Prepared::default() }
}

fn hello(extensions: Extensions) -> Message {
    Message::Hello { role: Role::Seed, agent: "p2pnet 0.1.0".to_owned(), session: 7, extensions }
}

fn find(rewrite: u16) -> Message {
    Message::Find { query: 1, requirements: Requirements::default(), limit: 64, rewrite }
}

/// Every variant, and every form of what it carries, as every version can say it.
fn messages() -> Named {
    let calls = Payload::Inline(wire::encode_calls(&[vec![1, 2, 3], Vec::new()]).unwrap());
    let large = Payload::Blob { hash: HASH, len: 10_000_000 };
    let deliver = Payload::Inline(wire::encode_report(&report()).unwrap());
    vec![
        ("hello", hello(none())),
        ("offer", Message::Offer(offer())),
        ("withdraw", Message::Withdraw),
        ("find", find(8)),
        ("found", Message::Found { query: 1, offers: vec![offer()], known: 12, others: 0 }),
        ("assign", Message::Assign(assignment(None, calls))),
        ("assign_blob", Message::Assign(assignment(Some(HASH), large.clone()))),
        ("refuse", Message::Refuse { attempt: ATTEMPT, reason: RefuseReason::Busy }),
        ("started", Message::Started { attempt: ATTEMPT }),
        ("deliver", Message::Deliver { attempt: ATTEMPT, report: deliver, extensions: none() }),
        ("deliver_blob", Message::Deliver { attempt: ATTEMPT, report: large, extensions: none() }),
        ("settle", Message::Settle { attempt: ATTEMPT }),
        ("cancel", Message::Cancel { attempts: vec![ATTEMPT, AttemptId(301)] }),
        ("want", Message::Want { hash: HASH, offset: 131_072 }),
        ("chunk", Message::Chunk { hash: HASH, offset: 131_072, total: 131_075, bytes: vec![9, 8, 7] }),
        ("unknown", Message::Unknown { hash: HASH }),
        ("give_way", Message::GiveWay { attempt: ATTEMPT }),
        ("resting", Message::Resting { attempt: ATTEMPT }),
    ]
}

/// What version 1 has no words for.
fn later() -> Named {
    let assignment = assignment(None, Payload::Blob { hash: HASH, len: 1 });
    let offer =
        Offer { rewrite: 9, languages: [Language::Wasm, Language::Other(7)].into(), extensions: some(), ..offer() };
    let report = Payload::Blob { hash: HASH, len: 1 };
    let prepared = Prepared { instances: 4, gas: Gas(1_000_000) };
    vec![
        ("hello_extended", hello(some())),
        ("offer_extended", Message::Offer(offer.clone())),
        ("find_other_rewrite", find(9)),
        ("found_extended", Message::Found { query: 1, offers: vec![offer], known: 1, others: 3 }),
        (
            "assign_extended",
            Message::Assign(Assignment { rewrite: 9, language: Language::Other(7), extensions: some(), ..assignment }),
        ),
        ("refuse_rewrite", Message::Refuse { attempt: ATTEMPT, reason: RefuseReason::OtherRewrite }),
        ("refuse_unknown", Message::Refuse { attempt: ATTEMPT, reason: RefuseReason::Unknown }),
        ("deliver_extended", Message::Deliver { attempt: ATTEMPT, report: report.clone(), extensions: some() }),
        (
            "deliver_prepared",
            Message::Deliver { attempt: ATTEMPT, report, extensions: Extensions::of_prepared(prepared) },
        ),
    ]
}

/// Messages by the names of their files.
type Named = Vec<(&'static str, Message)>;

/// Every version, and what it can say.
fn versions() -> Vec<(Version, &'static str, Named)> {
    let all = messages().into_iter().chain(later()).collect();
    vec![(Version::V1, "v1", messages()), (Version::V2, "v2", all)]
}

fn file(version: &str, name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(version).join(format!("{name}.hex"))
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
    for (version, folder, messages) in versions() {
        for (name, message) in messages {
            let bytes = wire::encode(version, &message).unwrap();
            let file = file(folder, name);
            if std::env::var_os("P2PNET_WRITE_GOLDEN").is_some() && !file.exists() {
                fs::write(&file, to_hex(&bytes)).unwrap();
            }
            let golden = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{} is missing", file.display()));
            assert_eq!(to_hex(&bytes), golden, "{folder} {name}: what is sent now");
            assert_eq!(
                wire::decode(version, &from_hex(&golden)).unwrap(),
                message,
                "{folder} {name}: what was sent then"
            );
        }
    }
}

#[test]
fn the_documents_example_is_what_is_sent() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let text = fs::read_to_string(document).unwrap();
    let message = Message::Started { attempt: AttemptId(300) };
    let bytes = wire::encode(Version::NEWEST, &message).unwrap();
    let spaced: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let frame = format!("    00 00 00 {:02x}   {}\n", spaced.len(), spaced.join(" "));
    assert!(text.contains(&frame), "docs/protocol.md should hold {frame}");
}

#[test]
fn no_golden_file_is_left_without_its_message() {
    for (_, folder, messages) in versions() {
        let known: Vec<&str> = messages.iter().map(|(name, _)| *name).collect();
        for entry in fs::read_dir(file(folder, "hello").parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(known.contains(&name.as_str()), "{folder}/{name}.hex belongs to no message");
        }
    }
}

#[test]
fn a_message_has_one_spelling_and_no_tail() {
    for (version, folder, messages) in versions() {
        for (name, message) in messages {
            let mut bytes = wire::encode(version, &message).unwrap();
            bytes.push(0);
            assert_eq!(wire::decode(version, &bytes), Err(WireError::Malformed), "{folder} {name} with a tail");
            bytes.truncate(bytes.len() - 2);
            assert_eq!(wire::decode(version, &bytes), Err(WireError::Malformed), "{folder} {name} cut short");
        }
        assert_eq!(wire::decode(version, &[]), Err(WireError::Malformed));
        let long = vec![0; wire::MOST_FRAME + 1];
        assert_eq!(wire::decode(version, &long), Err(WireError::TooLong(wire::MOST_FRAME + 1)));
    }
}

#[test]
fn a_version_is_known_by_its_protocols_name_the_newest_first() {
    let spoken: Vec<Version> = Version::spoken().collect();
    assert_eq!(spoken.first(), Some(&Version::NEWEST));
    assert!(spoken.is_sorted_by(|one, next| one > next));
    for version in spoken {
        assert_eq!(wire::number_of(version.protocol()), Some(version.number()));
    }
    assert_eq!(wire::number_of("/p2pnet/node/31"), Some(31));
    assert_eq!(wire::number_of("/p2pnet/node/x"), None);
    assert_eq!(wire::number_of("/ipfs/ping/1.0.0"), None);
}

#[test]
fn the_first_version_is_spoken_by_nodes_of_its_rewrite_alone() {
    assert_eq!(Version::spoken().any(|version| version == Version::V1), REWRITE_VERSION == 8);
    let mut other = wire::encode(Version::V1, &hello(none())).unwrap();
    other[1] ^= 1;
    assert_eq!(wire::decode(Version::V1, &other), Err(WireError::OtherVersion(0x0309)));
}

#[test]
fn the_first_version_leaves_out_what_it_has_no_words_for() {
    let heard = |message: &Message| wire::decode(Version::V1, &wire::encode(Version::V1, message).unwrap()).unwrap();
    assert_eq!(heard(&hello(some())), hello(none()));
    assert_eq!(heard(&find(9)), find(8));
    let deliver =
        |extensions| Message::Deliver { attempt: ATTEMPT, report: Payload::Blob { hash: HASH, len: 1 }, extensions };
    assert_eq!(heard(&deliver(Extensions::of_prepared(Prepared { instances: 4, gas: Gas(9) }))), deliver(none()));
    let refuse = |reason| Message::Refuse { attempt: ATTEMPT, reason };
    assert_eq!(heard(&refuse(RefuseReason::OtherRewrite)), refuse(RefuseReason::TooDemanding));
    // Its reader would take an offer of another rewrite for one of its own.
    let offers = vec![Offer { rewrite: 9, ..offer() }, offer()];
    let found = Message::Found { query: 1, offers, known: 2, others: 5 };
    assert_eq!(heard(&found), Message::Found { query: 1, offers: vec![offer()], known: 2, others: 0 });
}

#[test]
fn what_only_later_builds_know_is_no_error() {
    // A kind of message, with whatever follows.
    for kind in [vec![16, 1, 2, 3], vec![0xff, 0xff, 0xff, 0xff, 0x0f]] {
        assert_eq!(wire::decode(Version::V2, &kind), Err(WireError::UnknownKind));
        assert_eq!(wire::decode(Version::V1, &kind), Err(WireError::Malformed));
    }
    // A role: the second byte of a Hello.
    let mut bytes = wire::encode(Version::V2, &hello(some())).unwrap();
    bytes[1] = 77;
    let decoded = wire::decode(Version::V2, &bytes).unwrap();
    assert!(matches!(decoded, Message::Hello { role: Role::Client, session: 7, .. }), "{decoded:?}");
    // A reason: the last byte of a Refuse.
    let mut bytes =
        wire::encode(Version::V2, &Message::Refuse { attempt: ATTEMPT, reason: RefuseReason::Busy }).unwrap();
    *bytes.last_mut().unwrap() = 77;
    assert_eq!(
        wire::decode(Version::V2, &bytes).unwrap(),
        Message::Refuse { attempt: ATTEMPT, reason: RefuseReason::Unknown }
    );
}

#[test]
fn extensions_beyond_their_bounds_are_refused_before_they_unfold() {
    let empty = wire::encode(Version::V2, &hello(none())).unwrap();
    let (count, head) = empty.split_last().unwrap();
    assert_eq!(*count, 0);
    let with = |extensions: &[u8]| wire::decode(Version::V2, &[head, extensions].concat());
    // Keys in order, each with an empty value: as many as there may be, and one more.
    let list = |len: usize| {
        let mut bytes = vec![u8::try_from(len).unwrap()];
        (0..len).for_each(|key| bytes.extend([u8::try_from(key).unwrap(), 0]));
        bytes
    };
    assert!(with(&list(MOST_EXTENSIONS)).is_ok());
    assert_eq!(with(&list(MOST_EXTENSIONS + 1)), Err(WireError::Malformed));
    assert_eq!(with(&[2, 5, 0, 4, 0]), Err(WireError::Malformed), "keys out of order");
    assert_eq!(with(&[2, 5, 0, 5, 0]), Err(WireError::Malformed), "a key twice");
    assert_eq!(with(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(WireError::Malformed), "a count without extensions");
}

#[test]
fn calls_and_reports_read_back_and_huge_counts_are_refused_before_they_unfold() {
    let calls = vec![vec![1, 2, 3], Vec::new(), vec![4]];
    let bytes = wire::encode_calls(&calls).unwrap();
    assert_eq!(wire::count_calls(&bytes).unwrap(), 3);
    assert_eq!(wire::decode_calls(&bytes).unwrap(), calls);
    assert_eq!(wire::decode_report(&wire::encode_report(&report()).unwrap()).unwrap(), report());

    let many = wire::encode_calls(&vec![Vec::new(); usize::try_from(wire::MOST_CALLS).unwrap() + 1]).unwrap();
    assert_eq!(wire::decode_calls(&many), Err(WireError::Malformed));
    assert_eq!(wire::decode_calls(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(WireError::Malformed));
    assert_eq!(wire::decode_report(&[0, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(WireError::Malformed));
    assert_eq!(wire::decode_report(&[]), Err(WireError::Malformed));
}

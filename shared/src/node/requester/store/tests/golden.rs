//! The bytes of every record in every version, as they lie in stores: a store outlives the build that wrote it. A test that fails
//! here is a new version, or a reader that lost an old one; the files stay as they are.
//!
//! `P2PNET_WRITE_GOLDEN=1 cargo test -p p2pnet-shared --lib golden` writes the file of a new version.

use std::{env, fs, path::PathBuf};

use super::{super::super::finished::Finished, *};
use crate::node::core::Core;

/// A record as this version writes it, with all that a version of it ever said.
struct Record {
    noun: &'static str,
    key: StoreKey,
    version: u16,
    now: Vec<u8>,
}

fn records() -> [Record; 4] {
    let (job, over, finished) = (StoreKey::Job(id(1)), StoreKey::Over(id(1)), StoreKey::Finished(id(1)));
    let (_, ended) = ended();
    let line = Finished::read(id(1), &ended[&finished]).unwrap().0;
    let span = StoreKey::Span(id(1), 5);
    let mut core = Core::new(config());
    let outputs = vec![b"forty-two".to_vec(), Vec::new()];
    save_span(&mut core, id(1), Span { start: 5, end: 7 }, &outputs, NodeId([3; 32]), Gas(1_000));
    let Some(Effect::Host(HostOrder::Change(changes))) = core.next_effect() else { panic!("nothing is kept") };
    let written = changes.into_iter().find_map(|(key, record)| record.filter(|_| key == span)).unwrap();
    let version_of = |record: &[u8]| u16::from_le_bytes([record[1], record[2]]);
    let record = |noun, key, now: Vec<u8>| Record { noun, key, version: version_of(&now), now };
    let summary = read_summary(id(1), &ended[&finished]).unwrap();
    [
        record("job", job, new_record(id(1), &self::job(), Moment(1))),
        record("over", over, ended[&over].clone()),
        record("span", span, written),
        record("finished", finished, line.record(&summary)),
    ]
}

fn file(noun: &str, version: u16) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/records/{noun}.v{version}.hex"))
}

fn kept(noun: &str, version: u16) -> Vec<u8> {
    let text = fs::read_to_string(file(noun, version)).unwrap_or_else(|_| {
        panic!("version {version} of {noun} has no golden file yet: P2PNET_WRITE_GOLDEN=1 writes it, once")
    });
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

fn write(record: &Record) {
    let file = file(record.noun, record.version);
    if env::var_os("P2PNET_WRITE_GOLDEN").is_some() && !file.exists() {
        let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
        fs::write(file, record.now.chunks(48).map(line).collect::<String>()).unwrap();
    }
}

#[test]
fn what_every_version_wrote_is_read_and_this_one_writes_the_same() {
    for record in records() {
        write(&record);
        let changed = format!(
            "a record of kind {} is written otherwise than before: raise its version (now {}), unless it only says more",
            record.noun, record.version
        );
        assert!(says_at_least(&record, &kept(record.noun, record.version)), "{changed}");
        for version in 1..=record.version {
            let bytes = kept(record.noun, version);
            assert_eq!(open(record.key, record.version, &bytes).unwrap().version, version);
            assert_eq!(read(record.key, &bytes), read(record.key, &record.now), "{} of version {version}", record.noun);
        }
    }
}

/// Whether a record says all that the golden one says, in the same words; JSON may say more.
fn says_at_least(record: &Record, golden: &[u8]) -> bool {
    let body = |bytes: &[u8]| open(record.key, record.version, bytes).unwrap().body.to_vec();
    let (now, golden) = (body(&record.now), body(golden));
    let begins = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'{').unwrap_or(bytes.len());
    let is_binary = matches!(record.key, StoreKey::Span(..));
    let (start, end) = if is_binary { (now.len(), golden.len()) } else { (begins(&now), begins(&golden)) };
    let json = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).unwrap_or_default();
    now[..start] == golden[..end] && holds(&json(&now[start..]), &json(&golden[end..]))
}

fn holds(said: &serde_json::Value, wanted: &serde_json::Value) -> bool {
    match (said.as_object(), wanted.as_object()) {
        (Some(said), Some(wanted)) => {
            wanted.iter().all(|(name, value)| said.get(name).is_some_and(|said| holds(said, value)))
        }
        (_, _) => said == wanted,
    }
}

/// What a record says to this version.
fn read(key: StoreKey, record: &[u8]) -> String {
    match key {
        StoreKey::Job(_) => {
            let mut node = node();
            node.restore(Moment(2), [(key, record.to_vec())].into(), &crate::job::kinds::read);
            let status = node.job(id(1));
            assert!(matches!(status, Some(Found::Here(_))), "{status:?}");
            format!("{status:?}")
        }
        StoreKey::Over(_) => format!("{:?}", read_status(id(1), record).unwrap()),
        StoreKey::Finished(_) => format!("{:?}", read_summary(id(1), record).unwrap()),
        StoreKey::Span(..) => {
            let SpanRecord { span, outputs, node, gas } = restoring::read_span(key, record).unwrap();
            format!("{span:?} {outputs:?} {node} {gas:?}")
        }
        StoreKey::Result(_) => unreachable!("a result has no version"),
    }
}

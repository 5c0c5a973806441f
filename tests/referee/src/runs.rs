//! What each program in `programs/` is run with. The same name in several languages means the same runs.

use p2pnet_differential::smith::Chance;

/// One run.
pub struct Run {
    /// Behind the program's name.
    pub arguments: Vec<String>,
    /// What it reads.
    pub input: Vec<u8>,
}

/// The runs of the program of that name; none if nothing is said about it.
pub fn of(program: &str) -> Vec<Run> {
    match program {
        "gather" => {
            let sizes = [0, 1, 7, 999, 1_000, 1_001, 4_096, 65_535, 65_536, 65_537, (1 << 20) + 1, 5 << 20, 30 << 20];
            sizes.map(|size| run(&[], any_bytes(size))).into()
        }
        "ledger" => {
            let counted = ["0", "1", "500", "60000"].map(|words| run(&[words], Vec::new()));
            let not_text = [any_bytes(3_000), [vec![b'x'; 200_000], b"\nend".to_vec()].concat(), b"no end".to_vec()];
            let read = texts().into_iter().chain(not_text).map(|input| run(&["10"], input));
            counted.into_iter().chain(read).collect()
        }
        "letters" | "channels" => texts().into_iter().map(|input| run(&[], input)).collect(),
        "depth" => [&[][..], &["1000"], &["10000"]].map(|arguments| run(arguments, Vec::new())).into(),
        "drops" => {
            let inputs = [Vec::new(), any_bytes(1), any_bytes(100_000)];
            inputs.into_iter().flat_map(|input| ["0", "10", "5000"].map(|turns| run(&[turns], input.clone()))).collect()
        }
        "flood" => ["1", "5", "14"].map(|mebibytes| run(&[mebibytes], Vec::new())).into(),
        "ending" => {
            let ways: [&[&str]; 19] = [
                &[],
                &["return", "0"],
                &["return", "7"],
                &["exit", "0"],
                &["exit", "1"],
                &["exit", "42"],
                &["exit", "125"],
                &["exit", "126"],
                &["exit", "200"],
                &["at-once", "0"],
                &["at-once", "3"],
                &["unflushed", "0"],
                &["unflushed", "3"],
                &["abort"],
                &["trap"],
                &["divide", "0"],
                &["divide", "5"],
                &["outside", "0"],
                &["error", "0"],
            ];
            ways.map(|arguments| run(arguments, Vec::new())).into()
        }
        "arguments" => {
            let many: Vec<String> = (0..300).map(|number| format!("argument {number}")).collect();
            let many: Vec<&str> = many.iter().map(String::as_str).collect();
            let long = "long ".repeat(12_000);
            let given: [&[&str]; 6] =
                [&[], &["-v", "x"], &["", "a b", "ä 🦀", "\"quoted'", "\t\n"], &[""], &many, &["short", &long]];
            given.map(|arguments| run(arguments, Vec::new())).into()
        }
        "streams" | "waiting" => {
            [&b""[..], b"short", b"longer than what it reads at first"].map(|input| run(&[], input.to_vec())).into()
        }
        _ => Vec::new(),
    }
}

fn run(arguments: &[&str], input: Vec<u8>) -> Run {
    Run { arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(), input }
}

/// Bytes of every value; one in forty ends a line.
fn any_bytes(length: usize) -> Vec<u8> {
    let mut chance = Chance(length as u64);
    let mut bytes: Vec<u8> = std::iter::repeat_with(|| chance.number().to_le_bytes()).flatten().take(length).collect();
    bytes.iter_mut().filter(|byte| **byte % 40 == 7).for_each(|byte| *byte = b'\n');
    bytes
}

fn texts() -> Vec<Vec<u8>> {
    [0, 1, 1_000, 60_000, 400_000].map(text).into()
}

/// Lines of words and numbers, some of them not ASCII.
fn text(length: usize) -> Vec<u8> {
    const WORDS: [&str; 12] = ["one", "tree", "Straße", "12", "3.75", "дом", "漢字", "e", "-7e3", "river", "A", "zz9"];
    let mut chance = Chance(length as u64 + 1);
    let mut text = String::new();
    while text.len() < length {
        text.push_str(WORDS[chance.below(WORDS.len())]);
        if chance.below(3) == 0 {
            text.push_str(&chance.below(5_000).to_string());
        }
        text.push(if chance.below(9) == 0 { '\n' } else { ' ' });
    }
    text.into_bytes()
}

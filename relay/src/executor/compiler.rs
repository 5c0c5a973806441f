//! Compiling kernels, apart from running them: for each kernel a process of its own, behind the same fences, with bounds
//! of its own on memory and processor time, at the share of a core that the donor gives. What is too dear to compile
//! (some modules are made to be) ends with that process, and the kernel stays on wasmi.
//!
//! Two kernels at most are compiled at a time, in turns on one core: whichever has had less of it goes first, and one that
//! has had much gives way for good when others wait, so that a dear kernel holds no cheap one up. Whoever asks hears the
//! answer when it is there and may compute meanwhile.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use p2pnet_shared::{id::Hash, kernel};
use serde::{Deserialize, Serialize};

use super::{
    frames, lock,
    process::this_program,
    sandbox::{self, Bounds},
};
use crate::engine::{
    WasmtimeEngine,
    compiled::{self, Compiled},
};

/// The first argument that makes this binary a compiler; not for people.
pub const ARGUMENT: &str = "kernel-compiler";

/// What compiling one kernel may take.
const BOUNDS: Bounds = Bounds { data_bytes: 1 << 30, cpu_seconds: 60, files: 64 };
/// How long it may have its turn: longer than the bound above, for a machine that is busy.
const MOST_TURNS: Duration = Duration::from_secs(120);
/// After so long a turn it gives way when others wait for a place.
const FAIR: Duration = Duration::from_secs(5);
/// Compilers at once.
const MOST_AT_ONCE: usize = 2;
/// A kernel whose code could not be kept, for want of room for example, is not compiled again for so long.
const NOT_KEPT_PAUSE: Duration = Duration::from_secs(60);
/// Kernels remembered as too dear.
const MOST_REFUSED: usize = 1_024;
/// How long a turn is before it rests, at less than a full share, or another one has its turn.
const WORK: Duration = Duration::from_millis(10);

/// Told once whether a kernel's code lies in the folder now.
pub type Reply = Box<dyn FnOnce(bool) + Send>;

/// The outside: takes kernels and has them compiled. Cheap to clone.
#[derive(Clone)]
pub struct Compilers {
    folder: Arc<Path>,
    state: Arc<Mutex<State>>,
    stopping: Arc<AtomicBool>,
    /// Bytes of compiled code that are kept.
    most_bytes: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    /// Kernels that wait; each is asked for by a worker that is computing, so there are no more of them than cores.
    waiting: VecDeque<(Hash, Arc<[u8]>, u8)>,
    /// Who waits for those, and for the one that is being compiled.
    replies: BTreeMap<Hash, Vec<Reply>>,
    /// Threads that work on them.
    threads: usize,
    turns: Vec<Turn>,
    refused: VecDeque<Refused>,
}

/// A kernel that is not compiled again.
struct Refused {
    kernel: Hash,
    /// Until then; for ever if it was too dear.
    until: Option<Instant>,
}

/// What a compiler has had of the core.
struct Turn {
    kernel: Hash,
    worked: Duration,
    /// It should give way.
    enough: bool,
    /// The kernel's code is there, and whoever asked knows; it goes on with the kernel's other form.
    told: bool,
}

impl Compilers {
    /// Compilers that put their code into `folder`.
    pub fn new(folder: &Path) -> Self {
        let most_bytes = Arc::new(AtomicU64::new(compiled::MOST_BYTES));
        Self { folder: folder.into(), state: Arc::default(), stopping: Arc::default(), most_bytes }
    }

    /// Keeps at most so many bytes of compiled code from now on.
    pub fn keep(&self, most_bytes: u64) {
        self.most_bytes.store(most_bytes, Ordering::Relaxed);
        self.tidy();
    }

    fn tidy(&self) {
        compiled::tidy(&self.folder, self.most_bytes.load(Ordering::Relaxed));
    }

    /// Has a kernel compiled at `cpu_percent` of a core, unless that was tried in vain before: just now, where only the
    /// code could not be kept.
    pub fn ask(&self, hash: Hash, kernel: Arc<[u8]>, cpu_percent: u8, reply: Reply) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        state.refused.retain(|refused| refused.until.is_none_or(|until| now < until));
        if state.refused.iter().any(|refused| refused.kernel == hash) || self.stopping.load(Ordering::Relaxed) {
            drop(state);
            return reply(false);
        }
        if state.turns.iter().any(|turn| turn.kernel == hash && turn.told) {
            drop(state);
            return reply(true);
        }
        let asked = state.replies.entry(hash).or_default();
        asked.push(reply);
        if asked.len() == 1 {
            state.waiting.push_back((hash, kernel, cpu_percent));
        }
        if state.threads >= MOST_AT_ONCE {
            // It is one that waits now: who has had the most makes room.
            if let Some(longest) = state.turns.iter_mut().max_by_key(|turn| turn.worked) {
                longest.enough = true;
            }
            return;
        }
        let this = self.clone();
        match thread::Builder::new().name("kernels-compile".into()).spawn(move || this.work()) {
            Ok(_) => state.threads += 1,
            Err(error) if state.threads > 0 => tracing::debug!(%error, "one thread for compiling kernels must do"),
            Err(error) => {
                tracing::error!(%error, "no thread for compiling kernels can be started");
                state.waiting.clear();
                let replies = std::mem::take(&mut state.replies);
                drop(state);
                replies.into_values().flatten().for_each(|reply| reply(false));
            }
        }
    }

    /// Ends what is being compiled; everybody who waits is told that there is nothing.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Compiles until nothing waits.
    fn work(&self) {
        loop {
            let mut state = lock(&self.state);
            let Some((hash, kernel, cpu_percent)) = state.waiting.pop_front() else {
                state.threads -= 1;
                return;
            };
            state.turns.push(Turn { kernel: hash, worked: Duration::ZERO, enough: false, told: false });
            drop(state);
            let start = Instant::now();
            if let Err(error) = self.compile(hash, &kernel, cpu_percent) {
                tracing::warn!(%hash, %error, "a kernel is not compiled; it stays on wasmi, which is slower");
                self.tell(hash, Compiled::Refused);
            }
            self.tidy();
            tracing::debug!(%hash, millis = start.elapsed().as_millis(), "compiled");
            lock(&self.state).turns.retain(|turn| turn.kernel != hash);
        }
    }

    /// Tells whoever asked for a kernel what became of it.
    fn tell(&self, kernel: Hash, compiled: Compiled) {
        let mut state = lock(&self.state);
        let ready = compiled == Compiled::Ready;
        if !ready {
            let until = (compiled == Compiled::NotKept).then(|| Instant::now() + NOT_KEPT_PAUSE);
            state.refused.push_back(Refused { kernel, until });
            let surplus = state.refused.len().saturating_sub(MOST_REFUSED);
            state.refused.drain(..surplus);
        }
        if let Some(turn) = state.turns.iter_mut().find(|turn| turn.kernel == kernel) {
            turn.told = ready;
        }
        let replies = state.replies.remove(&kernel).unwrap_or_default();
        drop(state);
        replies.into_iter().for_each(|reply| reply(ready));
    }

    /// Has a kernel compiled and tells so as soon as its code is there; then its other form, for which nobody waits and
    /// which may fail.
    fn compile(&self, hash: Hash, kernel: &[u8], cpu_percent: u8) -> io::Result<()> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(io::Error::other("the node stops"));
        }
        let mut child = Command::new(this_program()?)
            .arg(ARGUMENT)
            .arg(std::path::absolute(&self.folder)?)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a process without pipes"));
        };
        let child = Mutex::new(child);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| self.pace(hash, &child, cpu_percent, &over));
            let mut output = BufReader::new(output);
            let answer = frames::write(&mut input, &ToCompiler { kernel: kernel.to_vec() })
                .and_then(|()| frames::read::<FromCompiler>(&mut output, MOST_ANSWER_BYTES));
            match answer {
                Ok(FromCompiler { compiled: Compiled::Ready }) => {
                    self.tell(hash, Compiled::Ready);
                    // Nothing more is said: this is until it ends, or is ended.
                    let _ = output.read(&mut [0]);
                }
                Ok(FromCompiler { compiled: Compiled::NotKept }) => self.tell(hash, Compiled::NotKept),
                Ok(FromCompiler { compiled: Compiled::Refused }) | Err(_) => {}
            }
            over.store(true, Ordering::Relaxed);
            let mut child = lock(&child);
            let _ = child.kill();
            let ended = child.wait();
            match answer {
                Ok(FromCompiler { compiled: Compiled::Ready | Compiled::NotKept }) => Ok(()),
                Ok(FromCompiler { compiled: Compiled::Refused }) => Err(io::Error::other("the compiler refuses it")),
                Err(_) => Err(io::Error::other(format!("compiling it takes too much ({ended:?})"))),
            }
        })
    }

    /// Lets the process work when it is its turn, for its share of the core, and ends it when it has had enough or nobody
    /// wants it any more.
    fn pace(&self, hash: Hash, child: &Mutex<Child>, cpu_percent: u8, over: &AtomicBool) {
        let percent = cpu_percent.clamp(1, 100);
        let mut paused = false;
        while !over.load(Ordering::Relaxed) {
            let (its_turn, enough) = self.turn(hash);
            if enough || self.stopping.load(Ordering::Relaxed) {
                let _ = lock(child).kill();
                return;
            }
            if paused == its_turn {
                signal(&lock(child), if its_turn { Signal::GoOn } else { Signal::Pause });
                paused = !its_turn;
            }
            thread::sleep(WORK);
            if its_turn {
                self.worked(hash);
                let rest = rest_after_work(percent);
                if !rest.is_zero() {
                    signal(&lock(child), Signal::Pause);
                    paused = true;
                    sleep(rest, over);
                }
            }
        }
    }

    /// Whether a compiler may work now: it has had the least. And whether it has had all that it gets.
    fn turn(&self, hash: Hash) -> (bool, bool) {
        let state = lock(&self.state);
        let first = state.turns.iter().min_by_key(|turn| turn.worked);
        let its_turn = first.is_some_and(|turn| turn.kernel == hash);
        let enough = state.turns.iter().find(|turn| turn.kernel == hash).is_none_or(|turn| {
            turn.worked >= MOST_TURNS || (turn.enough && turn.worked >= FAIR && !state.waiting.is_empty())
        });
        (its_turn, enough)
    }

    fn worked(&self, hash: Hash) {
        if let Some(turn) = lock(&self.state).turns.iter_mut().find(|turn| turn.kernel == hash) {
            turn.worked += WORK;
        }
    }
}

/// How long to rest after [`WORK`], so that of the whole it is `percent` (1 to 100).
fn rest_after_work(percent: u8) -> Duration {
    WORK * u32::from(100 - percent) / u32::from(percent)
}

fn sleep(time: Duration, over: &AtomicBool) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now())
        && !over.load(Ordering::Relaxed)
    {
        thread::sleep(left.min(WORK));
    }
}

enum Signal {
    Pause,
    GoOn,
}

/// The caller holds the child, so that it has not been waited for and its number is still its own.
#[cfg(unix)]
fn signal(child: &Child, signal: Signal) {
    let signal = match signal {
        Signal::Pause => libc::SIGSTOP,
        Signal::GoOn => libc::SIGCONT,
    };
    if let Ok(id) = libc::pid_t::try_from(child.id()) {
        // SAFETY: takes numbers only. A child that has ended is not affected.
        unsafe { libc::kill(id, signal) };
    }
}

/// Other systems have no such signals: there a compiler works without rest.
#[cfg(not(unix))]
fn signal(_child: &Child, _signal: Signal) {}

/// The one order of a compiler.
#[derive(Serialize, Deserialize)]
struct ToCompiler {
    /// Original bytes.
    kernel: Vec<u8>,
}

/// Its answer.
#[derive(Serialize, Deserialize)]
struct FromCompiler {
    compiled: Compiled,
}

/// A compiler that says more is not trusted.
const MOST_ANSWER_BYTES: usize = 64;

/// Becomes a compiler if this process was started as one; returns at its end. `None` for every other process.
pub fn run_if_compiler() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != ARGUMENT {
        return None;
    }
    let ready = args.next().map(PathBuf::from).is_some_and(|folder| compile_one(&folder).is_ok());
    Some(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compile_one(folder: &Path) -> io::Result<()> {
    let fenced = sandbox::enter(Some(folder), BOUNDS, || ());
    sandbox::no_more_threads();
    let ToCompiler { kernel } = frames::read(&mut io::stdin().lock(), frames::MOST_ORDER_BYTES)?;
    let engine = fenced.folder.and_then(|folder| WasmtimeEngine::compiling_into(folder).ok());
    let mut told = Ok(());
    let mut tell = |compiled| told = frames::write(&mut io::stdout().lock(), &FromCompiler { compiled });
    match (engine, kernel::prepare(&kernel)) {
        (Some(engine), Ok(prepared)) => engine.keep(&prepared.rewritten, tell),
        (None, _) => tell(Compiled::NotKept),
        (Some(_), Err(_)) => tell(Compiled::Refused),
    }
    told
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn kernel(n: u8) -> Hash {
        Hash([n; 32])
    }

    fn compilers() -> Compilers {
        Compilers::new(&std::env::temp_dir().join(format!("p2pnet-no-compiler-{}", std::process::id())))
    }

    /// Compilers of two kernels at work, and what a third one's asking does.
    fn two_at_work() -> Compilers {
        let compilers = compilers();
        let mut state = lock(&compilers.state);
        state.threads = MOST_AT_ONCE;
        for n in [1, 2] {
            state.turns.push(Turn { kernel: kernel(n), worked: Duration::ZERO, enough: false, told: false });
        }
        drop(state);
        compilers
    }

    fn work(compilers: &Compilers, n: u8, times: u32) {
        (0..times).for_each(|_| compilers.worked(kernel(n)));
    }

    #[test]
    fn whoever_has_had_the_core_for_less_has_its_turn() {
        let compilers = two_at_work();
        let turns = || [1, 2].map(|n| compilers.turn(kernel(n)).0);
        assert_eq!(turns(), [true, false], "one core for both");
        work(&compilers, 1, 1);
        assert_eq!(turns(), [false, true]);
        work(&compilers, 2, 2);
        assert_eq!(turns(), [true, false]);
    }

    #[test]
    fn one_that_has_had_much_gives_way_for_good_to_one_that_waits_and_only_then() {
        let compilers = two_at_work();
        let fair = u32::try_from(FAIR.as_millis() / WORK.as_millis()).unwrap();
        let enough = || [1, 2].map(|n| compilers.turn(kernel(n)).1);
        work(&compilers, 1, fair + 1);
        work(&compilers, 2, fair - 1);
        assert_eq!(enough(), [false, false], "nobody waits");
        compilers.ask(kernel(3), Arc::from([3]), 100, Box::new(|_| ()));
        assert_eq!(enough(), [true, false], "the longest makes room");
        lock(&compilers.state).waiting.clear();
        assert_eq!(enough(), [false, false]);
        work(&compilers, 2, 2 * fair);
        compilers.ask(kernel(4), Arc::from([4]), 100, Box::new(|_| ()));
        assert_eq!(enough(), [true, true]);
        lock(&compilers.state).waiting.clear();
        work(&compilers, 2, u32::try_from(MOST_TURNS.as_millis() / WORK.as_millis()).unwrap());
        assert_eq!(enough(), [false, true], "nobody waits, and it has had all that anything gets");
    }

    #[test]
    fn the_rest_after_work_leaves_the_share_that_the_donor_gives() {
        for percent in 1..=100 {
            let whole = WORK + rest_after_work(percent);
            let given = WORK.as_secs_f64() / whole.as_secs_f64();
            assert!((given - f64::from(percent) / 100.0).abs() < 1e-6, "{percent}: {given}");
        }
    }

    /// Asks, and whether the answer was there at once.
    fn is_answered(compilers: &Compilers, n: u8) -> Option<bool> {
        let (told, answer) = mpsc::channel();
        compilers.ask(kernel(n), Arc::from([n]), 100, Box::new(move |ready| _ = told.send(ready)));
        answer.try_recv().ok()
    }

    #[test]
    fn what_is_too_dear_is_not_tried_again_and_what_could_not_be_kept_is_after_a_while() {
        let compilers = two_at_work();
        compilers.tell(kernel(5), Compiled::Refused);
        compilers.tell(kernel(6), Compiled::NotKept);
        assert_eq!([5, 6].map(|n| is_answered(&compilers, n)), [Some(false), Some(false)]);
        for refused in &mut lock(&compilers.state).refused {
            // As if so much time had passed.
            refused.until = refused.until.and_then(|until| until.checked_sub(NOT_KEPT_PAUSE));
        }
        assert_eq!([5, 6].map(|n| is_answered(&compilers, n)), [Some(false), None]);
        for n in 0..=u8::MAX {
            for _ in 0..10 {
                compilers.tell(kernel(n), Compiled::Refused);
            }
        }
        assert_eq!(lock(&compilers.state).refused.len(), MOST_REFUSED);
    }

    /// The program that is started here is the one of these tests, which is no compiler.
    #[test]
    fn whoever_asks_hears_it_when_the_compiler_ends_without_an_answer() {
        let compilers = compilers();
        let (told, answer) = mpsc::channel();
        for n in [7, 7, 8, 9] {
            let told = told.clone();
            compilers.ask(kernel(n), Arc::from([n]), 100, Box::new(move |ready| told.send(ready).unwrap()));
        }
        let answers: Vec<bool> = (0..4).map(|_| answer.recv_timeout(Duration::from_secs(60)).unwrap()).collect();
        assert_eq!(answers, [false; 4]);
        assert_eq!(is_answered(&compilers, 7), Some(false));
    }
}

//! The outside of a worker process: starting it, giving it work, and ending it when it does not end by itself.

use std::{
    collections::VecDeque,
    io::{self, BufReader},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use p2pnet_shared::{
    engine::{Batch, BatchReport, Trap},
    id::Hash,
    wire::MAX_BLOB,
};

use super::{
    Order, Stop,
    compiler::Compilers,
    frames::{self, FromWorker, MOST_ANSWER_BYTES, ToWorker},
    lock, nothing, worker,
};

/// Kernels whose bytes a worker keeps.
const MOST_KNOWN: usize = 16;
/// What a run may take beyond its time before the worker is ended: large kernels take long to read. Its requester waits
/// somewhat longer.
const PATIENCE: Duration = Duration::from_secs(6);
/// A worker that has computed for so long is replaced: its bound on processor time is for its whole life.
const OLD: Duration = Duration::from_secs(6 * 3600);
/// What a run that was told to stop may take before the worker is ended.
pub const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// How often it is looked whether a process has ended that is about to.
const LOOK: Duration = Duration::from_millis(5);

/// A worker process and what it knows.
pub struct Worker {
    remote: Remote,
    output: BufReader<ChildStdout>,
    /// Kernels whose bytes it has, used last at the back.
    known: VecDeque<Hash>,
    /// How long it has computed.
    busy: Duration,
}

/// What is needed to stop a worker from another thread.
#[derive(Clone)]
pub struct Remote {
    input: Arc<Mutex<ChildStdin>>,
    child: Arc<Mutex<Child>>,
    /// Whether we ended it.
    ended: Arc<AtomicBool>,
}

impl Remote {
    /// Asks it to stop a run. May wait while an order is being written.
    pub fn tell_to_stop(&self, run: u64) {
        self.tell(&ToWorker::Stop { run });
    }

    fn tell(&self, what: &ToWorker) {
        // An error means that it is gone already.
        let _ = frames::write(&mut *lock(&self.input), what);
    }

    /// Ends the process.
    pub fn kill(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Why it is not there any more; for one that has just broken off.
    fn end_soon(&self) -> String {
        let until = Instant::now() + STOP_PATIENCE;
        loop {
            match self.end() {
                Some(why) => return why,
                None if Instant::now() >= until => return "it still runs".to_owned(),
                None => thread::sleep(LOOK),
            }
        }
    }

    /// Why the process is not there any more, if it is not.
    fn end(&self) -> Option<String> {
        match lock(&self.child).try_wait() {
            // Its signal or exit code: 9 is what Linux ends one with that took the machine's last memory, 6 an abort, 11
            // or 7 a fault in an engine, 31 a call that the fences forbid.
            Ok(Some(status)) if !self.ended.load(Ordering::Relaxed) => Some(status.to_string()),
            Ok(Some(_)) => Some("the node ended it, since it did not stop in time".to_owned()),
            Ok(None) => None,
            Err(error) => Some(error.to_string()),
        }
    }
}

impl Worker {
    /// Starts a worker that runs kernels from the folder `compiled` and may have `memory_mib` of them in memory.
    pub fn start(compiled: &Path, memory_mib: u32) -> io::Result<Self> {
        let mut child = Command::new(this_program()?)
            .arg(worker::ARGUMENT)
            .arg(std::path::absolute(compiled)?)
            .arg(memory_mib.to_string())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a process without pipes"));
        };
        let remote =
            Remote { input: Arc::new(Mutex::new(input)), child: Arc::new(Mutex::new(child)), ended: Arc::default() };
        let mut worker = Self { remote, output: BufReader::new(output), known: VecDeque::new(), busy: Duration::ZERO };
        match frames::read(&mut worker.output, MOST_ANSWER_BYTES) {
            Ok(FromWorker::Ready { fences, missing }) => say_once(&fences, &missing),
            Ok(FromWorker::Done { .. } | FromWorker::WantsCompiled { .. }) => {
                return Err(io::Error::other("a worker that answers what it was not asked"));
            }
            Err(error) => return Err(error),
        }
        Ok(worker)
    }

    /// Whether it is there to be given work. Between two runs it may have come to its end, whoever ended it.
    pub fn is_there(&self) -> bool {
        let Some(why) = self.remote.end() else { return true };
        tracing::warn!(why, "a worker ended between two runs; another one takes its place");
        false
    }

    /// Runs a batch. `Err` holds the report of a run that took the worker with it: the caller starts another one.
    pub fn run(
        &mut self,
        order: Order,
        stop: &Stop,
        compilers: &Compilers,
        told: impl FnOnce(),
    ) -> Result<BatchReport, BatchReport> {
        let run = order.run.0;
        let patience = Duration::from_millis(order.batch.limits.time_millis) + PATIENCE;
        let deadline = Instant::now() + patience;
        *lock(&stop.running) = Some(super::Running { remote: self.remote.clone(), told: false, kill_at: deadline });
        told();
        let calls = order.batch.calls.len();
        let report = self.exchange(order, compilers);
        *lock(&stop.running) = None;
        match report {
            Ok(report) if is_sound(&report, calls) => {
                self.busy += Duration::from_micros(report.busy_micros);
                // It may have been told to stop and ended for being late while its whole answer was on its way.
                if self.remote.ended.load(Ordering::Relaxed) { Err(report) } else { Ok(report) }
            }
            Ok(_) => {
                tracing::error!(run, "a worker gave an answer that cannot be; it is replaced");
                Err(nothing(Trap::HostFailed))
            }
            Err(error) => {
                let trap = if stop.asked.load(Ordering::Relaxed) {
                    Trap::Cancelled
                } else if Instant::now() >= deadline {
                    Trap::TimedOut
                } else {
                    // What it wrote last was cut off: it ends, if it has not yet.
                    let why = self.remote.end_soon();
                    tracing::error!(run, %error, why, "a worker ended in the middle of a run; it is replaced");
                    Trap::HostFailed
                };
                Err(nothing(trap))
            }
        }
    }

    fn exchange(&mut self, order: Order, compilers: &Compilers) -> io::Result<BatchReport> {
        let Order { run, kernel: original, batch, cpu_percent, stop: _ } = order;
        let (kernel, forget) = self.introduce(&batch, &original);
        let wanted = batch.kernel;
        let order = ToWorker::Run { run: run.0, forget, kernel, batch, cpu_percent };
        frames::write(&mut *lock(&self.remote.input), &order)?;
        let mut asked = false;
        loop {
            match frames::read(&mut self.output, MOST_ANSWER_BYTES)? {
                FromWorker::Done { run: ended, report } if ended == run.0 => return Ok(report),
                FromWorker::WantsCompiled { kernel } if kernel == wanted && !asked => {
                    asked = true;
                    let remote = self.remote.clone();
                    let reply = Box::new(move |ready| remote.tell(&ToWorker::Compiled { kernel, ready }));
                    compilers.ask(kernel, Arc::clone(&original), cpu_percent, reply);
                }
                FromWorker::Done { .. } | FromWorker::WantsCompiled { .. } | FromWorker::Ready { .. } => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to nothing"));
                }
            }
        }
    }

    /// Whether it has worked for so long that a new one should take its place.
    pub fn is_old(&self) -> bool {
        self.busy >= OLD
    }

    /// The kernel's bytes if the worker lacks them, and what it forgets instead.
    fn introduce(&mut self, batch: &Batch, kernel: &[u8]) -> (Option<Vec<u8>>, Vec<Hash>) {
        let known = self.known.iter().position(|hash| *hash == batch.kernel);
        if let Some(at) = known {
            self.known.remove(at);
        }
        self.known.push_back(batch.kernel);
        let surplus = self.known.len().saturating_sub(MOST_KNOWN);
        let forget = self.known.drain(..surplus).collect();
        (known.is_none().then(|| kernel.to_vec()), forget)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.remote.kill();
    }
}

/// A worker that was broken into can say anything: what it says must at least be possible.
fn is_sound(report: &BatchReport, calls: usize) -> bool {
    let bytes: u64 = report.outcomes.iter().map(|outcome| outcome.output.as_ref().map_or(0, Vec::len) as u64).sum();
    let cut_short = report.outcomes.last().is_some_and(|outcome| outcome.output.is_err());
    bytes <= MAX_BLOB && (report.outcomes.len() == calls || (report.outcomes.len() < calls && cut_short))
}

/// This very binary, also when a newer one has taken its place on disk.
pub fn this_program() -> io::Result<std::path::PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

fn say_once(fences: &[String], missing: &[String]) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let (fences, missing) = (fences.join(", "), missing.join(", "));
        if missing.is_empty() {
            tracing::info!("kernels run in processes of their own, kept in by: {fences}");
        } else {
            tracing::warn!(
                "kernels run in processes of their own, kept in by: {fences}; this system does not give: {missing}"
            );
        }
    });
}

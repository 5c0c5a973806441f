//! The outside of a worker process: starting it, giving it work, and ending it when it does not end by itself.

use std::{
    borrow::Cow,
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
    engine::{BatchReport, Trap},
    id::Hash,
    wire::MOST_BLOB,
};

use super::{
    Order, Stop,
    asked::{Asked, Clock},
    compiler::Compilers,
    frames::{self, FromWorker, MOST_ANSWER_BYTES, ToWorker},
    lock, nothing, worker,
};

/// Kernels whose bytes a worker keeps, and their bytes together; the last one stays whatever it has.
const MOST_KNOWN: usize = 16;
const MOST_KNOWN_BYTES: usize = 64 << 20;
/// What a run may take beyond its time before the worker is ended: large kernels take long to read. Its requester waits
/// somewhat longer.
const PATIENCE: Duration = Duration::from_secs(6);
/// A worker that has computed for so long is replaced: its bound on processor time is for its whole life.
const OLD: Duration = Duration::from_secs(6 * 3600);
/// What a run that was told to stop may take before the worker is ended.
const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// After how long it is tried again to tell a worker whether its run rests.
const TELL_AGAIN: Duration = Duration::from_millis(100);
/// How often it is looked whether a process has ended that is about to.
const LOOK: Duration = Duration::from_millis(5);

/// A worker process and what it knows.
pub(super) struct Worker {
    remote: Remote,
    output: BufReader<ChildStdout>,
    /// Kernels whose bytes it has.
    known: Known,
    /// How long it has computed.
    busy: Duration,
}

/// What becomes of a worker behind a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It can be given the next one.
    GoesOn,
    /// It lacked something that a fresh one may have.
    Worn,
    /// It has ended, or is not to be trusted.
    Gone,
}

/// Kernels whose bytes a worker has, with their lengths, used last at the back.
#[derive(Default)]
struct Known(VecDeque<(Hash, usize)>);

/// What is needed to stop a worker from another thread.
#[derive(Clone)]
pub(super) struct Remote {
    input: Arc<Mutex<ChildStdin>>,
    child: Arc<Mutex<Child>>,
    /// Whether we ended it.
    ended: Arc<AtomicBool>,
}

impl Remote {
    fn of(child: Child, input: ChildStdin) -> Self {
        Self { input: Arc::new(Mutex::new(input)), child: Arc::new(Mutex::new(child)), ended: Arc::default() }
    }

    /// Asks it to stop a run. Waits for nothing: a worker that does not read would hold up whoever ends it.
    pub(super) fn tell_to_stop(&self, run: u64) {
        let this = self.clone();
        let telling = thread::Builder::new().name("kernels-tell".into());
        if let Err(error) = telling.spawn(move || this.tell(&ToWorker::Stop { run })) {
            tracing::warn!(%error, "a worker cannot be told to stop; it is ended instead");
        }
    }

    /// Tells it whether a run rests; false if that cannot be tried now. Waits for nothing, either. What was asked last is
    /// said last: it is looked up by whoever has the turn to write. So one thread that waits for its turn is enough, however
    /// often it changes.
    fn tell_whether_it_rests(&self, run: u64, asked: &Arc<Asked>, heard: &Arc<Heard>) -> bool {
        if heard.is_about_to.swap(true, Ordering::AcqRel) {
            return true;
        }
        let (this, asked, hears) = (self.clone(), Arc::clone(asked), Arc::clone(heard));
        let told = thread::Builder::new().name("kernels-tell".into()).spawn(move || {
            let mut input = lock(&this.input);
            // Before it is looked up: for what is asked from now on another one is started.
            hears.is_about_to.swap(false, Ordering::AcqRel);
            // Who looks while it is written compares with what was heard before, so it is looked up again.
            while let rests = asked.rests()
                && rests != hears.rests()
            {
                let _ = frames::write(&mut *input, &ToWorker::Rest { run, rests });
                hears.heard(rests);
            }
        });
        if let Err(error) = &told {
            heard.is_about_to.swap(false, Ordering::AcqRel);
            tracing::warn!(%error, "a worker cannot be told yet whether its run rests");
        }
        told.is_ok()
    }

    fn tell(&self, what: &ToWorker<'_>) {
        // An error means that it is gone already.
        let _ = frames::write(&mut *lock(&self.input), what);
    }

    /// Ends the process.
    pub(super) fn kill(&self) {
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

/// A run in a process, for whoever watches it.
pub(super) struct Running {
    remote: Remote,
    clock: Clock,
    /// Time of the run after which the process is ended if it has not answered.
    most: Duration,
    /// When the process is ended; it was told to stop.
    ends: Option<Instant>,
    heard: Arc<Heard>,
}

/// What a process was told of its run.
#[derive(Default)]
struct Heard {
    /// Whether it rests. Said and noted by whoever has the turn to write, so that it is what was written last.
    rests: AtomicBool,
    /// Somebody waits for his turn to say it.
    is_about_to: AtomicBool,
}

impl Heard {
    fn rests(&self) -> bool {
        self.rests.load(Ordering::Acquire)
    }

    fn heard(&self, rests: bool) {
        self.rests.store(rests, Ordering::Release);
    }
}

impl Running {
    fn new(remote: Remote, clock: Clock, most: Duration) -> Self {
        Self { remote, clock, most, ends: None, heard: Arc::default() }
    }

    /// Ends the process.
    pub(super) fn kill(&self) {
        self.remote.kill();
    }

    /// Tells the process what is asked of its run, and ends it if it is late. When to look again, if there is a time.
    pub(super) fn look(&mut self, run: u64, asked: &Arc<Asked>, now: Instant) -> Option<Instant> {
        if self.end(now).is_some_and(|end| now >= end) {
            self.kill();
            return None;
        }
        if asked.is_stopped() && self.ends.is_none() {
            self.ends = Some(now + STOP_PATIENCE);
            self.remote.tell_to_stop(run);
        }
        if asked.rests() != self.heard.rests() && !self.remote.tell_whether_it_rests(run, asked, &self.heard) {
            return Some(self.end(now).unwrap_or(now + TELL_AGAIN).min(now + TELL_AGAIN));
        }
        self.end(now)
    }

    /// When the process is ended; there is no such time while its run rests.
    fn end(&self, now: Instant) -> Option<Instant> {
        self.ends.or_else(|| self.clock.end(self.most, now))
    }
}

impl Worker {
    /// Starts a worker that runs kernels from the folder `compiled` and may have `memory_mib` of them in memory.
    pub(super) fn start(compiled: &Path, memory_mib: u32) -> io::Result<Self> {
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
        let remote = Remote::of(child, input);
        let mut worker = Self { remote, output: BufReader::new(output), known: Known::default(), busy: Duration::ZERO };
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
    pub(super) fn is_there(&self) -> bool {
        let Some(why) = self.remote.end() else { return true };
        tracing::warn!(why, "a worker ended between two runs; another one takes its place");
        false
    }

    /// Runs a batch; the report of it, and whether this worker can be given another one. `told` is called when
    /// whoever stops runs, or sets them aside, is to look.
    pub(super) fn run(
        &mut self,
        order: &Order,
        stop: &Stop,
        compilers: &Compilers,
        told: impl Fn(),
    ) -> (BatchReport, After) {
        let run = order.run.0;
        let patience = Duration::from_millis(order.batch.limits.time_millis) + PATIENCE;
        let clock = Clock::new(&order.asked, Instant::now());
        let running = Running::new(self.remote.clone(), clock.clone(), patience);
        let heard = Arc::clone(&running.heard);
        *lock(&stop.running) = Some(running);
        told();
        let calls = order.batch.calls.len();
        let report = self.exchange(order, &heard, compilers, told);
        *lock(&stop.running) = None;
        match report {
            Ok((report, worn)) if is_sound(&report, calls) => {
                self.busy += Duration::from_micros(report.busy_micros);
                // It may have been told to stop and ended for being late while its whole answer was on its way.
                let after = match (self.remote.ended.load(Ordering::Relaxed), worn) {
                    (true, _) => After::Gone,
                    (false, true) => After::Worn,
                    (false, false) => After::GoesOn,
                };
                (report, after)
            }
            Ok(_) => {
                tracing::error!(run, "a worker gave an answer that cannot be; it is replaced");
                (nothing(Trap::HostFailed), After::Gone)
            }
            Err(error) => {
                let trap = if order.asked.is_stopped() {
                    Trap::Cancelled
                } else if clock.elapsed(Instant::now()) >= patience {
                    Trap::TimedOut
                } else {
                    // What it wrote last was cut off: it ends, if it has not yet.
                    let why = self.remote.end_soon();
                    tracing::error!(run, %error, why, "a worker ended in the middle of a run; it is replaced");
                    Trap::HostFailed
                };
                (nothing(trap), After::Gone)
            }
        }
    }

    /// The report, and whether the worker lacked something for it.
    fn exchange(
        &mut self,
        order: &Order,
        heard: &Heard,
        compilers: &Compilers,
        told: impl Fn(),
    ) -> io::Result<(BatchReport, bool)> {
        let Order { run, kernel: original, batch, cpu_percent, asked } = order;
        let (wanted, cpu_percent) = (batch.kernel, *cpu_percent);
        let mut input = lock(&self.remote.input);
        // Looked up by whoever has the turn to write, as in what follows: a worker heeds nothing about a run before this.
        if asked.is_stopped() {
            return Ok((nothing(Trap::Cancelled), false));
        }
        let (is_known, forget) = self.known.introduce(wanted, original.len());
        let kernel = (!is_known).then(|| original.to_vec());
        let batch = Cow::Borrowed(batch);
        let rests = asked.rests();
        frames::write(&mut *input, &ToWorker::Run { run: run.0, forget, kernel, batch, cpu_percent, rests })?;
        heard.heard(rests);
        drop(input);
        // Whoever looked meanwhile may have taken for heard what was not heeded.
        if asked.rests() != rests {
            told();
        }
        let mut has_asked = false;
        loop {
            match frames::read(&mut self.output, MOST_ANSWER_BYTES)? {
                FromWorker::Done { run: ended, report, worn } if ended == run.0 => return Ok((report, worn)),
                FromWorker::WantsCompiled { kernel } if kernel == wanted && !has_asked => {
                    has_asked = true;
                    let remote = self.remote.clone();
                    let reply = Box::new(move |ready| remote.tell(&ToWorker::Compiled { kernel, ready }));
                    compilers.ask(kernel, Arc::clone(original), cpu_percent, reply);
                }
                FromWorker::Done { .. } | FromWorker::WantsCompiled { .. } | FromWorker::Ready { .. } => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to nothing"));
                }
            }
        }
    }

    /// Whether no other kernel has run in it yet, as far as it is known.
    pub(super) fn is_fresh_for(&self, kernel: Hash) -> bool {
        self.known.0.iter().all(|(known, _)| *known == kernel)
    }

    /// Whether it has worked for so long that a new one should take its place.
    pub(super) fn is_old(&self) -> bool {
        self.busy >= OLD
    }
}

impl Known {
    /// Whether the worker has a kernel already, and what it forgets for it.
    fn introduce(&mut self, kernel: Hash, length: usize) -> (bool, Vec<Hash>) {
        let place = self.0.iter().position(|(known, _)| *known == kernel);
        if let Some(at) = place {
            self.0.remove(at);
        }
        self.0.push_back((kernel, length));
        let mut bytes: usize = self.0.iter().map(|(_, length)| length).sum();
        let mut forget = Vec::new();
        while self.0.len() > 1
            && (self.0.len() > MOST_KNOWN || bytes > MOST_KNOWN_BYTES)
            && let Some((oldest, length)) = self.0.pop_front()
        {
            bytes -= length;
            forget.push(oldest);
        }
        (place.is_some(), forget)
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
    bytes <= MOST_BLOB && (report.outcomes.len() == calls || (report.outcomes.len() < calls && cut_short))
}

/// This very binary, also when a newer one has taken its place on disk.
pub(super) fn this_program() -> io::Result<std::path::PathBuf> {
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

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use p2pnet_shared::{
        engine::{Batch, Limits},
        node::RunId,
    };

    use super::*;
    use crate::executor::{Executor, Sandbox, Shared};

    const RUN: RunId = RunId(1);
    const LONG: Duration = Duration::from_secs(3600);

    fn hash(n: u8) -> Hash {
        Hash([n; 32])
    }

    /// An executor that has not started anything yet.
    fn watching() -> Executor {
        let (facts, _) = futures::channel::mpsc::channel(1);
        Executor::new(facts, &std::env::temp_dir(), Sandbox::Process, 1)
    }

    /// A run in a process that reads nothing and ends only when it is ended, which is after `most`.
    fn begin(shared: &Shared, most: Duration) -> (Remote, Arc<Stop>) {
        begin_in(shared, Command::new("sleep").arg("1000").stdin(Stdio::piped()).spawn().unwrap(), most)
    }

    fn begin_in(shared: &Shared, mut child: Child, most: Duration) -> (Remote, Arc<Stop>) {
        let input = child.stdin.take().unwrap();
        let remote = Remote::of(child, input);
        let asked = Arc::default();
        let running = Running::new(remote.clone(), Clock::new(&asked, Instant::now()), most);
        let stop = Arc::new(Stop { asked, running: Mutex::new(Some(running)) });
        shared.lock().stops.insert(RUN, Arc::clone(&stop));
        shared.changed();
        (remote, stop)
    }

    /// Does `work` on another thread, which must come to its end.
    fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, waiting) = mpsc::channel();
        thread::spawn(move || done.send(work()));
        waiting.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn a_run_that_begins_while_the_watching_thread_is_about_to_sleep_is_seen() {
        let executor = watching();
        let look = executor.shared.look().unwrap();
        let (remote, _) = begin(&executor.shared, Duration::ZERO);
        let shared = Arc::clone(&executor.shared);
        ends(move || {
            shared.wait(look);
            shared.look();
        });
        assert!(remote.end().is_some());
    }

    #[test]
    fn a_worker_that_does_not_read_its_order_is_ended_though_it_cannot_be_told_to_stop() {
        let executor = watching();
        let (remote, stop) = begin(&executor.shared, LONG);
        let (writing, begun) = mpsc::channel();
        let order = remote.clone();
        let written = thread::spawn(move || {
            let mut input = lock(&order.input);
            writing.send(()).unwrap();
            frames::write(&mut *input, &vec![0_u8; 1 << 20])
        });
        begun.recv().unwrap();
        stop.asked.stop();
        let shared = Arc::clone(&executor.shared);
        let watch = thread::spawn(move || shared.watch());
        assert!(ends(move || written.join().unwrap()).is_err(), "nobody can read it any more");
        executor.stop();
        ends(move || watch.join().unwrap());
        assert!(remote.end().is_some());
    }

    #[test]
    fn a_run_that_rests_is_not_ended_for_being_late_before_it_goes_on() {
        let executor = watching();
        let (remote, _) = begin(&executor.shared, Duration::ZERO);
        executor.rest(RUN, true);
        executor.shared.look().unwrap();
        assert!(remote.end().is_none());
        executor.rest(RUN, false);
        let shared = Arc::clone(&executor.shared);
        let watch = thread::spawn(move || shared.watch());
        while remote.end().is_none() {
            thread::sleep(LOOK);
        }
        executor.stop();
        ends(move || watch.join().unwrap());
    }

    #[test]
    fn a_run_that_rests_in_a_worker_which_does_not_heed_it_is_ended_when_it_is_told_to_stop() {
        let executor = watching();
        let (remote, _) = begin(&executor.shared, Duration::ZERO);
        executor.rest(RUN, true);
        let shared = Arc::clone(&executor.shared);
        let watch = thread::spawn(move || shared.watch());
        executor.abort(RUN);
        while remote.end().is_none() {
            thread::sleep(LOOK);
        }
        executor.stop();
        ends(move || watch.join().unwrap());
    }

    /// Waits until nobody is about to tell a worker something any more.
    fn all_is_said(stop: &Stop) {
        let heard = Arc::clone(&lock(&stop.running).as_ref().unwrap().heard);
        while heard.is_about_to.load(Ordering::Acquire) {
            thread::sleep(LOOK);
        }
    }

    /// A process that says what it hears, for as long as it is spoken to.
    fn parrot() -> Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn a_worker_hears_what_was_asked_though_it_changed_and_changed_back_before_somebody_looked() {
        let executor = watching();
        let mut child = parrot();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let (remote, stop) = begin_in(&executor.shared, child, LONG);
        for last in [true, false] {
            let input = lock(&remote.input);
            executor.rest(RUN, last);
            executor.shared.look().unwrap();
            executor.rest(RUN, !last);
            drop(input);
            all_is_said(&stop);
            drop(lock(&remote.input));
            executor.rest(RUN, last);
            executor.shared.look().unwrap();
            all_is_said(&stop);
            remote.tell(&ToWorker::Stop { run: 0 });
            let mut told = !last;
            while let ToWorker::Rest { rests, .. } = frames::read(&mut said, 100).unwrap() {
                told = rests;
            }
            assert_eq!(told, last);
        }
        remote.kill();
    }

    #[test]
    fn a_run_that_is_stopped_before_its_worker_has_heard_of_it_costs_no_worker() {
        let executor = watching();
        let mut child = parrot();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let output = BufReader::new(output);
        let mut worker =
            Worker { remote: Remote::of(child, input), output, known: Known::default(), busy: Duration::ZERO };
        let asked = Arc::new(Asked::default());
        let stop = Stop { asked: Arc::clone(&asked), running: Mutex::default() };
        asked.stop();
        let batch = Batch { kernel: hash(1), common: None, calls: vec![vec![1]], limits: Limits::default() };
        let order = Order { run: RUN, kernel: Arc::from([1_u8]), batch, cpu_percent: 100, asked };
        let (report, after) = worker.run(&order, &stop, &executor.shared.compilers, || {});
        assert_eq!((report.outcomes[0].output.clone(), after), (Err(Trap::Cancelled), After::GoesOn));
        assert!(worker.is_fresh_for(hash(2)), "it has not seen the kernel");
    }

    #[test]
    fn what_a_worker_is_told_last_is_what_was_asked_last() {
        let executor = watching();
        let mut child = parrot();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let (remote, stop) = begin_in(&executor.shared, child, LONG);
        for last in [true, false] {
            for round in 0..50 {
                executor.rest(RUN, (round % 2 == 0) == last);
                executor.shared.look().unwrap();
            }
            executor.rest(RUN, last);
            executor.shared.look().unwrap();
            all_is_said(&stop);
            // Whoever had the turn has written.
            remote.tell(&ToWorker::Stop { run: 0 });
            let mut told = None;
            while let ToWorker::Rest { run, rests } = frames::read(&mut said, 100).unwrap() {
                assert_eq!(run, RUN.0);
                told = Some(rests);
            }
            assert_eq!(told, Some(last));
        }
        remote.kill();
    }

    #[test]
    fn a_worker_keeps_so_many_kernels_and_so_many_bytes_of_them_and_the_last_one_in_any_case() {
        let mut known = Known::default();
        for n in 0..16 {
            assert_eq!(known.introduce(hash(n), 1), (false, vec![]));
        }
        assert_eq!(known.introduce(hash(0), 1), (true, vec![]));
        assert_eq!(known.introduce(hash(16), 1), (false, vec![hash(1)]), "used longest ago");
        let (is_known, forgotten) = known.introduce(hash(17), MOST_KNOWN_BYTES - 2);
        assert!(!is_known);
        assert_eq!(forgotten, (2..16).map(hash).collect::<Vec<_>>());
        assert_eq!(known.introduce(hash(18), MOST_KNOWN_BYTES + 1).1, [hash(0), hash(16), hash(17)]);
        assert_eq!(known.introduce(hash(18), MOST_KNOWN_BYTES + 1), (true, vec![]));
    }
}

//! Child processes that never outlive us: each is the head of its own group, and the group is killed on drop.

use std::{
    env,
    fmt::Display,
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How many of a program's last lines are kept for error messages.
const KEPT_LINES: usize = 400;

/// A running program and what it printed.
pub struct Process {
    name: String,
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts a program and waits until `find` makes something of a line of its output.
    pub fn start<T: Send + 'static>(
        name: &str,
        command: &mut Command,
        patience: Duration,
        find: impl Fn(&str) -> Option<T> + Send + 'static,
    ) -> Result<(Self, T)> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} ({:?})", command.get_program()))?;
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (sender, found) = mpsc::channel();
        if let Some(errors) = child.stderr.take() {
            keep_lines(errors, Arc::clone(&printed), |_| {});
        }
        if let Some(output) = child.stdout.take() {
            keep_lines(output, Arc::clone(&printed), move |line| {
                if let Some(value) = find(line) {
                    let _ = sender.send(value);
                }
            });
        }
        let process = Self { name: name.to_owned(), child, printed };
        match found.recv_timeout(patience) {
            Ok(value) => Ok((process, value)),
            Err(_) => bail!("{name} did not say that it is ready; it printed:\n{}", process.printed()),
        }
    }

    /// What it printed last.
    pub fn printed(&self) -> String {
        lock(&self.printed).join("\n")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as Ctrl-C does, and waits.
    pub fn interrupt(&mut self, patience: Duration) -> Result<()> {
        signal("INT", &self.child.id().to_string());
        let began = Instant::now();
        while began.elapsed() < patience {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("{} ended with {status} after Ctrl-C; it printed:\n{}", self.name, self.printed());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("{} still runs {patience:?} after Ctrl-C; it printed:\n{}", self.name, self.printed());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        signal("KILL", &format!("-{}", self.child.id()));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process, or with a minus to a group.
pub fn signal(name: &str, target: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), "--", target]).stderr(Stdio::null()).status();
}

/// The processes whose command line contains `text`.
pub fn processes_naming(text: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| {
            fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
        })
        .collect()
}

/// A process and all that came from it.
pub fn tree(root: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return vec![root] };
    let parents: Vec<(u32, u32)> = entries
        .flatten()
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            Some((id, stat(id)?.get(1)?.parse().ok()?))
        })
        .collect();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(id, of)| *of == parent && *id != root).map(|(id, _)| *id));
        next += 1;
    }
    family
}

/// How long processes have been on a processor, in user and kernel mode; counted by the kernel in hundredths of a second.
pub fn processor_time(processes: &[u32]) -> Duration {
    Duration::from_millis(10 * processes.iter().filter_map(|id| ticks(&stat(id)?)).sum::<u64>())
}

/// Memory that processes hold, in bytes; what they share counts for each.
pub fn memory(processes: &[u32]) -> u64 {
    let held = |id: &u32| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
    };
    processes.iter().filter_map(held).sum()
}

/// Time on a processor of those of their threads that have a name.
pub fn threads_time(processes: &[u32], name: &str) -> Duration {
    let threads = processes.iter().flat_map(|id| fs::read_dir(format!("/proc/{id}/task"))).flatten().flatten();
    let named = threads
        .map(|thread| thread.path())
        .filter(|path| fs::read_to_string(path.join("comm")).is_ok_and(|found| found.trim_end() == name));
    let ids = named.filter_map(|path| Some(path.strip_prefix("/proc").ok()?.to_str()?.to_owned()));
    Duration::from_millis(10 * ids.filter_map(|id| ticks(&stat(id)?)).sum::<u64>())
}

/// A thread of ours that wants a core all the time. What it gets says how much there was to be had: whatever else this machine
/// does takes from it as from others.
pub struct Rival {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Option<u64>>,
}

impl Rival {
    /// Begins.
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                (0..10_000).for_each(|_| std::hint::spin_loop());
            }
            ticks(&stat("thread-self")?)
        });
        Self { stop, thread }
    }

    /// Ends; how long it was on a processor.
    pub fn end(self) -> Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let ticks = self.thread.join().ok().flatten().context("a thread's time on the processor cannot be read")?;
        Ok(Duration::from_millis(10 * ticks))
    }
}

/// Time on a processor, in user and kernel mode, in hundredths of a second.
fn ticks(stat: &[String]) -> Option<u64> {
    Some(stat.get(11)?.parse::<u64>().ok()? + stat.get(12)?.parse::<u64>().ok()?)
}

/// The fields of `/proc/<id>/stat` after the name (proc(5)): state, parent, …, user time, system time, ….
fn stat(id: impl Display) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// An empty folder that goes away with us.
pub struct Folder(PathBuf);

impl Folder {
    /// A new one.
    pub fn new(purpose: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("p2pnet-{purpose}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A browser that was just killed may still be closing files.
        for _ in 0..20 {
            if fs::remove_dir_all(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What `cargo xtask` hands over.
pub fn given(variable: &str) -> Result<PathBuf> {
    env::var_os(variable).map(PathBuf::from).with_context(|| {
        format!("{variable} is not set: the relay, the page and a browser are needed, start this by `cargo xtask`")
    })
}

fn keep_lines(
    from: impl std::io::Read + Send + 'static,
    printed: Arc<Mutex<Vec<String>>>,
    each: impl Fn(&str) + Send + 'static,
) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            each(&line);
            let mut kept = lock(&printed);
            if kept.len() >= KEPT_LINES {
                kept.remove(0);
            }
            kept.push(line);
        }
    });
}

fn lock(lines: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names the library that HTTP clients take for TLS; without one they panic, even if they never speak TLS.
pub fn choose_tls() {
    // An error means that it has been chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

//! The fences around a worker process, so that a hole in an engine is not a break-in: no privileges, no files but
//! compiled kernels, no network, no other programs, no threads beyond its own, bounded memory and processor time. Linux
//! has all of them; elsewhere the separate process is the only one.

use std::path::{Path, PathBuf};

/// What a process behind the fences may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of its own data: heap, stacks, memories of kernels. Address space that is only reserved does not count.
    pub data_bytes: u64,
    /// Seconds of processor time in all its life.
    pub cpu_seconds: u64,
    /// Files open at once.
    pub files: u64,
}

/// What keeps this process in from now on.
pub(super) struct Fenced {
    /// Fences that stand.
    pub fences: Vec<String>,
    /// Fences that this system does not give.
    pub missing: Vec<String>,
    /// The folder of compiled kernels under the name that it has in here, if it may be used. Without a fence around
    /// files no file may be touched at all.
    pub folder: Option<PathBuf>,
}

/// Puts the fences up, for good. `folder` holds compiled kernels and stays usable if files can be fenced; it becomes the
/// current one, since after this its full name may lead through folders that are closed to the process. `open` opens
/// what the process needs of itself and could not open any more: it is called without privileges, and before files are
/// fenced.
#[cfg(target_os = "linux")]
pub(super) fn enter(folder: Option<&Path>, bounds: Bounds, open: impl FnOnce()) -> Fenced {
    linux::enter(folder, bounds, open)
}

/// Puts the fences up: this system has none that we know.
#[cfg(not(target_os = "linux"))]
pub fn enter(folder: Option<&Path>, _bounds: Bounds, open: impl FnOnce()) -> Fenced {
    open();
    let missing = ["resource limits", "no privileges", "landlock", "seccomp"].map(str::to_owned).to_vec();
    Fenced { fences: vec!["a separate process".into()], missing, folder: folder.map(Path::to_owned) }
}

/// From now on this process starts no thread any more. For when it has all that it needs.
pub(super) fn no_more_threads() {
    #[cfg(target_os = "linux")]
    linux::no_more_threads();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        collections::BTreeMap,
        env, fs, io,
        os::unix::fs::chown,
        path::{Path, PathBuf},
        process, ptr,
    };

    use landlock::{
        ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
        RulesetStatus, Scope,
    };
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
        apply_filter, apply_filter_all_threads,
    };

    use super::{Bounds, Fenced};
    use crate::store::folder::make_private_folder;

    /// The newest landlock that we ask for; an older kernel gives what it has.
    const NEWEST: ABI = ABI::V6;
    /// Whom a process that root started becomes: "nobody" on every Linux.
    const NOBODY: u32 = 65_534;
    /// Address space beyond which no process of ours goes. Each memory of an instance sets 4 GiB aside and some more: the
    /// pool has 4 of them, what stands ready at most 9 times 5, so that less than 220 GiB are in use whatever kernels come.
    /// Linux's bound on mappings, 65,530, is as far: a few for each of those and for each form of a kept kernel.
    const MOST_ADDRESS_BYTES: u64 = 4 << 40;

    pub(super) fn enter(folder: Option<&Path>, bounds: Bounds, open: impl FnOnce()) -> Fenced {
        let mut fenced = Fenced { fences: Vec::new(), missing: Vec::new(), folder: None };
        // Made and entered now: behind the fences it could not be.
        let folder = folder
            .is_some_and(|folder| make_private_folder(folder).and_then(|()| env::set_current_dir(folder)).is_ok());
        let mut stands = |name: &str, stands: bool| {
            let list = if stands { &mut fenced.fences } else { &mut fenced.missing };
            list.push(name.to_owned());
        };
        let here = folder.then_some(Path::new("."));
        stands("no privileges", drop_privileges(here, open).is_ok());
        stands("resource limits", limit_resources(bounds));
        let files = fence_files(here).unwrap_or(Enforced::No);
        stands(if files == Enforced::InPart { "landlock (in part)" } else { "landlock" }, files != Enforced::No);
        let calls = fence_calls(files != Enforced::No).is_ok();
        stands("seccomp", calls);
        fenced.folder = (files != Enforced::No && folder).then(|| PathBuf::from("."));
        fenced
    }

    /// Root becomes nobody, who owns `folder` from then on; everybody else gives up what capabilities there are. Then
    /// comes `open`, and last the process is closed to debuggers, and with that to itself.
    fn drop_privileges(folder: Option<&Path>, open: impl FnOnce()) -> io::Result<()> {
        let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // SAFETY: these calls take numbers, and pointers to nothing or to what lives through the call.
        unsafe {
            // Until the number of a capability that this Linux does not have.
            let mut capability = 0;
            while libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) == 0 {
                capability += 1;
            }
            if libc::geteuid() == 0 {
                if let Some(folder) = folder {
                    chown(folder, Some(NOBODY), Some(NOBODY))?;
                    for entry in fs::read_dir(folder)?.flatten() {
                        chown(entry.path(), Some(NOBODY), Some(NOBODY))?;
                    }
                }
                done(libc::setgroups(0, ptr::null()))?;
                done(libc::setresgid(NOBODY, NOBODY, NOBODY))?;
                done(libc::setresuid(NOBODY, NOBODY, NOBODY))?;
            }
            // capset(2), version 3: this process; nothing effective, permitted or inheritable in both words.
            let header: [u32; 2] = [0x2008_0522, 0];
            let nothing = [0_u32; 6];
            if libc::syscall(libc::SYS_capset, header.as_ptr(), nothing.as_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            // Who changed its user may not look into itself either, unless it says so.
            done(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0))?;
            open();
            done(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0))?;
            if libc::geteuid() == 0 { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
        }
    }

    /// Little memory and time, no core files, few open files, no huge ones.
    fn limit_resources(bounds: Bounds) -> bool {
        let limits = [
            (libc::RLIMIT_CORE, 0),
            (libc::RLIMIT_NOFILE, bounds.files),
            (libc::RLIMIT_FSIZE, 1 << 30),
            (libc::RLIMIT_DATA, bounds.data_bytes),
            (libc::RLIMIT_AS, MOST_ADDRESS_BYTES),
            (libc::RLIMIT_CPU, bounds.cpu_seconds),
        ];
        limits.into_iter().all(|(resource, most)| {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: these only write and read the struct, which lives through the calls.
            unsafe {
                // What the operator bounds closer stays so: nobody without privileges can raise it.
                let most = if libc::getrlimit(resource, &raw mut limit) == 0 { most.min(limit.rlim_max) } else { most };
                limit = libc::rlimit { rlim_cur: most, rlim_max: most };
                libc::setrlimit(resource, &raw const limit) == 0
            }
        })
    }

    /// How much of the fence around files this Linux gives.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Enforced {
        Whole,
        InPart,
        No,
    }

    /// Only `folder` can be read and written; no port, no signal to others.
    fn fence_files(folder: Option<&Path>) -> Result<Enforced, landlock::RulesetError> {
        let mut ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?;
        if let Some(folder) = folder.and_then(|folder| PathFd::new(folder).ok()) {
            let allowed: BitFlags<AccessFs> = AccessFs::ReadFile
                | AccessFs::ReadDir
                | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::MakeReg
                | AccessFs::RemoveFile;
            ruleset = ruleset.add_rule(PathBeneath::new(folder, allowed))?;
        }
        Ok(match ruleset.restrict_self()?.ruleset {
            RulesetStatus::FullyEnforced => Enforced::Whole,
            RulesetStatus::PartiallyEnforced => Enforced::InPart,
            RulesetStatus::NotEnforced => Enforced::No,
        })
    }

    /// Only what running kernels needs; everything else answers EPERM. Opening files is needed for compiled kernels and
    /// only left open where landlock says which.
    fn fence_calls(files: bool) -> Result<(), Box<dyn std::error::Error>> {
        let mut calls: Vec<i64> = NEEDED.to_vec();
        if files {
            calls.extend(FILES);
            // glibc asks by the older names on the older architecture.
            #[cfg(target_arch = "x86_64")]
            calls.extend([libc::SYS_rename, libc::SYS_unlink]);
        }
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = calls.into_iter().map(|call| (call, Vec::new())).collect();
        // Threads, not processes: with the memory of this one, or none.
        let thread = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
        rules.insert(libc::SYS_clone, vec![argument_has(0, u64::try_from(thread)?)?]);
        // Signals to its own threads, which is how an abort ends it.
        rules.insert(libc::SYS_tgkill, vec![argument_is(0, u64::from(process::id()))?]);
        // Which pages of its own memory were written: of what is open, only a page map answers that.
        rules.insert(libc::SYS_ioctl, vec![argument_is(1, PAGEMAP_SCAN)?]);
        // Names of threads and of memory.
        rules.insert(
            libc::SYS_prctl,
            vec![
                argument_is(0, u64::try_from(libc::PR_SET_NAME)?)?,
                argument_is(0, PR_SET_VMA)?,
                // For one more filter on top of this one.
                argument_is(0, u64::try_from(libc::PR_SET_NO_NEW_PRIVS)?)?,
            ],
        );
        let forbidden = SeccompAction::Errno(u32::try_from(libc::EPERM)?);
        let filter = SeccompFilter::new(rules, forbidden, SeccompAction::Allow, env::consts::ARCH.try_into()?)?;
        let program: BpfProgram = filter.try_into()?;
        apply_filter(&program)?;
        // Its flags lie in memory, where no filter sees them: "not implemented" makes everybody use the older call.
        answer(&[libc::SYS_clone3], libc::ENOSYS, false)
    }

    /// See [`super::no_more_threads`].
    pub(super) fn no_more_threads() {
        if let Err(error) = answer(&[libc::SYS_clone, libc::SYS_seccomp], libc::EPERM, true) {
            tracing::debug!(%error, "threads can still be started");
        }
    }

    /// Has some calls answered with an error and leaves all others as they are.
    fn answer(calls: &[i64], error: libc::c_int, all_threads: bool) -> Result<(), Box<dyn std::error::Error>> {
        let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
        let answer = SeccompAction::Errno(u32::try_from(error)?);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, env::consts::ARCH.try_into()?)?;
        let program: BpfProgram = filter.try_into()?;
        if all_threads {
            apply_filter_all_threads(&program)?;
        } else {
            apply_filter(&program)?;
        }
        Ok(())
    }

    fn argument_is(index: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
        let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
        SeccompRule::new(vec![condition])
    }

    fn argument_has(index: u8, bits: u64) -> Result<SeccompRule, seccompiler::BackendError> {
        let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bits), bits)?;
        SeccompRule::new(vec![condition])
    }

    /// `prctl(2)`: names an anonymous mapping, as allocators do.
    const PR_SET_VMA: u64 = 0x5356_4d41;

    /// `ioctl(2)` on a page map: `PAGEMAP_SCAN`, 96 bytes in and out.
    const PAGEMAP_SCAN: u64 = 0xC060_6610;

    const NEEDED: [i64; 42] = [
        // The pipes, and what is open already.
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_fstat,
        libc::SYS_lseek,
        libc::SYS_fcntl,
        // Memory; memfd holds the images that instances start from.
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_memfd_create,
        libc::SYS_ftruncate,
        libc::SYS_membarrier,
        // Threads, time, chance.
        libc::SYS_clone3,
        libc::SYS_seccomp,
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_ppoll,
        libc::SYS_restart_syscall,
        libc::SYS_sysinfo,
        // Traps of kernels are signals.
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        // The end.
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_uname,
    ];

    const FILES: [i64; 9] = [
        libc::SYS_openat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_getdents64,
        libc::SYS_unlinkat,
        libc::SYS_renameat2,
        libc::SYS_renameat,
        libc::SYS_utimensat,
        libc::SYS_fsync,
    ];
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::{env, fs, io, net::UdpSocket, process::Command};

    use super::*;
    use crate::apart;

    /// The fences are for ever, so they go up in a process of their own.
    #[test]
    fn nothing_gets_out() {
        apart::run("executor::sandbox::tests::nothing_gets_out", inside, |folder| {
            assert_eq!(fs::read_to_string(folder.join("inside")).unwrap(), "kept");
        });
    }

    fn inside(folder: &Path) {
        let outside = env::current_exe().unwrap();
        assert!(fs::read(&outside).is_ok(), "before the fences it can be read");
        let fenced = enter(Some(folder), Bounds { data_bytes: 256 << 20, cpu_seconds: 100, files: 64 }, || {
            assert!(fs::File::open("/proc/self/pagemap").is_ok(), "here it can be opened");
            crate::engine::watch_written_pages();
        });
        #[expect(clippy::print_stdout, reason = "what is missing here is to be seen in the output of the tests")]
        {
            println!("{:?}, missing {:?}", fenced.fences, fenced.missing);
        }
        assert!(fenced.fences.contains(&"seccomp".to_owned()));
        assert!(fs::read(&outside).is_err() && fs::read("/etc/passwd").is_err());
        assert!(fs::write(env::temp_dir().join("p2pnet-escaped"), "x").is_err());
        assert!(UdpSocket::bind("127.0.0.1:0").is_err());
        assert!(
            std::net::TcpStream::connect("127.0.0.1:1").unwrap_err().kind() != std::io::ErrorKind::ConnectionRefused
        );
        assert!(Command::new("/bin/true").spawn().is_err());
        let here = fenced.folder.expect("this test needs a kernel with landlock");
        fs::write(here.join("draft"), "kept").unwrap();
        fs::rename(here.join("draft"), here.join("inside")).unwrap();
        // A worker computes on a thread of its own.
        std::thread::spawn(|| assert!(UdpSocket::bind("127.0.0.1:0").is_err())).join().unwrap();
        assert!(fs::File::open("/proc/self/pagemap").is_err(), "and not any more");
        // SAFETY: these take numbers only, or a place to write a number to.
        unsafe {
            let mut waiting: libc::c_int = 0;
            assert_eq!(libc::ioctl(0, libc::FIONREAD, &raw mut waiting), -1, "no other question to what is open");
            assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EPERM));
            assert_ne!(libc::geteuid(), 0, "root has become somebody else");
            assert_eq!(libc::setuid(0), -1);
            assert_eq!(libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0), -1, "no process of its own");
            assert_eq!(
                libc::syscall(libc::SYS_tgkill, libc::getppid(), libc::getppid(), 0),
                -1,
                "no signal to its parent"
            );
        }
        let engine = crate::engine::WasmtimeEngine::of_one_thread(None).expect("kernels can be compiled in here");
        assert!(engine.keeps_instances(), "tiny tasks need instances that are kept, and there is room for them");
        let mut much = Vec::<u8>::new();
        assert!(much.try_reserve_exact(512 << 20).is_err(), "memory is bounded");
        no_more_threads();
        assert!(std::thread::Builder::new().spawn(|| ()).is_err());
    }
}

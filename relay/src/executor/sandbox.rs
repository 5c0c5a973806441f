//! The fences around a worker process, so that a hole in an engine is not a break-in: no files but compiled kernels, no
//! network, no other programs, small limits. Linux has all of them; elsewhere the separate process is the only one.

use std::path::Path;

/// What keeps this process in from now on.
pub struct Fenced {
    /// Fences that stand.
    pub fences: Vec<String>,
    /// Fences that this system does not give.
    pub missing: Vec<String>,
    /// Whether the folder of compiled kernels may be used. Without a fence around files no file may be touched at all.
    pub files_allowed: bool,
}

/// Puts the fences up, for good. `folder` holds compiled kernels and stays usable if files can be fenced.
#[cfg(target_os = "linux")]
pub fn enter(folder: Option<&Path>) -> Fenced {
    linux::enter(folder)
}

/// Puts the fences up: this system has none that we know.
#[cfg(not(target_os = "linux"))]
pub fn enter(_folder: Option<&Path>) -> Fenced {
    Fenced { fences: vec!["a separate process".into()], missing: vec!["seccomp, landlock".into()], files_allowed: true }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{collections::BTreeMap, fs, path::Path};

    use landlock::{
        ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
        RulesetStatus, Scope,
    };
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

    use super::Fenced;

    /// The newest landlock that we ask for; an older kernel gives what it has.
    const NEWEST: ABI = ABI::V6;

    pub fn enter(folder: Option<&Path>) -> Fenced {
        let mut fenced = Fenced { fences: Vec::new(), missing: Vec::new(), files_allowed: false };
        // Made now: behind the fences it could not be.
        let folder = folder.filter(|folder| fs::create_dir_all(folder).is_ok());
        let mut stands = |name: &str, stands: bool| {
            let list = if stands { &mut fenced.fences } else { &mut fenced.missing };
            list.push(name.to_owned());
        };
        stands("resource limits", limit_resources());
        let files = fence_files(folder).unwrap_or(false);
        stands("landlock", files);
        let calls = fence_calls(files).is_ok();
        stands("seccomp", calls);
        fenced.files_allowed = files && folder.is_some();
        fenced
    }

    /// No core files, few open files, no huge ones.
    fn limit_resources() -> bool {
        let limits = [(libc::RLIMIT_CORE, 0), (libc::RLIMIT_NOFILE, 64), (libc::RLIMIT_FSIZE, 1 << 30)];
        limits.into_iter().all(|(resource, most)| {
            let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
            // SAFETY: setrlimit only reads the struct, which lives through the call.
            unsafe { libc::setrlimit(resource, &limit) == 0 }
        })
    }

    /// Only `folder` can be read and written; no port, no signal to others. `false` where the kernel has no landlock.
    fn fence_files(folder: Option<&Path>) -> Result<bool, landlock::RulesetError> {
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
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => true,
            RulesetStatus::NotEnforced => false,
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
        let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> =
            calls.into_iter().map(|call| (call, Vec::new())).collect();
        let forbidden = SeccompAction::Errno(u32::try_from(libc::EPERM)?);
        let filter = SeccompFilter::new(rules, forbidden, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
        let program: BpfProgram = filter.try_into()?;
        apply_filter(&program)?;
        Ok(())
    }

    const NEEDED: [i64; 44] = [
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
        libc::SYS_clone,
        libc::SYS_clone3,
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
        libc::SYS_prctl,
        libc::SYS_ppoll,
        libc::SYS_restart_syscall,
        libc::SYS_sysinfo,
        // Traps of kernels are signals.
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_tgkill,
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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{env, fs, net::UdpSocket, process::Command};

    use super::*;

    const PROBE: &str = "P2PNET_PROBE_FENCES";

    /// The fences are for ever, so they go up in a process of their own: this test, started again.
    #[test]
    fn nothing_gets_out() {
        if let Some(folder) = env::var_os(PROBE) {
            return inside(Path::new(&folder));
        }
        let folder = env::temp_dir().join(format!("p2pnet-fences-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let probe = Command::new(env::current_exe().unwrap())
            .args(["--exact", "executor::sandbox::tests::nothing_gets_out", "--nocapture"])
            .env(PROBE, &folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&probe.stdout).into_owned() + &String::from_utf8_lossy(&probe.stderr);
        assert!(probe.status.success() && said.contains("1 passed"), "{said}");
        assert_eq!(fs::read_to_string(folder.join("inside")).unwrap(), "kept", "{said}");
        fs::remove_dir_all(folder).unwrap();
    }

    fn inside(folder: &Path) {
        let outside = env::current_exe().unwrap();
        assert!(fs::read(&outside).is_ok(), "before the fences it can be read");
        let fenced = enter(Some(folder));
        println!("{:?}, missing {:?}", fenced.fences, fenced.missing);
        assert!(fenced.fences.contains(&"seccomp".to_owned()));
        assert!(fs::read(&outside).is_err() && fs::read("/etc/passwd").is_err());
        assert!(fs::write(env::temp_dir().join("p2pnet-escaped"), "x").is_err());
        assert!(UdpSocket::bind("127.0.0.1:0").is_err());
        assert!(
            std::net::TcpStream::connect("127.0.0.1:1").unwrap_err().kind() != std::io::ErrorKind::ConnectionRefused
        );
        assert!(Command::new("/bin/true").spawn().is_err());
        assert!(fenced.files_allowed, "this test needs a kernel with landlock");
        fs::write(folder.join("draft"), "kept").unwrap();
        fs::rename(folder.join("draft"), folder.join("inside")).unwrap();
        // Engines compile on threads of their own.
        std::thread::spawn(|| assert!(UdpSocket::bind("127.0.0.1:0").is_err())).join().unwrap();
    }
}

//! Why the store cannot be written at the moment: in words for monitors and for those who send jobs, which name no path.

use std::{
    fs,
    io::{self, ErrorKind, Write as _},
    path::Path,
};

use p2pnet_shared::refusal::{Code, Refusal};

/// How much room a store must find before jobs are taken again after it found none.
pub(super) const ROOM: usize = 64 << 10;

/// Why nothing can be kept now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No room: the disk, a quota, the largest size of a file.
    Full,
    /// The data folder cannot be written.
    ReadOnly,
    /// The database's files were deleted or replaced while they were open.
    Gone,
    /// The file holds what no database holds.
    Damaged,
    /// The process is ending.
    Closing,
    /// Anything else, in the system's words.
    Failed(String),
}

impl Trouble {
    /// What lies behind an error of the database `path`. SQLite says "I/O error" of much; the file system says more.
    pub(super) fn of(error: &sqlx::Error, path: &Path) -> Self {
        match primary_code(error) {
            Some(13) => Trouble::Full,
            Some(11 | 26) => Trouble::Damaged,
            _ => match try_to_write(path) {
                Ok(()) => Trouble::Failed(error.to_string()),
                Err(cause) => Self::of_file(&cause),
            },
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the system has ever more kinds of errors")]
    fn of_file(cause: &io::Error) -> Self {
        match cause.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Trouble::Full,
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Trouble::ReadOnly,
            ErrorKind::NotFound => Trouble::Gone,
            _ => Trouble::Failed(cause.to_string()),
        }
    }

    /// What is wrong, and what the operator does about it.
    pub fn words(&self) -> (String, &'static str) {
        match self {
            Trouble::Full => (
                "the disk that holds this relay's data folder is full".into(),
                "free some room there; the relay goes on by itself",
            ),
            Trouble::ReadOnly => {
                ("this relay's data folder cannot be written".into(), "make it writable; the relay goes on by itself")
            }
            Trouble::Gone => (
                "this relay's database was deleted or replaced while it was in use".into(),
                "restart the relay, with the files from before if there is a copy",
            ),
            Trouble::Damaged => (
                "this relay's database, p2pnet.sqlite in its data folder, is damaged".into(),
                "stop the relay, move it away with the files beside it whose names end in -wal and -shm, put a copy from before in its place if there is one, and start the relay again",
            ),
            Trouble::Closing => ("this relay is stopping".into(), "send the request again in a few seconds"),
            Trouble::Failed(cause) => {
                (format!("this relay's store cannot be written: {cause}"), "see the relay's log, and its disk")
            }
        }
    }

    /// Why a job is not taken: it could not be kept.
    pub fn refusal(&self) -> Refusal {
        self.refusal_saying("the job was not taken")
    }

    /// Why a kernel is not taken: it could not be kept.
    pub fn refusal_of_a_kernel(&self) -> Refusal {
        self.refusal_saying("the module was not taken")
    }

    fn refusal_saying(&self, outcome: &str) -> Refusal {
        let (what, hint) = self.words();
        match self {
            Trouble::Closing => Refusal::new(Code::ShuttingDown, what, hint),
            Trouble::Full => Refusal::new(Code::StoreFull, format!("{outcome}: {what}"), hint),
            Trouble::ReadOnly | Trouble::Gone | Trouble::Damaged | Trouble::Failed(_) => {
                Refusal::new(Code::StoreFailed, format!("{outcome}: {what}"), hint)
            }
        }
    }

    /// Why something that was kept cannot be read now.
    pub fn refusal_of_a_read(&self) -> Refusal {
        let (what, hint) = self.words();
        Refusal::new(Code::StoreFailed, format!("it cannot be read now: {what}"), hint)
    }

    /// Why a job that was stopped may come back after a restart; `done` is what became of it: cancelled or removed.
    pub fn refusal_of_a_stop(&self, done: &str) -> Refusal {
        let (what, hint) = self.words();
        let code = if *self == Trouble::Full { Code::StoreFull } else { Code::StoreFailed };
        let message = format!("the job is {done}, but that is not on disk yet, so a restart may bring it back: {what}");
        Refusal::new(code, message, hint)
    }
}

/// The result code without its details: <https://sqlite.org/rescode.html>.
pub(super) fn primary_code(error: &sqlx::Error) -> Option<i64> {
    let code = error.as_database_error()?.code()?.parse::<i64>().ok()?;
    Some(code & 0xff)
}

/// Whether the file holds what no database holds, so that another page of it may be sound.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(11 | 26))
}

/// Free bytes of the disk that holds `path`, for whoever this process runs as, where the system tells.
#[cfg(unix)]
pub(super) fn room_at(path: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero, and the system writes one `statvfs` to where there is room for it.
    if unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: it has written it.
    let found = unsafe { found.assume_init() };
    // SAFETY: it takes nothing and cannot fail.
    let is_privileged = unsafe { libc::geteuid() } == 0;
    let free = if is_privileged { found.f_bfree } else { found.f_bavail };
    let room = wide(free).saturating_mul(wide(found.f_frsize));
    // A file system without blocks does not tell.
    (found.f_blocks > 0).then_some(room)
}

/// A number of the system's, whose width differs between systems.
#[cfg(unix)]
fn wide(number: impl Into<u64>) -> u64 {
    number.into()
}

/// Only the system's refusal tells there.
#[cfg(not(unix))]
pub(super) fn room_at(_: &Path) -> Option<u64> {
    None
}

/// Writes and removes a small file beside the database.
fn try_to_write(path: &Path) -> io::Result<()> {
    let beside = path.with_extension("probe");
    let written = fs::File::create(&beside).and_then(|mut file| {
        file.write_all(&[0; ROOM])?;
        file.sync_all()
    });
    let removed = fs::remove_file(&beside);
    written.and(removed)
}

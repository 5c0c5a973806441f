//! The data folder: who may use it, and the small files in it that make a node the same node after a restart.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use p2pnet_shared::{clock::Mark, id::Hash};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::files;

/// The longest of the small files.
const MOST_FILE_BYTES: usize = 64 << 10;

/// The secret behind a node's id. Nothing shows it: it has no `Display`, and its `Debug` says only that there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Itself, for keys to be made of.
    pub fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// Reads 64 hexadecimal digits, which a hash has too; an editor may have added a line end.
    fn read(text: &str) -> Option<Self> {
        text.trim().parse::<Hash>().ok().map(|digits| Self(digits.0))
    }

    /// What [`Self::read`] reads.
    fn written(self) -> String {
        Hash(self.0).to_string()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// An open data folder; held by this process until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

/// Ports in use, kept so that `--port 0` finds the same ones again and addresses that others know stay good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ports {
    /// HTTP.
    pub port: u16,
    /// TCP and QUIC.
    pub p2p_port: u16,
    /// UDP for webrtc-direct.
    pub webrtc_port: u16,
}

impl DataFolder {
    /// Makes the folder if need be, and takes it for this process.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let unusable = |cause| StoreError::Folder { path: path.to_path_buf(), cause };
        make_private_folder(path).map_err(unusable)?;
        if path.join("lock").exists() {
            // One of ours, made by a version that did not think of it.
            close_to_others(path, 0o700);
        }
        let lock = private(OpenOptions::new().write(true).create(true).truncate(false))
            .open(path.join("lock"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {
                // Ours, too, and perhaps of a version that left them open.
                for name in ["lock", "identity", "webrtc.pem", "ports.toml"] {
                    close_to_others(&path.join(name), 0o600);
                }
                close_to_others(&path.join("compiled"), 0o700);
                Ok(Self { path: path.to_path_buf(), _lock: lock })
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_path_buf() }),
            Err(TryLockError::Error(cause)) => Err(unusable(cause)),
        }
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.path.join("p2pnet.sqlite")
    }

    /// Where engines keep compiled kernels.
    pub fn compiled(&self) -> PathBuf {
        self.path.join("compiled")
    }

    /// The secret behind the node's id; made at the first start. Readable by the owner only.
    pub fn identity(&self) -> Result<Secret, StoreError> {
        let path = self.path.join("identity");
        match self.read(&path)? {
            // What is there instead is not said: it may be most of a secret.
            Some(text) => Secret::read(&text).ok_or_else(|| damaged(&path, "it should hold 64 hexadecimal digits")),
            None => {
                let secret = Secret(rand::random());
                self.write(&path, secret.written().as_bytes())?;
                Ok(secret)
            }
        }
    }

    /// The certificate (PEM, with its key) behind the webrtc-direct address, if one was kept.
    pub fn certificate(&self) -> Result<Option<String>, StoreError> {
        let path = self.certificate_path();
        let pem = self.read(&path)?;
        match pem.as_deref().map(p2pnet_net::check_certificate) {
            None | Some(Ok(())) => Ok(pem),
            // The reason may quote the file, which holds a secret.
            Some(Err(_)) => Err(damaged(&path, "it should hold a certificate and its key in PEM")),
        }
    }

    /// Keeps the certificate.
    pub fn keep_certificate(&self, pem: &str) -> Result<(), StoreError> {
        self.write(&self.certificate_path(), pem.as_bytes())
    }

    /// Where the certificate lies, for messages.
    pub fn certificate_path(&self) -> PathBuf {
        self.path.join("webrtc.pem")
    }

    /// The ports of the last run; zeros when there was none.
    pub fn ports(&self) -> Result<Ports, StoreError> {
        let path = self.path.join("ports.toml");
        let Some(text) = self.read(&path)? else { return Ok(Ports::default()) };
        let ports = (!text.trim().is_empty()).then(|| toml::from_str(&text).ok()).flatten();
        ports.ok_or_else(|| damaged(&path, "it should hold port, p2p_port and webrtc_port"))
    }

    /// Keeps the ports. Writes nothing where they are the ones of before: a full disk is no reason not to start.
    pub fn keep_ports(&self, ports: Ports) -> Result<(), StoreError> {
        if self.ports().is_ok_and(|before| before == ports) {
            return Ok(());
        }
        let path = self.path.join("ports.toml");
        let text = toml::to_string(&ports)
            .map_err(|cause| StoreError::Folder { path: path.clone(), cause: io::Error::other(cause) })?;
        self.write(&path, text.as_bytes())
    }

    /// What the last run kept of its clocks ([`crate::host::go_on`]). A file that cannot be read counts as none: without
    /// it, time goes on by the wall clock.
    pub fn clock(&self) -> Option<Mark> {
        match self.read(&self.clock_path()) {
            Ok(text) => text.and_then(|text| toml::from_str(&text).ok()),
            Err(error) => {
                tracing::warn!(%error, "what the last run kept of its clock is not used");
                None
            }
        }
    }

    /// Keeps what the next run needs to go on with the time.
    pub fn keep_clock(&self, mark: &Mark) -> Result<(), StoreError> {
        let path = self.clock_path();
        let text = toml::to_string(mark)
            .map_err(|cause| StoreError::Folder { path: path.clone(), cause: io::Error::other(cause) })?;
        self.write(&path, text.as_bytes())
    }

    fn clock_path(&self) -> PathBuf {
        self.path.join("clock.toml")
    }

    /// A small file as text, if there is one.
    fn read(&self, path: &Path) -> Result<Option<String>, StoreError> {
        match files::read_text(path, MOST_FILE_BYTES) {
            Ok(text) => Ok(Some(text)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) if cause.kind() == io::ErrorKind::FileTooLarge => Err(damaged(path, "it should be short")),
            Err(cause) if cause.kind() == io::ErrorKind::InvalidData => Err(damaged(path, "it should hold text")),
            Err(cause) => Err(StoreError::Folder { path: path.to_path_buf(), cause }),
        }
    }

    /// Writes a whole file or nothing: a crash in between leaves the old one.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let beside = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file = private(OpenOptions::new().write(true).create(true).truncate(true)).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        };
        write().map_err(|cause| {
            // Half a file takes room and says nothing.
            let _ = fs::remove_file(&beside);
            StoreError::Folder { path: path.to_path_buf(), cause }
        })
    }
}

fn damaged(path: &Path, cause: &str) -> StoreError {
    StoreError::Damaged { path: path.to_path_buf(), cause: cause.to_owned() }
}

/// Files that only their owner may read, where the system knows that.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

/// Makes a folder, and those above it, that only their owner may enter; one that is there stays as it is.
pub(crate) fn make_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// Takes from a file or folder of ours what everybody else may do with it, and with that what its group may: what is open
/// to all was nobody's choice. One that is open to its group alone was somebody's, and stays so, as does a folder with
/// the sticky bit, which many share.
#[cfg(unix)]
pub(super) fn close_to_others(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(now) = fs::metadata(path).map(|file| file.permissions().mode()) else { return };
    if now & 0o007 == 0 || now & 0o1000 != 0 {
        return;
    }
    // Nothing is opened by that: a folder that its owner may not write stays so.
    if let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(now & mode)) {
        tracing::warn!(path = %path.display(), %error, "others on this machine may read this, and that cannot be changed");
    }
}

/// Who may read what is the system's own business there.
#[cfg(not(unix))]
pub(super) fn close_to_others(_: &Path, _: u32) {}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn new_path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("p2pnet-folder-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn identity_certificate_and_ports_stay_the_same() {
        let path = new_path("same");
        let folder = DataFolder::open(&path).unwrap();
        let secret = folder.identity().unwrap();
        assert_eq!(folder.certificate().unwrap(), None);
        let pem = p2pnet_net::new_certificate().unwrap();
        folder.keep_certificate(&pem).unwrap();
        let ports = Ports { port: 1, p2p_port: 2, webrtc_port: 3 };
        folder.keep_ports(ports).unwrap();
        drop(folder);
        let folder = DataFolder::open(&path).unwrap();
        assert_eq!(folder.identity().unwrap(), secret);
        assert_eq!(folder.certificate().unwrap().as_deref(), Some(&*pem));
        assert_eq!(folder.ports().unwrap(), ports);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(path.join("identity")).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::remove_dir_all(path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn folders_are_closed_to_others_and_what_many_share_is_left_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = new_path("private");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let folder = path.join("a").join("b");
        drop(DataFolder::open(&folder).unwrap());
        assert_eq!((mode(&path), mode(&folder), mode(&folder.join("lock"))), (0o700, 0o700, 0o600));
        for (before, after) in [(0o755, 0o700), (0o750, 0o750), (0o1777, 0o1777), (0o511, 0o500)] {
            set(&folder, before);
            drop(DataFolder::open(&folder).unwrap());
            assert_eq!(mode(&folder), after, "{before:o}");
        }
        let others = ["lock", "identity", "webrtc.pem", "ports.toml"];
        drop(DataFolder::open(&folder).unwrap());
        fs::create_dir(folder.join("compiled")).unwrap();
        for name in others {
            fs::write(folder.join(name), "").unwrap();
            set(&folder.join(name), 0o644);
        }
        set(&folder.join("compiled"), 0o755);
        drop(DataFolder::open(&folder).unwrap());
        assert!(others.iter().all(|name| mode(&folder.join(name)) == 0o600), "left open by an older version");
        assert_eq!(mode(&folder.join("compiled")), 0o700);
        let strange = path.join("strange");
        fs::create_dir(&strange).unwrap();
        set(&strange, 0o755);
        drop(DataFolder::open(&strange).unwrap());
        assert_eq!(mode(&strange), 0o755, "it was there before there was anything of ours in it");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn ports_that_stay_the_same_are_not_written_again() {
        let path = new_path("ports");
        let folder = DataFolder::open(&path).unwrap();
        let ports = Ports { port: 1, p2p_port: 2, webrtc_port: 3 };
        folder.keep_ports(ports).unwrap();
        // As on a full disk: nothing can be written there.
        fs::create_dir(path.join("ports.new")).unwrap();
        folder.keep_ports(ports).unwrap();
        assert!(folder.keep_ports(Ports { port: 9, ..ports }).is_err());
        assert_eq!(folder.ports().unwrap(), ports);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn the_clock_of_the_last_run_is_read_back_and_a_damaged_one_is_no_reason_not_to_start() {
        let path = new_path("clock");
        let folder = DataFolder::open(&path).unwrap();
        assert_eq!(folder.clock(), None);
        let mark = crate::host::mark();
        folder.keep_clock(&mark).unwrap();
        assert_eq!(folder.clock(), Some(mark));
        for rubbish in [&b""[..], b"boot = 7", b"\xff\x00", &[b' '; 100_000]] {
            fs::write(path.join("clock.toml"), rubbish).unwrap();
            assert_eq!(folder.clock(), None);
        }
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_folder_in_use_damaged_or_unusable_is_refused_in_a_sentence() {
        let path = new_path("refused");
        let first = DataFolder::open(&path).unwrap();
        let error = DataFolder::open(&path).unwrap_err().to_string();
        assert!(error.contains("in use by another p2pnet"), "{error}");
        for rubbish in [&b""[..], b"5ec2e7", b"\xff\x00\xfe", &[0; 4096], "5ec2e7 ключ".as_bytes()] {
            for name in ["identity", "webrtc.pem", "ports.toml"] {
                fs::write(path.join(name), rubbish).unwrap();
            }
            let errors = [
                first.identity().unwrap_err().to_string(),
                first.certificate().unwrap_err().to_string(),
                first.ports().unwrap_err().to_string(),
            ];
            for (error, name) in errors.iter().zip(["identity", "webrtc.pem", "ports.toml"]) {
                assert!(
                    error.contains(name) && error.contains("is damaged") && error.contains("move it away"),
                    "{error}"
                );
                assert!(!error.contains("5ec2e7"), "a secret is never printed: {error}");
                assert_eq!(fs::read(path.join(name)).unwrap(), rubbish, "it is not replaced");
            }
        }
        let error = DataFolder::open(&path.join("identity").join("below")).unwrap_err().to_string();
        assert!(error.contains("--data-dir") && error.contains("is a file") && !error.contains("exists"), "{error}");
        let error = DataFolder::open(&path.join("identity")).unwrap_err().to_string();
        assert!(error.contains("is a file") && !error.contains("writable"), "{error}");
        fs::remove_dir_all(path).unwrap();
    }
}

//! The data folder: who may use it, and the small files in it that make a node the same node after a restart.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use p2pnet_shared::id::Hash;
use serde::{Deserialize, Serialize};

use super::StoreError;

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
        fs::create_dir_all(path).map_err(unusable)?;
        let lock = private(OpenOptions::new().write(true).create(true).truncate(false))
            .open(path.join("lock"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_path_buf(), _lock: lock }),
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
    pub fn identity(&self) -> Result<[u8; 32], StoreError> {
        let path = self.path.join("identity");
        match self.read(&path)? {
            // 64 hexadecimal digits, as a hash has; an editor may have added a line end. What is there instead is not
            // said: it may be most of a secret.
            Some(text) => text
                .trim()
                .parse::<Hash>()
                .map(|secret| secret.0)
                .map_err(|_| damaged(&path, "it should hold 64 hexadecimal digits")),
            None => {
                let secret: [u8; 32] = rand::random();
                self.write(&path, Hash(secret).to_string().as_bytes())?;
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

    /// Keeps the ports.
    pub fn keep_ports(&self, ports: Ports) -> Result<(), StoreError> {
        let path = self.path.join("ports.toml");
        let text = toml::to_string(&ports)
            .map_err(|cause| StoreError::Folder { path: path.clone(), cause: io::Error::other(cause) })?;
        self.write(&path, text.as_bytes())
    }

    /// A small file as text, if there is one.
    fn read(&self, path: &Path) -> Result<Option<String>, StoreError> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) if cause.kind() == io::ErrorKind::InvalidData => Err(damaged(path, "it should hold text")),
            Err(cause) => Err(StoreError::Folder { path: path.to_path_buf(), cause }),
        }
    }

    /// Writes a whole file or nothing: a crash in between leaves the old one.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let write = || -> io::Result<()> {
            let beside = path.with_extension("new");
            let mut file = private(OpenOptions::new().write(true).create(true).truncate(true)).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        };
        write().map_err(|cause| StoreError::Folder { path: path.to_path_buf(), cause })
    }
}

fn damaged(path: &Path, cause: &str) -> StoreError {
    StoreError::Damaged { path: path.to_path_buf(), cause: cause.to_owned() }
}

/// Files that only their owner may read, where the system knows that.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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
        assert!(error.contains("--data-dir"), "{error}");
        fs::remove_dir_all(path).unwrap();
    }
}

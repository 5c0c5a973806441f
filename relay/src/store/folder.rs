//! The data folder: who may use it, and the small files in it that make a node the same node after a restart.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

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
        match fs::read_to_string(&path) {
            Ok(text) => text.parse::<p2pnet_shared::id::Hash>().map(|hash| hash.0).or_else(|_| {
                // 64 hexadecimal digits, as a hash has; an editor may have added a line end.
                text.trim().parse::<p2pnet_shared::id::Hash>().map(|hash| hash.0).map_err(|_| StoreError::Damaged {
                    path: path.clone(),
                    cause: "expected 64 hexadecimal digits".into(),
                })
            }),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let secret: [u8; 32] = rand::random();
                self.write(&path, p2pnet_shared::id::Hash(secret).to_string().as_bytes())?;
                Ok(secret)
            }
            Err(cause) => Err(StoreError::Folder { path, cause }),
        }
    }

    /// The certificate (PEM) behind the webrtc-direct address, if one was kept.
    pub fn certificate(&self) -> Result<Option<String>, StoreError> {
        let path = self.certificate_path();
        match fs::read_to_string(&path) {
            Ok(pem) => Ok(Some(pem)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StoreError::Folder { path, cause }),
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

    /// The ports of the last run; zeros when there was none or they cannot be read.
    pub fn ports(&self) -> Ports {
        fs::read_to_string(self.path.join("ports.toml"))
            .ok()
            .and_then(|text| toml::from_str(&text).ok())
            .unwrap_or_default()
    }

    /// Keeps the ports.
    pub fn keep_ports(&self, ports: Ports) -> Result<(), StoreError> {
        let path = self.path.join("ports.toml");
        let text = toml::to_string(&ports)
            .map_err(|cause| StoreError::Folder { path: path.clone(), cause: io::Error::other(cause) })?;
        self.write(&path, text.as_bytes())
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
        folder.keep_certificate("pem").unwrap();
        let ports = Ports { port: 1, p2p_port: 2, webrtc_port: 3 };
        folder.keep_ports(ports).unwrap();
        drop(folder);
        let folder = DataFolder::open(&path).unwrap();
        assert_eq!(folder.identity().unwrap(), secret);
        assert_eq!(folder.certificate().unwrap().as_deref(), Some("pem"));
        assert_eq!(folder.ports(), ports);
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
        fs::write(path.join("identity"), "not a key").unwrap();
        let error = first.identity().unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
        let error = DataFolder::open(&path.join("identity").join("below")).unwrap_err().to_string();
        assert!(error.contains("--data-dir"), "{error}");
        fs::remove_dir_all(path).unwrap();
    }
}

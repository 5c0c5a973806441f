//! What this process was told: command line, environment, file, default, in this order; and which of them won.
//!
//! Every setting has one name: `port` in the file, `--port` on the command line, `P2PNET_PORT` in the environment.

use std::{
    env, fmt,
    num::NonZeroU16,
    path::{Path, PathBuf},
    str::FromStr,
    thread,
};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    cli::output::aside,
    files,
    http::{browsers::Pages, owners, source::Trust},
};

mod environment;
mod misspelt;
mod table;
mod values;

use environment::{Environment, person_folder};
use table::Written;
pub use table::{Config, Flags};
use values::within;
pub use values::{read_host, read_port};

/// The most cores that a node says it lends.
const MOST_CORES: u16 = 1024;
/// The longest configuration file.
const MOST_FILE_BYTES: usize = 1 << 20;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An environment variable or a flag with a value that cannot be read.
    #[error("{name} is {value:?}: {why}")]
    Value {
        /// The variable or key.
        name: String,
        /// What it holds.
        value: String,
        /// What it should hold.
        why: String,
    },
    /// An environment variable whose value is not UTF-8. It may be a secret, so it is not shown.
    #[error("the environment variable {name} is not UTF-8 text: set it anew, or unset it")]
    NoText {
        /// The variable.
        name: String,
    },
    /// The file is not there, though it was named.
    #[error("the configuration file {path} cannot be read: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// The file is no TOML, or has a key that there is not.
    #[error("the configuration file {path} is not understood: {cause}")]
    Toml {
        /// Which.
        path: PathBuf,
        /// Line and reason.
        cause: String,
    },
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// This environment variable.
    Environment(String),
    /// This file.
    File(PathBuf),
    /// Built in.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag => f.write_str("command line"),
            Source::Environment(name) => write!(f, "environment {name}"),
            Source::File(path) => write!(f, "file {}", path.display()),
            Source::Default => f.write_str("default"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value in force.
    pub value: T,
    /// Who said so.
    pub source: Source,
}

/// How many cores to lend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// All but one, so that the machine stays usable; one on a machine with one.
    Auto,
    /// Every one.
    All,
    /// So many.
    Number(NonZeroU16),
}

impl Cores {
    /// The number for this machine.
    pub fn count(self) -> u16 {
        let machine = thread::available_parallelism().map_or(1, |n| u16::try_from(n.get()).unwrap_or(MOST_CORES));
        match self {
            Cores::Auto => machine.saturating_sub(1).clamp(1, MOST_CORES),
            Cores::All => machine.clamp(1, MOST_CORES),
            Cores::Number(n) => n.get().min(MOST_CORES),
        }
    }
}

impl FromStr for Cores {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Cores::Auto),
            "all" => Ok(Cores::All),
            number => number
                .parse::<NonZeroU16>()
                .ok()
                .filter(|n| n.get() <= MOST_CORES)
                .map(Cores::Number)
                .ok_or_else(|| format!("expected auto, all, or a number from 1 to {MOST_CORES}")),
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cores::Auto => f.write_str("auto"),
            Cores::All => f.write_str("all"),
            Cores::Number(n) => n.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Cores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Word(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(n) => n.to_string(),
            Written::Word(word) => word,
        };
        text.parse().map_err(D::Error::custom)
    }
}

/// A share of a core's time: 1 to 100 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Percent(pub u8);

impl TryFrom<u64> for Percent {
    type Error = String;
    fn try_from(number: u64) -> Result<Self, String> {
        u8::try_from(number)
            .ok()
            .filter(|n| (1..=100).contains(n))
            .map(Self)
            .ok_or_else(|| "expected a number from 1 to 100".to_owned())
    }
}

impl FromStr for Percent {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<u64>().map_err(|_| "expected a number from 1 to 100".to_owned())?.try_into()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One line of `p2pnet config`.
#[derive(Debug, Serialize)]
pub struct Line {
    /// The setting's name.
    pub name: &'static str,
    /// The value in force.
    pub value: String,
    /// Where it comes from.
    pub source: String,
}

impl Config {
    /// Puts the layers together for this process.
    pub fn read(flags: &Flags) -> Result<Self, ConfigError> {
        let config = Self::read_with(flags, &|name| env::var_os(name))?;
        let settings: Vec<&str> = config.lines().iter().map(|line| line.name).collect();
        let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        misspelt::warnings(names, &settings).into_iter().for_each(aside);
        Ok(config)
    }

    /// The same with a given environment.
    pub fn read_with(flags: &Flags, environment: Environment<'_>) -> Result<Self, ConfigError> {
        let named = match &flags.config {
            Some(path) => Some(path.clone()),
            None => environment::setting(environment, "P2PNET_CONFIG")?.map(PathBuf::from),
        };
        let path = named.clone().or_else(|| default_file(environment));
        let (written, path) = match path {
            Some(path) => (read_file(&path, named.is_some())?, path),
            None => (Written::default(), PathBuf::new()),
        };
        let config = Self::of(flags, &Layers { environment, path: &path }, written)?;
        config.check()?;
        Ok(config)
    }

    /// Refuses what can be read and not be used.
    fn check(&self) -> Result<(), ConfigError> {
        within("memory_mib", self.memory_mib.value, 16..=65_536, "MiB")?;
        within("keep_days", self.keep_days.value, 1..=36_500, "days")?;
        within("keep_mib", self.keep_mib.value, 1..=16_777_216, "MiB")?;
        is_token("admin_token", &self.admin_token)?;
        is_token("token", &self.token)?;
        let refused = |name: &str, setting: &Setting<Vec<String>>, why: String| ConfigError::Value {
            name: format!("{name} ({})", setting.source),
            value: setting.value.join(","),
            why,
        };
        let proxies = &self.trusted_proxies;
        Trust::read(&proxies.value).map_err(|text| {
            refused(
                "trusted_proxies",
                proxies,
                format!("{text:?} is no IP address, no network (10.0.0.0/8), and not none"),
            )
        })?;
        let origins = &self.allow_origins;
        Pages::read(&origins.value, &[]).map_err(|why| refused("allow_origins", origins, why))?;
        Ok(())
    }

    /// The data folder of a command (`relay`, `node`): as told, else below the person's own data folder.
    pub fn data_folder(&self, command: &str) -> PathBuf {
        data_folder(self.data_dir.value.as_deref(), command)
    }
}

fn data_folder(told: Option<&Path>, command: &str) -> PathBuf {
    let own = || person_folder(&|name| env::var_os(name), "XDG_DATA_HOME", ".local/share").join(command);
    told.map_or_else(own, Path::to_path_buf)
}

/// The folder that was told, or those of both commands.
fn data_folders(told: &Option<PathBuf>) -> String {
    let folder = |command| data_folder(told.as_deref(), command).display().to_string();
    if told.is_some() { folder("relay") } else { format!("{} (relay), {} (node)", folder("relay"), folder("node")) }
}

/// What lies below the command line.
struct Layers<'a> {
    environment: Environment<'a>,
    path: &'a Path,
}

impl Layers<'_> {
    fn pick<T>(
        &self,
        name: &str,
        flag: Option<T>,
        written: Option<T>,
        default: impl FnOnce() -> T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Setting<T>, ConfigError> {
        if let Some(value) = flag {
            return Ok(Setting { value, source: Source::Flag });
        }
        let variable = format!("P2PNET_{}", name.to_uppercase());
        if let Some(text) = environment::setting(self.environment, &variable)? {
            return match read(&text) {
                Ok(value) => Ok(Setting { value, source: Source::Environment(variable) }),
                Err(why) => Err(ConfigError::Value { name: variable, value: text, why }),
            };
        }
        Ok(match written {
            Some(value) => Setting { value, source: Source::File(self.path.to_path_buf()) },
            None => Setting { value: default(), source: Source::Default },
        })
    }
}

/// Refuses a secret that nobody could send, and does not repeat it.
fn is_token(name: &str, setting: &Setting<Option<String>>) -> Result<(), ConfigError> {
    if setting.value.as_deref().is_none_or(owners::is_token) {
        return Ok(());
    }
    let (least, most) = (owners::TOKEN_BYTES.start(), owners::TOKEN_BYTES.end());
    Err(ConfigError::Value {
        name: format!("{name} ({})", setting.source),
        value: "…".into(),
        why: format!("expected {least} to {most} visible ASCII characters without spaces"),
    })
}

fn read_file(path: &Path, must_exist: bool) -> Result<Written, ConfigError> {
    let text = match files::read_text(path, MOST_FILE_BYTES) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && !must_exist => return Ok(Written::default()),
        Err(cause) => return Err(ConfigError::File { path: path.to_path_buf(), cause }),
    };
    toml::from_str(&text).map_err(|cause| ConfigError::Toml { path: path.to_path_buf(), cause: plain(&cause) })
}

/// The reader's words, with numbers named as people do.
fn plain(cause: &toml::de::Error) -> String {
    let numbers =
        [("expected u16", "expected a whole number from 0 to 65535"), ("expected u32", "expected a whole number")];
    numbers.iter().fold(cause.to_string(), |text, (theirs, ours)| text.replace(theirs, ours))
}

fn default_file(environment: Environment<'_>) -> Option<PathBuf> {
    Some(person_folder(environment, "XDG_CONFIG_HOME", ".config").join("p2pnet.toml"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::{ffi::OsString, fs};

    use super::*;

    fn nothing(_: &str) -> Option<OsString> {
        None
    }

    fn in_file(text: &str) -> (PathBuf, Flags) {
        let path = env::temp_dir().join(format!("p2pnet-config-{}-{}.toml", std::process::id(), text.len()));
        fs::write(&path, text).unwrap();
        (path.clone(), Flags { config: Some(path), ..Flags::default() })
    }

    #[test]
    fn the_flag_beats_the_environment_beats_the_file_beats_the_default() {
        let (path, mut flags) = in_file("port = 1111\np2p_port = 2222\ncores = 3\n");
        flags.port = Some(9);
        let environment = |name: &str| match name {
            "P2PNET_PORT" => Some("7".into()),
            "P2PNET_P2P_PORT" => Some("8".into()),
            _ => None,
        };
        let config = Config::read_with(&flags, &environment).unwrap();
        assert_eq!((config.port.value, &config.port.source), (9, &Source::Flag));
        assert_eq!(config.p2p_port.value, 8);
        assert_eq!(config.p2p_port.source, Source::Environment("P2PNET_P2P_PORT".into()));
        assert_eq!(config.cores.value, Cores::Number(NonZeroU16::new(3).unwrap()));
        assert_eq!(config.cores.source, Source::File(path.clone()));
        assert_eq!((config.webrtc_port.value, config.webrtc_port.source), (5558, Source::Default));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn bad_values_are_named() {
        let environment = |name: &str| (name == "P2PNET_CPU_PERCENT").then(|| "0".into());
        let error = Config::read_with(&Flags::default(), &environment).unwrap_err().to_string();
        assert!(error.contains("P2PNET_CPU_PERCENT") && error.contains("1 to 100"), "{error}");
        for (name, value, wanted) in [
            ("P2PNET_PORT", "abc", "a port from 0 to 65535"),
            ("P2PNET_P2P_PORT", "70000", "a port from 0 to 65535"),
            ("P2PNET_KEEP_DAYS", "1.5", "a whole number"),
            ("P2PNET_PROVIDER", "yes", "true or false"),
            ("P2PNET_TRUSTED_PROXIES", "10.0.0.0/33", "\"10.0.0.0/33\" is no IP address"),
        ] {
            let environment = |asked: &str| (asked == name).then(|| value.into());
            let error = Config::read_with(&Flags::default(), &environment).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value) && error.contains(wanted), "{error}");
        }
        for (line, wanted) in [
            ("port = \"abc\"\n", "expected a whole number from 0 to 65535"),
            ("port = 70000\n", "expected a whole number from 0 to 65535"),
            ("trusted_proxies = [\"10.0.0.0/33\"]\n", "is no IP address"),
        ] {
            let (path, flags) = in_file(line);
            let error = Config::read_with(&flags, &nothing).unwrap_err().to_string();
            fs::remove_file(path).unwrap();
            assert!(error.contains(wanted) && error.contains(line.split(' ').next().unwrap()), "{error}");
        }
        let (path, flags) = in_file("prot = 1\n");
        let error = Config::read_with(&flags, &nothing).unwrap_err().to_string();
        assert!(error.contains("prot"), "{error}");
        fs::remove_file(&path).unwrap();
        let error = Config::read_with(&flags, &nothing).unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
    }

    #[test]
    fn lists_have_commas_in_the_environment_and_secrets_are_not_shown() {
        let environment = |name: &str| match name {
            "P2PNET_ALLOW_ORIGINS" => Some("https://a.example, https://b.example,".into()),
            "P2PNET_ADMIN_TOKEN" => Some("only-for-the-operator".into()),
            _ => None,
        };
        let config = Config::read_with(&Flags::default(), &environment).unwrap();
        assert_eq!(config.allow_origins.value, ["https://a.example", "https://b.example"]);
        assert!(config.lines().iter().all(|line| !line.value.contains("operator")));
        let environment = |name: &str| (name == "P2PNET_TOKEN").then(|| "hunter2".into());
        let error = Config::read_with(&Flags::default(), &environment).unwrap_err().to_string();
        assert!(error.contains("P2PNET_TOKEN") && error.contains("16") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_password_in_a_url_is_not_shown() {
        let environment = |name: &str| (name == "P2PNET_URL").then(|| "http://me:secret@a.example".into());
        let config = Config::read_with(&Flags::default(), &environment).unwrap();
        assert!(config.lines().iter().all(|line| !line.value.contains("secret")));
    }

    #[test]
    fn hosts_are_addresses_in_every_usual_form_and_names_of_this_machine() {
        for (text, address) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("[::1]", "::1"), ("[::]", "::")] {
            assert_eq!(read_host(text), Ok(address.parse().unwrap()), "{text}");
        }
        assert!(read_host("localhost").unwrap().is_loopback());
        for text in ["", "127.0.0.1:80", "[::1]:80", "http://localhost", "a b"] {
            assert!(read_host(text).unwrap_err().contains("IP address"), "{text}");
        }
        let (path, flags) = in_file("host = \"localhost\"\nbase_path = \"/p2pnet/\"\n");
        let config = Config::read_with(&flags, &nothing).unwrap();
        assert!(config.host.value.is_loopback());
        assert_eq!(config.base_path.value.as_str(), "/p2pnet");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn cores_are_words_or_numbers() {
        assert_eq!("auto".parse::<Cores>(), Ok(Cores::Auto));
        assert_eq!("all".parse::<Cores>(), Ok(Cores::All));
        assert!("0".parse::<Cores>().is_err() && "1025".parse::<Cores>().is_err() && "-1".parse::<Cores>().is_err());
        assert!(Cores::Auto.count() >= 1 && Cores::All.count() >= Cores::Auto.count());
    }
}

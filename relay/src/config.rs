//! What this process was told: command line, environment, file, default, in this order; and which of them won.
//!
//! Every setting has one name: `port` in the file, `--port` on the command line, `P2PNET_PORT` in the environment.

use std::{
    env, fmt,
    net::IpAddr,
    num::NonZeroU16,
    path::{Path, PathBuf},
    str::FromStr,
    thread,
};

use p2pnet_client::without_password;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    cli::output::aside,
    executor::Sandbox,
    files,
    http::{address::Base, browsers::Pages, owners, source::Trust},
};

mod environment;
mod misspelt;
mod values;

use environment::{Environment, person_folder};
use values::{list, truth, whole_number, within};
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

/// What the command line said; the same shape for every command, with the settings that the command has.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`: the file to read instead of the default one.
    pub config: Option<PathBuf>,
    /// `--host`
    pub host: Option<IpAddr>,
    /// `--base-path`
    pub base_path: Option<Base>,
    /// `--port`
    pub port: Option<u16>,
    /// `--p2p-port`
    pub p2p_port: Option<u16>,
    /// `--webrtc-port`
    pub webrtc_port: Option<u16>,
    /// `--external-address`, several times
    pub external_addresses: Option<Vec<String>>,
    /// `--host-name`, several times
    pub host_names: Option<Vec<String>>,
    /// `--allow-origin`, several times
    pub allow_origins: Option<Vec<String>>,
    /// `--trust-proxy`, several times
    pub trusted_proxies: Option<Vec<String>>,
    /// `--admin-token`
    pub admin_token: Option<String>,
    /// `--token`
    pub token: Option<String>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--no-provider` says `false`
    pub provider: Option<bool>,
    /// `--cores`
    pub cores: Option<Cores>,
    /// `--cpu-percent`
    pub cpu_percent: Option<Percent>,
    /// `--memory-mib`
    pub memory_mib: Option<u32>,
    /// `--sandbox`
    pub sandbox: Option<Sandbox>,
    /// `--keep-days`
    pub keep_days: Option<u32>,
    /// `--keep-mib`
    pub keep_mib: Option<u32>,
    /// `--relay`, `--url`
    pub url: Option<String>,
}

/// The file's keys.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    host: Option<String>,
    base_path: Option<Base>,
    port: Option<u16>,
    p2p_port: Option<u16>,
    webrtc_port: Option<u16>,
    external_addresses: Option<Vec<String>>,
    host_names: Option<Vec<String>>,
    allow_origins: Option<Vec<String>>,
    trusted_proxies: Option<Vec<String>>,
    admin_token: Option<String>,
    token: Option<String>,
    data_dir: Option<PathBuf>,
    provider: Option<bool>,
    cores: Option<Cores>,
    cpu_percent: Option<Percent>,
    memory_mib: Option<u32>,
    sandbox: Option<Sandbox>,
    keep_days: Option<u32>,
    keep_mib: Option<u32>,
    url: Option<String>,
}

/// Every setting, with its source.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address that HTTP and libp2p listen on.
    pub host: Setting<IpAddr>,
    /// The path below which page and API stand.
    pub base_path: Setting<Base>,
    /// HTTP port; 0 picks a free one and keeps it in the data folder.
    pub port: Setting<u16>,
    /// TCP and QUIC port of libp2p; 0 likewise.
    pub p2p_port: Setting<u16>,
    /// UDP port of webrtc-direct; 0 likewise.
    pub webrtc_port: Setting<u16>,
    /// IP addresses, host names or multiaddresses under which others reach this relay, beyond its own interfaces.
    pub external_addresses: Setting<Vec<String>>,
    /// Names by which this relay is asked where only its own network reaches it, as behind a proxy.
    pub host_names: Setting<Vec<String>>,
    /// Origins whose web pages may use the API; `*` is every one.
    pub allow_origins: Setting<Vec<String>>,
    /// Addresses and networks of proxies that are believed when they say for whom they ask; `none` is nobody.
    pub trusted_proxies: Setting<Vec<String>>,
    /// With this token one sees and stops every job.
    pub admin_token: Setting<Option<String>>,
    /// Whose jobs the command line sends and sees: those with this token.
    pub token: Setting<Option<String>>,
    /// The data folder; `None` means the default of the command.
    pub data_dir: Setting<Option<PathBuf>>,
    /// Whether a relay lends its own processor too.
    pub provider: Setting<bool>,
    /// Cores to lend.
    pub cores: Setting<Cores>,
    /// Share of each core's time.
    pub cpu_percent: Setting<Percent>,
    /// Memory that a task may use, in MiB; 16 to 65536.
    pub memory_mib: Setting<u32>,
    /// Where kernels run.
    pub sandbox: Setting<Sandbox>,
    /// For how many days results are kept; 1 to 36500.
    pub keep_days: Setting<u32>,
    /// How much disk finished jobs and their results may take in all, in MiB; 1 to 16777216.
    pub keep_mib: Setting<u32>,
    /// The relay that `node` joins and that `job` and `node list` ask.
    pub url: Setting<String>,
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
        let written_host = written
            .host
            .map(|text| read_host(&text).map_err(|why| ConfigError::Value { name: "host".into(), value: text, why }));
        let written_host = written_host.transpose()?;
        let layers = Layers { environment, path: &path };
        let memory_mib = layers.pick("memory_mib", flags.memory_mib, written.memory_mib, 1024, whole_number)?;
        within("memory_mib", memory_mib.value, 16..=65_536, "MiB")?;
        let keep_days = layers.pick("keep_days", flags.keep_days, written.keep_days, 7, whole_number)?;
        within("keep_days", keep_days.value, 1..=36_500, "days")?;
        let keep_mib = layers.pick("keep_mib", flags.keep_mib, written.keep_mib, 1024, whole_number)?;
        within("keep_mib", keep_mib.value, 1..=16_777_216, "MiB")?;
        let config = Self {
            host: layers.pick("host", flags.host, written_host, IpAddr::from([0, 0, 0, 0]), read_host)?,
            base_path: layers.pick(
                "base_path",
                flags.base_path.clone(),
                written.base_path,
                Base::default(),
                str::parse,
            )?,
            port: layers.pick("port", flags.port, written.port, 8080, read_port)?,
            p2p_port: layers.pick("p2p_port", flags.p2p_port, written.p2p_port, 5557, read_port)?,
            webrtc_port: layers.pick("webrtc_port", flags.webrtc_port, written.webrtc_port, 5558, read_port)?,
            external_addresses: layers.pick(
                "external_addresses",
                flags.external_addresses.clone(),
                written.external_addresses,
                Vec::new(),
                list,
            )?,
            host_names: layers.pick("host_names", flags.host_names.clone(), written.host_names, Vec::new(), list)?,
            allow_origins: layers.pick(
                "allow_origins",
                flags.allow_origins.clone(),
                written.allow_origins,
                Vec::new(),
                list,
            )?,
            trusted_proxies: layers.pick(
                "trusted_proxies",
                flags.trusted_proxies.clone(),
                written.trusted_proxies,
                vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
                list,
            )?,
            admin_token: layers.pick_token("admin_token", flags.admin_token.clone(), written.admin_token)?,
            token: layers.pick_token("token", flags.token.clone(), written.token)?,
            data_dir: layers.pick(
                "data_dir",
                flags.data_dir.clone().map(Some),
                written.data_dir.map(Some),
                None,
                |text| Ok(Some(PathBuf::from(text))),
            )?,
            provider: layers.pick("provider", flags.provider, written.provider, true, truth)?,
            cores: layers.pick("cores", flags.cores, written.cores, Cores::Auto, str::parse)?,
            cpu_percent: layers.pick(
                "cpu_percent",
                flags.cpu_percent,
                written.cpu_percent,
                Percent(100),
                str::parse,
            )?,
            memory_mib,
            sandbox: layers.pick("sandbox", flags.sandbox, written.sandbox, Sandbox::Process, str::parse)?,
            keep_days,
            keep_mib,
            url: layers.pick("url", flags.url.clone(), written.url, "http://localhost:8080".to_owned(), |text| {
                Ok(text.to_owned())
            })?,
        };
        config.check()?;
        Ok(config)
    }

    /// Refuses lists with something in them that the relay could not use.
    fn check(&self) -> Result<(), ConfigError> {
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
        match &self.data_dir.value {
            Some(path) => path.clone(),
            None => person_folder(&|name| env::var_os(name), "XDG_DATA_HOME", ".local/share").join(command),
        }
    }

    /// Every setting as text, for a person.
    pub fn lines(&self) -> Vec<Line> {
        fn line<T>(name: &'static str, setting: &Setting<T>, value: String) -> Line {
            Line { name, value, source: setting.source.to_string() }
        }
        let folder = match &self.data_dir.value {
            Some(path) => path.display().to_string(),
            None => format!(
                "{} (relay), {} (node)",
                self.data_folder("relay").display(),
                self.data_folder("node").display()
            ),
        };
        vec![
            line("host", &self.host, self.host.value.to_string()),
            line("base_path", &self.base_path, self.base_path.value.to_string()),
            line("port", &self.port, self.port.value.to_string()),
            line("p2p_port", &self.p2p_port, self.p2p_port.value.to_string()),
            line("webrtc_port", &self.webrtc_port, self.webrtc_port.value.to_string()),
            line("external_addresses", &self.external_addresses, self.external_addresses.value.join(",")),
            line("host_names", &self.host_names, self.host_names.value.join(",")),
            line("allow_origins", &self.allow_origins, self.allow_origins.value.join(",")),
            line("trusted_proxies", &self.trusted_proxies, self.trusted_proxies.value.join(",")),
            line("admin_token", &self.admin_token, hidden(&self.admin_token.value)),
            line("token", &self.token, hidden(&self.token.value)),
            line("data_dir", &self.data_dir, folder),
            line("provider", &self.provider, self.provider.value.to_string()),
            line("cores", &self.cores, format!("{} ({})", self.cores.value, self.cores.value.count())),
            line("cpu_percent", &self.cpu_percent, self.cpu_percent.value.to_string()),
            line("memory_mib", &self.memory_mib, self.memory_mib.value.to_string()),
            line("sandbox", &self.sandbox, self.sandbox.value.to_string()),
            line("keep_days", &self.keep_days, self.keep_days.value.to_string()),
            line("keep_mib", &self.keep_mib, self.keep_mib.value.to_string()),
            line("url", &self.url, without_password(&self.url.value)),
        ]
    }
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
        default: T,
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
            None => Setting { value: default, source: Source::Default },
        })
    }
}

impl Layers<'_> {
    /// A secret, which no message repeats.
    fn pick_token(
        &self,
        name: &str,
        flag: Option<String>,
        written: Option<String>,
    ) -> Result<Setting<Option<String>>, ConfigError> {
        let setting = self.pick(name, flag.map(Some), written.map(Some), None, |text| Ok(Some(text.to_owned())))?;
        if setting.value.as_deref().is_some_and(|token| !owners::is_token(token)) {
            return Err(ConfigError::Value {
                name: format!("{name} ({})", setting.source),
                value: "…".into(),
                why: format!(
                    "expected {} to {} visible ASCII characters without spaces",
                    owners::TOKEN_BYTES.start(),
                    owners::TOKEN_BYTES.end()
                ),
            });
        }
        Ok(setting)
    }
}

/// What is shown of a secret.
fn hidden(secret: &Option<String>) -> String {
    secret.as_ref().map(|_| "(set)".to_owned()).unwrap_or_default()
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
#[allow(clippy::unwrap_used)]
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

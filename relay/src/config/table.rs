//! Every setting, once: its name, what it is for, its type, its default, how it is read and how it is shown.
//!
//! From this table come what the command line can say ([`Flags`]), what the file can ([`Written`]), what is in force
//! ([`Config`]), and the lines of `p2pnet config`. The variable in the environment is `P2PNET_` and the name in capitals.

use std::{net::IpAddr, path::PathBuf};

use p2pnet_client::without_password;
use serde::Deserialize;

use super::{
    ConfigError, Cores, Layers, Line, Percent, Setting,
    values::{hidden, host_in_file, list, path, read_host, read_port, some, truth, whole_number},
};
use crate::{executor::Sandbox, http::address::Base};

/// Declares the settings. `flag` names the flag in the documentation, `read` reads the environment's text, `show` makes text for
/// a person of the configuration's value.
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        #[flag = $flag:literal]
        $(#[serde($written:meta)])?
        $name:ident: $type:ty = $default:expr, read $read:expr, show $show:expr;
    )+) => {
        /// What the command line said; the same shape for every command, with the settings that the command has.
        #[derive(Clone, Debug, Default)]
        pub struct Flags {
            /// `--config`: the file to read instead of the default one.
            pub config: Option<PathBuf>,
            $(
                #[doc = $flag]
                pub $name: Option<$type>,
            )+
        }

        /// The file's keys.
        #[derive(Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct Written {
            $(
                $(#[serde($written)])?
                $name: Option<$type>,
            )+
        }

        /// Every setting, with its source.
        #[derive(Clone, Debug)]
        pub struct Config {
            $(
                $(#[doc = $about])+
                pub $name: Setting<$type>,
            )+
        }

        impl Config {
            /// What is in force, of the first layer that says it.
            pub(super) fn of(flags: &Flags, layers: &Layers<'_>, written: Written) -> Result<Self, ConfigError> {
                Ok(Self {
                    $($name: layers.pick(stringify!($name), flags.$name.clone(), written.$name, || $default, $read)?,)+
                })
            }

            /// Every setting as text, for a person.
            pub fn lines(&self) -> Vec<Line> {
                fn shown<T>(value: &T, show: impl FnOnce(&T) -> String) -> String {
                    show(value)
                }
                vec![$(
                    Line {
                        name: stringify!($name),
                        value: shown(&self.$name.value, $show),
                        source: self.$name.source.to_string(),
                    },
                )+]
            }
        }
    };
}

settings! {
    /// Address that HTTP and libp2p listen on.
    #[flag = "`--host`"]
    #[serde(deserialize_with = "host_in_file")]
    host: IpAddr = IpAddr::from([0, 0, 0, 0]), read read_host, show ToString::to_string;

    /// The path below which page and API stand.
    #[flag = "`--base-path`"]
    base_path: Base = Base::default(), read str::parse, show ToString::to_string;

    /// HTTP port; 0 picks a free one and keeps it in the data folder.
    #[flag = "`--port`"]
    port: u16 = 8080, read read_port, show ToString::to_string;

    /// TCP and QUIC port of libp2p; 0 likewise.
    #[flag = "`--p2p-port`"]
    p2p_port: u16 = 5557, read read_port, show ToString::to_string;

    /// UDP port of webrtc-direct; 0 likewise.
    #[flag = "`--webrtc-port`"]
    webrtc_port: u16 = 5558, read read_port, show ToString::to_string;

    /// IP addresses, host names or multiaddresses under which others reach this relay, beyond its own interfaces.
    #[flag = "`--external-address`, several times"]
    external_addresses: Vec<String> = Vec::new(), read list, show |all| all.join(",");

    /// Names by which this relay is asked where only its own network reaches it, as behind a proxy.
    #[flag = "`--host-name`, several times"]
    host_names: Vec<String> = Vec::new(), read list, show |all| all.join(",");

    /// Origins whose web pages may use the API; `*` is every one.
    #[flag = "`--allow-origin`, several times"]
    allow_origins: Vec<String> = Vec::new(), read list, show |all| all.join(",");

    /// Addresses and networks of proxies that are believed when they say for whom they ask; `none` is nobody.
    #[flag = "`--trust-proxy`, several times"]
    trusted_proxies: Vec<String> = vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()], read list, show |all| all.join(",");

    /// With this token one sees and stops every job.
    #[flag = "`--admin-token`"]
    admin_token: Option<String> = None, read some, show hidden;

    /// Whose jobs the command line sends and sees: those with this token.
    #[flag = "`--token`"]
    token: Option<String> = None, read some, show hidden;

    /// The data folder; `None` means the default of the command.
    #[flag = "`--data-dir`"]
    data_dir: Option<PathBuf> = None, read path, show super::data_folders;

    /// Whether a relay lends its own processor too.
    #[flag = "`--no-provider` says `false`"]
    provider: bool = true, read truth, show ToString::to_string;

    /// Cores to lend.
    #[flag = "`--cores`"]
    cores: Cores = Cores::Auto, read str::parse, show |cores| format!("{cores} ({})", cores.count());

    /// Share of each core's time.
    #[flag = "`--cpu-percent`"]
    cpu_percent: Percent = Percent(100), read str::parse, show ToString::to_string;

    /// Memory that a task may use, in MiB; 16 to 65536.
    #[flag = "`--memory-mib`"]
    memory_mib: u32 = 1024, read whole_number, show ToString::to_string;

    /// Where kernels run.
    #[flag = "`--sandbox`"]
    sandbox: Sandbox = Sandbox::Process, read str::parse, show ToString::to_string;

    /// For how many days results are kept; 1 to 36500.
    #[flag = "`--keep-days`"]
    keep_days: u32 = 7, read whole_number, show ToString::to_string;

    /// How much disk finished jobs and their results may take in all, in MiB; 1 to 16777216.
    #[flag = "`--keep-mib`"]
    keep_mib: u32 = 1024, read whole_number, show ToString::to_string;

    /// The relay that `node` joins and that `job` and `node list` ask.
    #[flag = "`--relay`, `--url`"]
    url: String = "http://localhost:8080".to_owned(), read |text| Ok(text.to_owned()), show |url| without_password(url);
}

//! The command line: what can be typed, and which command it becomes.

pub mod config;
pub mod failure;
pub mod job;
pub mod job_fields;
pub mod job_list;
pub mod job_source;
pub mod json_text;
pub mod kinds;
pub mod node;
pub mod output;
pub mod terminal;
pub mod text;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use p2pnet_client::Client;
use p2pnet_net::dialects::Dialects;

use crate::{
    config::{Config, Cores, Flags, Percent, read_host, read_port},
    daemon,
    executor::Sandbox,
    http::address::Base,
    kernel,
};
use failure::Failure;

/// Computing power that people give each other: run a relay, lend a processor, send a job.
#[derive(Debug, Parser)]
#[command(name = "p2pnet", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// Configuration file (TOML) instead of the default one; also P2PNET_CONFIG.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Every setting may also stand in the environment (P2PNET_PORT, P2PNET_URL, …) or in the configuration file; \
`p2pnet config` shows which of them is in force. RUST_LOG sets what is logged (default: info).

Exit codes: 0 done, 1 failed here, 2 wrong usage, 3 refused by the relay, 4 relay not reachable or what answered is none, 5 job ended without a result.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a relay: web page, HTTP API, seed for browsers and native nodes, and its own provider.
    Relay(RelayArgs),
    /// Lend this machine's processor to a relay's network; or list nodes.
    Node(NodeArgs),
    /// Send jobs to a relay and look after them.
    Job(JobArgs),
    /// Show every setting in force and where it comes from.
    Config(ConfigArgs),
    /// Check and test a kernel or a WASI command, or see it as engines get it.
    Kernel(KernelArgs),
}

/// What a process lends.
#[derive(Debug, Args)]
pub struct LendingArgs {
    /// Cores to lend: auto (all but one), all, or a number.
    #[arg(long, value_name = "auto|all|N")]
    pub cores: Option<Cores>,
    /// Share of each lent core's time, 1 to 100.
    #[arg(long, value_name = "PERCENT")]
    pub cpu_percent: Option<Percent>,
    /// Memory that a task may use, in MiB.
    #[arg(long, value_name = "MIB")]
    pub memory_mib: Option<u32>,
    /// Where kernels run: in processes of their own behind fences, or in threads of this one. [default: process]
    #[arg(long, value_name = "process|thread")]
    pub sandbox: Option<Sandbox>,
}

/// `p2pnet relay`
#[derive(Debug, Args)]
pub struct RelayArgs {
    /// HTTP port of page and API; 0 picks a free one and keeps it. [default: 8080]
    #[arg(long, value_parser = read_port)]
    pub port: Option<u16>,
    /// TCP and QUIC port for native nodes; 0 picks a free one. [default: 5557]
    #[arg(long, value_parser = read_port)]
    pub p2p_port: Option<u16>,
    /// UDP port for browsers (webrtc-direct); 0 picks a free one. [default: 5558]
    #[arg(long, value_parser = read_port)]
    pub webrtc_port: Option<u16>,
    /// Address to listen on, or a name of this machine. [default: 0.0.0.0]
    #[arg(long, value_name = "ADDR", value_parser = read_host)]
    pub host: Option<IpAddr>,
    /// Path below which page and API stand, behind a proxy that shares its name with others. [default: /]
    #[arg(long, value_name = "PATH")]
    pub base_path: Option<Base>,
    /// An IP address, host name or multiaddress under which others reach this relay; may be given several times.
    #[arg(long = "external-address", value_name = "ADDR")]
    pub external_addresses: Vec<String>,
    /// A name by which this relay is asked, as behind a proxy; may be given several times.
    #[arg(long = "host-name", value_name = "NAME")]
    pub host_names: Vec<String>,
    /// An origin (https://name) whose web pages may use the API, or *; may be given several times.
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    pub allow_origins: Vec<String>,
    /// An address or network of proxies that are believed when they say for whom they ask, or none; may be given several
    /// times. [default: this machine]
    #[arg(long = "trust-proxy", value_name = "CIDR")]
    pub trusted_proxies: Vec<String>,
    /// With this token one sees and stops every job; better in P2PNET_ADMIN_TOKEN, where other users do not see it.
    #[arg(long, value_name = "TOKEN")]
    pub admin_token: Option<String>,
    /// Folder for identity, jobs and results.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// For how many days results are kept. [default: 7]
    #[arg(long, value_name = "DAYS")]
    pub keep_days: Option<u32>,
    /// How much disk finished jobs and their results may take in all; beyond, whoever holds most loses their oldest. [default: 1024]
    #[arg(long, value_name = "MIB")]
    pub keep_mib: Option<u32>,
    /// Do not lend this machine's own processor.
    #[arg(long)]
    pub no_provider: bool,
    /// What it lends.
    #[command(flatten)]
    pub lending: LendingArgs,
}

/// `p2pnet node …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct NodeArgs {
    /// `list`, or nothing to lend.
    #[command(subcommand)]
    pub command: Option<NodeCommand>,
    /// How to lend.
    #[command(flatten)]
    pub join: JoinArgs,
}

/// `p2pnet node` without a subcommand.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The relay to join. [default: http://localhost:8080]
    #[arg(long, value_name = "URL")]
    pub relay: Option<String>,
    /// Folder for this node's identity.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// What it lends.
    #[command(flatten)]
    pub lending: LendingArgs,
}

/// `p2pnet node list`
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List the nodes that a relay knows.
    List(AskArgs),
}

/// What every question to a relay has.
#[derive(Debug, Clone, Args)]
pub struct AskArgs {
    /// The relay to ask; also P2PNET_URL. [default: http://localhost:8080]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Your secret, at least 16 characters: jobs sent with it are seen and stopped only with it; also P2PNET_TOKEN.
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `p2pnet job list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The newest so many.
    #[arg(long, value_name = "N", conflicts_with = "all", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Every job that the relay keeps; without this and --limit the newest 1000.
    #[arg(long)]
    pub all: bool,
    /// Only jobs in this state: queued, running, verifying, completed, failed, cancelled or expired.
    #[arg(long)]
    pub state: Option<String>,
    /// Only jobs of this name.
    #[arg(long)]
    pub name: Option<String>,
    /// Only jobs with this label; may be given several times.
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    pub labels: Vec<String>,
    /// Where to ask.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// `p2pnet job …`
#[derive(Debug, Args)]
pub struct JobArgs {
    /// What to do with jobs.
    #[command(subcommand)]
    pub command: JobCommand,
}

/// What can be done with jobs.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Send a job.
    Run(Box<job_source::RunArgs>),
    /// List the kinds of jobs, or the fields of one.
    Kinds {
        /// The kind.
        kind: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List jobs, newest first.
    List(ListArgs),
    /// Show one job: state, progress, attempts, and why it waits.
    Describe {
        /// The job's id.
        id: String,
        /// Where to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Print a finished job's result.
    Get {
        /// The job's id.
        id: String,
        /// Wait for the job to end.
        #[arg(long)]
        wait: bool,
        /// Write the result to a file, `-` for standard output: of a kernel or program its bytes, else its JSON.
        #[arg(long, value_name = "FILE|-", conflicts_with = "json")]
        output: Option<PathBuf>,
        /// Where to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Stop a running job; a finished one is removed from the list.
    Stop {
        /// The job's id.
        id: String,
        /// Where to ask.
        #[command(flatten)]
        ask: AskArgs,
    },
}

/// `p2pnet config`
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `p2pnet kernel …`
#[derive(Debug, Args)]
pub struct KernelArgs {
    /// What to do with a kernel.
    #[command(subcommand)]
    pub command: KernelCommand,
}

/// What can be done with a kernel.
#[derive(Debug, Subcommand)]
pub enum KernelCommand {
    /// Say whether a file is a kernel or a command that every node takes, and its hash.
    Check {
        /// The WebAssembly file.
        file: PathBuf,
    },
    /// Write the bytes that engines get: gas, stack bound, canonical NaNs.
    Rewrite {
        /// The WebAssembly file.
        file: PathBuf,
        /// Where to write; without it only the sizes are shown.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Run a kernel or a command over cases, on wasmi and on wasmtime, and compare.
    #[command(after_help = TEST_HELP)]
    Test {
        /// The WebAssembly file.
        file: PathBuf,
        /// The folder with the cases.
        #[arg(default_value = "cases")]
        cases: PathBuf,
        /// Write down what came where a case does not say what should come.
        #[arg(long)]
        write: bool,
        /// How long one call may take on one engine.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        timeout_seconds: u64,
        /// Memory that a call may use, in MiB.
        #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=4096))]
        memory_mib: u32,
    },
}

const TEST_HELP: &str = "\
A case is an input and what should come of it, in files of one name:
  NAME.in    the input
  NAME.out   the output; of a command: its standard output
  NAME.args  arguments of a command, one a line
  NAME.err   a command's standard error
  NAME.exit  a command's exit code (0 if there is no such file)
  NAME.trap  how the call ends without an output: trapped, out_of_gas, out_of_memory, stack_overflow, broken_contract
It fails, with exit code 1, if anything comes otherwise, or if the engines differ in output, gas or trap.";

/// Carries a command out. What it returns is what the process ends with.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let file = Flags { config: cli.config, ..Flags::default() };
    match cli.command {
        Command::Relay(args) => {
            let flags = Flags {
                port: args.port,
                p2p_port: args.p2p_port,
                webrtc_port: args.webrtc_port,
                host: args.host,
                base_path: args.base_path,
                external_addresses: Some(args.external_addresses).filter(|list| !list.is_empty()),
                host_names: Some(args.host_names).filter(|list| !list.is_empty()),
                allow_origins: Some(args.allow_origins).filter(|list| !list.is_empty()),
                trusted_proxies: Some(args.trusted_proxies).filter(|list| !list.is_empty()),
                admin_token: args.admin_token.map(Some),
                data_dir: args.data_dir.map(Some),
                provider: args.no_provider.then_some(false),
                keep_days: args.keep_days,
                keep_mib: args.keep_mib,
                ..args.lending.into_flags(file)
            };
            daemon::relay::run(Config::read(&flags)?, Dialects::default()).await
        }
        Command::Node(NodeArgs { command: Some(NodeCommand::List(ask)), join: _ }) => {
            node::list(&ask.client(file)?, ask.json).await
        }
        Command::Node(NodeArgs { command: None, join }) => {
            let flags = Flags { url: join.relay, data_dir: join.data_dir.map(Some), ..join.lending.into_flags(file) };
            daemon::provider::run(Config::read(&flags)?).await
        }
        Command::Job(JobArgs { command }) => match command {
            JobCommand::Run(args) => job::run(&args.ask.client(file)?, &args).await,
            JobCommand::Kinds { kind, json } => kinds::show(kind.as_deref(), json),
            JobCommand::List(args) => job_list::list(&args.ask.client(file)?, &args).await,
            JobCommand::Describe { id, ask } => job::describe(&ask.client(file)?, &id, ask.json).await,
            JobCommand::Get { id, wait, output, ask } => {
                let form = job::Form::new(ask.json, output.as_deref());
                job::get(&ask.client(file)?, &id, wait, form).await
            }
            JobCommand::Stop { id, ask } => job::stop(&ask.client(file)?, &id, ask.json).await,
        },
        Command::Config(args) => config::show(&Config::read(&file)?, args.json),
        Command::Kernel(KernelArgs { command }) => match command {
            KernelCommand::Check { file } => kernel::check(&file),
            KernelCommand::Rewrite { file, output } => kernel::rewrite(&file, output.as_deref()),
            KernelCommand::Test { file, cases, write, timeout_seconds, memory_mib } => {
                let patience = Duration::from_secs(timeout_seconds);
                kernel::test(&kernel::Trial { file: &file, cases: &cases, write, patience, memory_mib })
            }
        },
    }
}

impl LendingArgs {
    fn into_flags(self, file: Flags) -> Flags {
        Flags {
            cores: self.cores,
            cpu_percent: self.cpu_percent,
            memory_mib: self.memory_mib,
            sandbox: self.sandbox,
            ..file
        }
    }
}

impl AskArgs {
    fn client(&self, file: Flags) -> Result<Client, Failure> {
        let flags = Flags { url: self.url.clone(), token: self.token.clone().map(Some), ..file };
        let config = Config::read(&flags)?;
        Ok(Client::telling(&config.url.value, |line| output::aside(line))?.with_token(config.token.value)?)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn node_is_a_command_and_a_family() {
        let lending = Cli::try_parse_from(["p2pnet", "node", "--relay", "http://a:1", "--cores", "2"]).unwrap();
        assert!(matches!(lending.command, Command::Node(NodeArgs { command: None, .. })));
        let list = Cli::try_parse_from(["p2pnet", "node", "list", "--url", "http://a:1"]).unwrap();
        assert!(matches!(list.command, Command::Node(NodeArgs { command: Some(NodeCommand::List(_)), .. })));
        assert!(Cli::try_parse_from(["p2pnet", "node", "--cores", "2", "list"]).is_err());
    }

    #[test]
    fn a_job_comes_from_one_place() {
        assert!(Cli::try_parse_from(["p2pnet", "job", "run"]).is_err());
        assert!(Cli::try_parse_from(["p2pnet", "job", "run", "{}", "--kind", "map"]).is_err());
        assert!(Cli::try_parse_from(["p2pnet", "job", "run", "-"]).is_ok());
        assert!(Cli::try_parse_from(["p2pnet", "job", "run", "--kind", "map", "--data", "[1]", "--map", "x"]).is_ok());
    }
}

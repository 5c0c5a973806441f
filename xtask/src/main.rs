//! The commands of this repository: `cargo xtask run`, `test`, `bench`, `screenshots`, ….
//!
//! Everything that a person or a machine needs to do with p2pnet's source goes through here, so that it works the same
//! everywhere and starts from nothing but rustup's toolchain and a C compiler.

mod bench;
mod beside;
#[cfg(test)]
mod deny;
mod docs;
mod drill;
mod fuzz;
mod kept;
mod kernels;
mod lint;
mod others;
mod page;
mod referee;
mod relay;
mod shell;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use lexopt::prelude::*;

const HELP: &str = "\
cargo xtask <command>

  run          Build everything, start a relay that also lends this machine, print its URL.
                 --port N        HTTP port (8080)
                 --no-provider   do not lend this machine
                 --data-dir D    where identity, certificate and jobs are kept (target/p2pnet-data)
                 --open          open the page in the default browser
  build        Build the page and target/release/p2pnet, which has the page inside.
  page         Build the page only, into dist/.
                 profile         learn in Chromium which functions do not run until a tab has done its
                                 first task, and rewrite web/later.txt, by which the page is split
  test         Every test, those in real Chromium included.
                 --only PART     lint, unit, kernels, referee, fuzz, compilers or e2e; may be given several
                                 times
                 --filter TEXT   only the tests in Chromium whose name contains TEXT
                 --cold          lint as it compiles: sooner where nothing is built yet
  bench        Measure; writes docs/benchmarks.md and target/bench/*.json.
                 NAME            only this one: tasks, latency, page, cpu or engines
                 [NAME] --beside PROGRAM  tasks or latency, by turns with another build's target/release/p2pnet; shown
                                 only
                 submissions RELAY…  how many jobs a second a relay takes; other relays too, by turns; shown only
                 engines TEXT    only the programs whose name contains TEXT, shown and not written
  drill        Does the relay keep what it promised?
                 kill            when it is killed at any moment
                 disk            when its disk fills up
                 --rounds N      how often (20 and 4, as the tests do)
  fuzz         Random modules, wasmi against wasmtime; a third of the time random programs, ours against wasmtime's WASI.
                 --minutes N     for how long
                 --modules N     or how many modules only
                 --programs N    or how many programs only
                 --seed S        the first seed (1)
  docs         Write docs/kinds.md and the README's table anew from what the kinds of jobs say of themselves.
  commands     Build the example commands anew into kernels/commands/built (needs clang and Zig).
  programs     Build those of the referee's programs anew that are kept built, into tests/referee/built (needs Emscripten,
               Zig and AssemblyScript).
  screenshots  Every page, both languages, both themes, desktop and phone, into target/screenshots/.
  help         This text.
";

fn main() -> ExitCode {
    if let Some(compiled) = lint::compile_if_asked() {
        return compiled;
    }
    match obey() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey() -> Result<()> {
    let mut args = lexopt::Parser::from_env();
    let command = match args.next()? {
        Some(Value(word)) => word.string()?,
        Some(Short('h') | Long("help")) | None => "help".to_owned(),
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "run" => relay::run(&run_options(&mut args)?),
        "build" => {
            nothing_more(&mut args)?;
            relay::build().map(drop)
        }
        "page" => match rest(&mut args)?.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => page::build(),
            ["profile"] => page::profile(),
            _ => bail!("the page can be built, or its profile taken: cargo xtask page [profile]"),
        },
        "test" => test::run(&test_options(&mut args)?),
        "bench" => bench::run(&rest(&mut args)?),
        "drill" => drill::run(&mut args),
        "fuzz" => fuzz::run(&rest(&mut args)?),
        "docs" => {
            nothing_more(&mut args)?;
            docs::run()
        }
        "commands" => {
            nothing_more(&mut args)?;
            kernels::build_commands()
        }
        "programs" => {
            nothing_more(&mut args)?;
            referee::build_kept()
        }
        // For Trunk.
        "pieces" => page::add_pieces(),
        "screenshots" => bench::screenshots(&rest(&mut args)?),
        "open-when-ready" => relay::open_when_ready(&rest(&mut args)?),
        "help" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => bail!("there is no command {unknown:?}\n\n{HELP}"),
    }
}

fn run_options(args: &mut lexopt::Parser) -> Result<relay::Options> {
    let mut options = relay::Options {
        port: 8080,
        provider: true,
        data_dir: workspace::target_dir().join("p2pnet-data"),
        open: false,
    };
    while let Some(arg) = args.next()? {
        match arg {
            Long("port") => options.port = args.value()?.parse()?,
            Long("no-provider") => options.provider = false,
            Long("data-dir") => options.data_dir = PathBuf::from(args.value()?),
            Long("open") => options.open = true,
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    Ok(options)
}

fn test_options(args: &mut lexopt::Parser) -> Result<test::Options> {
    let mut options = test::Options { parts: Vec::new(), filter: None, part_of_run: false, cold: false };
    while let Some(arg) = args.next()? {
        match arg {
            Long("only") => options.parts.push(test::Part::named(&args.value()?.string()?)?),
            // For itself: it runs some parts beside others.
            Long("part-of-run") => options.part_of_run = true,
            Long("filter") => options.filter = Some(args.value()?.string()?),
            Long("cold") => options.cold = true,
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    if options.cold && !options.parts.is_empty() {
        bail!("--cold lints what all of the tests compile, so it takes no --only");
    }
    Ok(options)
}

fn rest(args: &mut lexopt::Parser) -> Result<Vec<String>> {
    args.raw_args()?.map(|word| Ok(word.string()?)).collect()
}

fn nothing_more(args: &mut lexopt::Parser) -> Result<()> {
    match args.next()? {
        None => Ok(()),
        Some(other) => Err(other.unexpected().into()),
    }
}

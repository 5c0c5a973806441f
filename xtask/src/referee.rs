//! Has programs in every language compared with wasmtime's own WASI; `tests/referee` does the work.
//!
//! Where a compiler is at hand or quickly got, programs are built anew; the others are kept built, in
//! `tests/referee/built`. No language is ever left out: a compiler that cannot be had is a failure.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, bail};

use crate::{
    kept::Kept,
    relay::NATIVE,
    shell::{cargo, program, step, step_with_lines},
    tools, workspace,
};

/// What programs are written in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    C,
    Rust,
    Go,
    Zig,
    AssemblyScript,
    Emscripten,
}

/// Built whenever they are compared.
const BUILT_ANEW: [Language; 3] = [Language::C, Language::Rust, Language::Go];
/// Kept built: their compilers are hundreds of megabytes, or take longer than everything else here.
const KEPT: [Language; 3] = [Language::Zig, Language::AssemblyScript, Language::Emscripten];

/// The C programs that Emscripten builds as well. The others ask its own library for what only WASI's own has.
const WITH_EMSCRIPTEN: [&str; 7] = ["arguments", "depth", "drops", "ending", "flood", "gather", "ledger"];

/// A program in a language.
struct Source {
    path: PathBuf,
    name: String,
}

impl Language {
    /// Folder of its sources, and how their names end.
    fn folder(self) -> (&'static str, &'static str) {
        match self {
            Language::C | Language::Emscripten => ("c", "c"),
            Language::Rust => ("rust", "rs"),
            Language::Go => ("go", "go"),
            Language::Zig => ("zig", "zig"),
            Language::AssemblyScript => ("assemblyscript", "ts"),
        }
    }

    /// Its programs, in order.
    fn sources(self) -> Result<Vec<Source>> {
        let (folder, ending) = self.folder();
        let folder = referee_dir().join("programs").join(folder);
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut sources = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let taken = self != Language::Emscripten || WITH_EMSCRIPTEN.contains(&name.as_str());
            if taken && path.extension().is_some_and(|extension| extension == ending) {
                sources.push(Source { path, name });
            }
        }
        if sources.is_empty() {
            bail!("there is no program in {}", folder.display());
        }
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(sources)
    }

    /// What the files begin with that are built of one source, each in another way.
    fn prefixes(self) -> &'static [&'static str] {
        match self {
            Language::C => &["c"],
            Language::Rust => &["rust"],
            Language::Go => &["go"],
            Language::Zig => &["zig"],
            Language::AssemblyScript => &["assemblyscript"],
            Language::Emscripten => &["emscripten", "emscripten_growing"],
        }
    }
}

/// Getting what is needed from elsewhere, while cargo compiles.
pub(crate) struct Getting(JoinHandle<Result<()>>);

impl Getting {
    /// Waits until it is here.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.join().unwrap_or_else(|_| bail!("getting what the tests need came to no end"))
    }
}

/// Starts getting it: what the referee needs, a browser, and what the example commands in C need.
pub(crate) fn start_getting(referee: bool, browser: bool) -> Getting {
    Getting(thread::spawn(move || {
        // One after the other: Debian's packages are installed by one program at a time.
        tools::c_for_wasi()?;
        if referee {
            tools::wasmtime_for_python()?;
            tools::go()?;
        }
        if browser {
            tools::browser()?;
        }
        Ok(())
    }))
}

/// Builds the programs and compares them, and random ones as `random` says. `line` gets what is printed. The referee has
/// been built.
pub(crate) fn test(random: &[&str], mut line: impl FnMut(&str)) -> Result<()> {
    let programs = workspace::target_dir().join("referee/programs");
    // What was built before may be from a source that is gone.
    let _ = fs::remove_dir_all(&programs);
    fs::create_dir_all(&programs)?;
    let kept = kept()?;
    kept.check()?;
    for file in kept.files.iter().filter(|file| file.starts_with(built_dir())) {
        fs::copy(file, programs.join(file.file_name().unwrap_or_default()))?;
    }
    for language in BUILT_ANEW {
        build(language, &programs)?;
    }
    let mut referee = referee()?;
    referee.arg("--programs").arg(&programs);
    let ours = step_with_lines("comparing programs with wasmtime's own WASI", &mut referee, &mut line);
    // A difference in one kind says nothing about the other.
    match (ours, compare_random(random)) {
        (Ok(()), other) => other,
        (one, Ok(())) => one,
        (Err(one), Err(other)) => bail!("{one:#}; {other:#}"),
    }
}

/// Builds the referee and compares random programs; `words` say how many.
pub(crate) fn random<Word: AsRef<std::ffi::OsStr>>(words: &[Word]) -> Result<()> {
    build_it()?;
    compare_random(words)
}

/// Builds the referee.
pub(crate) fn build_it() -> Result<()> {
    step("building the referee", cargo().args(["build", "--locked", "--release", "--bin", "referee"]).args(NATIVE))
}

fn compare_random<Word: AsRef<std::ffi::OsStr>>(words: &[Word]) -> Result<()> {
    step("comparing random programs with wasmtime's own WASI", referee()?.args(words))
}

/// `cargo xtask programs`: builds the kept programs anew.
pub(crate) fn build_kept() -> Result<()> {
    let _ = fs::remove_dir_all(built_dir());
    fs::create_dir_all(built_dir())?;
    for language in KEPT {
        build(language, &built_dir())?;
    }
    kept()?.note()
}

/// The referee, with wasmtime's WASI to ask.
fn referee() -> Result<Command> {
    let wasi = tools::wasmtime_for_python()?;
    let mut referee = program(&workspace::built("referee").to_string_lossy());
    referee.env("PYTHONPATH", wasi).args(["--wasi", "python3"]);
    Ok(referee)
}

fn referee_dir() -> PathBuf {
    workspace::root().join("tests/referee")
}

fn built_dir() -> PathBuf {
    referee_dir().join("built")
}

fn file_of(prefix: &str, source: &Source) -> String {
    format!("{prefix}-{}.wasm", source.name)
}

/// The kept programs, each source with what was built from it.
fn kept() -> Result<Kept<'static>> {
    let mut files = Vec::new();
    for language in KEPT {
        for source in language.sources()? {
            let built: Vec<_> =
                language.prefixes().iter().map(|prefix| built_dir().join(file_of(prefix, &source))).collect();
            files.push(source.path);
            files.extend(built);
        }
    }
    Ok(Kept { folder: referee_dir(), files, command: "cargo xtask programs" })
}

/// Builds what is written in a language, each source into `prefix-program.wasm`.
fn build(language: Language, into: &Path) -> Result<()> {
    let compiler = compiler(language)?;
    for source in language.sources()? {
        for prefix in language.prefixes() {
            let output = into.join(file_of(prefix, &source));
            let what = format!("building {} in {prefix}", source.name);
            step(&what, &mut compiler(prefix, &source.path, &output))?;
        }
    }
    Ok(())
}

/// How a source becomes a file, by the file's prefix.
type Compiler = Box<dyn Fn(&str, &Path, &Path) -> Command>;

fn compiler(language: Language) -> Result<Compiler> {
    let caches = workspace::target_dir().join("referee/caches");
    Ok(match language {
        Language::C => {
            tools::c_for_wasi()?;
            Box::new(|_, source, output| {
                let mut clang = program("clang");
                clang.args(["--target=wasm32-wasi", "-O2", "-Wall", "-Wextra", "-Werror", "-Wl,--strip-all"]);
                clang.arg(source).arg("-o").arg(output).arg("-lm");
                clang
            })
        }
        Language::Rust => {
            tools::target("wasm32-wasip1")?;
            Box::new(|_, source, output| {
                let mut rustc = program("rustc");
                rustc.args(["--edition", "2024", "--target", "wasm32-wasip1", "-O", "-C", "strip=symbols"]);
                rustc.arg(source).arg("-o").arg(output);
                rustc
            })
        }
        Language::Go => {
            let go = tools::go()?;
            Box::new(move |_, source, output| {
                let mut command = program(&go.to_string_lossy());
                command.env("GOOS", "wasip1").env("GOARCH", "wasm").env("GOTOOLCHAIN", "local").env("GOFLAGS", "");
                command.env("GOCACHE", caches.join("go")).env("GOPATH", caches.join("go-path"));
                command.args(["build", "-trimpath", "-ldflags=-s -w", "-o"]).arg(output).arg(source);
                command
            })
        }
        Language::Zig => {
            let zig = tools::zig()?;
            Box::new(move |_, source, output| {
                let mut command = program(&zig.to_string_lossy());
                command.arg("build-exe").arg(source);
                command.args(["-target", "wasm32-wasi", "-O", "ReleaseSmall", "-fstrip"]);
                let cache = caches.join("zig");
                command.arg("--cache-dir").arg(&cache).arg("--global-cache-dir").arg(&cache);
                command.arg(format!("-femit-bin={}", output.display()));
                command
            })
        }
        Language::AssemblyScript => {
            let (compiler, packages) = tools::assemblyscript()?;
            Box::new(move |_, source, output| {
                // It looks for packages from where it is started.
                let mut asc = program(&compiler.to_string_lossy());
                asc.current_dir(&packages).arg(source).arg("-O");
                asc.args(["--config", "node_modules/@assemblyscript/wasi-shim/asconfig.json"]).arg("-o").arg(output);
                asc
            })
        }
        Language::Emscripten => {
            let emcc = tools::emscripten()?;
            Box::new(move |prefix, source, output| {
                let mut command = program(&emcc.to_string_lossy());
                command.args(["-O2", "-sSTANDALONE_WASM"]);
                if prefix == "emscripten_growing" {
                    command.arg("-sALLOW_MEMORY_GROWTH");
                }
                command.arg(source).arg("-o").arg(output);
                command
            })
        }
    })
}

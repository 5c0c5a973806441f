//! Builds programs in every language and has them compared with wasmtime's own WASI; `tests/referee` does the work.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    relay::NATIVE,
    shell::{cargo, program, step, step_with_lines},
    tools, workspace,
};

/// What programs are written in.
#[derive(Clone, Copy)]
enum Language {
    C,
    Rust,
    Go,
    Zig,
    AssemblyScript,
    Emscripten,
}

const LANGUAGES: [Language; 6] =
    [Language::C, Language::Rust, Language::Go, Language::Zig, Language::AssemblyScript, Language::Emscripten];

/// The C programs that Emscripten builds as well. The others ask its own library for what only WASI's own has.
const WITH_EMSCRIPTEN: [&str; 7] = ["arguments", "depth", "drops", "ending", "flood", "gather", "ledger"];

impl Language {
    /// For messages.
    fn name(self) -> &'static str {
        match self {
            Language::C => "C",
            Language::Rust => "Rust",
            Language::Go => "Go",
            Language::Zig => "Zig",
            Language::AssemblyScript => "AssemblyScript",
            Language::Emscripten => "Emscripten",
        }
    }

    /// Folder of its sources, and how their names end.
    fn sources(self) -> (&'static str, &'static str) {
        match self {
            Language::C | Language::Emscripten => ("c", "c"),
            Language::Rust => ("rust", "rs"),
            Language::Go => ("go", "go"),
            Language::Zig => ("zig", "zig"),
            Language::AssemblyScript => ("assemblyscript", "ts"),
        }
    }
}

/// Builds the programs and compares them. A language whose compiler cannot be had is named; with `CI` set that is a
/// failure. `line` gets what is printed.
pub fn test(line: impl FnMut(&str)) -> Result<()> {
    let wasi = tools::wasmtime_for_python()?;
    let referee = build_referee()?;
    let into = workspace::target_dir().join("referee/programs");
    // What was built before may be from a source that is gone.
    let _ = fs::remove_dir_all(&into);
    fs::create_dir_all(&into)?;
    let mut missing = Vec::new();
    for language in LANGUAGES {
        if let Err(error) = build(language, &into) {
            eprintln!("   NOT COMPARED: programs in {}: {error:#}", language.name());
            missing.push(language.name());
        }
    }
    let compared = step_with_lines(
        "comparing programs with wasmtime's own WASI",
        program(&referee.to_string_lossy()).arg("--wasi").arg(&wasi).arg("--programs").arg(&into),
        line,
    );
    let missing = missing.join(", ");
    match (compared, missing.is_empty()) {
        (Err(error), true) => Err(error),
        (Err(error), false) => bail!("{error:#}; and no program was compared in {missing}"),
        (Ok(()), false) if env::var_os("CI").is_some() => bail!("no program was compared in {missing}"),
        (Ok(()), false) => {
            println!("no program was compared in {missing}: their compilers cannot be had here");
            Ok(())
        }
        (Ok(()), true) => Ok(()),
    }
}

/// Compares random programs; `words` say how many.
pub fn random(words: &[String]) -> Result<()> {
    let (wasi, referee) = (tools::wasmtime_for_python()?, build_referee()?);
    step(
        "comparing random programs with wasmtime's own WASI",
        program(&referee.to_string_lossy()).arg("--wasi").arg(wasi).args(words),
    )
}

fn build_referee() -> Result<PathBuf> {
    step("building the referee", cargo().args(["build", "--locked", "--release", "--bin", "referee"]).args(NATIVE))?;
    Ok(workspace::built("referee"))
}

/// Builds what is written in a language, each file into `language-program.wasm`.
fn build(language: Language, into: &Path) -> Result<()> {
    let (folder, ending) = language.sources();
    let folder = workspace::root().join("tests/referee/programs").join(folder);
    let mut sources: Vec<PathBuf> = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    sources.retain(|source| source.extension().is_some_and(|extension| extension == ending));
    sources.sort();
    let compilers = compilers(language)?;
    for source in &sources {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if matches!(language, Language::Emscripten) && !WITH_EMSCRIPTEN.contains(&name.as_str()) {
            continue;
        }
        for compiler in &compilers {
            let output = into.join(format!("{}-{name}.wasm", compiler.prefix));
            let what = format!("building {name} in {}", compiler.prefix);
            step(&what, &mut (compiler.command)(source, &output))?;
        }
    }
    Ok(())
}

/// One way to build a program.
struct Compiler {
    /// Of the built file's name.
    prefix: &'static str,
    /// From a source to a file.
    command: Box<dyn Fn(&Path, &Path) -> Command>,
}

fn compilers(language: Language) -> Result<Vec<Compiler>> {
    let one = |prefix, command: Box<dyn Fn(&Path, &Path) -> Command>| Ok(vec![Compiler { prefix, command }]);
    let caches = workspace::target_dir().join("referee/caches");
    match language {
        Language::C => {
            tools::c_for_wasi()?;
            one(
                "c",
                Box::new(|source, output| {
                    let mut clang = program("clang");
                    clang.args(["--target=wasm32-wasi", "-O2", "-Wall", "-Wextra", "-Werror", "-Wl,--strip-all"]);
                    clang.arg(source).arg("-o").arg(output).arg("-lm");
                    clang
                }),
            )
        }
        Language::Rust => {
            tools::target("wasm32-wasip1")?;
            one(
                "rust",
                Box::new(|source, output| {
                    let mut rustc = program("rustc");
                    rustc.args(["--edition", "2024", "--target", "wasm32-wasip1", "-O", "-C", "strip=symbols"]);
                    rustc.arg(source).arg("-o").arg(output);
                    rustc
                }),
            )
        }
        Language::Go => {
            let go = tools::go()?;
            one(
                "go",
                Box::new(move |source, output| {
                    let mut command = program(&go.to_string_lossy());
                    command
                        .env("GOOS", "wasip1")
                        .env("GOARCH", "wasm")
                        .env("GOTOOLCHAIN", "local")
                        .env("GOFLAGS", "-mod=mod");
                    command.env("GOCACHE", caches.join("go")).env("GOPATH", caches.join("go-path"));
                    command.args(["build", "-trimpath", "-ldflags=-s -w", "-o"]).arg(output).arg(source);
                    command
                }),
            )
        }
        Language::Zig => {
            let zig = tools::zig()?;
            one(
                "zig",
                Box::new(move |source, output| {
                    let mut command = program(&zig.to_string_lossy());
                    command.arg("build-exe").arg(source).args([
                        "-target",
                        "wasm32-wasi",
                        "-O",
                        "ReleaseSmall",
                        "-fstrip",
                    ]);
                    let cache = caches.join("zig");
                    command.arg("--cache-dir").arg(&cache).arg("--global-cache-dir").arg(&cache);
                    command.arg(format!("-femit-bin={}", output.display()));
                    command
                }),
            )
        }
        Language::AssemblyScript => {
            let (compiler, packages) = tools::assemblyscript()?;
            one(
                "assemblyscript",
                Box::new(move |source, output| {
                    let mut asc = program(&compiler.to_string_lossy());
                    asc.arg(source)
                        .args(["-O", "--config"])
                        .arg(packages.join("@assemblyscript/wasi-shim/asconfig.json"));
                    asc.arg("-o").arg(output);
                    asc
                }),
            )
        }
        Language::Emscripten => {
            let emcc = tools::emscripten()?;
            let with = |prefix, more: &'static [&'static str]| {
                let emcc = emcc.clone();
                let command: Box<dyn Fn(&Path, &Path) -> Command> = Box::new(move |source, output| {
                    let mut command = program(&emcc.to_string_lossy());
                    command.args(["-O2", "-sSTANDALONE_WASM"]).args(more).arg(source).arg("-o").arg(output);
                    command
                });
                Compiler { prefix, command }
            };
            Ok(vec![with("emscripten", &[]), with("emscripten_growing", &["-sALLOW_MEMORY_GROWTH"])])
        }
    }
}

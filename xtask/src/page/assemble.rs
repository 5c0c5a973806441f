//! Puts the page together: its programs, what `index.html` names, and an index with the names that all that got. A file's name
//! holds a hash of its content, so that browsers may keep it for ever.

use std::{
    fs,
    hash::{DefaultHasher, Hasher},
    path::Path,
};

use anyhow::{Context, Result, bail};

use super::{
    PAGE, PIECES,
    bind::{bind, bind_with_names},
    files_under,
    split::split,
};
use crate::workspace;

/// With what an element begins that Trunk takes out and puts something else in place of.
const ASSET: &str = "<link data-trunk";

/// What stands in a program's name until its content is known.
const UNHASHED: &str = "0000000000000000";

/// Puts the page into a folder, which is emptied.
pub(super) fn page(folder: &Path, programs: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let source = fs::read_to_string(workspace::root().join("index.html")).context("cannot read index.html")?;
    let mut index = String::new();
    for line in source.lines() {
        match line.trim_start().strip_prefix(ASSET) {
            Some(asset) => index.push_str(&put(asset, folder, programs)?),
            None => index.push_str(line),
        }
        index.push('\n');
    }
    let index = with_pieces(&index, folder, programs)?;
    fs::write(folder.join("index.html"), index).context("cannot write the page's index")
}

/// The index with the addresses of the pieces in it, which are put into a folder.
pub(super) fn with_pieces(index: &str, folder: &Path, programs: &Path) -> Result<String> {
    let mut added = String::new();
    for piece in PIECES {
        let name = named(&format!("p2pnet-{piece}"), folder, programs)?;
        added.push_str(&format!("<meta name=\"p2pnet-{piece}\" content=\"/{name}.js\" />\n"));
        // Whoever lends needs it at once, and it comes while the page itself does.
        if *piece == "worker" {
            added.push_str(&preloaded(&name));
        }
    }
    let (before, after) = index.split_once("</head>").context("index.html has no </head>")?;
    Ok(format!("{before}{added}</head>{after}"))
}

/// The index that Trunk made, with the page's program in parts where it has it whole.
pub(super) fn in_parts(index: &str, folder: &Path, programs: &Path) -> Result<String> {
    let (_, after) =
        index.split_once(&format!("/{PAGE}-")).context("Trunk's index does not name the page's program")?;
    let (hash, _) = after.split_once('.').context("Trunk's index names a program without an ending")?;
    let whole = format!("{PAGE}-{}", hash.trim_end_matches("_bg"));
    for file in files_under(folder)? {
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&whole)) {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    Ok(index.replace(&whole, &named(PAGE, folder, programs)?))
}

/// Puts what an element names into a folder; gives the elements that stand in its place.
fn put(asset: &str, folder: &Path, programs: &Path) -> Result<String> {
    let attribute = |name: &str| {
        let (_, rest) = asset.split_once(&format!(" {name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    let of = |name: &str| attribute(name).with_context(|| format!("{ASSET}{asset} has no {name}"));
    match of("rel")? {
        "css" => {
            let name = hashed(&workspace::root().join(of("href")?), folder)?;
            Ok(format!("<link rel=\"stylesheet\" href=\"/{name}\" />"))
        }
        "copy-dir" => {
            let (from, into) = (workspace::root().join(of("href")?), folder.join(of("data-target-path")?));
            for file in files_under(&from)? {
                let place = into.join(file.strip_prefix(&from)?);
                fs::create_dir_all(place.parent().unwrap_or(&into))?;
                fs::copy(&file, &place).with_context(|| format!("cannot copy {}", file.display()))?;
            }
            Ok(String::new())
        }
        "rust" => {
            let name = named(PAGE, folder, programs)?;
            let start = format!("import init from '/{name}.js';\nawait init({{ module_or_path: '/{name}_bg.wasm' }});");
            Ok(format!("{}<script type=\"module\">\n{start}\n</script>", preloaded(&name)))
        }
        other => bail!("index.html asks for what is not known here: {other}"),
    }
}

/// What has the browser fetch a program before anything asks for it.
fn preloaded(name: &str) -> String {
    format!(
        "<link rel=\"modulepreload\" href=\"/{name}.js\" />\n\
         <link rel=\"preload\" href=\"/{name}_bg.wasm\" as=\"fetch\" type=\"application/wasm\" crossorigin />\n"
    )
}

/// Puts a program into a folder; gives its name without an ending.
fn named(program: &str, folder: &Path, programs: &Path) -> Result<String> {
    let compiled = programs.join(format!("{program}.wasm"));
    let (made, unhashed) = (folder.join("made"), format!("{program}-{UNHASHED}"));
    if program == PAGE {
        bind_with_names(&compiled, &made, &unhashed)?;
        split(&compiled, &made, &unhashed)?;
    } else {
        bind(&compiled, &made, &unhashed)?;
    }
    let files = files_under(&made)?.into_iter().map(|file| Ok((fs::read(&file)?, file)));
    let files: Vec<_> = files.collect::<Result<_>>()?;
    let name = format!("{program}-{}", hash(files.iter().map(|(bytes, _)| &bytes[..])));
    for (bytes, file) in files {
        let into = folder.join(file.file_name().unwrap_or_default().to_string_lossy().replace(&unhashed, &name));
        fs::write(&into, replaced(bytes, &unhashed, &name))
            .with_context(|| format!("cannot write {}", into.display()))?;
    }
    fs::remove_dir_all(&made).context("cannot tidy up")?;
    Ok(name)
}

/// With one word in place of another that is as long, in scripts and programs alike.
fn replaced(mut bytes: Vec<u8>, word: &str, instead: &str) -> Vec<u8> {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(word.len()).position(|window| window == word.as_bytes()) {
        at += found;
        bytes[at..at + word.len()].copy_from_slice(instead.as_bytes());
    }
    bytes
}

/// Copies a file into a folder; gives the name that it has there.
fn hashed(file: &Path, folder: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let name = format!("{}-{}.{}", part(file.file_stem()), hash([&bytes[..]]), part(file.extension()));
    fs::write(folder.join(&name), bytes).with_context(|| format!("cannot write {name}"))?;
    Ok(name)
}

fn hash<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = DefaultHasher::new();
    contents.into_iter().for_each(|bytes| hasher.write(bytes));
    format!("{:016x}", hasher.finish())
}

//! The house's habits, as far as a machine can see them: what a reviewer would otherwise have to look for in every change.
//!
//! `cargo xtask test --only lint` runs this first, since it takes a fraction of a second. What is said of a file is said with its
//! line and with what to do; exceptions stand in [`lists`], each with its reason, and one that is needed no longer is a
//! complaint too.

mod commits;
mod crates;
mod files;
mod lists;
mod rust;
mod source;
#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests;
mod versions;

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result, bail};

use crate::{
    shell::{answer, program, took},
    workspace,
};

/// A file of the repository.
struct File {
    /// From the top of the repository, with `/`.
    path: String,
    bytes: Vec<u8>,
}

impl File {
    fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok().filter(|text| !text.contains('\0'))
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Checks all of it, and says everything that is wrong at once.
pub(crate) fn run() -> Result<()> {
    let began = Instant::now();
    eprintln!("=> checking the habits");
    let files = repository()?;
    let mut complaints = files::check(&files);
    complaints.extend(rust::check(&files));
    complaints.extend(versions::check(&files));
    complaints.extend(crates::check(&files));
    complaints.extend(commits::check(&commits::since_the_rule()));
    for complaint in &complaints {
        eprintln!("   {complaint}");
    }
    if !complaints.is_empty() {
        bail!("checking the habits: {} complaints", complaints.len());
    }
    took("checking the habits", began.elapsed());
    Ok(())
}

/// What is in the repository, or would be after `git add .`; without git, what lies here and was not built.
fn repository() -> Result<Vec<File>> {
    let mut git = program("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let mut paths: Vec<String> = match answer(&mut git) {
        Some(listed) if !listed.is_empty() => {
            listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect()
        }
        Some(_) | None => {
            let mut found = Vec::new();
            lying_below(workspace::root(), "", &mut found)?;
            found
        }
    };
    paths.sort_unstable();
    paths.dedup();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        // Removed and not committed yet, or a link.
        let full = workspace::root().join(&path);
        if !fs::symlink_metadata(&full).is_ok_and(|meta| meta.is_file()) {
            continue;
        }
        let bytes = fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        files.push(File { path, bytes });
    }
    Ok(files)
}

fn lying_below(folder: &Path, name: &str, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let own = entry.file_name();
        let Some(own) = own.to_str().filter(|own| !lists::BUILT.contains(own)) else { continue };
        let path = if name.is_empty() { own.to_owned() } else { format!("{name}/{own}") };
        if entry.file_type()?.is_dir() {
            lying_below(&entry.path(), &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

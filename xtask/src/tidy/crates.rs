//! What crates depend on: only on what they name. A crate that nothing names is compiled by everybody for nothing.

use super::{File, lists};

/// A `Cargo.toml`, read line by line: the house's are simple.
struct Manifest<'a> {
    folder: &'a str,
    /// What it names in sections of dependencies.
    dependencies: Vec<&'a str>,
    /// The versions that the members share.
    shared: Vec<&'a str>,
}

impl<'a> Manifest<'a> {
    fn read(file: &'a File) -> Option<Self> {
        let folder = file.path.strip_suffix("Cargo.toml")?;
        let (mut section, mut dependencies, mut shared) = ("", Vec::new(), Vec::new());
        for line in file.text()?.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end().trim_end_matches(']');
                continue;
            }
            let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(line.len());
            let (name, rest) = line.split_at(end);
            if name.is_empty() || !rest.starts_with([' ', '.', '=']) {
                continue;
            }
            if section == "workspace.dependencies" {
                shared.push(name);
            } else if section.ends_with("dependencies") {
                dependencies.push(name);
            }
        }
        Some(Self { folder, dependencies, shared })
    }
}

/// Complains of what is depended on and not named.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let manifests: Vec<Manifest> = files.iter().filter_map(Manifest::read).collect();
    let mut complaints = Vec::new();
    for manifest in &manifests {
        for dependency in &manifest.dependencies {
            let is_known =
                lists::UNNAMED.iter().any(|(folder, name, _)| *folder == manifest.folder && name == dependency);
            if !is_known && !is_named(files, &manifests, manifest.folder, dependency) {
                let folder = manifest.folder;
                complaints
                    .push(format!("{folder}Cargo.toml: {dependency} is named nowhere in {folder}, so leave it out"));
            }
        }
        for shared in &manifest.shared {
            let is_used = manifests.iter().any(|member| member.dependencies.contains(shared));
            if !is_used {
                complaints
                    .push(format!("{}Cargo.toml: no crate depends on {shared}, so leave it out", manifest.folder));
            }
        }
    }
    complaints
}

/// Whether a crate's own sources name another crate.
fn is_named(files: &[File], manifests: &[Manifest], folder: &str, dependency: &str) -> bool {
    let name = lists::LIBRARIES.iter().find(|(package, _)| *package == dependency).map_or(dependency, |(_, name)| name);
    let name = name.replace('-', "_");
    let owner = |path: &str| {
        let folders = manifests.iter().map(|manifest| manifest.folder).filter(|folder| path.starts_with(folder));
        folders.max_by_key(|folder| folder.len())
    };
    files
        .iter()
        .filter(|file| file.is_rust() && owner(&file.path) == Some(folder))
        .filter_map(File::text)
        .any(|text| super::source::words(text, &name).next().is_some())
}

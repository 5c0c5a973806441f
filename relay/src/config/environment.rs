//! Variables of the environment, read in one place. A setting's value is text; one that is none is refused by its variable's
//! name, because a token or a port that is passed over would be missed by nobody until it is too late. Folders of a person
//! may have any name that the system takes.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::ConfigError;

/// Gives the value of a variable that is set.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The value of a setting's variable. One that is set to nothing says nothing.
///
/// # Errors
/// It is not UTF-8.
pub(super) fn setting(environment: Environment<'_>, variable: &str) -> Result<Option<String>, ConfigError> {
    let value = environment(variable).filter(|value| !value.is_empty());
    let text = value.map(OsString::into_string).transpose();
    text.map_err(|_| ConfigError::NoText { name: variable.to_owned() })
}

/// `$XDG…/p2pnet`, else a folder in the home of the person, else one here.
pub(super) fn person_folder(environment: Environment<'_>, variable: &str, below_home: &str) -> PathBuf {
    if let Some(folder) = environment(variable).filter(|folder| Path::new(folder).is_absolute()) {
        return PathBuf::from(folder).join("p2pnet");
    }
    if let Some(folder) = environment("LOCALAPPDATA").filter(|_| cfg!(windows)) {
        return PathBuf::from(folder).join("p2pnet");
    }
    match environment("HOME").filter(|home| !home.is_empty()) {
        Some(home) => PathBuf::from(home).join(below_home).join("p2pnet"),
        None => PathBuf::from("p2pnet-data"),
    }
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_setting_is_text_and_a_folder_has_any_name() {
        let environment = |name: &str| match name {
            "P2PNET_TOKEN" => Some(OsString::from_vec(vec![b'a', 0xff])),
            "P2PNET_URL" => Some(OsString::new()),
            "HOME" => Some(OsString::from_vec(b"/home/\xff".to_vec())),
            _ => None,
        };
        let refused = setting(&environment, "P2PNET_TOKEN").unwrap_err().to_string();
        assert!(refused.contains("P2PNET_TOKEN") && refused.contains("UTF-8"), "{refused}");
        assert_eq!(setting(&environment, "P2PNET_URL").unwrap(), None);
        let folder = person_folder(&environment, "XDG_DATA_HOME", ".local/share");
        assert_eq!(folder.into_os_string().into_vec(), b"/home/\xff/.local/share/p2pnet");
    }
}

//! How values are read from texts, with what each should hold in a sentence.

use std::{
    net::{IpAddr, ToSocketAddrs as _},
    ops::RangeInclusive,
    path::PathBuf,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::ConfigError;

/// Commas in the environment.
pub(super) fn list(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
}

/// Refuses a number outside of what makes sense.
pub(super) fn within(name: &str, value: u32, range: RangeInclusive<u32>, unit: &str) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::Value {
        name: name.into(),
        value: value.to_string(),
        why: format!("expected {unit} from {} to {}", range.start(), range.end()),
    })
}

/// A number of days or of MiB.
pub(super) fn whole_number(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| "expected a whole number, as in 1024".to_owned())
}

/// Yes or no.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    text.trim().parse().map_err(|_| "expected true or false".to_owned())
}

/// A text that there may be.
pub(super) fn some(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.to_owned()))
}

/// A folder that there may be.
pub(super) fn path(text: &str) -> Result<Option<PathBuf>, String> {
    Ok(Some(PathBuf::from(text)))
}

/// What is shown of a secret.
pub(super) fn hidden(secret: &Option<String>) -> String {
    secret.as_ref().map(|_| "(set)".to_owned()).unwrap_or_default()
}

/// The host in the file, in the forms of [`read_host`].
pub(super) fn host_in_file<'de, D: Deserializer<'de>>(file: D) -> Result<Option<IpAddr>, D::Error> {
    read_host(&String::deserialize(file)?).map(Some).map_err(D::Error::custom)
}

/// A port; 0 picks a free one.
pub fn read_port(text: &str) -> Result<u16, String> {
    text.trim().parse().map_err(|_| "expected a port from 0 to 65535, where 0 picks a free one".to_owned())
}

/// An address to listen on: an IP address, an IPv6 one also in brackets, or a name of this machine.
pub fn read_host(text: &str) -> Result<IpAddr, String> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse() {
        return Ok(address);
    }
    let is_name = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    let expected = "expected an IP address or a name of this machine, without a port";
    if !is_name {
        return Err(expected.to_owned());
    }
    let found = (bare, 0).to_socket_addrs().map_err(|error| format!("{expected}; this name is not known: {error}"))?;
    // IPv4 first: what asks for a name reaches it there from everywhere.
    found.map(|address| address.ip()).min_by_key(IpAddr::is_ipv6).ok_or_else(|| expected.to_owned())
}

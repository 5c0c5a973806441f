//! `p2pnet config`

use crate::{cli::failure::Failure, config::Config};

use super::{
    output::{put, say},
    text,
};

/// Prints every setting in force and where it comes from.
pub fn show(config: &Config, json: bool) -> Result<(), Failure> {
    let lines = config.lines();
    if json {
        say(format_args!(
            "{}",
            serde_json::to_string_pretty(&lines).map_err(|error| Failure::here(error.to_string(), ""))?
        ))?;
    } else {
        let rows: Vec<Vec<String>> =
            lines.into_iter().map(|line| vec![line.name.to_owned(), line.value, line.source]).collect();
        put(format_args!("{}", text::table(&["SETTING", "VALUE", "FROM"], &rows)))?;
    }
    Ok(())
}

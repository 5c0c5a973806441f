//! Variables of the environment that look like settings, but are none: they would have no effect, and nobody would know.

const PREFIX: &str = "P2PNET_";

/// A warning for each variable whose name is near to a setting's. Others that begin like ours may be anybody's: a
/// container that is called p2pnet gets several.
pub(super) fn warnings(variables: impl Iterator<Item = String>, settings: &[&str]) -> Vec<String> {
    let known: Vec<String> = settings.iter().chain(&["config"]).map(|name| name.to_uppercase()).collect();
    let warning = |variable: String| {
        let name = variable.strip_prefix(PREFIX).filter(|name| !known.iter().any(|known| known == name))?;
        let meant = nearest(name, &known)?;
        Some(format!("warning: there is no setting {variable}, so it has no effect; did you mean {PREFIX}{meant}?"))
    };
    let mut warnings: Vec<String> = variables.filter_map(warning).collect();
    warnings.sort_unstable();
    warnings
}

fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let name: String = name.to_uppercase().chars().take(64).collect();
    let distance = |known: &str| strsim::osa_distance(&name, known);
    let near = |known: &str| distance(known) <= (known.len() / 4).max(1);
    known.iter().map(String::as_str).filter(|known| near(known)).min_by_key(|known| distance(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_and_what_is_not_ours_is_left_alone() {
        let told = |name: &str| warnings([name.to_owned()].into_iter(), &["port", "url", "data_dir", "cpu_percent"]);
        for (name, meant) in [
            ("P2PNET_PROT", "P2PNET_PORT?"),
            ("P2PNET_URLS", "P2PNET_URL?"),
            ("P2PNET_DATADIR", "P2PNET_DATA_DIR?"),
            ("P2PNET_CPU_PERCENTS", "P2PNET_CPU_PERCENT?"),
            ("P2PNET_CONFIGS", "P2PNET_CONFIG?"),
        ] {
            assert!(told(name).iter().any(|warning| warning.contains(meant)), "{name}");
        }
        for name in ["P2PNET_PORT", "P2PNET_CONFIG", "P2PNET_SERVICE_HOST", "P2PNET_PORT_8080_TCP", "PORT", "P2PNET_"] {
            assert_eq!(told(name), Vec::<String>::new(), "{name}");
        }
    }
}

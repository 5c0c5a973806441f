//! How many threads the system lets this process and its neighbours have, where it says so: Linux alone does.

use std::{fs, path::Path};

/// The least of the bounds that the system names: of this user's threads, and of the control groups that this process is
/// in. `None` where it names none.
pub(crate) fn most() -> Option<usize> {
    let of_user = fs::read_to_string("/proc/self/limits").ok().and_then(|limits| of_user(&limits));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    of_user.into_iter().chain(of_groups(&groups, Path::new("/sys/fs/cgroup"))).min()
}

/// The bound in effect, as `/proc/self/limits` writes it.
fn of_user(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max processes"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The least bound of the groups that `/proc/self/cgroup` names and of those above them: version 2 has one tree, version 1
/// one for threads.
fn of_groups(groups: &str, mounted: &Path) -> Option<usize> {
    let least = |line: &str| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let tree = match controllers {
            "" => mounted.to_owned(),
            named if named.split(',').any(|name| name == "pids") => mounted.join("pids"),
            _ => return None,
        };
        let group = tree.join(group.trim_start_matches('/'));
        let bound = |group: &Path| fs::read_to_string(group.join("pids.max")).ok()?.trim().parse::<usize>().ok();
        group.ancestors().take_while(|above| above.starts_with(&tree)).filter_map(bound).min()
    };
    groups.lines().filter_map(least).min()
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_users_bound_is_the_one_in_effect() {
        let table = |soft: &str| format!("Limit   Soft Limit\nMax processes             {soft}   9999   processes \n");
        assert_eq!(of_user(&table("570")), Some(570));
        assert_eq!(of_user(&table("unlimited")), None);
        assert_eq!(of_user(""), None);
    }

    #[test]
    fn the_least_bound_of_the_groups_above_counts() {
        let mounted = std::env::temp_dir().join(format!("p2pnet-threads-{}", std::process::id()));
        let groups =
            [("", "4000\n"), ("system.slice", "max\n"), ("system.slice/relay.service", "570\n"), ("pids/a", "64\n")];
        for (group, bound) in groups {
            fs::create_dir_all(mounted.join(group)).unwrap();
            fs::write(mounted.join(group).join("pids.max"), bound).unwrap();
        }
        for (line, bound) in [
            ("0::/system.slice/relay.service", Some(570)),
            ("0::/system.slice/other.service", Some(4_000)),
            ("0::/", Some(4_000)),
            ("5:cpu:/a\n4:pids:/a/b", Some(64)),
            ("5:cpu:/a", None),
            ("none", None),
            ("", None),
        ] {
            assert_eq!(of_groups(line, &mounted), bound, "{line}");
        }
        fs::remove_dir_all(mounted).unwrap();
    }
}

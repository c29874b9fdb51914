//! Linux capabilities as the engine has them.

use std::collections::BTreeSet;

/// Capabilities as the docker CLI sends them: upper case, with `CAP_`; what is added beats what is dropped.
pub fn capabilities(add: &[String], drop: &[String]) -> (Vec<String>, Vec<String>) {
    let normal = |list: &[String]| -> BTreeSet<String> {
        let names = list.iter().map(|name| {
            let name = name.trim().to_uppercase();
            if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
        });
        names.filter(|name| name != "CAP_").collect()
    };
    let (mut add, mut drop) = (normal(add), normal(drop));
    if add.contains("ALL") {
        add = BTreeSet::from(["ALL".to_owned()]);
    }
    if drop.contains("ALL") {
        drop = BTreeSet::from(["ALL".to_owned()]);
    }
    drop.retain(|name| !add.contains(name));
    (add.into_iter().collect(), drop.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_normalised() {
        let of = |add: &[&str], drop: &[&str]| {
            let list = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
            capabilities(&list(add), &list(drop))
        };
        assert_eq!(of(&["net_admin", "CAP_NET_ADMIN"], &["all"]), (vec!["CAP_NET_ADMIN".to_owned()], vec!["ALL".to_owned()]));
        assert_eq!(of(&["chown"], &["CHOWN", "kill"]), (vec!["CAP_CHOWN".to_owned()], vec!["CAP_KILL".to_owned()]));
    }
}

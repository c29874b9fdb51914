//! Tokens of ssh_config, and `~`, in the paths of a host.

use std::path::PathBuf;

/// What the tokens of ssh_config stand for.
pub(crate) struct Words {
    pub(crate) home: PathBuf,
    pub(crate) host: String,
    pub(crate) given: String,
    pub(crate) alias: Option<String>,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) local: Option<String>,
}

impl Words {
    pub(crate) fn tilde(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => PathBuf::from(path),
        }
    }

    /// A path with its tokens (`man ssh_config`, TOKENS); `None` for one that only OpenSSH knows.
    pub(crate) fn expand(&self, text: &str) -> Option<PathBuf> {
        if text.contains("${") || (text.starts_with('~') && !text.starts_with("~/")) {
            return None;
        }
        let mut out = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match rest.next()? {
                '%' => out.push('%'),
                'd' => out.push_str(self.home.to_str()?),
                'h' => out.push_str(&self.host),
                'k' => out.push_str(self.alias.as_deref().unwrap_or(&self.host)),
                'n' => out.push_str(&self.given),
                'p' => out.push_str(&self.port.to_string()),
                'r' => out.push_str(&self.user),
                'u' => out.push_str(self.local.as_deref()?),
                'i' => out.push_str(&rustix::process::getuid().as_raw().to_string()),
                _ => return None,
            }
        }
        Some(self.tilde(&out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let words = Words {
            home: "/home/op".into(),
            host: "h".into(),
            given: "H".into(),
            alias: None,
            port: 22,
            user: "r".into(),
            local: Some("op".into()),
        };
        let shown = |text: &str| words.expand(text).map(|p| p.display().to_string());
        assert_eq!(shown("~/.ssh/my key %h-%r-%u-%p-%n-%k%%"), Some("/home/op/.ssh/my key h-r-op-22-H-h%".into()));
        assert_eq!(shown("%d/k"), Some("/home/op/k".into()));
        for unknown in ["%C", "%L", "${HOME}/k", "~other/k", "%"] {
            assert_eq!(shown(unknown), None, "{unknown}");
        }
    }
}

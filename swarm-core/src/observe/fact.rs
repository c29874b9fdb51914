//! What is known, what was not asked, and what could not be had. The three are never one.

use serde::{Deserialize, Serialize};

/// When something was seen: milliseconds since 1970-01-01 UTC, by the clock of the machine that looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeenAt(pub u64);

/// A fact: known, or why it is not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact<T> {
    /// It was this, then.
    Known(T, SeenAt),
    /// No one asked.
    #[default]
    NotAsked,
    /// It was asked for, and could not be had: why.
    Unknown(String),
}

impl<T> Fact<T> {
    /// What it is, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value, _) => Some(value),
            Self::NotAsked | Self::Unknown(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn known_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Known(value, _) => Some(value),
            Self::NotAsked | Self::Unknown(_) => None,
        }
    }

    /// Whether it is known.
    pub fn is_known(&self) -> bool {
        self.known().is_some()
    }

    /// Why it could not be had; `None` where it is known and where no one asked.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Unknown(why) => Some(why),
            Self::Known(..) | Self::NotAsked => None,
        }
    }

    /// The same fact about a borrowed value.
    pub fn as_ref(&self) -> Fact<&T> {
        match self {
            Self::Known(value, at) => Fact::Known(value, *at),
            Self::NotAsked => Fact::NotAsked,
            Self::Unknown(why) => Fact::Unknown(why.clone()),
        }
    }

    /// From an answer that came, or did not, at this time.
    pub fn of<E: std::fmt::Display>(answer: Result<T, E>, at: SeenAt) -> Self {
        match answer {
            Ok(value) => Self::Known(value, at),
            Err(why) => Self::Unknown(why.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_asked_is_not_unknown() {
        let (known, silent) = (Fact::of(Ok::<_, String>(5), SeenAt(7)), Fact::<u8>::of(Err("no answer"), SeenAt(7)));
        assert!(known.is_known() && !silent.is_known() && !Fact::<u8>::NotAsked.is_known());
        assert_eq!((known.known(), known.why()), (Some(&5), None));
        assert_eq!((silent.known(), silent.why()), (None, Some("no answer")));
        assert_eq!((Fact::<u8>::default().known(), Fact::<u8>::default().why()), (None, None));
        for fact in [known, silent, Fact::NotAsked] {
            let text = serde_json::to_string(&fact).unwrap();
            assert_eq!(serde_json::from_str::<Fact<u8>>(&text).unwrap(), fact, "{text}");
        }
    }
}

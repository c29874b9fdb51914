//! One operator at a time: what the lock of a swarm says, who holds it, and the journal of the runs. Both are configs of the swarm, so that
//! whoever reaches a manager sees them: making one under a name that is taken fails, and so does a change of one whose version has moved.

use crate::engine::{Body, Object};
pub use crate::object::{JOURNAL, LOCK};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How often the holder of the lock says that it is alive.
pub const BEAT: Duration = Duration::from_secs(5);
/// After how long without a sign the holder is taken for gone: three signs are missing.
pub const QUIET: Duration = Duration::from_secs(16);
/// How many runs the journal has at most.
pub const RUNS: usize = 50;
/// How many bytes it has at most.
pub const BYTES: usize = 64 * 1024;

const HOLDER: &str = "swarm.lock.holder";
const SIGN: &str = "swarm.lock.beat";
const RUN: &str = "swarm.run.";

/// Who carries a run out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The login of the operator.
    pub who: String,
    /// The machine they work on.
    pub from: String,
    /// What for, for example `apply`.
    pub why: String,
    /// What tells this run from every other one.
    pub run: String,
    /// What lets the same machine see whether the run is still there; its form is the caller's.
    #[serde(default)]
    pub process: String,
    /// When it began, by the operator's clock: seconds since 1970.
    pub since: u64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} on {}", self.why, self.who, self.from)
    }
}

/// What the lock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// No one holds it.
    Free,
    /// This run holds it.
    Mine,
    /// Another run holds it.
    Held(Holder),
    /// There is an object of that name which no run made.
    Unreadable,
}

/// What the lock says to a run.
pub fn judge(lock: Option<&Object>, run: &str) -> Lock {
    let Some(lock) = lock else { return Lock::Free };
    match lock.label(HOLDER).and_then(|text| serde_json::from_str::<Holder>(&text).ok()) {
        Some(holder) if holder.run == run => Lock::Mine,
        Some(holder) => Lock::Held(holder),
        None => Lock::Unreadable,
    }
}

/// The lock as a run makes it, and changes it at every sign. The engine takes no config without data.
pub fn lock_body(holder: &Holder, sign: u64) -> Body {
    let text = serde_json::to_string(holder).unwrap_or_default();
    Body::of(json!({ "Name": LOCK, "Labels": { HOLDER: text, SIGN: sign.to_string() }, "Data": "bG9jawo=" }))
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it began: seconds since 1970, by the operator's clock.
    pub at: u64,
    /// How long it took, in seconds.
    pub took: u64,
    /// The login of the operator.
    pub who: String,
    /// The machine they worked on.
    pub from: String,
    /// What for.
    pub why: String,
    /// What the plan stood on.
    pub fingerprint: String,
    /// What was done, for example `2 join, 1 label`.
    pub verbs: String,
    /// Images that services got, for example `service/app_web: Image: web:1 -> web:2`; at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub images: Vec<String>,
    /// How it ended.
    pub outcome: String,
}

/// The runs of a journal, oldest first. What is not an entry is left out.
pub fn runs(journal: &Object) -> Vec<Entry> {
    let spec = journal.spec();
    let labels = spec.get("Labels").and_then(Value::as_object);
    let entries = labels.into_iter().flatten().filter(|(key, _)| key.starts_with(RUN));
    entries.filter_map(|(_, text)| serde_json::from_str(text.as_str()?).ok()).collect()
}

/// A journal with one run more, without the oldest where it would be too long.
pub fn journal_body(journal: Option<&Object>, entry: &Entry) -> Body {
    let spec = journal.map(Object::spec).unwrap_or_default();
    let labels = spec.get("Labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let (runs, mut others): (BTreeMap<String, Value>, BTreeMap<String, Value>) =
        labels.into_iter().partition(|(key, _)| key.starts_with(RUN));
    let last = runs.keys().next_back().and_then(|key| key.strip_prefix(RUN)?.parse::<u64>().ok()).unwrap_or(0);
    let mut runs: Vec<(String, Value)> = runs.into_iter().collect();
    let short = |text: &str| text.chars().take(200).collect::<String>();
    let images = entry.images.iter().take(20).map(|line| short(line)).collect();
    let entry = Entry {
        images,
        verbs: short(&entry.verbs),
        why: short(&entry.why),
        who: short(&entry.who),
        from: short(&entry.from),
        ..entry.clone()
    };
    runs.push((format!("{RUN}{:08}", last + 1), json!(serde_json::to_string(&entry).unwrap_or_default())));
    let size = |runs: &[(String, Value)]| runs.iter().map(|(key, text)| key.len() + text.as_str().map_or(0, str::len)).sum::<usize>();
    while runs.len() > RUNS || (size(&runs) > BYTES && runs.len() > 1) {
        runs.remove(0);
    }
    others.extend(runs);
    Body::of(json!({ "Name": JOURNAL, "Labels": others, "Data": "am91cm5hbAo=" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: u64) -> Entry {
        Entry {
            at,
            took: 3,
            who: "ann".into(),
            from: "desk".into(),
            why: "apply".into(),
            fingerprint: "f".repeat(64),
            verbs: "v".repeat(900),
            images: vec!["i".repeat(900); 3],
            outcome: "converged".into(),
        }
    }

    fn stored(body: &Body) -> Object {
        Object::of(&json!({ "ID": "x", "Version": { "Index": 1 }, "Spec": body.spec })).unwrap()
    }

    #[test]
    fn the_journal_keeps_the_newest_and_what_is_not_its_own() {
        let mut journal = None;
        for at in 0..120 {
            let body = journal_body(journal.as_ref(), &entry(at));
            let mut spec = body.spec.clone();
            spec["Labels"]["team"] = json!("blue");
            journal = Some(stored(&Body::of(spec)));
        }
        let journal = journal.unwrap();
        let kept = runs(&journal);
        assert_eq!((kept.len(), kept[0].at, kept[49].at), (50, 70, 119));
        assert_eq!((kept[49].verbs.len(), journal.label("team").as_deref()), (200, Some("blue")));
        assert!(journal.spec().to_string().len() < BYTES);
        // Long words are cut, whosever they are.
        let long = Entry { who: "w".repeat(900), from: "f".repeat(900), why: "y".repeat(900), ..entry(1) };
        let [kept] = &runs(&stored(&journal_body(None, &long)))[..] else { panic!("one run") };
        assert_eq!((kept.who.len(), kept.from.len(), kept.why.len(), kept.took), (200, 200, 200, 3));
        // A run that is too long by itself is kept alone.
        let wide = Entry { images: vec!["😀".repeat(200); 20], fingerprint: "f".repeat(BYTES), ..entry(2) };
        let both = stored(&journal_body(Some(&stored(&journal_body(None, &entry(1)))), &wide));
        assert_eq!(runs(&both).iter().map(|run| run.at).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_lock_says_who_holds_it() {
        let holder =
            Holder { who: "ann".into(), from: "desk".into(), why: "apply".into(), run: "r1".into(), process: String::new(), since: 5 };
        let lock = stored(&lock_body(&holder, 1));
        assert_eq!(judge(None, "r1"), Lock::Free);
        assert_eq!(judge(Some(&lock), "r1"), Lock::Mine);
        assert_eq!(judge(Some(&lock), "r2"), Lock::Held(holder.clone()));
        assert_eq!(holder.to_string(), "apply of ann on desk");
        let other =
            Object::of(&json!({ "ID": "x", "Version": { "Index": 1 }, "Spec": { "Name": LOCK, "Labels": { HOLDER: "{" } } })).unwrap();
        assert_eq!(judge(Some(&other), "r1"), Lock::Unreadable);
    }
}

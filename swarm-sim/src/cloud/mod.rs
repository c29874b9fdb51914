//! An account at Amazon EC2, in memory: what the API reference says of its calls, and what goes wrong with them. Lists are late, both with what was
//! made and with what is gone; a client token stands for one instance; a group in use is not deleted; any call can be throttled, fail, be lost before
//! or after it took effect; instances take their time, print their host keys late and in parts, and may end by themselves.
//!
//! The account knows what must never happen, and notes it: see [`Account::violations`].

mod calls;
mod state;

use fastrand::Rng;
use state::State;
pub use state::{Latency, Shown};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Parameters of a call.
type Form = BTreeMap<String, String>;

/// What a call came to: its effect's answer, or a refusal.
type Answer = Result<String, Refusal>;

/// A refusal: the HTTP status, the code, the message.
struct Refusal(u16, &'static str, String);

fn refuse<T>(code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(400, code, message.into()))
}

fn xml(name: &str, inner: impl AsRef<str>) -> String {
    format!("<{name}>{}</{name}>", inner.as_ref())
}

/// An account. Every instance of it may be shared between tasks.
pub struct Account {
    state: Mutex<State>,
    began: Instant,
}

impl Account {
    /// An account with something of others in it. Its latencies and faults come from the seed, and from its clock, which is tokio's.
    pub fn new(seed: u64, latency: Latency) -> Self {
        Self { state: Mutex::new(State::new(Rng::with_seed(seed ^ 0x0ec2), latency)), began: Instant::now() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state: MutexGuard<'_, State> = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = self.began.elapsed();
        state.age();
        work(&mut state)
    }

    /// Takes a call, `Action=…` and its parameters as a form. Gives the HTTP status and the body; `None` where no answer comes back.
    pub fn send(&self, form: &str) -> Option<(u16, String)> {
        let form: Form = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        self.with(|state| state.send(&form))
    }

    /// One call in so many goes wrong from now on; none does with 0. Instances end by themselves then, too.
    pub fn goes_wrong(&self, one_in: u32) {
        self.with(|state| state.one_in = one_in);
    }

    /// The call of this number, counted from now, is lost, and no other arrives after it: whoever makes them is gone. `after` says whether it took
    /// effect.
    pub fn cut(&self, number: usize, after: bool) {
        self.with(|state| state.cut = Some((state.calls.len() + number, after)));
    }

    /// Whether whoever makes calls is gone.
    pub fn is_cut(&self) -> bool {
        self.with(|state| state.dead)
    }

    /// Whoever comes now is let in.
    pub fn revive(&self) {
        self.with(|state| (state.cut, state.dead) = (None, false));
    }

    /// The next creations of instances, so many, are refused for want of room.
    pub fn full(&self, creations: u32) {
        self.with(|state| state.full = creations);
    }

    /// How often each fault came to pass.
    pub fn happened(&self) -> BTreeMap<&'static str, u64> {
        self.with(|state| state.happened.clone())
    }

    /// What must never happen and did: two instances of one host, a change of what belongs to others, a recorded host key that is another's.
    pub fn violations(&self) -> Vec<String> {
        self.with(|state| state.violations.clone())
    }

    /// The instances of a cluster that cost something: the host, and what is so.
    pub fn living(&self, cluster: &str) -> BTreeMap<String, Shown> {
        self.with(|state| state.living(cluster))
    }

    /// What of a cluster is there, instances that cost something among it.
    pub fn left(&self, cluster: &str) -> Vec<String> {
        self.with(|state| state.left(cluster))
    }

    /// What the group of this name lets in: protocol, port, source.
    pub fn lets_in(&self, group: &str) -> BTreeSet<String> {
        self.with(|state| state.lets_in(group))
    }

    /// The id of a group of this name that someone else made.
    pub fn group_of_others(&self) -> String {
        self.with(|state| state.of_others())
    }

    /// Someone terminates a host's instance by hand, or stops it. Gives whether there was one.
    pub fn by_hand(&self, cluster: &str, host: &str, stops: bool) -> bool {
        self.with(|state| state.by_hand(cluster, host, stops))
    }

    /// Lets time pass.
    pub async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

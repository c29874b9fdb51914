//! Calls of the EC2 Query API: sent, and made again where that is safe. Every call of this crate can be made again: what creates something
//! has a token or a name that EC2 knows again.

use crate::answers::{Errors, read};
use crate::wire::{Answer, PATIENCE, Unsent, Wire};
use serde::de::DeserializeOwned;
use std::time::Duration;
use swarm_core::secret::clean;

/// The version of the API that the calls are written for.
const VERSION: &str = "2016-11-15";
/// How long to wait before the next try, the last of them again and again until they are used up.
const WAITS: [u64; 8] = [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000];
/// What EC2 answers where the same call is welcome later.
const LATER: &[&str] = &[
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "RequestThrottled",
    "InternalError",
    "InternalFailure",
    "ServiceUnavailable",
    "Unavailable",
];

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Refused {
    /// EC2's code, such as `InsufficientInstanceCapacity`; empty where there was no answer.
    pub code: String,
    /// What is so, for people.
    pub message: String,
}

impl Refused {
    fn silent(action: &str, why: &str) -> Self {
        Self { code: String::new(), message: format!("{action}: {why}") }
    }

    /// Whether the code is one of these.
    pub(crate) fn is(&self, codes: &[&str]) -> bool {
        codes.contains(&self.code.as_str())
    }
}

/// A call: its action and its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    action: &'static str,
    parameters: Vec<(String, String)>,
}

impl Call {
    pub(crate) fn new(action: &'static str) -> Self {
        Self { action, parameters: Vec::new() }
    }

    pub(crate) fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// A filter: what is listed has one of these values.
    pub(crate) fn filter(self, name: &str, values: &[&str]) -> Self {
        let number = self.parameters.iter().filter(|(key, _)| key.starts_with("Filter.") && key.ends_with(".Name")).count() + 1;
        let named = self.with(format!("Filter.{number}.Name"), name);
        values.iter().enumerate().fold(named, |call, (at, value)| call.with(format!("Filter.{number}.Value.{}", at + 1), *value))
    }

    /// Tags of what is created, by its type.
    pub(crate) fn tags(self, types: &[&str], tags: &[(&str, &str)]) -> Self {
        types.iter().enumerate().fold(self, |call, (at, kind)| {
            let of = format!("TagSpecification.{}", at + 1);
            tags.iter().enumerate().fold(call.with(format!("{of}.ResourceType"), *kind), |call, (at, (key, value))| {
                call.with(format!("{of}.Tag.{}.Key", at + 1), *key).with(format!("{of}.Tag.{}.Value", at + 1), *value)
            })
        })
    }

    fn body(&self) -> String {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("Action", self.action).append_pair("Version", VERSION);
        body.extend_pairs(&self.parameters).finish()
    }
}

/// EC2, over whatever carries the calls to it.
pub(crate) struct Region<'a> {
    wire: &'a dyn Wire,
}

impl<'a> Region<'a> {
    pub(crate) fn over(wire: &'a dyn Wire) -> Self {
        Self { wire }
    }

    /// Makes a call, again where EC2 or the way there fails for a moment.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Refused> {
        let mut waits = WAITS.iter();
        loop {
            let failed = match tokio::time::timeout(PATIENCE, self.once(call)).await {
                Ok(Ok(answer)) => {
                    return read(&answer).map_err(|e| Refused::silent(call.action, &format!("the answer cannot be read: {e}")));
                }
                Ok(Err((refused, later))) if !later => return Err(refused),
                Ok(Err((refused, _))) => refused,
                Err(_) => Refused::silent(call.action, &format!("{} did not answer within {} s", self.wire.name(), PATIENCE.as_secs())),
            };
            match waits.next() {
                Some(wait) => tokio::time::sleep(Duration::from_millis(*wait)).await,
                None => return Err(failed),
            }
        }
    }

    /// One try: the answer, or why there is none and whether the call may be made again.
    async fn once(&self, call: &Call) -> Result<String, (Refused, bool)> {
        let unsent = |failed: Unsent| (Refused::silent(call.action, &failed.why), failed.later);
        let Answer { status, text } = self.wire.send(&call.body()).await.map_err(unsent)?;
        if (200..300).contains(&status) {
            return Ok(text);
        }
        let (code, message) = match read::<Errors>(&text) {
            Ok(errors) => errors.errors.error.into_iter().next().map(|e| (e.code, e.message)).unwrap_or_default(),
            Err(_) => (String::new(), String::new()),
        };
        let later = status >= 500 || LATER.contains(&code.as_str());
        let why = if code.is_empty() { format!("HTTP status {status}") } else { format!("{code}: {}", clean(&message, 400)) };
        Err((Refused { code, message: format!("EC2 refuses {}: {why}", call.action) }, later))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_form() {
        let call = Call::new("DescribeInstances").filter("tag:swarm.cluster", &["prod"]).filter("state", &["a", "b"]);
        let call = call.tags(&["volume"], &[("Name", "x y")]);
        assert_eq!(
            call.body(),
            "Action=DescribeInstances&Version=2016-11-15&Filter.1.Name=tag%3Aswarm.cluster&Filter.1.Value.1=prod&Filter.2.Name=state\
             &Filter.2.Value.1=a&Filter.2.Value.2=b&TagSpecification.1.ResourceType=volume&TagSpecification.1.Tag.1.Key=Name\
             &TagSpecification.1.Tag.1.Value=x+y"
        );
    }
}

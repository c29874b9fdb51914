//! Secrets and configs.

use super::fields;
use super::mount::Driver;
use serde_json::Value;
use std::collections::BTreeMap;

fields! {
    /// What is wanted of a secret, without its data: that comes from a payload when it is sent, and is in no specification.
    SecretSpec {
        /// Its name.
        name: String,
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// A driver that keeps it; unset where managers do.
        driver: Option<Driver>,
        /// What fills placeholders in it; unset where there are none.
        templating: Option<Driver>,
    }
}

fields! {
    /// What is wanted of a config.
    ConfigSpec {
        /// Its name.
        name: String,
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// Its data, in base64.
        data: String,
        /// What fills placeholders in it; unset where there are none.
        templating: Option<Driver>,
    }
}

impl From<&SecretSpec> for Value {
    fn from(spec: &SecretSpec) -> Self {
        super::value(spec)
    }
}

impl From<&ConfigSpec> for Value {
    fn from(spec: &ConfigSpec) -> Self {
        super::value(spec)
    }
}

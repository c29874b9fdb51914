//! Places in a specification.

use serde_json::{Map, Value};

/// A place in a document; maps are made on the way.
pub(crate) fn slot<'a>(spec: &'a mut Value, place: &str) -> &'a mut Value {
    let mut here = spec;
    for key in place.split('/').skip(1) {
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        // Of a map, this makes the key where it is not there.
        here = &mut here[key];
    }
    here
}

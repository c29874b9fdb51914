//! Asks a manager for the objects that a run wants to know of.

use crate::engine::{EngineError, Object, Query};
use crate::fleet::FleetRead;
use crate::observe::{Fact, Observed, ObservedCluster};
use crate::spec::ClusterSpec;
use futures_util::future::join_all;

/// Puts what was asked for into what was observed. The first manager that answers for the swarm is asked for everything; where it fails,
/// the next.
pub(super) async fn add_objects(spec: &ClusterSpec, fleet: &dyn FleetRead, observed: &mut Observed, wants: &[Query]) {
    if wants.is_empty() {
        return;
    }
    let live = match &observed.cluster {
        ObservedCluster::One { live, .. } => live.clone(),
        _ => Vec::new(),
    };
    let mut why = "no manager could be asked".to_owned();
    for host in live.iter().filter_map(|name| spec.host(name)) {
        let reader = match fleet.reader(host).await {
            Ok(reader) => reader,
            Err(error) => {
                why = error.to_string();
                continue;
            }
        };
        let answers: Vec<Result<Vec<Object>, EngineError>> = join_all(wants.iter().map(|query| reader.engine.list(query))).await;
        match answers.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(found) => {
                let at = super::inspect::now();
                observed.objects = wants.iter().cloned().zip(found.into_iter().map(|objects| Fact::Known(objects, at))).collect();
                return;
            }
            Err(error) => why = error.to_string(),
        }
    }
    observed.objects = wants.iter().map(|query| (query.clone(), Fact::Unknown(why.clone()))).collect();
}

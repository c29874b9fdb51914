//! Steps that wait for their tasks ask at the same moments, each for its own service: what they ask for goes to the manager as one question.

use crate::engine::{Engine, EngineError, ErrorClass, Kind, Object, Query};
use crate::id::HostName;
use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// How long more questions are waited for.
const MOMENT: Duration = Duration::from_millis(5);
/// How long an id is that swarmkit gives (moby `identity/randomid.go`): what is shorter may be a name or the beginning of one, which only the
/// engine can tell.
const ID: usize = 25;

/// What the manager says to all of them together; an error comes with how many there were.
type Answer = Shared<BoxFuture<'static, Result<Arc<[Object]>, (EngineError, usize)>>>;

/// A question that others can still be put to.
struct Open {
    ids: Vec<String>,
    answer: Answer,
}

/// Questions that are being put together, by the manager and what is asked for.
#[derive(Default)]
pub(super) struct Gather(Arc<Mutex<BTreeMap<(HostName, Kind), Open>>>);

impl Gather {
    /// The objects that fit, as [`ObjectsRead::list`](crate::engine::ObjectsRead::list) gives them.
    pub(super) async fn list(&self, at: &HostName, engine: Arc<dyn Engine>, query: &Query) -> Result<Vec<Object>, EngineError> {
        let Some((filter, id)) = of_one_service(query) else { return engine.list(query).await };
        let answer = self.join((at.clone(), query.kind), filter, id, Arc::clone(&engine));
        match answer.await {
            Ok(all) => Ok(all.iter().filter(|o| is_of(o, query.kind, id)).cloned().collect()),
            // The engine refuses the whole where one of the services is gone (moby `daemon/cluster/tasks.go`).
            Err((error, several)) if several > 1 && error.class != ErrorClass::Unreachable => engine.list(query).await,
            Err((error, _)) => Err(error),
        }
    }

    fn join(&self, to: (HostName, Kind), filter: &'static str, id: &str, engine: Arc<dyn Engine>) -> Answer {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = Arc::clone(&self.0);
        let question = open.entry(to.clone()).or_insert_with(|| {
            let answer = async move {
                sleep(MOMENT).await;
                let ids = all.lock().unwrap_or_else(PoisonError::into_inner).remove(&to).map(|open| open.ids).unwrap_or_default();
                let several = ids.len();
                let query = ids.into_iter().fold(Query::all(to.1), |query, id| query.with(filter, id));
                engine.list(&query).await.map(Arc::from).map_err(|error| (error, several))
            };
            Open { ids: Vec::new(), answer: answer.boxed().shared() }
        });
        if !question.ids.iter().any(|other| other == id) {
            question.ids.push(id.to_owned());
        }
        question.answer.clone()
    }
}

/// The filter and the id where one service is asked for, or its tasks.
fn of_one_service(query: &Query) -> Option<(&'static str, &str)> {
    let filter = match query.kind {
        Kind::Task => "service",
        Kind::Service => "id",
        Kind::Node | Kind::Network | Kind::Secret | Kind::Config => return None,
    };
    match query.filters.get(filter).map(Vec::as_slice) {
        Some([id]) if query.filters.len() == 1 && id.len() == ID => Some((filter, id)),
        _ => None,
    }
}

/// Whether an object is what was asked for with this id.
fn is_of(object: &Object, kind: Kind, id: &str) -> bool {
    if kind == Kind::Task { object.text("/ServiceID").as_deref() == Some(id) } else { object.id() == id }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Reason;
    use crate::testing::MockDocker;
    use futures_util::future::join_all;
    use serde_json::json;

    fn id(n: usize) -> String {
        format!("{n:025}")
    }

    fn tasks(n: usize) -> Query {
        Query::all(Kind::Task).with("service", id(n))
    }

    /// A manager that counts its questions, and has two tasks of each service but one, which is gone.
    fn manager(gone: Option<usize>) -> (Arc<dyn Engine>, Arc<Mutex<Vec<usize>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (mut engine, counts) = (MockDocker::new(), Arc::clone(&asked));
        engine.expect_list().returning(move |query| {
            let ids = query.filters.values().next().cloned().unwrap_or_default();
            counts.lock().unwrap().push(ids.len());
            if gone.is_some_and(|gone| ids.contains(&id(gone))) {
                return Err(EngineError { doing: "x", class: ErrorClass::Refused, reason: Reason::NotFound, message: "gone".into() });
            }
            let of = |service: &String, n: usize| match query.kind {
                Kind::Task => Object::of(&json!({ "ID": format!("{service}.{n}"), "ServiceID": service })).unwrap(),
                _ => Object::of(&json!({ "ID": service })).unwrap(),
            };
            let each = if query.kind == Kind::Task { 2 } else { 1 };
            Ok(ids.iter().flat_map(|service| (0..each).map(move |n| of(service, n))).collect())
        });
        (Arc::new(engine), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_at_the_same_moment_is_asked_once() {
        let (engine, asked) = manager(None);
        let gather = Gather::default();
        for kind in [Kind::Task, Kind::Service] {
            let queries: Vec<Query> =
                (0..20).map(|n| if kind == Kind::Task { tasks(n) } else { Query::all(kind).with("id", id(n)) }).collect();
            let at = HostName::new("m1");
            let answers = join_all(queries.iter().map(|query| gather.list(&at, Arc::clone(&engine), query))).await;
            for (n, answer) in answers.into_iter().enumerate() {
                let found: Vec<String> = answer.unwrap().iter().map(|o| o.id().to_owned()).collect();
                let expected = if kind == Kind::Task { vec![format!("{}.0", id(n)), format!("{}.1", id(n))] } else { vec![id(n)] };
                assert_eq!(found, expected);
            }
        }
        assert_eq!(*asked.lock().unwrap(), [20, 20]);
        // Later ones are asked anew, and each manager for itself.
        let (one, other) = (HostName::new("m1"), HostName::new("m2"));
        let (query, same) = (tasks(1), tasks(1));
        let both = tokio::join!(
            gather.list(&one, Arc::clone(&engine), &query),
            gather.list(&one, Arc::clone(&engine), &same),
            gather.list(&other, Arc::clone(&engine), &query)
        );
        assert_eq!((both.0.unwrap().len(), both.1.unwrap().len(), both.2.unwrap().len()), (2, 2, 2));
        assert_eq!(asked.lock().unwrap()[2..], [1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_gone_fails_for_itself_alone() {
        let (engine, asked) = manager(Some(1));
        let (gather, at) = (Gather::default(), HostName::new("m1"));
        let queries = [tasks(0), tasks(1), tasks(2)];
        let answers = join_all(queries.iter().map(|query| gather.list(&at, Arc::clone(&engine), query))).await;
        assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(*asked.lock().unwrap(), [3, 1, 1, 1]);
        assert!(gather.list(&at, engine, &tasks(1)).await.is_err());
        assert_eq!(asked.lock().unwrap().len(), 5, "alone it is asked once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_question_about_one_service_goes_as_it_is() {
        let (engine, asked) = manager(None);
        let (gather, at) = (Gather::default(), HostName::new("m1"));
        let queries = [
            Query::all(Kind::Task).with("service", "web"),
            tasks(1).with("node", "n"),
            tasks(1).with("service", id(2)),
            Query::all(Kind::Network).with("id", id(1)),
        ];
        let answers = join_all(queries.iter().map(|query| gather.list(&at, Arc::clone(&engine), query))).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(asked.lock().unwrap().len(), 4);
    }
}

//! What is asked before something is done, and what is given up when someone stops it.

use crate::failure::Failure;
use crate::output;
use swarm_core::Stop;

pub(super) fn agree(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    match output::confirm(question) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::Declined("the answer was no")),
        None => Err(Failure::Declined("there is no terminal to ask on; say --yes")),
    }
}

/// Looking can be given up at any moment: it changes nothing.
pub(super) async fn unless_stopped<T>(stop: &Stop, look: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        result = look => result,
        () = stop.stopped() => Err(Failure::Stopped),
    }
}

//! A test of a product that embeds the library: real decisions, a simulated swarm, no root and no waiting.

use swarm_core::report::{Ending, Report};
use swarm_core::{Apply, ClusterSpec, Fleet};
use swarm_sim::{CallFault, CallKind, Incident, World};

/// What the product does: it works over any fleet, so that a test can hand it a simulated one.
async fn bring_up<F: Fleet>(cluster: &ClusterSpec, fleet: &F) -> Result<Report, swarm_core::ApplyError> {
    let apply = Apply::new(cluster, fleet);
    let (plan, observed) = apply.plan().await?;
    Ok(apply.run(&plan, &observed).await)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = "name: shop
hosts:
  m1: { address: 10.0.0.1, role: manager }
  w1: { address: 10.0.0.2, role: worker }
  w2: { address: 10.0.0.3, role: worker }
";
    let cluster = swarm_file::parse(file, &|_| None)?.spec;
    swarm_sim::run(async {
        // One seed decides everything that is left to chance: the same test, call by call, every time.
        let world = World::of(&cluster, 42);
        world.record();
        // The answer to one join is lost, and one host has no power.
        world.fault(Some("w1"), CallKind::Join, 0, CallFault::AnswerLost);
        world.cause(&Incident::PowerCut("w2".into()));
        let first = bring_up(&cluster, &world.fleet("first run")).await?;
        assert_eq!(first.ending, Ending::Partial, "{}", world.story());
        // The power is back: the second run finishes the work.
        world.mend();
        let second = bring_up(&cluster, &world.fleet("second run")).await?;
        assert_eq!(second.ending, Ending::Converged, "{}", world.story());
        assert!(world.differs_from(&cluster).is_empty());
        Ok(())
    })
}

//! Stories that are cut off at every single call, and played again.

use super::{Drawer, Ended, Tool, no_violations, spec};
use swarm_core::ClusterSpec;
use swarm_sim::{CrashPoint, World};

/// A cluster as it is, and as it is to be.
pub struct Story {
    /// Its name.
    pub name: &'static str,
    before: Option<&'static str>,
    after: &'static str,
    services: bool,
}

/// The stories.
pub const STORIES: &[Story] = &[
    Story {
        name: "bootstrap",
        before: None,
        after: "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager, labels: { rack: a } }
  m2: { address: 10.0.0.2, role: manager }
  m3: { address: 10.0.0.3, role: manager, availability: drain }
  w1: { address: 10.0.0.4, role: worker, labels: { rack: b } }
  w2: { address: 10.0.0.5, role: worker }
swarm: { task_history_limit: 3 }\n",
        services: false,
    },
    Story {
        name: "join",
        before: Some(
            "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager }
  w1: { address: 10.0.0.4, role: worker }\n",
        ),
        after: "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager }
  m2: { address: 10.0.0.2, role: manager }
  m3: { address: 10.0.0.3, role: manager }
  w1: { address: 10.0.0.4, role: worker }
  w2: { address: 10.0.0.5, role: worker, labels: { rack: b } }\n",
        services: true,
    },
    Story {
        name: "role swap",
        before: Some(
            "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager }
  m2: { address: 10.0.0.2, role: manager }
  m3: { address: 10.0.0.3, role: manager }
  w1: { address: 10.0.0.4, role: worker }\n",
        ),
        after: "name: c\nhosts:
  m1: { address: 10.0.0.1, role: worker }
  m2: { address: 10.0.0.2, role: manager }
  m3: { address: 10.0.0.3, role: manager }
  w1: { address: 10.0.0.4, role: manager }\n",
        services: true,
    },
    Story {
        name: "all managers replaced",
        before: Some(
            "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager }
  m2: { address: 10.0.0.2, role: manager }
  m3: { address: 10.0.0.3, role: manager }
  w1: { address: 10.0.0.4, role: worker }
  w2: { address: 10.0.0.5, role: worker }\n",
        ),
        after: "name: c\nhosts:
  m1: { address: 10.0.0.1, role: none }
  m2: { address: 10.0.0.2, role: none }
  m3: { address: 10.0.0.3, role: none }
  m4: { address: 10.0.0.6, role: manager }
  m5: { address: 10.0.0.7, role: manager }
  m6: { address: 10.0.0.8, role: manager }
  w1: { address: 10.0.0.4, role: worker }
  w2: { address: 10.0.0.5, role: none }\n",
        services: true,
    },
    Story {
        name: "workers take the managers' place",
        before: Some(
            "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager }
  m2: { address: 10.0.0.2, role: manager }
  m3: { address: 10.0.0.3, role: manager }
  w1: { address: 10.0.0.4, role: worker }
  w2: { address: 10.0.0.5, role: worker }
  w3: { address: 10.0.0.6, role: worker }\n",
        ),
        after: "name: c\nhosts:
  m1: { address: 10.0.0.1, role: none }
  m2: { address: 10.0.0.2, role: none }
  m3: { address: 10.0.0.3, role: none }
  w1: { address: 10.0.0.4, role: manager }
  w2: { address: 10.0.0.5, role: manager }
  w3: { address: 10.0.0.6, role: manager }\n",
        services: true,
    },
    Story {
        name: "settings",
        before: Some(
            "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager }
  m2: { address: 10.0.0.2, role: manager }
  m3: { address: 10.0.0.3, role: manager }\n",
        ),
        after: "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager }
  m2: { address: 10.0.0.2, role: manager }
  m3: { address: 10.0.0.3, role: manager }
swarm: { task_history_limit: 2, cert_expiry: 720h, autolock: true, unlock_key_file: /nowhere }\n",
        services: false,
    },
    Story {
        name: "labels",
        before: Some(
            "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager, labels: { old: x } }
  w1: { address: 10.0.0.4, role: worker, labels: { rack: a } }
  w2: { address: 10.0.0.5, role: worker }\n",
        ),
        after: "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager, labels: { old: null, zone: z } }
  w1: { address: 10.0.0.4, role: worker, labels: { rack: b }, availability: pause }
  w2: { address: 10.0.0.5, role: worker, labels: { rack: c } }\n",
        services: true,
    },
];

/// Every place at a call.
pub const POINTS: [CrashPoint; 3] = [CrashPoint::BeforeSend, CrashPoint::AnswerLost, CrashPoint::AfterAnswer];

impl Story {
    fn spec(&self) -> ClusterSpec {
        spec(self.after)
    }

    /// The world before the story.
    async fn world(&self, seed: u64, keys: &Drawer, reported: bool) -> World {
        let wanted = self.spec();
        let world = World::of(&wanted, seed);
        if let Some(before) = self.before {
            let before = spec(before);
            let ended = Tool::new(&world, "before", &before, keys).apply().await;
            assert!(ended.converged(), "{}: {ended:?}", self.name);
            if self.services {
                assert!(world.service("m1", "everywhere", None, None));
            }
        }
        if reported {
            world.record();
        }
        world
    }

    /// How many calls the story takes when nothing goes wrong.
    pub fn calls(&self, seed: u64) -> u64 {
        swarm_sim::run(async {
            let keys = Drawer::default();
            let world = self.world(seed, &keys, false).await;
            let before = world.calls().0;
            let ended = Tool::new(&world, "me", &self.spec(), &keys).apply().await;
            assert!(ended.converged(), "{}: {ended:?}", self.name);
            no_violations(&world, seed, self.name);
            world.calls().0 - before
        })
    }

    /// Cuts the tool off at these calls, one run each, and lets it run again: it must arrive, and then have nothing to do.
    pub fn cut_off(&self, seed: u64, cuts: &[(u64, CrashPoint)]) {
        let (broken, _) = swarm_sim::run(self.play(seed, cuts, false));
        if !broken.is_empty() {
            let (broken, story) = swarm_sim::run(self.play(seed, cuts, true));
            panic!("{}, seed {seed}, cut off at {cuts:?}:\n{}\n{story}", self.name, broken.join("\n"));
        }
    }

    /// What happens in it, line by line, with these cuts.
    pub fn happens(&self, seed: u64, cuts: &[(u64, CrashPoint)]) -> String {
        swarm_sim::run(self.play(seed, cuts, true)).1
    }

    /// Which rules were broken, and what happened.
    async fn play(&self, seed: u64, cuts: &[(u64, CrashPoint)], reported: bool) -> (Vec<String>, String) {
        let keys = Drawer::default();
        let world = self.world(seed, &keys, reported).await;
        let wanted = self.spec();
        let tool = || Tool::new(&world, "me", &wanted, &keys);
        for (call, point) in cuts {
            world.crash_at(*call, *point);
            let ended = tool().apply().await;
            world.recover();
            // With several cuts the later runs may be shorter than the place of their cut.
            if cuts.len() == 1 && !matches!(ended, Ended::Crashed) && !world.crash_missed() {
                world.accuse("schedule", format!("the tool was to be cut off at call {call} and ended: {ended:?}"));
            }
        }
        let mut ended = tool().apply().await;
        if !ended.converged() {
            ended = tool().apply().await;
        }
        if !ended.converged() {
            world.accuse("L1", format!("two runs did not arrive: {ended:?}"));
        }
        let before = world.calls().1;
        if !matches!(&tool().apply().await, Ended::Report(r) if r.steps.is_empty()) || world.calls().1 != before {
            // What was left behind may count as down only now; that is one more thing to do, and then there is none.
            let last = tool().apply().await;
            let before = world.calls().1;
            if !tool().apply().await.converged() || world.calls().1 != before {
                world.accuse("L2", format!("there is always something left to do: {last:?}"));
            }
        }
        (world.violations().iter().map(|v| format!("- {v}")).collect(), world.story())
    }
}

//! A family from a crate of its own in one plan with membership: needs across families, one lint, one save and load, one envelope.

use swarm_core::Apply;
use swarm_core::driver::NoProgress;
use swarm_core::family::{Families, Family};
use swarm_core::intent::{Converge, Intent, Next, SoFar};
use swarm_core::observe::Observed;
use swarm_core::plan::{Envelope, Plan, PlanOptions, Risk, Step, Work, render_text};
use swarm_core::report::Ending;
use swarm_core::verify::Verdict;
use swarm_fleet::Connections;
use swarm_test_family::{Note, Notes};
use swarm_tests::lab::{TestLab, spec};

static FAMILIES: &[&dyn Family] = &[&Notes];

/// The cluster, and a note about it once a host has a file.
struct Noted<'a> {
    converge: Converge<'a>,
    notes: Vec<Note>,
}

impl Noted<'_> {
    fn steps(&self, joins: &[Step]) -> Vec<Step> {
        let mut before: Vec<_> = joins.iter().map(|s| s.id.clone()).collect();
        let mut steps = Vec::new();
        for note in &self.notes {
            let work: Work = note.clone().work();
            let mut step = work.step("", "noted", "it was asked for", Risk::None);
            step.needs.clone_from(&before);
            before.push(step.id.clone());
            steps.push(step);
        }
        steps
    }
}

impl Intent for Noted<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        match self.converge.next(observed, so_far) {
            Next::Done(mut plan) | Next::Round(mut plan) if so_far.rounds == 0 => {
                let steps = self.steps(&plan.steps);
                plan.steps.extend(steps);
                plan.envelope = Envelope::of(&plan.steps);
                Next::Round(plan)
            }
            other => other,
        }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        self.converge.verify(observed)
    }
}

#[tokio::test]
async fn one_plan_holds_the_steps_of_two_crates() {
    let lab = TestLab::up(1, 1);
    let file = spec(&lab.text(&lab.all("")));
    let fleet = Connections::default();
    let apply = Apply::new(&file, &fleet).progress(&NoProgress).families(Families(FAMILIES));
    let check = |path: &str| Note::CheckFile { host: "w1".into(), path: path.into() };
    let write = || Note::Write { name: "founded".into(), text: "today".into() };
    let noted = |notes| Noted { converge: Converge { spec: &file, options: PlanOptions::default() }, notes };
    let intent = noted(vec![check("/etc/hosts"), write()]);
    let (plan, observed) = apply.plan_for(&intent).await.unwrap();
    let text = render_text(&plan);
    assert!(text.contains("init") && text.contains("join") && text.contains("check-file") && text.contains("create-note"), "{text}");

    // Saved and loaded it is the same plan, with the same fingerprint.
    let loaded: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(loaded, plan);

    // A program that does not know the family does not carry it out, and one family's lint is everyone's.
    let stranger = Apply::new(&file, &fleet).plan_for(&intent).await.unwrap_err().to_string();
    assert!(stranger.contains("knows no steps of the family notes"), "{stranger}");
    let twice = apply.plan_for(&noted(vec![write(), write()])).await.unwrap_err().to_string();
    assert!(twice.contains("writes the note founded twice"), "{twice}");

    let report = apply.run_for(&intent, &loaded, &observed).await;
    assert_eq!(report.ending, Ending::Converged, "{report:#?}");
    assert_eq!(lab.docker("m1", &["config", "ls", "--format", "{{.Name}}"]).trim(), "founded");

    // What a step of one family needs of another ends both.
    let failing = noted(vec![check("/nowhere"), Note::Write { name: "never".into(), text: "x".into() }]);
    let (plan, observed) = apply.plan_for(&failing).await.unwrap();
    let report = apply.run_for(&failing, &plan, &observed).await;
    let said: Vec<String> = report.steps.iter().map(|s| serde_json::to_string(&s.outcome).unwrap()).collect();
    assert!(said[0].contains("w1 has no /nowhere") && said[1].contains("blocked"), "{said:?}");
    assert_eq!(lab.docker("m1", &["config", "ls", "--format", "{{.Name}}"]).trim(), "founded");
}

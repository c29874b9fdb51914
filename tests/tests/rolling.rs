//! A client on the overlay that asks all the while, and an application that it asks.

use crate::deploys::Bed;
use std::time::Duration;
use swarm_tests::lab::eventually;

/// A client on the overlay `app_front` that asks `web` for its page every 20 ms, and resolves the name for every request.
pub(crate) struct Client<'a> {
    bed: &'a Bed,
    host: &'a str,
}

impl<'a> Client<'a> {
    pub(crate) fn start(bed: &'a Bed, host: &'a str) -> Self {
        // A static busybox resolves names by its own nslookup only.
        let script = "ok=0; bad=0; while [ ! -e /stop ]; do ip=$(/bin/nslookup web 127.0.0.11 2>/dev/null | /bin/busybox awk '/^Address/ && !/127.0.0.11/ {print $NF; exit}'); if printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | /bin/busybox nc -w 3 $ip 80 | /bin/busybox grep -q '200 OK'; then ok=$((ok+1)); else bad=$((bad+1)); fi; echo $((ok+bad)) > /asked; /bin/sleep 0.02; done; echo \"ok $ok bad $bad\"";
        bed.lab.docker(host, &["run", "-d", "--name", "client", "--network", "app_front", "app:1", "/bin/sh", "-c", script]);
        Self { bed, host }
    }

    /// Ends it when it has asked more than a hundred times: every time with success.
    pub(crate) async fn saw_no_failure(self) {
        eventually("the client has asked a hundred times", Duration::from_secs(60), || {
            let asked = self.bed.lab.docker(self.host, &["exec", "client", "/bin/sh", "-c", "/bin/cat /asked || echo 0"]);
            asked.trim().parse::<u64>().is_ok_and(|asked| asked > 100)
        })
        .await;
        self.bed.lab.docker(self.host, &["exec", "client", "/bin/sh", "-c", "echo > /stop"]);
        let mut said = String::new();
        eventually("the client ends", Duration::from_secs(20), || {
            said = self.bed.lab.docker(self.host, &["logs", "client"]);
            said.contains("ok ")
        })
        .await;
        let count = |word: &str| -> u64 {
            let words: Vec<&str> = said.split_whitespace().collect();
            words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or_else(|| panic!("{said}"))
        };
        assert!(count("ok") > 100 && count("bad") == 0, "{said}");
    }
}

/// A client on the overlay that resolves the name for every request sees no failure while every task is replaced, start-first.
#[tokio::test]
async fn a_rolling_update_loses_no_request() {
    let bed = Bed::up(1, 2).await;
    bed.write("page", "page\n");
    bed.write("app.yml", &serving("app:1", 3));
    let up = bed.deploy(&[]);
    assert_eq!(up.code, 0, "{up:?}");
    let client = Client::start(&bed, "w1");
    let old = bed.all_containers("app_web");
    bed.write("app.yml", &serving("app:2", 3));
    let update = bed.deploy(&[]);
    assert_eq!(update.code, 0, "{update:?}");
    client.saw_no_failure().await;
    let new = bed.all_containers("app_web");
    assert!(new.len() >= 3 && new.iter().filter(|c| !old.contains(c)).count() == 3, "{old:?} {new:?}");
}

/// An application that is updated start-first, with a health check, and serves on for five seconds after it was asked to end, as a good
/// server does.
pub(crate) fn serving(image: &str, replicas: usize) -> String {
    let serve = r#"/bin/sh -c "/bin/httpd -p 80 -h /www; trap '/bin/sleep 5; exit 0' TERM; while true; do /bin/sleep 0.2; done""#;
    format!(
        "services:\n  web:\n    image: {image}\n    command: >-\n      {serve}\n    networks: [front]\n    stop_grace_period: 20s\n    configs: [{{ source: page, target: /www/page }}]\n    healthcheck: {{ test: [CMD, /bin/wget, -q, -O, /dev/null, \"http://127.0.0.1/page\"], interval: 500ms, timeout: 2s, retries: 20 }}\n    deploy:\n      replicas: {replicas}\n      endpoint_mode: dnsrr\n      update_config: {{ parallelism: 1, order: start-first, monitor: 1s }}\nnetworks: {{ front: {{ attachable: true }} }}\nconfigs: {{ page: {{ file: page }} }}\n"
    )
}

/// In the middle of an update a new task is killed, then a worker loses its power, then the leader: the deploy that waits goes on through
/// each, names nothing untrue, and ends when every task is the new one.
#[tokio::test]
#[ignore = "full"]
async fn an_update_goes_on_where_a_task_a_node_and_the_leader_die() {
    let bed = Bed::up(3, 2).await;
    let stack = |image: &str| {
        format!(
            "services:\n  web:\n    image: {image}\n    command: /bin/sleep 1000\n    stop_grace_period: 1s\n    networks: [front]\n    deploy:\n      replicas: 6\n      endpoint_mode: dnsrr\n      placement: {{ constraints: [node.role == worker] }}\n      restart_policy: {{ delay: 1s }}\n      update_config: {{ parallelism: 1, delay: 2s, monitor: 1s, failure_action: continue }}\nnetworks: {{ front: {{}} }}\n"
        )
    };
    bed.write("app.yml", &stack("app:1"));
    let up = bed.deploy(&[]);
    assert_eq!(up.code, 0, "{up:?}");
    bed.write("app.yml", &stack("app:2"));
    let new_tasks = |host: &str| -> Vec<String> {
        let list = bed.lab.host(host).exec(&["docker", "ps", "-q", "--filter", "ancestor=app:2"]).unwrap_or_default();
        list.lines().map(str::to_owned).collect()
    };
    let leader = || {
        ["m1", "m2", "m3"].into_iter().find(|m| {
            bed.lab
                .host(m)
                .exec(&["docker", "node", "inspect", "self", "--format", "{{.ManagerStatus.Leader}}"])
                .is_ok_and(|l| l.trim() == "true")
        })
    };
    let update = bed.begin_first(&["stack", "deploy"], &["--yes", "-c", "app.yml", "app", "--resolve-image", "never"]);
    eventually("the update has begun", Duration::from_secs(60), || !new_tasks("w1").is_empty()).await;
    // A task that was just started.
    let victim = new_tasks("w1").remove(0);
    bed.lab.docker("w1", &["kill", &victim]);
    eventually("a second task is new", Duration::from_secs(60), || new_tasks("w1").len() + new_tasks("w2").len() >= 2).await;
    bed.lab.host("w2").kill(true).unwrap();
    let first = leader().expect("the swarm has a leader");
    bed.lab.host(first).kill(true).unwrap();
    let ended = tokio::task::spawn_blocking(move || update.wait_with_output()).await.unwrap().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert_eq!(new_tasks("w1").len(), 6, "all of them on the node that is left: {said}");
    assert!(!said.contains("quorum is lost") && !said.contains("panicked"), "{said}");
    bed.lab.host("w2").start().unwrap();
    bed.lab.host(first).start().unwrap();
    eventually("all nodes are back", Duration::from_secs(90), || bed.swarm(&["verify"]).code == 0).await;
    let again = bed.deploy(&[]);
    assert!(again.code == 0 && again.out.contains("as its files want it"), "{again:?}");
}

//! What an error of an engine or of SSH means, and what to do. Each entry has one in full; `tests/tests/explains.rs` provokes them on real ones.

/// An error that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// A short name for it.
    pub name: &'static str,
    /// What is in its text, all of it, without regard to case.
    pub says: &'static [&'static str],
    /// One in full.
    pub seen: &'static str,
    /// Why it comes.
    pub cause: &'static str,
    /// What to do, with the command.
    pub fix: &'static str,
}

macro_rules! known {
    ($($name:literal [$($says:literal),+] $seen:literal $cause:literal $fix:literal;)*) => {
        /// Every error that is known.
        pub const KNOWN: &[Known] = &[$(Known { name: $name, says: &[$($says),+], seen: $seen, cause: $cause, fix: $fix }),*];
    };
}

known! {
    "not-a-manager" ["not a swarm manager"]
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."
        "the host is in no swarm, or is a worker: only managers know the swarm"
        "ask a manager: `swarm docker -- node ls`; `swarm status` shows which hosts are";
    "in-a-swarm-already" ["already part of a swarm"]
        "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one."
        "the host's engine is a node of a swarm, perhaps of another one"
        "`swarm status` names its swarm; where it is to leave that one, `swarm apply --force-leave HOST`";
    "no-leader" ["does not have a leader"]
        "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online."
        "fewer than half of the managers reach each other, or they are electing a leader"
        "wait a minute and look again with `swarm status`; start the managers that are down; where they are gone for good, `swarm recover HOST`";
    "leader-does-not-answer" ["deadlineexceeded"]
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
        "a manager passed the call on to the leader, which did not answer in time: it hangs, is cut off, or an election is under way"
        "look again with `swarm status`; look at the leader's engine and disk: `swarm check`";
    "locked" ["encrypted and needs to be unlocked"]
        "Swarm is encrypted and needs to be unlocked before it can be used."
        "the manager restarted and autolock is on: its keys are encrypted on disk"
        "`swarm unlock`";
    "wrong-unlock-key" ["invalid key", "unlock"]
        "Error response from daemon: swarm could not be unlocked: invalid key provided"
        "the key is not this manager's: it was replaced while the manager was down, or it is another swarm's"
        "try the key before: `swarm unlock --key-file KEYFILE.previous`";
    "bad-join-token" ["invalid join token"]
        "invalid join token"
        "the token is cut off, mistyped, or of another form"
        "`swarm token show worker` prints the one that holds; `swarm apply` joins hosts without one in your hands";
    "old-join-token" ["valid join token is necessary"]
        "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster"
        "the token was replaced since it was read"
        "read it again: `swarm token show worker`, or `manager`";
    "other-root" ["remote ca does not match fingerprint"]
        "error while validating Root CA Certificate: remote CA does not match fingerprint. Expected: 4b8a"
        "the manager at that address belongs to another swarm than the token, or the root certificate was replaced since"
        "read the token again: `swarm token show worker`; make sure that the address is a manager of that swarm";
    "manager-not-reached-back" ["could not connect to prospective new cluster member"]
        "rpc error: code = Unknown desc = could not connect to prospective new cluster member using its advertised address: rpc error: code = DeadlineExceeded"
        "the leader must reach a new manager at the address it advertises, port 2377, and does not"
        "open 2377/tcp from the managers to it; check `advertise` in the file; `swarm check`";
    "several-addresses" ["could not choose an ip address to advertise"]
        "could not choose an IP address to advertise since this system has multiple addresses on interface eth0 (10.0.0.5 and 10.0.0.6) - specify one (e.g. --advertise-addr 10.0.0.5)"
        "the host has several addresses and the engine does not guess"
        "set `advertise:` for the host in the file: an address, an interface or a network";
    "address-not-its-own" ["must specify a listening address"]
        "must specify a listening address because the address to advertise is not recognized as a system address, and a system's IP address to use could not be uniquely identified"
        "the advertised address is not on the host: it is translated on the way, or wrong"
        "correct `advertise`; where it is translated, set `nat: true` and `listen`";
    "join-timed-out" ["timeout was reached before node joined"]
        "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the \"docker info\" command to see the current swarm status of your node."
        "the node was let in and does not come up within 20 s, or no manager answers it; it goes on trying"
        "open 2377/tcp to the managers; `swarm status`; running `swarm apply` again goes on from there";
    "live-restore" ["live-restore", "incompatible with swarm"]
        "--live-restore daemon configuration is incompatible with swarm mode"
        "an engine that keeps containers while it is down cannot be a node"
        "remove `live-restore` from /etc/docker/daemon.json on the host and restart its engine";
    "constraints" ["no suitable node", "scheduling constraints not satisfied"]
        "no suitable node (scheduling constraints not satisfied on 3 nodes)"
        "no node has the labels, role or name that the service's placement asks for"
        "`swarm stack diff` or `swarm service update --dry-run` says why, node by node; set the label: `swarm node label HOST KEY=VALUE`";
    "no-resources" ["no suitable node", "insufficient resources"]
        "no suitable node (insufficient resources on 3 nodes)"
        "the reservations of CPU and memory of what runs leave no room, on any node"
        "reserve less (`swarm service update --reserve-memory`), scale something down, or add a node";
    "host-port-taken" ["no suitable node", "host-mode port already in use"]
        "no suitable node (host-mode port already in use on 2 nodes)"
        "each node can have one task with that port, and every node has one"
        "use fewer replicas than nodes, or stop-first updates: `--update-order stop-first`";
    "too-many-per-node" ["no suitable node", "max replicas per node limit exceed"]
        "no suitable node (max replicas per node limit exceed)"
        "`max_replicas_per_node` times the nodes is less than the replicas"
        "raise it, add a node, or lower the replicas: `swarm service scale SERVICE=COUNT`";
    "unsupported-platform" ["no suitable node", "unsupported platform"]
        "no suitable node (unsupported platform on 3 nodes)"
        "the image is built for another processor or system than the nodes have"
        "build it for theirs, or let no registry be asked for its platforms: `--resolve-image never`";
    "no-such-image" ["no such image"]
        "No such image: app:9"
        "the node does not have the image and could not pull it: a typo, a private registry, or no way there"
        "`swarm image pull IMAGE` says what the registry answers on each node; `--with-registry-auth` gives nodes your login";
    "killed" ["non-zero exit (137)"]
        "task: non-zero exit (137)"
        "the program was killed: it used more memory than its limit, or did not end in its grace period"
        "raise `--limit-memory` or `--stop-grace-period`; `swarm service logs SERVICE`";
    "ended" ["non-zero exit ("]
        "task: non-zero exit (1)"
        "the program ended with an error by itself"
        "`swarm service logs SERVICE --tail 20`";
    "no-program" ["executable file not found in $path"]
        "starting container failed: failed to create task for container: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/bin/nothing\": executable file not found in $PATH"
        "the command or entrypoint is not in the image"
        "correct `command:` or `entrypoint:`; a list is taken word for word, a text is split as a shell splits it";
    "no-such-program" ["unable to start container process", "no such file or directory"]
        "starting container failed: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/bin/nothing\": stat /bin/nothing: no such file or directory: unknown"
        "the program is not in the image, or the interpreter that its first line names is not"
        "correct `command:` or `entrypoint:`; a list is taken word for word, a text is split as a shell splits it";
    "unhealthy" ["dockerexec: unhealthy container"]
        "task: non-zero exit (143): dockerexec: unhealthy container"
        "the health check failed as often as it may, so the task was replaced"
        "`swarm service exec SERVICE -- COMMAND` runs the check by hand; give it more time: `--health-start-period`";
    "no-bind-source" ["bind source path does not exist"]
        "invalid mount config for type \"bind\": bind source path does not exist: /srv/data"
        "a path that is mounted from the host is missing on the node that got the task"
        "make it on every node (`swarm exec -- mkdir -p /srv/data`), or hold the service to one by a constraint";
    "no-address-pool" ["non-overlapping ipv4 address pool"]
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
        "every network of the pool is taken by networks or routes of the host"
        "remove networks that nothing uses (`swarm network ls`), or give the network a subnet of its own";
    "pool-overlaps" ["pool overlaps with other one"]
        "Pool overlaps with other one on this address space"
        "another network has that subnet, or a part of it"
        "choose another subnet; `swarm network ls` and `inspect` show those that are taken";
    "no-addresses-left" ["ip addresses may be exhausted"]
        "node is missing network attachments, ip addresses may be exhausted"
        "the network's subnet has no address left for another task: each task takes one, each node one, each service one"
        "make the network again with a larger subnet: `swarm network create --subnet 10.9.0.0/16 NAME`";
    "vxlan-exists" ["error creating vxlan interface", "file exists"]
        "network sandbox join failed: subnet sandbox join failed for \"10.0.1.0/24\": error creating vxlan interface: file exists"
        "an interface of an earlier network is left behind on that host, often after its engine was killed"
        "restart the engine on that host; where that does not help, delete the vxlan interface that `ip -d link` shows there";
    "no-network" ["could not be found", "network", "declared as external"]
        "network \"front\" is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed"
        "an external network must be there before the stack"
        "`swarm network create front`";
    "mesh-port-taken" ["is already in use by service", "ingress port"]
        "rpc error: code = InvalidArgument desc = port '8080' is already in use by service 'web' (2esl88sen3sz) as an ingress port"
        "a published port of the routing mesh belongs to one service in the whole swarm"
        "publish another port, or remove that of the other service: `swarm service update --publish-rm 80 web`";
    "changed-meanwhile" ["update out of sequence"]
        "rpc error: code = Unknown desc = update out of sequence"
        "someone else, or the engine itself, changed the object between its reading and its change"
        "plan again: run the same command once more";
    "in-use" ["is in use by the following service"]
        "rpc error: code = InvalidArgument desc = secret 'app_key' is in use by the following service: app_web"
        "an object that a service refers to cannot be removed"
        "change or remove the service first; `swarm stack deploy --rotate SECRET` replaces a secret in place";
    "network-in-use" ["network", "is in use by"]
        "rpc error: code = FailedPrecondition desc = network 4mqnmxwvxvsp is in use by service m3z"
        "tasks that end hold on to their network for some seconds, or a service still uses it"
        "wait until its tasks have ended; `swarm stack rm` does that by itself";
    "node-not-down" ["is not down and can't be removed"]
        "rpc error: code = FailedPrecondition desc = node 1qv8 is not down and can't be removed"
        "a node is removed when it has left, or is down for 15 s"
        "`swarm node rm HOST` takes it out in the right order";
    "remove-manager" ["must be demoted to worker before removal"]
        "rpc error: code = FailedPrecondition desc = node 1qv8 is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal"
        "a manager votes: it has to be demoted first"
        "`swarm node rm HOST`, or `swarm node rm --dead HOST` where it is gone for good";
    "last-manager" ["attempting to demote the last manager"]
        "rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm"
        "a swarm has at least one manager"
        "promote another host first: `swarm node promote HOST`";
    "would-lose-quorum" ["would result in a loss of quorum"]
        "rpc error: code = FailedPrecondition desc = can't remove member from the raft: this would result in a loss of quorum"
        "with that manager gone, those that are reached would be no majority"
        "bring the managers that are down back first, or remove those with `swarm node rm --dead HOST`; `swarm plan --what-if` counts";
    "leave-as-manager" ["participating as a manager"]
        "You are attempting to leave the swarm on a node that is participating as a manager. Removing this node leaves 1 managers out of 2. Without a Raft quorum your swarm will be inaccessible."
        "a manager that leaves by itself stays counted, and the others may lose their majority"
        "`swarm node rm HOST` demotes it first; `swarm destroy` ends the whole swarm";
    "certificate-expired" ["certificate has expired or is not yet valid"]
        "x509: certificate has expired or is not yet valid: current time 2026-11-26T17:57:10Z is after 2026-11-20T00:00:00Z"
        "the node was away for longer than its certificate lasts, or the clock of one host is wrong"
        "`swarm check` compares the clocks; a node whose certificate ended leaves and joins again: `swarm apply`";
    "no-space" ["no space left on device"]
        "write /var/lib/docker/swarm/raft/wal-v3-encrypted/0.tmp: no space left on device"
        "the disk of the host is full; a manager stops when it cannot write its log"
        "`swarm image prune`, `swarm volume prune`; look at the host: `swarm ssh HOST -- df -h /var/lib/docker`";
    "no-engine" ["cannot connect to the docker daemon"]
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
        "the engine does not run on that host, or listens elsewhere"
        "start it: `swarm ssh HOST -- systemctl start docker`; `engine:` in the file says where it listens";
    "no-right-to-engine" ["permission denied", "docker", "socket"]
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"
        "the login is not in the group that may use the engine's socket"
        "set `sudo: true` under `ssh:` in the file, or add the login to the group docker and log in again";
    "heartbeat" ["heartbeat failure"]
        "node w1 is down: heartbeat failure"
        "the node has not reported to its manager for three heartbeats: it is off, its engine hangs, or 2377/tcp is closed"
        "`swarm status` and `swarm check`; a host that is gone for good: `swarm node rm --dead HOST`";
    "pull-denied" ["pull access denied"]
        "pull access denied for example/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"
        "the image's name is wrong, or the registry wants a login"
        "`docker login REGISTRY`, then deploy with `--with-registry-auth`";
    "no-login" ["no basic auth credentials"]
        "Head \"https://registry.example.org/v2/app/manifests/1\": no basic auth credentials"
        "the registry wants a login, and none was sent"
        "`docker login REGISTRY`, then deploy with `--with-registry-auth`";
    "pull-limit" ["toomanyrequests"]
        "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading"
        "the registry counts pulls by address or account, and the count is reached"
        "log in (`docker login`) and deploy with `--with-registry-auth`, or keep a registry of your own beside the swarm";
    "no-manifest" ["manifest unknown"]
        "manifest for nginx:nosuchtag not found: manifest unknown: manifest unknown"
        "the registry has no such tag of the image"
        "correct the tag";
    "http-registry" ["server gave http response to https client"]
        "Get \"https://10.0.0.5:5000/v2/\": http: server gave HTTP response to HTTPS client"
        "the registry speaks plain HTTP, and engines ask by HTTPS except on loopback"
        "give it a certificate, or name it under `insecure-registries` in /etc/docker/daemon.json of every host";
    "ssh-key-refused" ["permission denied (publickey"]
        "root@10.0.0.11: Permission denied (publickey)."
        "the server takes none of the keys that were offered"
        "add your public key to ~/.ssh/authorized_keys there; name the key with `identity_file` and the login with `user` in the file";
    "host-key-changed" ["remote host identification has changed"]
        "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @"
        "the host shows another key than known_hosts has: it was installed again, or someone stands between"
        "ask who runs the host; where it was installed again, remove the old line: `ssh-keygen -R ADDRESS`";
    "host-key-unknown" ["host key verification failed"]
        "Host key verification failed."
        "known_hosts has no key for this host, or another one"
        "connect once with `ssh` and compare the fingerprint, or set `host_key: accept-new`";
    "ssh-refused" ["connect to host", "connection refused"]
        "ssh: connect to host 10.0.0.11 port 22: Connection refused"
        "nothing listens at that port: sshd does not run, or has another port"
        "start sshd there; set `port:` under `ssh:` in the file";
    "no-way" ["connect to host", "no route to host"]
        "ssh: connect to host 10.0.0.11 port 22: No route to host"
        "no network leads there, or a packet filter says so"
        "check the address and the network between; a jump host: `jump:` under `ssh:` in the file";
    "timed-out" ["connect to host", "connection timed out"]
        "ssh: connect to host 10.0.0.11 port 22: Connection timed out"
        "packets are dropped on the way: the host is off, or a packet filter swallows them"
        "check the address, the power, and that port 22 is open from here";
    "refused" ["connection refused"]
        "Error response from daemon: Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused"
        "nothing listens at that address and port, or a packet filter rejects"
        "start what is to listen there, or correct the address and port";
    "unreached" ["no route to host"]
        "dial tcp 10.0.0.11:2377: connect: no route to host"
        "no network leads there, or a packet filter says so"
        "check the address, and that the port is open between the hosts: `swarm check`";
    "registry-silent" ["/v2/", "context deadline exceeded"]
        "Error response from daemon: Get \"https://10.0.0.5:5000/v2/\": context deadline exceeded"
        "the registry does not answer the engine in time: packets are dropped on the way, or it hangs"
        "check that its port is open from that node, and that the registry runs: `swarm exec -- docker pull IMAGE` shows which nodes get through";
    "request-timed-out" ["client.timeout exceeded"]
        "Error response from daemon: Get \"https://10.0.0.5:5000/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"
        "the server did not answer in time: packets are dropped on the way, a proxy is in between, or it is overloaded"
        "check the address, that its port is open from there, and the engine's proxy: `swarm check`";
    "swallowed" ["i/o timeout"]
        "dial tcp 10.0.0.11:2377: i/o timeout"
        "packets are dropped on the way: the host is off, or a packet filter swallows them"
        "check that the port is open between the hosts: `swarm check`";
    "too-many-keys" ["too many authentication failures"]
        "Received disconnect from 10.0.0.11 port 22:2: Too many authentication failures"
        "the agent offered more keys than the server lets try before the right one came"
        "name the key with `identity_file` in the file: it is tried first";
    "ssh-closed" ["kex_exchange_identification"]
        "kex_exchange_identification: Connection closed by remote host"
        "sshd closed the connection before it said anything: it is overloaded (MaxStartups), or bans this address"
        "work on fewer hosts at a time: `policy.concurrency`; look at sshd's log there";
    "no-forwarding" ["administratively prohibited"]
        "channel 0: open failed: administratively prohibited: open failed"
        "sshd forbids forwarding to the engine's socket (AllowStreamLocalForwarding)"
        "nothing where docker, socat, nc, python3 or perl is on the host: it is used instead; else allow the forwarding in sshd_config";
    "no-name" ["could not resolve hostname"]
        "ssh: Could not resolve hostname m1.example.org: Name or service not known"
        "the name is not in DNS, /etc/hosts or ssh_config"
        "correct `address` in the file, or write the IP address";
    "apt-lists" ["apt could not read its lists"]
        "E: Failed to fetch http://nowhere.invalid/debian/dists/bookworm/InRelease  Could not resolve 'nowhere.invalid'; apt could not read its lists"
        "the host does not reach one of the mirrors that its apt uses, or does not trust it"
        "`swarm ssh HOST apt-get update` shows which; correct /etc/apt/sources.list, give it a proxy, or use `install: offline` in the file";
    "apt-disk-full" ["enough free space in"]
        "E: You don't have enough free space in /var/cache/apt/archives/."
        "the disk of the host has no room for the packages"
        "`swarm ssh HOST apt-get clean`, or free the disk; then run again: it goes on from there";
    "dpkg-interrupted" ["dpkg was interrupted"]
        "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
        "an installation on the host was cut off, and its packages are half configured"
        "run again: `prepare` configures them first; by hand `swarm ssh HOST dpkg --configure -a`";
    "sudo-password" ["sudo", "a password is required"]
        "sudo: a password is required"
        "`sudo: true` needs a sudo that asks for no password"
        "give the login a line in /etc/sudoers.d: `LOGIN ALL=(ALL) NOPASSWD: ALL`";
}

/// What is known of an error, the closest first.
pub fn explain(text: &str) -> Vec<&'static Known> {
    let text = text.to_lowercase();
    let mut found: Vec<&Known> = KNOWN.iter().filter(|known| known.says.iter().all(|part| text.contains(part))).collect();
    found.sort_by_key(|known| std::cmp::Reverse(known.says.iter().map(|part| part.len()).sum::<usize>()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_is_found_first_by_what_was_seen() {
        for known in KNOWN {
            let found = explain(known.seen);
            assert_eq!(found.first().map(|k| k.name), Some(known.name), "{}", known.seen);
            assert!(known.says.iter().all(|part| *part == part.to_lowercase()), "{}", known.name);
        }
        let names: BTreeSet<&str> = KNOWN.iter().map(|k| k.name).collect();
        assert!(names.len() == KNOWN.len() && KNOWN.len() >= 40, "{} entries", KNOWN.len());
        assert!(explain("all is well").is_empty());
    }
}

//! Every flag, with its help and what it does.

use super::*;

/// Where a flag is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// For a new service and for one that is changed.
    Both,
    /// For a new service.
    Create,
    /// For one that is changed.
    Update,
}

/// A flag.
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What its value is called; empty for a switch, which is on without one.
    pub value: &'static str,
    /// Where it is taken.
    pub on: On,
    /// Whether it may be given several times.
    pub many: bool,
    /// One sentence for people.
    pub help: &'static str,
    pub(super) put: Put,
}

/// A flag that was given, with its value (`true` for a switch).
pub type Given = (String, String);

/// What a flag does.
#[derive(Clone, Copy)]
pub(super) enum Put {
    /// A text at a place.
    Text(&'static str),
    /// One of some words.
    Word(&'static str, &'static [&'static str]),
    /// Words as a shell splits them.
    Words(&'static str),
    /// `true`, or `false` where that is said.
    Switch(&'static str),
    Count(&'static str),
    Ratio(&'static str),
    /// A duration, in nanoseconds.
    Time(&'static str),
    Bytes(&'static str),
    Cpus(&'static str),
    /// One more text in a list.
    Add(&'static str),
    /// One text less.
    Remove(&'static str),
    /// `KEY=VALUE` in a map.
    Pair(&'static str),
    /// A key less.
    Unpair(&'static str),
    /// A part of a health check: one that was switched off is on again.
    Health(&'static Put),
    /// What is done when all of its kind are known.
    Together,
    /// Something else.
    Other(fn(&mut Value, &str) -> Result<(), String>),
    /// An entry of a list that is read from a text, and replaces the one that is alike.
    Entry(&'static str, fn(&str) -> Result<Vec<Value>, String>, &'static [&'static str]),
    /// The entries of a list whose field is this.
    Without(&'static str, &'static [&'static str]),
}

const fn one(name: &'static str, value: &'static str, put: Put, help: &'static str) -> Flag {
    Flag { name, value, on: On::Both, many: false, help, put }
}

const fn switch(name: &'static str, place: &'static str, help: &'static str) -> Flag {
    Flag { name, value: "", on: On::Both, many: false, help, put: Put::Switch(place) }
}

const fn many(on: On, name: &'static str, value: &'static str, put: Put, help: &'static str) -> Flag {
    Flag { name, value, on, many: true, help, put }
}

const ORDERS: &[&str] = &["start-first", "stop-first"];
const MOUNT_KEY: &[&str] = &["Target"];
const SECRET_KEY: &[&str] = &["File/Name"];
const PORT_KEY: &[&str] = &["TargetPort", "Protocol", "PublishedPort"];

/// Every flag.
pub const FLAGS: &[Flag] = &[
    // What runs.
    Flag { on: On::Update, ..one("image", "IMAGE", Put::Text(at!("Image")), "Image") },
    Flag { on: On::Update, ..one("args", "COMMAND", Put::Words(at!("Args")), "Command and its arguments") },
    one("entrypoint", "COMMAND", Put::Words(at!("Command")), "Overwrite the image's entrypoint"),
    many(On::Create, "env", "NAME=VALUE", Put::Other(set_variable), "An environment variable"),
    many(On::Update, "env-add", "NAME=VALUE", Put::Other(set_variable), "Add or replace an environment variable"),
    many(On::Update, "env-rm", "NAME", Put::Other(remove_variable), "Remove an environment variable"),
    one("user", "USER[:GROUP]", Put::Text(at!("User")), "User name or id, and group"),
    many(On::Create, "group", "GROUP", Put::Add(at!("Groups")), "A supplementary group"),
    many(On::Update, "group-add", "GROUP", Put::Add(at!("Groups")), "Add a supplementary group"),
    many(On::Update, "group-rm", "GROUP", Put::Remove(at!("Groups")), "Remove a supplementary group"),
    one("workdir", "DIR", Put::Text(at!("Dir")), "Working folder"),
    one("hostname", "NAME", Put::Text(at!("Hostname")), "Host name of the containers"),
    switch("tty", at!("TTY"), "Give the program a terminal"),
    switch("read-only", at!("ReadOnly"), "Mount the container's root filesystem read only"),
    switch("init", at!("Init"), "Run an init in each container that forwards signals and reaps processes"),
    one(
        "oom-score-adj",
        "SCORE",
        Put::Other(set_oom),
        "How soon the kernel ends its processes for want of memory, -1000 to 1000 (engine 27)",
    ),
    one("isolation", "MODE", Put::Text(at!("Isolation")), "Isolation of the containers"),
    one("stop-signal", "SIGNAL", Put::Text(at!("StopSignal")), "Signal that stops the program"),
    one("stop-grace-period", "DURATION", Put::Time(at!("StopGracePeriod")), "How long it has to stop before it is killed"),
    many(On::Both, "cap-add", "CAPABILITY", Put::Together, "Add a Linux capability; one that was dropped is not dropped any more"),
    many(On::Both, "cap-drop", "CAPABILITY", Put::Together, "Drop a Linux capability; one that was added is not added any more"),
    one("credential-spec", "SPEC", Put::Other(set_credential), "Credential specification for managed service accounts (Windows)"),
    many(On::Create, "sysctl", "NAME=VALUE", Put::Pair(at!("Sysctls")), "A kernel parameter"),
    many(On::Update, "sysctl-add", "NAME=VALUE", Put::Pair(at!("Sysctls")), "Add or replace a kernel parameter"),
    many(On::Update, "sysctl-rm", "NAME", Put::Unpair(at!("Sysctls")), "Remove a kernel parameter"),
    many(On::Create, "ulimit", "NAME=SOFT[:HARD]", Put::Entry(at!("Ulimits"), ulimit, &["Name"]), "A limit of processes"),
    many(On::Update, "ulimit-add", "NAME=SOFT[:HARD]", Put::Entry(at!("Ulimits"), ulimit, &["Name"]), "Add or replace a limit"),
    many(On::Update, "ulimit-rm", "NAME", Put::Without(at!("Ulimits"), &["Name"]), "Remove a limit of processes"),
    // Labels.
    many(On::Create, "label", "KEY=VALUE", Put::Pair("/Labels"), "A label of the service"),
    many(On::Update, "label-add", "KEY=VALUE", Put::Pair("/Labels"), "Add or replace a label of the service"),
    many(On::Update, "label-rm", "KEY", Put::Unpair("/Labels"), "Remove a label of the service"),
    many(On::Create, "container-label", "KEY=VALUE", Put::Pair(at!("Labels")), "A label of the containers"),
    many(On::Update, "container-label-add", "KEY=VALUE", Put::Pair(at!("Labels")), "Add or replace a label of the containers"),
    many(On::Update, "container-label-rm", "KEY", Put::Unpair(at!("Labels")), "Remove a label of the containers"),
    // How many, and where.
    Flag { on: On::Create, ..one("mode", "MODE", Put::Other(set_mode), "replicated (default), global, replicated-job or global-job") },
    one("replicas", "COUNT", Put::Other(set_replicas), "Number of tasks"),
    one("max-concurrent", "COUNT", Put::Other(set_concurrent), "Tasks of a job that run at once"),
    one("replicas-max-per-node", "COUNT", Put::Count(task!("Placement/MaxReplicas")), "Most tasks on one node; 0 for no limit"),
    many(On::Create, "constraint", "EXPRESSION", Put::Add(task!("Placement/Constraints")), "A placement constraint"),
    many(On::Update, "constraint-add", "EXPRESSION", Put::Add(task!("Placement/Constraints")), "Add a placement constraint"),
    many(On::Update, "constraint-rm", "EXPRESSION", Put::Remove(task!("Placement/Constraints")), "Remove a placement constraint"),
    many(On::Create, "placement-pref", "spread=LABEL", Put::Other(add_preference), "A placement preference"),
    many(On::Update, "placement-pref-add", "spread=LABEL", Put::Other(add_preference), "Add a placement preference"),
    many(On::Update, "placement-pref-rm", "spread=LABEL", Put::Other(remove_preference), "Remove a placement preference"),
    // What it may use.
    one("limit-cpu", "CPUS", Put::Cpus(task!("Resources/Limits/NanoCPUs")), "Most CPUs of a task, for example 0.5"),
    one("limit-memory", "BYTES", Put::Bytes(task!("Resources/Limits/MemoryBytes")), "Most memory of a task, for example 256m"),
    one("limit-pids", "COUNT", Put::Count(task!("Resources/Limits/Pids")), "Most processes of a task; 0 for no limit"),
    one("reserve-cpu", "CPUS", Put::Cpus(task!("Resources/Reservations/NanoCPUs")), "CPUs that a node keeps for a task"),
    one("reserve-memory", "BYTES", Put::Bytes(task!("Resources/Reservations/MemoryBytes")), "Memory that a node keeps for a task"),
    many(
        On::Create,
        "generic-resource",
        "KIND=VALUE",
        Put::Entry(task!("Resources/Reservations/GenericResources"), generic, &[]),
        "A resource that a node keeps for a task",
    ),
    many(
        On::Update,
        "generic-resource-add",
        "KIND=VALUE",
        Put::Entry(task!("Resources/Reservations/GenericResources"), generic, &[]),
        "Add a resource that a node keeps for a task",
    ),
    many(On::Update, "generic-resource-rm", "KIND", Put::Other(remove_generic), "Remove a resource that a node keeps for a task"),
    // Networks and names.
    many(On::Create, "network", "NETWORK", Put::Entry(task!("Networks"), network, &["Target"]), "A network, or name=NETWORK,alias=NAME"),
    many(On::Update, "network-add", "NETWORK", Put::Entry(task!("Networks"), network, &["Target"]), "Add a network"),
    many(On::Update, "network-rm", "NETWORK", Put::Without(task!("Networks"), &["Target"]), "Remove a network"),
    many(
        On::Create,
        "publish",
        "PORT",
        Put::Entry("/EndpointSpec/Ports", publish, PORT_KEY),
        "Publish a port: 8080:80/tcp, or published=8080,target=80,mode=host",
    ),
    many(On::Update, "publish-add", "PORT", Put::Entry("/EndpointSpec/Ports", publish, PORT_KEY), "Add or replace a published port"),
    many(On::Update, "publish-rm", "TARGET", Put::Other(unpublish), "Remove the published ports of a port of the task"),
    one("endpoint-mode", "MODE", Put::Word("/EndpointSpec/Mode", &["vip", "dnsrr"]), "vip or dnsrr"),
    many(On::Create, "dns", "ADDRESS", Put::Entry(at!("DNSConfig/Nameservers"), server, &[]), "A DNS server"),
    many(On::Update, "dns-add", "ADDRESS", Put::Entry(at!("DNSConfig/Nameservers"), server, &[]), "Add a DNS server"),
    many(On::Update, "dns-rm", "ADDRESS", Put::Remove(at!("DNSConfig/Nameservers")), "Remove a DNS server"),
    many(On::Create, "dns-option", "OPTION", Put::Add(at!("DNSConfig/Options")), "A DNS option"),
    many(On::Update, "dns-option-add", "OPTION", Put::Add(at!("DNSConfig/Options")), "Add a DNS option"),
    many(On::Update, "dns-option-rm", "OPTION", Put::Remove(at!("DNSConfig/Options")), "Remove a DNS option"),
    many(On::Create, "dns-search", "DOMAIN", Put::Entry(at!("DNSConfig/Search"), domain, &[]), "A DNS search domain"),
    many(On::Update, "dns-search-add", "DOMAIN", Put::Entry(at!("DNSConfig/Search"), domain, &[]), "Add a DNS search domain"),
    many(On::Update, "dns-search-rm", "DOMAIN", Put::Remove(at!("DNSConfig/Search")), "Remove a DNS search domain"),
    many(On::Create, "host", "HOST:ADDRESS", Put::Entry(at!("Hosts"), host, &[]), "A host name with its address"),
    many(On::Update, "host-add", "HOST:ADDRESS", Put::Entry(at!("Hosts"), host, &[]), "Add a host name with its address"),
    many(On::Update, "host-rm", "HOST[:ADDRESS]", Put::Other(remove_host), "Remove a host name"),
    // Data.
    many(
        On::Create,
        "mount",
        "MOUNT",
        Put::Entry(at!("Mounts"), mount, MOUNT_KEY),
        "A mount: type=volume|bind|tmpfs,source=…,target=…[,readonly]",
    ),
    many(On::Update, "mount-add", "MOUNT", Put::Entry(at!("Mounts"), mount, MOUNT_KEY), "Add or replace a mount"),
    many(On::Update, "mount-rm", "TARGET", Put::Without(at!("Mounts"), MOUNT_KEY), "Remove the mount at a path"),
    many(On::Create, "secret", "SECRET", Put::Entry(at!("Secrets"), secret, SECRET_KEY), "A secret, or source=NAME,target=FILE,mode=0400"),
    many(On::Update, "secret-add", "SECRET", Put::Entry(at!("Secrets"), secret, SECRET_KEY), "Add or replace a secret"),
    many(On::Update, "secret-rm", "SECRET", Put::Without(at!("Secrets"), &["SecretName"]), "Remove a secret"),
    many(On::Create, "config", "CONFIG", Put::Entry(at!("Configs"), config, SECRET_KEY), "A config, or source=NAME,target=FILE,mode=0444"),
    many(On::Update, "config-add", "CONFIG", Put::Entry(at!("Configs"), config, SECRET_KEY), "Add or replace a config"),
    many(On::Update, "config-rm", "CONFIG", Put::Without(at!("Configs"), &["ConfigName"]), "Remove a config"),
    // Health.
    one("health-cmd", "COMMAND", Put::Other(set_health), "Command of the health check"),
    one("health-interval", "DURATION", Put::Health(&Put::Time(at!("Healthcheck/Interval"))), "Time between two health checks"),
    one("health-timeout", "DURATION", Put::Health(&Put::Time(at!("Healthcheck/Timeout"))), "How long a health check may take"),
    one(
        "health-retries",
        "COUNT",
        Put::Health(&Put::Count(at!("Healthcheck/Retries"))),
        "Failed checks in a row until a task is unhealthy",
    ),
    one(
        "health-start-period",
        "DURATION",
        Put::Health(&Put::Time(at!("Healthcheck/StartPeriod"))),
        "Time in which failed checks do not count",
    ),
    one(
        "health-start-interval",
        "DURATION",
        Put::Health(&Put::Time(at!("Healthcheck/StartInterval"))),
        "Time between two checks in that period",
    ),
    Flag { value: "", ..one("no-healthcheck", "", Put::Other(no_health), "Ignore the image's health check") },
    // How it goes on.
    one(
        "restart-condition",
        "WHEN",
        Put::Word(task!("RestartPolicy/Condition"), &["none", "on-failure", "any"]),
        "When a task is restarted: none, on-failure or any",
    ),
    one("restart-delay", "DURATION", Put::Time(task!("RestartPolicy/Delay")), "Time between two tries"),
    one("restart-max-attempts", "COUNT", Put::Count(task!("RestartPolicy/MaxAttempts")), "Most restarts of a task; 0 for no limit"),
    one("restart-window", "DURATION", Put::Time(task!("RestartPolicy/Window")), "Time in which restarts are counted"),
    one("update-parallelism", "COUNT", Put::Count("/UpdateConfig/Parallelism"), "Tasks that are updated at once; 0 for all"),
    one("update-delay", "DURATION", Put::Time("/UpdateConfig/Delay"), "Time between two of them"),
    one("update-monitor", "DURATION", Put::Time("/UpdateConfig/Monitor"), "How long an updated task is watched for failure"),
    one(
        "update-failure-action",
        "ACTION",
        Put::Word("/UpdateConfig/FailureAction", &["pause", "continue", "rollback"]),
        "What a failed update does: pause, continue or rollback",
    ),
    one("update-max-failure-ratio", "RATIO", Put::Ratio("/UpdateConfig/MaxFailureRatio"), "Part of the tasks that may fail"),
    one("update-order", "ORDER", Put::Word("/UpdateConfig/Order", ORDERS), "start-first or stop-first"),
    one("rollback-parallelism", "COUNT", Put::Count("/RollbackConfig/Parallelism"), "Tasks that are rolled back at once; 0 for all"),
    one("rollback-delay", "DURATION", Put::Time("/RollbackConfig/Delay"), "Time between two of them"),
    one("rollback-monitor", "DURATION", Put::Time("/RollbackConfig/Monitor"), "How long a task that was rolled back is watched"),
    one(
        "rollback-failure-action",
        "ACTION",
        Put::Word("/RollbackConfig/FailureAction", &["pause", "continue"]),
        "What a failed rollback does: pause or continue",
    ),
    one("rollback-max-failure-ratio", "RATIO", Put::Ratio("/RollbackConfig/MaxFailureRatio"), "Part of the tasks that may fail"),
    one("rollback-order", "ORDER", Put::Word("/RollbackConfig/Order", ORDERS), "start-first or stop-first"),
    one("log-driver", "DRIVER", Put::Other(set_log_driver), "Log driver"),
    many(On::Both, "log-opt", "KEY=VALUE", Put::Pair(task!("LogDriver/Options")), "An option of the log driver"),
];

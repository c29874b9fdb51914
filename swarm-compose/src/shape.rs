//! What a Compose file may hold: every key with the form of its value and the version of the format it came with. Files are checked against
//! it, and the schema for editors is written from it.
//!
//! The keys and versions are those of the docker CLI's own schemas (3.0 to 3.13); what is ours beside them says so.

/// The form of a value.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A text.
    Text,
    /// A text, or nothing.
    TextOrNothing,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A whole number, in no other form.
    Count,
    /// A number.
    Number,
    /// A text or a whole number.
    TextOrCount,
    /// A text or a number.
    Scalar,
    /// A text, a number, or nothing.
    ScalarOrNothing,
    /// A list.
    List(&'static Shape),
    /// A list without doubles.
    Unique(&'static Shape),
    /// Known keys.
    Keys(&'static [Key], Rest),
    /// Known keys, or nothing.
    KeysOrNothing(&'static [Key], Rest),
    /// Keys of the user's own, all with values of one form.
    Named(&'static Shape),
    /// One of several forms; the kind of the value says which.
    Either(&'static [Shape]),
}

/// What a mapping may have beside its known keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing.
    Nothing,
    /// Keys that begin with `x-`, from this version on.
    Extensions(u8),
    /// Anything, from this version on. docker does nothing with it.
    Anything(u8),
}

/// A key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// The version 3.`since` has it first.
    pub(crate) since: u8,
    pub(crate) shape: Shape,
}

/// The newest version of the format, without its 3.
pub(crate) const NEWEST: u8 = 13;

const fn key(name: &'static str, since: u8, shape: Shape) -> Key {
    Key { name, since, shape }
}

const TEXTS: Shape = Shape::Unique(&Shape::Text);
const TEXT_OR_TEXTS: Shape = Shape::Either(&[Shape::Text, TEXTS]);
const WORDS: Shape = Shape::Either(&[Shape::Text, Shape::List(&Shape::Text)]);
const PAIRS: Shape = Shape::Either(&[Shape::Named(&Shape::ScalarOrNothing), TEXTS]);
const OPTIONS: Shape = Shape::Named(&Shape::Scalar);
const EXTERNAL: Shape = Shape::Either(&[Shape::Bool, Shape::Keys(&[key("name", 0, Shape::Text)], Rest::Nothing)]);
const EXTERNAL_FILE: Shape = Shape::Either(&[Shape::Bool, Shape::Keys(&[key("name", 0, Shape::Text)], Rest::Anything(0))]);

/// A whole file.
pub(crate) const FILE: Shape = Shape::Keys(
    &[
        key("version", 0, Shape::Text),
        key("services", 0, Shape::Named(&SERVICE)),
        key("networks", 0, Shape::Named(&NETWORK)),
        key("volumes", 0, Shape::Named(&VOLUME)),
        key("secrets", 1, Shape::Named(&SECRET)),
        key("configs", 3, Shape::Named(&CONFIG)),
    ],
    Rest::Extensions(4),
);

const SERVICE: Shape = Shape::Keys(
    &[
        key("build", 0, Shape::Either(&[Shape::Text, BUILD])),
        key("cap_add", 0, TEXTS),
        key("cap_drop", 0, TEXTS),
        key("cgroup_parent", 0, Shape::Text),
        key("cgroupns_mode", 9, Shape::Text),
        key("command", 0, WORDS),
        key("configs", 3, Shape::List(&REFERENCE)),
        key("container_name", 0, Shape::Text),
        key("credential_spec", 3, CREDENTIALS),
        key("depends_on", 0, Shape::Either(&[TEXTS, Shape::Named(&AFTER)])),
        key("deploy", 0, DEPLOY),
        key("devices", 0, TEXTS),
        key("dns", 0, TEXT_OR_TEXTS),
        key("dns_search", 0, TEXT_OR_TEXTS),
        key("domainname", 0, Shape::Text),
        key("entrypoint", 0, WORDS),
        key("env_file", 0, TEXT_OR_TEXTS),
        key("environment", 0, PAIRS),
        key("expose", 0, Shape::Unique(&Shape::Scalar)),
        key("external_links", 0, TEXTS),
        key("extra_hosts", 0, PAIRS),
        key("healthcheck", 0, HEALTHCHECK),
        key("hostname", 0, Shape::Text),
        key("image", 0, Shape::Text),
        key("init", 7, Shape::Bool),
        key("ipc", 0, Shape::Text),
        key("isolation", 5, Shape::Text),
        key("labels", 0, PAIRS),
        key("links", 0, TEXTS),
        key("logging", 0, LOGGING),
        key("mac_address", 0, Shape::Text),
        key("network_mode", 0, Shape::Text),
        key("networks", 0, Shape::Either(&[TEXTS, Shape::Named(&ATTACHMENT)])),
        key("oom_score_adj", 13, Shape::Int),
        key("pid", 0, Shape::TextOrNothing),
        key("ports", 0, Shape::Unique(&Shape::Either(&[Shape::TextOrCount, PORT]))),
        key("privileged", 0, Shape::Bool),
        key("read_only", 0, Shape::Bool),
        key("restart", 0, Shape::Text),
        key("secrets", 1, Shape::List(&REFERENCE)),
        key("security_opt", 0, TEXTS),
        key("shm_size", 0, Shape::Text),
        key("stdin_open", 0, Shape::Bool),
        key("stop_grace_period", 0, Shape::Text),
        key("stop_signal", 0, Shape::Text),
        key("sysctls", 0, PAIRS),
        key("tmpfs", 0, TEXT_OR_TEXTS),
        key("tty", 0, Shape::Bool),
        key("ulimits", 0, Shape::Named(&ULIMIT)),
        key("user", 0, Shape::Text),
        key("userns_mode", 0, Shape::Text),
        key("volumes", 0, Shape::List(&Shape::Either(&[Shape::Text, MOUNT]))),
        key("working_dir", 0, Shape::Text),
    ],
    Rest::Extensions(7),
);

const BUILD: Shape = Shape::Keys(
    &[
        key("context", 0, Shape::Text),
        key("dockerfile", 0, Shape::Text),
        key("args", 0, PAIRS),
        key("labels", 3, PAIRS),
        key("cache_from", 2, TEXTS),
        key("network", 4, Shape::Text),
        key("target", 4, Shape::Text),
        key("shm_size", 5, Shape::Scalar),
        key("extra_hosts", 9, PAIRS),
    ],
    Rest::Anything(11),
);

const REFERENCE: Shape = Shape::Either(&[
    Shape::Text,
    Shape::Keys(
        &[
            key("source", 0, Shape::Text),
            key("target", 0, Shape::Text),
            key("uid", 0, Shape::Text),
            key("gid", 0, Shape::Text),
            key("mode", 0, Shape::Number),
        ],
        Rest::Anything(0),
    ),
]);

const CREDENTIALS: Shape =
    Shape::Keys(&[key("config", 8, Shape::Text), key("file", 3, Shape::Text), key("registry", 3, Shape::Text)], Rest::Nothing);

/// An extension: docker takes a list only.
const AFTER: Shape = Shape::KeysOrNothing(&[key("condition", 0, Shape::Text)], Rest::Nothing);

const DEPLOY: Shape = Shape::KeysOrNothing(
    &[
        key("mode", 0, Shape::Text),
        key("endpoint_mode", 2, Shape::Text),
        key("replicas", 0, Shape::Int),
        key("labels", 0, PAIRS),
        key("rollback_config", 7, UPDATE),
        key("update_config", 0, UPDATE),
        key("resources", 0, RESOURCES),
        key("restart_policy", 0, RESTART),
        key("placement", 0, PLACEMENT),
    ],
    Rest::Nothing,
);

const UPDATE: Shape = Shape::Keys(
    &[
        key("parallelism", 0, Shape::Int),
        key("delay", 0, Shape::Text),
        key("failure_action", 0, Shape::Text),
        key("monitor", 0, Shape::Text),
        key("max_failure_ratio", 0, Shape::Number),
        key("order", 4, Shape::Text),
    ],
    Rest::Nothing,
);

const RESOURCES: Shape = Shape::Keys(
    &[
        key(
            "limits",
            0,
            Shape::Keys(&[key("cpus", 0, Shape::Text), key("memory", 0, Shape::Text), key("pids", 9, Shape::Int)], Rest::Nothing),
        ),
        key(
            "reservations",
            0,
            Shape::Keys(
                &[
                    key("cpus", 0, Shape::Text),
                    key("memory", 0, Shape::Text),
                    key(
                        "generic_resources",
                        5,
                        Shape::List(&Shape::Keys(
                            &[key(
                                "discrete_resource_spec",
                                0,
                                Shape::Keys(&[key("kind", 0, Shape::Text), key("value", 0, Shape::Number)], Rest::Nothing),
                            )],
                            Rest::Nothing,
                        )),
                    ),
                ],
                Rest::Nothing,
            ),
        ),
    ],
    Rest::Nothing,
);

const RESTART: Shape = Shape::Keys(
    &[key("condition", 0, Shape::Text), key("delay", 0, Shape::Text), key("max_attempts", 0, Shape::Int), key("window", 0, Shape::Text)],
    Rest::Nothing,
);

const PLACEMENT: Shape = Shape::Keys(
    &[
        key("constraints", 0, Shape::List(&Shape::Text)),
        key("preferences", 3, Shape::List(&Shape::Keys(&[key("spread", 0, Shape::Text)], Rest::Nothing))),
        key("max_replicas_per_node", 8, Shape::Int),
    ],
    Rest::Nothing,
);

const HEALTHCHECK: Shape = Shape::Keys(
    &[
        key("disable", 0, Shape::Bool),
        key("interval", 0, Shape::Text),
        key("retries", 0, Shape::Number),
        key("test", 0, WORDS),
        key("timeout", 0, Shape::Text),
        key("start_period", 4, Shape::Text),
        key("start_interval", 12, Shape::Text),
    ],
    Rest::Nothing,
);

const LOGGING: Shape =
    Shape::Keys(&[key("driver", 0, Shape::Text), key("options", 0, Shape::Named(&Shape::ScalarOrNothing))], Rest::Nothing);

const ATTACHMENT: Shape = Shape::KeysOrNothing(
    &[key("aliases", 0, TEXTS), key("driver_opts", 13, OPTIONS), key("ipv4_address", 0, Shape::Text), key("ipv6_address", 0, Shape::Text)],
    Rest::Nothing,
);

const PORT: Shape = Shape::Keys(
    &[key("mode", 2, Shape::Text), key("target", 2, Shape::Int), key("published", 2, Shape::Int), key("protocol", 2, Shape::Text)],
    Rest::Nothing,
);

const ULIMIT: Shape =
    Shape::Either(&[Shape::Count, Shape::Keys(&[key("hard", 0, Shape::Count), key("soft", 0, Shape::Count)], Rest::Nothing)]);

const MOUNT: Shape = Shape::Keys(
    &[
        key("type", 2, Shape::Text),
        key("source", 2, Shape::Text),
        key("target", 2, Shape::Text),
        key("read_only", 2, Shape::Bool),
        key("consistency", 2, Shape::Text),
        key("bind", 2, Shape::Keys(&[key("propagation", 2, Shape::Text)], Rest::Anything(2))),
        // The docker CLI maps the subpath, though its schema has no such key.
        key("volume", 2, Shape::Keys(&[key("nocopy", 2, Shape::Bool), key("subpath", 2, Shape::Text)], Rest::Anything(2))),
        key("tmpfs", 6, Shape::Keys(&[key("size", 6, Shape::Int)], Rest::Anything(6))),
    ],
    Rest::Nothing,
);

const NETWORK: Shape = Shape::KeysOrNothing(
    &[
        key("name", 5, Shape::Text),
        key("driver", 0, Shape::Text),
        key("driver_opts", 0, OPTIONS),
        key("ipam", 0, IPAM),
        key("external", 0, EXTERNAL),
        key("internal", 0, Shape::Bool),
        key("attachable", 2, Shape::Bool),
        key("labels", 0, PAIRS),
    ],
    Rest::Extensions(7),
);

const IPAM: Shape = Shape::Keys(
    &[key("driver", 0, Shape::Text), key("config", 0, Shape::List(&Shape::Keys(&[key("subnet", 0, Shape::Text)], Rest::Nothing)))],
    Rest::Nothing,
);

const VOLUME: Shape = Shape::KeysOrNothing(
    &[
        key("name", 4, Shape::Text),
        key("driver", 0, Shape::Text),
        key("driver_opts", 0, OPTIONS),
        key("external", 0, EXTERNAL),
        key("labels", 0, PAIRS),
        key("x-cluster-spec", 10, CLUSTER_VOLUME),
    ],
    Rest::Extensions(7),
);

const SEGMENTS: Shape = Shape::List(&Shape::Keys(&[key("segments", 0, PAIRS)], Rest::Anything(0)));

const CLUSTER_VOLUME: Shape = Shape::Keys(
    &[
        key("group", 0, Shape::Text),
        key(
            "access_mode",
            0,
            Shape::Keys(
                &[
                    key("scope", 0, Shape::Text),
                    key("sharing", 0, Shape::Text),
                    key("block_volume", 0, Shape::Keys(&[], Rest::Anything(0))),
                    key(
                        "mount_volume",
                        0,
                        Shape::Keys(&[key("fs_type", 0, Shape::Text), key("mount_flags", 0, Shape::List(&Shape::Text))], Rest::Anything(0)),
                    ),
                ],
                Rest::Anything(0),
            ),
        ),
        key(
            "accessibility_requirements",
            0,
            Shape::Keys(&[key("requisite", 0, SEGMENTS), key("preferred", 0, SEGMENTS)], Rest::Anything(0)),
        ),
        key(
            "capacity_range",
            0,
            Shape::Keys(&[key("required_bytes", 0, Shape::Text), key("limit_bytes", 0, Shape::Text)], Rest::Anything(0)),
        ),
        key("availability", 0, Shape::Text),
    ],
    Rest::Anything(0),
);

const SECRET: Shape = Shape::Keys(
    &[
        key("name", 5, Shape::Text),
        key("file", 1, Shape::Text),
        key("external", 1, EXTERNAL_FILE),
        key("labels", 1, PAIRS),
        key("driver", 8, Shape::Text),
        key("driver_opts", 8, OPTIONS),
        key("template_driver", 8, Shape::Text),
        // Ours.
        key("environment", 0, Shape::Text),
        key("command", 0, Shape::List(&Shape::Text)),
    ],
    Rest::Extensions(7),
);

const CONFIG: Shape = Shape::Keys(
    &[
        key("name", 5, Shape::Text),
        key("file", 3, Shape::Text),
        key("external", 3, EXTERNAL_FILE),
        key("labels", 3, PAIRS),
        key("template_driver", 8, Shape::Text),
        // Ours.
        key("environment", 0, Shape::Text),
        key("command", 0, Shape::List(&Shape::Text)),
    ],
    Rest::Extensions(7),
);

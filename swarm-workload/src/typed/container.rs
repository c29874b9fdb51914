//! Containers of tasks.

use super::mount::Mount;
use super::{Nanoseconds, fields};
use std::collections::BTreeMap;

/// A capability by its kernel name, such as `CAP_NET_ADMIN`.
pub type Capability = String;

fields! {
    /// What a task's container is (`ContainerSpec`).
    ContainerSpec {
        /// Its image.
        image: String,
        /// Labels of the container.
        labels: BTreeMap<String, String>,
        /// What is run in place of the image's entry point.
        command: Vec<String>,
        /// Its arguments.
        args: Vec<String>,
        /// Its host name; may hold placeholders such as `{{.Node.Hostname}}`.
        hostname: String,
        /// Environment, `NAME=value`.
        env: Vec<String>,
        /// The folder it begins in.
        dir: String,
        /// The user, or `user:group`.
        user: String,
        /// Further groups.
        groups: Vec<String>,
        /// What it may do beyond or less than usual.
        privileges: Option<Privileges>,
        /// Whether it has a terminal.
        #[serde(rename = "TTY")]
        tty: bool,
        /// Whether its input stays open.
        open_stdin: bool,
        /// Whether its root filesystem cannot be written.
        read_only: bool,
        /// What is mounted in it.
        mounts: Vec<Mount>,
        /// The signal that asks it to end; unset for the image's own.
        stop_signal: String,
        /// How long it may take to end before it is killed; unset for 10 s.
        stop_grace_period: Option<Nanoseconds>,
        /// How it is seen whether it is well; unset for the image's own.
        #[serde(alias = "HealthCheck")]
        healthcheck: Option<HealthCheck>,
        /// Lines of its `/etc/hosts`, `ADDRESS NAME…`.
        hosts: Vec<String>,
        /// How it resolves names.
        #[serde(rename = "DNSConfig")]
        dns_config: Option<Dns>,
        /// Secrets that it reads.
        secrets: Vec<SecretReference>,
        /// How readily the kernel ends it when memory is short, -1000 to 1000 (API 1.46).
        oom_score_adj: i64,
        /// Configs that it reads.
        configs: Vec<ConfigReference>,
        /// How it is isolated on Windows; `default` elsewhere.
        isolation: String,
        /// Whether an init process runs in it; unset for the engine's own setting.
        init: Option<bool>,
        /// Kernel settings of its namespaces (API 1.40).
        sysctls: BTreeMap<String, String>,
        /// Capabilities beyond the usual ones (API 1.41).
        capability_add: Vec<Capability>,
        /// Capabilities that it lacks (API 1.41).
        capability_drop: Vec<Capability>,
        /// Limits of its processes (API 1.41).
        ulimits: Vec<Ulimit>,
    }
}

fields! {
    /// What a container may do beyond or less than usual.
    Privileges {
        /// A credential of Windows.
        credential_spec: Option<CredentialSpec>,
        /// Its context for SELinux.
        #[serde(rename = "SELinuxContext")]
        selinux_context: Option<SeLinuxContext>,
        /// How its system calls are filtered (API 1.46).
        seccomp: Option<Seccomp>,
        /// Its profile for AppArmor (API 1.46).
        app_armor: Option<AppArmor>,
        /// Whether its processes cannot get more than they have (API 1.46).
        no_new_privileges: bool,
    }
}

fields! {
    /// A credential of Windows: one of the three.
    CredentialSpec {
        /// The id of the config that holds it.
        config: String,
        /// A file below the engine's folder of credentials.
        file: String,
        /// A value of the registry.
        registry: String,
    }
}

fields! {
    /// A context for SELinux.
    SeLinuxContext {
        /// Whether there is none.
        disable: bool,
        /// User.
        user: String,
        /// Role.
        role: String,
        /// Type.
        #[serde(rename = "Type")]
        kind: String,
        /// Level.
        level: String,
    }
}

fields! {
    /// How system calls are filtered.
    Seccomp {
        /// `default`, `unconfined` or `custom`.
        mode: String,
        /// The custom profile, in base64.
        profile: String,
    }
}

fields! {
    /// A profile for AppArmor.
    AppArmor {
        /// `default` or `disabled`.
        mode: String,
    }
}

fields! {
    /// How it is seen whether a container is well.
    HealthCheck {
        /// `["CMD", …]`, `["CMD-SHELL", command]`, or `["NONE"]` for no check.
        test: Vec<String>,
        /// What is waited between two checks; 0 for the image's own.
        interval: Nanoseconds,
        /// How long a check may take; 0 for the image's own.
        timeout: Nanoseconds,
        /// How many in a row must fail; 0 for the image's own.
        retries: i64,
        /// How long after the start failures do not count; 0 for the image's own.
        start_period: Nanoseconds,
        /// What is waited between two checks in that time; 0 for the image's own (API 1.44).
        start_interval: Nanoseconds,
    }
}

fields! {
    /// How a container resolves names.
    Dns {
        /// Addresses of servers.
        nameservers: Vec<String>,
        /// Domains that are tried.
        search: Vec<String>,
        /// Options of the resolver.
        options: Vec<String>,
    }
}

fields! {
    /// Where a secret or a config is in the container.
    ReferenceFile {
        /// Its name: below `/run/secrets` for secrets that have no path, else a path.
        name: String,
        /// Owner.
        #[serde(rename = "UID")]
        uid: String,
        /// Group.
        #[serde(rename = "GID")]
        gid: String,
        /// Who may read it, as a number of nine bits.
        mode: u32,
    }
}

fields! {
    /// A secret that a container reads.
    SecretReference {
        /// Where it is in the container.
        file: Option<ReferenceFile>,
        /// Its id; put in when a service is sent.
        #[serde(rename = "SecretID")]
        secret_id: String,
        /// Its name.
        secret_name: String,
    }
}

fields! {
    /// A config that a container reads.
    ConfigReference {
        /// Where it is in the container; unset where the engine itself reads it.
        file: Option<ReferenceFile>,
        /// There and empty where the engine itself reads it, as for a credential (API 1.41).
        runtime: Option<super::Other>,
        /// Its id; put in when a service is sent.
        #[serde(rename = "ConfigID")]
        config_id: String,
        /// Its name.
        config_name: String,
    }
}

fields! {
    /// A limit of a container's processes.
    Ulimit {
        /// Its name, such as `nofile`.
        name: String,
        /// What they begin with.
        soft: i64,
        /// What they may set.
        hard: i64,
    }
}

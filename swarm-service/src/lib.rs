//! The engine as a service of its host: what starts and stops it, whether it runs and whether it comes up at boot.
//!
//! [`ServiceManager`] is the port; [`OnHost`] is it on every [`Host`], by systemd, OpenRC or an init script, whichever the host has. Scripts
//! that have to stop and start an engine in one go, because a connection may end in between, begin with [`shell!`].
//!
//! ```
//! use swarm_service::{Manager, parse};
//!
//! let state = parse("swarm-service-begin\nmanager systemd\nengine 812\nboot no\nswarm-service-end\n")?;
//! assert_eq!((state.manager, state.engine, state.at_boot), (Manager::Systemd, Some(812), Some(false)));
//! # Ok::<(), swarm_service::ServiceError>(())
//! ```

mod shell;

use async_trait::async_trait;
use std::time::Duration;
use swarm_core::host::{Command, Host, HostError};
use swarm_core::id::HostName;
use thiserror::Error;

/// What starts and stops services on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Manager {
    /// systemd.
    Systemd,
    /// OpenRC.
    OpenRc,
    /// Scripts in `/etc/init.d`.
    SysV,
    /// None that is known here: the engine is started by hand, or by something else.
    Unknown,
}

/// The engine's service at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceState {
    /// What the host has.
    pub manager: Manager,
    /// The process id of the engine, where it runs.
    pub engine: Option<u32>,
    /// Whether it is started at boot; `None` where that is not known.
    pub at_boot: Option<bool>,
}

/// Why nothing is known of a service, or it did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The host was not reached, or the connection broke.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It answered something else than was asked for.
    #[error("what the host says about the service of its engine cannot be read")]
    Answer,
    /// The service manager refused, or failed.
    #[error("the engine of {host} could not {verb}: {said}")]
    Failed {
        /// The host.
        host: HostName,
        /// What it was asked to do: `start`, `stop`, `restart` or `come up at boot`.
        verb: &'static str,
        /// The last of what the service manager said, and of the engine's log.
        said: String,
    },
}

/// Looking at the engine's service. Nothing here changes it.
#[async_trait]
pub trait ServiceManagerRead: Send + Sync {
    /// What manages services there, whether the engine runs, and whether it is started at boot.
    ///
    /// # Errors
    /// The host does not answer.
    async fn state(&self) -> Result<ServiceState, ServiceError>;
}

/// Starting and stopping the engine of a host. Each call ends when it is so.
#[async_trait]
pub trait ServiceManager: ServiceManagerRead {
    /// Starts it. One that runs goes on.
    ///
    /// # Errors
    /// The host does not answer, has no service manager that is known here, or the engine does not come up.
    async fn start(&self) -> Result<(), ServiceError>;

    /// Stops it, with the socket on which systemd would start it again. One that is stopped stays so.
    ///
    /// # Errors
    /// As for [`ServiceManager::start`].
    async fn stop(&self) -> Result<(), ServiceError>;

    /// Stops and starts it in one call, which goes on where the connection ends.
    ///
    /// # Errors
    /// As for [`ServiceManager::start`].
    async fn restart(&self) -> Result<(), ServiceError>;

    /// Has it started at boot from now on.
    ///
    /// # Errors
    /// As for [`ServiceManager::start`].
    async fn start_at_boot(&self) -> Result<(), ServiceError>;
}

/// How long a start, a stop or a restart may take: an engine ends the tasks that are left first, and has a minute and a half to come up.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// What prints a state.
const LOOK: &str = concat!(
    "export LC_ALL=C PATH=\"$PATH:/usr/sbin:/sbin\"\n",
    shell!(),
    r#"echo swarm-service-begin
echo "manager $(services)"
pid=$(engine) && echo "engine $pid"
boot=$(starts_at_boot)
[ -z "$boot" ] || echo "boot $boot"
echo swarm-service-end
"#
);

/// What acts. Its argument says what to do. It ends when the engine runs, or has ended: at most a minute later.
const ACT: &str = concat!(
    "export LC_ALL=C PATH=\"$PATH:/usr/sbin:/sbin\"\ntrap '' HUP PIPE\n",
    shell!(),
    r#"case $1 in
  start) engine >/dev/null || service start || { service_log 3 >&2; exit 1; }; comes_up || { service_log 3 >&2; exit 1; };;
  stop) service stop && goes_down || exit 1;;
  restart) service restart && comes_up || { service_log 3 >&2; exit 1; };;
  boot) at_boot; [ "$(starts_at_boot)" != no ];;
esac
"#
);

fn act(argument: &str) -> Vec<String> {
    ["sh", "-c", ACT, "swarm-service", argument].map(str::to_owned).to_vec()
}

/// The program that restarts the engine of the host it runs on, for whoever runs programs there in another way: it ends well once the engine
/// answers, and its standard error says why not.
pub fn restart() -> Vec<String> {
    act("restart")
}

/// Reads what a host printed of its service.
///
/// # Errors
/// It is no such answer.
pub fn parse(text: &str) -> Result<ServiceState, ServiceError> {
    let (_, rest) = text.split_once("swarm-service-begin\n").ok_or(ServiceError::Answer)?;
    let (facts, _) = rest.split_once("swarm-service-end").ok_or(ServiceError::Answer)?;
    let fact = |key: &str| facts.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    let manager = match fact("manager").ok_or(ServiceError::Answer)? {
        "systemd" => Manager::Systemd,
        "openrc" => Manager::OpenRc,
        "sysv" => Manager::SysV,
        _ => Manager::Unknown,
    };
    let at_boot = fact("boot").map(|boot| boot == "yes");
    Ok(ServiceState { manager, engine: fact("engine").and_then(|pid| pid.parse().ok()), at_boot })
}

/// The service manager of a host, whichever it has.
#[derive(Clone, Copy)]
pub struct OnHost<'a>(pub &'a dyn Host);

impl OnHost<'_> {
    async fn act(&self, argument: &str, verb: &'static str) -> Result<(), ServiceError> {
        let command = Command { timeout: PATIENCE, elevated: true, ..Command::new(act(argument)) };
        let ran = self.0.run(&command).await?;
        if ran.status == Some(0) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ran.stderr);
        let last: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty()).rev().take(3).collect();
        let said = last.into_iter().rev().collect::<Vec<_>>().join("; ");
        Err(ServiceError::Failed { host: self.0.name().clone(), verb, said: swarm_core::secret::redact(&said) })
    }
}

#[async_trait]
impl ServiceManagerRead for OnHost<'_> {
    async fn state(&self) -> Result<ServiceState, ServiceError> {
        parse(&self.0.probe(LOOK).await?)
    }
}

#[async_trait]
impl ServiceManager for OnHost<'_> {
    async fn start(&self) -> Result<(), ServiceError> {
        self.act("start", "start").await
    }

    async fn stop(&self) -> Result<(), ServiceError> {
        self.act("stop", "stop").await
    }

    async fn restart(&self) -> Result<(), ServiceError> {
        self.act("restart", "restart").await
    }

    async fn start_at_boot(&self) -> Result<(), ServiceError> {
        self.act("boot", "come up at boot").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_is_read() {
        let read = |facts: &str| parse(&format!("banner\nswarm-service-begin\n{facts}swarm-service-end\n")).ok();
        let state = |manager, engine, at_boot| Some(ServiceState { manager, engine, at_boot });
        assert_eq!(read("manager systemd\nengine 12\nboot yes\n"), state(Manager::Systemd, Some(12), Some(true)));
        assert_eq!(read("manager openrc\nboot no\n"), state(Manager::OpenRc, None, Some(false)));
        assert_eq!(read("manager sysv\nengine 7\n"), state(Manager::SysV, Some(7), None));
        assert_eq!(read("manager none\n"), state(Manager::Unknown, None, None));
        assert_eq!(read("engine 7\n"), None, "it does not say which manager");
        assert!(matches!(parse("swarm-service-begin\nmanager systemd\n"), Err(ServiceError::Answer)), "it was cut off");
    }
}

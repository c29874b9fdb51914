//! What can be done to a host: cuts, lost packets, a full disk, an engine that hangs. [`LabHost::heal`] undoes all of it.

use crate::error::LabError;
use crate::host::LabHost;
use crate::process::run;
use std::net::IpAddr;

/// The chain that holds the lab's packet filters inside a host.
const CHAIN: &str = "SWARM-LAB";
/// The size of the disk that [`LabHost::fill`] gives a host: raft allocates its log in pieces of 64 MB.
const DISK_BYTES: u64 = 512 << 20;

impl LabHost {
    /// Drops everything between this host and an address, both ways.
    pub fn cut(&self, other: IpAddr) -> Result<(), LabError> {
        let other = other.to_string();
        self.filter(&["-s", &other, "-j", "DROP"])?;
        self.filter(&["-d", &other, "-j", "DROP"])
    }

    /// Drops what comes in for a TCP port.
    pub fn drop_port(&self, port: u16) -> Result<(), LabError> {
        self.filter(&["-p", "tcp", "--dport", &port.to_string(), "-j", "DROP"])
    }

    /// Loses this share of the packets of the host, each way, from 0 to 100 percent. 0 ends it.
    pub fn lose(&self, percent: u8) -> Result<(), LabError> {
        let share = format!("{:.2}", f64::from(percent.min(100)) / 100.0);
        for direction in ["-i", "-o"] {
            let rule = [direction, "eth0", "-m", "statistic", "--mode", "random", "--probability"];
            // Another share replaces the one before.
            while let Some(old) = self.lossy(direction)? {
                self.exec(&["iptables", "-w", "-D", CHAIN, &old])?;
            }
            if percent > 0 {
                self.filter(&[&rule[..], &[&share, "-j", "DROP"]].concat())?;
            }
        }
        Ok(())
    }

    /// The number of the rule that loses packets in one direction.
    fn lossy(&self, direction: &str) -> Result<Option<String>, LabError> {
        if self.exec(&["iptables", "-w", "-n", "-L", CHAIN]).is_err() {
            return Ok(None);
        }
        let rules = self.exec(&["iptables", "-w", "-S", CHAIN])?;
        let rules = rules.lines().filter(|l| l.starts_with("-A"));
        let found = rules.zip(1u32..).find(|(l, _)| l.contains("statistic") && l.contains(&format!("{direction} eth0")));
        Ok(found.map(|(_, number)| number.to_string()))
    }

    fn filter(&self, rule: &[&str]) -> Result<(), LabError> {
        if self.exec(&["iptables", "-w", "-n", "-L", CHAIN]).is_err() {
            self.exec(&["iptables", "-w", "-N", CHAIN])?;
            for hook in ["INPUT", "OUTPUT"] {
                self.exec(&["iptables", "-w", "-I", hook, "-j", CHAIN])?;
            }
        }
        self.exec(&[&["iptables", "-w", "-A", CHAIN], rule].concat())?;
        Ok(())
    }

    /// Fills the disk that the engine keeps its swarm state on, but for `left` bytes. The first time, the state moves to a disk of its
    /// own; an engine that is in a swarm is restarted for that.
    pub fn fill(&self, left: u64) -> Result<(), LabError> {
        let image = self.dir.join("disk.img");
        let dir = self.dir.display().to_string();
        if !image.exists() {
            let file = std::fs::File::create(&image).and_then(|f| f.set_len(DISK_BYTES));
            file.map_err(|source| LabError::File { path: image.clone(), source })?;
            run(&["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", &image.display().to_string()])?;
            let restart = self.exec(&["test", "-e", "/var/lib/docker/swarm/docker-state.json"]).is_ok() && !self.engine_pids().is_empty();
            if restart {
                self.stop_engine();
            }
            self.exec(&["sh", &self.dir.join("disk.sh").display().to_string(), &dir])?;
            if restart {
                self.start_engine()?;
            }
        }
        // Allocated and not written, which is quick; what is left over is written until there is no more.
        let script = "rm -f $1/disk/filler; free=$(($(stat -f -c '%a * %S' $1/disk))); size=$((free - $2)); [ $size -gt 0 ] || exit 0; \
                      fallocate -l $size $1/disk/filler 2>/dev/null || { fallocate -l $((size - 1048576)) $1/disk/filler; }; \
                      if [ $2 = 0 ]; then cat /dev/zero >>$1/disk/filler 2>/dev/null || true; fi; sync $1/disk/filler";
        self.exec(&["sh", "-c", script, "fill", &dir, &left.to_string()])?;
        Ok(())
    }

    /// Stops the engine's process where it stands: it keeps its connections and answers nothing.
    pub fn freeze(&self) -> Result<(), LabError> {
        self.signal_engine("STOP")
    }

    /// Undoes what was done to the host: cuts, lost packets, a full disk, an engine that hangs. What was done to the engine's state stays.
    pub fn heal(&self) -> Result<(), LabError> {
        let _ = self.exec(&["iptables", "-w", "-F", CHAIN]);
        if self.dir.join("disk.img").exists() {
            self.exec(&["rm", "-f", &self.dir.join("disk/filler").display().to_string()])?;
        }
        self.signal_engine("CONT")
    }
}

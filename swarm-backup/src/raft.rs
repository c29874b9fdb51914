//! How far a manager's raft log goes, read from its files: who knows most, where no quorum can say so.
//!
//! A log's entries are encrypted, but not what frames them: swarmkit encrypts the data of each entry alone
//! (swarmkit `manager/state/raft/storage/walwrap.go`), inside the frames and records of etcd (etcd `server/storage/wal/encoder.go`,
//! `walpb/record.proto`, `raftpb/raft.proto`).

use flate2::read::GzDecoder;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::fleet::Fleet;
use swarm_core::host::Command;
use swarm_core::id::HostName;
use swarm_core::observe::{Observed, ObservedCluster};

/// The files are made 64 MB long beforehand (etcd `wal.SegmentSizeBytes`), and the last entries may go beyond.
const LIMIT: usize = 96 << 20;
/// How long reading one may take: it is sent compressed, and most of it is zeros.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prints the newest file of a log, compressed. Its argument is the engine's data folder.
const SCRIPT: &str = r#"export LC_ALL=C
dir="$1/swarm/raft/wal-v3-encrypted"
[ -d "$dir" ] || { echo "it has no raft log in $1/swarm" >&2; exit 1; }
last=; for file in "$dir"/*.wal; do [ -f "$file" ] && last=$file; done
[ -n "$last" ] || { echo "its raft log is empty" >&2; exit 1; }
gzip -1 -c "$last"
"#;

/// Where a log ends. A log with a higher term, or in the same term with a higher index, knows everything that another one knows was agreed on
/// (raft, section 5.4.1); so ends are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub struct LogEnd {
    /// The term of the last entry.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// The last index that this manager knows a majority has.
    pub committed: u64,
}

impl fmt::Display for LogEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its raft log ends at index {} of term {}; up to {} it knows of a majority", self.index, self.term, self.committed)
    }
}

/// A field of a protocol buffer: its number, and its value or its bytes.
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for at in 0..10u32 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(at * 7)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The next field; `None` at the end, and where the bytes are none.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<Field<'a>> {
    let tag = varint(bytes)?;
    match tag & 7 {
        0 => Some(Field::Number(tag >> 3, varint(bytes)?)),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            let (value, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Some(Field::Bytes(tag >> 3, value))
        }
        _ => None,
    }
}

/// The numbers of a message by their fields.
fn numbers(mut bytes: &[u8]) -> BTreeMap<u64, u64> {
    let mut all = BTreeMap::new();
    while let Some(next) = field(&mut bytes) {
        if let Field::Number(number, value) = next {
            all.insert(number, value);
        }
    }
    all
}

/// Reads the records of a log's file up to its end, or to the first that is not whole: the engine may be writing it. `None` where it begins
/// with none, or says nothing of where the log is.
pub fn log_end(mut file: &[u8]) -> Option<LogEnd> {
    const ENTRY: u64 = 2;
    const STATE: u64 = 3;
    const SNAPSHOT: u64 = 5;
    let mut end = LogEnd::default();
    let mut said = false;
    while let Some((length, rest)) = file.split_first_chunk::<8>() {
        // The upper byte holds how many bytes of padding follow, where its first bit is set.
        let length = u64::from_le_bytes(*length);
        let padding = if length >> 63 == 1 { (length >> 56) & 7 } else { 0 };
        let length = length & 0x00ff_ffff_ffff_ffff;
        let (Ok(whole), Ok(length)) = (usize::try_from(length.saturating_add(padding)), usize::try_from(length)) else { break };
        let Some((record, rest)) = rest.split_at_checked(whole).filter(|_| length > 0) else { break };
        let mut record = record.get(..length).unwrap_or_default();
        file = rest;
        let (mut kind, mut data) = (0, &[][..]);
        while let Some(next) = field(&mut record) {
            match next {
                Field::Number(1, value) => kind = value,
                Field::Bytes(3, value) => data = value,
                _ => {}
            }
        }
        let of = numbers(data);
        let number = |field: u64| of.get(&field).copied().unwrap_or(0);
        match kind {
            // A later entry at an earlier index takes the place of what was there: a new leader's log is another.
            ENTRY => (end.term, end.index, said) = (number(2), number(3), true),
            STATE => (end.committed, said) = (number(3), true),
            SNAPSHOT if number(1) > end.index => (end.index, end.term, said) = (number(1), number(2), true),
            _ => {}
        }
    }
    said.then_some(end)
}

/// Where the logs of the managers end that answer and hear no leader.
pub async fn log_ends(spec: &ClusterSpec, fleet: &dyn Fleet, observed: &Observed) -> BTreeMap<HostName, Result<LogEnd, String>> {
    let ObservedCluster::NoLeader { managers, .. } = &observed.cluster else { return BTreeMap::new() };
    let mut ends = BTreeMap::new();
    for (name, _) in managers {
        ends.insert(name.clone(), log_end_of(spec, fleet, observed, name).await);
    }
    ends
}

async fn log_end_of(spec: &ClusterSpec, fleet: &dyn Fleet, observed: &Observed, name: &HostName) -> Result<LogEnd, String> {
    let host = spec.host(name).ok_or("it is not in the file")?;
    let engine = observed.hosts.get(name).and_then(|seen| seen.report.engine.as_ref().ok()).ok_or("its engine does not answer")?;
    let machine = fleet.visit(host).await.map_err(|e| e.message)?;
    let argv = ["sh", "-c", SCRIPT, "sh", engine.data_root.as_str()];
    let command = Command { elevated: true, timeout: PATIENCE, output_limit: LIMIT, ..Command::new(argv) };
    let output = machine.run(&command).await.map_err(|e| e.to_string())?;
    if output.status != Some(0) {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(swarm_core::secret::clean(said.lines().next().unwrap_or("its raft log was not read"), 200));
    }
    let mut file = Vec::new();
    let limit = u64::try_from(LIMIT).unwrap_or(u64::MAX);
    GzDecoder::new(output.stdout.as_slice()).take(limit).read_to_end(&mut file).map_err(|e| format!("its raft log was not read: {e}"))?;
    log_end(&file).ok_or_else(|| "its raft log is not of the form that is known here".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &[(u64, u64)], bytes: Option<(u64, &[u8])>) -> Vec<u8> {
        let put = |out: &mut Vec<u8>, mut value: u64| {
            while value > 0x7f {
                out.push((value & 0x7f) as u8 | 0x80);
                value >>= 7;
            }
            out.push(value as u8);
        };
        let mut out = Vec::new();
        for (field, value) in fields {
            put(&mut out, field << 3);
            put(&mut out, *value);
        }
        if let Some((field, bytes)) = bytes {
            put(&mut out, field << 3 | 2);
            put(&mut out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        out
    }

    fn frame(kind: u64, data: &[u8]) -> Vec<u8> {
        let record = message(&[(1, kind), (2, 0xdead_beef)], Some((3, data)));
        let padding = (8 - record.len() % 8) % 8;
        let mut length = record.len() as u64;
        if padding > 0 {
            length |= (0x80 | padding as u64) << 56;
        }
        let mut out = length.to_le_bytes().to_vec();
        out.extend_from_slice(&record);
        out.resize(out.len() + padding, 0);
        out
    }

    fn entry(term: u64, index: u64) -> Vec<u8> {
        frame(2, &message(&[(1, 0), (2, term), (3, index)], Some((4, b"encrypted, and of no matter"))))
    }

    fn log() -> Vec<u8> {
        let parts = [frame(4, b""), frame(1, b"member"), frame(5, &message(&[(1, 5), (2, 1)], None)), entry(2, 6), entry(2, 300)];
        let mut log = parts.concat();
        log.extend(frame(3, &message(&[(1, 2), (2, 77), (3, 299)], None)));
        log
    }

    #[test]
    fn the_last_entry_and_what_a_majority_has() {
        let mut log = log();
        assert_eq!(log_end(&log), Some(LogEnd { term: 2, index: 300, committed: 299 }));
        log.resize(log.len() + 4096, 0);
        assert_eq!(log_end(&log).unwrap().index, 300, "the file is longer than what is written");
        // A new leader takes entries back that no majority had.
        let taken_back = [&log[..log.len() - 4096], &entry(3, 290)].concat();
        assert_eq!(log_end(&taken_back), Some(LogEnd { term: 3, index: 290, committed: 299 }));
        assert!(log_end(&taken_back) > log_end(&log), "the term comes first");
    }

    /// Whatever was being written when the power went: what is whole counts, and nothing else is read into it.
    #[test]
    fn every_cut_is_read_up_to_its_last_whole_record() {
        let log = log();
        let mut last = None;
        for cut in 0..=log.len() {
            let end = log_end(&log[..cut]);
            assert!(end.map(|e| (e.term, e.index)) >= last, "it only grows: {end:?} after {last:?}");
            last = end.map(|e| (e.term, e.index));
        }
        assert_eq!(last, Some((2, 300)));
        assert_eq!(log_end(b""), None);
        assert_eq!(log_end(&[0xff; 64]), None);
        assert_eq!(log_end(b"this is a file of another kind altogether"), None);
    }
}

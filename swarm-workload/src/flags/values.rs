//! Values of flags that have several parts, `KEY=VALUE,KEY=VALUE`, as the docker CLI reads them.

use crate::{Port, short_ports};
use serde_json::{Map, Value, json};

/// The parts of a value: separated by commas, and a part may stand in double quotes (RFC 4180).
fn parts(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let mut fields = vec![String::new()];
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        let Some(last) = fields.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                last.push('"');
            }
            '"' if quoted || last.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => last.push(c),
        }
    }
    if quoted {
        return Err("a quote in it has no end".into());
    }
    let pair = |field: String| match field.split_once('=') {
        Some((key, value)) => (key.trim().to_ascii_lowercase(), Some(value.to_owned())),
        None => (field.trim().to_owned(), None),
    };
    Ok(fields.into_iter().map(pair).collect())
}

fn unknown(key: &str, known: &str) -> String {
    format!("there is no `{key}` in it; write {known}")
}

fn flag(value: Option<&str>) -> Result<bool, String> {
    match value {
        None => Ok(true),
        Some(text) => match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "t" => Ok(true),
            "0" | "false" | "f" => Ok(false),
            _ => Err("write true or false".into()),
        },
    }
}

/// `NAME`, or `source=NAME,target=FILE,uid=,gid=,mode=`.
pub(crate) fn reference(text: &str, name_key: &str) -> Result<Vec<Value>, String> {
    let (mut source, mut target, mut uid, mut gid, mut mode) = (String::new(), None, "0".to_owned(), "0".to_owned(), 0o444);
    let all = parts(text)?;
    if let [(name, None)] = all.as_slice() {
        source.clone_from(name);
    } else {
        for (key, value) in all {
            let value = value.ok_or_else(|| unknown(&key, "source=NAME,target=FILE,uid=0,gid=0,mode=0444"))?;
            match key.as_str() {
                "source" | "src" => source = value,
                "target" => target = Some(value),
                "uid" => uid = value,
                "gid" => gid = value,
                // Without the 0 the docker CLI reads it as a decimal number, which no one means.
                "mode" => {
                    let octal = value.strip_prefix('0').and_then(|digits| u32::from_str_radix(digits, 8).ok());
                    mode = octal.ok_or("write the mode in octal, with its 0: mode=0400")?;
                }
                _ => return Err(unknown(&key, "source, target, uid, gid or mode")),
            }
        }
    }
    if source.is_empty() {
        return Err("it has no source".into());
    }
    let target = target.unwrap_or_else(|| source.clone());
    Ok(vec![json!({ "File": { "Name": target, "UID": uid, "GID": gid, "Mode": mode }, name_key: source })])
}

/// `NETWORK`, or `name=NETWORK,alias=NAME,driver-opt=KEY=VALUE`.
pub(crate) fn network(text: &str) -> Result<Vec<Value>, String> {
    let all = parts(text)?;
    if let [(name, None)] = all.as_slice() {
        return if name.is_empty() { Err("it has no name".into()) } else { Ok(vec![json!({ "Target": name })]) };
    }
    let (mut target, mut aliases, mut options) = (String::new(), Vec::new(), Map::new());
    for (key, value) in all {
        let value = value.ok_or_else(|| unknown(&key, "name=NETWORK,alias=NAME"))?;
        match key.as_str() {
            "name" => target = value,
            "alias" => aliases.push(value),
            "driver-opt" => {
                let (key, value) = value.split_once('=').ok_or("write driver-opt=KEY=VALUE")?;
                options.insert(key.to_owned(), json!(value));
            }
            _ => return Err(unknown(&key, "name, alias or driver-opt")),
        }
    }
    if target.is_empty() {
        return Err("it has no name".into());
    }
    let mut entry = Map::from_iter([("Target".to_owned(), json!(target))]);
    entry.extend((!aliases.is_empty()).then(|| ("Aliases".to_owned(), json!(aliases))));
    entry.extend((!options.is_empty()).then(|| ("DriverOpts".to_owned(), Value::Object(options))));
    Ok(vec![Value::Object(entry)])
}

/// `8080:80/tcp`, or `published=8080,target=80,protocol=tcp,mode=host`.
pub(crate) fn publish(text: &str) -> Result<Vec<Value>, String> {
    const FORMS: &str = "write 8080:80, 53:53/udp, or published=8080,target=80,protocol=tcp,mode=host";
    if !text.contains('=') {
        return match short_ports(text) {
            Some((_, true)) => Err("a service's ports are published on every address: leave the address out".into()),
            Some((ports, false)) => Ok(ports.iter().map(Port::json).collect()),
            None => Err(FORMS.into()),
        };
    }
    let mut port = Port { published: 0, target: 0, protocol: "tcp".into(), mode: "ingress".into() };
    for (key, value) in parts(text)? {
        let value = value.ok_or(FORMS)?;
        let number = || value.parse::<u64>().ok().filter(|n| (1..=65535).contains(n)).ok_or(FORMS);
        match (key.as_str(), value.as_str()) {
            ("published", _) => port.published = number()?,
            ("target", _) => port.target = number()?,
            ("protocol", "tcp" | "udp" | "sctp") => port.protocol.clone_from(&value),
            ("mode", "ingress" | "host") => port.mode.clone_from(&value),
            _ => return Err(FORMS.into()),
        }
    }
    if port.target == 0 { Err("it has no target, the port that the task listens on".into()) } else { Ok(vec![port.json()]) }
}

/// `type=volume,source=NAME,target=PATH` with its options.
pub(crate) fn mount(text: &str) -> Result<Vec<Value>, String> {
    let (mut out, mut bind, mut volume, mut tmpfs) = (Map::new(), Map::new(), Map::new(), Map::new());
    let (mut labels, mut driver, mut driver_options) = (Map::new(), None, Map::new());
    let mut kind = "volume".to_owned();
    for (key, value) in parts(text)? {
        let need = || value.clone().ok_or_else(|| format!("write {key}=VALUE"));
        let pair = |text: &str| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            (key.to_owned(), json!(value))
        };
        match key.as_str() {
            "type" => kind = need()?.to_ascii_lowercase(),
            "source" | "src" => drop(out.insert("Source".into(), json!(need()?))),
            "target" | "dst" | "destination" => drop(out.insert("Target".into(), json!(need()?))),
            "readonly" | "ro" => drop(out.insert("ReadOnly".into(), json!(flag(value.as_deref())?))),
            "consistency" => drop(out.insert("Consistency".into(), json!(need()?))),
            "bind-propagation" => drop(bind.insert("Propagation".into(), json!(need()?))),
            "bind-nonrecursive" => drop(bind.insert("NonRecursive".into(), json!(flag(value.as_deref())?))),
            "bind-recursive" => match need()?.as_str() {
                "enabled" => {}
                "disabled" => drop(bind.insert("NonRecursive".into(), json!(true))),
                "writable" => drop(bind.insert("ReadOnlyNonRecursive".into(), json!(true))),
                "readonly" => drop(bind.insert("ReadOnlyForceRecursive".into(), json!(true))),
                _ => return Err("write bind-recursive=enabled, disabled, writable or readonly".into()),
            },
            "volume-nocopy" => drop(volume.insert("NoCopy".into(), json!(flag(value.as_deref())?))),
            "volume-subpath" => drop(volume.insert("Subpath".into(), json!(need()?))),
            "volume-label" => labels.extend([pair(&need()?)]),
            "volume-driver" => driver = Some(need()?),
            "volume-opt" => driver_options.extend([pair(&need()?)]),
            "tmpfs-size" => {
                let size = crate::bytes(&need()?).ok_or("write tmpfs-size as a number of bytes, for example 64m")?;
                tmpfs.insert("SizeBytes".into(), json!(size));
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(&need()?, 8).map_err(|_| "write tmpfs-mode in octal, for example 1777")?;
                tmpfs.insert("Mode".into(), json!(mode));
            }
            _ => return Err(unknown(&key, "type, source, target, readonly, bind-…, volume-… or tmpfs-…")),
        }
    }
    if driver.is_some() || !driver_options.is_empty() {
        let mut config = Map::new();
        config.extend(driver.map(|name| ("Name".to_owned(), json!(name))));
        config.extend((!driver_options.is_empty()).then(|| ("Options".to_owned(), Value::Object(driver_options))));
        volume.insert("DriverConfig".into(), Value::Object(config));
    }
    volume.extend((!labels.is_empty()).then(|| ("Labels".to_owned(), Value::Object(labels))));
    if !out.contains_key("Target") {
        return Err("it has no target, the path in the task".into());
    }
    match kind.as_str() {
        "volume" | "bind" | "tmpfs" | "npipe" | "cluster" => {}
        _ => return Err("write type=volume, bind or tmpfs".into()),
    }
    for (name, options) in [("bind", &bind), ("volume", &volume), ("tmpfs", &tmpfs)] {
        if name != kind && !options.is_empty() {
            return Err(format!("{name} options are not for a mount of type {kind}"));
        }
    }
    if kind == "tmpfs" && out.contains_key("Source") {
        return Err("a tmpfs has no source".into());
    }
    if kind == "bind" && !out.contains_key("Source") {
        return Err("it has no source, the path on the host".into());
    }
    out.insert("Type".into(), json!(kind));
    for (name, options) in [("BindOptions", bind), ("VolumeOptions", volume), ("TmpfsOptions", tmpfs)] {
        out.extend((!options.is_empty()).then(|| (name.to_owned(), Value::Object(options))));
    }
    Ok(vec![Value::Object(out)])
}

/// The limits that there are (docker/go-units `ulimit.go`).
const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The address of a DNS server.
pub(crate) fn server(text: &str) -> Result<Vec<Value>, String> {
    let address: std::net::IpAddr = text.trim().parse().map_err(|_| "write an IP address, for example 10.0.0.53".to_owned())?;
    Ok(vec![json!(address.to_string())])
}

/// A domain that names are looked for in; a dot alone is none.
pub(crate) fn domain(text: &str) -> Result<Vec<Value>, String> {
    let name = text.trim();
    let fits = |label: &str| {
        let inner = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        inner && label.starts_with(|c: char| c.is_ascii_alphanumeric()) && label.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    let labels = name.strip_suffix('.').unwrap_or(name);
    let known = labels.len() < 255 && labels.contains(|c: char| c.is_ascii_alphabetic()) && labels.split('.').all(fits);
    if name == "." || known { Ok(vec![json!(name)]) } else { Err("write a domain, for example example.org".into()) }
}

/// `NAME=SOFT[:HARD]`.
pub(crate) fn ulimit(text: &str) -> Result<Vec<Value>, String> {
    let read = || {
        let (name, limits) = text.split_once('=')?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let (soft, hard): (i64, i64) = (soft.parse().ok()?, hard.parse().ok()?);
        (ULIMITS.contains(&name) && (hard < 0 || soft <= hard)).then(|| json!({ "Name": name, "Soft": soft, "Hard": hard }))
    };
    read()
        .map(|limit| vec![limit])
        .ok_or_else(|| format!("write NAME=SOFT or NAME=SOFT:HARD, for example nofile=1024:2048; the names are {}", ULIMITS.join(", ")))
}

/// `KIND=COUNT`. A service asks for a number of them; which ones is for the scheduler.
pub(crate) fn generic(text: &str) -> Result<Vec<Value>, String> {
    let read = || {
        let (kind, count) = text.split_once('=')?;
        let count: i64 = count.parse().ok()?;
        (!kind.is_empty() && count > 0).then(|| json!({ "DiscreteResourceSpec": { "Kind": kind, "Value": count } }))
    };
    read().map(|resource| vec![resource]).ok_or_else(|| "write KIND=COUNT, for example gpu=2".to_owned())
}

/// `HOST:ADDRESS`, as the engine has it: `ADDRESS HOST`.
pub(crate) fn host(text: &str) -> Result<Vec<Value>, String> {
    match text.split_once('=').or_else(|| text.split_once(':')) {
        Some((name, address)) if !name.is_empty() => {
            let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
            if bare != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
                return Err(format!("`{bare}` is no IP address"));
            }
            Ok(vec![json!(format!("{bare} {name}"))])
        }
        _ => Err("write HOST:ADDRESS".into()),
    }
}

/// `file://NAME`, `registry://KEY` or `config://NAME`.
pub(crate) fn credential(text: &str) -> Result<Value, String> {
    for (prefix, key) in [("config://", "Config"), ("file://", "File"), ("registry://", "Registry")] {
        if let Some(rest) = text.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
            return Ok(json!({ key: rest }));
        }
    }
    Err("write file://NAME, registry://KEY or config://NAME".into())
}

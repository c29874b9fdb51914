//! Amounts as Compose files and the docker CLI's flags write them.

use std::time::Duration;

/// A duration in Go's form: `1h30m`, `10s`, `1.5s`, `500ms`. Nanoseconds; negative ones are none.
pub fn duration(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total: f64 = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * scale;
        rest = tail;
    }
    (total <= Duration::MAX.as_secs() as f64).then_some(total.round() as u64)
}

/// A number of bytes: `64m`, `1.5GB`, `512`. Units are powers of 1024, as the docker CLI has them.
pub fn bytes(text: &str) -> Option<i64> {
    let text = text.trim_end();
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let power = match unit {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some((number * 1024f64.powi(power)) as i64)
}

/// Billionths of a CPU: `0.5` is 500,000,000. At most nine decimal places.
pub fn cpus(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 9 || !part.chars().all(|c| c.is_ascii_digit()) || (whole.is_empty() && part.is_empty()) {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: i64 = format!("{part:0<9}").parse().ok()?;
    (whole >= 0).then(|| whole.checked_mul(1_000_000_000)?.checked_add(part)).flatten()
}

/// Billionths of processors as people write them, for example `2.5`.
pub(crate) fn cpus_text(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(duration("1m30s"), Some(90_000_000_000));
        assert_eq!(duration("1.5s"), Some(1_500_000_000));
        assert_eq!(duration("500ms"), Some(500_000_000));
        assert_eq!(duration("0"), Some(0));
        for wrong in ["", "10", "s", "1x", "-1s"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        assert_eq!(bytes("64m"), Some(64 << 20));
        assert_eq!(bytes("1.5GB"), Some(3 << 29));
        assert_eq!(bytes("1KiB"), Some(1024));
        assert_eq!(bytes("512"), Some(512));
        assert_eq!(bytes("x"), None);
        assert_eq!(
            (cpus("0.5"), cpus("2"), cpus(".25"), cpus("0.0000000001")),
            (Some(500_000_000), Some(2_000_000_000), Some(250_000_000), None)
        );
    }
}

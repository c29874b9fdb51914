//! Durations as Go and the docker CLI write them.

use std::time::Duration;

/// Parses `90s`, `2160h`, `1h30m`, `1.5h`, `500ms`; also the bare `0`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        let value: f64 = number.parse().ok()?;
        // Rounded to the millisecond: `1.1s` is 1100 ms, not 1099.
        let millis = Duration::try_from_secs_f64((value * seconds * 1000.0).round() / 1000.0).ok()?;
        total = total.checked_add(millis)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

/// Writes a duration the way [`parse_duration`] reads it: `2160h`, `1h30m`, `5s`, `500ms`.
pub fn show_duration(duration: Duration) -> String {
    let total = duration.as_millis();
    if total == 0 {
        return "0s".to_owned();
    }
    let parts = [(total / 3_600_000, "h"), (total / 60_000 % 60, "m"), (total / 1000 % 60, "s"), (total % 1000, "ms")];
    parts.iter().filter(|(value, _)| *value > 0).map(|(value, unit)| format!("{value}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_the_docker_cli_reads_them() {
        let seconds = |text: &str| parse_duration(text).map(|d| d.as_secs_f64());
        assert_eq!(seconds("2160h"), Some(7_776_000.0));
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("1.5h"), Some(5400.0));
        assert_eq!(seconds("500ms"), Some(0.5));
        for wrong in ["", "5", "s", "5x", "-5s", "1..5s", "5 s", "99999999999999999999h"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0u64..10_000_000_000) {
            let duration = Duration::from_millis(millis);
            proptest::prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
    }

    #[test]
    fn endpoints_are_shown_as_they_are_written() {
        use crate::spec::EngineEndpoint;
        assert_eq!(EngineEndpoint::default().to_string(), "unix:///var/run/docker.sock");
        let tcp = EngineEndpoint::Tcp { address: "db-1".parse().unwrap(), port: 2376 };
        assert_eq!(tcp.to_string(), "tcp://db-1:2376");
    }
}

//! Plain scalars as docker reads them: YAML 1.2 with some of YAML 1.1 (octal numbers, underscores), words such as `yes` as texts, and dates as
//! what no key takes.

use swarm_core::spec::{Location, Value};

/// The lines of a file, with where each character begins in those that hold more than ASCII.
pub(crate) struct Lines<'t>(Vec<(&'t str, Option<Vec<usize>>)>);

impl<'t> Lines<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        let places = |line: &str| (!line.is_ascii()).then(|| line.char_indices().map(|(at, _)| at).collect());
        Self(text.lines().map(|line| (line, places(line))).collect())
    }

    /// What stands before a place in its line, and from it on.
    fn around(&self, at: Location) -> Option<(&'t str, &'t str)> {
        let (line, places) = self.0.get(usize::try_from(at.line).ok()?.checked_sub(1)?)?;
        let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
        line.split_at_checked(places.as_ref().map_or(Some(column), |places| places.get(column).copied())?)
    }
}

/// What a plain scalar is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plain {
    /// What the parser made of it.
    AsRead,
    /// Something else.
    Is(Value),
    /// A date.
    Date,
}

/// What stands at a place. `value` is what the parser made of it.
pub(crate) fn plain(value: &Value, at: Location, lines: &Lines<'_>) -> Plain {
    let Some((before, rest)) = lines.around(at) else { return Plain::AsRead };
    let Some(text) = scalar(rest) else { return Plain::AsRead };
    if before.trim_end().ends_with("!!str") {
        return Plain::Is(Value::Text(text.to_owned()));
    }
    match value {
        Value::Text(read) if read != text => Plain::AsRead,
        Value::Text(_) if is_date(text) => Plain::Date,
        Value::Bool(_) if !matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE") => {
            Plain::Is(Value::Text(text.to_owned()))
        }
        Value::Text(_) | Value::Int(_) | Value::Float(_) => integer(text).map_or(Plain::AsRead, |n| Plain::Is(Value::Int(n))),
        _ => Plain::AsRead,
    }
}

/// The plain scalar that begins at a place; nothing where it is quoted or of several lines.
fn scalar(rest: &str) -> Option<&str> {
    if rest.starts_with(['"', '\'', '|', '>', '&', '*', '!', '[', '{']) || rest.starts_with("- ") {
        return None;
    }
    let end = rest.find([',', ']', '}', '#']).unwrap_or(rest.len());
    rest.get(..end).map(str::trim_end)
}

/// A number as YAML 1.1 and 1.2 write whole ones.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let bare: String = digits.chars().filter(|c| *c != '_').collect();
    let number = if let Some(rest) = bare.strip_prefix("0x").or_else(|| bare.strip_prefix("0X")) {
        i64::from_str_radix(rest, 16)
    } else if let Some(rest) = bare.strip_prefix("0o").or_else(|| bare.strip_prefix("0O")) {
        i64::from_str_radix(rest, 8)
    } else if let Some(rest) = bare.strip_prefix("0b").or_else(|| bare.strip_prefix("0B")) {
        i64::from_str_radix(rest, 2)
    } else if let Some(rest) = bare.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        // Not an octal number after all: a decimal one.
        i64::from_str_radix(rest, 8).or_else(|_| bare.parse())
    } else {
        bare.parse()
    };
    number.ok()?.checked_mul(sign)
}

/// `2001-01-01`, with or without a time.
fn is_date(text: &str) -> bool {
    let day = text.get(..10).unwrap_or_default();
    let rest = text.get(10..).unwrap_or_default();
    let shape = day.bytes().enumerate().all(|(index, byte)| if matches!(index, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    day.len() == 10 && shape && (rest.is_empty() || rest.starts_with(['T', 't', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        for (text, number) in [
            ("5", Some(5)),
            ("0440", Some(288)),
            ("0o17", Some(15)),
            ("0x1F", Some(31)),
            ("1_000", Some(1000)),
            ("+3", Some(3)),
            ("089", Some(89)),
        ] {
            assert_eq!(integer(text), number, "{text}");
        }
        for text in ["", "a", "1.5", "1e3", "-", "0x", "_1"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn scalars_where_they_stand() {
        let lines = Lines::of("a: yes # why\nb: [no, 0o17]\nc: \"yes\"\nd: 2001-01-01\né: true");
        let at = |line, column| Location { line, column };
        let text = |text: &str| Plain::Is(Value::Text(text.into()));
        assert_eq!(plain(&Value::Bool(true), at(1, 4), &lines), text("yes"));
        assert_eq!(plain(&Value::Bool(false), at(2, 5), &lines), text("no"));
        assert_eq!(plain(&Value::Text("0o17".into()), at(2, 9), &lines), Plain::Is(Value::Int(15)));
        assert_eq!(plain(&Value::Text("yes".into()), at(3, 4), &lines), Plain::AsRead);
        assert_eq!(plain(&Value::Text("2001-01-01".into()), at(4, 4), &lines), Plain::Date);
        assert_eq!(plain(&Value::Bool(true), at(5, 4), &lines), Plain::AsRead);
    }
}

//! What happened, as a story one can read.

use std::fmt::Write as _;
use std::time::Duration;

/// The lines of a story. Long stories lose their beginning.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: std::collections::VecDeque<(Duration, String, String)>,
    dropped: usize,
    /// Whether anything is written down.
    pub(crate) on: bool,
}

const LONGEST: usize = 4000;

impl Trace {
    pub(crate) fn add(&mut self, at: Duration, who: &str, what: String) {
        if !self.on {
            return;
        }
        if self.lines.len() >= LONGEST {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back((at, who.to_owned(), what));
    }

    pub(crate) fn tell(&self) -> String {
        let mut text = String::new();
        if self.dropped > 0 {
            let _ = writeln!(text, "({} lines before these)", self.dropped);
        }
        for (at, who, what) in &self.lines {
            let _ = writeln!(text, "{:>9.3} s  {who:<8} {what}", at.as_secs_f64());
        }
        text
    }
}

//! Raft arithmetic: n voters need n/2+1 of them, and tolerate the loss of (n-1)/2.

/// How many of `voters` must be there for the swarm to change anything.
pub fn needed(voters: usize) -> usize {
    voters / 2 + 1
}

/// How many of `voters` may be lost.
pub fn tolerated(voters: usize) -> usize {
    voters.saturating_sub(1) / 2
}

/// What to tell about a number of managers; `None` where there is nothing to tell.
pub fn advice(managers: usize) -> Option<String> {
    if managers > 7 {
        Some(format!("{managers} managers slow every change down: each one is written by {} of them", needed(managers)))
    } else if managers > 0 && managers.is_multiple_of(2) {
        let less = managers - 1;
        let tolerates = |n| match tolerated(n) {
            0 => "no failure".to_owned(),
            1 => "1 failure".to_owned(),
            many => format!("{many} failures"),
        };
        Some(format!(
            "{managers} managers tolerate {}, as {less} would, and need {} to agree instead of {}",
            tolerates(managers),
            needed(managers),
            needed(less)
        ))
    } else {
        None
    }
}

/// One line on what a set of managers survives, for example `3 managers, tolerates 1 failure`.
pub fn summary(voters: usize, reachable: usize) -> String {
    let s = |n: usize| if n == 1 { "" } else { "s" };
    if reachable < needed(voters) {
        return format!("{voters} manager{}, {reachable} reachable of {} needed: NO QUORUM", s(voters), needed(voters));
    }
    let left = reachable - needed(voters);
    let lost = if reachable < voters { format!(", {} unreachable", voters - reachable) } else { String::new() };
    format!("{voters} manager{}{lost}, tolerates {left} {}failure{}", s(voters), if lost.is_empty() { "" } else { "more " }, s(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majorities() {
        let table: Vec<(usize, usize, usize)> = (1..=7).map(|n| (n, needed(n), tolerated(n))).collect();
        assert_eq!(table, [(1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 3, 1), (5, 3, 2), (6, 4, 2), (7, 4, 3)]);
    }

    #[test]
    fn even_numbers_and_crowds_are_advised_against() {
        assert_eq!(advice(0), None);
        assert_eq!((1..=9).filter(|n| advice(*n).is_some()).collect::<Vec<_>>(), [2, 4, 6, 8, 9]);
        assert!(advice(2).unwrap().contains("2 managers tolerate no failure, as 1 would, and need 2"));
    }

    #[test]
    fn summaries() {
        assert_eq!(summary(3, 3), "3 managers, tolerates 1 failure");
        assert_eq!(summary(5, 4), "5 managers, 1 unreachable, tolerates 1 more failure");
        assert_eq!(summary(3, 1), "3 managers, 1 reachable of 2 needed: NO QUORUM");
        assert_eq!(summary(1, 1), "1 manager, tolerates 0 failures");
    }
}

//! How many answers in a row make a verdict: kubelet, `prober.worker.doProbe`. Pure.

use super::act::Outcome;

/// Counts the answers of one probe of one container.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    successes_needed: u32,
    failures_needed: u32,
    last: Option<Outcome>,
    run: u32,
}

impl Counter {
    /// With the probe's thresholds, at least one each.
    pub(super) fn new(success_threshold: Option<i32>, failure_threshold: Option<i32>) -> Self {
        let needed = |threshold: Option<i32>, default| {
            let given = threshold.and_then(|threshold| u32::try_from(threshold).ok());
            given.filter(|&given| given > 0).unwrap_or(default)
        };
        Self {
            successes_needed: needed(success_threshold, 1),
            failures_needed: needed(failure_threshold, 3),
            last: None,
            run: 0,
        }
    }

    /// An answer; the verdict, if it has enough like it.
    pub(super) fn take(&mut self, outcome: Outcome) -> Option<bool> {
        if self.last == Some(outcome) {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = Some(outcome);
            self.run = 1;
        }
        match outcome {
            Outcome::Success => (self.run >= self.successes_needed).then_some(true),
            Outcome::Failure => (self.run >= self.failures_needed).then_some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_verdict_needs_enough_in_a_row() {
        let mut counter = Counter::new(Some(2), Some(3));
        let mut say = |outcome| counter.take(outcome);
        use Outcome::{Failure, Success};
        assert_eq!(say(Success), None);
        assert_eq!(say(Success), Some(true));
        assert_eq!(say(Failure), None);
        assert_eq!(say(Failure), None);
        assert_eq!(say(Success), None);
        assert_eq!(say(Failure), None);
        assert_eq!(say(Failure), None);
        assert_eq!(say(Failure), Some(false));
        assert_eq!(say(Failure), Some(false));
    }

    proptest! {
        #[test]
        fn a_verdict_is_what_the_last_answers_all_were(
            answers in prop::collection::vec(any::<bool>(), 0..40),
            successes in 1..4_usize,
            failures in 1..4_usize,
        ) {
            let threshold = |count: usize| i32::try_from(count).ok();
            let mut counter = Counter::new(threshold(successes), threshold(failures));
            for (index, &is_success) in answers.iter().enumerate() {
                let outcome = if is_success { Outcome::Success } else { Outcome::Failure };
                let verdict = counter.take(outcome);
                let needed = if is_success { successes } else { failures };
                let seen = &answers[..=index];
                let in_a_row = seen.iter().rev().take_while(|&&it| it == is_success).count();
                prop_assert_eq!(verdict, (in_a_row >= needed).then_some(is_success));
            }
        }
    }
}

//! Durations of one call: their median and their tail.

use std::time::Duration;

/// A sorted set of durations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn add(&mut self, duration: Duration) {
        let place = self.0.partition_point(|other| *other <= duration);
        self.0.insert(place, duration);
    }

    /// Half of them took no longer.
    pub(crate) fn median(&self) -> Duration {
        self.quantile(50)
    }

    /// 99 of 100 took no longer; with fewer than 100 samples the longest.
    pub(crate) fn p99(&self) -> Duration {
        self.quantile(99)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Nearest rank: the smallest duration that `percent` of the samples do not exceed.
    fn quantile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_tail_are_by_nearest_rank() {
        let mut samples = Samples::default();
        assert_eq!(samples.median(), Duration::ZERO);
        for number in (1..=40).rev() {
            samples.add(Duration::from_millis(number));
        }
        assert_eq!(samples.median(), Duration::from_millis(20));
        assert_eq!(samples.p99(), Duration::from_millis(40));
        for number in 41..=200 {
            samples.add(Duration::from_millis(number));
        }
        assert_eq!(samples.p99(), Duration::from_millis(198));
    }
}

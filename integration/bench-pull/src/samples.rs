//! Figures of one kind: their median and their extremes.

/// Figures in the order of their size.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, figure: f64) {
        let place = self.0.partition_point(|other| *other <= figure);
        self.0.insert(place, figure);
    }

    /// Half of them are not larger.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match self.0.len() % 2 {
            _ if self.0.is_empty() => 0.0,
            0 => f64::midpoint(self.0[middle - 1], self.0[middle]),
            _ => self.0[middle],
        }
    }

    pub(crate) fn smallest(&self) -> f64 {
        self.0.first().copied().unwrap_or_default()
    }

    pub(crate) fn largest(&self) -> f64 {
        self.0.last().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let mut samples = Samples::default();
        assert_eq!(samples.median().to_bits(), 0.0_f64.to_bits());
        for figure in [3.0, 1.0, 2.0] {
            samples.add(figure);
        }
        assert_eq!(samples.median().to_bits(), 2.0_f64.to_bits());
        samples.add(10.0);
        assert_eq!(samples.median().to_bits(), 2.5_f64.to_bits());
        assert_eq!(samples.smallest().to_bits(), 1.0_f64.to_bits());
        assert_eq!(samples.largest().to_bits(), 10.0_f64.to_bits());
    }
}

//! Median, extremes and the 99th percentile of some measurements.

use serde::Serialize;

/// The spread of at least one measurement. Without any, all fields are `NaN`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// The smallest measurement that 99 % of all do not exceed.
    pub(crate) p99: f64,
}

impl Spread {
    pub(crate) fn of(measurements: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = measurements.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
        };
        let last = sorted.len().wrapping_sub(1);
        Self {
            median,
            least: at(0),
            most: at(last),
            p99: at((sorted.len() * 99).div_ceil(100).wrapping_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_count_is_between_the_two_in_the_middle() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter());
        assert_eq!(spread, Spread { median: 2.5, least: 1.0, most: 4.0, p99: 4.0 });
    }

    #[test]
    fn median_of_an_odd_count_is_the_one_in_the_middle() {
        let spread = Spread::of([9.0, 1.0, 3.0].into_iter());
        assert_eq!(spread, Spread { median: 3.0, least: 1.0, most: 9.0, p99: 9.0 });
    }

    #[test]
    fn one_of_a_hundred_measurements_exceeds_the_99th_percentile() {
        assert_eq!(Spread::of((1..=100).map(f64::from)).p99, 99.0);
        assert_eq!(Spread::of((1..=200).map(f64::from)).p99, 198.0);
    }
}

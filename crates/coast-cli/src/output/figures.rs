//! Numbers in the forms that are printed for people.

use std::fmt;
use std::time::Duration;

/// A whole number with a comma between thousands, as rsync prints them.
pub(crate) struct Grouped(pub(crate) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A number with two decimals and commas between thousands, as rsync prints rates.
pub(crate) struct GroupedDecimal(pub(crate) f64);

impl fmt::Display for GroupedDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.2}", self.0);
        match text.split_once('.').and_then(|(whole, rest)| Some((whole.parse().ok()?, rest))) {
            Some((whole, rest)) => write!(f, "{}.{rest}", Grouped(whole)),
            None => f.write_str(&text),
        }
    }
}

/// A number of bytes in the largest suitable unit: `999 B`, `1.2 kB`, `34.5 MB` (powers of 1000).
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1000 {
            return write!(f, "{} B", self.0);
        }
        #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
        let mut value = self.0 as f64;
        let mut unit = "";
        for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
            // A value that would be rounded to 1000.0 belongs to the next unit.
            if !unit.is_empty() && value < 999.95 {
                break;
            }
            value /= 1000.0;
            unit = larger;
        }
        write!(f, "{value:.1} {unit}")
    }
}

/// A duration in seconds: two decimals below 10 s, else one.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 10.0 { write!(f, "{seconds:.2} s") } else { write!(f, "{seconds:.1} s") }
    }
}

/// Returns a count with its noun: `1 file`, `2 files`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", Grouped(count), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(Grouped(number).to_string(), text);
        }
        assert_eq!(GroupedDecimal(1_234.567).to_string(), "1,234.57");
        assert_eq!(GroupedDecimal(0.0).to_string(), "0.00");
        assert_eq!(GroupedDecimal(f64::INFINITY).to_string(), "inf");
    }

    #[test]
    fn sizes_have_the_unit_that_suits_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_999, "1.0 MB"),
            (1_500_000_000, "1.5 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn durations_are_in_seconds() {
        assert_eq!(Seconds(Duration::from_millis(314)).to_string(), "0.31 s");
        assert_eq!(Seconds(Duration::from_millis(31_420)).to_string(), "31.4 s");
    }
}

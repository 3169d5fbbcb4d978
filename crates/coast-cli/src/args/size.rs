//! Rates as rsync spells them: a number, with decimals if wanted, and a suffix. `K` means 1024 and `KB` means 1000. A number
//! without a suffix is in `K`, as rsync's manual says under `--max-size` and `--bwlimit`.

use std::num::NonZeroU64;

/// The smallest rate that rsync accepts, in bytes per second.
const MIN_RATE: u64 = 512;

/// Parses a size such as `100b`, `1.5m`, `2GB`, `3KiB` or `1k-1`, and returns it in bytes.
fn parse_size(text: &str) -> Result<u64, String> {
    let number_len = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, rest) = text.split_at(number_len);
    let value: f64 =
        number.parse().map_err(|_| format!("{text:?} is not a size: it must start with a number"))?;

    // rsync's spelling for one byte less and one byte more.
    let (suffix, adjust) = match rest.strip_suffix("+1") {
        Some(suffix) => (suffix, 1),
        None => rest.strip_suffix("-1").map_or((rest, 0), |suffix| (suffix, -1)),
    };
    let multiplier = multiplier(suffix)
        .ok_or_else(|| format!("{text:?} is not a size: unknown suffix {suffix:?}; use B, K, M, G, T, P (x1024) or KB, MB ... (x1000)"))?;

    let bytes = value * multiplier;
    // 2^63: no file can be larger, and below it the conversion is exact enough.
    if bytes >= 9_223_372_036_854_775_808.0 {
        return Err(format!("{text:?} is too large"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked against 2^63; never negative"
    )]
    let bytes = bytes as u64;
    bytes.checked_add_signed(adjust).ok_or_else(|| format!("{text:?} is too small"))
}

fn multiplier(suffix: &str) -> Option<f64> {
    let suffix = suffix.to_ascii_lowercase();
    let mut letters = suffix.chars();
    let power = match letters.next() {
        Some('b') => 0,
        None | Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        Some(_) => return None,
    };
    let base: f64 = match letters.as_str() {
        "" | "ib" => 1024.0,
        "b" => 1000.0,
        _ => return None,
    };
    Some(base.powi(power))
}

/// Parses the value of `--bwlimit`, and returns it in bytes per second. Zero means no limit.
pub(crate) fn parse_rate(text: &str) -> Result<Option<NonZeroU64>, String> {
    let rate = parse_size(text)?;
    if rate != 0 && rate < MIN_RATE {
        return Err(format!(
            "{text:?} is too small: at least {MIN_RATE} bytes per second, or 0 for no limit"
        ));
    }
    Ok(NonZeroU64::new(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_rsync_reads_them() {
        for (text, expected) in [
            ("0", 0),
            ("100", 102_400),
            ("100b", 100),
            ("1k", 1024),
            ("1K", 1024),
            ("1KiB", 1024),
            ("1kb", 1000),
            ("1.5m", 1_572_864),
            ("1.5MB", 1_500_000),
            (".5k", 512),
            ("2G", 2 << 30),
            ("1t", 1 << 40),
            ("1p", 1 << 50),
            ("1k-1", 1023),
            ("1k+1", 1025),
            ("10b-1", 9),
        ] {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_a_size_is_refused() {
        for text in
            ["", "k", "-1", "1x", "1kib2", "1kk", "1.2.3", "1 k", "+1", "99999999p", "0-1", "inf", "1e3"]
        {
            assert!(parse_size(text).is_err(), "{text:?} was read as a size");
        }
    }

    #[test]
    fn a_rate_is_in_kibibytes_and_zero_means_no_limit() {
        assert_eq!(parse_rate("0"), Ok(None));
        assert_eq!(parse_rate("1.5"), Ok(NonZeroU64::new(1536)));
        assert_eq!(parse_rate("1m"), Ok(NonZeroU64::new(1 << 20)));
        assert!(parse_rate("100b").is_err());
    }
}

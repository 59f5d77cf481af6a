//! Quantities as people write them, parsed to integers.
//!
//! Owns the spellings `500m`, `2`, `4Gi`, `16GB`, `10s`, `1h` and money. Everything becomes an integer of one
//! stated unit (milli-CPU, bytes, milliseconds, micro-units); fractions that are not whole in that unit are
//! refused rather than rounded. Refuses floats.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct QuantityError {
    text: String,
    expected: &'static str,
}

fn fail<T>(text: &str, expected: &'static str) -> Result<T, QuantityError> {
    Err(QuantityError { text: text.chars().take(40).collect(), expected })
}

/// As [`scaled_wide`], when it fits 64 bits.
fn scaled(number: &str, unit: u128) -> Option<u64> {
    u64::try_from(scaled_wide(number, unit)?).ok()
}

/// `number` (digits, optional `.digits`) times `unit`, exact, or `None`.
fn scaled_wide(number: &str, unit: u128) -> Option<u128> {
    let (whole, frac) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| !s.is_empty() && s.len() <= 39 && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || (number.contains('.') && (!digits(frac) || frac.len() > 9)) {
        return None;
    }
    let mut value = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    if !frac.is_empty() {
        let scale = 10u128.pow(frac.len() as u32);
        let part = frac.parse::<u128>().ok()?.checked_mul(unit)?;
        if !part.is_multiple_of(scale) {
            return None;
        }
        value = value.checked_add(part / scale)?;
    }
    Some(value)
}

fn split_unit(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(at)
}

/// CPU in thousandths of a core: `500m`, `2`, `1.5`.
pub fn parse_cpu_milli(text: &str) -> Result<u32, QuantityError> {
    const EXPECTED: &str = "an amount of CPU such as 500m, 2 or 1.5 (thousandths of a core at the finest)";
    let (number, unit) = split_unit(text);
    let milli = match unit {
        "" => scaled(number, 1000),
        "m" => scaled(number, 1),
        _ => None,
    };
    match milli.and_then(|m| u32::try_from(m).ok()) {
        Some(m) if m > 0 => Ok(m),
        _ => fail(text, EXPECTED),
    }
}

/// Bytes: `4Gi`, `16GB`, `512M`, `1048576`.
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    let (number, unit) = split_unit(text);
    let factor: u128 = match unit {
        "" | "B" => 1,
        "k" | "K" | "kB" | "KB" => 1000,
        "M" | "MB" => 1000 * 1000,
        "G" | "GB" => 1000 * 1000 * 1000,
        "T" | "TB" => 1000u128.pow(4),
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        "Ti" | "TiB" => 1 << 40,
        _ => 0,
    };
    match scaled(number, factor) {
        Some(bytes) if factor > 0 => Ok(bytes),
        _ => fail(text, "a size such as 256Mi, 4Gi, 16GB or a number of bytes"),
    }
}

/// Milliseconds: `250ms`, `10s`, `5m`, `1h`, `2d`.
pub fn parse_duration_ms(text: &str) -> Result<u64, QuantityError> {
    let (number, unit) = split_unit(text);
    let factor: u128 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    match scaled(number, factor) {
        Some(ms) if factor > 0 => Ok(ms),
        _ => fail(text, "a duration such as 250ms, 10s, 5m or 1h (the unit is required)"),
    }
}

/// Bytes as people read them (`256Mi`, `1000`): exact when a binary unit divides them.
pub fn format_bytes(bytes: u64) -> String {
    for (shift, unit) in [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Money in micro-units of the chain's one token. Arithmetic is checked; there is no other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, BorshSerialize, BorshDeserialize)]
pub struct Amount(pub u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);
    /// Micro-units in one token.
    pub const MICROS: u128 = 1_000_000;

    /// Sum, or `None` on overflow.
    pub fn checked_add(self, other: Amount) -> Option<Amount> {
        self.0.checked_add(other.0).map(Amount)
    }
    /// Difference, or `None` below zero.
    pub fn checked_sub(self, other: Amount) -> Option<Amount> {
        self.0.checked_sub(other.0).map(Amount)
    }
    /// Product with a count, or `None` on overflow.
    pub fn checked_mul(self, count: u128) -> Option<Amount> {
        self.0.checked_mul(count).map(Amount)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micros) = (self.0 / Self::MICROS, self.0 % Self::MICROS);
        if micros == 0 {
            return write!(f, "{whole}");
        }
        let frac = format!("{micros:06}");
        write!(f, "{whole}.{}", frac.trim_end_matches('0'))
    }
}
impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Amount {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        const EXPECTED: &str = "an amount of tokens such as 5 or 0.25 (six decimals at most)";
        match scaled_wide(text, Self::MICROS) {
            Some(micros) => Ok(Amount(micros)),
            None => fail(text, EXPECTED),
        }
    }
}
impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        <String as serde::Deserialize>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_the_vocabulary() {
        assert_eq!(parse_cpu_milli("500m"), Ok(500));
        assert_eq!(parse_cpu_milli("2"), Ok(2000));
        assert_eq!(parse_cpu_milli("1.5"), Ok(1500));
        assert_eq!(parse_bytes("4Gi"), Ok(4 << 30));
        assert_eq!(parse_bytes("16GB"), Ok(16_000_000_000));
        assert_eq!(parse_bytes("1.5Mi"), Ok(1_572_864));
        assert_eq!(parse_duration_ms("10s"), Ok(10_000));
        assert_eq!(parse_duration_ms("1h"), Ok(3_600_000));
        assert_eq!("0.25".parse(), Ok(Amount(250_000)));
        assert_eq!(Amount(1_250_000).to_string(), "1.25");
        assert_eq!(format_bytes(256 << 20), "256Mi");
    }

    #[test]
    fn wrong_spellings_are_refused() {
        for bad in ["", "m", "0", "-1", "1x", "1.0001", "1..2", ".5", "5.", "99999999999", "1e3", " 1"] {
            assert!(parse_cpu_milli(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "Gi", "4gi", "1.0000001Ki", "99999999999999999999", "1_000"] {
            assert!(parse_bytes(bad).is_err(), "{bad:?}");
        }
        for bad in ["10", "s", "1.0001ms", "1w"] {
            assert!(parse_duration_ms(bad).is_err(), "{bad:?}");
        }
        assert!("0.0000001".parse::<Amount>().is_err());
        assert!("9".repeat(39).parse::<Amount>().is_err());
    }

    #[test]
    fn every_amount_reads_back() {
        for micros in [0, 1, u128::from(u64::MAX), u128::from(u64::MAX) + 1, 1 << 100, u128::MAX] {
            assert_eq!(Amount(micros).to_string().parse(), Ok(Amount(micros)));
        }
    }
}

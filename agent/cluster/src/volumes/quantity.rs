//! Amounts as Kubernetes writes them (`10Gi`, `1500m`, `1e9`), to be compared.
//!
//! Source: k8s.io/apimachinery pkg/api/resource, `Quantity`.

/// Amounts are counted in billionths, the smallest part that Kubernetes knows.
const NANO: i128 = 1_000_000_000;

/// An amount, in billionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quantity(i128);

impl Quantity {
    /// Reads an amount; none if it is not one, or is too large to be counted.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (numerator, denominator) = unit(suffix)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.trim_start_matches(['+', '-']).is_empty() && fraction.is_empty() {
            return None;
        }
        let digits = i128::try_from(fraction.len()).ok()?;
        // More digits than a billionth has are cut off, where Kubernetes rounds up: no bound is that close.
        let fraction = &fraction[..fraction.len().min(9)];
        let scale = 10_i128.checked_pow(u32::try_from(digits.min(9)).ok()?)?;
        let value: i128 = format!("{whole}{fraction}").parse().ok()?;
        let value = value.checked_mul(numerator)?.checked_mul(NANO)?;
        Some(Self(value / scale / denominator))
    }

    /// Whether it says nothing.
    pub(super) fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// A unit as a fraction.
fn unit(suffix: &str) -> Option<(i128, i128)> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    const SMALL: [&str; 3] = ["m", "u", "n"];
    let place = |units: &[&str]| (1_u32..).zip(units).find(|(_, unit)| **unit == suffix).map(|(place, _)| place);
    if suffix.is_empty() {
        return Some((1, 1));
    }
    if let Some(power) = place(&BINARY) {
        return Some((1024_i128.pow(power), 1));
    }
    if let Some(power) = place(&DECIMAL) {
        return Some((1000_i128.pow(power), 1));
    }
    if let Some(power) = place(&SMALL) {
        return Some((1, 1000_i128.pow(power)));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs().min(18))?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_compared_whatever_their_units() {
        let rows = [
            ("1", "1000m"),
            ("1Ki", "1024"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("2E", "2000000000000000000"),
            ("5E0", "5"),
            ("1Ei", "1152921504606846976"),
            (" 10Gi ", "10Gi"),
            ("-1", "-1000m"),
            ("100n", "0.0000001"),
            (".5", "500m"),
        ];
        for (one, other) in rows {
            assert_eq!(Quantity::parse(one), Quantity::parse(other), "{one} = {other}");
            assert!(Quantity::parse(one).is_some(), "{one}");
        }
        assert!(Quantity::parse("9.99Gi") < Quantity::parse("10Gi"));
    }

    #[test]
    fn other_texts_are_no_amounts() {
        for text in ["", "Gi", "1Gb", "ten", "1 Gi", "--1", "1.2.3", "e5"] {
            assert_eq!(Quantity::parse(text), None, "{text:?}");
        }
    }
}

//! Exact fractions.

/// A fraction without a sign, in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    num: u128,
    den: u128,
}

impl Ratio {
    pub fn whole(n: u128) -> Self {
        Ratio { num: n, den: 1 }
    }

    /// `num / den`; None for a zero denominator.
    pub fn new(num: u128, den: u128) -> Option<Self> {
        let (mut a, mut b) = (num, den);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        (den != 0).then(|| Ratio {
            num: num / a,
            den: den / a,
        })
    }

    /// The number that a decimal text such as `114660.07` or `1e3` says, exactly; None for anything else.
    pub fn decimal(text: &str) -> Option<Self> {
        let text = text.trim();
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let mantissa = mantissa.strip_prefix('+').unwrap_or(mantissa);
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, part].concat();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let num: u128 = digits.parse().ok()?;
        let places = i32::try_from(part.len()).ok()?.checked_sub(exponent)?;
        let power = 10u128.checked_pow(places.unsigned_abs());
        if num == 0 {
            return Some(Ratio::whole(0));
        }
        if places >= 0 {
            Ratio::new(num, power?)
        } else {
            Some(Ratio::whole(num.checked_mul(power?)?))
        }
    }

    /// The product; None where it overflows.
    pub fn times(self, other: Ratio) -> Option<Self> {
        // Lowest terms crosswise first, so that only a product too large overflows.
        let a = Ratio::new(self.num, other.den)?;
        let b = Ratio::new(other.num, self.den)?;
        Ratio::new(a.num.checked_mul(b.num)?, a.den.checked_mul(b.den)?)
    }

    /// The quotient; None for a division by zero or where it overflows.
    pub fn over(self, other: Ratio) -> Option<Self> {
        self.times(Ratio::new(other.den, other.num)?)
    }

    /// The largest whole number that is not larger.
    pub fn floor(self) -> u128 {
        self.num / self.den
    }

    /// The smallest whole number that is not smaller.
    pub fn ceil(self) -> u128 {
        self.num.div_ceil(self.den)
    }

    pub fn is_whole(self) -> bool {
        self.den == 1
    }

    pub fn is_zero(self) -> bool {
        self.num == 0
    }

    pub fn to_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.den == 1 {
            write!(f, "{}", self.num)
        } else {
            write!(f, "{}", self.to_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        assert_eq!(Ratio::decimal("114660.07"), Ratio::new(11466007, 100));
        assert_eq!(Ratio::decimal("1.5e3"), Some(Ratio::whole(1500)));
        assert_eq!(Ratio::decimal("25e-2"), Ratio::new(1, 4));
        for bad in ["", ".", "-1", "1.2.3", "inf", "nan", "0x10", "1e999", "é"] {
            assert_eq!(Ratio::decimal(bad), None, "{bad}");
        }
    }
}

//! numpy's legacy `RandomState`: the Mersenne Twister and the draws that DLIO makes from it, bit for bit.
//!
//! Source: the MT19937 reference algorithm (Matsumoto and Nishimura) and the documented algorithms of numpy's legacy
//! distributions: polar Gauss, inverse exponential, Marsaglia-Tsang gamma, multiplication and PTRS Poisson.

const N: usize = 624;
const M: usize = 397;

/// A generator seeded as `numpy.random.seed(n)` does.
#[derive(Clone)]
pub struct Mt19937 {
    state: [u32; N],
    at: usize,
    cached_gauss: Option<f64>,
}

impl Mt19937 {
    /// `numpy.random.seed(seed)`; numpy takes seeds below 2^32, and so only those bits are used.
    pub fn new(seed: u64) -> Self {
        let mut state = [0u32; N];
        state[0] = seed as u32;
        for k in 1..N {
            state[k] = 1_812_433_253u32
                .wrapping_mul(state[k - 1] ^ (state[k - 1] >> 30))
                .wrapping_add(k as u32);
        }
        Mt19937 {
            state,
            at: N,
            cached_gauss: None,
        }
    }

    fn twist(&mut self) {
        for k in 0..N {
            let y = (self.state[k] & 0x8000_0000) | (self.state[(k + 1) % N] & 0x7fff_ffff);
            let mut next = self.state[(k + M) % N] ^ (y >> 1);
            if y & 1 == 1 {
                next ^= 0x9908_b0df;
            }
            self.state[k] = next;
        }
        self.at = 0;
    }

    pub fn next_u32(&mut self) -> u32 {
        if self.at == N {
            self.twist();
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Uniform over `[0, 1)` with 53 bits.
    pub fn double(&mut self) -> f64 {
        let high = f64::from(self.next_u32() >> 5);
        let low = f64::from(self.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// Standard normal; every second value comes from the first one's calculation.
    pub fn gauss(&mut self) -> f64 {
        if let Some(value) = self.cached_gauss.take() {
            return value;
        }
        loop {
            let x1 = 2.0 * self.double() - 1.0;
            let x2 = 2.0 * self.double() - 1.0;
            let r2 = x1 * x1 + x2 * x2;
            if r2 > 0.0 && r2 < 1.0 {
                let f = (-2.0 * r2.ln() / r2).sqrt();
                self.cached_gauss = Some(f * x1);
                return f * x2;
            }
        }
    }

    pub fn normal(&mut self, mean: f64, stdev: f64) -> f64 {
        mean + stdev * self.gauss()
    }

    /// Exponential with scale 1.
    pub fn standard_exponential(&mut self) -> f64 {
        -(1.0 - self.double()).ln()
    }

    /// Gamma with scale 1.
    pub fn standard_gamma(&mut self, shape: f64) -> f64 {
        if shape == 1.0 {
            return self.standard_exponential();
        }
        if shape == 0.0 {
            return 0.0;
        }
        if shape < 1.0 {
            loop {
                let u = self.double();
                let v = self.standard_exponential();
                if u <= 1.0 - shape {
                    let x = u.powf(1.0 / shape);
                    if x <= v {
                        return x;
                    }
                } else {
                    let y = -((1.0 - u) / shape).ln();
                    let x = (1.0 - shape + shape * y).powf(1.0 / shape);
                    if x <= v + y {
                        return x;
                    }
                }
            }
        }
        let b = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * b).sqrt();
        loop {
            let (mut x, mut v);
            loop {
                x = self.gauss();
                v = 1.0 + c * x;
                if v > 0.0 {
                    break;
                }
            }
            v = v * v * v;
            let u = self.double();
            if u < 1.0 - 0.0331 * (x * x) * (x * x) || u.ln() < 0.5 * x * x + b * (1.0 - v + v.ln())
            {
                return b * v;
            }
        }
    }

    pub fn poisson(&mut self, lam: f64) -> u64 {
        if lam >= 10.0 {
            self.poisson_ptrs(lam)
        } else if lam == 0.0 {
            0
        } else {
            let limit = (-lam).exp();
            let mut count = 0;
            let mut product = 1.0;
            loop {
                product *= self.double();
                if product <= limit {
                    return count;
                }
                count += 1;
            }
        }
    }

    // Hörmann 1993, transformed rejection with squeeze.
    fn poisson_ptrs(&mut self, lam: f64) -> u64 {
        let slam = lam.sqrt();
        let loglam = lam.ln();
        let b = 0.931 + 2.53 * slam;
        let a = -0.059 + 0.02483 * b;
        let invalpha = 1.1239 + 1.1328 / (b - 3.4);
        let vr = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let u = self.double() - 0.5;
            let v = self.double();
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + lam + 0.43).floor();
            if us >= 0.07 && v <= vr {
                return k as u64;
            }
            if k < 0.0 || (us < 0.013 && v > us) {
                continue;
            }
            if v.ln() + invalpha.ln() - (a / (us * us) + b).ln()
                <= -lam + k * loglam - log_gamma(k + 1.0)
            {
                return k as u64;
            }
        }
    }

    /// Uniform integer in `0..=max` by masked rejection.
    pub fn interval(&mut self, max: u64) -> u64 {
        if max == 0 {
            return 0;
        }
        let mask = u64::MAX >> max.leading_zeros();
        loop {
            let value = if max <= u64::from(u32::MAX) {
                u64::from(self.next_u32()) & mask
            } else {
                ((u64::from(self.next_u32()) << 32) | u64::from(self.next_u32())) & mask
            };
            if value <= max {
                return value;
            }
        }
    }

    /// `numpy.random.shuffle`
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.interval(i as u64) as usize;
            items.swap(i, j);
        }
    }
}

/// Natural logarithm of the gamma function for x >= 1 by Stirling's series, as numpy's `loggam`.
fn log_gamma(x: f64) -> f64 {
    const A: [f64; 10] = [
        8.333333333333333e-02,
        -2.777777777777778e-03,
        7.936507936507937e-04,
        -5.952380952380952e-04,
        8.417508417508418e-04,
        -1.917526917526918e-03,
        6.41025641025641e-03,
        -2.955065359477124e-02,
        1.796443723688307e-01,
        -1.392_432_216_905_9,
    ];
    if x == 1.0 || x == 2.0 {
        return 0.0;
    }
    let n = if x < 7.0 { (7.0 - x) as u64 } else { 0 };
    let mut x0 = x + n as f64;
    let x2 = (1.0 / x0) * (1.0 / x0);
    let lg2pi = 1.837_877_066_409_345_3;
    let mut gl0 = A[9];
    for a in A[..9].iter().rev() {
        gl0 = gl0 * x2 + a;
    }
    let mut gl = gl0 / x0 + 0.5 * lg2pi + (x0 - 0.5) * x0.ln() - x0;
    for _ in 0..n {
        gl -= (x0 - 1.0).ln();
        x0 -= 1.0;
    }
    gl
}

#[cfg(test)]
mod tests {
    use super::*;

    // numpy.random.RandomState(10)
    #[test]
    fn seed_10_gives_numpys_words_and_gausses() {
        let mut r = Mt19937::new(10);
        assert_eq!(
            [r.next_u32(), r.next_u32(), r.next_u32(), r.next_u32()],
            [3312796937, 1283169405, 89128932, 2124247567]
        );
        let mut r = Mt19937::new(10);
        let expected = [
            1.331586504129518,
            0.7152789743984055,
            -1.5454002921112682,
            -0.008383849928522256,
            0.6213359738904805,
            -0.7200855607188968,
        ];
        for value in expected {
            assert_eq!(r.gauss(), value);
        }
    }

    // numpy.random.seed(s); a = numpy.arange(10); numpy.random.shuffle(a)
    #[test]
    fn shuffles_are_numpys() {
        let shuffled = |seed| {
            let mut a: Vec<u32> = (0..10).collect();
            Mt19937::new(seed).shuffle(&mut a);
            a
        };
        assert_eq!(shuffled(124), [6, 8, 3, 5, 4, 0, 9, 2, 7, 1]);
        assert_eq!(shuffled(123), [4, 0, 7, 5, 8, 3, 1, 6, 9, 2]);
    }

    // numpy 1.x and 2.x RandomState agree on the legacy distributions; values printed by numpy 2.4.6.
    #[test]
    fn distributions_are_numpys() {
        let close =
            |a: f64, b: f64| assert!((a - b).abs() <= 1e-12 * b.abs().max(1.0), "{a} != {b}");
        let mut r = Mt19937::new(42);
        for value in [
            0.23463404498842955,
            1.5050607154587605,
            0.6583728467727247,
            0.4564712768879766,
            0.08481243523117314,
            0.08479814595730259,
        ] {
            close(r.standard_exponential() * 0.5, value);
        }
        let mut r = Mt19937::new(42);
        for value in [
            0.8949406096274438,
            0.5908358872446038,
            0.5519865410236735,
            0.5519930424709132,
            1.62648202226299,
            1.0511974242170044,
        ] {
            close(r.standard_gamma(2.5) * 0.3, value);
        }
        let mut r = Mt19937::new(42);
        for value in [
            0.24989261839059512,
            0.9603111887673259,
            0.07037120446797591,
            0.01715387771860942,
            0.5930469093617584,
            0.0038973707121854923,
        ] {
            close(r.standard_gamma(0.7), value);
        }
        let mut r = Mt19937::new(42);
        for value in [4, 1, 3, 3, 2, 3, 2, 3] {
            assert_eq!(r.poisson(3.0), value);
        }
        let mut r = Mt19937::new(42);
        for value in [38, 44, 33, 42, 47, 33, 36, 39] {
            assert_eq!(r.poisson(40.0), value);
        }
    }
}

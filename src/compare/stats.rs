//! Tests of significance over few values.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Mean, and sum of squared distances from it over n - 1.
fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, squares / (n - 1.0))
}

/// What a test says about two samples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Significance {
    /// `welch_t` or `mann_whitney_u`.
    pub test: &'static str,
    /// Values of the first and of the second sample.
    pub n: [usize; 2],
    /// t, or U of the first sample.
    pub statistic: f64,
    /// Two-sided.
    pub p_value: f64,
}

/// Welch's t-test of equal means, two-sided. Err: why it cannot be made.
///
/// Source: B. L. Welch, 1947; degrees of freedom by Welch and Satterthwaite.
pub fn welch(a: &[f64], b: &[f64]) -> Result<Significance, String> {
    let n = [a.len(), b.len()];
    if n[0] < 2 || n[1] < 2 {
        return Err(format!(
            "n is too small: {} and {} values, a t-test needs at least 2 and 2",
            n[0], n[1]
        ));
    }
    let [(ma, va), (mb, vb)] = [a, b].map(mean_and_variance);
    let (va, vb) = (va / n[0] as f64, vb / n[1] as f64);
    let difference = ma - mb;
    let of = |statistic, p_value| Significance {
        test: "welch_t",
        n,
        statistic,
        p_value,
    };
    if va + vb == 0.0 {
        return if difference == 0.0 {
            Ok(of(0.0, 1.0))
        } else {
            Err("neither run's values vary: a t-test needs a variance".into())
        };
    }
    let t = difference / (va + vb).sqrt();
    let freedom =
        (va + vb).powi(2) / (va.powi(2) / (n[0] as f64 - 1.0) + vb.powi(2) / (n[1] as f64 - 1.0));
    let distribution = StudentsT::new(0.0, 1.0, freedom).map_err(|e| e.to_string())?;
    Ok(of(t, (2.0 * distribution.cdf(-t.abs())).min(1.0)))
}

/// The Mann-Whitney U test, two-sided: the normal approximation with corrections for ties and continuity.
/// It assumes no distribution of the values: times of steps are not normal. Err: why it cannot be made.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> Result<Significance, String> {
    let n = [a.len(), b.len()];
    if n[0] < 8 || n[1] < 8 {
        return Err(format!(
            "n is too small: {} and {} values, the normal approximation needs at least 8 and 8",
            n[0], n[1]
        ));
    }
    let of = |list: &[f64], is_a: bool| list.iter().map(move |v| (*v, is_a)).collect::<Vec<_>>();
    let mut all = [of(a, true), of(b, false)].concat();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let mut ranks_of_a = 0.0;
    let mut ties = 0.0;
    let mut first = 0;
    for members in all.chunk_by(|x, y| x.0 == y.0) {
        let len = members.len() as f64;
        // Tied values share the mean of their ranks, which count from 1.
        let rank = first as f64 + (len + 1.0) / 2.0;
        first += members.len();
        ranks_of_a += rank * members.iter().filter(|m| m.1).count() as f64;
        ties += len.powi(3) - len;
    }
    let [na, nb] = [n[0] as f64, n[1] as f64];
    let total = na + nb;
    let u = ranks_of_a - na * (na + 1.0) / 2.0;
    let variance = na * nb / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)));
    let p_value = if variance > 0.0 {
        let distance = ((u - na * nb / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
        let distribution = Normal::new(0.0, 1.0).map_err(|e| e.to_string())?;
        (2.0 * distribution.cdf(-distance)).min(1.0)
    } else {
        1.0
    };
    Ok(Significance {
        test: "mann_whitney_u",
        n,
        statistic: u,
        p_value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} {b}");
    }

    const A: [f64; 5] = [97.1, 98.2, 97.9, 98.4, 97.5];
    const B: [f64; 6] = [96.0, 95.1, 97.7, 94.9, 95.5, 96.6];
    const C: [f64; 9] = [1.0, 2.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0];
    const D: [f64; 8] = [2.0, 4.0, 5.0, 9.0, 16.0, 25.0, 36.0, 49.0];

    // The values on the right come from SciPy:
    // from scipy import stats
    // stats.ttest_ind(A, B, equal_var=False); stats.mannwhitneyu(C, D, method='asymptotic')
    #[test]
    fn welch_is_scipys() {
        let s = welch(&A, &B).unwrap();
        near(s.statistic, 3.78959783504401);
        near(s.p_value, 0.005835590594405179);
        let same = welch(&A, &A).unwrap();
        assert_eq!((same.statistic, same.p_value), (0.0, 1.0));
    }

    #[test]
    fn mann_whitney_is_scipys() {
        let s = mann_whitney(&C, &D).unwrap();
        near(s.statistic, 22.5);
        near(s.p_value, 0.20956016766347807);
        assert_eq!(mann_whitney(&[1.0; 8], &[1.0; 8]).unwrap().p_value, 1.0);
    }

    #[test]
    fn too_few_values_are_named() {
        assert!(welch(&[1.0], &A).unwrap_err().contains("1 and 5"));
        assert!(welch(&[1.0, 1.0], &[2.0, 2.0]).is_err());
        assert!(mann_whitney(&A, &B).unwrap_err().contains("5 and 6"));
    }
}

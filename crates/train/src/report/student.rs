//! Confidence intervals over seeds, of which there are few.

use super::bootstrap::Z;

/// 95 % interval of the mean over seeds, by Student's t on the few that there are: what another seed may give is in it,
/// what other problems may give is not. `None` of fewer than two, and where all are alike: that leaves no width, though
/// another seed may well differ.
pub fn seeds_ci(values: &[f64]) -> Option<[f64; 2]> {
    if values.len() < 2 || values.iter().all(|value| *value == values[0]) {
        return None;
    }
    let (mean, variance) = mean_and_variance(values);
    let half = t_quantile(values.len() - 1) * (variance / values.len() as f64).sqrt();
    Some([mean - half, mean + half])
}

/// 95 % interval of the difference a − b of two means over seeds that have nothing in common, by Welch's t (1947): the
/// two may spread differently. Degrees of freedom are rounded down, which makes it rather too wide. `None` where either
/// has fewer than two values or nothing spreads.
pub fn welch_ci(a: &[f64], b: &[f64]) -> Option<[f64; 2]> {
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    let [(mean_a, of_a), (mean_b, of_b)] = [a, b].map(|values| {
        let (mean, variance) = mean_and_variance(values);
        (mean, variance / values.len() as f64)
    });
    let variance = of_a + of_b;
    if variance == 0.0 {
        return None;
    }
    let term = |of: f64, n: usize| of * of / (n - 1) as f64;
    let degrees = variance * variance / (term(of_a, a.len()) + term(of_b, b.len()));
    let half = t_quantile((degrees + 1e-9).floor().max(1.0) as usize) * variance.sqrt();
    Some([mean_a - mean_b - half, mean_a - mean_b + half])
}

/// The mean, and the variance that divides by n − 1.
fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.0))
}

/// 97.5 % quantile of Student's t: tables of it to nine degrees of freedom, then the normal one and what Cornish and
/// Fisher (1938) add to it, which errs by less than 0.0002 there.
fn t_quantile(degrees: usize) -> f64 {
    const FEW: [f64; 9] = [12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622];
    match degrees {
        0 => f64::INFINITY,
        1..=9 => FEW[degrees - 1],
        _ => {
            let (z, n) = (Z, degrees as f64);
            let first = (z.powi(3) + z) / 4.0;
            let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
            let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
            z + first / n + second / (n * n) + third / (n * n * n)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_few() {
        // 1, 2 and 3: mean 2, deviation 1, so 2 ± 4.3027 / √3.
        let [lo, hi] = seeds_ci(&[3.0, 1.0, 2.0]).unwrap();
        assert!((lo - (2.0 - 2.4842)).abs() < 1e-4 && (hi - (2.0 + 2.4842)).abs() < 1e-4, "{lo} {hi}");
        assert_eq!(seeds_ci(&[1.0]), None);
        assert_eq!(seeds_ci(&[0.025; 3]), None);
        // Published tables; the ninth is the last of ours.
        for (degrees, quantile) in [(10, 2.2281), (15, 2.1314), (30, 2.0423), (120, 1.9799)] {
            assert!((t_quantile(degrees) - quantile).abs() < 2e-4, "{degrees}: {}", t_quantile(degrees));
        }
        assert!((1..40).all(|degrees| t_quantile(degrees) > t_quantile(degrees + 1)));
    }

    #[test]
    fn welch_agrees_with_students_t_where_both_spread_alike() {
        // Means 12 and 22, variance 1 each, three of each: s² = 2/3 and 4 degrees of freedom, so −10 ± 2.7764 · √(2/3).
        let [lo, hi] = welch_ci(&[11.0, 12.0, 13.0], &[21.0, 22.0, 23.0]).unwrap();
        let half = 2.7764 * (2.0f64 / 3.0).sqrt();
        assert!((lo - (-10.0 - half)).abs() < 1e-4 && (hi - (-10.0 + half)).abs() < 1e-4, "{lo} {hi}");
        // Where only one of the two spreads, its own two degrees of freedom remain.
        let [lo, hi] = welch_ci(&[11.0, 12.0, 13.0], &[22.0; 3]).unwrap();
        let half = 4.3027 / 3f64.sqrt();
        assert!((lo - (-10.0 - half)).abs() < 1e-4 && (hi - (-10.0 + half)).abs() < 1e-4, "{lo} {hi}");
        assert_eq!(welch_ci(&[1.0, 1.0], &[2.0, 2.0]), None);
        assert_eq!(welch_ci(&[1.0], &[2.0, 3.0]), None);
    }
}

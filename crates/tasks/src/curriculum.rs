//! Which questions to ask next: more of what the policy can do sometimes.
//!
//! A group of samples that are all right or all wrong has no variance, and GRPO learns nothing from it. With a pass
//! rate p a sample's reward varies by p·(1−p), the learnability of a question (Rutherford et al. 2024, SFL). So each
//! arm, a task at one level of difficulty, is asked as often as its weight in the recipe times p·(1−p) + floor says;
//! the floor keeps an eye on what looks too hard or long known.
//!
//! A draw is a function of (seed, step, place) and of the pass rates, which are all that a resumed run needs back. Not
//! here: rollouts and rewards, which the caller has.

use serde::{Deserialize, Serialize};

use crate::draw;
use crate::registry::Arm;

/// How pass rates are followed and weighed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CurriculumSettings {
    /// Share of the newest question in an arm's pass rate, above 0 and up to 1.
    pub smoothing: f64,
    /// What an arm's learnability, which is 0.25 at best, is never below; above 0.
    pub floor: f64,
}

impl Default for CurriculumSettings {
    fn default() -> Self {
        Self { smoothing: 0.1, floor: 0.02 }
    }
}

/// A running pass rate of every arm, and draws by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curriculum {
    settings: CurriculumSettings,
    seed: u64,
    arms: Vec<Arm>,
    /// From 0 to 1, in the order of the arms.
    pass_rates: Vec<f64>,
}

impl Curriculum {
    /// All `arms` at a pass rate of one half: whatever is not known yet looks learnable.
    pub fn new(arms: Vec<Arm>, settings: CurriculumSettings, seed: u64) -> Self {
        let pass_rates = vec![0.5; arms.len()];
        Self { settings, seed, arms, pass_rates }
    }

    /// The arms in order. Of one that was read from a file these must still be the mixture's, as an unchanged recipe
    /// makes sure of.
    pub fn arms(&self) -> &[Arm] {
        &self.arms
    }

    /// The pass rate of each arm.
    pub fn pass_rates(&self) -> &[f64] {
        &self.pass_rates
    }

    /// How often each arm is drawn, relative to the others: base weight · (p·(1−p) + floor).
    pub fn weights(&self) -> Vec<f64> {
        let weight = |(arm, p): (&Arm, &f64)| arm.weight * (p * (1.0 - p) + self.settings.floor);
        self.arms.iter().zip(&self.pass_rates).map(weight).collect()
    }

    /// The arm, as its place in [`Curriculum::arms`], of question `i` of a step.
    pub fn draw(&self, step: u64, i: u64) -> usize {
        draw::weighted(&self.weights(), &mut draw::rng(self.seed, "curriculum", step, i))
    }

    /// Takes in that `share` of a question's samples, from 0 to 1, were right. Call it in the order of the questions:
    /// the average depends on it. A share that is no number, as of a group that nobody could judge, changes nothing.
    pub fn record(&mut self, arm: usize, share: f64) {
        if let Some(rate) = self.pass_rates.get_mut(arm)
            && !share.is_nan()
        {
            *rate += self.settings.smoothing * (share.clamp(0.0, 1.0) - *rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arms(count: u8) -> Vec<Arm> {
        (0..count).map(|level| Arm { task: "ladder".into(), level, weight: 1.0 / f64::from(count) }).collect()
    }

    /// A learner whose skill at a level grows with each question that it gets right sometimes and wrong sometimes,
    /// and that finds a level impossible as long as the one below is hard.
    struct Learner(Vec<f64>);

    impl Learner {
        fn pass_rate(&self, level: usize) -> f64 {
            let ready = if level == 0 { 1.0 } else { self.0[level - 1] };
            self.0[level] * ready * ready
        }

        fn study(&mut self, level: usize) -> f64 {
            let p = self.pass_rate(level);
            self.0[level] = (self.0[level] + 0.05 * p * (1.0 - p)).min(1.0);
            p
        }

        fn mean(&self) -> f64 {
            (0..self.0.len()).map(|level| self.pass_rate(level)).sum::<f64>() / self.0.len() as f64
        }
    }

    fn train(mut choose: impl FnMut(u64, u64, &mut Learner)) -> f64 {
        let mut learner = Learner(vec![0.1; 6]);
        for step in 0..60 {
            for i in 0..16 {
                choose(step, i, &mut learner);
            }
        }
        learner.mean()
    }

    #[test]
    fn a_learner_gets_further_with_it() {
        let mut curriculum = Curriculum::new(arms(6), CurriculumSettings::default(), 1);
        let chosen = train(|step, i, learner| {
            let arm = curriculum.draw(step, i);
            let p = learner.study(arm);
            curriculum.record(arm, p);
        });
        let equal = train(|_, i, learner| {
            learner.study((i % 6) as usize);
        });
        assert!(chosen > equal + 0.1, "{chosen} against {equal}");
        // It knows how well the learner does, roughly: an average lags behind.
        assert!(curriculum.pass_rates()[0] > 0.8, "{curriculum:?}");
    }

    #[test]
    fn weights_are_learnability() {
        let mut curriculum = Curriculum::new(arms(3), CurriculumSettings { smoothing: 1.0, floor: 0.05 }, 0);
        curriculum.record(0, 1.0);
        curriculum.record(1, 0.0);
        let third = 1.0 / 3.0;
        assert_eq!(curriculum.weights(), [third * 0.05, third * 0.05, third * 0.3]);
        let counts = (0..8000).fold([0; 3], |mut counts, i| {
            counts[curriculum.draw(3, i)] += 1;
            counts
        });
        // Binomial(8000, 3/4): mean 6000, sd 39; five of them.
        assert!((counts[2] - 6000_i32).abs() < 195, "{counts:?}");
        assert!(counts[0] > 700 && counts[1] > 700, "{counts:?}");
    }

    #[test]
    fn nonsense_changes_nothing() {
        let mut curriculum = Curriculum::new(arms(2), CurriculumSettings::default(), 0);
        let before = curriculum.clone();
        curriculum.record(0, f64::NAN);
        curriculum.record(2, 1.0);
        assert_eq!(curriculum, before);
        curriculum.record(0, f64::INFINITY);
        assert!(curriculum.pass_rates()[0] <= 1.0);
    }

    #[test]
    fn a_resumed_run_draws_the_same() {
        let mut through = Curriculum::new(arms(5), CurriculumSettings::default(), 9);
        let mut resumed = through.clone();
        for step in 0..50 {
            for i in 0..8 {
                let arm = through.draw(step, i);
                assert_eq!(arm, resumed.draw(step, i));
                // Shares that binary fractions cannot hold.
                let share = (step * 7 + i) as f64 % 11.0 / 11.0;
                through.record(arm, share);
                resumed.record(arm, share);
            }
            resumed = serde_json::from_str(&serde_json::to_string(&resumed).unwrap()).unwrap();
        }
        assert_eq!(through, resumed);
    }
}

//! The domain of a space: a range of numbers or a number of categories, in which densities are estimated, and the way back to the
//! value that is written to a config.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Number, Value};

use crate::Space;

/// What a density is over. Points are numbers in the units of the setting, or the indices of categories.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Domain {
    /// Numbers.
    Range(Range),
    /// The indices of so many categories.
    Categories(usize),
}

/// Numbers from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub low: f64,
    pub high: f64,
    /// The distance of neighboring numbers, if there are others only in between.
    pub step: Option<f64>,
    /// Whether densities are over the logarithm.
    pub is_log: bool,
}

impl Range {
    /// Returns the transformed bounds; those of stepped numbers lie half a step further out, so that every number has a cell of the
    /// same width.
    pub fn bounds(&self) -> [f64; 2] {
        let half = self.step.unwrap_or(0.0) / 2.0;
        [self.transformed(self.low - half), self.transformed(self.high + half)]
    }

    /// Returns the transformed bounds of the cell of a stepped number.
    pub fn cell(&self, x: f64) -> Option<[f64; 2]> {
        self.step.map(|step| [self.transformed(x - step / 2.0), self.transformed(x + step / 2.0)])
    }

    pub fn transformed(&self, x: f64) -> f64 {
        if self.is_log { x.ln() } else { x }
    }

    /// Returns the number at a transformed position, rounded to a step.
    pub fn number_at(&self, position: f64) -> f64 {
        let x = if self.is_log { position.exp() } else { position };
        let x = self.step.map_or(x, |step| self.low + ((x - self.low) / step).round() * step);
        x.clamp(self.low, self.high)
    }
}

impl Domain {
    /// Returns the domain of a space; `None` for a grid, whose values are not drawn.
    pub fn of(space: &Space) -> Option<Self> {
        let range = |low, high, step, is_log| Some(Self::Range(Range { low, high, step, is_log }));
        match space {
            Space::Uniform(it) => range(it.lower, it.upper, None, false),
            Space::LogUniform(it) => range(it.lower, it.upper, None, true),
            Space::QUniform(it) => {
                // A whole number of steps may be a little less by rounding.
                let n_steps = ((it.upper - it.lower) / it.q + 1e-9).floor();
                range(it.lower, it.lower + n_steps * it.q, Some(it.q), false)
            }
            Space::Int(it) => range(it.lower as f64, it.upper as f64, Some(1.0), false),
            Space::LogInt(it) => range(it.lower as f64, it.upper as f64, Some(1.0), true),
            Space::Choice(it) => Some(Self::Categories(it.categories.len())),
            Space::GridSearch(_) => None,
        }
    }

    /// Draws a point from the prior: uniform, after the transformation.
    pub fn sample(&self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Range(range) => {
                let [low, high] = range.bounds();
                range.number_at(low + (high - low) * rng.random::<f64>())
            }
            Self::Categories(n) => rng.random_range(0..*n) as f64,
        }
    }
}

/// Returns the value of a space at a point of its domain.
pub(super) fn value_at(space: &Space, point: f64) -> Value {
    match space {
        Space::Uniform(it) => rounded(point, it.lower, it.upper),
        Space::LogUniform(it) => rounded(point, it.lower, it.upper),
        Space::QUniform(it) => rounded(point, it.lower, it.upper),
        Space::Int(_) | Space::LogInt(_) => Value::from(point as u64),
        Space::Choice(it) => it.categories.get(point as usize).map_or(Value::Null, |category| category.0.clone()),
        Space::GridSearch(it) => it.values.get(point as usize).map_or(Value::Null, |value| value.0.clone()),
    }
}

/// Returns the point of a value; `None` if the space does not have it.
pub(super) fn point_of(space: &Space, value: &Value) -> Option<f64> {
    match space {
        Space::Uniform(_) | Space::LogUniform(_) | Space::QUniform(_) | Space::Int(_) | Space::LogInt(_) => value.as_f64(),
        Space::Choice(it) => it.categories.iter().position(|category| category.0 == *value).map(|at| at as f64),
        Space::GridSearch(it) => it.values.iter().position(|known| known.0 == *value).map(|at| at as f64),
    }
}

/// Rounds to six significant digits, which is finer than any metric can tell apart and can be read and typed.
fn rounded(point: f64, lower: f64, upper: f64) -> Value {
    let short = format!("{point:.5e}").parse().unwrap_or(point);
    Number::from_f64(short.clamp(lower, upper)).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use serde_json::json;

    use super::*;
    use crate::space::{Categories, Category, Int, LogInt, LogUniform, QUniform, Uniform};

    /// Draws many values.
    fn draw(space: &Space) -> Vec<Value> {
        let (domain, mut rng) = (Domain::of(space).unwrap(), ChaCha8Rng::seed_from_u64(1));
        (0..2000).map(|_| value_at(space, domain.sample(&mut rng))).collect()
    }

    fn share(values: &[Value], is_counted: impl Fn(f64) -> bool) -> f64 {
        values.iter().filter(|value| is_counted(value.as_f64().unwrap())).count() as f64 / values.len() as f64
    }

    #[test]
    fn whole_numbers_are_equally_likely_with_both_bounds() {
        let values = draw(&Space::Int(Int { lower: 1, upper: 4 }));
        assert!(values.iter().all(Value::is_u64));
        for number in 1..=4 {
            // The standard deviation of the share is 0.0097.
            assert!((share(&values, |it| it == f64::from(number)) - 0.25).abs() < 0.04);
        }
    }

    #[test]
    fn logarithms_are_equally_likely() {
        let values = draw(&Space::LogUniform(LogUniform { lower: 1e-4, upper: 1.0 }));
        assert!((share(&values, |it| it < 1e-2) - 0.5).abs() < 0.045, "{}", share(&values, |it| it < 1e-2));
        let values = draw(&Space::LogInt(LogInt { lower: 1, upper: 8 }));
        // ln(2.5 / 0.5) of ln(8.5 / 0.5).
        assert!((share(&values, |it| it < 3.0) - 0.568).abs() < 0.045);
        assert!(share(&values, |it| it == 8.0) > 0.0);
    }

    #[test]
    fn steps_start_at_the_lower_bound_and_are_written_shortly() {
        let mut values = draw(&Space::QUniform(QUniform { lower: 0.1, upper: 0.5, q: 0.1 }));
        values.sort_by(|a, b| a.as_f64().unwrap().total_cmp(&b.as_f64().unwrap()));
        values.dedup();
        assert_eq!(values, [json!(0.1), json!(0.2), json!(0.3), json!(0.4), json!(0.5)]);
        let uneven = Domain::of(&Space::QUniform(QUniform { lower: 0.0, upper: 1.0, q: 0.3 }));
        assert!(matches!(uneven, Some(Domain::Range(Range { high, .. })) if (high - 0.9).abs() < 1e-12));
    }

    #[test]
    fn numbers_have_six_digits_and_stay_within_the_bounds() {
        let space = Space::Uniform(Uniform { lower: 0.123_456_78, upper: 0.123_456_79 });
        let inside = |value: &Value| (0.123_456_78..=0.123_456_79).contains(&value.as_f64().unwrap());
        assert!(draw(&space).iter().all(inside));
        let space = Space::Uniform(Uniform { lower: 0.0, upper: 1.0 });
        assert_eq!(value_at(&space, 0.012_345_678), json!(0.012_345_7));
    }

    #[test]
    fn points_are_found_for_values() {
        let space = Space::Choice(Categories { categories: vec![Category(json!("a")), Category(json!({"b": 1}))] });
        for point in [0.0, 1.0] {
            assert_eq!(point_of(&space, &value_at(&space, point)), Some(point));
        }
        assert_eq!(point_of(&space, &json!("c")), None);
        let space = Space::LogInt(LogInt { lower: 1, upper: 8 });
        assert_eq!(point_of(&space, &value_at(&space, 3.0)), Some(3.0));
    }
}

//! The policy for missing and unreadable cells: whether a row takes part, given its faults.
//!
//! Training, evaluation, prediction from tables and the server all decide here.

use std::fmt;

use crate::{DataError, Fault, Field, MissingValueStrategy};

/// How cells that hold something unreadable are treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unreadable {
    /// The `missing_value_strategy` of the feature applies, as for an empty cell.
    #[default]
    Missing,
    /// It is an error, whatever the strategy of the feature.
    Error,
}

/// The fault of one field in a row: why its payload is missing or shortened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// The index of the field.
    pub field: usize,
    /// The fault.
    pub fault: Fault,
}

/// Whether a row takes part in training, and gets a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It takes part; features with a fault are absent or shortened.
    Use,
    /// A feature with `missing_value_strategy: drop_row` is absent.
    Skip,
}

/// The rule by which a cell is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The feature has `missing_value_strategy: error`.
    Required,
    /// [`Unreadable::Error`].
    Strict,
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Rule::Required => "missing_value_strategy: error",
            Rule::Strict => "strict",
        })
    }
}

/// A cell that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The field and its fault.
    pub fault: FieldFault,
    /// The rule.
    pub rule: Rule,
}

impl Rejection {
    /// Converts the rejection into an error that states the cell's position.
    pub fn into_error(self, fields: &[Field], row_idx: usize) -> DataError {
        let column = fields[self.fault.field].column.clone();
        DataError::BadCell { row: row_idx + 1, column, fault: self.fault.fault.to_string(), rule: self.rule }
    }
}

/// Decides about a row with these faults, which refer to `fields`; faults of further fields are ignored.
///
/// # Errors
/// Returns every cell that is an error, in the order of the fields.
pub fn decide(fields: &[Field], faults: &[FieldFault], unreadable: Unreadable) -> Result<Decision, Vec<Rejection>> {
    let (mut rejected, mut decision) = (Vec::new(), Decision::Use);
    for it in faults.iter().filter(|it| it.field < fields.len()) {
        let mut reject = |rule| rejected.push(Rejection { fault: it.clone(), rule });
        let cause = it.fault.cause;
        match fields[it.field].missing_value_strategy {
            _ if cause.is_unreadable() && unreadable == Unreadable::Error => reject(Rule::Strict),
            _ if !cause.is_absence() => {}
            MissingValueStrategy::Absent => {}
            MissingValueStrategy::DropRow => decision = Decision::Skip,
            MissingValueStrategy::Error => reject(Rule::Required),
        }
    }
    if rejected.is_empty() { Ok(decision) } else { Err(rejected) }
}

/// What became of a row in prediction; displayed as its `status` column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowStatus {
    /// It has a prediction from all inputs.
    Complete,
    /// It has a prediction, although some inputs are absent or shortened.
    Partial {
        /// Inputs without a value, such as `age (empty)`.
        absent: Vec<String>,
        /// Inputs of which only a part was read.
        shortened: Vec<String>,
    },
    /// It has no prediction, because an input with `missing_value_strategy: drop_row` is absent.
    Skipped {
        /// Inputs without a value, such as `age (empty)`.
        absent: Vec<String>,
        /// Inputs of which only a part was read.
        shortened: Vec<String>,
    },
}

impl RowStatus {
    /// Returns the status of a row with these faults.
    pub fn new(fields: &[Field], faults: &[FieldFault], decision: Decision) -> Self {
        let (mut absent, mut shortened) = (Vec::new(), Vec::new());
        for FieldFault { field, fault } in faults.iter().filter(|it| it.field < fields.len()) {
            let name = &fields[*field].name;
            if fault.cause.is_absence() {
                absent.push(format!("{name} ({})", fault.cause.as_str()));
            } else {
                shortened.push(name.clone());
            }
        }
        match decision {
            Decision::Skip => Self::Skipped { absent, shortened },
            Decision::Use if absent.is_empty() && shortened.is_empty() => Self::Complete,
            Decision::Use => Self::Partial { absent, shortened },
        }
    }

    /// Whether the row has no prediction.
    pub fn is_skipped(&self) -> bool {
        matches!(self, Self::Skipped { .. })
    }
}

impl fmt::Display for RowStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, absent, shortened) = match self {
            Self::Complete => return out.write_str("ok"),
            Self::Partial { absent, shortened } => ("absent", absent, shortened),
            Self::Skipped { absent, shortened } => ("skipped", absent, shortened),
        };
        let nonempty = [(kind, absent), ("shortened", shortened)].into_iter().filter(|(_, inputs)| !inputs.is_empty());
        let parts: Vec<String> = nonempty.map(|(kind, inputs)| format!("{kind}: {}", inputs.join(", "))).collect();
        out.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::FittedVector;
    use crate::{Cause, Preprocessor};

    fn fields() -> Vec<Field> {
        let field = |(name, strategy): (&str, MissingValueStrategy)| Field {
            name: name.to_owned(),
            column: format!("the {name}"),
            preprocessor: Preprocessor::Vector(FittedVector { width: 2 }),
            missing_value_strategy: strategy,
        };
        [("a", MissingValueStrategy::Absent), ("d", MissingValueStrategy::DropRow), ("e", MissingValueStrategy::Error)]
            .into_iter()
            .map(field)
            .collect()
    }

    fn fault(field: usize, cause: Cause) -> FieldFault {
        FieldFault { field, fault: Fault::new(cause, "") }
    }

    #[test]
    fn each_strategy_decides_about_its_own_field() {
        let decide = |faults: &[FieldFault]| decide(&fields(), faults, Unreadable::Missing);
        assert_eq!(decide(&[]), Ok(Decision::Use));
        assert_eq!(decide(&[fault(0, Cause::Empty)]), Ok(Decision::Use));
        assert_eq!(decide(&[fault(1, Cause::Malformed)]), Ok(Decision::Skip));
        assert_eq!(decide(&[fault(1, Cause::Shortened), fault(2, Cause::Shortened)]), Ok(Decision::Use));
        let rejected = decide(&[fault(1, Cause::Empty), fault(2, Cause::Empty)]).unwrap_err();
        assert_eq!(rejected, [Rejection { fault: fault(2, Cause::Empty), rule: Rule::Required }]);
        // A target of a model that only predicts.
        assert_eq!(decide(&[fault(3, Cause::Empty)]), Ok(Decision::Use));
    }

    #[test]
    fn strict_rejects_unreadable_cells_and_accepts_empty_ones() {
        let decide = |faults: &[FieldFault]| decide(&fields(), faults, Unreadable::Error);
        assert_eq!(decide(&[fault(0, Cause::Empty), fault(0, Cause::NoColumn)]), Ok(Decision::Use));
        let rejected = decide(&[fault(0, Cause::Malformed), fault(1, Cause::Malformed)]).unwrap_err();
        assert_eq!(
            rejected.iter().map(|it| (it.fault.field, it.rule)).collect::<Vec<_>>(),
            [(0, Rule::Strict), (1, Rule::Strict)]
        );
        let error = rejected[0].clone().into_error(&fields(), 6).to_string();
        assert_eq!(error, "row 7, column 'the a': malformed (strict)");
    }

    #[test]
    fn status_names_absent_and_shortened_inputs() {
        let status = |faults: &[FieldFault], decision| RowStatus::new(&fields(), faults, decision).to_string();
        assert_eq!(status(&[], Decision::Use), "ok");
        let faults = [fault(0, Cause::Empty), fault(1, Cause::NotUtf8), fault(2, Cause::Shortened)];
        assert_eq!(status(&faults, Decision::Use), "absent: a (empty), d (not_utf8); shortened: e");
        assert_eq!(status(&faults, Decision::Skip), "skipped: a (empty), d (not_utf8); shortened: e");
    }
}

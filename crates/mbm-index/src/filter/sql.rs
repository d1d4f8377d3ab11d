//! Filter conditions as PostgreSQL expressions that hold for the same rows.

use super::{Bound, Comparison, Filter};
use crate::IndexError;
use crate::columns::IndexColumn;

impl Filter {
    /// Returns the condition as a PostgreSQL expression over the columns: numbers are `double precision`, texts are `text`, and
    /// missing values are NULL.
    ///
    /// # Errors
    /// As for [`Filter::check`].
    pub fn to_sql(&self, columns: &[IndexColumn]) -> Result<String, IndexError> {
        Ok(sql(&self.0.bind(columns)?, columns))
    }
}

/// Quotes a name for SQL.
pub fn quoted_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text for SQL.
pub fn quoted_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn sql(condition: &Bound, columns: &[IndexColumn]) -> String {
    let name = |column: &usize| quoted_name(&columns[*column].name);
    let joined = |conditions: &[Bound], word: &str, nothing: &str| match conditions {
        [] => nothing.to_owned(),
        some => format!("({})", some.iter().map(|it| sql(it, columns)).collect::<Vec<_>>().join(word)),
    };
    match condition {
        Bound::All(conditions) => joined(conditions, " AND ", "true"),
        Bound::Any(conditions) => joined(conditions, " OR ", "false"),
        Bound::Not(condition) => format!("NOT {}", sql(condition, columns)),
        Bound::IsNull(column, _) => format!("({} IS NULL)", name(column)),
        Bound::Number(column, how, value) => known(&format!("{} {} {}", name(column), sign(*how), quoted_number(value))),
        Bound::NumberIn(column, values) => known(&format!("{} IN ({})", name(column), listed(values, quoted_number))),
        // Compare bytes, whatever the collation of the database.
        Bound::Text(column, how, value) => {
            known(&format!("{} COLLATE \"C\" {} {}", name(column), sign(*how), quoted_text(value)))
        }
        Bound::TextIn(column, values) => {
            known(&format!("{} COLLATE \"C\" IN ({})", name(column), listed(values, |value| quoted_text(value))))
        }
        Bound::Like(column, pattern) => known(&format!("{} ILIKE {} ESCAPE ''", name(column), quoted_text(&pattern.text))),
    }
}

fn quoted_number(number: &f64) -> String {
    format!("'{number}'::float8")
}

fn listed<T>(values: &[T], quoted: impl Fn(&T) -> String) -> String {
    values.iter().map(quoted).collect::<Vec<_>>().join(", ")
}

fn sign(how: Comparison) -> &'static str {
    match how {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

/// Makes a null cell fail the test, so that NOT then holds for it.
fn known(test: &str) -> String {
    format!("coalesce({test}, false)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_quoted_and_nulls_fail_every_test() {
        let column = |name: &str, is_number| IndexColumn { name: name.into(), is_number };
        let columns = [column("na\"me", false), column("year", true)];
        let check = |text: &str, want: &str| assert_eq!(Filter::parse(text).unwrap().to_sql(&columns).unwrap(), want);
        check("year >= 2e3", "coalesce(\"year\" >= '2000'::float8, false)");
        check("NOT year IN (1, 2)", "NOT coalesce(\"year\" IN ('1'::float8, '2'::float8), false)");
        check(
            "\"na\"\"me\" = 'x''; DROP TABLE t; --' OR year IS NULL",
            "(coalesce(\"na\"\"me\" COLLATE \"C\" = 'x''; DROP TABLE t; --', false) OR (\"year\" IS NULL))",
        );
        check("\"na\"\"me\" LIKE '%\\_'", "coalesce(\"na\"\"me\" ILIKE '%\\_' ESCAPE '', false)");
        assert!(Filter::parse("colour = 1").unwrap().to_sql(&columns).is_err());
    }
}

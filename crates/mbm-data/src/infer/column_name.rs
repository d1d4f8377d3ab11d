//! What the name of a column says about numbers: whether they are codes, identify rows, or measure something.

/// A name whose last word is one of these holds codes, as in `store_id` or `PostalCode`.
const CODES: [&str; 24] = [
    "id",
    "ids",
    "uuid",
    "guid",
    "key",
    "code",
    "codes",
    "class",
    "type",
    "kind",
    "category",
    "cluster",
    "label",
    "status",
    "sku",
    "ean",
    "upc",
    "isbn",
    "fips",
    "naics",
    "phone",
    "telephone",
    "fax",
    "plz",
];

/// A name with one of these words anywhere holds codes, as in `zip` or `postal_area`.
const PLACES: [&str; 5] = ["zip", "zipcode", "postal", "postcode", "phone"];

/// A name whose last word is one of these identifies rows, if every row has another value.
const IDENTIFIERS: [&str; 6] = ["id", "ids", "uuid", "guid", "key", "identifier"];

/// Names of columns with row numbers, as pandas, R and databases export them.
const ROW_NUMBERS: [&str; 16] = [
    "",
    "index",
    "idx",
    "unnamed 0",
    "level 0",
    "row",
    "row id",
    "row number",
    "row no",
    "row names",
    "rownames",
    "rowname",
    "rowid",
    "obs",
    "observation",
    "record",
];

/// A name with one of these words says what is measured or when, so that even 1, 2, 3, ... are not row numbers.
const MEASURES: [&str; 38] = [
    "size",
    "length",
    "width",
    "height",
    "depth",
    "weight",
    "area",
    "age",
    "price",
    "cost",
    "amount",
    "quantity",
    "value",
    "distance",
    "speed",
    "temperature",
    "level",
    "dose",
    "score",
    "rank",
    "ranking",
    "x",
    "y",
    "z",
    "t",
    "time",
    "year",
    "quarter",
    "month",
    "week",
    "day",
    "date",
    "hour",
    "minute",
    "second",
    "period",
    "trend",
    "step",
];

/// A name with one of these words holds times.
const TIMES: [&str; 12] =
    ["time", "timestamp", "datetime", "date", "epoch", "ts", "created", "updated", "modified", "at", "when", "day"];

/// The words of a column's name in lower case.
pub(super) struct ColumnName(Vec<String>);

impl ColumnName {
    /// Splits a name at what is neither letter nor digit, and in front of capitals that follow other letters.
    pub fn new(name: &str) -> Self {
        let mut words: Vec<String> = vec![String::new()];
        let mut was_lower = false;
        for character in name.chars() {
            if !character.is_alphanumeric() || (was_lower && character.is_uppercase()) {
                words.push(String::new());
            }
            was_lower = character.is_lowercase();
            if let Some(word) = words.last_mut().filter(|_| character.is_alphanumeric()) {
                word.extend(character.to_lowercase());
            }
        }
        words.retain(|word| !word.is_empty());
        Self(words)
    }

    fn ends_with(&self, listed: &[&str]) -> bool {
        self.0.last().is_some_and(|word| listed.contains(&word.as_str()))
    }

    fn has(&self, listed: &[&str]) -> bool {
        self.0.iter().any(|word| listed.contains(&word.as_str()))
    }

    /// Whether numbers are codes, such as zip codes.
    pub fn says_code(&self) -> bool {
        self.ends_with(&CODES) || self.has(&PLACES)
    }

    /// Whether values identify rows.
    pub fn says_identifier(&self) -> bool {
        self.ends_with(&IDENTIFIERS) || self.says_row_number()
    }

    /// Whether numbers count the rows.
    pub fn says_row_number(&self) -> bool {
        ROW_NUMBERS.contains(&self.0.join(" ").as_str())
    }

    /// Whether numbers measure something.
    pub fn says_measure(&self) -> bool {
        self.has(&MEASURES)
    }

    /// Whether numbers are times.
    pub fn says_time(&self) -> bool {
        self.has(&TIMES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_into_words() {
        let words = |name| ColumnName::new(name).0;
        assert_eq!(words("PostalCode"), ["postal", "code"]);
        assert_eq!(words("Unnamed: 0"), ["unnamed", "0"]);
        assert_eq!(words("userID_2"), ["user", "id", "2"]);
        assert_eq!(words("--"), Vec::<String>::new());
    }

    #[test]
    fn names_say_what_numbers_are() {
        let name = ColumnName::new;
        for code in ["zip", "ZIP_code", "store_id", "storeId", "phone", "product type"] {
            assert!(name(code).says_code(), "{code}");
        }
        for other in ["size", "codec", "valid", "code_length", "rooms"] {
            assert!(!name(other).says_code(), "{other}");
        }
        for number in ["", "index", "Unnamed: 0", "rownames", "Row.ID"] {
            assert!(name(number).says_row_number(), "{number}");
        }
        assert!(name("created_at").says_time() && name("floor size").says_measure() && !name("oversized").says_measure());
    }
}

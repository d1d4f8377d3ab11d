//! Spaces: the values that a setting may take in the search.
//!
//! In the config, a space is a map whose key `space` determines the other keys, as in Ludwig: `{space: uniform, lower: 0, upper: 1}`.
//! How values are drawn is left to the search.

use mbm_config::schema::{Choice, Schema};
use mbm_config::{Diagnostics, Fields, Node, Section, Setting, choices, settings};

use crate::node_json::json_of;

settings! {
    /// Numbers between two bounds, all equally likely.
    pub struct Uniform {
        /// The smallest number.
        lower: f64;
        /// The largest number.
        upper: f64;
    }

    /// Numbers between two bounds, whose logarithms are equally likely.
    pub struct LogUniform {
        /// The smallest number, above 0.
        lower: f64;
        /// The largest number.
        upper: f64;
    }

    /// Numbers between two bounds in equal steps from the smallest one.
    pub struct QUniform {
        /// The smallest number.
        lower: f64;
        /// The largest number; it is reached only if it is a whole number of steps away.
        upper: f64;
        /// The step.
        q: f64;
    }

    /// Whole numbers between two bounds, both included; `randint` is the same.
    pub struct Int {
        /// The smallest number.
        lower: usize => 0..=MAX_INT;
        /// The largest number.
        upper: usize => 0..=MAX_INT;
    }

    /// Whole numbers between two bounds, both included, whose logarithms are equally likely.
    pub struct LogInt {
        /// The smallest number, at least 1.
        lower: usize => 1..=MAX_INT;
        /// The largest number.
        upper: usize => 1..=MAX_INT;
    }

    /// Values of a list.
    pub struct Categories {
        /// The values: numbers, words, lists or maps.
        categories: Vec<Category>;
    }

    /// Values of a list, all of which are tried, in every combination with those of other grids.
    pub struct GridSearch {
        /// The values: numbers, words, lists or maps.
        values: Vec<Category>;
    }
}

/// The largest whole number of a space, up to which `f64` represents every one.
const MAX_INT: usize = 1 << 53;

choices! {
    /// The names of the spaces.
    pub enum SpaceName {
        Uniform = "uniform",
        LogUniform = "loguniform",
        QUniform = "quniform",
        Int = "int" | "randint",
        LogInt = "lograndint",
        Choice = "choice",
        GridSearch = "grid_search",
    }
}

/// The values that a setting may take.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "space")]
pub enum Space {
    /// `space: uniform`
    #[serde(rename = "uniform")]
    Uniform(Uniform),
    /// `space: loguniform`
    #[serde(rename = "loguniform")]
    LogUniform(LogUniform),
    /// `space: quniform`
    #[serde(rename = "quniform")]
    QUniform(QUniform),
    /// `space: int` or `space: randint`
    #[serde(rename = "int")]
    Int(Int),
    /// `space: lograndint`
    #[serde(rename = "lograndint")]
    LogInt(LogInt),
    /// `space: choice`
    #[serde(rename = "choice")]
    Choice(Categories),
    /// `space: grid_search`
    #[serde(rename = "grid_search")]
    GridSearch(GridSearch),
}

/// One of the listed values of a space, whatever its type.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct Category(pub serde_json::Value);

impl Setting for Category {
    fn read(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let json = json_of(node);
        if json.is_none() {
            diagnostics.add(node.line, path, "expected a finite number");
        }
        json.map(Self)
    }

    /// Describes a text, as there is no schema of all values; [`crate::complete_schema`] corrects this.
    fn schema() -> Schema {
        Schema::Text
    }
}

impl Setting for Space {
    fn read(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::of(node, path, diagnostics)?;
        let name = fields.required::<SpaceName>("space")?;
        let space = Self::read_keys(name, &mut fields);
        let space = fields.finish().and(space)?;
        match space.mistake() {
            None => Some(space),
            Some((key, message)) => {
                let line = node.at(key).map_or(node.line, |it| it.line);
                diagnostics.add(line, &format!("{path}.{key}"), message);
                None
            }
        }
    }

    fn schema() -> Schema {
        let doc = "The values that a setting may take.".to_owned();
        Schema::Choice(Choice { name: "Space", doc, default: None, variants: Self::sections() })
    }
}

impl Space {
    fn read_keys(name: SpaceName, fields: &mut Fields) -> Option<Self> {
        match name {
            SpaceName::Uniform => Section::read_fields(fields).map(Self::Uniform),
            SpaceName::LogUniform => Section::read_fields(fields).map(Self::LogUniform),
            SpaceName::QUniform => Section::read_fields(fields).map(Self::QUniform),
            SpaceName::Int => Section::read_fields(fields).map(Self::Int),
            SpaceName::LogInt => Section::read_fields(fields).map(Self::LogInt),
            SpaceName::Choice => Section::read_fields(fields).map(Self::Choice),
            SpaceName::GridSearch => Section::read_fields(fields).map(Self::GridSearch),
        }
    }

    /// Returns the keys of each space, by name.
    pub fn sections() -> Vec<(&'static str, mbm_config::schema::Section)> {
        vec![
            ("uniform", Uniform::section_schema()),
            ("loguniform", LogUniform::section_schema()),
            ("quniform", QUniform::section_schema()),
            ("int", Int::section_schema()),
            ("lograndint", LogInt::section_schema()),
            ("choice", Categories::section_schema()),
            ("grid_search", GridSearch::section_schema()),
        ]
    }

    /// Returns what is wrong with the space, and with which of its keys.
    fn mistake(&self) -> Option<(&'static str, String)> {
        let ordered =
            |lower: f64, upper: f64| (lower >= upper).then(|| ("upper", format!("{upper} is not above 'lower', {lower}")));
        match self {
            Self::LogUniform(it) if it.lower <= 0.0 => {
                Some(("lower", format!("{} is not above 0, so it has no logarithm", it.lower)))
            }
            Self::QUniform(it) if it.q <= 0.0 => Some(("q", format!("{} is not above 0", it.q))),
            Self::QUniform(it) if it.q > it.upper - it.lower => {
                Some(("q", format!("{} is more than the distance from 'lower' to 'upper'", it.q)))
            }
            Self::Uniform(it) => ordered(it.lower, it.upper),
            Self::LogUniform(it) => ordered(it.lower, it.upper),
            Self::QUniform(it) => ordered(it.lower, it.upper),
            Self::Int(it) => ordered(it.lower as f64, it.upper as f64),
            Self::LogInt(it) => ordered(it.lower as f64, it.upper as f64),
            Self::Choice(it) if it.categories.is_empty() => Some(("categories", "at least one value is needed".to_owned())),
            Self::GridSearch(it) if it.values.is_empty() => Some(("values", "at least one value is needed".to_owned())),
            Self::Choice(_) | Self::GridSearch(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use mbm_config::Format;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Space, String> {
        let mut diagnostics = Diagnostics::default();
        let read = Space::read(&Node::parse(text, Format::Yaml).unwrap(), "a", &mut diagnostics);
        diagnostics.unless_any(read).map_err(|found| found.0[0].to_string())
    }

    #[test]
    fn spaces_are_read_by_ludwigs_names() {
        let uniform = Space::Uniform(Uniform { lower: 0.0, upper: 0.5 });
        assert_eq!(read("{space: uniform, lower: 0, upper: 0.5}").unwrap(), uniform);
        let int = Space::Int(Int { lower: 1, upper: 3 });
        assert_eq!(read("{space: int, lower: 1, upper: 3}").unwrap(), int);
        assert_eq!(read("{space: randint, lower: 1, upper: 3}").unwrap(), int);
        let categories =
            vec![Category(json!("rnn")), Category(json!({"type": "embed", "sizes": [1, 2.5]})), Category(json!(null))];
        let choice = Space::Choice(Categories { categories });
        assert_eq!(read("{space: choice, categories: [rnn, {type: embed, sizes: [1, 2.5]}, null]}").unwrap(), choice);
    }

    #[test]
    fn written_spaces_are_read_again() {
        for text in [
            "{space: uniform, lower: -1, upper: 0.5}",
            "{space: loguniform, lower: 1e-5, upper: 0.5}",
            "{space: quniform, lower: 0, upper: 0.5, q: 0.1}",
            "{space: int, lower: 0, upper: 5}",
            "{space: lograndint, lower: 16, upper: 512}",
            "{space: choice, categories: [1, a, [b], {c: true}]}",
            "{space: grid_search, values: [1]}",
        ] {
            let space = read(text).unwrap();
            assert_eq!(read(&serde_json::to_string(&space).unwrap()), Ok(space));
        }
    }

    #[test]
    fn mistakes_are_reported_at_the_key() {
        for (text, message) in [
            ("{lower: 1}", "line 1: a: the key 'space' is missing"),
            (
                "{space: normal}",
                "line 1: a.space: unknown value 'normal'; allowed: uniform, loguniform, quniform, int, lograndint, choice, grid_search",
            ),
            ("space: uniform\nlower: 2\nupper: 1", "line 3: a.upper: 1 is not above 'lower', 2"),
            ("space: int\nlower: 2\nupper: 2", "line 3: a.upper: 2 is not above 'lower', 2"),
            ("space: loguniform\nlower: 0\nupper: 1", "line 2: a.lower: 0 is not above 0, so it has no logarithm"),
            ("{space: lograndint, lower: 0, upper: 1}", "line 1: a.lower: 0 is out of range; allowed: 1 to 9007199254740992"),
            ("{space: quniform, lower: 0, upper: 1, q: 0}", "line 1: a.q: 0 is not above 0"),
            ("{space: quniform, lower: 0, upper: 1, q: 2}", "line 1: a.q: 2 is more than the distance from 'lower' to 'upper'"),
            ("{space: choice, categories: []}", "line 1: a.categories: at least one value is needed"),
            ("{space: choice, categories: [.nan]}", "line 1: a.categories[0]: expected a finite number"),
            ("{space: grid_search, values: []}", "line 1: a.values: at least one value is needed"),
            ("{space: int, lower: 1, high: 2}", "line 1: a: the key 'upper' is missing"),
            ("[1]", "line 1: a: expected a map of keys, found a list"),
        ] {
            assert_eq!(read(text).unwrap_err(), message);
        }
    }

    #[test]
    fn unknown_keys_are_mistakes() {
        let message = "line 1: a.base: unknown key 'base'; allowed: space, lower, upper";
        assert_eq!(read("{space: uniform, lower: 0, upper: 1, base: 2}").unwrap_err(), message);
    }
}

//! Macros that declare settings: sections, choices by `type`, and enums of words.

/// Declares sections: structs whose keys each have a type, optionally a default and optionally a range.
///
/// `name: String;` is required; `dropout: f64 = 0.1 => 0.0..=0.9;` has a default and a range.
#[macro_export]
macro_rules! settings {
    ($( $(#[$meta:meta])* pub struct $name:ident {
        $( $(#[$field_meta:meta])* $field:ident : $ty:ty $(= $default:expr)? $(=> $range:expr)? ; )*
    } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, $crate::serde::Serialize)]
        #[serde(crate = "mbm_config::serde")]
        pub struct $name { $( $(#[$field_meta])* pub $field: $ty, )* }

        impl $crate::Section for $name {
            fn read_fields(fields: &mut $crate::Fields) -> Option<Self> {
                $(
                    let $field: Option<$ty> = $crate::settings!(@read fields, $field $(, $default)?);
                    $( let $field = $field.and_then(|value| fields.within(stringify!($field).trim_start_matches("r#"), value, $range)); )?
                )*
                let _ = &fields;
                Some(Self { $( $field: $field?, )* })
            }
        }

        impl $crate::Setting for $name {
            fn read(node: &$crate::Node, path: &str, diagnostics: &mut $crate::Diagnostics) -> Option<Self> {
                let mut fields = $crate::Fields::of(node, path, diagnostics)?;
                let section = <Self as $crate::Section>::read_fields(&mut fields);
                fields.finish().and(section)
            }
        }
    )* };
    (@read $fields:ident, $field:ident) => { $fields.required(stringify!($field).trim_start_matches("r#")) };
    (@read $fields:ident, $field:ident, $default:expr) => { $fields.optional(stringify!($field).trim_start_matches("r#"), || $default) };
}

/// Declares a choice between sections by their key `type`; `enum Encoder: Rnn` names the default, without which `type` is
/// required.
///
/// A bare word is short for `{type: word}`.
#[macro_export]
macro_rules! tagged {
    ($(#[$meta:meta])* pub enum $name:ident : $default:ident { $($variants:tt)+ }) => {
        $crate::tagged!(@declare [$(#[$meta])*] $name [Some(stringify!($default))] $($variants)+);
    };
    ($(#[$meta:meta])* pub enum $name:ident { $($variants:tt)+ }) => {
        $crate::tagged!(@declare [$(#[$meta])*] $name [None] $($variants)+);
    };
    (@declare [$(#[$meta:meta])*] $name:ident [$default:expr] $( $variant:ident($section:ty) = $word:literal ),+ $(,)?) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, $crate::serde::Serialize)]
        #[serde(crate = "mbm_config::serde", tag = "type")]
        pub enum $name { $(
            #[doc = concat!("`type: ", $word, "`")]
            #[serde(rename = $word)]
            $variant($section),
        )+ }

        impl $name {
            /// All values of `type`.
            pub const TYPES: &'static [&'static str] = &[$($word),+];

            /// Returns the `type` of this variant.
            pub fn type_name(&self) -> &'static str {
                match self { $( Self::$variant(_) => $word, )+ }
            }

            fn default_type() -> Option<&'static str> {
                let default: Option<&str> = $default;
                [$( (stringify!($variant), $word) ),+].into_iter().find(|(variant, _)| default == Some(variant)).map(|(_, word)| word)
            }
        }

        impl $crate::Setting for $name {
            fn read(node: &$crate::Node, path: &str, diagnostics: &mut $crate::Diagnostics) -> Option<Self> {
                let short;
                let node = if let $crate::Value::Text(_) = &node.value {
                    let entry = $crate::Entry { key: "type".to_owned(), line: node.line, node: node.clone() };
                    short = $crate::Node { value: $crate::Value::Map(vec![entry]), line: node.line };
                    &short
                } else {
                    node
                };
                let mut fields = $crate::Fields::of(node, path, diagnostics)?;
                let tag = fields.tag(Self::TYPES, Self::default_type())?;
                let section = match tag {
                    $( $word => <$section as $crate::Section>::read_fields(&mut fields).map(Self::$variant), )+
                    _ => None,
                };
                fields.finish().and(section)
            }
        }
    };
}

/// Declares an enum of words.
#[macro_export]
macro_rules! choices {
    ($(#[$meta:meta])* pub enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal ),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, $crate::serde::Serialize, $crate::serde::Deserialize)]
        #[serde(crate = "mbm_config::serde")]
        pub enum $name { $(
            #[doc = concat!("`", $word, "`")]
            $(#[$variant_meta])*
            #[serde(rename = $word)]
            $variant,
        )+ }

        impl $name {
            /// Returns the word used in the config.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl $crate::Setting for $name {
            fn read(node: &$crate::Node, path: &str, diagnostics: &mut $crate::Diagnostics) -> Option<Self> {
                match $crate::as_str(node, path, diagnostics, "value", &[$($word),+])? {
                    $( $word => Some(Self::$variant), )+
                    _ => None,
                }
            }
        }
    };
}

//! The three declarations that settings are made of: sections, choices by `type`, and closed lists of words.

/// Declares sections: structs whose every key has a type, perhaps a default and perhaps a range.
///
/// `name: String;` must be written; `dropout: f64 = 0.1 => 0.0..=0.9;` has a default and a range.
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

/// Declares a choice among sections by their key `type`; `enum Encoder: Rnn` names the default, without it `type` must be written.
///
/// The bare word is short for `{type: as_str}`.
#[macro_export]
macro_rules! tagged {
    ($(#[$meta:meta])* pub enum $name:ident : $default:ident { $($variants:tt)+ }) => {
        $crate::tagged!(@declare [$(#[$meta])*] $name [Some(stringify!($default))] $($variants)+);
    };
    ($(#[$meta:meta])* pub enum $name:ident { $($variants:tt)+ }) => {
        $crate::tagged!(@declare [$(#[$meta])*] $name [None] $($variants)+);
    };
    (@declare [$(#[$meta:meta])*] $name:ident [$default:expr] $( $variant:ident($section:ty) = $as_str:literal ),+ $(,)?) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, $crate::serde::Serialize)]
        #[serde(crate = "mbm_config::serde", tag = "type")]
        pub enum $name { $(
            #[doc = concat!("`type: ", $as_str, "`")]
            #[serde(rename = $as_str)]
            $variant($section),
        )+ }

        impl $name {
            /// Every `type` there is.
            pub const TYPES: &'static [&'static str] = &[$($as_str),+];

            /// The `type` of this one.
            pub fn type_name(&self) -> &'static str {
                match self { $( Self::$variant(_) => $as_str, )+ }
            }

            fn default_type() -> Option<&'static str> {
                let default: Option<&str> = $default;
                [$( (stringify!($variant), $as_str) ),+].into_iter().find(|(variant, _)| default == Some(variant)).map(|(_, as_str)| as_str)
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
                    $( $as_str => <$section as $crate::Section>::read_fields(&mut fields).map(Self::$variant), )+
                    _ => None,
                };
                fields.finish().and(section)
            }
        }
    };
}

/// Declares a closed list of words.
#[macro_export]
macro_rules! choices {
    ($(#[$meta:meta])* pub enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $as_str:literal ),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, $crate::serde::Serialize, $crate::serde::Deserialize)]
        #[serde(crate = "mbm_config::serde")]
        pub enum $name { $(
            #[doc = concat!("`", $as_str, "`")]
            $(#[$variant_meta])*
            #[serde(rename = $as_str)]
            $variant,
        )+ }

        impl $name {
            /// The word that the config has for it.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $as_str, )+ }
            }
        }

        impl $crate::Setting for $name {
            fn read(node: &$crate::Node, path: &str, diagnostics: &mut $crate::Diagnostics) -> Option<Self> {
                match $crate::as_str(node, path, diagnostics, "value", &[$($as_str),+])? {
                    $( $as_str => Some(Self::$variant), )+
                    _ => None,
                }
            }
        }
    };
}

//! Macros that declare settings: sections, choices by `type`, and enums of words. Each declaration also describes itself
//! ([`crate::schema`]), which the JSON Schema and the reference pages are made from.

/// Declares sections: structs whose keys each have a type, optionally a default and optionally a range.
///
/// `name: String;` is required; `dropout: f64 = 0.1 => 0.0..=0.9;` has a default and a range. `..shared: Shared;` reads the keys
/// of another section from the same map, and writes them there as well.
///
/// ```
/// mbm_config::settings! {
///     /// Where weights come from.
///     pub struct Pretrained {
///         /// File of weights.
///         weights: Option<String> = None;
///     }
///     /// An encoder. In the config it is `{width: 8, weights: a.safetensors}`.
///     pub struct Encoder {
///         /// Width of the output.
///         width: usize = 64 => 1..=4096;
///         ..pretrained: Pretrained;
///     }
/// }
/// assert_eq!(mbm_config::defaults::<Encoder>().pretrained.weights, None);
/// ```
#[macro_export]
macro_rules! settings {
    ($( $(#[doc = $doc:literal])* pub struct $name:ident $(<$shared:ident>)? {
        $(
            $(..$flat:ident : $flat_ty:ident)?
            $( $(#[doc = $key_doc:literal])* $key:ident : $ty:ty $(= $default:expr)? $(=> $range:expr)? )?
        ; )*
    } )*) => { $(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, $crate::serde::Serialize)]
        #[serde(crate = "mbm_config::serde")]
        pub struct $name $(<$shared>)? { $(
            $(
                #[doc = concat!("The keys of [`", stringify!($flat_ty), "`], on the same level.")]
                #[serde(flatten)]
                pub $flat: $flat_ty,
            )?
            $( $(#[doc = $key_doc])* pub $key: $ty, )?
        )* }

        impl $(<$shared: $crate::Section>)? $crate::Section for $name $(<$shared>)? {
            fn read_fields(fields: &mut $crate::Fields) -> Option<Self> {
                $(
                    $( let $flat = <$flat_ty as $crate::Section>::read_fields(fields); )?
                    $(
                        let $key: Option<$ty> = $crate::settings!(@read fields, $key $(, $default)?);
                        $( let $key = $key.and_then(|value| fields.within($crate::settings!(@name $key), value, $range)); )?
                    )?
                )*
                let _ = &fields;
                Some(Self { $( $( $flat: $flat?, )? $( $key: $key?, )? )* })
            }

            fn section_schema() -> $crate::schema::Section {
                #[allow(unused_mut)]
                let mut section = $crate::schema::Section::new(stringify!($name), &[$($doc),*]);
                $(
                    $( section.include(<$flat_ty as $crate::Section>::section_schema()); )?
                    $( section.add(
                        $crate::schema::Key::of::<$ty>($crate::settings!(@name $key), &[$($key_doc),*])
                            $( .with_default({ let default: $ty = $default; default }) )?
                            $( .within($crate::schema::bounds::<$ty, _>($range)) )?
                    ); )?
                )*
                section
            }
        }

        impl $(<$shared: $crate::Section>)? $crate::Setting for $name $(<$shared>)? {
            fn read(node: &$crate::Node, path: &str, diagnostics: &mut $crate::Diagnostics) -> Option<Self> {
                let mut fields = $crate::Fields::of(node, path, diagnostics)?;
                let section = <Self as $crate::Section>::read_fields(&mut fields);
                fields.finish().and(section)
            }

            fn schema() -> $crate::schema::Schema {
                $crate::schema::Schema::Section(<Self as $crate::Section>::section_schema())
            }
        }
    )* };
    (@name $key:ident) => { stringify!($key).trim_start_matches("r#") };
    (@read $fields:ident, $key:ident) => { $fields.required($crate::settings!(@name $key)) };
    (@read $fields:ident, $key:ident, $default:expr) => { $fields.optional($crate::settings!(@name $key), || $default) };
}

/// Declares a choice between sections by their key `type`; `enum Encoder: Rnn` names the default, without which `type` is
/// required. A bare word is short for `{type: word}`.
///
/// With `=> EncoderConfig` the enum gets a method `get`, which returns the chosen section as `&dyn EncoderConfig`: what differs
/// from section to section is then a method of that trait, and no other code matches on the enum.
///
/// ```
/// use mbm_config::{defaults, settings, tagged};
///
/// /// What an encoder's settings tell the rest of the program.
/// pub trait EncoderConfig {
///     /// Returns the width of the output.
///     fn width(&self) -> usize;
/// }
/// settings! {
///     /// Dense layers.
///     pub struct DenseSettings {
///         /// Width of the output.
///         width: usize = 64 => 1..=4096;
///     }
/// }
/// impl EncoderConfig for DenseSettings {
///     fn width(&self) -> usize { self.width }
/// }
/// tagged! {
///     /// An encoder.
///     pub enum Encoder: Dense => EncoderConfig { Dense(DenseSettings) = "dense" }
/// }
/// assert_eq!(Encoder::Dense(defaults()).get().width(), 64);
/// ```
#[macro_export]
macro_rules! tagged {
    ($(#[doc = $doc:literal])* pub enum $name:ident $(: $default:ident)? $(=> $role:path)? {
        $( $variant:ident($section:ty) = $word:literal ),+ $(,)?
    }) => {
        $(#[doc = $doc])*
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
                let default: &[&str] = &[$( stringify!($default) )?];
                [$( (stringify!($variant), $word) ),+].into_iter().find(|(variant, _)| default == [*variant]).map(|(_, word)| word)
            }
        }

        $crate::tagged! { @dispatch $name [$($role)?] $($variant)+ }

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

            fn schema() -> $crate::schema::Schema {
                $crate::schema::Schema::Choice($crate::schema::Choice {
                    name: stringify!($name),
                    doc: $crate::schema::text(&[$($doc),*]),
                    default: Self::default_type(),
                    variants: vec![$( ($word, <$section as $crate::Section>::section_schema()) ),+],
                })
            }
        }
    };
    (@dispatch $name:ident [] $($variant:ident)+) => {};
    (@dispatch $name:ident [$role:path] $($variant:ident)+) => {
        impl $name {
            /// Returns the chosen section.
            pub fn get(&self) -> &dyn $role {
                match self { $( Self::$variant(it) => it, )+ }
            }
        }
    };
}

/// Declares an enum of words. `Learned = "learned" | "learnt"` also reads an earlier spelling, which is not documented and never
/// written.
#[macro_export]
macro_rules! choices {
    ($(#[doc = $doc:literal])* pub enum $name:ident {
        $( $(#[doc = $word_doc:literal])* $variant:ident = $word:literal $(| $earlier:literal)* ),+ $(,)?
    }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, $crate::serde::Serialize, $crate::serde::Deserialize)]
        #[serde(crate = "mbm_config::serde")]
        pub enum $name { $(
            #[doc = concat!("`", $word, "`")]
            $(#[doc = $word_doc])*
            #[serde(rename = $word $(, alias = $earlier)*)]
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
                let earlier: &[(&str, &'static str)] = &[$($( ($earlier, $word), )*)+];
                match $crate::read_word(node, path, diagnostics, "value", &[$($word),+], earlier)? {
                    $( $word => Some(Self::$variant), )+
                    _ => None,
                }
            }

            fn schema() -> $crate::schema::Schema {
                $crate::schema::Schema::Words($crate::schema::Words {
                    name: stringify!($name),
                    doc: $crate::schema::text(&[$($doc),*]),
                    words: vec![$( ($word, $crate::schema::text(&[$($word_doc),*])) ),+],
                    are_numbers: false,
                })
            }
        }
    };
}

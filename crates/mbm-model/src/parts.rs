//! Lists of parts, from which everything that must know all of them is made.
//!
//! A list has one line for each file. It names the module in the file, and for each input or output type the settings that it may
//! have, with the word that stands after `type:` in the config:
//!
//! ```text
//! parts! {
//!     /// Any encoder.
//!     pub enum Encoder: Encode;
//!     settings: EncoderConfig;
//!     types {
//!         /// Image encoders.
//!         image => ImageEncoder: StackedCnn;
//!     }
//!     files {
//!         stacked_cnn: StackedCnn { [image] StackedCnn(StackedCnnSettings) = "stacked_cnn"; }
//!         vit: Vit { [image] Vit(VitSettings) = "vit"; [image] Clip(ClipImageSettings) = "clip"; }
//!     }
//! }
//! ```
//!
//! becomes
//!
//! ```text
//! mod stacked_cnn;                                 // and `pub use stacked_cnn::*;`
//! mod vit;
//! pub enum Encoder { StackedCnn(..), Vit(..) }     // the modules; `get` returns `&dyn Encode`
//! pub enum ImageEncoder { StackedCnn(..), .. }     // the settings; `get` returns `&dyn EncoderConfig`
//! ```
//!
//! A file may have several modules, or none of its own.

/// Declares a closed family of trainable components: an enum of modules, dispatched in one match to the trait that they share.
macro_rules! components {
    ($(#[doc = $doc:literal])* $module:ident: $role:ident { $($variant:ident),+ $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(burn::module::Module, Debug)]
        #[allow(missing_docs, clippy::large_enum_variant)]
        pub enum $module { $($variant($variant)),+ }

        impl $module {
            /// Returns the wrapped module as its trait object.
            pub fn get(&self) -> &dyn $role {
                match self { $(Self::$variant(it) => it),+ }
            }
        }

        $(
            impl From<$variant> for $module {
                fn from(module: $variant) -> Self {
                    Self::$variant(module)
                }
            }
        )+
    };
}

/// Declares the files, modules and settings of a list of parts.
macro_rules! parts {
    (
        $(#[doc = $doc:literal])* pub enum $module:ident: $role:ident;
        settings: $config:ident;
        types { $( $(#[doc = $type_doc:literal])* $type:ident => $settings:ident: $default:ident; )+ }
        files $files:tt
    ) => {
        parts! { @modules [$(#[doc = $doc])* $module: $role] $files }
        $( parts_of! { $type [$(#[doc = $type_doc])* pub enum $settings: $default => $config] [] $files } )+
    };
    (@modules [$($declared:tt)*] {
        $( $file:ident $(: $($module:ident),+)? { $( [$($type:ident)+] $variant:ident($section:ident) = $word:literal; )* } )+
    }) => {
        $( mod $file; pub use $file::*; )+
        $( $( $( feature_type! { $type } )+ )* )+
        components! { $($declared)* { $( $($($module,)+)? )+ } }
    };
}

/// Fails to compile for a word that is no type of input or output: otherwise a misspelt type would be passed over.
macro_rules! feature_type {
    (image) => {};
    (text) => {};
    (audio) => {};
    (timeseries) => {};
    (number) => {};
    (category) => {};
    (binary) => {};
    (set) => {};
    (vector) => {};
    (date) => {};
    (embedding) => {};
}

/// Collects the settings whose list names a type, and declares the choice between them. The list of a line is looked at word by
/// word; a macro can compare words only by a rule for each.
macro_rules! parts_of {
    (image $enum:tt $found:tt { [image $($types:ident)*] $($line:tt)* }) => { parts_of! { @found image $enum $found { $($line)* } } };
    (text $enum:tt $found:tt { [text $($types:ident)*] $($line:tt)* }) => { parts_of! { @found text $enum $found { $($line)* } } };
    (audio $enum:tt $found:tt { [audio $($types:ident)*] $($line:tt)* }) => { parts_of! { @found audio $enum $found { $($line)* } } };
    (timeseries $enum:tt $found:tt { [timeseries $($types:ident)*] $($line:tt)* }) => { parts_of! { @found timeseries $enum $found { $($line)* } } };
    (number $enum:tt $found:tt { [number $($types:ident)*] $($line:tt)* }) => { parts_of! { @found number $enum $found { $($line)* } } };
    (category $enum:tt $found:tt { [category $($types:ident)*] $($line:tt)* }) => { parts_of! { @found category $enum $found { $($line)* } } };
    (binary $enum:tt $found:tt { [binary $($types:ident)*] $($line:tt)* }) => { parts_of! { @found binary $enum $found { $($line)* } } };
    (set $enum:tt $found:tt { [set $($types:ident)*] $($line:tt)* }) => { parts_of! { @found set $enum $found { $($line)* } } };
    (vector $enum:tt $found:tt { [vector $($types:ident)*] $($line:tt)* }) => { parts_of! { @found vector $enum $found { $($line)* } } };
    (date $enum:tt $found:tt { [date $($types:ident)*] $($line:tt)* }) => { parts_of! { @found date $enum $found { $($line)* } } };
    (embedding $enum:tt $found:tt { [embedding $($types:ident)*] $($line:tt)* }) => { parts_of! { @found embedding $enum $found { $($line)* } } };
    // The line names the type: keep it.
    (@found $type:ident $enum:tt [$($found:tt)*] { $variant:ident($section:ident) = $word:literal; $($rest:tt)* }) => {
        parts_of! { $type $enum [$($found)* $variant($section) = $word,] { $($rest)* } }
    };
    // Another type: look at the next word.
    ($type:ident $enum:tt $found:tt { [$other:ident $($types:ident)*] $($line:tt)* }) => {
        parts_of! { $type $enum $found { [$($types)*] $($line)* } }
    };
    // No more types: skip the line.
    ($type:ident $enum:tt $found:tt { [] $variant:ident($section:ident) = $word:literal; $($rest:tt)* }) => {
        parts_of! { $type $enum $found { $($rest)* } }
    };
    // A file: go through its lines.
    ($type:ident $enum:tt $found:tt { $file:ident $(: $($module:ident),+)? { $($lines:tt)* } $($rest:tt)* }) => {
        parts_of! { $type $enum $found { $($lines)* $($rest)* } }
    };
    // The end of the list.
    ($type:ident [$($enum:tt)*] [$($found:tt)+] {}) => {
        mbm_config::tagged! { $($enum)* { $($found)+ } }
    };
}

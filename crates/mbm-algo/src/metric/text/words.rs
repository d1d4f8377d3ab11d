//! Tokenizers of the text metrics.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// Tokenizers of sacrebleu that do not need a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WordCut {
    /// The tokenizer of `mteval-v13a`, for languages that put spaces between words.
    #[default]
    Mteval13a,
    /// Splits Chinese characters one by one and tokenizes the rest as `13a`.
    Zh,
    /// Splits every character except whitespace.
    Char,
}

impl WordCut {
    /// Returns the name in sacrebleu's signature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mteval13a => "13a",
            Self::Zh => "zh",
            Self::Char => "char",
        }
    }

    /// Splits a text into words.
    pub fn words(self, text: &str) -> Vec<String> {
        let text = text.trim_end();
        match self {
            Self::Mteval13a => western(&format!(" {} ", unescaped(text))),
            Self::Zh => western(&separate_chinese(text.trim())),
            Self::Char => text.chars().filter(|c| !c.is_whitespace()).map(String::from).collect(),
        }
    }
}

static WESTERN: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(pattern).expect("the patterns are constant and tested");
    [
        (regex(r"([\{-~\[-` -&\(-\+:-@/])"), " $1 "),
        (regex(r"([^0-9])([\.,])"), "$1 $2 "),
        (regex(r"([\.,])([^0-9])"), " $1 $2"),
        (regex(r"([0-9])(-)"), "$1 $2 "),
    ]
});

/// Separates punctuation from words, except within numbers.
fn western(text: &str) -> Vec<String> {
    let apart = WESTERN.iter().fold(text.to_owned(), |text, (pattern, with)| pattern.replace_all(&text, *with).into_owned());
    apart.split_whitespace().map(str::to_owned).collect()
}

fn unescaped(text: &str) -> String {
    let text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    if !text.contains('&') {
        return text;
    }
    text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
}

fn separate_chinese(text: &str) -> String {
    let mut apart = String::with_capacity(2 * text.len());
    for c in text.chars() {
        if CHINESE.iter().any(|(first, last)| (*first..=*last).contains(&c)) {
            apart.extend([' ', c, ' ']);
        } else {
            apart.push(c);
        }
    }
    apart
}

/// The ranges that sacrebleu treats as Chinese, in its order. Two of them are written `\u20000` and `\u2f800`, which Python
/// parses as a four-digit escape followed by `0`; the resulting ranges are reproduced here so that scores are the same.
const CHINESE: [(char, char); 22] = [
    ('\u{3400}', '\u{4db5}'),
    ('\u{4e00}', '\u{9fa5}'),
    ('\u{9fa6}', '\u{9fbb}'),
    ('\u{f900}', '\u{fa2d}'),
    ('\u{fa30}', '\u{fa6a}'),
    ('\u{fa70}', '\u{fad9}'),
    ('\u{2001}', '\u{2a6d}'),
    ('\u{2f81}', '\u{2fa1}'),
    ('\u{ff00}', '\u{ffef}'),
    ('\u{2e80}', '\u{2eff}'),
    ('\u{3000}', '\u{303f}'),
    ('\u{31c0}', '\u{31ef}'),
    ('\u{2f00}', '\u{2fdf}'),
    ('\u{2ff0}', '\u{2fff}'),
    ('\u{3100}', '\u{312f}'),
    ('\u{31a0}', '\u{31bf}'),
    ('\u{fe10}', '\u{fe1f}'),
    ('\u{fe30}', '\u{fe4f}'),
    ('\u{2600}', '\u{26ff}'),
    ('\u{2700}', '\u{27bf}'),
    ('\u{3200}', '\u{32ff}'),
    ('\u{3300}', '\u{33ff}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separates_punctuation_from_words_but_not_numbers() {
        let cut = |text| WordCut::Mteval13a.words(text).join(" ");
        assert_eq!(cut("It costs $1,234.50, doesn't it? (Yes.)"), "It costs $ 1,234.50 , doesn't it ? ( Yes . )");
        assert_eq!(cut("well-known 3-4 &quot;x&quot;"), "well-known 3 - 4 \" x \"");
        assert_eq!(WordCut::Zh.words("我有3.5只狗。ok").join("|"), "我|有|3.5|只|狗|。|ok");
        assert_eq!(WordCut::Char.words("a b🐕").join("|"), "a|b|🐕");
    }
}

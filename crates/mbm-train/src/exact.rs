//! Exact round-trip serialization of floats in JSON, including values without a JSON number: `"NaN"`, `"inf"`, `"-inf"`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::EpochRecord;

/// The stored form of a float.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Number(f64),
    Word(String),
}

impl From<f64> for Stored {
    fn from(value: f64) -> Self {
        if value.is_finite() { Self::Number(value) } else { Self::Word(value.to_string()) }
    }
}

/// A text that is not a number.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a number")]
struct NotANumber(String);

impl TryFrom<Stored> for f64 {
    type Error = NotANumber;

    fn try_from(stored: Stored) -> Result<Self, NotANumber> {
        match stored {
            Stored::Number(value) => Ok(value),
            Stored::Word(word) => word.parse().map_err(|_| NotANumber(word)),
        }
    }
}

pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Stored::from(*value).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Stored::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
}

/// Serialization of optional floats.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Stored};

    pub(crate) fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Stored::from).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        let stored = Option::<Stored>::deserialize(deserializer)?;
        stored.map(f64::try_from).transpose().map_err(serde::de::Error::custom)
    }
}

/// Serialization of epoch records.
pub(crate) mod history {
    use super::{BTreeMap, Deserialize, Deserializer, EpochRecord, NotANumber, Serialize, Serializer, Stored};

    #[derive(Serialize, Deserialize)]
    struct StoredEpoch {
        #[serde(with = "super")]
        loss: f64,
        #[serde(with = "super")]
        learning_rate: f64,
        validation: BTreeMap<String, Stored>,
    }

    pub(crate) fn serialize<S: Serializer>(history: &[EpochRecord], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(history.iter().map(|EpochRecord { loss, learning_rate, validation }| StoredEpoch {
            loss: *loss,
            learning_rate: *learning_rate,
            validation: validation.iter().map(|(name, value)| (name.clone(), Stored::from(*value))).collect(),
        }))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<EpochRecord>, D::Error> {
        let stored = Vec::<StoredEpoch>::deserialize(deserializer)?;
        let history = stored.into_iter().map(|StoredEpoch { loss, learning_rate, validation }| {
            let values = validation.into_iter().map(|(name, value)| Ok((name, f64::try_from(value)?)));
            Ok(EpochRecord { loss, learning_rate, validation: values.collect::<Result<_, NotANumber>>()? })
        });
        history.collect::<Result<_, NotANumber>>().map_err(serde::de::Error::custom)
    }
}

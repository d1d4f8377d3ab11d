//! The learners: each returns its predictions for the test rows, `[rows, n_values]`; `None` if it cannot fit the table.

#[cfg(feature = "forust")]
mod forust;
#[cfg(feature = "mbm")]
mod mbm;
#[cfg(feature = "perpetual")]
mod perpetual;

#[cfg(feature = "perpetual")]
use self::perpetual::Categories;
use crate::table::Table;

type Learner = fn(&Table) -> Option<Vec<f32>>;

pub const LEARNERS: &[(&str, Learner)] = &[
    #[cfg(feature = "mbm")]
    ("mbm, 5 folds", |table| Some(mbm::five_folds(table))),
    #[cfg(feature = "mbm")]
    ("mbm, 100 rounds", |table| Some(mbm::hundred_rounds(table))),
    #[cfg(feature = "perpetual")]
    ("perpetual, budget 0.5", |table| perpetual::fit(table, 0.5, Categories::FromOne)),
    #[cfg(feature = "perpetual")]
    ("perpetual, budget 1", |table| perpetual::fit(table, 1.0, Categories::FromOne)),
    #[cfg(feature = "perpetual")]
    ("perpetual, budget 1, numbers", |table| perpetual::fit(table, 1.0, Categories::Numbers)),
    #[cfg(feature = "forust")]
    ("forust, 100 rounds", forust::fit),
    #[cfg(feature = "perpetual")]
    ("perpetual, budget 1, codes from 0", |table| perpetual::fit(table, 1.0, Categories::FromZero)),
];

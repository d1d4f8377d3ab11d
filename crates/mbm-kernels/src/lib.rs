//! CPU kernels on plain slices, without tensors or I/O.
//!
//! A kernel is written once, generic over the vector width, and compiled for each instruction set in `dispatch`, which selects
//! one at run time, so that one binary serves old and new processors. `unsafe` code is confined to that module and to
//! `matrix`, which calls the `gemm` crate for large products.

mod attention;
mod conv;
mod cross_entropy;
mod dispatch;
mod functions;
mod gelu;
mod layer_norm;
mod linear;
mod lstm;
mod matrix;
mod multiply;
mod norm;
mod pool;
mod similarity;

pub use attention::{
    AttentionGradients, AttentionInputs, AttentionOutput, AttentionShape, attention_backward, attention_forward,
};
pub use conv::{ConvShape, Epilogue, conv_backward, conv_forward};
pub use cross_entropy::{Scoring, ScoringGradients, TokenCosts, log_sums, token_costs, token_costs_backward};
pub use gelu::{gelu, gelu_backward};
pub use layer_norm::{LayerNormGradients, LayerNormOutput, layer_norm, layer_norm_backward};
pub use linear::{linear, linear_bias_backward, linear_rows_backward, linear_weight_backward};
pub use lstm::{LstmGradients, LstmShape, LstmStates, LstmView, lstm_backward, lstm_forward};
pub use matrix::{Element, Matrix, add_product};
use multiply::Packed;
pub use norm::{Affine, NormGradients, NormShape, Normalized, affine, moments, norm_backward};
pub use pool::{PoolShape, max_pool, max_pool_backward};
pub use similarity::{Query, Stored, from_half, products, products_from, to_bytes, to_half};

use dispatch::{Instructions, Kernel, dispatch};

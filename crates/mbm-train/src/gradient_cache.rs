//! Gradient caching: processes a batch in chunks but computes one loss for the whole batch (GradCache, Gao et al. 2021).
//!
//! The first pass caches the scores of each chunk, without their graphs. The loss over all scores has a gradient for each score;
//! the second pass rebuilds the graph of each chunk and backpropagates the gradients of its scores.

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use mbm_model::{Model, ModelSpec, Target};

/// Scores and targets cached by the first pass.
#[derive(Default)]
pub(crate) struct GradientCache {
    /// `[chunks][outputs]`: scores without a graph.
    scores: Vec<Vec<Tensor<2>>>,
    /// `[chunks][outputs]`
    targets: Vec<Vec<Target>>,
}

/// The loss of a whole batch, and what its chunks need for the second pass.
pub(crate) struct Gradients {
    /// The loss.
    pub loss: f64,
    /// Gradients of parameters that the loss depends on directly, not through the scores.
    pub direct: GradientsParams,
    /// `[chunks][outputs]`: gradients of the scores.
    pub scores: Vec<Vec<Tensor<2>>>,
}

impl GradientCache {
    /// Adds the scores of a chunk, `[rows, width]` for each output.
    pub fn push(&mut self, scores: Vec<Tensor<2>>, targets: Vec<Target>) {
        self.scores.push(scores.into_iter().map(Tensor::inner).collect());
        self.targets.push(targets);
    }

    /// Computes the loss and the gradients of all scores, and clears the cache.
    pub fn gradients(&mut self, spec: &ModelSpec, model: &Model) -> Gradients {
        let (scores, targets) = (std::mem::take(&mut self.scores), std::mem::take(&mut self.targets));
        let lengths: Vec<usize> = scores.iter().map(|chunk| chunk[0].dims()[0]).collect();
        let n_outputs = spec.outputs.len();
        let scores: Vec<Tensor<2>> = (0..n_outputs)
            .map(|at| Tensor::cat(scores.iter().map(|chunk| chunk[at].clone()).collect(), 0))
            .map(|whole| Tensor::from_inner(whole).require_grad())
            .collect();
        let targets: Vec<Target> =
            (0..n_outputs).map(|at| Target::cat(targets.iter().map(|chunk| chunk[at].clone()).collect())).collect();
        let loss = spec.loss(model, &scores, &targets);
        let value = f64::from(loss.clone().into_scalar::<f32>());
        let gradients = loss.backward();
        let whole: Vec<Tensor<2>> =
            scores.iter().map(|scores| scores.grad(&gradients).unwrap_or_else(|| scores.clone().inner().zeros_like())).collect();
        let starts = lengths.iter().scan(0, |start, length| Some(std::mem::replace(start, *start + length)));
        let scores = starts
            .zip(&lengths)
            .map(|(start, length)| whole.iter().map(|it| it.clone().narrow(0, start, *length)).collect())
            .collect();
        Gradients { loss: value, direct: GradientsParams::from_grads(gradients, model), scores }
    }
}

/// Accumulates the gradients of the parameters for a chunk, given the gradients of its scores.
pub(crate) fn accumulate(
    accumulator: &mut GradientsAccumulator<Model>,
    model: &Model,
    scores: Vec<Tensor<2>>,
    gradients: &[Tensor<2>],
) {
    let sum = scores
        .into_iter()
        .zip(gradients)
        .map(|(scores, gradient)| (scores * Tensor::from_inner(gradient.clone())).sum())
        .reduce(|a, b| a + b);
    let sum = sum.expect("a plan has at least one output");
    accumulator.accumulate(model, GradientsParams::from_grads(sum.backward(), model));
}

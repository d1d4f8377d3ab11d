//! Sequence encoders: texts, audio and time series share the same bodies after their own stems.

mod settings;
#[cfg(test)]
mod tests;

use burn::module::Module;
use burn::nn::conv::Conv1d;
use burn::nn::pool::{MaxPool1d, MaxPool1dConfig};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use mbm_data::Shape;

pub use self::settings::{
    CnnRnnSettings, EmbedSettings, ParallelCnnSettings, RnnSettings, StackedCnn1dSettings, TransformerSettings,
};
use super::{Encode, EncoderOutput, Reduce};
use crate::layer::{
    Activation, Dense, DenseSpec, Dropout, Recurrent, RecurrentSpec, Transformer, TransformerSpec, conv1d, linear, sinusoids,
};
use crate::{Steps, Tensors};

/// A stem that produces steps of one width, and a body that reads them.
#[derive(Module, Debug)]
pub struct SequenceEncoder {
    stem: Stem,
    body: Body,
    dropout: Dropout,
    #[module(skip)]
    reduce: Reduce,
    #[module(skip)]
    width: usize,
}

/// Token embedding lookup, unchanged frames, or frames projected to a given width.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Stem {
    Lookup(Embedding),
    Frames(Dense),
    Projection(Linear),
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Body {
    Identity(Dense),
    Parallel(Parallel),
    Stacked(Stacked),
    Recurrent(Recurrent),
    StackedRecurrent(StackedRecurrent),
    Attending(Transformer),
}

#[derive(Module, Debug)]
struct Parallel {
    convs: Vec<Conv1d>,
    dense: Dense,
    #[module(skip)]
    activation: Activation,
}

#[derive(Module, Debug)]
struct Stacked {
    convs: Vec<Conv1d>,
    pool: MaxPool1d,
    dense: Dense,
    #[module(skip)]
    activation: Activation,
}

#[derive(Module, Debug)]
struct StackedRecurrent {
    stacked: Stacked,
    recurrent: Recurrent,
}

/// Arguments common to all bodies.
struct Init<'a> {
    shape: &'a Shape,
    encoder_output: EncoderOutput,
    device: &'a Device,
}

impl Init<'_> {
    /// Creates the stem and returns it with the width of its steps; frames keep theirs.
    fn stem(&self, embedding_size: usize) -> (Stem, usize) {
        match *self.shape {
            Shape::Tokens { vocab_size, .. } => {
                (Stem::Lookup(EmbeddingConfig::new(vocab_size, embedding_size).init(self.device)), embedding_size)
            }
            Shape::Frames { width, .. } => {
                let no_layers = DenseSpec { n_layers: 0, output_size: width, activation: Activation::None, dropout: 0.0 };
                (Stem::Frames(no_layers.init(width, self.device)), width)
            }
            ref other => panic!("a sequence encoder takes tokens or frames, got {other:?}"),
        }
    }

    fn finish(
        &self,
        stem: Stem,
        body: Body,
        width: usize,
        dropout: f64,
        configured: Option<Reduce>,
        default: Reduce,
    ) -> SequenceEncoder {
        let reduce = Reduce::choose(configured, default, self.encoder_output);
        SequenceEncoder { stem, body, dropout: Dropout::new(dropout), reduce, width }
    }

    fn embed(&self, it: &EmbedSettings) -> SequenceEncoder {
        let (stem, width) = self.stem(it.embedding_size);
        let no_layers = DenseSpec { n_layers: 0, output_size: width, activation: Activation::None, dropout: 0.0 };
        self.finish(stem, Body::Identity(no_layers.init(width, self.device)), width, it.dropout, it.reduce_output, Reduce::Mean)
    }

    fn parallel(&self, it: &ParallelCnnSettings) -> SequenceEncoder {
        let (stem, width) = self.stem(it.embedding_size);
        let convs: Vec<Conv1d> = it.filter_sizes.iter().map(|size| conv1d([width, it.num_filters], *size, self.device)).collect();
        let dense =
            DenseSpec { n_layers: it.num_fc_layers, output_size: it.output_size, activation: it.activation, dropout: it.dropout };
        let dense = dense.init(it.num_filters * convs.len(), self.device);
        let width = dense.width();
        let body = Body::Parallel(Parallel { convs, dense, activation: it.activation });
        self.finish(stem, body, width, it.dropout, it.reduce_output, Reduce::Max)
    }

    fn stacked_body(&self, width: usize, n_layers: usize, filter_size: usize, n_filters: usize, dense: DenseSpec) -> Stacked {
        let conv = |layer: usize| conv1d([if layer == 0 { width } else { n_filters }, n_filters], filter_size, self.device);
        Stacked {
            convs: (0..n_layers).map(conv).collect(),
            pool: MaxPool1dConfig::new(2).with_stride(2).init(),
            activation: dense.activation,
            dense: dense.init(n_filters, self.device),
        }
    }

    fn stacked(&self, it: &StackedCnn1dSettings) -> SequenceEncoder {
        let (stem, width) = self.stem(it.embedding_size);
        let dense = DenseSpec { n_layers: 1, output_size: it.output_size, activation: it.activation, dropout: it.dropout };
        let body = self.stacked_body(width, it.num_conv_layers, it.filter_size, it.num_filters, dense);
        self.finish(stem, Body::Stacked(body), it.output_size, it.dropout, it.reduce_output, Reduce::Max)
    }

    fn rnn(&self, it: &RnnSettings) -> SequenceEncoder {
        let (stem, width) = self.stem(it.embedding_size);
        let spec = RecurrentSpec {
            cell: it.cell_type,
            input_size: width,
            hidden_size: it.state_size,
            n_layers: it.num_layers,
            bidirectional: it.bidirectional,
            dropout: it.dropout,
        };
        self.finish(stem, Body::Recurrent(spec.init(self.device)), spec.width(), it.dropout, it.reduce_output, Reduce::Last)
    }

    fn cnn_rnn(&self, it: &CnnRnnSettings) -> SequenceEncoder {
        let (stem, width) = self.stem(it.embedding_size);
        let no_layers = DenseSpec { n_layers: 0, output_size: it.num_filters, activation: Activation::Relu, dropout: 0.0 };
        let stacked = self.stacked_body(width, it.num_conv_layers, it.filter_size, it.num_filters, no_layers);
        let spec = RecurrentSpec {
            cell: it.cell_type,
            input_size: it.num_filters,
            hidden_size: it.state_size,
            n_layers: it.num_rec_layers,
            bidirectional: it.bidirectional,
            dropout: it.dropout,
        };
        let body = Body::StackedRecurrent(StackedRecurrent { stacked, recurrent: spec.init(self.device) });
        self.finish(stem, body, spec.width(), it.dropout, it.reduce_output, Reduce::Last)
    }

    fn transformer(&self, it: &TransformerSettings) -> SequenceEncoder {
        let (stem, width) = self.stem(it.hidden_size);
        let stem = match (stem, self.shape) {
            // Embeddings then match the positional encodings in magnitude once they are scaled by the square root of the width.
            (_, Shape::Tokens { vocab_size, .. }) => {
                let normal = Initializer::Normal { mean: 0.0, std: 1.0 / (it.hidden_size as f64).sqrt() };
                Stem::Lookup(EmbeddingConfig::new(*vocab_size, it.hidden_size).with_initializer(normal).init(self.device))
            }
            (_, _) => Stem::Projection(LinearConfig::new(width, it.hidden_size).init(self.device)),
        };
        let spec = TransformerSpec {
            dropout: it.dropout,
            norm: it.norm,
            activation: it.activation,
            ..TransformerSpec::usual(it.hidden_size, it.num_layers, it.num_heads, it.transformer_output_size)
        };
        self.finish(stem, Body::Attending(spec.init(self.device)), it.hidden_size, it.dropout, it.reduce_output, Reduce::Mean)
    }
}

impl Stem {
    fn forward(&self, input: Tensors) -> Steps {
        let steps = match (self, input) {
            (Self::Lookup(embedding), Tensors::Tokens(ids, mask)) => Steps { values: embedding.forward(ids), mask },
            (Self::Frames(_), Tensors::Frames(values, mask)) => return Steps { values, mask },
            (Self::Projection(layer), Tensors::Frames(values, mask)) => Steps { values: linear(layer, values), mask },
            (_, other) => panic!("a sequence encoder takes tokens or frames, got {other:?}"),
        };
        Steps { values: steps.values.clone() * steps.weights(), mask: steps.mask }
    }
}

impl Encode for SequenceEncoder {
    fn width(&self) -> usize {
        self.width
    }

    fn encode(&self, input: Tensors) -> Steps {
        let steps = self.stem.forward(input);
        let steps = Steps { values: self.dropout.forward(steps.values), mask: steps.mask };
        match &self.body {
            Body::Identity(_) => self.reduce.apply(steps, None),
            Body::Parallel(parallel) => parallel.forward(steps, self.reduce),
            Body::Stacked(stacked) => self.reduce.apply(stacked.forward(steps), None),
            Body::Recurrent(recurrent) => recur(recurrent, steps, self.reduce),
            Body::StackedRecurrent(both) => recur(&both.recurrent, both.stacked.forward(steps), self.reduce),
            Body::Attending(transformer) => self.reduce.apply(transformer.forward(with_positions(steps)), None),
        }
    }
}

impl SequenceEncoder {
    /// Replaces the random embeddings of some tokens, indexed by id, with the given vectors.
    pub(crate) fn with_vectors(self, vectors: &[Option<Vec<f32>>]) -> Self {
        let Stem::Lookup(mut embedding) = self.stem else { panic!("an encoder of frames has no embedding table") };
        embedding.weight = embedding.weight.map(|weight| {
            let (dims, is_trained) = (weight.dims(), weight.is_require_grad());
            let mut rows = weight.to_data().try_into_vec::<f32>().unwrap_or_default();
            for (row, vector) in rows.chunks_mut(dims[1]).zip(vectors) {
                vector.iter().for_each(|vector| row.copy_from_slice(vector));
            }
            let weight = Tensor::from_data(TensorData::new(rows, dims), &weight.device());
            if is_trained { weight.require_grad() } else { weight }
        });
        Self { stem: Stem::Lookup(embedding), ..self }
    }
}

fn with_positions(steps: Steps) -> Steps {
    let [_, n_steps, width] = steps.values.dims();
    let positions = sinusoids(n_steps, width, &steps.values.device());
    Steps { values: steps.values * (width as f64).sqrt() + positions, mask: steps.mask }
}

fn recur(recurrent: &Recurrent, steps: Steps, reduce: Reduce) -> Steps {
    let (outputs, last) = recurrent.forward(&steps);
    if reduce == Reduce::Last {
        return Steps::single(last);
    }
    reduce.apply(Steps { values: outputs, mask: steps.mask }, None)
}

impl Parallel {
    /// Reduces before the dense layers, so that they run only once per row.
    fn forward(&self, steps: Steps, reduce: Reduce) -> Steps {
        let x = steps.values.swap_dims(1, 2); // [batch, width, steps]
        let maps = self.convs.iter().map(|conv| self.activation.apply(conv.forward(x.clone()))).collect();
        let joined = Tensor::cat(maps, 1).swap_dims(1, 2); // [batch, steps, filters]
        let Steps { values, mask } = reduce.apply(Steps { values: joined, mask: steps.mask }, None);
        Steps { values: self.dense.forward(values), mask }
    }
}

impl Stacked {
    fn forward(&self, steps: Steps) -> Steps {
        let mut x = steps.values.swap_dims(1, 2); // [batch, width, steps]
        let mut weights = steps.mask.float().unsqueeze_dim::<3>(1); // [batch, 1, steps]
        for conv in &self.convs {
            x = self.activation.apply(conv.forward(x)) * weights.clone();
            if x.dims()[2] >= 2 {
                x = self.pool.forward(x);
                // A pooled step is valid if either of its two steps was; a row's first step is always valid.
                weights = self.pool.forward(weights);
            }
        }
        let mask = weights.squeeze_dim::<2>(1).greater_scalar(0.5);
        // Rows shorter than one pooled step keep their first step.
        let first = Tensor::<2>::ones_like(&mask.clone().float()).cumsum(1).equal_scalar(1.0);
        Steps { values: self.dense.forward(x.swap_dims(1, 2)), mask: mask.bool_or(first) }
    }
}

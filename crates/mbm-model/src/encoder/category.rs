//! Encoders of classes: a learnt vector for each, or one column for each.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, Tensor};
use mbm_config::settings;
use mbm_data::Shape;

use super::{Encode, expect_input};
use crate::layer::Dropout;
use crate::{Steps, Tensors};

settings! {
    /// A learnt vector for each class.
    pub struct CategoryDenseSettings {
        /// Its width.
        embedding_size: usize = 16 => 1..=4096;
        /// On it.
        dropout: f64 = 0.0 => 0.0..=0.9;
    }

    /// One column for each class.
    pub struct OneHotSettings {}
}

/// A learnt vector for each class.
#[derive(Module, Debug)]
pub struct CategoryDense {
    embedding: Embedding,
    dropout: Dropout,
    #[module(skip)]
    width: usize,
}

/// One column for each class.
#[derive(Module, Debug)]
pub struct OneHot {
    #[module(skip)]
    n_classes: usize,
}

fn n_classes(shape: &Shape) -> usize {
    let Shape::Class { n_classes } = *shape else { panic!("an encoder of classes was given {shape:?}") };
    n_classes
}

impl CategoryDenseSettings {
    pub(super) fn init(&self, shape: &Shape, device: &Device) -> CategoryDense {
        let embedding = EmbeddingConfig::new(n_classes(shape), self.embedding_size).init(device);
        CategoryDense { embedding, dropout: Dropout::new(self.dropout), width: self.embedding_size }
    }
}

pub(super) fn one_hot(shape: &Shape) -> OneHot {
    OneHot { n_classes: n_classes(shape) }
}

impl Encode for CategoryDense {
    fn width(&self) -> usize {
        self.width
    }

    fn encode(&self, input: Tensors) -> Steps {
        let classes = expect_input!(input, Classes(classes) => classes);
        let values = self.dropout.forward(self.embedding.forward(classes.unsqueeze_dim(1))); // [batch, 1, width]
        Steps::full(values)
    }
}

impl Encode for OneHot {
    fn width(&self) -> usize {
        self.n_classes
    }

    fn encode(&self, input: Tensors) -> Steps {
        let classes = expect_input!(input, Classes(classes) => classes);
        // Burn makes no column of a single class.
        let columns = match self.n_classes {
            1 => Tensor::ones([classes.dims()[0], 1], &classes.device()),
            n_classes => classes.one_hot::<2>(n_classes).float(),
        };
        Steps::single(columns)
    }
}

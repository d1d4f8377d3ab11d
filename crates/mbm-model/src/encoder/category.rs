//! Category encoders: a learned embedding per class, or one-hot encoding.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, Tensor};
use mbm_config::settings;
use mbm_data::Shape;

use super::{Encode, Encoder, EncoderConfig, EncoderOutput, expect_input};
use crate::layer::Dropout;
use crate::{Steps, Tensors};

settings! {
    /// Settings of a learned embedding per class.
    pub struct CategoryDenseSettings {
        /// Width of the embedding.
        embedding_size: usize = 16 => 1..=4096;
        /// Dropout on the embedding.
        dropout: f64 = 0.0 => 0.0..=0.9;
    }

    /// Settings of one-hot encoding.
    pub struct OneHotSettings {}
}

/// Learned embedding per class.
#[derive(Module, Debug)]
pub struct CategoryDense {
    embedding: Embedding,
    dropout: Dropout,
    #[module(skip)]
    width: usize,
}

/// One-hot encoding of classes.
#[derive(Module, Debug)]
pub struct OneHot {
    #[module(skip)]
    n_classes: usize,
}

fn n_classes(shape: &Shape) -> usize {
    let Shape::Class { n_classes } = *shape else { panic!("a category encoder takes classes, got {shape:?}") };
    n_classes
}

impl EncoderConfig for CategoryDenseSettings {
    fn init(&self, shape: &Shape, _encoder_output: EncoderOutput, device: &Device) -> Encoder {
        let embedding = EmbeddingConfig::new(n_classes(shape), self.embedding_size).init(device);
        CategoryDense { embedding, dropout: Dropout::new(self.dropout), width: self.embedding_size }.into()
    }
}

impl EncoderConfig for OneHotSettings {
    fn init(&self, shape: &Shape, _encoder_output: EncoderOutput, _device: &Device) -> Encoder {
        OneHot { n_classes: n_classes(shape) }.into()
    }

    fn has_no_parameters(&self) -> bool {
        true
    }
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
        // Burn's `one_hot` rejects a single class.
        let columns = match self.n_classes {
            1 => Tensor::ones([classes.dims()[0], 1], &classes.device()),
            n_classes => classes.one_hot::<2>(n_classes).float(),
        };
        Steps::single(columns)
    }
}

#[cfg(test)]
mod tests {
    use mbm_data::Shape;

    use crate::testing::check_encoder;

    #[test]
    fn category_encoders_learn() {
        check_encoder("category", "dense", Shape::Class { n_classes: 8 });
        check_encoder("category", "onehot", Shape::Class { n_classes: 8 });
    }
}

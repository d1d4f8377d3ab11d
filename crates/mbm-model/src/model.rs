//! Late to early in one page: inputs through their encoders, joined by the combiner, read by the decoders.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Int, Tensor, TensorData};
use mbm_config::settings;
use mbm_data::{Batch, Column, Shape};

use crate::block::{Block, Piece, Place, pieces};
use crate::combiner::{Combiner, CombinerSettings, Inputs};
use crate::decoder::{Decoder, DecoderSettings, Decoding, Hypothesis, Loss, Observe};
use crate::encoder::{Encoder, EncoderOutput, EncoderSettings, Passthrough};
use crate::layer::{Activation, Dense, DenseSpec, learnt};
use crate::pretrained::{Origin, PretrainedError, fill_decoder, fill_encoder};
use crate::{Fused, Sequence, Steps, Target, Tensors};

/// Everything that a model is made from.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// The inputs, in the config's order.
    pub inputs: Vec<InputSpec>,
    /// How they are joined.
    pub combiner: CombinerSettings,
    /// The outputs, in the config's order.
    pub outputs: Vec<OutputSpec>,
}

/// One input.
#[derive(Debug, Clone)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// Its encoder.
    pub encoder: EncoderSettings,
    /// What its fitted feature gives.
    pub shape: Shape,
    /// A layer between its encoder and the combiner.
    pub projection: Option<ProjectionSettings>,
    /// The tokens of a text, by id, where pretrained vectors are looked up for them.
    pub vocabulary: Vec<String>,
}

settings! {
    /// A linear layer between an encoder and the combiner: the width that an input has among the others.
    pub struct ProjectionSettings {
        /// The width of what comes out.
        output_size: usize = 64 => 1..=8192;
        /// After the layer.
        activation: Activation = Activation::Relu;
        /// After the activation.
        dropout: f64 = 0.0 => 0.0..=0.9;
    }
}

/// One output.
#[derive(Debug, Clone)]
pub struct OutputSpec {
    /// Its name.
    pub name: String,
    /// Its decoder.
    pub decoder: DecoderSettings,
    /// Scores or numbers a row.
    pub width: usize,
    /// Its loss.
    pub loss: Loss,
    /// Its weight among the losses.
    pub loss_weight: f64,
}

/// The trainable whole.
#[derive(Module, Debug)]
pub struct Model {
    /// Inputs that have an encoder of their own.
    inputs: Vec<Input>,
    /// All others.
    block: Option<Block>,
    combiner: Combiner,
    decoders: Vec<Decoder>,
    /// One an input, in the config's order.
    #[module(skip)]
    places: Arc<[Place]>,
    /// The same, neighbours in the block as one.
    #[module(skip)]
    pieces: Arc<[Piece]>,
}

/// An encoder, perhaps a projection, and what stands for an absent cell.
#[derive(Module, Debug)]
pub struct Input {
    encoder: Encoder,
    projection: Option<Dense>,
    absence: Param<Tensor<1>>,
}

/// What a batch gives.
pub struct Forward {
    /// The joined inputs.
    pub fused: Fused,
    /// `[batch, width]` for each output.
    pub logits: Vec<Tensor<2>>,
}

static AUTODIFF_LOCK: Mutex<()> = Mutex::new(());

/// Held by whoever draws parameters or builds a graph of gradients: Burn has one generator and one counter of nodes for the whole
/// process, and sums gradients in an order that depends on the numbers of the nodes. Two runs side by side would otherwise differ in
/// their last bits from a run alone.
pub fn autodiff_lock() -> MutexGuard<'static, ()> {
    AUTODIFF_LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs on a thread of the pool that operations share their work with, where they take turns without going to sleep between them: a
/// small batch through a deep network is a fifth faster. Threads of a pool take up each other's work while they wait, so what runs there
/// must not wait for a lock; take it before.
pub fn on_worker_pool<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| run())
}

impl ModelSpec {
    /// A model with fresh parameters, drawn from `seed` alone.
    pub fn init(&self, device: &Device, seed: u64) -> Model {
        let _alone = autodiff_lock();
        device.seed(seed);
        let encoder_output = self.encoder_output();
        let (mut inputs, mut places, mut absences) = (Vec::new(), Vec::new(), Vec::new());
        for spec in &self.inputs {
            let encoder = spec.encoder.init(&spec.shape, encoder_output, device);
            let projection = spec.projection.as_ref().map(|it| it.init(encoder.get().width(), device));
            let width = projection.as_ref().map_or(encoder.get().width(), Dense::width);
            let absence = learnt([width], device);
            if self.is_in_block(spec) {
                let start = absences.len();
                absences.extend(values_of(&absence));
                places.push(Place::Columns(start..absences.len()));
            } else {
                places.push(Place::Encoder(inputs.len()));
                inputs.push(Input { encoder, projection, absence });
            }
        }
        let block = (!absences.is_empty()).then(|| Block::new(absences, device));
        let names: Vec<String> = self.inputs.iter().map(|input| input.name.clone()).collect();
        let width = |place: &Place| match place {
            Place::Columns(columns) => columns.len(),
            Place::Encoder(at) => inputs[*at].width(),
        };
        let widths: Vec<usize> = places.iter().map(width).collect();
        let joined = Inputs { names: &names, widths: &widths, attention_context: self.combiner.attention_context(), device };
        let combiner = self.combiner.init(&joined);
        let from = [combiner.get().width(), combiner.get().steps_width()];
        let decoders = self.outputs.iter().map(|output| output.decoder.init(from, output.width, &joined)).collect();
        let pieces = pieces(&places).into();
        // Parameters are drawn when first used; drawing them now keeps their order that of the model.
        let model = Model { inputs, block, combiner, decoders, places: places.into(), pieces };
        model.visit(&mut Drawing);
        model
    }

    /// Whether an input is one of the block: nothing of it is learnt but what stands for an absent cell, and nobody asks for it alone.
    fn is_in_block(&self, input: &InputSpec) -> bool {
        let is_joined = matches!(self.combiner, CombinerSettings::Concat(_));
        let is_plain = input.encoder.has_no_parameters() && input.projection.is_none();
        is_plain && is_joined && !self.outputs.iter().any(|output| output.decoder.reads_inputs())
    }

    /// The inputs that have an encoder of their own.
    fn encoded(&self) -> impl Iterator<Item = &InputSpec> {
        self.inputs.iter().filter(|input| !self.is_in_block(input))
    }

    /// What encoders should give: every step where a combiner or a generator attends to them.
    pub(crate) fn encoder_output(&self) -> EncoderOutput {
        let writes = self.outputs.iter().any(|output| output.decoder.decoding().is_some());
        if writes { EncoderOutput::Steps } else { self.combiner.encoder_output() }
    }

    /// Puts what others have trained in place of the parameters of the parts that ask for it.
    ///
    /// # Errors
    /// A file that cannot be read or does not fit the part.
    pub fn pretrained(&self, model: Model) -> Result<Model, PretrainedError> {
        let Model { inputs, block, combiner, decoders, places, pieces } = model;
        let input = |(spec, input): (&InputSpec, Input)| match spec.encoder.origin().file() {
            Some(path) => fill_encoder(input.encoder, path, &spec.vocabulary).map(|encoder| Input { encoder, ..input }),
            None => Ok(input),
        };
        let decoder = |(spec, decoder): (&OutputSpec, Decoder)| match spec.decoder.origin().file() {
            Some(path) => fill_decoder(decoder, path),
            None => Ok(decoder),
        };
        let inputs = self.encoded().zip(inputs).map(input).collect::<Result<_, _>>()?;
        let decoders = self.outputs.iter().zip(decoders).map(decoder).collect::<Result<_, _>>()?;
        Ok(Model { inputs, block, combiner, decoders, places, pieces })
    }

    /// Takes what is not to be trained out of training; adapters are drawn from `seed` alone.
    ///
    /// # Errors
    /// A regular expression of `fine_tuning` that finds no parameter.
    pub fn freeze(&self, model: Model, device: &Device, seed: u64) -> Result<Model, PretrainedError> {
        let _alone = autodiff_lock();
        device.seed(seed);
        let Model { inputs, block, combiner, decoders, places, pieces } = model;
        let input = |(spec, input): (&InputSpec, Input)| {
            let encoder = match spec.encoder.origin() {
                Origin { trainable: false, .. } => input.encoder.freeze(),
                Origin { fine_tuning: Some(fine_tuning), .. } => fine_tuning.apply(input.encoder)?,
                _ => input.encoder,
            };
            Ok(Input { encoder, ..input })
        };
        let decoder = |(spec, decoder): (&OutputSpec, Decoder)| {
            if spec.decoder.origin().trainable { decoder } else { decoder.freeze() }
        };
        let inputs = self.encoded().zip(inputs).map(input).collect::<Result<_, PretrainedError>>()?;
        let decoders = self.outputs.iter().zip(decoders).map(decoder).collect();
        Ok(Model { inputs, block, combiner, decoders, places, pieces })
    }

    /// Parameters with what their learning rate is times the trainer's, where that is not 1.
    pub fn learning_rate_factors(&self, model: &Model) -> Vec<(ParamId, f64)> {
        let factors = |(spec, input): (&InputSpec, &Input)| {
            spec.encoder.origin().fine_tuning.map(|it| it.learning_rate_factors(&input.encoder)).unwrap_or_default()
        };
        self.encoded().zip(&model.inputs).flat_map(factors).collect()
    }

    /// The weighted sum of the outputs' losses, `[1]`, and each one's own value.
    pub fn loss(&self, model: &Model, logits: &[Tensor<2>], targets: &[Target]) -> Tensor<1> {
        let each = self.outputs.iter().zip(&model.decoders).zip(logits.iter().zip(targets)).map(
            |((output, decoder), (logits, target))| {
                let decoder = decoder.get();
                let loss = output.loss.forward(logits.clone(), target, decoder.alignment());
                decoder.penalty().map_or(loss.clone(), |penalty| loss + penalty) * output.loss_weight
            },
        );
        each.reduce(|a, b| a + b).expect("a plan has one output at least")
    }
}

impl Model {
    /// All outputs of a batch; `targets` are its right texts, where outputs are texts.
    pub fn forward(&self, batch: &Batch, targets: Option<&[Target]>, device: &Device) -> Forward {
        let fused = self.fused(batch, device);
        let logits = self.decode(&fused, targets);
        Forward { fused, logits }
    }

    /// The inputs of a batch, encoded and joined. Those of the block are not taken apart for it, so [`Fused::inputs`] is empty where there
    /// is one.
    pub fn fused(&self, batch: &Batch, device: &Device) -> Fused {
        let (Some(block), Combiner::Concat(concat)) = (&self.block, &self.combiner) else {
            return self.fuse(self.encode(batch, device));
        };
        let values = block.values(&self.places, &batch.inputs, device);
        let piece = |piece: &Piece| match piece {
            Piece::Columns(columns) if columns.len() == values.dims()[1] => values.clone(),
            Piece::Columns(columns) => values.clone().narrow(1, columns.start, columns.len()),
            Piece::Input(input) => self.encode_input(*input, &batch.inputs[*input], device).pooled(),
        };
        concat.join(self.pieces.iter().map(piece).collect())
    }

    /// Each input's sequence.
    pub fn encode(&self, batch: &Batch, device: &Device) -> Vec<Sequence> {
        batch.inputs.iter().enumerate().map(|(input, column)| self.encode_input(input, column, device)).collect()
    }

    fn encode_input(&self, input: usize, column: &Column, device: &Device) -> Sequence {
        match (&self.places[input], &self.block) {
            (Place::Columns(columns), Some(block)) => block.sequence(columns, column, device),
            (Place::Encoder(at), _) => self.inputs[*at].encode(column, device),
            (Place::Columns(_), None) => unreachable!("columns are those of a block"),
        }
    }

    /// The encoder of an input that has one of its own.
    pub(crate) fn encoder(&self, input: usize) -> Option<&Encoder> {
        match &self.places[input] {
            Place::Encoder(at) => Some(&self.inputs[*at].encoder),
            Place::Columns(_) => None,
        }
    }

    /// The sequence of an input that no row has.
    pub fn absent(&self, input: usize, n_rows: usize, device: &Device) -> Sequence {
        match (&self.places[input], &self.block) {
            (Place::Columns(columns), Some(block)) => block.absent(columns, n_rows, device),
            (Place::Encoder(at), _) => self.inputs[*at].absent(n_rows, device),
            (Place::Columns(_), None) => unreachable!("columns are those of a block"),
        }
    }

    /// The inputs joined.
    pub fn fuse(&self, inputs: Vec<Sequence>) -> Fused {
        Fused { inputs: inputs.clone(), ..self.combiner.get().combine(inputs) }
    }

    /// Values of a fused vector.
    pub fn width(&self) -> usize {
        self.combiner.get().width()
    }

    /// `[batch, width]` for each output, of texts what those of the targets cost.
    pub fn decode(&self, fused: &Fused, targets: Option<&[Target]>) -> Vec<Tensor<2>> {
        let decode = |(at, decoder): (usize, &Decoder)| decoder.get().decode(fused, targets.map(|targets| &targets[at]));
        self.decoders.iter().enumerate().map(decode).collect()
    }

    /// The texts of an output for each row, the best first; none where the output is no text. `observe` hears
    /// after each step what is there so far, and may end the search.
    pub fn generate(&self, output: usize, fused: &Fused, decoding: &Decoding, observe: &mut Observe) -> Vec<Vec<Hypothesis>> {
        let text_generator = self.decoders[output].get().text_generator();
        text_generator.map(|it| it.write(fused, decoding, observe)).unwrap_or_default()
    }

    /// How much each token of the target's texts looked at each step, `[batch, tokens, steps]`, of an output that writes texts.
    pub fn attention(&self, output: usize, fused: &Fused, target: &Target) -> Option<Tensor<3>> {
        self.decoders[output].get().text_generator()?.attention(fused, target.tokens.as_ref()?)
    }
}

impl Model {
    /// The same model as it was before there were blocks: each input has an encoder and an absence of its own.
    pub(crate) fn without_block(self) -> Self {
        let Some(block) = &self.block else { return self };
        let (learnt, device) = (block.learnt(), block.device());
        let mut encoded = self.inputs.into_iter();
        let input = |place: &Place| match place {
            Place::Columns(columns) => {
                let absence = Tensor::from_data(TensorData::new(learnt[columns.clone()].to_vec(), [columns.len()]), &device);
                let encoder = Encoder::Passthrough(Passthrough::new(columns.len()));
                Some(Input { encoder, projection: None, absence: Param::from_tensor(absence) })
            }
            Place::Encoder(_) => encoded.next(),
        };
        let inputs = self.places.iter().filter_map(input).collect();
        Self { inputs, block: None, ..self }
    }

    /// The opposite of [`Model::without_block`].
    pub(crate) fn with_block(self) -> Self {
        let Some(device) = self.inputs.first().map(|input| input.absence.val().device()) else { return self };
        let (mut inputs, mut absences) = (Vec::new(), Vec::new());
        for (place, input) in self.places.iter().zip(self.inputs) {
            match place {
                Place::Columns(_) => absences.extend(values_of(&input.absence)),
                Place::Encoder(_) => inputs.push(input),
            }
        }
        let block = (!absences.is_empty()).then(|| Block::new(absences, &device));
        Self { inputs, block, ..self }
    }

    /// Whether some inputs are encoded as one.
    pub(crate) fn has_block(&self) -> bool {
        self.block.is_some()
    }
}

fn values_of(param: &Param<Tensor<1>>) -> Vec<f32> {
    param.val().into_data().try_into_vec::<f32>().unwrap_or_default()
}

/// A walk that draws every parameter.
struct Drawing;

impl ModuleVisitor for Drawing {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        drop(param.val());
    }
}

impl ProjectionSettings {
    fn init(&self, width: usize, device: &Device) -> Dense {
        let spec = DenseSpec { n_layers: 1, output_size: self.output_size, activation: self.activation, dropout: self.dropout };
        spec.init(width, device)
    }
}

impl Input {
    /// The width of a step.
    fn width(&self) -> usize {
        self.absence.dims()[0]
    }

    /// Encodes the rows that have the feature; the others get the learnt absence embedding, in training as in prediction.
    fn encode(&self, column: &Column, device: &Device) -> Sequence {
        let (n_rows, n_present) = (column.present.len(), column.n_present());
        if n_present == 0 {
            return self.absent(n_rows, device);
        }
        let encoded = match Tensors::new(column, device) {
            Tensors::Encoded(steps) => steps,
            tensors => self.encoder.get().encode(tensors),
        };
        let encoded = match &self.projection {
            Some(projection) => Steps { values: projection.forward(encoded.values), mask: encoded.mask },
            None => encoded,
        };
        let present: Vec<f32> = column.present.iter().map(|is| f32::from(u8::from(*is))).collect();
        let present = Tensor::from_data(TensorData::new(present, [n_rows, 1]), device);
        if n_present == n_rows {
            return Sequence { values: encoded.values, mask: encoded.mask, present };
        }
        let [_, n_steps, width] = encoded.values.dims();
        let absent = self.absence_steps(n_steps, width, device);
        let mut next = 0..n_present as i64;
        let place = |is: &bool| if *is { next.next().unwrap_or_default() } else { n_present as i64 };
        let places: Vec<i64> = column.present.iter().map(place).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [n_rows]), device);
        Sequence {
            values: Tensor::cat(vec![encoded.values, absent.values], 0).select(0, places.clone()),
            mask: Tensor::cat(vec![encoded.mask.int(), absent.mask.int()], 0).select(0, places).equal_scalar(1),
            present,
        }
    }

    fn absent(&self, n_rows: usize, device: &Device) -> Sequence {
        let width = self.width();
        let Steps { values, mask } = self.absence_steps(1, width, device);
        Sequence {
            values: values.expand([n_rows, 1, width]),
            mask: mask.expand([n_rows, 1]),
            present: Tensor::zeros([n_rows, 1], device),
        }
    }

    /// One row: the embedding in its first step, the others padding.
    fn absence_steps(&self, n_steps: usize, width: usize, device: &Device) -> Steps {
        let values = self.absence.val().reshape([1, 1, width]).expand([1, n_steps, width]);
        let mask = Tensor::<1, Int>::arange(0..n_steps as i64, device).equal_scalar(0).unsqueeze();
        Steps { values, mask }
    }
}

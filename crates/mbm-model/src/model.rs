//! The whole model: encode the inputs, fuse them with the combiner, decode the outputs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Int, Tensor, TensorData};
use mbm_config::settings;
use mbm_data::{Batch, BatchColumn, Shape};

use crate::block::{Block, Columns, InputLocation, Piece, pieces};
use crate::combiner::{Combiner, CombinerSettings, Concat, Inputs};
use crate::decoder::{Decoder, DecoderContext, DecoderSettings, Decoding, Hypothesis, Loss, Observe, TextContext};
use crate::encoder::{Encoder, EncoderOutput, EncoderSettings, Passthrough};
use crate::layer::{Activation, Dense, DenseSpec, learned_parameter};
use crate::pretrained::{Origin, PretrainedError, fill_decoder, fill_encoder};
use crate::{Fused, Sequence, Steps, Target, Tensors};

/// Everything that defines a model.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// The inputs, in the config's order.
    pub inputs: Vec<InputSpec>,
    /// How the inputs are fused.
    pub combiner: CombinerSettings,
    /// The outputs, in the config's order.
    pub outputs: Vec<OutputSpec>,
}

/// What the check of a combiner or decoder may know about an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputSummary<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether its type is a sequence: audio, time series or text.
    pub is_sequence: bool,
}

/// One input of a model.
#[derive(Debug, Clone)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// Its encoder.
    pub encoder: EncoderSettings,
    /// The shape of its preprocessed values.
    pub shape: Shape,
    /// An optional layer between its encoder and the combiner.
    pub projection: Option<ProjectionSettings>,
    /// The vocabulary of a text input, by token id, if pretrained word vectors are looked up for it.
    pub vocabulary: Vec<String>,
}

settings! {
    /// A linear layer between an encoder and the combiner; sets the width of an input within the fused vector.
    pub struct ProjectionSettings {
        /// The output width.
        output_size: usize = 64 => 1..=8192;
        /// Activation after the layer.
        activation: Activation = Activation::Relu;
        /// Dropout probability after the activation.
        dropout: f64 = 0.0 => 0.0..=0.9;
    }
}

/// One output of a model.
#[derive(Debug, Clone)]
pub struct OutputSpec {
    /// Its name.
    pub name: String,
    /// Its decoder.
    pub decoder: DecoderSettings,
    /// Number of scores or values per row.
    pub width: usize,
    /// Its loss.
    pub loss: Loss,
    /// Its weight in the sum of the losses.
    pub loss_weight: f64,
}

/// The trainable model.
#[derive(Module, Debug)]
pub struct Model {
    /// Inputs with their own encoder.
    inputs: Vec<Input>,
    /// All other inputs.
    block: Option<Block>,
    combiner: Combiner,
    decoders: Vec<Decoder>,
    /// One per input, in the config's order.
    #[module(skip)]
    locations: Arc<[InputLocation]>,
    /// The same, with adjacent inputs of the block merged.
    #[module(skip)]
    pieces: Arc<[Piece]>,
}

/// An encoder, an optional projection, and the learned embedding of an absent cell.
#[derive(Module, Debug)]
pub struct Input {
    encoder: Encoder,
    projection: Option<Dense>,
    absence: Param<Tensor<1>>,
}

/// The result of a forward pass.
pub struct Forward {
    /// The fused inputs.
    pub fused: Fused,
    /// `[batch, width]` for each output.
    pub logits: Vec<Tensor<2>>,
}

static AUTODIFF_LOCK: Mutex<()> = Mutex::new(());

/// Acquires the lock that must be held while initializing parameters or building an autodiff graph.
///
/// Burn has one random generator and one node counter per process, and sums gradients in an order that depends on the node ids.
/// Without the lock, concurrent runs would differ in their last bits from a run on its own.
pub fn autodiff_lock() -> MutexGuard<'static, ()> {
    AUTODIFF_LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a closure on a thread of the worker pool that the operations use, so that threads do not go to sleep between operations:
/// a small batch through a deep network is a fifth faster.
///
/// A waiting pool thread picks up other work, so the closure must not wait for a lock; acquire it before the call.
pub fn on_worker_pool<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| run())
}

impl ModelSpec {
    /// Initializes a model with fresh parameters that depend on `seed` alone.
    pub fn init(&self, device: &Device, seed: u64) -> Model {
        let _alone = autodiff_lock();
        device.seed(seed);
        let encoder_output = self.encoder_output();
        let (mut inputs, mut locations, mut absences) = (Vec::new(), Vec::new(), Vec::new());
        for spec in &self.inputs {
            let encoder = spec.encoder.get().init(&spec.shape, encoder_output, device);
            let projection = spec.projection.as_ref().map(|it| it.init(encoder.get().width(), device));
            let width = projection.as_ref().map_or(encoder.get().width(), Dense::width);
            let absence = learned_parameter([width], device);
            if self.is_in_block(spec) {
                let start = absences.len();
                absences.extend(values_of(&absence));
                let edges = spec.encoder.get().bin_edges(&spec.shape).map(Into::into);
                locations.push(InputLocation::Columns(Columns { range: start..absences.len(), edges }));
            } else {
                locations.push(InputLocation::Encoder(inputs.len()));
                inputs.push(Input { encoder, projection, absence });
            }
        }
        let block = (!absences.is_empty()).then(|| Block::new(absences, device));
        let names: Vec<String> = self.inputs.iter().map(|input| input.name.clone()).collect();
        let widths: Vec<usize> = locations
            .iter()
            .map(|location| match location {
                InputLocation::Columns(columns) => columns.range.len(),
                InputLocation::Encoder(at) => inputs[*at].width(),
            })
            .collect();
        let joined =
            Inputs { names: &names, widths: &widths, attention_context: self.combiner.get().attention_context(), device };
        let combiner = self.combiner.get().init(&joined);
        let (fused, steps) = (combiner.get().width(), combiner.get().steps_width());
        let decoders = self.outputs.iter().map(|OutputSpec { decoder, width, .. }| {
            decoder.init(DecoderContext { fused, steps, output: *width, text: TextContext::default(), inputs: &joined })
        });
        let decoders = decoders.collect();
        let pieces = pieces(&locations).into();
        // Parameters are initialized lazily; initializing them now fixes their order to that of the model.
        let model = Model { inputs, block, combiner, decoders, locations: locations.into(), pieces };
        model.visit(&mut Initialize);
        model
    }

    /// Whether an input belongs to the block: its only parameters are those of absent cells, and nothing reads it separately.
    fn is_in_block(&self, input: &InputSpec) -> bool {
        let is_joined = matches!(self.combiner, CombinerSettings::Concat(_));
        let is_plain = input.encoder.get().has_no_parameters() && input.projection.is_none();
        is_plain && is_joined && !self.outputs.iter().any(|output| output.decoder.get().reads_inputs())
    }

    /// Iterates over the inputs with their own encoder.
    fn encoded(&self) -> impl Iterator<Item = &InputSpec> {
        self.inputs.iter().filter(|input| !self.is_in_block(input))
    }

    /// What encoders should return: every step if a combiner or generator attends to the steps, else a summary.
    pub(crate) fn encoder_output(&self) -> EncoderOutput {
        let writes = self.outputs.iter().any(|output| output.decoder.get().decoding().is_some());
        if writes { EncoderOutput::Steps } else { self.combiner.get().encoder_output() }
    }

    /// Loads pretrained weights into the encoders and decoders that are configured to use them.
    ///
    /// # Errors
    /// If a file cannot be read or does not match its encoder or decoder.
    pub fn pretrained(&self, model: Model) -> Result<Model, PretrainedError> {
        let Model { inputs, block, combiner, decoders, locations, pieces } = model;
        let inputs = self.encoded().zip(inputs).map(|(spec, input)| match spec.encoder.get().origin().file() {
            Some(path) => fill_encoder(input.encoder, path, &spec.vocabulary).map(|encoder| Input { encoder, ..input }),
            None => Ok(input),
        });
        let inputs = inputs.collect::<Result<_, _>>()?;
        let decoders = self.outputs.iter().zip(decoders).map(|(spec, decoder)| match spec.decoder.get().origin().file() {
            Some(path) => fill_decoder(decoder, path),
            None => Ok(decoder),
        });
        let decoders = decoders.collect::<Result<_, _>>()?;
        Ok(Model { inputs, block, combiner, decoders, locations, pieces })
    }

    /// Freezes the parameters that are not trained and adds adapters, whose initial values depend on `seed` alone.
    ///
    /// # Errors
    /// If a regular expression in `fine_tuning` matches no parameter.
    pub fn freeze(&self, model: Model, device: &Device, seed: u64) -> Result<Model, PretrainedError> {
        let _alone = autodiff_lock();
        device.seed(seed);
        let Model { inputs, block, combiner, decoders, locations, pieces } = model;
        let inputs = self.encoded().zip(inputs).map(|(spec, input)| {
            let encoder = match spec.encoder.get().origin() {
                Origin { trainable: false, .. } => input.encoder.freeze(),
                Origin { fine_tuning: Some(fine_tuning), .. } => fine_tuning.apply(input.encoder)?,
                _ => input.encoder,
            };
            Ok(Input { encoder, ..input })
        });
        let inputs = inputs.collect::<Result<_, PretrainedError>>()?;
        let decoders = self.outputs.iter().zip(decoders);
        let decoders = decoders
            .map(|(spec, decoder)| if spec.decoder.get().origin().trainable { decoder } else { decoder.freeze() })
            .collect();
        Ok(Model { inputs, block, combiner, decoders, locations, pieces })
    }

    /// Returns the parameters whose learning rate is not the trainer's, with the factor to multiply it by.
    pub fn learning_rate_factors(&self, model: &Model) -> Vec<(ParamId, f64)> {
        let factors = self.encoded().zip(&model.inputs).filter_map(|(spec, input)| {
            let fine_tuning = spec.encoder.get().origin().fine_tuning?;
            Some(fine_tuning.learning_rate_factors(&input.encoder))
        });
        factors.flatten().collect()
    }

    /// Returns the weighted sum of the outputs' losses: `[1]`.
    pub fn loss(&self, model: &Model, logits: &[Tensor<2>], targets: &[Target]) -> Tensor<1> {
        let each = self.outputs.iter().zip(&model.decoders).zip(logits.iter().zip(targets)).map(
            |((output, decoder), (logits, target))| {
                let decoder = decoder.get();
                let loss = output.loss.forward(logits.clone(), target, decoder.alignment());
                decoder.penalty().map_or(loss.clone(), |penalty| loss + penalty) * output.loss_weight
            },
        );
        each.reduce(|a, b| a + b).expect("a plan has at least one output")
    }
}

impl Model {
    /// Computes all outputs of a batch; `targets` are its reference texts, for outputs that are texts.
    pub fn forward(&self, batch: &Batch, targets: Option<&[Target]>, device: &Device) -> Forward {
        let fused = self.fused(batch, device);
        let logits = self.decode(&fused, targets);
        Forward { fused, logits }
    }

    /// Encodes and fuses the inputs of a batch. The inputs of a block are not split up, so [`Fused::inputs`] is empty if there
    /// is a block.
    pub fn fused(&self, batch: &Batch, device: &Device) -> Fused {
        match (&self.block, &self.combiner) {
            (Some(block), Combiner::Concat(concat)) => {
                self.join_block((block, concat), batch, device, |input| self.encode_input(input, &batch.inputs[input], device))
            }
            _ => self.fuse(self.encode(batch, device)),
        }
    }

    /// As [`Model::fused`], from inputs that [`Model::encode`] has encoded.
    pub fn fused_from(&self, encoded: &[Sequence], batch: &Batch, device: &Device) -> Fused {
        match (&self.block, &self.combiner) {
            (Some(block), Combiner::Concat(concat)) => {
                self.join_block((block, concat), batch, device, |input| encoded[input].clone())
            }
            _ => self.fuse(encoded.to_vec()),
        }
    }

    /// Joins the columns of a block with the inputs that have an encoder of their own.
    fn join_block(
        &self,
        (block, concat): (&Block, &Concat),
        batch: &Batch,
        device: &Device,
        encoded: impl Fn(usize) -> Sequence,
    ) -> Fused {
        let values = block.values(&self.locations, &batch.inputs, device);
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Columns(columns) if columns.len() == values.dims()[1] => values.clone(),
            Piece::Columns(columns) => values.clone().narrow(1, columns.start, columns.len()),
            Piece::Input(input) => encoded(*input).pooled(),
        });
        concat.join(pieces.collect())
    }

    /// Encodes each input into a sequence.
    pub fn encode(&self, batch: &Batch, device: &Device) -> Vec<Sequence> {
        batch.inputs.iter().enumerate().map(|(input, column)| self.encode_input(input, column, device)).collect()
    }

    fn encode_input(&self, input: usize, column: &BatchColumn, device: &Device) -> Sequence {
        match (&self.locations[input], &self.block) {
            (InputLocation::Columns(columns), Some(block)) => block.sequence(columns, column, device),
            (InputLocation::Encoder(at), _) => self.inputs[*at].encode(column, device),
            (InputLocation::Columns(_), None) => unreachable!("columns require a block"),
        }
    }

    /// Returns the encoder of an input, if it has its own.
    pub(crate) fn encoder(&self, input: usize) -> Option<&Encoder> {
        match &self.locations[input] {
            InputLocation::Encoder(at) => Some(&self.inputs[*at].encoder),
            InputLocation::Columns(_) => None,
        }
    }

    /// Returns the sequence of an input that is absent in every row.
    pub fn absent(&self, input: usize, n_rows: usize, device: &Device) -> Sequence {
        match (&self.locations[input], &self.block) {
            (InputLocation::Columns(columns), Some(block)) => block.absent(columns, n_rows, device),
            (InputLocation::Encoder(at), _) => self.inputs[*at].absent(n_rows, device),
            (InputLocation::Columns(_), None) => unreachable!("columns require a block"),
        }
    }

    /// Fuses the inputs.
    pub fn fuse(&self, inputs: Vec<Sequence>) -> Fused {
        Fused { inputs: inputs.clone(), ..self.combiner.get().combine(inputs) }
    }

    /// Width of the fused vector.
    pub fn width(&self) -> usize {
        self.combiner.get().width()
    }

    /// Decodes each output: `[batch, width]`; for text outputs, the costs of the target texts.
    pub fn decode(&self, fused: &Fused, targets: Option<&[Target]>) -> Vec<Tensor<2>> {
        self.decoders
            .iter()
            .enumerate()
            .map(|(at, decoder)| decoder.get().decode(fused, targets.map(|targets| &targets[at])))
            .collect()
    }

    /// Generates texts for an output: the hypotheses of each row, best first; empty if the output is not a text. `observe` is
    /// called with the partial hypotheses after each step and may stop the search.
    pub fn generate(&self, output: usize, fused: &Fused, decoding: &Decoding, observe: &mut Observe) -> Vec<Vec<Hypothesis>> {
        let text_generator = self.decoders[output].get().text_generator();
        text_generator.map(|it| it.write(fused, decoding, observe)).unwrap_or_default()
    }

    /// Returns the attention weights of the target's tokens over the steps, `[batch, tokens, steps]`, for an output that
    /// generates text.
    pub fn attention(&self, output: usize, fused: &Fused, target: &Target) -> Option<Tensor<3>> {
        self.decoders[output].get().text_generator()?.attention(fused, target.tokens.as_ref()?)
    }
}

impl Model {
    /// Splits up the block so that each input has its own encoder and absence embedding, as in models from before blocks.
    pub(crate) fn without_block(self) -> Self {
        let Some(block) = &self.block else { return self };
        let (absence, device) = (block.absence_values(), block.device());
        let mut encoded = self.inputs.into_iter();
        let inputs = self
            .locations
            .iter()
            .filter_map(|location| match location {
                InputLocation::Columns(Columns { range: columns, .. }) => {
                    let absence = Tensor::from_data(TensorData::new(absence[columns.clone()].to_vec(), [columns.len()]), &device);
                    let encoder = Encoder::Passthrough(Passthrough::new(columns.len()));
                    Some(Input { encoder, projection: None, absence: Param::from_tensor(absence) })
                }
                InputLocation::Encoder(_) => encoded.next(),
            })
            .collect();
        Self { inputs, block: None, ..self }
    }

    /// The inverse of [`Model::without_block`].
    pub(crate) fn with_block(self) -> Self {
        let Some(device) = self.inputs.first().map(|input| input.absence.val().device()) else { return self };
        let (mut inputs, mut absences) = (Vec::new(), Vec::new());
        for (location, input) in self.locations.iter().zip(self.inputs) {
            match location {
                InputLocation::Columns(_) => absences.extend(values_of(&input.absence)),
                InputLocation::Encoder(_) => inputs.push(input),
            }
        }
        let block = (!absences.is_empty()).then(|| Block::new(absences, &device));
        Self { inputs, block, ..self }
    }

    /// Whether some inputs are encoded together in a block.
    pub(crate) fn has_block(&self) -> bool {
        self.block.is_some()
    }
}

fn values_of(param: &Param<Tensor<1>>) -> Vec<f32> {
    param.val().into_data().try_into_vec::<f32>().unwrap_or_default()
}

/// Visitor that forces the initialization of every parameter.
struct Initialize;

impl ModuleVisitor for Initialize {
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
    /// Width of a step.
    fn width(&self) -> usize {
        self.absence.dims()[0]
    }

    /// Encodes the rows that have the feature; all others get the learned absence embedding, in training and in prediction.
    fn encode(&self, column: &BatchColumn, device: &Device) -> Sequence {
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
        let indices: Vec<i64> =
            column.present.iter().map(|is| if *is { next.next().unwrap_or_default() } else { n_present as i64 }).collect();
        let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [n_rows]), device);
        Sequence {
            values: Tensor::cat(vec![encoded.values, absent.values], 0).select(0, indices.clone()),
            mask: Tensor::cat(vec![encoded.mask.int(), absent.mask.int()], 0).select(0, indices).equal_scalar(1),
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

    /// Returns one row with the absence embedding in its first step and padding in all others.
    fn absence_steps(&self, n_steps: usize, width: usize, device: &Device) -> Steps {
        let values = self.absence.val().reshape([1, 1, width]).expand([1, n_steps, width]);
        let mask = Tensor::<1, Int>::arange(0..n_steps as i64, device).equal_scalar(0).unsqueeze();
        Steps { values, mask }
    }
}

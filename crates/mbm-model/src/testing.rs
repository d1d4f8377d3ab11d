//! Checks that every trainable component must pass: its gradient is correct, it can overfit eight rows, and it survives saving
//! and loading.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use mbm_config::{Diagnostics, Format, Node};
use mbm_data::random::{Rng, rng};
use mbm_data::{Batch, BatchColumn, Shape, Values};
use rand::RngExt;

use crate::combiner::CombinerSettings;
use crate::decoder::{CategoryDecoder, DecoderSettings, Loss};
use crate::encoder::EncoderSettings;
use crate::{InputSpec, Model, ModelSpec, OutputSpec, Target, load_weights, save_weights};

pub(crate) const N_ROWS: usize = 8;

/// A binary classifier with the given encoders and combiner.
pub(crate) fn spec(inputs: Vec<(EncoderSettings, Shape)>, combiner: CombinerSettings) -> ModelSpec {
    let input = |(at, (encoder, shape)): (usize, (EncoderSettings, Shape))| InputSpec {
        name: format!("input{at}"),
        encoder,
        shape,
        projection: None,
        vocabulary: Vec::new(),
    };
    ModelSpec {
        inputs: inputs.into_iter().enumerate().map(input).collect(),
        combiner,
        outputs: vec![OutputSpec {
            name: "class".into(),
            decoder: DecoderSettings::Category(CategoryDecoder::Classifier(mbm_config::defaults())),
            width: 2,
            loss: Loss::CrossEntropy { class_weights: vec![1.0, 1.0], smoothing: 0.0, gamma: 0.0 },
            loss_weight: 1.0,
        }],
    }
}

/// Eight rows of noise in each input's shape with alternating classes; the first row lacks the first input, the last row
/// all others.
pub(crate) fn batch(spec: &ModelSpec) -> Batch {
    let mut rng = rng(5);
    let inputs =
        spec.inputs.iter().enumerate().map(|(at, input)| column(&input.shape, if at == 0 { 0 } else { N_ROWS - 1 }, &mut rng));
    let classes = Values::Classes((0..N_ROWS as u32).map(|row| row % 2).collect());
    let items = Values::ContentIds((0..N_ROWS as u64).map(|row| vec![2 * row + 1, 2 * row + 2]).collect());
    let values = match &spec.outputs[0].decoder {
        DecoderSettings::Embedding(_) => items,
        DecoderSettings::Text(_) => Values::Tokens {
            steps: 3,
            lengths: [3, 2].repeat(N_ROWS / 2),
            ids: [4, 5, 3, 5, 3, 0].repeat(N_ROWS / 2),
            texts: Vec::new(),
        },
        _ => classes,
    };
    let targets = vec![BatchColumn { present: vec![true; N_ROWS], values }];
    Batch { rows: (0..N_ROWS).collect(), inputs: inputs.collect(), targets, faults: vec![Vec::new(); N_ROWS], weights: None }
}

fn column(shape: &Shape, absent: usize, rng: &mut Rng) -> BatchColumn {
    let rows = N_ROWS - 1;
    let mut noise = |n: usize| (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect::<Vec<f32>>();
    let values = match *shape {
        Shape::Vector { width } => Values::Vectors { width, data: noise(rows * width) },
        Shape::Number { .. } => Values::Vectors { width: 1, data: (0..rows).map(|row| row as f32 - 3.5).collect() },
        Shape::Image { channels, height, width } => {
            Values::Images { dims: [channels, height, width], data: noise(rows * channels * height * width) }
        }
        Shape::Frames { width, max_steps } => {
            let lengths: Vec<usize> = (0..rows).map(|row| 1 + row % max_steps).collect();
            let steps = *lengths.iter().max().unwrap();
            let mut data = noise(rows * steps * width);
            for (row, length) in lengths.iter().enumerate() {
                data[(row * steps + length) * width..(row + 1) * steps * width].fill(0.0);
            }
            Values::Frames { steps, width, lengths, data }
        }
        Shape::Tokens { vocab_size, max_steps } => {
            let lengths: Vec<usize> = (0..rows).map(|row| 1 + row % max_steps).collect();
            let steps = *lengths.iter().max().unwrap();
            let id =
                |row: usize, step: usize| if step < lengths[row] { (2 + (row * 3 + step) % (vocab_size - 2)) as u32 } else { 0 };
            Values::Tokens {
                steps,
                ids: (0..rows * steps).map(|at| id(at / steps, at % steps)).collect(),
                lengths,
                texts: Vec::new(),
            }
        }
        Shape::ContentIds => unreachable!("items are targets"),
        Shape::Class { n_classes } => Values::Classes((0..rows).map(|row| (row % n_classes) as u32).collect()),
    };
    BatchColumn { present: (0..N_ROWS).map(|row| row != absent).collect(), values }
}

/// Parses settings from a line of YAML.
pub(crate) fn read<T: mbm_config::Setting>(text: &str) -> T {
    T::read(&Node::parse(text, Format::Yaml).unwrap(), "", &mut Diagnostics::default()).unwrap()
}

fn loss(spec: &ModelSpec, model: &Model, batch: &Batch, device: &Device) -> Tensor<1> {
    let targets = Target::of_batch(batch, device);
    spec.loss(model, &model.forward(batch, Some(&targets), device).logits, &targets)
}

/// Asserts that two results are equal to within 1e-4.
pub(crate) fn close(a: TensorData, b: TensorData) {
    let [a, b] = [a, b].map(|data| data.try_into_vec::<f32>().unwrap());
    let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(a.len() == b.len() && worst < 1e-4, "{worst}");
}

/// Runs all three checks on an encoder, which encodes two inputs so that absent rows occur.
pub(crate) fn check_encoder(input: &str, settings: &str, shape: Shape) {
    let node = Node::parse(settings, Format::Yaml).unwrap();
    let encoder = EncoderSettings::read(input, &node, &mut Diagnostics::default()).unwrap();
    let inputs = vec![(encoder.clone(), shape.clone()), (encoder, shape)];
    check(settings, &spec(inputs, CombinerSettings::Concat(mbm_config::defaults())));
}

/// Runs all three checks on a combiner of two and three inputs. With a single one, whose weight is constant and to which attention
/// has no alternative, some gradients are zero, so only the shape of the output is checked.
pub(crate) fn check_combiner(settings: &str) {
    let vector = (EncoderSettings::Vector(read("dense")), Shape::Vector { width: 6 });
    let text = EncoderSettings::Text(read("{type: embed, embedding_size: 8}"));
    let inputs = [vector.clone(), (text, Shape::Tokens { vocab_size: 12, max_steps: 4 }), vector];
    let of = |n_inputs: usize| spec(inputs[..n_inputs].to_vec(), read(settings));
    check(&format!("{settings} of 2"), &of(2));
    check(&format!("{settings} of 3"), &of(3));
    let (single, device) = (of(1), crate::device());
    let logits = single.init(&device, 1).forward(&batch(&single), None, &device).logits[0].dims();
    assert_eq!(logits, [N_ROWS, 2], "{settings}");
}

/// Runs all three checks on a component.
pub(crate) fn check(name: &str, spec: &ModelSpec) {
    check_gradient(name, spec);
    check_overfit_and_saving(name, spec);
}

/// Checks that the slope of the loss along its gradient is the gradient's norm. In f32 and with the kinks of ReLU and pooling,
/// finite differences must agree to within a tenth for at least one of three step sizes.
fn check_gradient(name: &str, spec: &ModelSpec) {
    let device = Device::flex().autodiff();
    let model = spec.init(&device, 1);
    let batch = batch(spec);
    let gradients = GradientsParams::from_grads(loss(spec, &model, &batch, &device).backward(), &model);
    let mut squares = Squares { gradients: &gradients, sum: 0.0, n_without: 0 };
    model.visit(&mut squares);
    let norm = squares.sum.sqrt();
    assert!(norm > 1e-6, "{name}: no gradient");
    assert_eq!(squares.n_without, 0, "{name}: parameters without a gradient");
    let mut slopes = Vec::new();
    for size in [3e-3, 1e-2, 3e-2] {
        let at = |distance: f64| {
            let moved = model.clone().map(&mut Move { gradients: &gradients, by: (distance / norm) as f32 });
            f64::from(loss(spec, &moved, &batch, &device).into_scalar::<f32>())
        };
        slopes.push((at(size) - at(-size)) / (2.0 * size));
    }
    let nearest = slopes.iter().map(|slope| (slope / norm - 1.0).abs()).fold(f64::INFINITY, f64::min);
    assert!(nearest < 0.1, "{name}: slopes {slopes:?}, gradient norm {norm}");
}

/// Checks that Adam brings the loss of eight rows below a tenth of random guessing, and that a saved and reloaded model returns
/// the same scores.
fn check_overfit_and_saving(name: &str, spec: &ModelSpec) {
    let device = Device::flex().autodiff();
    let mut model = spec.init(&device, 2);
    let mut optimizer = AdamConfig::new().init();
    let batch = batch(spec);
    let mut last = f32::INFINITY;
    for _ in 0..200 {
        let loss = loss(spec, &model, &batch, &device);
        last = loss.clone().into_scalar::<f32>();
        if last < 0.05 {
            break;
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.01, model, gradients);
    }
    assert!(last < 0.07, "{name}: the loss of eight rows stays at {last}");
    let plain = Device::flex();
    let trained = model.valid();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    save_weights(&trained, &path).unwrap();
    let loaded = load_weights(spec.init(&plain, 3), &path).unwrap();
    let targets: Vec<Target> = batch.targets.iter().map(|target| Target::new(target, &plain)).collect();
    let scores = |model: &Model| {
        model.forward(&batch, Some(&targets), &plain).logits[0].clone().into_data().try_into_vec::<f32>().unwrap()
    };
    assert_eq!(scores(&loaded), scores(&trained), "{name}");
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
    n_without: usize,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            return;
        }
        match self.gradients.get::<D>(param.id) {
            Some(gradient) => self.sum += f64::from((gradient.clone() * gradient).sum().into_scalar::<f32>()),
            None => self.n_without += 1,
        }
    }
}

struct Move<'a> {
    gradients: &'a GradientsParams,
    by: f32,
}

impl ModuleMapper for Move<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = self.gradients.get::<D>(param.id);
        param.map(|tensor| match gradient {
            Some(gradient) => Tensor::from_inner(tensor.inner() + gradient * self.by).require_grad(),
            None => tensor,
        })
    }
}

//! Layers and losses against PyTorch's numbers on stored cases; `tests/golden.py` made them.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData, activation};
use mbm_data::{Column, Values};
use serde::Deserialize;

use crate::decoder::{Loss, path_costs};
use crate::layer::{Activation, CellType, NormPlace, RecurrentSpec, TransformerSpec};
use crate::{Steps, Target, TargetTokens};

#[derive(Deserialize)]
struct Stored<C> {
    cases: Vec<C>,
}

#[derive(Deserialize, Clone)]
struct Array {
    dims: Vec<usize>,
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct LayerCase {
    name: String,
    spec: Spec,
    lengths: Vec<usize>,
    input: Array,
    upstream: Array,
    output: Array,
    input_gradient: Array,
    parameters: BTreeMap<String, Array>,
    gradients: BTreeMap<String, Array>,
    /// What a decoder attends to.
    memory: Option<Array>,
    #[serde(default)]
    memory_lengths: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Spec {
    Recurrent { cell: CellType, input_size: usize, hidden_size: usize, n_layers: usize, bidirectional: bool },
    Transformer { width: usize, n_layers: usize, n_heads: usize, feed_forward: usize, norm: NormPlace, activation: Activation },
}

#[derive(Deserialize)]
struct LossCase {
    name: String,
    logits: Array,
    loss: f32,
    gradient: Array,
    classes: Option<Vec<u32>>,
    numbers: Option<Array>,
    #[serde(default)]
    class_weights: Vec<f32>,
    #[serde(default)]
    smoothing: f64,
    #[serde(default)]
    gamma: f64,
    #[serde(default)]
    delta: serde_json::Value,
}

#[derive(Deserialize)]
struct CtcCase {
    texts: Vec<Vec<u32>>,
    n_steps: Vec<usize>,
    logits: Array,
    costs: Array,
    upstream: Array,
    gradient: Array,
}

fn stored<C: for<'a> Deserialize<'a>>(name: &str) -> Vec<C> {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str::<Stored<C>>(&std::fs::read_to_string(path).unwrap()).unwrap().cases
}

impl Array {
    fn tensor<const D: usize>(&self, device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(self.values.clone(), self.dims.clone()), device)
    }
}

/// Single precision beside double: values near 1, sums of a few dozen of them.
fn assert_near<const D: usize>(what: &str, got: Tensor<D>, want: &Array) {
    assert_eq!(got.dims().to_vec(), want.dims, "{what}");
    let got = got.into_data().try_into_vec::<f32>().unwrap();
    for (at, (got, want)) in got.iter().zip(&want.values).enumerate() {
        assert!((got - want).abs() < 2e-5 * (1.0 + want.abs()), "{what}, value {at}: {got} is not {want}");
    }
}

/// Puts stored values into the parameters, by name.
struct Fill<'a> {
    path: Vec<String>,
    values: &'a BTreeMap<String, Array>,
    n_filled: usize,
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let array = self.values.get(&self.path.join(".")).unwrap_or_else(|| panic!("no value for {:?}", self.path));
        self.n_filled += 1;
        param.map(|tensor| {
            assert_eq!(tensor.dims().to_vec(), array.dims, "{:?}", self.path);
            array.tensor(&tensor.device()).require_grad()
        })
    }
}

struct Compare<'a> {
    path: Vec<String>,
    name: &'a str,
    gradients: &'a Gradients,
    want: &'a BTreeMap<String, Array>,
}

impl ModuleVisitor for Compare<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        assert_near(&format!("{}: gradient of {path}", self.name), param.grad(self.gradients).unwrap(), &self.want[&path]);
    }
}

fn check_layer<M: Module>(case: &LayerCase, module: M, forward: impl Fn(&M, Steps) -> Tensor<3>) {
    let device = Device::flex().autodiff();
    let mut fill = Fill { path: Vec::new(), values: &case.parameters, n_filled: 0 };
    let module = module.map(&mut fill);
    assert_eq!(fill.n_filled, case.parameters.len(), "{}", case.name);
    let input: Tensor<3> = case.input.tensor(&device).require_grad();
    let steps = steps(input.clone(), &case.lengths);
    let output = forward(&module, steps.clone()) * steps.weights();
    assert_near(&format!("{}: output", case.name), output.clone(), &case.output);
    let gradients = (output * case.upstream.tensor(&device)).sum().backward();
    assert_near(&format!("{}: gradient of the input", case.name), input.grad(&gradients).unwrap(), &case.input_gradient);
    module.visit(&mut Compare { path: Vec::new(), name: &case.name, gradients: &gradients, want: &case.gradients });
}

/// Steps of which the first so many of each row hold something.
fn steps(values: Tensor<3>, lengths: &[usize]) -> Steps {
    let [_, n_steps, _] = values.dims();
    let valid: Vec<bool> = lengths.iter().flat_map(|length| (0..n_steps).map(move |step| step < *length)).collect();
    let mask = Tensor::from_data(TensorData::new(valid, [lengths.len(), n_steps]), &values.device());
    Steps { values, mask }
}

#[test]
fn decoders_and_their_gradients_are_those_of_pytorch() {
    let device = Device::flex().autodiff();
    for case in stored::<LayerCase>("decoders.json") {
        let Spec::Transformer { width, n_layers, n_heads, feed_forward, norm, activation } = &case.spec else { panic!() };
        let spec = TransformerSpec {
            norm: *norm,
            activation: *activation,
            is_causal: true,
            has_context: true,
            ..TransformerSpec::usual(*width, *n_layers, *n_heads, *feed_forward)
        };
        let memory = steps(case.memory.as_ref().unwrap().tensor(&device), &case.memory_lengths);
        check_layer(&case, spec.init(&device), |module, steps| module.forward_with(steps, &memory).values);
    }
}

#[test]
fn layers_and_their_gradients_are_those_of_pytorch() {
    let device = Device::flex().autodiff();
    for case in stored::<LayerCase>("layers.json") {
        match &case.spec {
            Spec::Recurrent { cell, input_size, hidden_size, n_layers, bidirectional } => {
                let spec = RecurrentSpec {
                    cell: *cell,
                    input_size: *input_size,
                    hidden_size: *hidden_size,
                    n_layers: *n_layers,
                    bidirectional: *bidirectional,
                    dropout: 0.0,
                };
                check_layer(&case, spec.init(&device), |module, steps| module.forward(&steps).0);
            }
            Spec::Transformer { width, n_layers, n_heads, feed_forward, norm, activation } => {
                let spec = TransformerSpec {
                    norm: *norm,
                    activation: *activation,
                    ..TransformerSpec::usual(*width, *n_layers, *n_heads, *feed_forward)
                };
                check_layer(&case, spec.init(&device), |module, steps| module.forward(steps).values);
            }
        }
    }
}

fn loss_of(case: &LossCase) -> Loss {
    match (case.name.as_str(), case.delta.as_f64()) {
        ("sigmoid", _) => Loss::Sigmoid,
        ("hinge", _) => Loss::Hinge,
        (_, Some(delta)) => Loss::Huber { delta },
        _ if case.delta == "inf" => Loss::Huber { delta: f64::INFINITY },
        _ => {
            let class_weights = if case.class_weights.is_empty() { vec![1.0; 3] } else { case.class_weights.clone() };
            Loss::CrossEntropy { class_weights, smoothing: case.smoothing, gamma: case.gamma }
        }
    }
}

#[test]
fn losses_and_their_gradients_are_those_of_pytorch() {
    let device = Device::flex().autodiff();
    for case in stored::<LossCase>("losses.json") {
        let values = match (&case.classes, &case.numbers) {
            (Some(classes), _) => Values::Classes(classes.clone()),
            (None, numbers) => Values::Vectors { width: 3, data: numbers.clone().unwrap().values },
        };
        let [n_rows, _] = case.logits.dims[..] else { panic!("{}", case.name) };
        let target = Target::new(&Column { present: vec![true; n_rows], values }, &device);
        let logits: Tensor<2> = case.logits.tensor(&device).require_grad();
        let loss = loss_of(&case).forward(logits.clone(), &target, None);
        let value = loss.clone().into_scalar::<f32>();
        assert!((value - case.loss).abs() < 1e-5, "{}: {value} is not {}", case.name, case.loss);
        assert_near(&case.name, logits.grad(&loss.backward()).unwrap(), &case.gradient);
    }
}

#[test]
fn the_cost_of_all_paths_and_its_gradient_are_those_of_pytorch() {
    let device = Device::flex().autodiff();
    for case in stored::<CtcCase>("ctc.json") {
        let (lengths, steps): (Vec<usize>, _) = (case.texts.iter().map(Vec::len).collect(), 3);
        let ids = case.texts.iter().flat_map(|text| (0..steps).map(|step| text.get(step).copied().unwrap_or(0))).collect();
        let logits: Tensor<3> = case.logits.tensor(&device).require_grad();
        let target = TargetTokens { steps, lengths, ids };
        let costs =
            path_costs(activation::log_softmax(logits.clone(), 2), &case.n_steps, &target).narrow(1, 0, 1).squeeze_dim::<1>(1);
        assert_near("CTC", costs.clone(), &case.costs);
        let gradients = (costs * case.upstream.tensor(&device)).sum().backward();
        assert_near("gradient of CTC", logits.grad(&gradients).unwrap(), &case.gradient);
    }
}

//! A small model for the tests of this crate, with parameters and gradients from stored cases (`tests/golden_optimizers.py`).

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use mbm_config::{Diagnostics, Format, Node, Setting, defaults};
use mbm_data::Shape;
use mbm_model::combiner::CombinerSettings;
use mbm_model::decoder::{CategoryDecoder, DecoderSettings, Loss};
use mbm_model::encoder::{EncoderSettings, VectorEncoder};
use mbm_model::{InputSpec, Model, ModelSpec, OutputSpec};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::numbering::numbered;

/// The values of a parameter in a stored case.
#[derive(Deserialize)]
pub(crate) struct Array {
    pub dims: Vec<usize>,
    pub values: Vec<f32>,
}

/// A gradient per parameter, in the model's order; `None` for a parameter without one.
pub(crate) type ParamGradients = Vec<Option<Vec<f32>>>;

/// Reads stored cases.
pub(crate) fn stored<T: DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn read<T: Setting>(text: &str) -> T {
    T::read(&Node::parse(text, Format::Yaml).unwrap(), "", &mut Diagnostics::default()).unwrap()
}

/// A classifier with dense layers in encoder and combiner, as training creates it, with the given parameters.
pub(crate) fn model(parameters: &[Array]) -> Model {
    let spec = ModelSpec {
        inputs: vec![InputSpec {
            name: "vector".to_owned(),
            encoder: EncoderSettings::Vector(read::<VectorEncoder>("{type: dense, output_size: 3}")),
            shape: Shape::Vector { width: 4 },
            projection: None,
            vocabulary: Vec::new(),
        }],
        combiner: read::<CombinerSettings>("{type: concat, num_fc_layers: 1, output_size: 5}"),
        outputs: vec![OutputSpec {
            name: "class".to_owned(),
            decoder: DecoderSettings::Category(CategoryDecoder::Classifier(defaults())),
            width: 2,
            loss: Loss::CrossEntropy { class_weights: vec![1.0; 2], smoothing: 0.0, gamma: 0.0 },
            loss_weight: 1.0,
        }],
    };
    let mut fill = Fill(parameters.iter());
    let model = numbered(spec.init(&Device::flex().autodiff(), 1)).map(&mut fill);
    assert!(fill.0.next().is_none(), "more values are stored than the model has parameters");
    model
}

/// Mapper that replaces parameters by stored values, in the model's order.
struct Fill<'a>(std::slice::Iter<'a, Array>);

impl ModuleMapper for Fill<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Array { dims, values } = self.0.next().expect("a stored value for every parameter");
        param.map(|tensor| {
            assert_eq!(tensor.dims().to_vec(), *dims);
            Tensor::<D>::from_data(TensorData::new(values.clone(), dims.clone()), &tensor.device()).require_grad()
        })
    }
}

/// Returns the id and the values of each parameter, in the model's order.
pub(crate) fn parameters(model: &Model) -> Vec<(ParamId, Vec<f32>)> {
    let mut collect = Collect(Vec::new());
    model.visit(&mut collect);
    collect.0
}

struct Collect(Vec<(ParamId, Vec<f32>)>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push((param.id, param.val().into_data().try_into_vec::<f32>().unwrap()));
    }
}

/// Returns the given gradients as training obtains them: by the backward pass, here of a loss that is linear in the parameters.
pub(crate) fn backward(model: &Model, gradients: &ParamGradients) -> GradientsParams {
    let mut loss = LinearLoss { slopes: gradients.iter(), sum: None };
    model.visit(&mut loss);
    let sum = loss.sum.expect("at least one parameter has a gradient");
    GradientsParams::from_grads(sum.backward(), model)
}

/// Visitor that sums the products of parameters and their gradients.
struct LinearLoss<'a> {
    slopes: std::slice::Iter<'a, Option<Vec<f32>>>,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for LinearLoss<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(slopes) = self.slopes.next().expect("an entry for every parameter") else { return };
        let values = param.val();
        let slopes = Tensor::<D>::from_data(TensorData::new(slopes.clone(), values.dims()), &values.device());
        let product = (values * slopes).sum();
        self.sum = Some(self.sum.take().map_or(product.clone(), |sum| sum + product));
    }
}

/// Returns the gradient of each parameter, in the model's order.
pub(crate) fn gradients_of(model: &Model, gradients: &GradientsParams) -> ParamGradients {
    let mut collect = CollectGradients { gradients, found: Vec::new() };
    model.visit(&mut collect);
    collect.found
}

struct CollectGradients<'a> {
    gradients: &'a GradientsParams,
    found: ParamGradients,
}

impl ModuleVisitor for CollectGradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.gradients.get::<D>(param.id);
        self.found.push(gradient.map(|it| it.into_data().try_into_vec::<f32>().unwrap()));
    }
}

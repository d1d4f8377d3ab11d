//! Weight families: the mapping from a component's parameters to the tensors in published weight files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use mbm_weights::WeightFile;

use super::PretrainedError;
use super::grid::resampled;

/// The naming of a component's weights by one publisher.
pub struct Family {
    /// Name of the component in error messages.
    pub(super) part: &'static str,
    /// Possible prefixes of all tensor names.
    pub(super) prefixes: &'static [&'static str],
    /// Maps a parameter's path in the component to its tensor, named without the prefix; `None` if it has no counterpart.
    pub(super) source: fn(&str) -> Option<Source>,
    /// Whether a tensor belongs to something outside the component, such as the classifier above an encoder.
    pub(super) is_elsewhere: fn(&str) -> bool,
}

/// Where a parameter's values are stored.
pub(super) struct Source {
    /// The tensor's name.
    pub name: String,
    pub layout: Layout,
}

/// How a tensor is laid out in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Layout {
    /// Same layout as our parameter.
    Same,
    /// The same values as a vector.
    Flat,
    /// A matrix `[out, in]`; ours is `[in, out]`.
    Transposed,
    /// A kernel `[height, width, in, out]`; ours is `[out, in, height, width]`.
    ChannelsLast,
    /// One of three stacked parameters: a third of a vector, or of a matrix `[3 out, in]`.
    Third(usize),
    /// Position embeddings: a first row, then a square grid, which is resized to our rows and columns by bicubic interpolation.
    Places,
    /// The direction of a weight-normalized kernel, whose norm at each position is in the tensor of this name (Salimans and
    /// Kingma 2016).
    Direction(String),
    /// Subtract the tensor of this name to get ours.
    Less(String),
    /// Add this number to get ours.
    Plus(f32),
}

impl Source {
    pub fn same(name: impl Into<String>) -> Self {
        Self { name: name.into(), layout: Layout::Same }
    }

    pub fn transposed(name: impl Into<String>) -> Self {
        Self { name: name.into(), layout: Layout::Transposed }
    }
}

/// A weight file interpreted as a family.
pub(super) struct Match<'a> {
    file: &'a WeightFile,
    family: &'a Family,
    prefix: &'static str,
    /// Names in the file, keyed by plain name.
    names: BTreeMap<&'a str, &'a str>,
    /// Rows and columns of the component's patch grid, for images split into patches.
    grid: Option<[usize; 2]>,
}

/// Loads the weights of a file into an encoder or decoder. Chooses the family and prefix for which the file has the most matching names.
///
/// # Errors
/// If the file cannot be read or its tensors do not match the component.
///
/// # Panics
/// If there is no family.
pub(super) fn fill<M: Module>(
    part: M,
    path: &Path,
    families: &[&Family],
    grid: Option<[usize; 2]>,
) -> Result<M, PretrainedError> {
    let file = WeightFile::open(path)?;
    let wanted = parameters(&part);
    let found = Match::best(&file, families, &wanted, grid);
    let diagnostics = found.diagnostics(&wanted);
    if !diagnostics.is_empty() {
        return Err(PretrainedError::Mismatch { path: path.into(), part: found.family.part, diagnostics });
    }
    let mut filling = WeightLoader { found, path: Vec::new(), failed: None };
    let part = part.map(&mut filling);
    filling.failed.map_or(Ok(part), |error| Err(error.into()))
}

/// Whether a file has exactly the tensors that a component needs.
pub(super) fn fits<M: Module>(part: &M, file: &WeightFile, families: &[&Family]) -> bool {
    let wanted = parameters(part);
    !families.is_empty() && Match::best(file, families, &wanted, None).diagnostics(&wanted).is_empty()
}

/// Paths and shapes of parameters.
type Parameters = Vec<(String, Vec<usize>)>;

impl<'a> Match<'a> {
    fn best(file: &'a WeightFile, families: &[&'a Family], wanted: &Parameters, grid: Option<[usize; 2]>) -> Self {
        let names: BTreeMap<&str, &str> = file.tensors().keys().map(|name| (plain(name), name.as_str())).collect();
        let all = families.iter().flat_map(|family| family.prefixes.iter().map(move |prefix| (*family, *prefix)));
        // On ties the first one wins: its names are those reported as missing.
        let best = all.rev().max_by_key(|(family, prefix)| {
            let sources = wanted.iter().filter_map(|(path, _)| (family.source)(path));
            sources.filter(|source| names.contains_key(format!("{prefix}{}", source.name).as_str())).count()
        });
        let best = best.expect("a component has a family, and a family a prefix");
        Self { file, family: best.0, prefix: best.1, names, grid }
    }

    fn source(&self, path: &str) -> Option<Source> {
        let Source { name, layout } = (self.family.source)(path)?;
        let layout = match layout {
            Layout::Direction(other) => Layout::Direction(format!("{}{other}", self.prefix)),
            Layout::Less(other) => Layout::Less(format!("{}{other}", self.prefix)),
            other => other,
        };
        Some(Source { name: format!("{}{name}", self.prefix), layout })
    }

    /// Lists missing tensors, unexpected tensors, and tensors of the wrong shape.
    fn diagnostics(&self, wanted: &Parameters) -> Vec<String> {
        let (mut diagnostics, mut missing) = (Vec::new(), Vec::new());
        let mut left: BTreeSet<&str> = self.names.keys().copied().collect();
        for (path, dims) in wanted {
            let Some(source) = self.source(path) else { continue };
            for (name, shape) in source.tensors(dims) {
                left.remove(name.as_str());
                match self.names.get(name.as_str()).map(|full| &self.file.tensors()[*full].shape) {
                    None => missing.push(format!("{name} {}", shape.map_or(String::new(), |shape| format!("{shape:?}")))),
                    Some(found) if shape.as_ref().is_some_and(|shape| shape != found) => {
                        diagnostics.push(format!("{name} is {found:?} in the file, expected {:?}", shape.unwrap_or_default()));
                    }
                    Some(_) => {}
                }
            }
        }
        left.retain(|name| !(self.family.is_elsewhere)(name) && !name.ends_with("num_batches_tracked"));
        let (n_wrong, left) = (diagnostics.len(), left.into_iter().map(str::to_owned).collect::<Vec<_>>());
        if n_wrong > MOST {
            diagnostics.truncate(MOST);
            diagnostics.push(format!("{} more of the wrong shape", n_wrong - MOST));
        }
        diagnostics.extend((!missing.is_empty()).then(|| format!("missing: {}", listed(&missing))));
        diagnostics.extend((!left.is_empty()).then(|| format!("unexpected: {}", listed(&left))));
        diagnostics
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, mbm_weights::WeightFileError> {
        self.file.read(self.names.get(name).copied().unwrap_or(name))
    }

    /// Reads the values of a parameter; `None` if it has no counterpart.
    fn values(&self, path: &str, dims: &[usize]) -> Option<Result<Vec<f32>, mbm_weights::WeightFileError>> {
        let source = self.source(path)?;
        Some(self.read(&source.name).and_then(|values| self.arranged(values, &source.layout, dims)))
    }

    fn arranged(&self, mut values: Vec<f32>, layout: &Layout, dims: &[usize]) -> Result<Vec<f32>, mbm_weights::WeightFileError> {
        Ok(match layout {
            Layout::Same | Layout::Flat => values,
            Layout::Transposed => transposed(&values, dims),
            Layout::ChannelsLast => channels_first(&values, dims),
            Layout::Third(at) => {
                let third = values.len() / 3;
                let part = &values[at * third..(at + 1) * third];
                if dims.len() == 2 { transposed(part, dims) } else { part.to_vec() }
            }
            Layout::Places => resampled(values, dims, self.grid),
            Layout::Direction(name) => {
                scale_to(&mut values, &self.read(name)?);
                values
            }
            Layout::Less(name) => values.iter().zip(self.read(name)?).map(|(value, other)| value - other).collect(),
            Layout::Plus(number) => values.iter().map(|value| value + number).collect(),
        })
    }
}

impl Source {
    /// Lists the tensors that a parameter of the given shape is read from, with their shapes if known.
    fn tensors(&self, dims: &[usize]) -> Vec<(String, Option<Vec<usize>>)> {
        let own = match &self.layout {
            Layout::Same | Layout::Direction(_) | Layout::Less(_) | Layout::Plus(_) => Some(dims.to_vec()),
            Layout::Flat => Some(vec![dims.iter().product()]),
            Layout::Transposed => Some(dims.iter().rev().copied().collect()),
            Layout::ChannelsLast => Some(vec![dims[2], dims[3], dims[1], dims[0]]),
            Layout::Third(_) if dims.len() == 2 => Some(vec![3 * dims[1], dims[0]]),
            Layout::Third(_) => Some(vec![3 * dims[0]]),
            Layout::Places => None,
        };
        let other = match &self.layout {
            Layout::Direction(name) => Some((name.clone(), Some(vec![1, 1, dims[dims.len() - 1]]))),
            Layout::Less(name) => Some((name.clone(), Some(dims.to_vec()))),
            _ => None,
        };
        std::iter::once((self.name.clone(), own)).chain(other).collect()
    }
}

/// Strips the prefix that data-parallel training adds to names.
pub(super) fn plain(name: &str) -> &str {
    name.strip_prefix("module.").unwrap_or(name)
}

/// Maximum number of names in a message.
const MOST: usize = 8;

/// Joins the first few names.
fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST);
    let shown = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// Transposes `[out, in]` to `dims`, which is `[in, out]`.
fn transposed(values: &[f32], dims: &[usize]) -> Vec<f32> {
    let (n_in, n_out) = (dims[0], dims[1]);
    (0..n_in * n_out).map(|at| values[at % n_out * n_in + at / n_out]).collect()
}

/// Permutes `[height, width, in, out]` to `dims`, which is `[out, in, height, width]`.
fn channels_first(values: &[f32], dims: &[usize]) -> Vec<f32> {
    let (n_out, n_in, n_positions) = (dims[0], dims[1], dims[2] * dims[3]);
    let mut out = Vec::with_capacity(values.len());
    for channel in 0..n_out {
        for from in 0..n_in {
            out.extend((0..n_positions).map(|at| values[(at * n_in + from) * n_out + channel]));
        }
    }
    out
}

/// Rescales a kernel `[.., positions]` to the given norm at each position.
fn scale_to(kernel: &mut [f32], lengths: &[f32]) {
    let n_positions = lengths.len();
    let mut squares = vec![0.0f64; n_positions];
    for row in kernel.chunks(n_positions) {
        squares.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value).powi(2));
    }
    for row in kernel.chunks_mut(n_positions) {
        let factors = lengths.iter().zip(&squares).map(|(length, square)| (f64::from(*length) / square.sqrt()) as f32);
        row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
    }
}

/// Mapper that loads each parameter.
struct WeightLoader<'a> {
    found: Match<'a>,
    path: Vec<String>,
    failed: Option<mbm_weights::WeightFileError>,
}

impl ModuleMapper for WeightLoader<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let dims: [usize; D] = param.dims();
        match self.found.values(&below_variant(&self.path), &dims) {
            Some(Ok(values)) => param.map(|tensor| {
                let is_trained = tensor.is_require_grad();
                let filled = Tensor::from_data(TensorData::new(values, dims), &tensor.device());
                if is_trained { filled.require_grad() } else { filled }
            }),
            Some(Err(error)) => {
                self.failed.get_or_insert(error);
                param
            }
            None => param,
        }
    }
}

/// Returns the path of a parameter in its component; the first name is the variant of the encoder or decoder.
fn below_variant(path: &[String]) -> String {
    path.get(1..).unwrap_or_default().join(".")
}

fn parameters<M: Module>(part: &M) -> Parameters {
    #[derive(Default)]
    struct Collect {
        path: Vec<String>,
        found: Parameters,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push((below_variant(&self.path), param.lazy_shape().to_vec()));
        }
    }
    let mut collect = Collect::default();
    part.visit(&mut collect);
    collect.found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_and_kernels_are_transposed() {
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        // One position, two input channels, three output channels.
        assert_eq!(channels_first(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2, 1, 1]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        // Two positions, one channel in and out.
        assert_eq!(channels_first(&[1.0, 2.0], &[1, 1, 1, 2]), [1.0, 2.0]);
    }

    #[test]
    fn kernel_is_rescaled_to_its_norm_at_each_position() {
        let mut kernel = [3.0, 1.0, 4.0, 0.0];
        scale_to(&mut kernel, &[10.0, 2.0]);
        assert_eq!(kernel, [6.0, 2.0, 8.0, 0.0]);
    }
}

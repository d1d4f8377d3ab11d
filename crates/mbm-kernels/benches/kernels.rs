//! Benchmarks of the kernels at the sizes of common networks: `cargo bench -p mbm-kernels`. Throughput counts floating-point
//! operations of convolutions and LSTM layers, and elements otherwise.

use std::fmt;
use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use mbm_kernels::{Affine, ConvShape, LstmShape, NormShape, Normalized};

fn main() {
    divan::main();
}

/// Returns pseudo-random numbers between -1 and 1.
fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|at| ((at * 7919 + 13) % 2003) as f32 / 1001.5 - 1.0).collect()
}

/// A convolution of ResNet-50 at 224 pixels.
struct Layer {
    name: &'static str,
    channels: [usize; 2],
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
}

const LAYERS: [Layer; 4] = [
    Layer { name: "7x7, 3 to 64, 224", channels: [3, 64], size: 224, kernel: 7, stride: 2, padding: 3 },
    Layer { name: "1x1, 256 to 64, 56", channels: [256, 64], size: 56, kernel: 1, stride: 1, padding: 0 },
    Layer { name: "3x3, 128 to 128, 28", channels: [128, 128], size: 28, kernel: 3, stride: 1, padding: 1 },
    Layer { name: "3x3, 512 to 512, 7", channels: [512, 512], size: 7, kernel: 3, stride: 1, padding: 1 },
];

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Layer {
    /// Returns the shape for eight images.
    fn shape(&self) -> ConvShape {
        ConvShape {
            batch: 8,
            channels: self.channels,
            size: [self.size; 2],
            kernel: [self.kernel; 2],
            stride: [self.stride; 2],
            padding: [self.padding; 2],
        }
    }

    fn n_outputs(&self) -> usize {
        let [height, width] = self.shape().out_size();
        8 * self.channels[1] * height * width
    }

    fn n_operations(&self) -> usize {
        2 * self.n_outputs() * self.channels[0] * self.kernel * self.kernel
    }

    fn images(&self) -> Vec<f32> {
        numbers(8 * self.channels[0] * self.size * self.size)
    }

    fn weight(&self) -> Vec<f32> {
        numbers(self.channels[0] * self.channels[1] * self.kernel * self.kernel)
    }
}

#[divan::bench_group(sample_count = 20)]
mod conv {
    use super::{Bencher, ItemsCount, LAYERS, Layer, black_box, numbers};

    #[divan::bench(args = LAYERS)]
    fn forward(bencher: Bencher, layer: &Layer) {
        let (shape, images, weight) = (layer.shape(), layer.images(), layer.weight());
        let bencher = bencher.counter(ItemsCount::new(layer.n_operations()));
        bencher.bench_local(|| mbm_kernels::conv_forward(shape, black_box(&images), black_box(&weight), None));
    }

    #[divan::bench(args = LAYERS)]
    fn backward(bencher: Bencher, layer: &Layer) {
        let (shape, images, weight, gradient) = (layer.shape(), layer.images(), layer.weight(), numbers(layer.n_outputs()));
        let bencher = bencher.counter(ItemsCount::new(2 * layer.n_operations()));
        bencher.bench_local(|| {
            mbm_kernels::conv_backward(shape, black_box(&images), black_box(&weight), black_box(&gradient), true)
        });
    }
}

/// A layer of 256 states over 64 steps of 32 rows, without the projection of its inputs.
#[divan::bench_group(sample_count = 20)]
mod lstm {
    use super::{Bencher, ItemsCount, LstmShape, black_box, numbers};

    const SHAPE: LstmShape = LstmShape { batch: 32, steps: 64, hidden: 256, is_reversed: false };
    const N_STATES: usize = 32 * 64 * 256;

    #[divan::bench(counters = [ItemsCount::new(8 * N_STATES * 256)])]
    fn forward(bencher: Bencher) {
        let (inputs, weight, mask) = (numbers(4 * N_STATES), numbers(4 * 256 * 256), vec![1.0; 32 * 64]);
        bencher.bench_local(|| mbm_kernels::lstm_forward(SHAPE, black_box(inputs.clone()), black_box(&weight), &mask));
    }

    #[divan::bench(counters = [ItemsCount::new(8 * N_STATES * 256)])]
    fn backward(bencher: Bencher) {
        let (inputs, weight, mask) = (numbers(4 * N_STATES), numbers(4 * 256 * 256), vec![1.0; 32 * 64]);
        let (states, gradient) = (mbm_kernels::lstm_forward(SHAPE, inputs, &weight, &mask), numbers(N_STATES));
        bencher.bench_local(|| mbm_kernels::lstm_backward(SHAPE, states.view(), black_box(&weight), &mask, black_box(&gradient)));
    }
}

/// Eight images of 64 channels at 56 pixels.
#[divan::bench_group(sample_count = 20, counters = [ItemsCount::new(N_ELEMENTS)])]
mod elementwise {
    use super::{Affine, Bencher, N_ELEMENTS, NormShape, Normalized, black_box, numbers};

    const SHAPE: NormShape = NormShape { batch: 8, channels: 64, positions: 56 * 56 };
    const BOUNDS: [f32; 2] = [0.0, f32::MAX];

    #[divan::bench]
    fn norm_moments(bencher: Bencher) {
        let images = numbers(N_ELEMENTS);
        bencher.bench_local(|| mbm_kernels::moments(SHAPE, black_box(&images)));
    }

    #[divan::bench]
    fn norm_affine(bencher: Bencher) {
        let (images, ones) = (numbers(N_ELEMENTS), vec![1.0; SHAPE.channels]);
        let by = Affine { scale: &ones, shift: &ones, bounds: BOUNDS };
        bencher.bench_local(|| mbm_kernels::affine(SHAPE, black_box(&images), by));
    }

    #[divan::bench]
    fn norm_backward(bencher: Bencher) {
        let (images, ones) = (numbers(N_ELEMENTS), vec![1.0; SHAPE.channels]);
        let out = mbm_kernels::affine(SHAPE, &images, Affine { scale: &ones, shift: &ones, bounds: BOUNDS });
        let done = Normalized { images: &images, mean: &ones, inverse: &ones, scale: &ones, out: &out, bounds: BOUNDS };
        bencher.bench_local(|| mbm_kernels::norm_backward(SHAPE, done, black_box(&images)));
    }

    #[divan::bench]
    fn gelu_forward(bencher: Bencher) {
        let images = numbers(N_ELEMENTS);
        bencher.bench_local(|| mbm_kernels::gelu(black_box(&images)));
    }

    #[divan::bench]
    fn gelu_backward(bencher: Bencher) {
        let (images, out) = (numbers(N_ELEMENTS), numbers(N_ELEMENTS));
        bencher.bench_local(|| mbm_kernels::gelu_backward(black_box(&images), black_box(&out)));
    }
}

const N_ELEMENTS: usize = 8 * 64 * 56 * 56;

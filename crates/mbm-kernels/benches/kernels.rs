//! Benchmarks of the kernels at the sizes of common networks: `cargo bench -p mbm-kernels`.

use std::hint::black_box;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use mbm_kernels::{
    Affine, ConvShape, LstmShape, NormShape, Normalized, affine, conv_backward, conv_forward, gelu, gelu_backward, lstm_backward,
    lstm_forward, moments, norm_backward,
};

/// Returns pseudo-random numbers between -1 and 1.
fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|at| ((at * 7919 + 13) % 2003) as f32 / 1001.5 - 1.0).collect()
}

fn group<'a>(criterion: &'a mut Criterion, name: &str, n_operations: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).throughput(Throughput::Elements(n_operations as u64));
    group
}

/// Layers of ResNet-50 at 224 pixels, eight images; throughput counts floating-point operations.
fn convolutions(criterion: &mut Criterion) {
    let layer = |channels, size, kernel, stride, padding| ConvShape {
        batch: 8,
        channels,
        size: [size; 2],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
    };
    let layers = [
        ("7x7, 3 to 64, 224", layer([3, 64], 224, 7, 2, 3)),
        ("1x1, 256 to 64, 56", layer([256, 64], 56, 1, 1, 0)),
        ("3x3, 128 to 128, 28", layer([128, 128], 28, 3, 1, 1)),
        ("3x3, 512 to 512, 7", layer([512, 512], 7, 3, 1, 1)),
    ];
    for (name, shape) in layers {
        let ([input, output], kernel, [height, width]) = (shape.channels, shape.kernel[0] * shape.kernel[1], shape.out_size());
        let images = numbers(shape.batch * input * shape.size[0] * shape.size[1]);
        let weight = numbers(output * input * kernel);
        let n_operations = 2 * shape.batch * output * height * width * input * kernel;
        group(criterion, "conv_forward", n_operations).bench_function(name, |bencher| {
            bencher.iter(|| conv_forward(shape, black_box(&images), black_box(&weight), None));
        });
        let gradient = numbers(shape.batch * output * height * width);
        group(criterion, "conv_backward", 2 * n_operations).bench_function(name, |bencher| {
            bencher.iter(|| conv_backward(shape, black_box(&images), black_box(&weight), black_box(&gradient), true));
        });
    }
}

/// An LSTM layer of 256 states over 64 steps of 32 rows, without the input projection; throughput counts floating-point
/// operations.
fn recurrence(criterion: &mut Criterion) {
    let shape = LstmShape { batch: 32, steps: 64, hidden: 256, is_reversed: false };
    let n_states = shape.batch * shape.steps * shape.hidden;
    let (inputs, weight, mask) = (numbers(4 * n_states), numbers(4 * 256 * 256), vec![1.0; shape.batch * shape.steps]);
    let n_operations = 8 * n_states * shape.hidden;
    group(criterion, "lstm", n_operations).bench_function("forward", |bencher| {
        bencher.iter(|| lstm_forward(shape, black_box(inputs.clone()), black_box(&weight), &mask));
    });
    let (states, gradient) = (lstm_forward(shape, inputs, &weight, &mask), numbers(n_states));
    group(criterion, "lstm", n_operations).bench_function("backward", |bencher| {
        bencher.iter(|| lstm_backward(shape, states.view(), black_box(&weight), &mask, black_box(&gradient)));
    });
}

/// Eight images of 64 channels at 56 pixels; throughput counts elements.
fn elementwise(criterion: &mut Criterion) {
    let shape = NormShape { batch: 8, channels: 64, positions: 56 * 56 };
    let n = shape.batch * shape.channels * shape.positions;
    let (images, ones, bounds) = (numbers(n), vec![1.0; shape.channels], [0.0, f32::MAX]);
    group(criterion, "norm", n).bench_function("moments", |bencher| bencher.iter(|| moments(shape, black_box(&images))));
    let by = Affine { scale: &ones, shift: &ones, bounds };
    group(criterion, "norm", n).bench_function("affine", |bencher| bencher.iter(|| affine(shape, black_box(&images), by)));
    let out = affine(shape, &images, by);
    let done = Normalized { images: &images, mean: &ones, inverse: &ones, scale: &ones, out: &out, bounds };
    group(criterion, "norm", n)
        .bench_function("backward", |bencher| bencher.iter(|| norm_backward(shape, done, black_box(&images))));
    group(criterion, "gelu", n).bench_function("forward", |bencher| bencher.iter(|| gelu(black_box(&images))));
    group(criterion, "gelu", n)
        .bench_function("backward", |bencher| bencher.iter(|| gelu_backward(black_box(&images), black_box(&out))));
}

criterion_group!(kernels, convolutions, recurrence, elementwise);
criterion_main!(kernels);

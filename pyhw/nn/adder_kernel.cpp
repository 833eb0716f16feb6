// Fused adder (L1-distance) convolution for float32 on the CPU.
//
// Both loops are shaped like a matrix product whose inner operation is not a multiplication:
//
//   forward    y[t, o] = -sum_r |x[t, r] - w[o, r]|
//   backward  gx[t, r] =  sum_o clamp(w[o, r] - x[t, r], -1, 1) * g[t, o]
//
// t runs over output positions of the whole batch, r over taps (i, j, channel). The input is padded
// and channel-last, so the taps of one kernel row are one contiguous run and a position is only a
// base address: nothing is unfolded, and strides cost nothing. Sixteen lanes (output channels, or
// taps backward) times ROWS positions stay in registers. Weights come packed by the caller:
//
//   forward   [out_panel][i][j * channels + c][16]     channels past the last are zero
//   backward  [i][tap_panel][o][16]                    taps past the run are zero
//
// Every sum has one fixed order whatever the number of threads: results are reproducible.

#include <algorithm>
#include <cstdint>

using Int = std::int64_t;

namespace {

constexpr Int LANES = 16;
constexpr Int ROWS = 8;
constexpr Int WORTH_A_THREAD = 1 << 19;  // terms; fewer are done before a second thread wakes up

typedef float vec __attribute__((vector_size(64)));
typedef int ivec __attribute__((vector_size(64)));
typedef float unaligned_vec __attribute__((vector_size(64), aligned(4), may_alias));

struct Shape {
    Int images, padded_h, padded_w, channels, out_h, out_w, outputs, kernel, stride;

    Int run() const { return kernel * channels; }       // contiguous taps of one kernel row
    Int pitch() const { return padded_w * channels; }   // floats from one input row to the next
    Int positions() const { return out_h * out_w; }     // per image

    Int origin(Int t) const {
        const Int image = t / positions(), place = t % positions();
        const Int row = place / out_w * stride, column = place % out_w * stride;
        return ((image * padded_h + row) * padded_w + column) * channels;
    }
};

inline vec load(const float *p) { return *reinterpret_cast<const unaligned_vec *>(p); }

// The end of a run need not be a whole vector, nor may what lies behind it be readable.
inline vec load(const float *p, Int width) {
    if (width == LANES) return load(p);
    vec v{};
    for (Int lane = 0; lane < width; ++lane) v[lane] = p[lane];
    return v;
}

inline vec magnitude(vec v) { return (vec)((ivec)v & 0x7fffffff); }

inline vec clip(vec v) {
    const vec one = vec{} + 1.0f;
    v = v < one ? v : one;
    return v > -one ? v : -one;
}

void forward_range(const Shape &s, const float *x, const float *packed, float *y,
                   Int first, Int last) {
    const Int run = s.run(), pitch = s.pitch();
    for (Int t = first; t < last; t += ROWS) {
        const Int rows = std::min(ROWS, last - t);
        const float *base[ROWS];
        for (Int m = 0; m < ROWS; ++m) base[m] = x + s.origin(t + std::min(m, rows - 1));
        const float *w = packed;
        for (Int o = 0; o < s.outputs; o += LANES) {
            vec sum[ROWS] = {};
            for (Int i = 0; i < s.kernel; ++i) {
                for (Int q = i * pitch; q < i * pitch + run; ++q, w += LANES) {
                    const vec weight = load(w);
                    for (Int m = 0; m < ROWS; ++m) sum[m] += magnitude(base[m][q] - weight);
                }
            }
            const Int width = std::min(LANES, s.outputs - o);
            for (Int m = 0; m < rows; ++m) {
                float *out = y + (t + m) * s.outputs + o;
                for (Int lane = 0; lane < width; ++lane) out[lane] = -sum[m][lane];
            }
        }
    }
}

void backward_range(const Shape &s, const float *x, const float *packed, const float *g, float *gx,
                    Int first, Int last) {
    const Int run = s.run(), pitch = s.pitch();
    for (Int t = first; t < last; t += ROWS) {
        const Int rows = std::min(ROWS, last - t);
        const float *gradient[ROWS];
        Int base[ROWS];
        for (Int m = 0; m < ROWS; ++m) {
            const Int place = t + std::min(m, rows - 1);
            gradient[m] = g + place * s.outputs;
            base[m] = s.origin(place);
        }
        const float *w = packed;
        for (Int i = 0; i < s.kernel; ++i) {
            for (Int q = 0; q < run; q += LANES) {
                const Int offset = i * pitch + q, width = std::min(LANES, run - q);
                vec value[ROWS], sum[ROWS] = {};
                for (Int m = 0; m < ROWS; ++m) value[m] = load(x + base[m] + offset, width);
                for (Int o = 0; o < s.outputs; ++o, w += LANES) {
                    const vec weight = load(w);
                    for (Int m = 0; m < ROWS; ++m)
                        sum[m] += clip(weight - value[m]) * gradient[m][o];
                }
                for (Int m = 0; m < rows; ++m) {
                    float *out = gx + base[m] + offset;
                    for (Int lane = 0; lane < width; ++lane) out[lane] += sum[m][lane];
                }
            }
        }
    }
}

// Runs work(first image, end) on parts of the batch. Images are independent, so the scattered sums
// of the backward pass never meet. More parts than threads: a core may be busy with something else.
template <typename Work> void over_images(const Shape &s, Int threads, const Work &work) {
    const Int images = s.images, pairs = images * s.positions() * s.outputs * s.kernel * s.run();
    if (pairs < WORTH_A_THREAD) threads = 1;
    const Int parts = std::max(Int(1), std::min(threads > 1 ? 4 * threads : 1, images / ROWS));
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (Int part = 0; part < parts; ++part)
        work(images * part / parts, images * (part + 1) / parts);
}

}  // namespace

// `dims` holds the nine fields of Shape in order.
extern "C" void pyhw_adder_forward(const Int *dims, const float *x, const float *packed, float *y,
                                   Int threads) {
    const Shape s = *reinterpret_cast<const Shape *>(dims);
    over_images(s, threads, [=](Int first, Int last) {
        forward_range(s, x, packed, y, first * s.positions(), last * s.positions());
    });
}

// `gx` has the layout of the padded input and starts at zero.
extern "C" void pyhw_adder_backward(const Int *dims, const float *x, const float *packed,
                                    const float *g, float *gx, Int threads) {
    const Shape s = *reinterpret_cast<const Shape *>(dims);
    over_images(s, threads, [=](Int first, Int last) {
        backward_range(s, x, packed, g, gx, first * s.positions(), last * s.positions());
    });
}

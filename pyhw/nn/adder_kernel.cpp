// Fused adder (L1-distance) convolution for float32 on the CPU.
//
// Three loops, shaped like matrix products whose inner operation is another one:
//
//   forward      y[t, o] = -sum_r |x[t, r] - w[o, r]|
//   grad input  gx[t, r] =  sum_o clamp(w[o, r] - x[t, r], -1, 1) * g[t, o]
//   grad weight gw[o, r] =  sum_t (x[t, r] - w[o, r]) * g[t, o]             (or the sign of x - w)
//
// t runs over output positions, r over taps (kernel row, kernel column, channel). A few images at a
// time are copied into a channel-last scratch map with its border of zeros. There a position is a
// base address and a tap is an offset: nothing is unfolded, no layout of the caller's tensors
// matters, and no temporary has the size of a tensor. Sums stay in registers, ROWS vectors at once.
//
// The sixteen lanes of a vector are neighbours of one of two kinds, and the loops serve both:
//
//   L = 1       output channels (forward) or taps (backward) of one group; inputs are broadcast
//   L = 16      sixteen groups side by side, as depthwise layers need them: each scratch value is a
//               vector with a lane per group
//
// Every sum has one fixed order whatever the number of threads: results are reproducible.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

using Int = std::int64_t;

namespace {

constexpr Int LANES = 16;
#ifdef __AVX512F__
constexpr Int ROWS = 8;
#else
constexpr Int ROWS = 4;  // half the registers
#endif
constexpr Int NARROW = 4;
constexpr Int WORTH_A_THREAD = 1 << 19;  // terms; fewer are done before a second thread wakes up
constexpr Int POSITIONS = 32;            // at least so many in one piece of work
constexpr Int CHUNK = 1 << 16;           // scratch floats of the weight gradient: fits an L2 cache

typedef float vec __attribute__((vector_size(64)));
typedef int ivec __attribute__((vector_size(64)));
typedef float unaligned_vec __attribute__((vector_size(64), aligned(4), may_alias));

inline vec load(const float *p) { return *reinterpret_cast<const unaligned_vec *>(p); }
inline void store(float *p, vec v) { *reinterpret_cast<unaligned_vec *>(p) = v; }

template <Int L> inline vec spread(const float *p) {
    if constexpr (L == LANES) return load(p);
    return vec{} + *p;
}

inline vec magnitude(vec v) { return (vec)((ivec)v & 0x7fffffff); }

// The compiler may take all values for numbers, so what is none is told by its bits.
inline vec unless_nan(vec v, vec result) {
    const ivec nan = ((ivec)v & 0x7fffffff) > 0x7f800000;
    return (vec)((nan & (ivec)v) | (~nan & (ivec)result));
}

inline vec clip(vec v) {
    const vec one = vec{} + 1.0f;
#ifdef __AVX512F__
    // Of two operands the instructions return the second one if either is no number.
    const __m512 low = _mm512_min_ps((__m512)one, (__m512)v);
    return (vec)_mm512_max_ps((__m512)-one, low);
#else
    const vec low = v < one ? v : one;
    return unless_nan(v, low > -one ? low : -one);
#endif
}

inline vec sign(vec v) {
    const vec one = vec{} + 1.0f;
    const vec positive = v > vec{} ? one : vec{};
    return unless_nan(v, v < vec{} ? -one : positive);
}

inline Int ceil_div(Int a, Int b) { return (a + b - 1) / b; }

// What the caller fills in; the order is that of `_dims` in compiled.py.
struct Layer {
    Int images, channels, height, width, outputs, groups, kernel_h, kernel_w;
    Int stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w, out_h, out_w;
    Int x_strides[4], g_strides[4];  // floats; image, channel, row, column
};

struct Panel { Int offset, tap, width; };  // taps that are neighbours in the scratch map

// A channel-last map in scratch, and the channels of the caller's tensor that it holds.
struct Map {
    Int rows, columns, border_h, border_w, depth;  // depth: channels of one group
    Int stride_h, stride_w;                        // from one output position to the next
    Int values, size;                              // floats of a pixel, of an image
};

struct Plan : Layer {
    Int in, out, lanes, blocks, positions, step;
    Map x, g;
    std::vector<Int> offset, place;  // of a tap: in the scratch map, in the weights of an output
    std::vector<Panel> panels;

    explicit Plan(const Layer &layer) : Layer(layer) {
        in = channels / groups, out = outputs / groups, positions = out_h * out_w;
        // Whichever leaves fewer lanes empty.
        const bool side_by_side =
            groups * ceil_div(out, LANES) > out * ceil_div(groups, LANES);
        lanes = side_by_side ? LANES : 1;
        blocks = ceil_div(groups, lanes);
        step = std::max(Int(1), std::min(images, ceil_div(POSITIONS, positions)));
        x = map(height, width, padding_h, padding_w, in);
        g = map(out_h, out_w, 0, 0, out);
        for (Int i = 0; i < kernel_h; ++i)
            for (Int j = 0; j < kernel_w; ++j)
                for (Int c = 0; c < in; ++c) {
                    offset.push_back((i * dilation_h * x.columns + j * dilation_w) * x.values +
                                     c * lanes);
                    place.push_back((c * kernel_h + i) * kernel_w + j);
                }
        for (Int tap = 0; tap < taps(); ++tap) {
            const bool joins = lanes == 1 && tap && panels.back().width < LANES &&
                               offset[tap] == offset[tap - 1] + 1;
            if (joins) ++panels.back().width;
            else panels.push_back({offset[tap], tap, 1});
        }
    }

    Map map(Int rows, Int columns, Int border_h, Int border_w, Int depth) const {
        const Int tall = rows + 2 * border_h, wide = columns + 2 * border_w, values = depth * lanes;
        return {tall, wide, border_h, border_w, depth, stride_h * wide * values,
                stride_w * values, values, tall * wide * values};
    }

    Int taps() const { return offset.size(); }
    Int vectors(bool forward) const {
        return forward ? (lanes == 1 ? ceil_div(out, LANES) : out) : Int(panels.size());
    }
    Int packed_size(bool forward) const {
        return blocks * vectors(forward) * (forward ? taps() : out) * LANES;
    }
    bool wide() const { return out >= NARROW; }  // tiles of the weight gradient: many outputs
    Int weight(Int group, Int output, Int tap) const {
        return (group * out + output) * taps() + place[tap];
    }
    Int terms() const { return images * positions * outputs * taps(); }
    Int filled(Int block) const { return std::min(lanes, groups - block * lanes); }
    Int origin(Int t) const {
        const Int place = t % positions;
        return t / positions * x.size + place / out_w * x.stride_h + place % out_w * x.stride_w;
    }
    // Where a scratch value of a pixel comes from: the channel of the caller's tensor.
    Int channel(const Map &m, Int block, Int value) const {
        return (block * lanes + value % lanes) * m.depth + value / lanes;
    }
};

// Calls work(scratch floats, caller's offset, pixels apart) for rows of a map; the two sides of a
// copy. `strides` are the caller's, without the image.
template <typename Copy>
void each_row(const Plan &p, const Map &m, Int block, const Int *strides, const Copy &copy) {
    std::vector<Int> from(m.values, -1);  // caller's offset of a value; -1 in an empty lane
    bool run = true;
    for (Int v = 0; v < m.values; ++v) {
        if (v % p.lanes < p.filled(block)) from[v] = p.channel(m, block, v) * strides[0];
        run = run && from[v] >= 0 && from[v] == from[0] + v;
    }
    const Int rows = m.rows - 2 * m.border_h;
    for (Int row = 0; row < rows; ++row)
        copy(((row + m.border_h) * m.columns + m.border_w) * m.values, row * strides[1], from, run);
}

void gather(const Plan &p, const Map &m, Int block, const float *image, const Int *strides,
            float *scratch) {
    const Int columns = m.columns - 2 * m.border_w, apart = strides[2];
    each_row(p, m, block, strides,
             [&](Int to, Int row, const std::vector<Int> &from, bool run) {
        float *pixel = scratch + to;
        const float *source = image + row;
        if (run && apart == m.values) {
            std::memcpy(pixel, source + from[0], columns * m.values * sizeof(float));
        } else if (run) {
            for (Int w = 0; w < columns; ++w)
                std::memcpy(pixel + w * m.values, source + w * apart + from[0],
                            m.values * sizeof(float));
        } else if (apart == 1) {
            for (Int v = 0; v < m.values; ++v)
                if (from[v] >= 0)
                    for (Int w = 0; w < columns; ++w) pixel[w * m.values + v] = source[from[v] + w];
        } else {
            for (Int w = 0; w < columns; ++w)
                for (Int v = 0; v < m.values; ++v)
                    if (from[v] >= 0) pixel[w * m.values + v] = source[w * apart + from[v]];
        }
    });
}

void scatter(const Plan &p, const Map &m, Int block, const float *scratch, const Int *strides,
             float *image) {
    const Int columns = m.columns - 2 * m.border_w, apart = strides[2];
    each_row(p, m, block, strides,
             [&](Int to, Int row, const std::vector<Int> &from, bool run) {
        const float *pixel = scratch + to;
        for (Int w = 0; w < columns; ++w) {
            float *target = image + row + w * apart;
            if (run) {
                std::memcpy(target + from[0], pixel + w * m.values, m.values * sizeof(float));
                continue;
            }
            for (Int v = 0; v < m.values; ++v)
                if (from[v] >= 0) target[from[v]] = pixel[w * m.values + v];
        }
    });
}

// Packed weights, 16 to a vector, what is missing zero:
//   forward   [block][output vector][tap][16]
//   backward  [block][panel][output][16]
// Calls work(index packed, index in the caller's weights) for all there are.
template <typename Work>
void each_weight(const Plan &p, bool forward, Int threads, const Work &work) {
    const Int vectors = p.vectors(forward), inner = forward ? p.taps() : p.out;
    if (p.terms() < WORTH_A_THREAD) threads = 1;
#pragma omp parallel for num_threads(threads)
    for (Int item = 0; item < p.blocks * vectors; ++item) {
        const Int block = item / vectors, vector = item % vectors;
        for (Int k = 0; k < inner; ++k) {
            const Int to = (item * inner + k) * LANES;
            const Int output = forward ? vector : k, tap = forward ? k : p.panels[vector].tap;
            if (p.lanes == LANES)
                for (Int lane = 0; lane < p.filled(block); ++lane)
                    work(to + lane, p.weight(block * LANES + lane, output, tap));
            else if (forward)
                for (Int lane = 0; lane < std::min(LANES, p.out - output * LANES); ++lane)
                    work(to + lane, p.weight(block, output * LANES + lane, tap));
            else
                for (Int lane = 0; lane < p.panels[vector].width; ++lane)
                    work(to + lane, p.weight(block, output, tap + lane));
        }
    }
}

std::vector<float> pack(const Plan &p, const float *weight, bool forward, Int threads) {
    std::vector<float> packed(p.packed_size(forward));
    each_weight(p, forward, threads, [&](Int to, Int from) { packed[to] = weight[from]; });
    return packed;
}

// One block of `count` positions whose windows begin at `x`; `y` is channel-last.
template <Int L>
void forward_block(const Plan &p, Int block, const float *x, const float *w, float *y, Int count) {
    const Int vectors = p.vectors(true), taps = p.taps();
    const Int apart = L == 1 ? 1 : p.out;  // output channels from one lane to the next
    w += block * vectors * taps * LANES;
    for (Int t = 0; t < count; t += ROWS) {
        const Int rows = std::min(ROWS, count - t);
        const float *base[ROWS], *weights = w;
        for (Int m = 0; m < ROWS; ++m) base[m] = x + p.origin(t + std::min(m, rows - 1));
        for (Int o = 0; o < vectors; ++o) {
            vec sum[ROWS] = {};
            for (Int tap = 0; tap < taps; ++tap, weights += LANES) {
                const vec weight = load(weights);
                const Int q = p.offset[tap];
                for (Int m = 0; m < ROWS; ++m) sum[m] += magnitude(spread<L>(base[m] + q) - weight);
            }
            const Int filled = L == 1 ? std::min(LANES, p.out - o * LANES) : p.filled(block);
            const Int first = block * L * p.out + (L == 1 ? o * LANES : o);
            for (Int m = 0; m < rows; ++m) {
                float *to = y + (t + m) * p.outputs + first;
                if (filled == LANES && apart == 1) store(to, -sum[m]);
                else for (Int lane = 0; lane < filled; ++lane) to[lane * apart] = -sum[m][lane];
            }
        }
    }
}

// Adds to `gx`, which is laid out as `x`; `g` has a row of `out` vectors or floats per position.
template <Int L>
void input_block(const Plan &p, Int block, const float *x, const float *w, const float *g,
                 float *gx, Int count) {
    w += block * p.panels.size() * p.out * LANES;
    for (Int t = 0; t < count; t += ROWS) {
        const Int rows = std::min(ROWS, count - t);
        const float *gradient[ROWS], *weights = w;
        Int base[ROWS];
        for (Int m = 0; m < ROWS; ++m) {
            const Int place = t + std::min(m, rows - 1);
            gradient[m] = g + place * p.g.values;
            base[m] = p.origin(place);
        }
        for (const Panel &panel : p.panels) {
            vec value[ROWS], sum[ROWS] = {};
            for (Int m = 0; m < ROWS; ++m) value[m] = load(x + base[m] + panel.offset);
            for (Int o = 0; o < p.out; ++o, weights += LANES) {
                const vec weight = load(weights);
                for (Int m = 0; m < ROWS; ++m)
                    sum[m] += clip(weight - value[m]) * spread<L>(gradient[m] + o * L);
            }
            for (Int m = 0; m < rows; ++m) {
                float *to = gx + base[m] + panel.offset;
                if (L == LANES || panel.width == LANES) store(to, load(to) + sum[m]);
                else for (Int lane = 0; lane < panel.width; ++lane) to[lane] += sum[m][lane];
            }
        }
    }
}

// Adds the sums over `count` images to P panels by M outputs of the packed gradient `gw`.
template <Int L, Int P, Int M, bool SIGN>
void weight_tile(const Plan &p, Int block, Int panel, Int output, const float *x, const float *w,
                 const float *g, float *gw, Int count) {
    const Int panels = p.panels.size(), filled_p = std::min(P, panels - panel);
    const Int filled_m = std::min(M, p.out - output);
    Int offset[P], index[P][M];
    const float *upstream[M];
    vec weight[P][M], sum[P][M] = {};
    for (Int i = 0; i < P; ++i) {
        const Int row = panel + std::min(i, filled_p - 1);
        offset[i] = p.panels[row].offset;
        for (Int m = 0; m < M; ++m) {
            const Int column = output + std::min(m, filled_m - 1);
            index[i][m] = ((block * panels + row) * p.out + column) * LANES;
            weight[i][m] = load(w + index[i][m]);
            upstream[m] = g + column * L;
        }
    }
    for (Int image = 0; image < count; ++image) {
        Int t = image * p.g.size;
        for (Int row = 0; row < p.out_h; ++row) {
            const float *base = x + image * p.x.size + row * p.x.stride_h;
            for (Int column = 0; column < p.out_w; ++column) {
                for (Int i = 0; i < P; ++i) {
                    const vec value = load(base + offset[i]);
                    for (Int m = 0; m < M; ++m) {
                        const vec difference = value - weight[i][m];
                        sum[i][m] += (SIGN ? sign(difference) : difference) *
                                     spread<L>(upstream[m] + t);
                    }
                }
                base += p.x.stride_w;
                t += p.g.values;
            }
        }
    }
    for (Int i = 0; i < filled_p; ++i)
        for (Int m = 0; m < filled_m; ++m)
            store(gw + index[i][m], load(gw + index[i][m]) + sum[i][m]);
}

template <Int L, bool SIGN>
void weight_tiles(const Plan &p, Int block, Int item, const float *x, const float *w,
                  const float *g, float *gw, Int count) {
    if (p.wide()) {
        const Int columns = ceil_div(p.out, ROWS);
        weight_tile<L, 1, ROWS, SIGN>(p, block, item / columns, item % columns * ROWS, x, w, g, gw,
                                      count);
    } else {
        weight_tile<L, NARROW, 1, SIGN>(p, block, item / p.out * NARROW, item % p.out, x, w, g, gw,
                                        count);
    }
}

}  // namespace

// `dims` holds the fields of Layer in order; `y` and `gx` are channel-last, weights as in PyTorch.

extern "C" void pyhw_adder_forward(const Int *dims, const float *x, const float *weight, float *y,
                                   Int threads) {
    const Plan p(*reinterpret_cast<const Layer *>(dims));
    const std::vector<float> packed = pack(p, weight, true, threads);
    if (p.terms() < WORTH_A_THREAD) threads = 1;
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> map(p.step * p.x.size);
#pragma omp for schedule(dynamic)
        for (Int item = 0; item < ceil_div(p.images, p.step) * p.blocks; ++item) {
            const Int block = item % p.blocks, first = item / p.blocks * p.step;
            const Int count = std::min(p.step, p.images - first);
            for (Int image = 0; image < count; ++image)
                gather(p, p.x, block, x + (first + image) * p.x_strides[0], p.x_strides + 1,
                       map.data() + image * p.x.size);
            const auto work = p.lanes == 1 ? forward_block<1> : forward_block<LANES>;
            work(p, block, map.data(), packed.data(), y + first * p.positions * p.outputs,
                 count * p.positions);
        }
    }
}

extern "C" void pyhw_adder_grad_input(const Int *dims, const float *x, const float *weight,
                                      const float *g, float *gx, Int threads) {
    const Plan p(*reinterpret_cast<const Layer *>(dims));
    const std::vector<float> packed = pack(p, weight, false, threads);
    const Int strides[] = {1, p.width * p.channels, p.channels};
    if (p.terms() < WORTH_A_THREAD) threads = 1;
#pragma omp parallel num_threads(threads)
    {
        // A vector may be read, though not used, past the end.
        std::vector<float> map(p.step * p.x.size + LANES), sums(map.size());
        std::vector<float> upstream(p.step * p.g.size);
#pragma omp for schedule(dynamic)
        for (Int item = 0; item < ceil_div(p.images, p.step) * p.blocks; ++item) {
            const Int block = item % p.blocks, first = item / p.blocks * p.step;
            const Int count = std::min(p.step, p.images - first);
            std::fill(sums.begin(), sums.end(), 0.0f);
            for (Int image = 0; image < count; ++image) {
                gather(p, p.x, block, x + (first + image) * p.x_strides[0], p.x_strides + 1,
                       map.data() + image * p.x.size);
                gather(p, p.g, block, g + (first + image) * p.g_strides[0], p.g_strides + 1,
                       upstream.data() + image * p.g.size);
            }
            const auto work = p.lanes == 1 ? input_block<1> : input_block<LANES>;
            work(p, block, map.data(), packed.data(), upstream.data(), sums.data(),
                 count * p.positions);
            for (Int image = 0; image < count; ++image)
                scatter(p, p.x, block, sums.data() + image * p.x.size, strides,
                        gx + (first + image) * p.height * p.width * p.channels);
        }
    }
}

extern "C" void pyhw_adder_grad_weight(const Int *dims, const float *x, const float *weight,
                                       const float *g, float *gw, Int use_sign, Int threads) {
    const Plan p(*reinterpret_cast<const Layer *>(dims));
    const std::vector<float> packed = pack(p, weight, false, threads);
    std::vector<float> sums(packed.size());
    const Int panels = p.panels.size();
    const Int tiles = p.wide() ? panels * ceil_div(p.out, ROWS) : ceil_div(panels, NARROW) * p.out;
    const Int both = p.blocks * (p.x.size + p.g.size);
    const Int chunk = std::max(Int(1), std::min(p.images, CHUNK / both));
    std::vector<float> map(p.blocks * chunk * p.x.size + LANES);
    std::vector<float> upstream(p.blocks * chunk * p.g.size);
    const auto dense = use_sign ? weight_tiles<1, true> : weight_tiles<1, false>;
    const auto side_by_side = use_sign ? weight_tiles<LANES, true> : weight_tiles<LANES, false>;
    const auto work = p.lanes == 1 ? dense : side_by_side;
    if (p.terms() < WORTH_A_THREAD) threads = 1;
#pragma omp parallel num_threads(threads)
    for (Int first = 0; first < p.images; first += chunk) {
        const Int count = std::min(chunk, p.images - first);
#pragma omp for schedule(dynamic)
        for (Int item = 0; item < count * p.blocks; ++item) {
            const Int block = item % p.blocks, image = item / p.blocks;
            const Int place = block * chunk + image;
            gather(p, p.x, block, x + (first + image) * p.x_strides[0], p.x_strides + 1,
                   map.data() + place * p.x.size);
            gather(p, p.g, block, g + (first + image) * p.g_strides[0], p.g_strides + 1,
                   upstream.data() + place * p.g.size);
        }
#pragma omp for schedule(dynamic)
        for (Int item = 0; item < p.blocks * tiles; ++item) {
            const Int block = item / tiles;
            work(p, block, item % tiles, map.data() + block * chunk * p.x.size, packed.data(),
                 upstream.data() + block * chunk * p.g.size, sums.data(), count);
        }
    }
    each_weight(p, false, threads, [&](Int from, Int to) { gw[to] = sums[from]; });
}

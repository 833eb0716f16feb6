// Sums of convolutions and post-processing for the executor, in integers, bit for bit as numpy has
// them (`pyhw.graph.terms`, `pyhw.graph.execute`).
//
// A convolution is a matrix product whose inner operation is a distance of bytes or a product of
// 16-bit numbers. Each image's map is narrowed and padded into a scratch map; windows of a few
// positions are unfolded into rows of K operands; weights lie as [block of 16 outputs][K / P][16][P]
// with P operands in a lane, so that a vector of weights meets one spread group of P operands and a
// lane is an output. Depthwise layers run along channels instead.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

using Int = std::int64_t;

namespace {

constexpr Int OUTPUTS = 16;  // of a block of weights
constexpr Int POSITIONS = 32;  // unfolded at a time
constexpr Int CHANNELS = 64;  // of a depthwise layer, summed at a time

// What a convolution reads and writes; the order is that of `Kernels._dims`.
struct Layer {
    Int images, height, width, channels;  // of the map as it is stored
    Int out_height, out_width, outputs, groups;
    Int kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x;
    Int top, left, bottom, right;
    Int shift, flip;  // operand = (value << shift) ^ flip
    Int padded_height() const { return top + height + bottom; }
    Int padded_width() const { return left + width + right; }
    Int in_group() const { return channels / groups; }
    Int taps() const { return kernel_y * kernel_x; }
};

struct Distance {
    using Operand = std::uint8_t;
    static constexpr Int PACK = 8;
    static std::int32_t term(std::int32_t x, std::int32_t w) { return x < w ? x - w : w - x; }
};

struct Product {
    using Operand = std::int16_t;
    static constexpr Int PACK = 2;
    static std::int32_t term(std::int32_t x, std::int32_t w) { return x * w; }
};

// Sixteen sums: each lane adds the terms of PACK operands. ROWS of them are summed side by side.
template <class Term> struct Sums : Term {
    using typename Term::Operand;
    static constexpr Int ROWS = 2;
    std::int32_t sums[OUTPUTS];
    void clear() { std::memset(sums, 0, sizeof sums); }
    void add(const Operand *x, const Operand *w) {
        for (Int i = 0; i < OUTPUTS; i++)
            for (Int k = 0; k < Term::PACK; k++)
                sums[i] += Term::term(x[k], w[i * Term::PACK + k]);
    }
    void store(std::int32_t *out) const { std::memcpy(out, sums, sizeof sums); }
};

#if defined(__AVX512BW__)

// Distances are added up without their sign.
template <> struct Sums<Distance> : Distance {
    static constexpr Int ROWS = 8;
    __m512i low, high;
    void clear() { low = high = _mm512_setzero_si512(); }
    void add(const Operand *x, const Operand *w) {
        std::int64_t word;
        std::memcpy(&word, x, 8);
        const __m512i spread = _mm512_set1_epi64(word);
        low = _mm512_add_epi64(low, _mm512_sad_epu8(spread, _mm512_loadu_si512(w)));
        high = _mm512_add_epi64(high, _mm512_sad_epu8(spread, _mm512_loadu_si512(w + 64)));
    }
    void store(std::int32_t *out) const {
        const __m512i zero = _mm512_setzero_si512();
        auto *target = reinterpret_cast<__m256i *>(out);
        _mm256_storeu_si256(target, _mm512_cvtepi64_epi32(_mm512_sub_epi64(zero, low)));
        _mm256_storeu_si256(target + 1, _mm512_cvtepi64_epi32(_mm512_sub_epi64(zero, high)));
    }
};

template <> struct Sums<Product> : Product {
    static constexpr Int ROWS = 8;
    __m512i sum;
    void clear() { sum = _mm512_setzero_si512(); }
    void add(const Operand *x, const Operand *w) {
        std::int32_t word;
        std::memcpy(&word, x, 4);
        const __m512i products = _mm512_madd_epi16(_mm512_set1_epi32(word), _mm512_loadu_si512(w));
        sum = _mm512_add_epi32(sum, products);
    }
    void store(std::int32_t *out) const { _mm512_storeu_si512(out, sum); }
};

#elif defined(__AVX2__)

// Distances are added up without their sign.
template <> struct Sums<Distance> : Distance {
    static constexpr Int ROWS = 2;
    __m256i sums[4];
    void clear() { for (auto &sum : sums) sum = _mm256_setzero_si256(); }
    void add(const Operand *x, const Operand *w) {
        std::int64_t word;
        std::memcpy(&word, x, 8);
        const __m256i spread = _mm256_set1_epi64x(word);
        for (Int i = 0; i < 4; i++) {
            const __m256i weights = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(w) + i);
            sums[i] = _mm256_add_epi64(sums[i], _mm256_sad_epu8(spread, weights));
        }
    }
    void store(std::int32_t *out) const {
        std::int64_t wide[16];
        std::memcpy(wide, sums, sizeof wide);
        for (Int i = 0; i < 16; i++) out[i] = std::int32_t(-wide[i]);
    }
};

template <> struct Sums<Product> : Product {
    static constexpr Int ROWS = 4;
    __m256i low, high;
    void clear() { low = high = _mm256_setzero_si256(); }
    void add(const Operand *x, const Operand *w) {
        std::int32_t word;
        std::memcpy(&word, x, 4);
        const __m256i spread = _mm256_set1_epi32(word);
        const auto *weights = reinterpret_cast<const __m256i *>(w);
        low = _mm256_add_epi32(low, _mm256_madd_epi16(spread, _mm256_loadu_si256(weights)));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(spread, _mm256_loadu_si256(weights + 1)));
    }
    void store(std::int32_t *out) const {
        auto *target = reinterpret_cast<__m256i *>(out);
        _mm256_storeu_si256(target, low);
        _mm256_storeu_si256(target + 1, high);
    }
};

#endif

Int rounded(Int value, Int step) { return (value + step - 1) / step * step; }

// Narrow one image into a map that has its border.
template <class Operand>
void narrow(const Layer &layer, const Int *image, const Int *border, Operand *map) {
    const auto operand = [&](Int v) { return Operand((v << layer.shift) ^ layer.flip); };
    const Int row = layer.padded_width() * layer.channels;
    for (Int y = 0; y < layer.padded_height(); y++, map += row) {
        const bool inside = y >= layer.top && y < layer.top + layer.height;
        for (Int x = 0; x < layer.padded_width(); x++) {
            if (inside && x >= layer.left && x < layer.left + layer.width) continue;
            for (Int c = 0; c < layer.channels; c++)
                map[x * layer.channels + c] = operand(border[c]);
        }
        if (!inside) continue;
        const Int size = layer.width * layer.channels;
        const Int *values = image + (y - layer.top) * size;
        Operand *target = map + layer.left * layer.channels;
        for (Int i = 0; i < size; i++) target[i] = operand(values[i]);
    }
}

// Where the window of an output position begins.
Int window(const Layer &layer, Int position) {
    const Int y = position / layer.out_width * layer.stride_y;
    const Int x = position % layer.out_width * layer.stride_x;
    return (y * layer.padded_width() + x) * layer.channels;
}

template <class Operand>
void unfold(const Layer &layer, const Operand *base, Int group, Operand *row) {
    const Int size = layer.in_group(), line = layer.padded_width() * layer.channels;
    for (Int ky = 0; ky < layer.kernel_y; ky++) {
        const Operand *source = base + ky * layer.dilation_y * line + group * size;
        if (layer.groups == 1 && layer.dilation_x == 1) {
            std::memcpy(row, source, layer.kernel_x * size * sizeof(Operand));
            row += layer.kernel_x * size;
            continue;
        }
        for (Int kx = 0; kx < layer.kernel_x; kx++, row += size)
            std::memcpy(row, source + kx * layer.dilation_x * layer.channels,
                        size * sizeof(Operand));
    }
}

// Sum COUNT rows with one block of weights.
template <class Term, Int COUNT>
void tile(const typename Term::Operand *rows, Int length, const typename Term::Operand *weights,
          std::int32_t (*out)[OUTPUTS]) {
    Sums<Term> sums[COUNT];
#pragma GCC unroll 8
    for (Int p = 0; p < COUNT; p++) sums[p].clear();
    for (Int k = 0; k < length; k += Term::PACK, weights += OUTPUTS * Term::PACK) {
#pragma GCC unroll 8
        for (Int p = 0; p < COUNT; p++) sums[p].add(rows + p * length + k, weights);
    }
#pragma GCC unroll 8
    for (Int p = 0; p < COUNT; p++) sums[p].store(out[p]);
}

template <class Term>
void dense(const Layer &layer, const typename Term::Operand *map,
           const typename Term::Operand *weights, std::int32_t *out) {
    using Operand = typename Term::Operand;
    const Int length = rounded(layer.taps() * layer.in_group(), Term::PACK);
    const Int per_group = layer.outputs / layer.groups, blocks = rounded(per_group, OUTPUTS);
    const Int positions = layer.out_height * layer.out_width;
    std::vector<Operand> rows(POSITIONS * length);  // what pads a row stays 0
    constexpr Int ROWS = Sums<Term>::ROWS;
    std::int32_t sums[ROWS][OUTPUTS];
    for (Int group = 0; group < layer.groups; group++) {
        const Operand *own = weights + group * blocks * length;
        for (Int first = 0; first < positions; first += POSITIONS) {
            const Int count = std::min(POSITIONS, positions - first);
            for (Int p = 0; p < count; p++)
                unfold(layer, map + window(layer, first + p), group, rows.data() + p * length);
            for (Int o = 0; o < per_group; o += OUTPUTS) {
                const Int wide = std::min(OUTPUTS, per_group - o);
                for (Int p = 0; p < count;) {
                    const Int left = count - p, done = left >= ROWS ? ROWS : 1;
                    const Operand *row = rows.data() + p * length, *block = own + o * length;
                    if (done > 1) tile<Term, ROWS>(row, length, block, sums);
                    else tile<Term, 1>(row, length, block, sums);
                    for (Int i = 0; i < done; i++)
                        std::copy_n(sums[i], wide, out + (first + p + i) * layer.outputs
                                                       + group * per_group + o);
                    p += done;
                }
            }
        }
    }
}

// Sum the taps of `count` channels at one position; weights are [tap][channel].
template <class Term>
void channels_of(const Layer &layer, const typename Term::Operand *map,
                 const typename Term::Operand *weights, Int count, std::int32_t *out) {
    std::int32_t sums[CHANNELS] = {};
    for (Int ky = 0; ky < layer.kernel_y; ky++)
        for (Int kx = 0; kx < layer.kernel_x; kx++, weights += layer.channels) {
            const Int row = ky * layer.dilation_y * layer.padded_width();
            const auto *x = map + (row + kx * layer.dilation_x) * layer.channels;
            if (count == CHANNELS)
                for (Int c = 0; c < CHANNELS; c++) sums[c] += Term::term(x[c], weights[c]);
            else
                for (Int c = 0; c < count; c++) sums[c] += Term::term(x[c], weights[c]);
        }
    std::copy_n(sums, count, out);
}

// One kernel a channel: the loops run along channels.
template <class Term>
void depthwise(const Layer &layer, const typename Term::Operand *map,
               const typename Term::Operand *weights, std::int32_t *out) {
    for (Int position = 0; position < layer.out_height * layer.out_width; position++)
        for (Int c = 0; c < layer.channels; c += CHANNELS)
            channels_of<Term>(layer, map + window(layer, position) + c, weights + c,
                              std::min(CHANNELS, layer.channels - c),
                              out + position * layer.channels + c);
}

template <class Term>
void convolution(const Int *dims, const Int *images, const Int *border,
                 const typename Term::Operand *weights, std::int32_t *out) {
    Layer layer;
    std::memcpy(&layer, dims, sizeof layer);
    const Int size = layer.padded_height() * layer.padded_width() * layer.channels;
    std::vector<typename Term::Operand> map(size);
    const bool alone = layer.groups > 1 && layer.groups == layer.channels
                       && layer.groups == layer.outputs;  // as `Conv.depthwise`
    for (Int n = 0; n < layer.images; n++) {
        narrow(layer, images, border, map.data());
        if (alone) depthwise<Term>(layer, map.data(), weights, out);
        else dense<Term>(layer, map.data(), weights, out);
        images += layer.height * layer.width * layer.channels;
        out += layer.out_height * layer.out_width * layer.outputs;
    }
}

// One step of post-processing: clamp((v m + res r + add) >> shift); multiplications stand for the
// sums of shifts that they equal.
struct Step {
    const Int *m, *add, *shift, *r;
    Int low, high;
};

template <class Sum>
void post(Int count, Int channels, const Sum *sums, const Step &first, const Int *residual,
          const Int *table, const Step *second, const Int *residual2, Int *out) {
    for (Int row = 0; row < count; row++, sums += channels, out += channels) {
        for (Int c = 0; c < channels; c++) {
            Int v = Int(sums[c]) * first.m[c] + first.add[c];
            if (residual) v += residual[c] * first.r[c];
            v >>= first.shift[c];
            out[c] = std::min(std::max(v, first.low), first.high);
        }
        if (table)
            for (Int c = 0; c < channels; c++) out[c] = table[out[c] & 0xff];
        if (second)
            for (Int c = 0; c < channels; c++) {
                Int v = out[c] * second->m[c] + second->add[c];
                if (residual2) v += residual2[c] * second->r[c];
                v >>= second->shift[c];
                out[c] = std::min(std::max(v, second->low), second->high);
            }
        if (residual) residual += channels;
        if (residual2) residual2 += channels;
    }
}

template <class Sum>
void post_all(const Int *dims, const Sum *sums, const Int *first, const Int *residual,
              const Int *table, const Int *second, const Int *residual2, Int *out) {
    // dims: rows, channels, then the ends of both steps' formats; a step's arrays: m, add, shift, r.
    const Int channels = dims[1];
    const auto step = [&](const Int *arrays, Int low, Int high) {
        return Step{arrays, arrays + channels, arrays + 2 * channels, arrays + 3 * channels,
                    low, high};
    };
    const Step one = step(first, dims[2], dims[3]), two = step(second, dims[4], dims[5]);
    post(dims[0], channels, sums, one, residual, table, second ? &two : nullptr, residual2, out);
}

}  // namespace

extern "C" {

void pyhw_distances(const Int *dims, const Int *images, const Int *border,
                    const std::uint8_t *weights, std::int32_t *out) {
    convolution<Distance>(dims, images, border, weights, out);
}

void pyhw_products(const Int *dims, const Int *images, const Int *border,
                   const std::int16_t *weights, std::int32_t *out) {
    convolution<Product>(dims, images, border, weights, out);
}

void pyhw_post32(const Int *dims, const std::int32_t *sums, const Int *first, const Int *residual,
                 const Int *table, const Int *second, const Int *residual2, Int *out) {
    post_all(dims, sums, first, residual, table, second, residual2, out);
}

void pyhw_post64(const Int *dims, const Int *sums, const Int *first, const Int *residual,
                 const Int *table, const Int *second, const Int *residual2, Int *out) {
    post_all(dims, sums, first, residual, table, second, residual2, out);
}
}

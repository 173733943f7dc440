// The weights of a layer on an interval, what samples hold there, and products summed in parts of CHUNK.
#pragma once
#include <limits>
#include <vector>
#include "product.h"

namespace {

constexpr bool SINGLE = sizeof(real) == 4;
constexpr int64_t SIDE = 64;  // samples at a time: what two layers hold stays in the second-level cache
constexpr int64_t CHUNK = 16;
constexpr int64_t SPARE = 4;
constexpr double LARGE = SINGLE ? 0x1p60 : 0x1p400;
constexpr double LOST = SINGLE ? 0x1p-60 : 0x1p-900;
// What the largest weight is raised by, of |first| + |last|, so that κ of it is more than rounding of a weight.
constexpr double RAISED = SINGLE ? 0x1p-26 : 0x1p-11;
constexpr double LEAST = SINGLE ? 0 : 0x1p-38;  // of κ, to the same end
constexpr double MISSED = SINGLE ? 0x1p-60 : 0x1p-500;  // numbers that squares may leave out
constexpr double INFINITE = std::numeric_limits<double>::infinity();

static_assert(SIDE % (COLUMNS * LANES) == 0);

real up(double value) { return static_cast<real>(value * (1 + 4 * 0x1p-24)); }

// A layer's weights on one interval: at both ends, their slope, and no less than their absolute values.
struct Moving {
  int64_t inputs = 0, outputs = 0;
  std::vector<real> minus, plus, slope, steep, largest, bias_minus, bias_plus, bias_lost;  // steep: |slope|
  std::vector<real> norm, row;  // of each output's slope, and of its weights, the larger end of each
  double spread = 0;            // the root of the sum of squares of all weights
  bool fits = true;

  void resize(int64_t in, int64_t out) {
    inputs = in, outputs = out, fits = true;
    for (auto* each : {&minus, &plus, &slope, &steep, &largest}) each->resize(in * out);
    for (auto* each : {&bias_minus, &bias_plus, &bias_lost, &norm, &row}) each->resize(out);
    spread = 0;
  }
  void set(int64_t place, double first, double last, double low, double high) {
    const double step = last - first, size = std::abs(first) + std::abs(last);
    const double a = first + low * step, b = first + high * step;
    minus[place] = static_cast<real>(a), plus[place] = static_cast<real>(b);
    slope[place] = static_cast<real>((high - low) / 2 * step);
    steep[place] = std::abs(slope[place]);
    largest[place] = up(std::max(std::abs(a), std::abs(b)) + RAISED * size);
    fits = fits && size <= LARGE;
  }
  void set_bias(int64_t at, double first, double last, double low, double high, double unit) {
    double squares = 0, whole = 0;
    for (int64_t k = at * inputs; k < (at + 1) * inputs; ++k) {
      squares += double(slope[k]) * slope[k];
      whole += double(largest[k]) * largest[k];
    }
    norm[at] = up(std::sqrt(squares) + MISSED * inputs);
    row[at] = up(std::sqrt(whole) + MISSED * inputs);
    spread = std::hypot(spread, row[at]) * (1 + 0x1p-40);
    bias_minus[at] = static_cast<real>(first + low * (last - first));
    bias_plus[at] = static_cast<real>(first + high * (last - first));
    bias_lost[at] = up(8 * unit * (std::abs(first) + std::abs(last)) + LOST * (inputs + 8));
    fits = fits && std::abs(first) + std::abs(last) <= LARGE;
  }
};

// What samples hold, (width, SIDE) each: values at both ends, half their difference, and the radius.
struct Held {
  std::vector<real> minus, plus, top, radius;
  void resize(int64_t width) {
    for (auto* each : {&minus, &plus, &top, &radius}) each->resize(width * SIDE);
  }
};

template <int M>
void tile(const real* a, const real* b, real* c, int64_t depth) {
  for (int64_t begin = 0; begin < depth; begin += CHUNK) {
    vec sums[M][COLUMNS] = {};
    for (int64_t k = begin; k < std::min(begin + CHUNK, depth); ++k)
      for (int n = 0; n < COLUMNS; ++n) {
        const vec line = load(b + k * SIDE + n * LANES);
        for (int m = 0; m < M; ++m) sums[m][n] += a[m * depth + k] * line;
      }
    for (int m = 0; m < M; ++m)
      for (int n = 0; n < COLUMNS; ++n) {
        real* to = c + m * SIDE + n * LANES;
        store(to, begin ? load(to) + sums[m][n] : sums[m][n]);
      }
  }
}

template <int M = ROWS>
void rows_of(const real* a, const real* b, real* c, int64_t depth, int64_t rows) {
  if constexpr (M > 1)
    if (rows < M) return rows_of<M - 1>(a, b, c, depth, rows);
  tile<M>(a, b, c, depth);
}

// c (rows, SIDE) = a (rows, depth) b (depth, SIDE), in sums of sums of CHUNK.
void multiply_chunks(const real* a, const real* b, real* c, int64_t rows, int64_t depth) {
  for (int64_t column = 0; column < SIDE; column += COLUMNS * LANES)
    for (int64_t row = 0; row < rows; row += ROWS)
      rows_of(a + row * depth, b + column, c + row * SIDE + column, depth, std::min<int64_t>(ROWS, rows - row));
}

}  // namespace

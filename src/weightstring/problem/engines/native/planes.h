// Convolutions and pooling. Planes lie as (height * width, channels, samples): what is at one place lies together.
#pragma once
#include <vector>
#include "product.h"

namespace {

struct Plane {
  int64_t channels, height, width;
};

struct Window {
  int64_t height, width, down, along, top, left;  // its size, its steps, and the zeros before the plane

  int64_t size() const { return height * width; }
};

struct Planes {
  Plane from, to;
  Window window;

  int64_t weights() const { return to.channels * from.channels * window.size(); }
};

struct Range {
  int64_t first, last;
};

// Of a window's `size` places those that lie on a line of `length`, where it begins at `start`.
inline Range inside(int64_t start, int64_t size, int64_t length) {
  return {std::max<int64_t>(0, -start), std::min(size, length - start)};
}

// Weights (to, from, window) as (window, from, to).
void pack(const Planes& p, const real* weights, real* packed) {
  constexpr int64_t SIDE = 16;
  const int64_t taps = p.window.size(), from = p.from.channels, to = p.to.channels;
  for (int64_t first = 0; first < to; first += SIDE)
    for (int64_t j = 0; j < from; ++j)
      for (int64_t tap = 0; tap < taps; ++tap)
        for (int64_t i = first; i < std::min(first + SIDE, to); ++i)
          packed[(tap * from + j) * to + i] = weights[(i * from + j) * taps + tap];
}

// At each place one product for each place of the window that lies on the plane.
void convolve(const Planes& p, const real* packed, const real* bias, const real* from, real* to, int64_t used) {
  const Window& w = p.window;
  const int64_t in = p.from.channels, out = p.to.channels;
  std::vector<Factors> parts(w.size());
  for (int64_t y = 0; y < p.to.height; ++y) {
    const int64_t top = y * w.down - w.top;
    const Range rows = inside(top, w.height, p.from.height);
    for (int64_t x = 0; x < p.to.width; ++x) {
      const int64_t left = x * w.along - w.left;
      const Range columns = inside(left, w.width, p.from.width);
      int64_t count = 0;
      for (int64_t i = rows.first; i < rows.last; ++i)
        for (int64_t j = columns.first; j < columns.last; ++j)
          parts[count++] = {packed + (i * w.width + j) * in * out,
                            from + ((top + i) * p.from.width + left + j) * in * used};
      multiply({nullptr, 1, out, nullptr, used, to + (y * p.to.width + x) * out * used, used, out, used, in,
                bias ? Begin::bias : Begin::nothing, bias, parts.data(), count});
    }
  }
}

// Where along an axis a window must begin so that its place `i` lies at `place`; -1: nowhere.
inline int64_t reached(int64_t place, int64_t i, int64_t padding, int64_t step, int64_t length) {
  const int64_t start = place + padding - i;
  return start >= 0 && start % step == 0 && start / step < length ? start / step : -1;
}

// The slopes with respect to what was convolved.
void convolve_back(const Planes& p, const real* packed, const real* slopes, real* before, int64_t used) {
  const Window& w = p.window;
  const int64_t in = p.from.channels, out = p.to.channels;
  std::vector<Factors> parts(w.size());
  for (int64_t y = 0; y < p.from.height; ++y)
    for (int64_t x = 0; x < p.from.width; ++x) {
      int64_t count = 0;
      for (int64_t i = 0; i < w.height; ++i) {
        const int64_t row = reached(y, i, w.top, w.down, p.to.height);
        for (int64_t j = 0; row >= 0 && j < w.width; ++j) {
          const int64_t column = reached(x, j, w.left, w.along, p.to.width);
          if (column < 0) continue;
          parts[count++] = {packed + (i * w.width + j) * in * out, slopes + (row * p.to.width + column) * out * used};
        }
      }
      multiply({nullptr, out, 1, nullptr, used, before + (y * p.from.width + x) * in * used, used, in, used, out,
                Begin::nothing, nullptr, parts.data(), count});
    }
}

constexpr int LEFT = BYTES == 64 ? 6 : 3, RIGHT = 4;  // channels on either side of a tile of a weight's gradient
constexpr int64_t SUMS = LEFT * RIGHT * LANES;        // numbers that a tile sums for one place of the window

// The gradient of the weights between M channels and N: sums over places and samples, lane by lane, a row at a time.
template <int M, int N>
void correlate_tile(const Planes& p, int64_t out, int64_t in, const real* slopes, const real* from, int64_t used,
                    real* sums, real* gradient, bool add) {
  const Window& w = p.window;
  const int64_t taps = w.size(), ins = p.from.channels, outs = p.to.channels;
  std::fill_n(sums, taps * M * N * LANES, real(0));
  for (int64_t y = 0; y < p.to.height; ++y) {
    const int64_t top = y * w.down - w.top;
    const Range rows = inside(top, w.height, p.from.height);
    for (int64_t i = rows.first; i < rows.last; ++i)
      for (int64_t j = 0; j < w.width; ++j) {
        real* kept = sums + (i * w.width + j) * M * N * LANES;
        vec own[M][N];
        for (int m = 0; m < M; ++m)
          for (int n = 0; n < N; ++n) own[m][n] = load(kept + (m * N + n) * LANES);
        for (int64_t x = 0; x < p.to.width; ++x) {
          const int64_t column = x * w.along - w.left + j;
          if (column < 0 || column >= p.from.width) continue;
          const real* a = slopes + ((y * p.to.width + x) * outs + out) * used;
          const real* b = from + (((top + i) * p.from.width + column) * ins + in) * used;
          for (int64_t k = 0; k < used; k += LANES) {
            vec right[N];
            for (int n = 0; n < N; ++n) right[n] = load(b + n * used + k);
            for (int m = 0; m < M; ++m) {
              const vec left = load(a + m * used + k);
              for (int n = 0; n < N; ++n) own[m][n] += left * right[n];
            }
          }
        }
        for (int m = 0; m < M; ++m)
          for (int n = 0; n < N; ++n) store(kept + (m * N + n) * LANES, own[m][n]);
      }
  }
  for (int64_t tap = 0; tap < taps; ++tap)
    for (int m = 0; m < M; ++m)
      for (int n = 0; n < N; ++n) {
        real& place = gradient[((out + m) * ins + in + n) * taps + tap];
        place = sum(load(sums + ((tap * M + m) * N + n) * LANES)) + (add ? place : 0);
      }
}

template <int M, int N, class... Rest>
void correlate_some(int64_t outs, int64_t ins, const Rest&... rest) {
  if constexpr (M > 1)
    if (outs < M) return correlate_some<M - 1, N>(outs, ins, rest...);
  if constexpr (N > 1)
    if (ins < N) return correlate_some<M, N - 1>(outs, ins, rest...);
  correlate_tile<M, N>(rest...);
}

// Write, or add, the gradient of the weights (to, from, window).
void correlate(const Planes& p, const real* slopes, const real* from, int64_t used, real* sums, real* gradient,
               bool add) {
  const int64_t outs = p.to.channels, ins = p.from.channels;
  for (int64_t out = 0; out < outs; out += LEFT)
    for (int64_t in = 0; in < ins; in += RIGHT)
      correlate_some<LEFT, RIGHT>(outs - out, ins - in, p, out, in, slopes, from, used, sums, gradient, add);
}

// The first of the largest numbers in a window, a number that is none before all others.
inline ivec larger(vec one, vec best) { return (one > best) | (one != one); }

// The largest numbers, or the means, of windows that lie on the plane.
template <bool LARGEST_ONE>
void pool(const Planes& p, const real* from, real* to, int64_t used) {
  const Window& w = p.window;
  const int64_t line = p.from.channels * used;
  const real share = real(1) / w.size();
  for (int64_t y = 0; y < p.to.height; ++y)
    for (int64_t x = 0; x < p.to.width; ++x, to += line) {
      const real* first = from + (y * w.down * p.from.width + x * w.along) * line;
      for (int64_t k = 0; k < line; k += LANES) {
        vec found = load(first + k);
        for (int64_t tap = 1; tap < w.size(); ++tap) {
          const vec one = load(first + (tap / w.width * p.from.width + tap % w.width) * line + k);
          if constexpr (LARGEST_ONE)
            found = larger(one, found) ? one : found;
          else
            found += one;
        }
        store(to + k, LARGEST_ONE ? found : found * share);
      }
    }
}

// The slopes with respect to what was pooled.
template <bool LARGEST_ONE>
void pool_back(const Planes& p, const real* from, const real* slopes, real* before, int64_t used) {
  const Window& w = p.window;
  const int64_t line = p.from.channels * used;
  const real share = real(1) / w.size();
  std::fill_n(before, p.from.height * p.from.width * line, real(0));
  for (int64_t y = 0; y < p.to.height; ++y)
    for (int64_t x = 0; x < p.to.width; ++x, slopes += line) {
      const int64_t first = (y * w.down * p.from.width + x * w.along) * line;
      for (int64_t k = 0; k < line; k += LANES) {
        const vec given = load(slopes + k), zero = {};
        vec best = load(from + first + k);
        ivec owner = {};
        for (int64_t tap = 1; LARGEST_ONE && tap < w.size(); ++tap) {
          const vec one = load(from + first + (tap / w.width * p.from.width + tap % w.width) * line + k);
          const ivec found = larger(one, best);
          best = found ? one : best;
          owner = found ? ivec{} + static_cast<integer>(tap) : owner;
        }
        for (int64_t tap = 0; tap < w.size(); ++tap) {
          real* place = before + first + (tap / w.width * p.from.width + tap % w.width) * line + k;
          const vec part = LARGEST_ONE ? (owner == static_cast<integer>(tap) ? given : zero) : given * share;
          store(place, load(place) + part);
        }
      }
    }
}

// A matrix (rows, columns) of lines of samples as (columns, rows).
void turn(const real* from, int64_t rows, int64_t columns, real* to, int64_t used) {
  for (int64_t column = 0; column < columns; ++column)
    for (int64_t row = 0; row < rows; ++row, to += used) std::copy_n(from + (row * columns + column) * used, used, to);
}

}  // namespace

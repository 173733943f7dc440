// Products of matrices by tiles of sums that stay in registers.
//
// Every element is summed over the depth in order, whatever the tile: what is computed of one does not depend on the
// sizes around it.
#pragma once
#include <algorithm>
#include "vectors.h"

enum class Begin { nothing, bias, sum };  // what a sum begins with: 0, its row's bias, or what is there

struct Factors {
  const real *a, *b;
};

// C (rows, columns) = A B with A at [row * down + step * along], B (depth, columns), lines of B and C contiguous; with
// `parts` the sum of several such products.
struct Product {
  const real* a;
  int64_t down, along;
  const real* b;
  int64_t b_line;
  real* c;
  int64_t c_line;
  int64_t rows, columns, depth;
  Begin begin = Begin::nothing;
  const real* bias = nullptr;
  const Factors* parts = nullptr;
  int64_t count = 1;
};

template <int M, int N>
static void tile(const Product& p, int64_t row, int64_t column, real* c, int64_t c_line) {
  vec sums[M][N];
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n)
      sums[m][n] = p.begin == Begin::sum    ? load(c + m * c_line + n * LANES)
                   : p.begin == Begin::bias ? all(p.bias[row + m])
                                            : vec{};
  for (int64_t i = 0; i < p.count; ++i) {
    const real* a = (p.parts ? p.parts[i].a : p.a) + row * p.down;
    const real* b = (p.parts ? p.parts[i].b : p.b) + column;
    for (int64_t k = 0; k < p.depth; ++k, a += p.along, b += p.b_line) {
      vec line[N];
      for (int n = 0; n < N; ++n) line[n] = load(b + n * LANES);
      for (int m = 0; m < M; ++m)
        for (int n = 0; n < N; ++n) sums[m][n] += a[m * p.down] * line[n];
    }
  }
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) store(c + m * c_line + n * LANES, sums[m][n]);
}

template <int M, int N>
static void tile_of(const Product& p, int64_t row, int64_t column, int rows) {
  if constexpr (M > 1)
    if (rows < M) return tile_of<M - 1, N>(p, row, column, rows);
  real* c = p.c + row * p.c_line + column;
  const int64_t inside = p.columns - column;
  if (inside >= N * LANES) return tile<M, N>(p, row, column, c, p.c_line);
  real part[M * N * LANES];  // the last columns do not fill a vector
  for (int m = 0; m < M; ++m)
    for (int64_t n = 0; n < N * LANES; ++n) part[m * N * LANES + n] = n < inside ? c[m * p.c_line + n] : 0;
  tile<M, N>(p, row, column, part, N * LANES);
  for (int m = 0; m < M; ++m) std::copy_n(part + m * N * LANES, inside, c + m * p.c_line);
}

template <int N>
static void columns_of(const Product& p, int64_t column) {
  const int64_t tiles = (p.rows + ROWS - 1) / ROWS;
  for (int64_t i = 0; i < tiles; ++i) {  // of sizes as equal as can be
    const int64_t first = i * p.rows / tiles, last = (i + 1) * p.rows / tiles;
    tile_of<ROWS, N>(p, first, column, static_cast<int>(last - first));
  }
}

static void multiply(const Product& p) {
  int64_t column = 0;
  for (; column + (COLUMNS - 1) * LANES < p.columns; column += COLUMNS * LANES) columns_of<COLUMNS>(p, column);
  for (; column < p.columns; column += LANES) columns_of<1>(p, column);
}

// C (rows, columns) = A Bᵀ, summed over whole vectors of both: for few columns.
static void multiply_rows(const real* a, const real* b, int64_t line, real* c, int64_t rows, int64_t columns, bool add) {
  for (int64_t n = 0; n < columns; ++n) {
    int64_t m = 0;
    for (; m + 4 <= rows; m += 4) {
      vec sums[4] = {};
      for (int64_t k = 0; k < line; k += LANES) {
        const vec right = load(b + n * line + k);
        for (int i = 0; i < 4; ++i) sums[i] += load(a + (m + i) * line + k) * right;
      }
      for (int i = 0; i < 4; ++i) c[(m + i) * columns + n] = sum(sums[i]) + (add ? c[(m + i) * columns + n] : 0);
    }
    for (; m < rows; ++m) {
      vec total = {};
      for (int64_t k = 0; k < line; k += LANES) total += load(a + m * line + k) * load(b + n * line + k);
      c[m * columns + n] = sum(total) + (add ? c[m * columns + n] : 0);
    }
  }
}

// to (columns, to_line) = fromᵀ (rows, from_line).
static void transpose(const real* from, int64_t from_line, int64_t rows, int64_t columns, real* to, int64_t to_line) {
  constexpr int64_t SIDE = 16;
  for (int64_t r = 0; r < rows; r += SIDE)
    for (int64_t c = 0; c < columns; c += SIDE)
      for (int64_t j = c; j < std::min(c + SIDE, columns); ++j)
        for (int64_t i = r; i < std::min(r + SIDE, rows); ++i) to[j * to_line + i] = from[i * from_line + j];
}

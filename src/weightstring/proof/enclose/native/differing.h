// What a first layer makes of samples most of whose inputs are the usual ones, as an image's background.
#pragma once
#include <vector>
#include "vectors.h"

namespace {

typedef double wide __attribute__((vector_size(BYTES)));
typedef double loose_wide __attribute__((vector_size(BYTES), aligned(8), may_alias));

constexpr int64_t TILE = 64;  // outputs whose sums stay in registers; there is a whole number of such tiles
constexpr int64_t PARTS = TILE * 8 / BYTES;

struct Differing {
  const float* inputs;    // (N, depth)
  const double* usual;    // (depth,)
  const double* weight;   // (depth, outputs)
  const double* whole;    // (outputs,): of the usual inputs
  int64_t count, depth, outputs;
};

// (N, outputs) into lines of `line` numbers: sums in float64 over the inputs that differ.
void of_differing(const Differing& of, real* to, int64_t line) {
  constexpr int64_t TOGETHER = 64;
  std::vector<int64_t> places(TOGETHER * of.depth), ends(TOGETHER);
  std::vector<double> by(TOGETHER * of.depth);
  for (int64_t first = 0; first < of.count; first += TOGETHER) {
    const int64_t samples = std::min(TOGETHER, of.count - first);
    for (int64_t i = 0, found = 0; i < samples; ++i) {
      for (int64_t k = 0; k < of.depth; ++k) {
        places[found] = k, by[found] = of.inputs[(first + i) * of.depth + k] - of.usual[k];
        found += by[found] != 0;
      }
      ends[i] = found;
    }
    for (int64_t column = 0; column < of.outputs; column += TILE)
      for (int64_t i = 0; i < samples; ++i) {
        wide sums[PARTS];
        for (int p = 0; p < PARTS; ++p) sums[p] = reinterpret_cast<const loose_wide*>(of.whole + column)[p];
        for (int64_t n = i ? ends[i - 1] : 0; n < ends[i]; ++n) {
          const auto* row = reinterpret_cast<const loose_wide*>(of.weight + places[n] * of.outputs + column);
          for (int p = 0; p < PARTS; ++p) sums[p] += by[n] * row[p];
        }
        for (int64_t m = 0; m < std::min(TILE, line - column); ++m)
          to[(first + i) * line + column + m] = static_cast<real>(sums[m * 8 / BYTES][m % (BYTES / 8)]);
      }
  }
}

}  // namespace

// Errors whose directions are known: an activation lies within Σ ξ_j g_j(σ) ± E of its line, each ξ_j in [−1, 1] and the
// same in all layers, each generator g_j a line in σ. What layers make of a generator is exact but for the product of
// both slopes, where |W| makes of E the worst of all directions.
#pragma once
#include "moving.h"

namespace {

struct Line {
  std::vector<real> minus, plus;
};

// What samples hold of one array, (width, SIDE) each. The first line is that of ξ = 2σ² − 1, which all samples and
// layers have in common; each other is, of each sample, that of one unit whose sign is open.
struct Generators {
  std::vector<Line> lines;
  std::vector<real> minus, plus;  // Σ|g| at both ends
  std::vector<real> moved;        // Σ|g(1) − g(−1)| / 2
  void resize(int64_t count, int64_t width) {
    lines.resize(count);
    for (auto* each : {&minus, &plus, &moved}) each->resize(width * SIDE);
    for (Line& line : lines) line.minus.resize(width * SIDE), line.plus.resize(width * SIDE);
  }
};

// A unit whose sign is open: half the height of its band is a generator of its own.
struct Open {
  int64_t line, place;
  real half;
};

}  // namespace

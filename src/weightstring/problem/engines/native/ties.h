// Models that have to do with each other: of a string, held on the hyperplanes between their neighbours, as
// descent/constraint.py has it; or control points of a curve that follow the gradients at points of it.
#pragma once
#include "steps.h"

namespace {

struct Tie {
  real* string;  // all models, a line each
  int64_t line;
  const int64_t* places;  // of those that move
};

struct Blend {
  Tie tie;                 // the control points; those that move
  int64_t models, points;  // control points, and points of each step
  const double* weights;   // of each control point in each point of each step
};

// The sum of part(i), in float64.
template <typename Part>
double total(int64_t size, Part part) {
  constexpr int64_t BESIDE = 16;
  double sums[BESIDE] = {};
  int64_t i = 0;
  for (; i + BESIDE <= size; i += BESIDE)
    for (int64_t j = 0; j < BESIDE; ++j) sums[j] += part(i + j);
  for (int64_t j = 0; i < size; ++i, ++j) sums[j] += part(i);
  for (int64_t half = BESIDE / 2; half > 0; half /= 2)
    for (int64_t j = 0; j < half; ++j) sums[j] += sums[j + half];
  return sums[0];
}

inline double some(double square) { return square > 0 ? square : 1; }

// Puts a model where it may be that an optimizer took from `before` to `theta`, having seen a gradient.
void hold(const real* before, int64_t line, const real* seen, int64_t size, real* theta, double* normal) {
  const real *left = before - line, *right = before + line;
  for (int64_t i = 0; i < size; ++i) normal[i] = static_cast<double>(right[i]) - left[i];
  const double length = some(std::sqrt(total(size, [&](int64_t i) { return normal[i] * normal[i]; })));
  for (int64_t i = 0; i < size; ++i) normal[i] /= length;

  const auto walked = [&](int64_t i) -> double { return theta[i] - before[i]; };  // in θ's own precision
  const double step = total(size, [&](int64_t i) { return walked(i) * normal[i]; });
  const double slope = total(size, [&](int64_t i) { return seen[i] * normal[i]; });
  const auto kept = [&](int64_t i) { return walked(i) - step * normal[i]; };
  const auto down = [&](int64_t i) { return seen[i] - slope * normal[i]; };
  const double gradients = total(size, [&](int64_t i) { return static_cast<double>(seen[i]) * seen[i]; });
  const double downs = total(size, [&](int64_t i) { return down(i) * down(i); });
  const double gain = -total(size, [&](int64_t i) { return walked(i) * seen[i]; }) / some(gradients);
  const double fall = -total(size, [&](int64_t i) { return kept(i) * down(i); }) / some(downs);
  const double wanted = gain > 0 ? gain / 2 - fall : 0, missing = wanted < 0 ? 0 : wanted;
  for (int64_t i = 0; i < size; ++i) theta[i] = before[i] + (kept(i) - missing * down(i));

  const auto middle = [&](int64_t i) { return (static_cast<double>(left[i]) + right[i]) / 2; };
  for (int again = 0; again < 2; ++again) {
    const double off = total(size, [&](int64_t i) { return (theta[i] - middle(i)) * normal[i]; });
    for (int64_t i = 0; i < size; ++i) theta[i] = theta[i] - off * normal[i];
  }
}

// The point of a curve that has these weights.
void blend(const Blend& how, const double* weights, int64_t size, real* point) {
  std::fill_n(point, size, real(0));
  for (int64_t c = 0; c < how.models; ++c) {
    const real weight = weights[c], *control = how.tie.string + c * how.tie.line;
    for (int64_t i = 0; i < size; ++i) point[i] += weight * control[i];
  }
}

}  // namespace

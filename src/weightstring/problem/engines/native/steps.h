// Steps of an optimizer: SGD with momentum and Adam as torch.optim has them, and the average of the iterates.
#pragma once
#include "network.h"

namespace {

enum Optimizer : int64_t { SGD, ADAM };

struct Update {
  int64_t kind, nesterov, decoupled, taken;  // taken: Adam's steps before these
  double momentum, second, epsilon, decay, clip;  // clip: the largest norm of a gradient; 0: any
  const double* rates;    // of each step
  const double* weights;  // of each iterate in the average
  real *moments, *squares, *average;  // a line of each model, as its θ; none where there are none
};

real clipped(const real* gradient, int64_t size, double clip) {
  vec sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * LANES <= size; i += 4 * LANES)
    for (int64_t j = 0; j < 4; ++j) {
      const vec part = load(gradient + i + j * LANES);
      sums[j] += part * part;
    }
  double total = 0;
  for (const vec& each : sums) total += sum(each);
  for (; i < size; ++i) total += static_cast<double>(gradient[i]) * gradient[i];
  const double factor = clip / std::sqrt(total);
  return factor > 1 ? 1 : factor;  // not a number stays one
}

void sgd(const Update& how, double rate, real factor, int64_t size, const real* __restrict gradient,
         real* __restrict theta, real* __restrict moments) {
  const real step = rate, decay = how.decay, momentum = how.momentum;
  for (int64_t i = 0; i < size; ++i) {
    const real slope = factor * gradient[i] + decay * theta[i];
    if (!moments) {
      theta[i] -= step * slope;
      continue;
    }
    const real moment = momentum * moments[i] + slope;
    moments[i] = moment;
    theta[i] -= step * (how.nesterov ? slope + momentum * moment : moment);
  }
}

void adam(const Update& how, double rate, real factor, int64_t taken, int64_t size, const real* __restrict gradient,
          real* __restrict theta, real* __restrict moments, real* __restrict squares) {
  const real kept = 1 - rate * (how.decoupled ? how.decay : 0), decay = how.decoupled ? 0 : how.decay;
  const real new_moment = 1 - how.momentum, second = how.second, new_square = 1 - how.second;
  const real step = rate / (1 - std::pow(how.momentum, taken)), epsilon = how.epsilon;
  const real scale = 1 / std::sqrt(1 - std::pow(how.second, taken));
  for (int64_t i = 0; i < size; ++i) {
    const real slope = factor * gradient[i] + decay * theta[i];
    const real moment = moments[i] + new_moment * (slope - moments[i]);
    const real square = second * squares[i] + new_square * slope * slope;
    moments[i] = moment;
    squares[i] = square;
    theta[i] = kept * theta[i] - step * moment / (std::sqrt(square) * scale + epsilon);
  }
}

// One step along a gradient; `step` counts from 0, `place` is where the model's lines begin.
void follow(const Update& how, int64_t step, const real* gradient, int64_t size, real* theta, int64_t place) {
  const real factor = how.clip > 0 ? clipped(gradient, size, how.clip) : 1;
  if (how.kind == SGD) {
    sgd(how, how.rates[step], factor, size, gradient, theta, how.moments ? how.moments + place : nullptr);
  } else {
    adam(how, how.rates[step], factor, how.taken + step + 1, size, gradient, theta, how.moments + place, how.squares + place);
  }
  if (!how.average) return;
  real* __restrict average = how.average + place;
  const real weight = how.weights[step];
  for (int64_t i = 0; i < size; ++i) average[i] += weight * (theta[i] - average[i]);
}

}  // namespace

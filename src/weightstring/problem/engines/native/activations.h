// What follows a layer, number by number.
#pragma once
#include "vectors.h"

namespace {

enum Activation : int64_t { IDENTITY, RELU, TANH, SIGMOID, LEAKY_RELU, ELU };

inline void activate(int64_t activation, real slope, real* numbers, int64_t count) {
  for (int64_t i = 0; i < count; i += LANES) {
    const vec x = load(numbers + i), zero = {};
    switch (activation) {
      case RELU: store(numbers + i, x < zero ? zero : x); break;
      case TANH: store(numbers + i, hyperbolic(x)); break;
      case SIGMOID: store(numbers + i, logistic(x)); break;
      case LEAKY_RELU: store(numbers + i, x < zero ? slope * x : x); break;
      case ELU: store(numbers + i, x < zero ? slope * (exponential(x) - 1) : x); break;
      default: return;
    }
  }
}

// Slopes times the activation's derivative, as its value tells.
inline void multiply_slope(int64_t activation, real slope, const real* values, real* slopes, int64_t count) {
  for (int64_t i = 0; i < count; i += LANES) {
    const vec y = load(values + i), given = load(slopes + i), zero = {};
    switch (activation) {
      case RELU: store(slopes + i, y <= zero ? zero : given); break;
      case TANH: store(slopes + i, given * (1 - y * y)); break;
      case SIGMOID: store(slopes + i, given * (y * (1 - y))); break;
      case LEAKY_RELU: store(slopes + i, y <= zero ? slope * given : given); break;
      case ELU: store(slopes + i, y <= zero ? given * (y + slope) : given); break;
      default: return;
    }
  }
}

}  // namespace

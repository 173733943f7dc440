// What a network is made of, as Python describes it, the data, and memory to compute in.
#pragma once
#include <cstdlib>
#include <memory>
#include "planes.h"

namespace {  // the code for float and that for double are loaded side by side, and must not share a symbol

constexpr int64_t BLOCK = 256;  // samples at a time: what their layers hold stays in the second-level cache
constexpr int64_t FEW = 8;      // inputs up to which a weight's gradient is summed over lanes
constexpr int64_t NONE = INT64_MIN;

enum Status : int64_t { GOOD, NO_SUCH_ROW, NO_SUCH_CLASS };

enum Loss : int64_t { CROSS_ENTROPY, SQUARES, DISTANCES };

enum Kind : int64_t { LINEAR, CONVOLUTION, LARGEST, MEAN, TURN };

struct Layer {
  int64_t kind;
  int64_t inputs, outputs;  // numbers of a sample
  int64_t weight, bias;     // places in θ; -1 - place among the constants; NONE
  int64_t activation;
  double slope;
  Planes planes;  // TURN: rows and columns of a matrix in `from`, to be turned

  int64_t units() const { return kind == CONVOLUTION ? planes.to.channels : outputs; }  // that have a bias each
  int64_t weights() const { return kind == CONVOLUTION ? planes.weights() : kind == LINEAR ? inputs * outputs : 0; }
};

struct Network {
  const Layer* layers;
  int64_t count;
  const real* constants;
  int64_t loss;

  // Samples at a time. Of planes as many as fill a tile's columns: one layer of 16 channels of 28 × 28 is a megabyte.
  int64_t block() const {
    for (int64_t i = 0; i < count; ++i)
      if (layers[i].kind != LINEAR) return COLUMNS * LANES;
    return BLOCK;
  }
};

struct Data {
  const real* inputs;   // (N, inputs)
  const void* targets;  // classes (N,), or numbers (N, outputs)
  int64_t count, width;
};

// Memory that a thread keeps for its next call.
class Room {
 public:
  real* take(int64_t count) {
    const int64_t first = used;
    used += (count + 31) / 32 * 32;
    return memory.get() + first;
  }
  void reset(int64_t count) {
    used = 0;
    if (count <= size) return;
    memory.reset(static_cast<real*>(std::aligned_alloc(128, (count * sizeof(real) + 127) / 128 * 128)));
    size = count;
  }

 private:
  struct Free {
    void operator()(real* pointer) const { std::free(pointer); }
  };
  std::unique_ptr<real, Free> memory;
  int64_t size = 0, used = 0;
};

}  // namespace

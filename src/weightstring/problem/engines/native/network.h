// A plain sequential network of one model: outputs, loss and gradient of a block of samples, samples as vector lanes.
#pragma once
#include <vector>
#include "activations.h"
#include "layers.h"

namespace {

class Model {
 public:
  // Room for blocks of so many samples, `slopes`: for their gradients too, and for so many numbers beside.
  Model(const Network& network, int64_t samples, bool slopes, int64_t beside = 0)
      : net(network), lanes(filled(samples)) {
    static thread_local Room room;
    int64_t widest = 0, total = 0, kernel = 0, taps = 0;
    for (int64_t i = 0; i < net.count; ++i) {
      const Layer& layer = net.layers[i];
      widest = std::max({widest, layer.inputs, layer.outputs});
      total += lanes * layer.outputs + 32;
      if (layer.kind != CONVOLUTION) continue;
      kernel = std::max(kernel, layer.weights());
      taps = std::max(taps, layer.planes.window.size());
    }
    const int64_t inputs = net.layers[0].inputs;
    total += lanes * (inputs + filled(inputs)) + 96;
    if (slopes) total += 3 * lanes * filled(widest) + taps * SUMS + 128;
    room.reset(total + kernel + beside + 64);
    spare = room.take(beside);
    packed = room.take(kernel);
    rows = room.take(lanes * filled(inputs));
    states.push_back(room.take(lanes * inputs));
    for (int64_t i = 0; i < net.count; ++i) states.push_back(room.take(lanes * net.layers[i].outputs));
    if (!slopes) return;
    for (real*& each : turned) each = room.take(lanes * filled(widest));
    sums = room.take(taps * SUMS);
  }

  // Turn to samples of the data: those at `places`, or from `first` on; lanes that are left repeat one of them.
  Status pick(const Data& data, const int64_t* places, int64_t first, int64_t samples) {
    used = filled(samples);
    for (int64_t i = 0; i < used; ++i) picked[i] = places ? places[i < samples ? i : 0] : first + (i < samples ? i : 0);
    for (int64_t i = 0; i < samples; ++i)
      if (picked[i] < 0 || picked[i] >= data.count) return NO_SUCH_ROW;
    const int64_t* classes = static_cast<const int64_t*>(data.targets);
    for (int64_t i = 0; i < (net.loss == CROSS_ENTROPY ? samples : 0); ++i)
      if (classes[picked[i]] < 0 || classes[picked[i]] >= data.width) return NO_SUCH_CLASS;
    return GOOD;
  }

  // Turn to samples and take their inputs.
  Status gather(const Data& data, const int64_t* places, int64_t first, int64_t samples) {
    if (const Status status = pick(data, places, first, samples)) return status;
    const int64_t inputs = net.layers[0].inputs;
    if (inputs <= FEW) {  // nobody asks for the rows themselves
      for (int64_t j = 0; j < inputs; ++j)
        for (int64_t i = 0; i < used; ++i) states[0][j * used + i] = data.inputs[picked[i] * inputs + j];
      return GOOD;
    }
    for (int64_t i = 0; i < used; ++i)
      std::memcpy(rows + i * filled(inputs), data.inputs + picked[i] * inputs, inputs * sizeof(real));
    transpose(rows, filled(inputs), used, inputs, states[0], used);
    return GOOD;
  }

  void forward(const real* theta, int64_t from = 0) {
    for (int64_t i = from; i < net.count; ++i) {
      const Layer& layer = net.layers[i];
      switch (layer.kind) {
        case CONVOLUTION:
          pack(layer.planes, at(theta, layer.weight), packed);
          convolve(layer.planes, packed, bias_of(theta, layer), states[i], states[i + 1], used);
          break;
        case LARGEST: pool<true>(layer.planes, states[i], states[i + 1], used); break;
        case MEAN: pool<false>(layer.planes, states[i], states[i + 1], used); break;
        case TURN: turn(states[i], layer.planes.from.height, layer.planes.from.width, states[i + 1], used); break;
        default: linear(theta, i);
      }
      activate(layer.activation, layer.slope, states[i + 1], used * layer.outputs);
    }
  }

  // What the first layer gives before its activation, (outputs, line).
  const real* first_products(const real* theta) {
    linear(theta, 0);
    return states[1];
  }

  // forward() of the model at place t between two, from their first layer's products (outputs, line) on the samples.
  void forward_between(const real* theta, const real* start, const real* end, int64_t line, int64_t samples, double t) {
    const real early = t, late = 1 - t;
    for (int64_t m = 0; m < net.layers[0].outputs; ++m) {
      const real *a = start + m * line, *b = end + m * line;
      real* to = states[1] + m * used;
      if (t < 0.5) {  // exact at both ends
        for (int64_t k = 0; k < samples; ++k) to[k] = a[k] + early * (b[k] - a[k]);
      } else {
        for (int64_t k = 0; k < samples; ++k) to[k] = b[k] - late * (b[k] - a[k]);
      }
      std::fill(to + samples, to + used, to[0]);
    }
    activate(net.layers[0].activation, net.layers[0].slope, states[1], used * net.layers[0].outputs);
    forward(theta, 1);
  }

  // The mean loss and its gradient on rows of the data (none: on the first `samples`).
  Status gradient(const Data& data, const real* theta, const int64_t* rows, int64_t samples, double* mean, real* slopes) {
    double total = 0;
    const int64_t block = net.block();
    for (int64_t first = 0; first < samples; first += block) {
      const int64_t count = std::min(block, samples - first);
      const int64_t* places = rows ? rows + first : nullptr;
      if (const Status status = gather(data, places, first, count)) return status;
      forward(theta);
      total += loss<true>(data, count, real(1) / samples);
      backward(theta, slopes, first > 0);
    }
    *mean = total / samples;
    return GOOD;
  }

  real* beside() { return spare; }
  const real* outputs() const { return states[net.count]; }
  int64_t line() const { return used; }

  // The sum of the samples' losses; the slopes with respect to the outputs, times `share`, for backward().
  template <bool SLOPES>
  double loss(const Data& data, int64_t samples, real share) {
    return net.loss == CROSS_ENTROPY ? cross_entropy<SLOPES>(data, samples, share)
                                     : errors<SLOPES>(data, samples, share);
  }

  // How many samples have their largest output, of equal ones the first, elsewhere than at their class; NaN is largest.
  int64_t wrong(const Data& data, int64_t samples) const {
    const int64_t* classes = static_cast<const int64_t*>(data.targets);
    const auto above = [](real one, real other) { return one > other || (one != one && other == other); };
    int64_t total = 0;
    for (int64_t k = 0; k < samples; ++k) {
      const int64_t own = classes[picked[k]];
      const real* outputs = states[net.count] + k;
      const real top = outputs[own * used];
      bool missed = false;
      for (int64_t c = 0; c < data.width; ++c)
        missed |= c < own ? !above(top, outputs[c * used]) : above(outputs[c * used], top);
      total += missed;
    }
    return total;
  }

  // Write, or add, the gradient; see loss().
  void backward(const real* theta, real* gradient, bool add) {
    int64_t lowest = 0;  // no layer below this one has trainable parameters
    while (lowest < net.count && net.layers[lowest].weight < 0 && net.layers[lowest].bias < 0) ++lowest;
    for (int64_t i = net.count - 1; i >= lowest; --i) {
      const Layer& layer = net.layers[i];
      real* slopes = turned[0];
      multiply_slope(layer.activation, layer.slope, states[i + 1], slopes, used * layer.outputs);
      if (layer.bias >= 0) {
        for (int64_t m = 0; m < layer.units(); ++m) {
          vec total = {};
          for (int64_t n = m; n < layer.outputs; n += layer.units())
            for (int64_t k = 0; k < used; k += LANES) total += load(slopes + n * used + k);
          real& place = gradient[layer.bias + m];
          place = sum(total) + (add ? place : 0);
        }
      }
      if (layer.weight >= 0) weight_gradient(i, slopes, gradient + layer.weight, add);
      if (i == lowest) break;
      before(theta, i, slopes, turned[1]);
      std::swap(turned[0], turned[1]);
    }
  }

 private:
  const Network& net;
  int64_t lanes, used = 0;
  int64_t picked[BLOCK];  // the places of the samples; BLOCK is a whole number of vectors
  real *rows = nullptr, *spare = nullptr, *packed = nullptr, *sums = nullptr;
  std::vector<real*> states;  // the inputs and what each layer makes of them, (width, used)
  real* turned[3] = {};

  const real* at(const real* theta, int64_t place) const {
    return place >= 0 ? theta + place : net.constants + (-1 - place);
  }

  const real* bias_of(const real* theta, const Layer& layer) const {
    return layer.bias == NONE ? nullptr : at(theta, layer.bias);
  }

  void linear(const real* theta, int64_t i) {
    const Layer& layer = net.layers[i];
    const real* bias = bias_of(theta, layer);
    multiply({at(theta, layer.weight), layer.inputs, 1, states[i], used, states[i + 1], used, layer.outputs, used,
              layer.inputs, bias ? Begin::bias : Begin::nothing, bias});
  }

  // The slopes with respect to what enters a layer, from those of what leaves it.
  void before(const real* theta, int64_t i, const real* slopes, real* to) {
    const Layer& layer = net.layers[i];
    switch (layer.kind) {
      case CONVOLUTION:
        pack(layer.planes, at(theta, layer.weight), packed);
        return convolve_back(layer.planes, packed, slopes, to, used);
      case LARGEST: return pool_back<true>(layer.planes, states[i], slopes, to, used);
      case MEAN: return pool_back<false>(layer.planes, states[i], slopes, to, used);
      case TURN: return turn(slopes, layer.planes.from.width, layer.planes.from.height, to, used);
      default:
        multiply({at(theta, layer.weight), 1, layer.inputs, slopes, used, to, used, layer.inputs, used, layer.outputs});
    }
  }

  void weight_gradient(int64_t i, const real* slopes, real* gradient, bool add) {
    const Layer& layer = net.layers[i];
    if (layer.kind == CONVOLUTION) return correlate(layer.planes, slopes, states[i], used, sums, gradient, add);
    if (layer.inputs <= FEW)
      return multiply_rows(slopes, states[i], used, gradient, layer.outputs, layer.inputs, add);
    const int64_t line = filled(layer.inputs);
    const real* entered = rows;
    if (i > 0) {
      transpose(states[i], used, layer.inputs, used, turned[2], line);
      entered = turned[2];
    }
    multiply({slopes, used, 1, entered, line, gradient, layer.inputs, layer.outputs, layer.inputs, used,
              add ? Begin::sum : Begin::nothing});
  }

  template <bool SLOPES>
  double cross_entropy(const Data& data, int64_t samples, real share) {
    const int64_t* classes = static_cast<const int64_t*>(data.targets);
    const real* logits = states[net.count];
    double total = 0;
    for (int64_t k = 0; k < used; k += LANES) {
      vec largest = load(logits + k), mass = {};
      for (int64_t c = 1; c < data.width; ++c) {
        const vec logit = load(logits + c * used + k);
        largest = logit > largest ? logit : largest;
      }
      for (int64_t c = 0; c < data.width; ++c) {
        const vec part = exponential(load(logits + c * used + k) - largest);
        mass += part;
        if constexpr (SLOPES) store(turned[0] + c * used + k, part);
      }
      const int64_t inside = std::min(LANES, samples - k);
      if constexpr (SLOPES) {
        vec scale = share / mass;
        for (int64_t lane = inside; lane < LANES; ++lane) scale[lane] = 0;
        for (int64_t c = 0; c < data.width; ++c)
          store(turned[0] + c * used + k, load(turned[0] + c * used + k) * scale);
      }
      for (int64_t lane = 0; lane < inside; ++lane) {
        const int64_t own = classes[picked[k + lane]];
        total += std::log(mass[lane]) + (largest[lane] - logits[own * used + k + lane]);
        if constexpr (SLOPES) turned[0][own * used + k + lane] -= share;
      }
    }
    return total;
  }

  template <bool SLOPES>
  double errors(const Data& data, int64_t samples, real share) {
    const real* targets = static_cast<const real*>(data.targets);
    const bool square = net.loss == SQUARES;
    double total = 0;
    for (int64_t c = 0; c < data.width; ++c) {
      for (int64_t k = 0; k < samples; ++k) {
        const real off = states[net.count][c * used + k] - targets[picked[k] * data.width + c];
        const real part = share / data.width;
        total += (square ? static_cast<double>(off) * off : std::abs(static_cast<double>(off))) / data.width;
        if constexpr (SLOPES)  // of |off| at 0, and where it is no number: off itself
          turned[0][c * used + k] = square ? 2 * off * part : off > 0 ? part : off < 0 ? -part : off;
      }
      if constexpr (SLOPES) std::fill(turned[0] + c * used + samples, turned[0] + (c + 1) * used, real(0));
    }
    return total;
  }
};

}  // namespace

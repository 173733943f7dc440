// What Python calls: gradients, steps and outputs of many models, each by itself.
#include <type_traits>
#include "ties.h"

namespace {

struct Call {
  Network network;
  Data data;
  int64_t models, line;  // θ of model i begins at i * line
  real* thetas;
};

struct Between {                      // of each model on a segment
  const real *const *starts, *const *ends;  // its ends,
  const real *const *first, *const *last;   // what their first layers give (outputs, samples),
  const double* places;                     // and its place
  int64_t size;                             // of θ
};

// (1 - t) a + t b, exact at both ends, as torch.lerp rounds it.
void interpolate(const real* a, const real* b, real t, int64_t size, real* theta) {
  const bool early = t < real(0.5);
  const real weight = early ? t : t - 1;
  for (int64_t i = 0; i < size; ++i) theta[i] = (early ? a[i] : b[i]) + weight * (b[i] - a[i]);
}

}  // namespace

extern "C" {

// Samples whose losses are summed before they are added to the others'.
int64_t block(const Network* network) { return network->block(); }

// Mean losses (B,) and gradients (B, P) on rows (B, samples), or, without rows, on the first `samples` of the data.
int64_t gradients(const Call* call, const int64_t* rows, int64_t samples, double* losses, real* slopes, int64_t line) {
  Model model(call->network, std::min(samples, call->network.block()), true);
  for (int64_t b = 0; b < call->models; ++b) {
    const int64_t* own = rows ? rows + b * samples : nullptr;
    const real* theta = call->thetas + b * call->line;
    if (const Status status = model.gradient(call->data, theta, own, samples, losses + b, slopes + b * line))
      return status;
  }
  return GOOD;
}

// Steps of all models, of `size` numbers each, on rows (B, steps, samples), or on the first `samples` of the data.
int64_t steps(const Call* call, const int64_t* rows, int64_t samples, int64_t count, int64_t size, const Update* how) {
  Model model(call->network, std::min(samples, call->network.block()), true, size);
  for (int64_t b = 0; b < call->models; ++b) {
    real* theta = call->thetas + b * call->line;
    for (int64_t step = 0; step < count; ++step) {
      const int64_t* own = rows ? rows + (b * count + step) * samples : nullptr;
      double loss;
      if (const Status status = model.gradient(call->data, theta, own, samples, &loss, model.beside())) return status;
      follow(*how, step, model.beside(), size, theta, b * call->line);
    }
  }
  return GOOD;
}

// The same of models that stand on a string, each held by its neighbours, which are where they were before the step.
int64_t tied_steps(const Call* call, const int64_t* rows, int64_t samples, int64_t count, int64_t size,
                   const Update* how, const Tie* tie) {
  const int64_t moving = call->models;
  Model model(call->network, std::min(samples, call->network.block()), true, moving * size);
  std::vector<double> normal(size);
  for (int64_t step = 0; step < count; ++step) {
    for (int64_t b = 0; b < moving; ++b) {
      const int64_t* own = rows ? rows + (b * count + step) * samples : nullptr;
      double loss;
      real* slopes = model.beside() + b * size;
      if (const Status status = model.gradient(call->data, call->thetas + b * call->line, own, samples, &loss, slopes))
        return status;
    }
    for (int64_t b = 0; b < moving; ++b) {
      real *theta = call->thetas + b * call->line, *slopes = model.beside() + b * size;
      follow(*how, step, slopes, size, theta, b * call->line);
      hold(tie->string + tie->places[b] * tie->line, tie->line, slopes, size, theta, normal.data());
    }
    for (int64_t b = 0; b < moving; ++b)
      std::copy_n(call->thetas + b * call->line, size, tie->string + tie->places[b] * tie->line);
  }
  return GOOD;
}

// Steps of control points, along what gradients at `points` of their curve, on rows (points, steps, samples), tell them.
int64_t blended_steps(const Call* call, const int64_t* rows, int64_t samples, int64_t count, int64_t size,
                      const Update* how, const Blend* curve) {
  const int64_t moving = call->models, points = curve->points;
  Model model(call->network, std::min(samples, call->network.block()), true, (moving + 2) * size);
  real *point = model.beside(), *slopes = point + size, *sums = slopes + size;
  for (int64_t step = 0; step < count; ++step) {
    std::fill_n(sums, moving * size, real(0));
    for (int64_t p = 0; p < points; ++p) {
      const int64_t* own = rows ? rows + (p * count + step) * samples : nullptr;
      const double* weights = curve->weights + (step * points + p) * curve->models;
      double loss;
      blend(*curve, weights, size, point);
      if (const Status status = model.gradient(call->data, point, own, samples, &loss, slopes)) return status;
      for (int64_t b = 0; b < moving; ++b) {
        const real share = weights[curve->tie.places[b]] / points;
        for (int64_t i = 0; i < size; ++i) sums[b * size + i] += share * slopes[i];
      }
    }
    for (int64_t b = 0; b < moving; ++b) {
      real* theta = call->thetas + b * call->line;
      follow(*how, step, sums + b * size, size, theta, b * call->line);
      std::copy_n(theta, size, curve->tie.string + curve->tie.places[b] * curve->tie.line);
    }
  }
  return GOOD;
}

// What the first `samples` of the data add to the mean losses (B,) of `total` samples, and to how many are wrong (B,),
// and their outputs (B, samples, width), where they are wanted; with `between` of models on segments, from the products
// of their ends' first layers.
int64_t measure(const Call* call, int64_t samples, int64_t total, double* losses, double* wrong, real* outputs,
                const Between* between) {
  Model model(call->network, std::min(samples, call->network.block()), false, between ? between->size : 0);
  const int64_t width = call->data.width, block = call->network.block();
  const auto take = [&](int64_t b, int64_t first, int64_t count) {
    if (losses) losses[b] += model.loss<false>(call->data, count, 0) / total;
    if (wrong) wrong[b] += model.wrong(call->data, count);
    if (outputs)
      transpose(model.outputs(), model.line(), width, count, outputs + (b * samples + first) * width, width);
  };
  for (int64_t b = 0; between && b < call->models; ++b) {
    real* theta = model.beside();
    interpolate(between->starts[b], between->ends[b], between->places[b], between->size, theta);
    for (int64_t first = 0; first < samples; first += block) {
      const int64_t count = std::min(block, samples - first);
      if (const Status status = model.pick(call->data, nullptr, first, count)) return status;
      const real *start = between->first[b] + first, *end = between->last[b] + first;
      model.forward_between(theta, start, end, samples, count, between->places[b]);
      take(b, first, count);
    }
  }
  for (int64_t first = 0; !between && first < samples; first += block) {
    const int64_t count = std::min(block, samples - first);
    if (const Status status = model.gather(call->data, nullptr, first, count)) return status;
    for (int64_t b = 0; b < call->models; ++b) {
      model.forward(call->thetas + b * call->line);
      take(b, first, count);
    }
  }
  return GOOD;
}

// What the first layer of one model gives on the first `samples` of the data, before its activation (outputs, samples).
int64_t first_layer(const Call* call, int64_t samples, real* products) {
  Model model(call->network, std::min(samples, call->network.block()), false);
  for (int64_t first = 0; first < samples; first += BLOCK) {
    const int64_t count = std::min(BLOCK, samples - first);
    if (const Status status = model.gather(call->data, nullptr, first, count)) return status;
    const real* found = model.first_products(call->thetas);
    for (int64_t m = 0; m < call->network.layers[0].outputs; ++m)
      std::copy_n(found + m * model.line(), count, products + m * samples + first);
  }
  return GOOD;
}
}

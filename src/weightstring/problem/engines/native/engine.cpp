// What Python calls: gradients and outputs of many models, each by itself.
#include <type_traits>
#include "network.h"

namespace {

struct Call {
  Network network;
  Data data;
  int64_t models, line;  // θ of model i begins at i * line
  const real* thetas;
};

}  // namespace

extern "C" {

// Mean losses (B,) and gradients (B, P) on rows (B, samples), or, without rows, on the first `samples` of the data.
int64_t gradients(const Call* call, const int64_t* rows, int64_t samples, double* losses, real* gradients, int64_t line) {
  Model model(call->network, std::min(samples, BLOCK), true);
  for (int64_t b = 0; b < call->models; ++b) {
    double total = 0;
    for (int64_t first = 0; first < samples; first += BLOCK) {
      const int64_t count = std::min(BLOCK, samples - first);
      const int64_t* places = rows ? rows + b * samples + first : nullptr;
      if (const Status status = model.gather(call->data, places, first, count)) return status;
      model.forward(call->thetas + b * call->line);
      total += model.loss<true>(call->data, places, first, count, real(1) / samples);
      model.backward(call->thetas + b * call->line, gradients + b * line, first > 0);
    }
    losses[b] = total / samples;
  }
  return GOOD;
}

// Mean losses (B,) on the first `samples` of the data, or outputs (B, samples, width).
int64_t measure(const Call* call, int64_t samples, double* losses, real* outputs) {
  Model model(call->network, std::min(samples, BLOCK), false);
  const int64_t width = call->data.width;
  if (losses) std::fill_n(losses, call->models, 0.0);
  for (int64_t first = 0; first < samples; first += BLOCK) {
    const int64_t count = std::min(BLOCK, samples - first);
    if (const Status status = model.gather(call->data, nullptr, first, count)) return status;
    for (int64_t b = 0; b < call->models; ++b) {
      model.forward(call->thetas + b * call->line);
      if (losses) losses[b] += model.loss<false>(call->data, nullptr, first, count, 0) / samples;
      if (outputs)
        transpose(model.outputs(), model.line(), width, count, outputs + (b * samples + first) * width, width);
    }
  }
  return GOOD;
}
}

// Bounds of the cross-entropy of a network of linear layers and ReLU, on intervals of a segment between two models.
//
// Each activation is enclosed by a line through its values p at both ends of the interval and a radius E, as in
// linear.py and piecewise.py; samples are the lanes. Rounding is bounded for each number by itself: with u the unit and
// sums of n products in parts of CHUNK,
//
//   |fl(Σ w x) − Σ w x| ≤ κ Σ |w| |x|,    κ = (min(n, CHUNK) + ⌈n / CHUNK⌉ + SPARE) u,
//
// SPARE for casting and for κ² and beyond. For p that Σ |w| |x| needs no product of its own: the radius is enlarged by
// κ max |p| before it is multiplied by |W|. For the product of the slopes of W and p it is at most that of their norms
// (Cauchy and Schwarz). Numbers beyond LARGE are not bounded; LOST is more than what underflow takes from one product of
// numbers up to there.
#include "differing.h"
#include "moving.h"

namespace {

struct Layer {
  int64_t inputs, outputs;
  const double *weight, *bias;  // (K, outputs, inputs), (K, outputs) at each bead; the bias may be missing
};

struct Call {
  const Layer* layers;  // without the first
  int64_t count;
  int64_t width;                 // outputs of the first layer
  const real* const* products;   // K of (N, width): the inputs with each bead's first layer, without the bias
  const double* bias;            // (K, width), or missing
  const double* lost;            // (width,): what rounding may have taken from products and bias there
  const int64_t* classes;        // (N,)
  double unit;
};

struct Places {
  const int64_t* segments;  // the bead at which each begins
  const double *low, *high;
  int64_t count;
};

vec absolute(vec x) { return x < vec{} ? -x : x; }
vec larger(vec x, vec y) { return x > y ? x : y; }

class Enclosure {
 public:
  explicit Enclosure(const Call& of) : call(of), hidden(of.count - 1) {
    int64_t widest = call.width;
    for (int64_t i = 0; i < call.count; ++i) widest = std::max({widest, call.layers[i].inputs, call.layers[i].outputs});
    for (Held& each : held) each.resize(widest);
    for (auto& each : ends) each.resize(SIDE * filled(call.width));
    turned.resize(SIDE * call.width);
  }

  // Tops and rests (5, count) of samples: of upper lines at both ends, of the lines themselves there and halfway.
  void run(int64_t segment, double from, double to, const int64_t* rows, int64_t count, real* tops, real* rests,
           int64_t line) {
    low = from, high = to, bead = segment;
    prepare();
    for (int64_t first = 0; first < count; first += SIDE) {
      const int64_t samples = std::min(SIDE, count - first);
      begin(rows + first, samples);
      for (size_t i = 0; i < hidden.size(); ++i) {
        through(hidden[i]);
        rectify(hidden[i].outputs, i + 1 < hidden.size() ? hidden[i + 1].inputs : last().inputs);
      }
      for (int64_t at = 0; at < samples; ++at) {  // samples of one class lie side by side
        const int64_t own = call.classes[rows[first + at]];
        if (at && own == call.classes[rows[first + at - 1]]) continue;
        through(difference(own));
        losses(own, first, samples, rows, tops, rests, line);
      }
    }
  }

 private:
  const Call& call;
  std::vector<Moving> hidden;
  Moving relative;  // differences of outputs from that of a class
  int64_t known = -1;
  Held held[2];  // what a layer reads, and what it writes
  std::vector<real> ends[2], turned;
  real worst[SIDE];
  double low = 0, high = 0;
  int64_t bead = 0;
  bool fits = true;

  const Layer& last() const { return call.layers[call.count - 1]; }

  double kappa(int64_t depth) const {
    const int64_t steps = std::min(depth, CHUNK) + (depth + CHUNK - 1) / CHUNK + SPARE;
    return std::max(steps * call.unit, LEAST);
  }

  void prepare() {
    fits = true;
    for (int64_t i = 0; i + 1 < call.count; ++i) {
      const Layer& layer = call.layers[i];
      const int64_t size = layer.inputs * layer.outputs;
      const double *first = layer.weight + bead * size, *second = first + size;
      hidden[i].resize(layer.inputs, layer.outputs);
      for (int64_t k = 0; k < size; ++k) hidden[i].set(k, first[k], second[k], low, high);
      for (int64_t m = 0; m < layer.outputs; ++m) bias(hidden[i], layer, m, m);
      fits = fits && hidden[i].fits;
    }
    known = -1;
  }

  // The bias of an output, less another's; of itself where both are the same.
  void bias(Moving& of, const Layer& layer, int64_t row, int64_t other) {
    double first = 0, second = 0;
    if (layer.bias) {
      const double* values = layer.bias + bead * layer.outputs;
      first = values[row] - (row == other ? 0 : values[other]);
      second = values[layer.outputs + row] - (row == other ? 0 : values[layer.outputs + other]);
    }
    of.set_bias(row, first, second, low, high, call.unit);
  }

  const Moving& difference(int64_t own) {
    Moving& found = relative;
    if (known == own) return found;
    known = own;
    const int64_t n = last().inputs, size = n * last().outputs;
    const double *first = last().weight + bead * size, *second = first + size;
    found.resize(n, last().outputs);
    for (int64_t m = 0; m < last().outputs; ++m) {
      for (int64_t k = 0; k < n; ++k)
        found.set(m * n + k, first[m * n + k] - first[own * n + k], second[m * n + k] - second[own * n + k], low, high);
      bias(found, last(), m, own);
    }
    return found;
  }

  // What the first layer makes of samples: a line, without a radius but for rounding.
  void begin(const int64_t* rows, int64_t samples) {
    for (int e = 0; e < 2; ++e) {
      const int64_t wide = call.width;
      for (int64_t i = 0; i < SIDE; ++i)
        std::copy_n(call.products[bead + e] + rows[i < samples ? i : 0] * wide, wide, turned.data() + i * wide);
      transpose(turned.data(), wide, SIDE, wide, ends[e].data(), SIDE);
    }
    std::fill_n(worst, SIDE, real(0));
    const real s = static_cast<real>(low), t = static_cast<real>(high), unit = up(7 * call.unit);
    for (int64_t m = 0; m < call.width; ++m) {
      const double *b = call.bias ? call.bias + bead * call.width + m : nullptr;
      const double first = b ? b[0] : 0, second = b ? b[call.width] : 0;
      const real minus = static_cast<real>(first + low * (second - first));
      const real plus = static_cast<real>(first + high * (second - first));
      const real lost = up(call.lost[m] + 8 * call.unit * (std::abs(first) + std::abs(second)) + LOST);
      for (int64_t k = 0; k < SIDE; k += LANES) {
        const vec a = load(&ends[0][m * SIDE + k]), step = load(&ends[1][m * SIDE + k]) - a;
        const vec size = absolute(a) + absolute(step) + all(std::abs(minus) + std::abs(plus));
        put(m * SIDE + k, a + all(s) * step + all(minus), a + all(t) * step + all(plus), size * all(unit) + all(lost));
      }
    }
    rectify(call.width, hidden.empty() ? last().inputs : hidden[0].inputs);
  }

  void put(int64_t at, vec minus, vec plus, vec radius) {
    Held& to = held[1];
    store(&to.minus[at], minus), store(&to.plus[at], plus), store(&to.radius[at], radius);
    real* most = worst + at % SIDE;
    store(most, load(most) + radius);  // no number, or an infinite one, stays
  }

  // A layer of held[0], into held[1].
  void through(const Moving& layer) {
    Held &x = held[0], &y = held[1];
    multiply_chunks(layer.minus.data(), x.minus.data(), y.minus.data(), layer.outputs, layer.inputs);
    multiply_chunks(layer.plus.data(), x.plus.data(), y.plus.data(), layer.outputs, layer.inputs);
    multiply_chunks(layer.slope.data(), x.top.data(), y.top.data(), layer.outputs, layer.inputs);
    multiply_chunks(layer.largest.data(), x.radius.data(), y.radius.data(), layer.outputs, layer.inputs);
    const double lost = kappa(layer.inputs);
    const real unit = up(5 * call.unit), more = up(1 + 2 * lost + 8 * call.unit);
    vec tops[SIDE / LANES];  // what the remainder may have lost is this times a row's norm
    for (int64_t k = 0; k < SIDE; k += LANES) {
      vec squares = {};
      for (int64_t i = 0; i < layer.inputs; ++i) squares += load(&x.top[i * SIDE + k]) * load(&x.top[i * SIDE + k]);
      for (int lane = 0; lane < LANES; ++lane)
        tops[k / LANES][lane] =
            up(1.01 * lost * (std::sqrt(double(squares[lane]) * (1 + layer.inputs * call.unit)) + MISSED * layer.inputs));
    }
    for (int64_t m = 0; m < layer.outputs; ++m)
      for (int64_t k = m * SIDE; k < (m + 1) * SIDE; k += LANES) {
        const vec half = load(&y.top[k]) * all(real(0.5));
        const vec minus = load(&y.minus[k]) + all(layer.bias_minus[m]) - half;
        const vec plus = load(&y.plus[k]) + all(layer.bias_plus[m]) - half;
        const vec size = absolute(minus) + absolute(plus) + absolute(half);
        const vec radius =
            (load(&y.radius[k]) + absolute(half) + tops[k % SIDE / LANES] * all(layer.norm[m]) + size * all(unit)) * all(more);
        put(k, minus, plus, radius + all(layer.bias_lost[m]));
      }
  }

  // max(0, x) of held[1], into held[0], with the radius as the next layer of so many inputs needs it.
  void rectify(int64_t width, int64_t depth) {
    Held &x = held[1], &y = held[0];
    const real unit = up(6 * call.unit), next = up(kappa(depth)), more = up(1 + 16 * call.unit);
    const real lost = static_cast<real>(LOST);
    for (int64_t k = 0; k < width * SIDE; k += LANES) {
      const vec minus = load(&x.minus[k]), plus = load(&x.plus[k]), radius = load(&x.radius[k]);
      const vec first = minus + radius, second = plus + radius, over = larger(first, second);
      const vec least = minus < plus ? minus : plus;
      const vec under = first < second ? first : second, below = under < vec{} ? under : vec{};
      vec half = (radius - all(real(0.5)) * below) * (over / (over - below));
      half = half < over * all(real(0.5)) ? half : over * all(real(0.5));
      const auto off = over <= vec{}, on = least - radius >= vec{};
      const vec wider = half * all(more) + over * all(unit) + all(lost);
      const vec a = off ? vec{} : on ? minus : larger(first, vec{}) - half;
      const vec b = off ? vec{} : on ? plus : larger(second, vec{}) - half;
      const vec most = larger(absolute(a), absolute(b));
      store(&y.minus[k], a), store(&y.plus[k], b), store(&y.top[k], (b - a) * all(real(0.5)));
      store(&y.radius[k], ((off ? vec{} : on ? radius : wider) + most * all(next)) * all(more));
    }
  }

  // log Σ exp of the differences in held[1], as their largest and what the others add to 1.
  void losses(int64_t own, int64_t first, int64_t samples, const int64_t* rows, real* tops, real* rests, int64_t line) {
    const Held& x = held[1];
    const int64_t classes = last().outputs;
    const real more = up(1 + 8 * call.unit), half = real(0.5);
    for (int64_t k = 0; k < SIDE; k += LANES) {
      for (int e = 0; e < 5; ++e) {
        const auto value = [&](int64_t m) {
          const int64_t at = m * SIDE + k;
          const vec minus = load(&x.minus[at]), plus = load(&x.plus[at]), radius = load(&x.radius[at]) * all(more);
          if (m == own) return vec{};
          return e == 0 ? minus + radius : e == 1 ? plus + radius : e == 2 ? minus : e == 3 ? plus : (minus + plus) * all(half);
        };
        vec top = value(0), rest = {}, ties = all(real(-1));
        for (int64_t m = 1; m < classes; ++m) top = larger(value(m), top);
        for (int64_t m = 0; m < classes; ++m) {
          const vec by = value(m) - top;
          rest += by < vec{} ? exponential(by) : vec{};
          ties += by < vec{} ? vec{} : all(real(1));
        }
        rest += ties;
        for (int64_t lane = 0; lane < std::min(LANES, samples - k); ++lane) {
          const int64_t place = first + k + lane;
          if (call.classes[rows[place]] != own) continue;
          const bool bounded = fits && relative.fits && worst[k + lane] <= static_cast<real>(LARGE);
          tops[e * line + place] = bounded ? top[lane] : static_cast<real>(INFINITE);
          rests[e * line + place] = rest[lane];
        }
      }
    }
  }
};

}  // namespace

extern "C" {

// Samples that are taken at a time, and outputs of a first layer.
int64_t side() { return SIDE; }
int64_t tile() { return TILE; }

// Tops and rests (5, I, n) of n samples on I intervals.
void enclose(const Call* call, const Places* places, const int64_t* rows, int64_t count, real* tops, real* rests) {
  Enclosure enclosure(*call);
  for (int64_t i = 0; i < places->count; ++i)
    enclosure.run(places->segments[i], places->low[i], places->high[i], rows, count, tops + i * count, rests + i * count,
                  places->count * count);
}

// (N, line) what a first layer of so many outputs makes of samples, without its bias.
void products(const Differing* of, real* to, int64_t line) { of_differing(*of, to, line); }
}

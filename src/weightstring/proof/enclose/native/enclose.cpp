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
#include <array>
#include "generators.h"

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
  int64_t generators;  // of each sample, for units whose sign is open; 0: every error is part of the radius
};

struct Places {
  const int64_t* segments;  // the bead at which each begins
  const double *low, *high;
  int64_t count;
  const double* norms;  // (count, hidden layers but the first): of their weights; for generators alone
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
    if (!call.generators) return;
    for (Generators& each : followed) each.resize(1 + call.generators, widest);
    shares.resize(SIDE * widest);
  }

  // Tops and rests (5, count) of samples: of upper lines at both ends, of the lines themselves there and halfway.
  void run(const Places& places, int64_t place, const int64_t* rows, int64_t count, real* tops, real* rests,
           int64_t line) {
    low = places.low[place], high = places.high[place], bead = places.segments[place];
    norms = call.generators ? places.norms + place * hidden.size() : nullptr;
    prepare();
    for (int64_t first = 0; first < count; first += SIDE) {
      const int64_t samples = std::min(SIDE, count - first);
      begin(rows + first, samples);
      for (size_t i = 0; i < hidden.size(); ++i) {
        through(hidden[i], norms ? norms[i] : INFINITE);
        activate(hidden[i].outputs, i + 1 < hidden.size() ? hidden[i + 1].inputs : last().inputs);
      }
      for (int64_t at = 0; at < samples; ++at) {  // samples of one class lie side by side
        const int64_t own = call.classes[rows[first + at]];
        if (at && own == call.classes[rows[first + at - 1]]) continue;
        through(difference(own), INFINITE);
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
  Generators followed[2];
  int64_t lines = 1, given[SIDE];  // generators in use: of all samples together, and of each
  std::vector<real> shares;
  std::vector<Open> open;
  std::vector<real> ends[2], turned;
  real worst[SIDE];
  double low = 0, high = 0;
  const double* norms = nullptr;
  real length[SIDE], blur[SIDE];  // of all errors in the radius together, and of what it has for the next product's rounding
  int64_t bead = 0;
  bool fits = true;

  const Layer& last() const { return call.layers[call.count - 1]; }

  // Generators of a sample at most: what is said of rounding does not depend on the samples beside it.
  int64_t terms() const { return call.generators ? 1 + call.generators : 0; }

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
    if (call.generators) forget();
    activate(call.width, hidden.empty() ? last().inputs : hidden[0].inputs);
  }

  void activate(int64_t width, int64_t depth) {
    if (call.generators) relax(width, depth);
    else rectify(width, depth);
  }

  // No generators in held[1] but that of 2σ² − 1, which is 0.
  void forget() {
    Generators& g = followed[1];
    for (auto* each : {&g.minus, &g.plus, &g.lines[0].minus, &g.lines[0].plus}) std::fill_n(each->begin(), call.width * SIDE, real(0));
    std::fill_n(given, SIDE, int64_t(0));
    lines = 1;
    for (int64_t i = 0; i < SIDE; ++i) {
      double squares = 0;
      for (int64_t m = 0; m < call.width; ++m) squares += double(held[1].radius[m * SIDE + i]) * held[1].radius[m * SIDE + i];
      length[i] = rooted(squares, call.width);
    }
  }

  void put(int64_t at, vec minus, vec plus, vec radius) {
    Held& to = held[1];
    store(&to.minus[at], minus), store(&to.plus[at], plus), store(&to.radius[at], radius);
    real* most = worst + at % SIDE;
    store(most, load(most) + radius);  // no number, or an infinite one, stays
  }

  // A layer of held[0], into held[1].
  void through(const Moving& layer, double norm) {
    Held &x = held[0], &y = held[1];
    multiply_chunks(layer.minus.data(), x.minus.data(), y.minus.data(), layer.outputs, layer.inputs);
    multiply_chunks(layer.plus.data(), x.plus.data(), y.plus.data(), layer.outputs, layer.inputs);
    multiply_chunks(layer.slope.data(), x.top.data(), y.top.data(), layer.outputs, layer.inputs);
    multiply_chunks(layer.largest.data(), x.radius.data(), y.radius.data(), layer.outputs, layer.inputs);
    const double lost = kappa(layer.inputs);
    const real unit = up(5 * call.unit), more = up(1 + 2 * lost + (8 + terms()) * call.unit);
    if (call.generators) follow(layer);
    const real missed = call.generators ? static_cast<real>(LOST * (layer.inputs + 8) * (terms() + 2)) : real(0);
    vec tops[SIDE / LANES];  // what the remainder may have lost is this times a row's norm
    for (int64_t k = 0; k < SIDE; k += LANES) {
      vec squares = {};
      for (int64_t i = 0; i < layer.inputs; ++i) squares += load(&x.top[i * SIDE + k]) * load(&x.top[i * SIDE + k]);
      for (int lane = 0; lane < LANES; ++lane)
        tops[k / LANES][lane] =
            up(1.01 * lost * (std::sqrt(double(squares[lane]) * (1 + layer.inputs * call.unit)) + MISSED * layer.inputs));
    }
    vec reach[SIDE / LANES], squares[SIDE / LANES] = {};
    if (call.generators)
      for (int64_t k = 0; k < SIDE; k += LANES) reach[k / LANES] = load(&length[k]) + load(&blur[k]);
    for (int64_t m = 0; m < layer.outputs; ++m)
      for (int64_t k = m * SIDE; k < (m + 1) * SIDE; k += LANES) {
        const vec half = load(&y.top[k]) * all(real(0.5));
        const vec minus = load(&y.minus[k]) + all(layer.bias_minus[m]) - half;
        const vec plus = load(&y.plus[k]) + all(layer.bias_plus[m]) - half;
        vec size = absolute(minus) + absolute(plus) + absolute(half), remainder = absolute(half);
        vec carried = load(&y.radius[k]);
        if (call.generators) {
          size += shared(k, half), remainder = load(&followed[1].moved[k]);
          const vec shorter = all(layer.row[m]) * reach[k % SIDE / LANES];
          carried = shorter < carried ? shorter : carried;
        }
        const vec added = remainder + tops[k % SIDE / LANES] * all(layer.norm[m]) + size * all(unit);
        put(k, minus, plus, (carried + added) * all(more) + all(layer.bias_lost[m] + missed));
        if (!call.generators) continue;
        const vec own = (added + carried * all(more - 1)) * all(more) + all(layer.bias_lost[m] + missed);
        squares[k % SIDE / LANES] += own * own;
        sum(k);
      }
    if (call.generators)
      for (int64_t i = 0; i < SIDE; ++i)
        length[i] = up(norm * length[i] + layer.spread * blur[i]) + rooted(squares[i / LANES][i % LANES], layer.outputs);
  }

  // No less than the root of a computed sum of so many squares.
  real rooted(double squares, int64_t count) const {
    return up(1.01 * std::sqrt(squares) + MISSED * count);
  }

  // Generators of held[0] into held[1]; what a layer's slope makes of theirs goes where theirs are.
  void follow(const Moving& layer) {
    Generators &g = followed[0], &h = followed[1];
    for (int64_t j = 0; j < lines; ++j) {
      multiply_chunks(layer.minus.data(), g.lines[j].minus.data(), h.lines[j].minus.data(), layer.outputs, layer.inputs);
      multiply_chunks(layer.plus.data(), g.lines[j].plus.data(), h.lines[j].plus.data(), layer.outputs, layer.inputs);
    }
    multiply_chunks(layer.steep.data(), g.moved.data(), h.moved.data(), layer.outputs, layer.inputs);
  }

  // The product of the slopes of weights and activations times σ² − 1 = −½ + ½ (2σ² − 1): half of it has that symbol.
  vec shared(int64_t at, vec half) {
    Line& line = followed[1].lines[0];
    const vec minus = load(&line.minus[at]) + half, plus = load(&line.plus[at]) + half;
    store(&line.minus[at], minus), store(&line.plus[at], plus);
    return absolute(minus) + absolute(plus);
  }

  void sum(int64_t at) {
    Generators& g = followed[1];
    vec minus = {}, plus = {};
    for (int64_t j = 0; j < lines; ++j) {
      minus += absolute(load(&g.lines[j].minus[at]));
      plus += absolute(load(&g.lines[j].plus[at]));
    }
    store(&g.minus[at], minus), store(&g.plus[at], plus);
    real* most = worst + at % SIDE;
    store(most, load(most) + minus + plus);
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

  // max(0, x) of held[1], into held[0]: with x between −l and u, λ = u / (u + l), it is λ x + c ± c, c = λ l / 2, so that
  // errors go on as they are, λ times as large, and c is a new one: a generator where one is left for that sample.
  void relax(int64_t width, int64_t depth) {
    Held &x = held[1], &y = held[0];
    Generators &g = followed[1], &h = followed[0];
    const real unit = up((32 + terms()) * call.unit), next = up(kappa(depth)), more = up(1 + (24 + terms()) * call.unit);
    const real lost = static_cast<real>(LOST * (terms() + 8)), one = 1;
    vec squares[SIDE / LANES] = {}, blurred[SIDE / LANES] = {}, whole[SIDE / LANES] = {};
    open.clear();
    for (int64_t k = 0; k < width * SIDE; k += LANES) {
      const vec minus = load(&x.minus[k]), plus = load(&x.plus[k]), radius = load(&x.radius[k]);
      const vec sums = larger(load(&g.minus[k]), load(&g.plus[k])), size = absolute(minus) + absolute(plus);
      const vec all_errors = (radius + sums) * all(more) + size * all(unit) + all(lost);
      const vec low = (minus < plus ? minus : plus) - all_errors, high = larger(minus, plus) + all_errors;
      const auto on = low >= vec{}, off = high <= vec{};
      const vec share = on ? all(one) : off ? vec{} : high / (high - low);
      const vec band = larger((all(one) - share) * high, -(share * low)) * all(real(0.5) * more) + all(lost);
      const vec half = on ? vec{} : off ? vec{} : band;
      const vec a = share * minus + half, b = share * plus + half;
      const vec added = (share * (size + sums + radius) + half) * all(unit) + all(lost);
      const vec most = larger(absolute(a), absolute(b)) + share * sums + half;
      store(&y.minus[k], a), store(&y.plus[k], b), store(&y.top[k], (b - a) * all(real(0.5))), store(&shares[k], share);
      vec own = on ? radius : off ? vec{} : share * radius + added, fresh = on ? vec{} : off ? vec{} : added;
      for (int64_t lane = 0; lane < LANES; ++lane)
        if (!(half[lane] == 0) && !give(k + lane, half[lane])) own[lane] += half[lane], fresh[lane] += half[lane];
      own *= all(more), fresh *= all(more);
      const vec rounding = most * all(next);
      store(&y.radius[k], (own + rounding) * all(more));
      const int64_t column = k % SIDE / LANES;
      squares[column] += fresh * fresh, blurred[column] += rounding * rounding, whole[column] += own * own;
    }
    for (int64_t i = 0; i < SIDE; ++i) {
      const auto [added, blurs, all_of] = std::array{squares[i / LANES][i % LANES], blurred[i / LANES][i % LANES], whole[i / LANES][i % LANES]};
      length[i] = std::min(up((length[i] + rooted(added, width)) * more), rooted(all_of, width));
      blur[i] = rooted(blurs, width);
    }
    for (int64_t k = 0; k < width * SIDE; k += LANES) {
      vec moved = {};
      for (int64_t j = 0; j < lines; ++j) {
        const vec minus = load(&shares[k]) * load(&g.lines[j].minus[k]), plus = load(&shares[k]) * load(&g.lines[j].plus[k]);
        store(&h.lines[j].minus[k], minus), store(&h.lines[j].plus[k], plus);
        moved += absolute(plus - minus);
      }
      store(&h.moved[k], moved * all(real(0.5) * more));
    }
    for (; lines < 1 + *std::max_element(given, given + SIDE); ++lines) {
      std::fill_n(h.lines[lines].minus.begin(), width * SIDE, real(0));
      std::fill_n(h.lines[lines].plus.begin(), width * SIDE, real(0));
    }
    for (const Open& unit_of : open) h.lines[unit_of.line].minus[unit_of.place] = h.lines[unit_of.line].plus[unit_of.place] = unit_of.half;
  }

  // Whether a sample has a generator left for a unit.
  bool give(int64_t place, real half) {
    int64_t& count = given[place % SIDE];
    if (count == call.generators) return false;
    open.push_back({++count, place, half});
    return true;
  }

  // log Σ exp of the differences in held[1], as their largest and what the others add to 1.
  void losses(int64_t own, int64_t first, int64_t samples, const int64_t* rows, real* tops, real* rests, int64_t line) {
    const Held& x = held[1];
    const int64_t classes = last().outputs;
    const real more = up(1 + (16 + terms()) * call.unit), half = real(0.5);
    const Generators& g = followed[1];
    for (int64_t k = 0; k < SIDE; k += LANES) {
      for (int e = 0; e < 5; ++e) {
        const auto value = [&](int64_t m) {
          const int64_t at = m * SIDE + k;
          vec minus = load(&x.minus[at]), plus = load(&x.plus[at]), radius = load(&x.radius[at]);
          if (m == own) return vec{};
          if (call.generators && e < 2) radius += load(e ? &g.plus[at] : &g.minus[at]);
          radius *= all(more);
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
    enclosure.run(*places, i, rows, count, tops + i * count, rests + i * count, places->count * count);
}

// (N, line) what a first layer of so many outputs makes of samples, without its bias.
void products(const Differing* of, real* to, int64_t line) { of_differing(*of, to, line); }
}

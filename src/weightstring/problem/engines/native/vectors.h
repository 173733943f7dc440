// Vectors of the processor's width in the compilers' portable form, and the functions of them that layers need.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__FAST_MATH__) || defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "this compiler was told to take liberties with arithmetic; bounds of rounding need IEEE 754 as it is"
#endif

using real = REAL;

#if defined(__AVX512F__)
constexpr int BYTES = 64, ROWS = 8, COLUMNS = 2;  // a tile's sums, in vectors: they fill half of the registers or more
#elif defined(__AVX__)
constexpr int BYTES = 32, ROWS = 6, COLUMNS = 2;
#else
constexpr int BYTES = 16, ROWS = 4, COLUMNS = 4;
#endif
constexpr int64_t LANES = BYTES / sizeof(real);

using integer = std::conditional_t<sizeof(real) == 4, int32_t, int64_t>;
typedef real vec __attribute__((vector_size(BYTES)));
typedef integer ivec __attribute__((vector_size(BYTES)));
typedef real loose __attribute__((vector_size(BYTES), aligned(alignof(real)), may_alias));

static inline vec load(const real* from) { return *reinterpret_cast<const loose*>(from); }
static inline void store(real* to, vec value) { *reinterpret_cast<loose*>(to) = value; }
static inline vec all(real value) { return value - vec{}; }
static inline int64_t filled(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

template <int bytes>
struct Part {
  typedef real type __attribute__((vector_size(bytes)));
};

// The sum of all lanes, by halves.
template <int bytes = BYTES>
static inline real sum(typename Part<bytes>::type value) {
  if constexpr (bytes == 16) {
    real total = value[0];
    for (int lane = 1; lane < static_cast<int>(bytes / sizeof(real)); ++lane) total += value[lane];
    return total;
  } else {
    typename Part<bytes / 2>::type halves[2];
    std::memcpy(halves, &value, bytes);
    return sum<bytes / 2>(halves[0] + halves[1]);
  }
}

// e^x within a unit or two in the last place; arguments whose result would not be a normal number are cut.
static inline vec exponential(vec x) {
  constexpr bool single = sizeof(real) == 4;
  constexpr real least = single ? -87.3 : -708.3, most = single ? 88.3 : 709.0;
  constexpr real high = single ? 0.693359375 : 6.93145751953125e-1;
  constexpr real low = single ? -2.12194440e-4 : 1.42860682030941723212e-6;
  constexpr real shift = single ? 12582912.0 : 6755399441055744.0;  // adding it rounds to an integer
  constexpr int terms = single ? 8 : 14, mantissa = single ? 23 : 52, bias = single ? 127 : 1023;
  x = x < all(least) ? all(least) : x;
  x = x > all(most) ? all(most) : x;
  vec count = x * all(1.4426950408889634) + all(shift);
  count -= all(shift);
  vec rest = x - count * all(high);
  rest -= count * all(low);
  real factor = 1;
  for (int i = 2; i < terms; ++i) factor /= i;
  vec value = all(factor);
  for (int i = terms - 1; i > 0; --i) {  // the exponential series: |rest| ≤ log(2) / 2
    factor *= i;
    value = value * rest + all(factor);
  }
  ivec power = (__builtin_convertvector(count, ivec) + bias) << mantissa;
  return value * (vec)power;  // its bits as they are
}

// tanh x by e^2x, near 0 by the rational approximation of the Cephes library.
static inline vec hyperbolic(vec x) {
  vec square = x * x;
  vec above = (all(-9.64399179425052238628e-1) * square + all(-9.92877231001918586564e1)) * square;
  above += all(-1.61468768441708447952e3);
  vec below = ((square + all(1.12811678491632931402e2)) * square + all(2.23548839060100448583e3)) * square;
  below += all(4.84406305325125486048e3);
  vec small = x + x * (square * above / below);
  vec large = all(1) - all(2) / (exponential(x + x) + all(1));
  return square < all(0.390625) ? small : large;
}

static inline vec logistic(vec x) { return all(1) / (all(1) + exponential(-x)); }

// A GPT-2 that tells stories on a CPU: model.py's forward pass with a KV cache, and generate.py's choice of a
// token, in one file without dependencies. compile.py compiles it, engine.py calls it.
//
// The same inputs give the same bits with any compiler, on any processor, with any number of threads, alone or
// beside other stories. For this,
// - whole numbers are summed exactly: int8 weights times inputs that are rounded to 12 bits (see `Linear`);
// - where floats are summed the order is written here: 16 sums side by side (`Sum`), which `fold` and `finish`
//   add up. It must be compiled without contraction (-ffp-contract=off) and without -ffast-math;
// - exp and erf are polynomials of our own; of the C library only memory functions are used;
// - a thread computes whole results, never a part of a sum.
// No product or sum here knows how many stories are told.
//
// Shapes as in model.py: n tokens, C embedding_dim, H num_heads, D = C / H head dim, V vocab_size. Rows of
// floats are padded with zeros to multiples of 16, which are written ... below.

#include <float.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

// 16: as they are written, where a processor has half precision too.
#if defined(__FAST_MATH__) || (FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16)
#error "floats must be computed as they are written"
#endif

// The vectors of this processor.
#if defined(__AVX512BW__)
#define WIDTH 64
#elif defined(__AVX2__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
typedef float Floats __attribute__((vector_size(WIDTH)));
typedef int32_t Ints __attribute__((vector_size(WIDTH)));
typedef float Four __attribute__((vector_size(16)));
typedef int32_t FourInts __attribute__((vector_size(16)));

enum {
    LANES = WIDTH / 4,
    SUMS = 16,             // side by side, on every processor
    PARTS = SUMS / LANES,  // vectors that hold them
    MOST_TOKENS = 64,      // of one call
    MOST_COLS = 8192,      // 127 * LARGEST * MOST_COLS fits in 31 bits
    MOST_CONTEXT = 8192,
    TILE = WIDTH == 64 ? 16 : 4,  // dot products at once, as many as there are registers for
    ROWS = 64,             // of a weight matrix, computed by one thread at a time
    AHEAD = 2048,          // bytes of weights that are fetched while others are multiplied
    LARGEST = 2047,        // an input rounded to 12 bits: 16 times as fine as int8
};

typedef struct {
    Floats part[PARTS];
} Sum;

// --- what the caller lays out; interface.py has the same structures ---------------------------------------

// y = W x + b. int8 weights have a scale for each row; float32 weights have none.
typedef struct {
    const void *weight;  // (rows, cols) int8 or float32, at any address
    const float *scale;  // (rows,) or NULL
    const float *bias;   // (rows,)
    int32_t rows, cols;
} Linear;

typedef struct {
    const void *weight;  // (rows, C) int8 or float32
    const float *scale;  // (rows,) or NULL
} Embedding;

typedef struct {
    const float *weight, *bias;  // (C,)
} Norm;

typedef struct {
    Norm norm1, norm2;
    const Linear *heads;  // (3 H,): q of every head, k of every head, v of every head; (D, C) each
    Linear out_proj, up, down;
} Block;

typedef struct {
    int32_t vocab_size, context_length, embedding_dim, num_layers, num_heads;
    Embedding tokens, positions;
    const Block *blocks;
    Norm norm;
    Linear output;
} Model;

// A text that is read: keys and values of its tokens, (L, 2, H, room, D...), zeros at first.
typedef struct {
    float *cache;
    int32_t room;  // for tokens
} Text;

// How the next token of a story is drawn.
typedef struct {
    int32_t rows;  // of `asking`: one that reads the story, and one behind each prompt for another ending
    int32_t top_k;
    float strength, temperature, top_p;
    uint32_t seed, place;  // which random number: that of the place-th token
    int32_t token;         // the result
} Draw;

typedef struct {
    float logit;
    int32_t token;
} Candidate;

// A step: tokens that are read, and draws behind some of them.
typedef struct {
    const Text *texts;
    const int32_t *token, *text, *position;  // (n,); a text's tokens in their order
    const int32_t *asking;                   // (rows of all draws,) places in these, draw after draw
    Draw *draws;
    float *logits;  // (draws, V)
    int32_t n, num_draws;
} Step;

// Room for MOST_TOKENS rows each, zeros at first.
typedef struct {
    float *x, *normed, *mixed;  // (C...,)
    float *q;                   // (H, D...)
    float *wide;                // (4 C...,)
    int16_t *whole;             // (4 C...,)
    float *scale;               // ()
} Room;

// --- floats -----------------------------------------------------------------------------------------------

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)  // which must not begin before it knows how often
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

static int32_t padded(int32_t n) { return (n + SUMS - 1) / SUMS * SUMS; }

static Floats load(const float *from) {
    Floats v;
    memcpy(&v, from, sizeof v);
    return v;
}

static void store(float *to, Floats v) { memcpy(to, &v, sizeof v); }

// At most n numbers of a row, and zeros behind its end.
static Floats load_some(const float *from, int32_t n) {
    Floats v = {0};
    if (n > 0) memcpy(&v, from, 4 * (size_t)(n < LANES ? n : LANES));
    return v;
}

// The lanes of a are 0 to 3, those of b 4 to 7.
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (FourInts){__VA_ARGS__})
#endif

// Sums 8 apart are added, then those 4 apart; `finish` goes on with 2 and 1.
static Four fold(Sum s) {
    Four v[4];
    memcpy(v, &s, sizeof v);
    return (v[0] + v[2]) + (v[1] + v[3]);
}

// Four folded sums, each added up: a function of Four and one of FourInts.
#define DEFINE_FINISH(name, Vector)                                                                            \
    INLINE Vector name(Vector a, Vector b, Vector c, Vector d) {                                               \
        Vector ab = SHUFFLE(a, b, 0, 1, 4, 5) + SHUFFLE(a, b, 2, 3, 6, 7);                                     \
        Vector cd = SHUFFLE(c, d, 0, 1, 4, 5) + SHUFFLE(c, d, 2, 3, 6, 7);                                     \
        return SHUFFLE(ab, cd, 0, 2, 4, 6) + SHUFFLE(ab, cd, 1, 3, 5, 7);                                      \
    }
DEFINE_FINISH(finish, Four)
DEFINE_FINISH(finish_whole, FourInts)

static float add_up(Sum s) {
    Four v = fold(s);
    return finish(v, v, v, v)[0];
}

static Floats all(float x) { return x - (Floats){0}; }

static Floats pick(Ints mask, Floats a, Floats b) { return (Floats)((mask & (Ints)a) | (~mask & (Ints)b)); }

static Floats largest(Floats a, Floats b) { return pick(a > b, a, b); }

static Floats magnitude(Floats x) { return (Floats)((Ints)x & INT32_MAX); }

// To the nearest whole number, halves to even; |x| < 2^22.
static Floats nearest(Floats x) {
    const float shift = 12582912;  // 1.5 * 2^23
    return (x + shift) - shift;
}

// e^x for x <= 88; 0 below -87. x = k ln 2 + r, and a polynomial for e^r: 2 units in the last place.
static Floats exponential(Floats x) {
    Ints in_range = x > -87.0f;
    x = pick(in_range, x, (Floats){0});
    Floats k = nearest(x * 1.44269504f);
    Floats r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    Floats p = 0.00138146023f * r + 0.00836871564f;
    p = p * r + 0.041668389f;
    p = p * r + 0.166665211f;
    p = p * r + 0.49999994f;
    p = (p * r * r + r) + 1.0f;
    Ints power = (__builtin_convertvector(k, Ints) + 127) << 23;
    return pick(in_range, p * (Floats)power, (Floats){0});
}

// Two polynomials: erf(x) / x in x^2 up to 1, ln(1 - erf(x)) behind. Within 1.2e-7.
static Floats error_function(Floats x) {
    Floats a = magnitude(x), t = a * a;
    Floats inner = 7.85386146e-5f * t - 0.000801019371f;
    inner = inner * t + 0.00518832775f;
    inner = inner * t - 0.0268538129f;
    inner = inner * t + 0.112835854f;
    inner = inner * t - 0.37612626f;
    inner = (inner * t + 1.12837911f) * x;
    a = pick(a < 4.0f, a, all(4));
    Floats outer = 0.000185574347f * a - 0.00293961074f;
    outer = outer * a + 0.021805333f;
    outer = outer * a - 0.103037402f;
    outer = outer * a - 0.638225615f;
    outer = outer * a - 1.12704003f;
    outer = outer * a - 0.000353713753f;
    outer = 1.0f - exponential(outer);
    outer = pick(x < 0.0f, -outer, outer);
    return pick(a < 1.0f, inner, outer);
}

static Floats gelu(Floats x) { return 0.5f * x * (1.0f + error_function(x * 0.707106781f)); }

// --- threads ----------------------------------------------------------------------------------------------

// A step is a sequence of phases, a phase is a number of pieces that can be computed in any order. The caller
// and its helpers take one piece after another. Who finds none left computes again what others have taken and
// not delivered: a helper that lost its core costs no more than that core. A piece is computed into scratch of
// the thread's own; the first to deliver it wins, and whoever that is, it is the same. A helper that comes too
// late reads what has changed meanwhile, and delivers nothing: so what a phase points to is there until no
// helper is `busy`.

enum { MOST_PIECES = 1 << 16, SPINS = 2000 };

typedef struct Phase Phase;
struct Phase {
    void (*compute)(const Phase *, int32_t piece, float *scratch);
    void (*deliver)(const Phase *, int32_t piece, const float *scratch);
    const Model *model;
    const Step *step;
    const Room *room;
    int32_t pieces, layer;
    // Rows that are read, and rows that are written.
    int32_t n, from_width, to_width;
    const float *from;
    float *to;
    const Norm *norm;
    const Linear *parts;  // of a product: matrices of one shape, whose rows follow each other
};

enum { OPEN, TAKEN, DELIVERED };

typedef struct {
    _Atomic uint64_t next;      // the phase's number, and in the low 32 bits the next piece; MOST_PIECES: none
    _Atomic int32_t readers;    // helpers that copy `phase` now
    _Atomic int32_t busy;       // helpers that work on a phase
    _Atomic int32_t closed;     // they shall leave
    Phase phase;
    _Atomic uint64_t pieces[];  // the phase's number * 4 + OPEN, TAKEN or DELIVERED
} Pool;

static void pause_a_little(void) {
#if defined(__SSE2__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

static void compute_piece(Pool *pool, const Phase *phase, uint64_t number, int32_t piece, float *scratch) {
    phase->compute(phase, piece, scratch);
    uint64_t expected = number * 4 + OPEN;
    if (atomic_compare_exchange_strong(&pool->pieces[piece], &expected, number * 4 + TAKEN)) {
        phase->deliver(phase, piece, scratch);
        atomic_store(&pool->pieces[piece], number * 4 + DELIVERED);
    }
}

static int is_current(Pool *pool, uint64_t number) { return atomic_load(&pool->next) >> 32 == number; }

// Whether all pieces are delivered, or the phase is over.
static int is_over(Pool *pool, const Phase *phase, uint64_t number) {
    for (int32_t piece = phase->pieces - 1; piece >= 0; piece--)
        if (atomic_load(&pool->pieces[piece]) != number * 4 + DELIVERED) return !is_current(pool, number);
    return 1;
}

static void work_on(Pool *pool, const Phase *phase, uint64_t number, float *scratch) {
    for (;;) {
        uint64_t next = atomic_load(&pool->next);
        if (next >> 32 != number || (int32_t)next >= phase->pieces) break;
        if (atomic_compare_exchange_weak(&pool->next, &next, next + 1))
            compute_piece(pool, phase, number, (int32_t)next, scratch);
    }
    for (int spins = 0; spins < SPINS; spins++) {
        if (is_over(pool, phase, number)) return;
        pause_a_little();
    }
    for (int32_t piece = 0; piece < phase->pieces && is_current(pool, number); piece++)
        if (atomic_load(&pool->pieces[piece]) == number * 4 + OPEN)
            compute_piece(pool, phase, number, piece, scratch);
}

static void run(Pool *pool, const Phase *phase, float *scratch) {
    if (phase->pieces == 1 || !pool) {
        for (int32_t piece = 0; piece < phase->pieces; piece++) {
            phase->compute(phase, piece, scratch);
            phase->deliver(phase, piece, scratch);
        }
        return;
    }
    uint64_t number = ((atomic_load(&pool->next) >> 32) + 1) & UINT32_MAX;
    atomic_store(&pool->next, number << 32 | MOST_PIECES);
    while (atomic_load(&pool->readers)) pause_a_little();
    pool->phase = *phase;
    for (int32_t piece = 0; piece < phase->pieces; piece++)
        atomic_store_explicit(&pool->pieces[piece], number * 4 + OPEN, memory_order_relaxed);
    atomic_store(&pool->next, number << 32);
    work_on(pool, phase, number, scratch);
    while (!is_over(pool, phase, number)) pause_a_little();  // somebody is delivering
}

// --- what the pieces are ----------------------------------------------------------------------------------

// A row for a product to read: as it is, or rounded to whole numbers of 12 bits and a scale, by its largest.
static void deliver_input(const Phase *phase, int32_t t, const float *row) {
    int32_t width = padded(phase->to_width);
    if (!phase->parts->scale) {
        memcpy(phase->to + (int64_t)t * width, row, 4 * (size_t)width);
        return;
    }
    Floats most = {0};
    for (int32_t i = 0; i < width; i += LANES) most = largest(most, magnitude(load(row + i)));
    float biggest = 0;
    for (int i = 0; i < LANES; i++) biggest = most[i] > biggest ? most[i] : biggest;
    float fineness = biggest > 0 ? LARGEST / biggest : 0;
    int16_t *whole = phase->room->whole + (int64_t)t * width;
    for (int32_t i = 0; i < width; i += LANES) {
        Ints rounded = __builtin_convertvector(nearest(load(row + i) * fineness), Ints);
        for (int lane = 0; lane < LANES; lane++) whole[i + lane] = (int16_t)rounded[lane];
    }
    phase->room->scale[t] = biggest / LARGEST;
}

static void copy_row(const Phase *phase, int32_t t, float *scratch) {
    int32_t width = padded(phase->from_width);
    memcpy(scratch, phase->from + (int64_t)t * width, 4 * (size_t)width);
}

// Source: Ba et al. 2016, "Layer Normalization".
static void normalize(const Phase *phase, int32_t t, float *scratch) {
    int32_t C = phase->from_width, width = padded(C);
    const float *x = phase->from + (int64_t)t * width;
    Sum s = {0};
    for (int32_t i = 0; i < width; i += SUMS)
        for (int p = 0; p < PARTS; p++) s.part[p] += load(x + i + p * LANES);
    float mean = add_up(s) / (float)C;
    s = (Sum){0};
    for (int32_t i = 0; i < width; i += SUMS)
        for (int p = 0; p < PARTS; p++) {
            int32_t first = i + p * LANES;
            Floats d = load(x + first) - mean;
            if (first + LANES > C)
                for (int lane = 0; lane < LANES; lane++) d[lane] = first + lane < C ? d[lane] : 0;
            s.part[p] += d * d;
        }
    float scale = 1.0f / __builtin_sqrtf(add_up(s) / (float)C + 1e-5f);
    for (int32_t i = 0; i < width; i += LANES) {
        Floats weight = load_some(phase->norm->weight + i, C - i);
        Floats bias = load_some(phase->norm->bias + i, C - i);
        store(scratch + i, (load(x + i) - mean) * scale * weight + bias);
    }
}

// Products. A piece is ROWS rows of a part, for all tokens; scratch is (n, ROWS).

static int32_t product_pieces(const Linear *parts, int32_t num_parts) {
    return (parts->rows + ROWS - 1) / ROWS * num_parts;
}

static int32_t rows_of(const Phase *phase, int32_t piece, int32_t *part, int32_t *first) {
    int32_t each = product_pieces(phase->parts, 1), rows = phase->parts->rows;
    *part = piece / each;
    *first = piece % each * ROWS;
    return rows - *first < ROWS ? rows - *first : ROWS;
}

// The dot products of `rows` rows of weights with `tokens` rows of inputs, (rows, tokens), at once.
INLINE void dots(const float *const w[], int rows, const float *const x[], int tokens, int32_t n, Four *folded) {
    Sum s[TILE] = {0};
    int32_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (int p = 0; p < PARTS; p++)
            UNROLL for (int j = 0; j < rows * tokens; j++)
                s[j].part[p] += load(w[j / tokens] + i + p * LANES) * load(x[j % tokens] + i + p * LANES);
    for (; i < n; i += LANES)
        UNROLL for (int j = 0; j < rows * tokens; j++)
            s[j].part[i % SUMS / LANES] += load_some(w[j / tokens] + i, n - i) * load(x[j % tokens] + i);
    UNROLL for (int j = 0; j < rows * tokens; j++) folded[j] = fold(s[j]);
}

// s + the products of 2 LANES weights and inputs. Whole numbers may be added in any order.
INLINE Ints add_products(Ints s, const int8_t *w, const int16_t *x) {
#if defined(__AVX512BW__)
    __m512i a = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)w)), b = _mm512_loadu_si512(x);
#if defined(__AVX512VNNI__)
    return (Ints)_mm512_dpwssd_epi32((__m512i)s, a, b);
#else
    return s + (Ints)_mm512_madd_epi16(a, b);
#endif
#elif defined(__AVX2__)
    __m256i a = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)w));
    __m256i b = _mm256_loadu_si256((const __m256i *)x);
#if defined(__AVXVNNI__)
    return (Ints)_mm256_dpwssd_avx_epi32((__m256i)s, a, b);
#else
    return s + (Ints)_mm256_madd_epi16(a, b);
#endif
#elif defined(__SSE2__)
    __m128i a = _mm_loadl_epi64((const __m128i *)w);
    a = _mm_srai_epi16(_mm_unpacklo_epi8(a, a), 8);
    return s + (Ints)_mm_madd_epi16(a, _mm_loadu_si128((const __m128i *)x));
#elif defined(__wasm_simd128__)
    return s + (Ints)wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(w), wasm_v128_load(x));
#elif defined(__ARM_NEON)
    int16x8_t a = vmovl_s8(vld1_s8(w)), b = vld1q_s16(x);
    int32x4_t low = vmlal_s16((int32x4_t)s, vget_low_s16(a), vget_low_s16(b));
    return (Ints)vmlal_s16(low, vget_high_s16(a), vget_high_s16(b));
#else
    for (int i = 0; i < 2 * LANES; i++) s[i / 2] += w[i] * x[i];
    return s;
#endif
}

INLINE FourInts fold_whole(Ints s) {
    FourInts v[WIDTH / 16];
    memcpy(v, &s, sizeof s);
    for (int i = 1; i < WIDTH / 16; i++) v[0] += v[i];
    return v[0];
}

INLINE void whole_dots(const int8_t *const w[], int rows, const int16_t *const x[], int tokens, int32_t n,
                       FourInts *folded) {
    Ints s[TILE] = {0};
    int32_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES)
        UNROLL for (int j = 0; j < rows * tokens; j++)
            s[j] = add_products(s[j], w[j / tokens] + i, x[j % tokens] + i);
    UNROLL for (int j = 0; j < rows * tokens; j++) {
        if (i == n) break;
        int8_t last_w[2 * LANES] = {0};
        int16_t last_x[2 * LANES] = {0};
        memcpy(last_w, w[j / tokens] + i, (size_t)(n - i));
        memcpy(last_x, x[j % tokens] + i, 2 * (size_t)(n - i));
        s[j] = add_products(s[j], last_w, last_x);
    }
    UNROLL for (int j = 0; j < rows * tokens; j++) folded[j] = fold_whole(s[j]);
}

// y[j] = four rows of weights times the input of token t + j: of one token, or of four.
INLINE void product(const Phase *phase, const void *const w[4], int32_t t, int32_t tokens, Four y[4]) {
    int32_t cols = phase->parts->cols, width = padded(cols);
    const float *const *v = (const float *const *)w, *x = phase->from + (int64_t)t * width;
    Four f[4][4];
    if (tokens == 1) {
        dots(v, 4, &x, 1, cols, f[0]);
        y[0] = finish(f[0][0], f[0][1], f[0][2], f[0][3]);
        return;
    }
    const float *four[4] = {x, x + width, x + 2 * width, x + 3 * width};
    for (int i = 0; i < 4; i += TILE / 4) dots(v + i, TILE / 4, four, 4, cols, f[i]);
    for (int j = 0; j < 4; j++) y[j] = finish(f[0][j], f[1][j], f[2][j], f[3][j]);
}

// The same of int8 weights and inputs that are rounded: whole numbers, without their scales.
INLINE void whole_product(const Phase *phase, const void *const w[4], int32_t t, int32_t tokens, Four y[4]) {
    int32_t cols = phase->parts->cols, width = padded(cols);
    const int8_t *const *v = (const int8_t *const *)w;
    const int16_t *x = phase->room->whole + (int64_t)t * width;
    FourInts f[4][4], sums[4];
    if (tokens == 1) {
        whole_dots(v, 4, &x, 1, cols, f[0]);
        sums[0] = finish_whole(f[0][0], f[0][1], f[0][2], f[0][3]);
    } else {
        const int16_t *four[4] = {x, x + width, x + 2 * width, x + 3 * width};
        for (int i = 0; i < 4; i += TILE / 4) whole_dots(v + i, TILE / 4, four, 4, cols, f[i]);
        for (int j = 0; j < 4; j++) sums[j] = finish_whole(f[0][j], f[1][j], f[2][j], f[3][j]);
    }
    for (int j = 0; j < tokens; j++) y[j] = __builtin_convertvector(sums[j], Four);
}

// Rows of weights are multiplied four at a time.
static void multiply(const Phase *phase, int32_t piece, float *scratch) {
    int32_t part, first, count = rows_of(phase, piece, &part, &first);
    const Linear *linear = &phase->parts[part];
    int64_t bytes = linear->scale ? linear->cols : 4 * (int64_t)linear->cols;  // of a row
    for (int32_t r = 0; r < count; r += 4) {
        const void *w[4];
        Four bias, scale = {0};
        for (int i = 0; i < 4; i++) {
            int32_t row = first + (r + i < count ? r + i : count - 1);  // the last for those behind it
            w[i] = (const char *)linear->weight + row * bytes;
            bias[i] = linear->bias[row];
            if (linear->scale) scale[i] = linear->scale[row];
        }
        for (int64_t i = 0; i < 4 * bytes; i += 64) __builtin_prefetch((const char *)w[0] + AHEAD + i);
        size_t size = 4 * (size_t)(count - r < 4 ? count - r : 4);
        for (int32_t t = 0, tokens; t < phase->n; t += tokens) {
            tokens = phase->n - t < 4 ? 1 : 4;
            Four y[4];
            if (linear->scale) {
                whole_product(phase, w, t, tokens, y);
                for (int j = 0; j < tokens; j++) y[j] *= scale * phase->room->scale[t + j];
            } else {
                product(phase, w, t, tokens, y);
            }
            for (int j = 0; j < tokens; j++) {
                y[j] += bias;
                memcpy(scratch + (t + j) * ROWS + r, &y[j], size);
            }
        }
    }
}

static void multiply_then_gelu(const Phase *phase, int32_t piece, float *scratch) {
    multiply(phase, piece, scratch);
    int32_t part, first, count = rows_of(phase, piece, &part, &first);
    for (int32_t t = 0; t < phase->n; t++)
        for (int32_t r = 0; r < count; r += LANES) {
            Floats y = gelu(load_some(scratch + t * ROWS + r, count - r));
            memcpy(scratch + t * ROWS + r, &y, 4 * (size_t)(count - r < LANES ? count - r : LANES));
        }
}

static void deliver_product(const Phase *phase, int32_t piece, const float *scratch) {
    int32_t part, first, count = rows_of(phase, piece, &part, &first);
    for (int32_t t = 0; t < phase->n; t++)
        memcpy(phase->to + (int64_t)t * phase->to_width + first, scratch + t * ROWS, 4 * (size_t)count);
}

static void deliver_sum(const Phase *phase, int32_t piece, const float *scratch) {
    int32_t part, first, count = rows_of(phase, piece, &part, &first);
    for (int32_t t = 0; t < phase->n; t++)
        for (int32_t r = 0; r < count; r++)
            phase->to[(int64_t)t * phase->to_width + first + r] += scratch[t * ROWS + r];
}

// Where a text's keys (0) or values (1) of a head begin, (room, D...).
static float *cached(const Model *model, const Text *text, int32_t layer, int32_t values, int32_t head) {
    int64_t place = ((int64_t)layer * 2 + values) * model->num_heads + head;
    return text->cache + place * text->room * padded(model->embedding_dim / model->num_heads);
}

static void deliver_qkv(const Phase *phase, int32_t piece, const float *scratch) {
    const Model *model = phase->model;
    const Step *step = phase->step;
    int32_t H = model->num_heads, width = padded(model->embedding_dim / H);
    int32_t part, first, count = rows_of(phase, piece, &part, &first);
    for (int32_t t = 0; t < phase->n; t++) {
        float *to = phase->room->q + ((int64_t)t * H + part) * width;
        if (part >= H) {
            const Text *text = &step->texts[step->text[t]];
            to = cached(model, text, phase->layer, part >= 2 * H, part % H);
            to += (int64_t)step->position[t] * width;
        }
        memcpy(to + first, scratch + t * ROWS, 4 * (size_t)count);
    }
}

// The weighted mean of `seen` rows, `width` apart: of their first `times` times 16 numbers.
INLINE void weigh(const float *weights, const float *rows, int32_t seen, int32_t width, int times, float share,
                  float *mean) {
    Floats m[4 * PARTS] = {0};
    for (int32_t i = 0; i < seen; i++)
        for (int p = 0; p < times * PARTS; p++)
            m[p] += weights[i] * load(rows + (int64_t)i * width + p * LANES);
    for (int p = 0; p < times * PARTS; p++) store(mean + p * LANES, m[p] * share);
}

// A piece is a head of a token. Source: Vaswani et al. 2017, "Attention Is All You Need", 3.2.1.
static void attend(const Phase *phase, int32_t piece, float *scratch) {
    const Model *model = phase->model;
    int32_t H = model->num_heads, D = model->embedding_dim / H, width = padded(D);
    int32_t t = piece / H, head = piece % H, seen = phase->step->position[t] + 1;
    const Text *text = &phase->step->texts[phase->step->text[t]];
    const float *q = phase->room->q + (int64_t)piece * width;
    const float *keys = cached(model, text, phase->layer, 0, head);
    const float *values = cached(model, text, phase->layer, 1, head);
    float scale = 1.0f / __builtin_sqrtf((float)D);
    float weights[MOST_CONTEXT];
    float most = -FLT_MAX;
    for (int32_t i = 0; i < seen; i += 4) {
        const float *k[4];
        for (int j = 0; j < 4; j++) k[j] = keys + (int64_t)(i + j < seen ? i + j : seen - 1) * width;
        Four f[4];
        dots(k, 4, &q, 1, width, f);
        Four scores = finish(f[0], f[1], f[2], f[3]) * scale;
        memcpy(weights + i, &scores, sizeof scores);
        for (int j = 0; j < 4; j++) most = scores[j] > most ? scores[j] : most;
    }
    for (int32_t i = seen; i < padded(seen); i++) weights[i] = -FLT_MAX;
    Sum total = {0};
    for (int32_t i = 0; i < seen; i += SUMS)
        for (int p = 0; p < PARTS; p++) {
            Floats e = exponential(load(weights + i + p * LANES) - most);
            store(weights + i + p * LANES, e);
            total.part[p] += e;
        }
    float share = 1.0f / add_up(total);
    int32_t d = 0;
    for (; d + 4 * SUMS <= width; d += 4 * SUMS) weigh(weights, values + d, seen, width, 4, share, scratch + d);
    for (; d < width; d += SUMS) weigh(weights, values + d, seen, width, 1, share, scratch + d);
}

static void deliver_head(const Phase *phase, int32_t piece, const float *scratch) {
    int32_t H = phase->model->num_heads, C = phase->model->embedding_dim, D = C / H;
    memcpy(phase->to + (int64_t)(piece / H) * padded(C) + piece % H * D, scratch, 4 * (size_t)D);
}

// --- the next token ---------------------------------------------------------------------------------------

// The place-th number in [0, 1) of a seed, a multiple of 2^-24. The mixing function is Chris Wellons's
// "lowbias32"; inference/sampling.py has the same in Python.
static uint32_t mixed(uint32_t x) {
    x = (x ^ x >> 16) * 0x7feb352dU;
    x = (x ^ x >> 15) * 0x846ca68bU;
    return x ^ x >> 16;
}

static double uniform(uint32_t seed, uint32_t place) { return (mixed(mixed(seed) + place) >> 8) / 16777216.0; }

static int is_worse(Candidate a, Candidate b) {
    return a.logit < b.logit || (a.logit == b.logit && a.token > b.token);
}

// The worst of a heap of n is at its top.
static void sift_down(Candidate *heap, int32_t place, int32_t n) {
    Candidate moved = heap[place];
    for (int32_t child; (child = 2 * place + 1) < n; place = child) {
        if (child + 1 < n && is_worse(heap[child + 1], heap[child])) child++;
        if (!is_worse(heap[child], moved)) break;
        heap[place] = heap[child];
    }
    heap[place] = moved;
}

// The k likeliest tokens, the likeliest first; of equal ones, the first.
static void find_likeliest(const float *logits, int32_t V, Candidate *found, int32_t k) {
    for (int32_t i = 0; i < k; i++) found[i] = (Candidate){logits[i], i};
    for (int32_t i = k / 2 - 1; i >= 0; i--) sift_down(found, i, k);
    for (int32_t i = k, end; i < V; i = end) {
        end = i + 8 * LANES;
        if (end > V) {
            end = V;
        } else {  // most are too small
            Ints above = {0};
            for (int block = 0; block < 8; block++) above |= load(logits + i + block * LANES) > found[0].logit;
            int32_t any = 0;
            for (int lane = 0; lane < LANES; lane++) any |= above[lane];
            if (!any) continue;
        }
        for (; i < end; i++)
            if (logits[i] > found[0].logit) {
                found[0] = (Candidate){logits[i], i};
                sift_down(found, 0, k);
            }
    }
    for (int32_t n = k - 1; n > 0; n--) {
        Candidate worst = found[0];
        found[0] = found[n];
        found[n] = worst;
        sift_down(found, 0, n);
    }
}

// As generate.choose_token says. A piece is a draw.
static void choose(const Phase *phase, int32_t piece, float *scratch) {
    const Draw *draw = &phase->step->draws[piece];
    int32_t V = phase->model->vocab_size, k = draw->top_k < V ? draw->top_k : V;
    if (draw->temperature == 0) k = 1;
    Candidate *found = (Candidate *)scratch;
    find_likeliest(phase->step->logits + (int64_t)piece * V, V, found, k);
    int32_t chosen = 0;
    if (k > 1) {
        float first = found[0].logit;
        double total = 0;
        for (int32_t i = 0; i < k; i++) {
            float e = exponential(all((found[i].logit - first) / draw->temperature))[0];
            found[i].logit = e;
            total += e;
        }
        double kept = 0, enough = draw->top_p * total;
        int32_t count = 0;
        while (count < k && (count == 0 || kept < enough)) kept += found[count++].logit;
        double target = uniform(draw->seed, draw->place) * kept, passed = 0;
        while (chosen < count - 1 && (passed += found[chosen].logit) <= target) chosen++;
    }
    int32_t token = found[chosen].token;
    memcpy(scratch, &token, 4);
}

static void deliver_token(const Phase *phase, int32_t piece, const float *scratch) {
    memcpy(&phase->step->draws[piece].token, scratch, 4);
}

// --- a step -----------------------------------------------------------------------------------------------

// Denormal numbers as IEEE 754 has them, and rounding to nearest: another library may have set this otherwise,
// in each thread.
static uint64_t set_floating_point(uint64_t wanted) {
    uint64_t before = wanted;
#if defined(__SSE2__)
    before = _mm_getcsr();
    _mm_setcsr((uint32_t)wanted);
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(wanted));
#endif
    return before;
}

#if defined(__SSE2__)
enum { STANDARD = 0x1f80 };
#else
enum { STANDARD = 0 };
#endif

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

// floats that each thread needs for itself
EXPORTED int32_t engine_scratch(const Model *model) {
    int32_t most = MOST_COLS > ROWS * MOST_TOKENS ? MOST_COLS : ROWS * MOST_TOKENS;
    return 2 * model->vocab_size > most ? 2 * model->vocab_size : most;
}

// What it was compiled for.
EXPORTED const char *engine_instructions(void) {
#if defined(__AVX512VNNI__)
    return "AVX-512 VNNI";
#elif defined(__AVX512BW__)
    return "AVX-512";
#elif defined(__AVXVNNI__)
    return "AVX2 VNNI";
#elif defined(__AVX2__)
    return "AVX2";
#elif defined(__SSE2__)
    return "SSE2";
#elif defined(__ARM_NEON)
    return "NEON";
#else
    return "plain C";
#endif
}

EXPORTED int64_t engine_pool_bytes(void) { return (int64_t)sizeof(Pool) + (int64_t)MOST_PIECES * 8; }

static void add_embedding(const Embedding *embedding, int32_t row, int32_t C, float *to) {
    int64_t start = (int64_t)row * C;
    for (int32_t i = 0; i < C; i++) {
        if (embedding->scale)
            to[i] += (float)((const int8_t *)embedding->weight)[start + i] * embedding->scale[row];
        else {
            float weight;
            memcpy(&weight, (const float *)embedding->weight + start + i, 4);
            to[i] += weight;
        }
    }
}

// The phases of a step; `p` is what all have in common. `reader` is the product that reads what they deliver.

static void run_norm(Pool *pool, float *scratch, Phase p, const Norm *norm, const Linear *reader) {
    p.compute = normalize, p.deliver = deliver_input, p.norm = norm;
    p.from = p.room->x, p.to = p.room->normed, p.parts = reader;
    run(pool, &p, scratch);
}

static void run_copy(Pool *pool, float *scratch, Phase p, const float *from, float *to, const Linear *reader) {
    p.compute = copy_row, p.deliver = deliver_input, p.from_width = p.to_width = reader->cols;
    p.from = from, p.to = to, p.parts = reader;
    run(pool, &p, scratch);
}

// compute, deliver, to and to_width are in `p`.
static void run_product(Pool *pool, float *scratch, Phase p, const Linear *parts, int32_t num_parts,
                        const float *from) {
    p.parts = parts, p.pieces = product_pieces(parts, num_parts), p.from = from;
    run(pool, &p, scratch);
}

// Read the step's tokens and draw its next ones. `pool` is NULL where there are no helpers.
EXPORTED void engine_step(const Model *model, const Step *step, const Room *room, Pool *pool, float *scratch) {
    uint64_t before = set_floating_point(STANDARD);
    int32_t H = model->num_heads, C = model->embedding_dim, n = step->n, width = padded(C);
    Phase common = {.model = model, .step = step, .room = room, .n = n, .pieces = n};
    common.from_width = common.to_width = C;

    for (int32_t t = 0; t < n; t++) {
        float *x = room->x + (int64_t)t * width;
        memset(x, 0, 4 * (size_t)width);
        add_embedding(&model->tokens, step->token[t], C, x);
        add_embedding(&model->positions, step->position[t], C, x);
    }
    Phase qkv = common, heads = common, add = common, up = common;
    qkv.compute = multiply, qkv.deliver = deliver_qkv;
    heads.compute = attend, heads.deliver = deliver_head, heads.to = room->mixed, heads.pieces = n * H;
    add.compute = multiply, add.deliver = deliver_sum, add.to = room->x, add.to_width = width;
    up.compute = multiply_then_gelu, up.deliver = deliver_product;
    up.to = room->wide, up.to_width = padded(4 * C);
    for (int32_t layer = 0; layer < model->num_layers; layer++) {
        const Block *block = &model->blocks[layer];
        qkv.layer = heads.layer = layer;
        run_norm(pool, scratch, common, &block->norm1, block->heads);
        run_product(pool, scratch, qkv, block->heads, 3 * H, room->normed);
        run(pool, &heads, scratch);
        run_copy(pool, scratch, common, room->mixed, room->normed, &block->out_proj);
        run_product(pool, scratch, add, &block->out_proj, 1, room->normed);

        run_norm(pool, scratch, common, &block->norm2, &block->up);
        run_product(pool, scratch, up, &block->up, 1, room->normed);
        if (block->down.scale) run_copy(pool, scratch, common, room->wide, room->wide, &block->down);
        run_product(pool, scratch, add, &block->down, 1, room->wide);
    }

    // What is asked for, guided: other + strength (asked - other), where `other` is the mean behind the other
    // prompts. The output layer is affine, so it is enough to mix what enters it.
    int32_t row = 0;
    for (int32_t i = 0; i < step->num_draws; i++) {
        const Draw *draw = &step->draws[i];
        float *to = room->mixed + (int64_t)i * width;
        Phase norm = common;
        norm.norm = &model->norm, norm.from = room->x;
        normalize(&norm, step->asking[row], to);
        if (draw->rows > 1) {
            float others[MOST_COLS] = {0};
            for (int32_t other = 1; other < draw->rows; other++) {
                normalize(&norm, step->asking[row + other], scratch);
                for (int32_t c = 0; c < C; c++) others[c] += scratch[c];
            }
            for (int32_t c = 0; c < C; c++) {
                float other = others[c] / (float)(draw->rows - 1);
                to[c] = other + draw->strength * (to[c] - other);
            }
        }
        row += draw->rows;
    }
    if (step->num_draws) {
        Phase each = common, output = common, choice = common;
        each.pieces = choice.pieces = output.n = step->num_draws;
        run_copy(pool, scratch, each, room->mixed, room->normed, &model->output);
        output.compute = multiply, output.deliver = deliver_product;
        output.to = step->logits, output.to_width = model->vocab_size;
        run_product(pool, scratch, output, &model->output, 1, room->normed);
        choice.compute = choose, choice.deliver = deliver_token;
        run(pool, &choice, scratch);
    }
    if (pool) atomic_fetch_or(&pool->next, MOST_PIECES);  // more than any phase has
    set_floating_point(before);
}

// A helper's work: pieces of whatever step is done. Returns when there was none for `patience` looks, or the
// pool is closed.
EXPORTED void engine_help(Pool *pool, float *scratch, int64_t patience) {
    uint64_t before = set_floating_point(STANDARD), done = UINT64_MAX;
    for (int64_t looks = 0; looks < patience && !atomic_load(&pool->closed); looks++) {
        uint64_t next = atomic_load(&pool->next), number = next >> 32;
        if (number == done || (uint32_t)next >= MOST_PIECES) {
            pause_a_little();
            continue;
        }
        Phase phase;
        atomic_fetch_add(&pool->readers, 1);
        next = atomic_load(&pool->next);
        int current = next >> 32 == number && (uint32_t)next < MOST_PIECES;
        if (current) {
            phase = pool->phase;
            atomic_fetch_add(&pool->busy, 1);
        }
        atomic_fetch_sub(&pool->readers, 1);
        if (!current) continue;
        work_on(pool, &phase, number, scratch);
        atomic_fetch_sub(&pool->busy, 1);
        done = number;
        looks = 0;
    }
    set_floating_point(before);
}

// Whether what an earlier step pointed to may be freed.
EXPORTED int32_t engine_is_idle(Pool *pool) {
    return !atomic_load(&pool->readers) && !atomic_load(&pool->busy);
}

EXPORTED void engine_close(Pool *pool) { atomic_store(&pool->closed, 1); }

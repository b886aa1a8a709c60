// A program that tells two stories with the engine, one of them guided, and prints their tokens and a hash of
// all logits: what test_compile.py compares between compilers, processors and WebAssembly.

#include <stdio.h>
#include <stdlib.h>

#include "../../inference/engine.c"

enum { V = 300, T = 48, C = 40, L = 2, H = 4, STEPS = 40 };

static uint32_t state = 1;

static int32_t next_number(void) {  // from -127 to 127
    state = state * 1664525u + 1013904223u;
    return (int32_t)(state >> 16) % 255 - 127;
}

static float *floats(int32_t n, float base, float scale) {
    float *to = malloc(4 * (size_t)n);
    for (int32_t i = 0; i < n; i++) to[i] = base + scale * (float)next_number();
    return to;
}

static void *matrix(int32_t rows, int32_t cols, int is_int8) {
    if (!is_int8) return floats(rows * cols, 0, 1.0f / 512);
    int8_t *to = malloc((size_t)rows * (size_t)cols);
    for (int32_t i = 0; i < rows * cols; i++) to[i] = (int8_t)next_number();
    return to;
}

static float *scales(int32_t rows, int is_int8) { return is_int8 ? floats(rows, 1.0f / 512, 1.0f / 262144) : NULL; }

static Linear linear(int32_t rows, int32_t cols, int is_int8) {
    return (Linear){matrix(rows, cols, is_int8), scales(rows, is_int8), floats(rows, 0, 1.0f / 1024), rows, cols};
}

static Norm norm(void) { return (Norm){floats(C, 1, 1.0f / 512), floats(C, 0, 1.0f / 512)}; }

static void *zeros(size_t bytes) { return calloc(1, bytes); }

static void tell(int is_int8) {
    Block *blocks = zeros(L * sizeof(Block));
    for (int layer = 0; layer < L; layer++) {
        Linear *heads = zeros(3 * H * sizeof(Linear));
        for (int part = 0; part < 3 * H; part++) heads[part] = linear(C / H, C, is_int8);
        blocks[layer] = (Block){norm(), norm(), heads, linear(C, C, is_int8), linear(4 * C, C, is_int8), linear(C, 4 * C, is_int8)};
    }
    Model model = {V, T, C, L, H, {matrix(V, C, is_int8), scales(V, is_int8)}, {matrix(T, C, is_int8), scales(T, is_int8)}, blocks, norm(), linear(V, C, is_int8)};
    int32_t width = padded(C), wide = padded(4 * C), head = padded(C / H);
    Room room = {zeros(4 * 64 * width), zeros(4 * 64 * width), zeros(4 * 64 * width), zeros(4 * 64 * H * head), zeros(4 * 64 * wide), zeros(2 * 64 * wide), zeros(4 * 64)};
    Text texts[3];
    for (int i = 0; i < 3; i++) texts[i] = (Text){zeros(4 * L * 2 * C / (C / H) * T * head), T};
    float *logits = zeros(2 * V * 4), *scratch = zeros(4 * (size_t)engine_scratch(&model));
    Draw draws[2] = {{1, 20, 1, 0.8f, 0.9f, 7, 0, 0}, {2, V, 1.5f, 1.3f, 1, 4000000000u, 0, 0}};
    int32_t token[3] = {3, 5, 9}, text[3] = {0, 1, 2}, position[3], asking[3] = {0, 1, 2};
    uint64_t hash = 1469598103934665603ull;
    for (int place = 0; place < STEPS; place++) {
        for (int i = 0; i < 3; i++) position[i] = place;
        draws[0].place = draws[1].place = (uint32_t)place;
        Step step = {texts, token, text, position, asking, draws, logits, 3, 2};
        engine_step(&model, &step, &room, NULL, scratch);
        for (int i = 0; i < 2 * V; i++) {
            uint32_t bits;
            memcpy(&bits, &logits[i], 4);
            hash = (hash ^ bits) * 1099511628211ull;
        }
        token[0] = draws[0].token, token[1] = token[2] = draws[1].token;
        printf("%d %d ", token[0], token[1]);
    }
    printf("%08x%08x\n", (unsigned)(hash >> 32), (unsigned)hash);
}

int main(void) {
    tell(0);
    tell(1);
    return 0;
}

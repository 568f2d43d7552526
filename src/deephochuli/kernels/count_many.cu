// Counting many tensors, and optimizer steps, in one launch each. This is read behind count.cu, whose
// names it uses.

// Tables of what one launch counts, on the device, and elements of a part.
struct Tables {
    u64* rows;
    u64* extras;
    const i64* jobs;
    const i64* parts;  // of each block: job, start
    const unsigned* table;
    i64 part;
};

__device__ inline bool are_words(i64 address) { return address % 16 == 0; }

// Count the elements from start to stop of what `source` makes of them.
template <class Source>
__device__ void count_part(i64 start, i64 stop, bool by_word, Shared& shared, u64* row,
                           Source& source) {
    const int WIDTH = Source::PER_WORD;
    Moments m = no_moments();
    const i64 n_words = by_word ? stop / WIDTH : start / WIDTH;
#pragma unroll 2
    for (i64 i = start / WIDTH + threadIdx.x; i < n_words; i += THREADS) {
        unsigned p[WIDTH];
        source.word(i, p);
        count(p, shared, row, m);
    }
    for (i64 i = n_words * WIDTH + threadIdx.x; i < stop; i += THREADS)
        count(source.one(i), shared, row, m);
    close(shared, row, m);
}

template <int KIND> struct Plain : Elements<KIND> {
    __device__ Plain(i64 address, const unsigned* table)
        : Elements<KIND>{(const void*)address, table} {}
    __device__ void word(i64 i, unsigned* p) { this->unpack(this->load(i), p); }
};

// Many tensors at once. Jobs: address, elements, row.
template <int KIND> __global__ void __launch_bounds__(THREADS) count_many(const Tables all) {
    __shared__ Shared shared;
    prepare<KIND>(shared, all.table);
    const i64* job = all.jobs + 3 * all.parts[2 * blockIdx.x];
    const i64 start = all.parts[2 * blockIdx.x + 1], stop = min(start + all.part, job[1]);
    Plain<KIND> x(job[0], shared.table);
    count_part(start, stop, are_words(job[0]), shared, all.rows + job[2] * ROW_WORDS, x);
}

__device__ inline bool is_nonzero_finite(unsigned pattern) {
    return magnitude_of(pattern) - 1 < 0x7F7FFFFFu;
}

// floor(log2) of a nonzero finite magnitude.
__device__ inline int exponent_of(unsigned pattern) {
    const unsigned magnitude = magnitude_of(pattern);
    if (magnitude >= 0x00800000u) return (int)(magnitude >> 23) - 127;
    return (int)(__float_as_uint((float)magnitude) >> 23) - 127 - 149;
}

// What optimizer steps changed, and beside it exponent differences, updatable and unmoved elements.
template <int KIND, bool HAS_GRADIENT> struct Updates {
    static const int PER_WORD = Type<KIND>::PER_WORD;
    Elements<KIND> after, before, gradient;
    unsigned* ratios;
    unsigned updatable, unmoved;

    __device__ unsigned compare(unsigned x, unsigned y, unsigned g) {
        const unsigned update = __float_as_uint(__uint_as_float(x) - __uint_as_float(y));
        if (is_nonzero_finite(update) && is_nonzero_finite(y))
            atomicAdd(ratios + exponent_of(update) - exponent_of(y) + RATIO_ZERO, 1u);
        if (HAS_GRADIENT && is_nonzero_finite(g)) {
            updatable++;
            unmoved += x == y;
        }
        return update;
    }
    __device__ unsigned one(i64 i) {
        return compare(after.one(i), before.one(i), HAS_GRADIENT ? gradient.one(i) : 0);
    }
    __device__ void word(i64 i, unsigned* p) {
        unsigned y[PER_WORD], g[PER_WORD] = {};
        const uint4 a = after.load(i), b = before.load(i);
        if (HAS_GRADIENT) gradient.unpack(gradient.load(i), g);
        after.unpack(a, p);
        before.unpack(b, y);
#pragma unroll
        for (int k = 0; k < PER_WORD; k++) p[k] = compare(p[k], y[k], g[k]);
    }
};

// Optimizer steps. Jobs: addresses of after, before and gradient, elements, first of three rows,
// extra.
template <int KIND, bool HAS_GRADIENT>
__global__ void __launch_bounds__(THREADS) count_updates(const Tables all) {
    __shared__ Shared shared;
    __shared__ unsigned ratios[N_RATIOS];
    for (int i = threadIdx.x; i < N_RATIOS; i += THREADS) ratios[i] = 0;
    prepare<KIND>(shared, all.table);
    const i64* job = all.jobs + 6 * all.parts[2 * blockIdx.x];
    const i64 start = all.parts[2 * blockIdx.x + 1], stop = min(start + all.part, job[3]);
    const bool by_word = are_words(job[0]) && are_words(job[1]) && are_words(job[2]);
    u64* row = all.rows + job[4] * ROW_WORDS;
    Plain<KIND> after(job[0], shared.table), before(job[1], shared.table);
    Plain<KIND> gradient(job[2], shared.table);
    count_part(start, stop, by_word, shared, row, after);
    clear(shared);
    if (HAS_GRADIENT) {
        count_part(start, stop, by_word, shared, row + ROW_WORDS, gradient);
        clear(shared);
    }
    Updates<KIND, HAS_GRADIENT> updates{after, before, gradient, ratios, 0, 0};
    count_part(start, stop, by_word, shared, row + 2 * ROW_WORDS, updates);
    u64* extra = all.extras + job[5] * EXTRA_WORDS;
    for (int i = threadIdx.x; i < N_RATIOS; i += THREADS)
        if (ratios[i]) atomicAdd(extra + i, (u64)ratios[i]);
    add_up(updates.updatable, updates.unmoved, 0, extra + N_RATIOS, 1);
}

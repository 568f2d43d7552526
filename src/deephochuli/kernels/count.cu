// Counting on NVIDIA GPUs: one read of the data, counters in shared memory.
//
// A block counts its share of a tensor in counters of its own, one for each sign, exponent, three
// significand bits and sticky bit, and adds those that are not zero to the row in memory at the end.
// What cannot be normal or zero (subnormal numbers, infinities, NaN) is rare and takes another way.
// Counts per channel are made of the same read. Everything is counted from patterns of binary32
// numbers that equal the elements; nothing here may be compiled with flags that flush subnormals.

typedef unsigned long long u64;
typedef long long i64;

enum { BINARY32 = 0, BFLOAT16 = 2, BINARY16 = 3, TABLE8 = 4 };  // as in _cuda_kernels.py

enum { THREADS = 256 };
enum { N_MAIN = 1 << 13, TINY_HALF = 23 * 16, SUM_AT = N_MAIN + 2 * TINY_HALF };
enum { LOW_AT = SUM_AT + 2, HIGH_AT = SUM_AT + 3, ROW_WORDS = SUM_AT + 4 };
enum { N_RATIOS = 1 << 10, RATIO_ZERO = 1 << 9, EXTRA_WORDS = N_RATIOS + 2 };

// Elements of a type: how many a 16-byte word holds, and their patterns as binary32.
template <int KIND> struct Type;

template <> struct Type<BINARY32> {
    static const int PER_WORD = 4;
    typedef unsigned Element;
    static __device__ unsigned pattern(unsigned x, const unsigned*) { return x; }
    static __device__ void patterns(uint4 w, const unsigned*, unsigned* p) {
        p[0] = w.x; p[1] = w.y; p[2] = w.z; p[3] = w.w;
    }
};

template <> struct Type<BFLOAT16> {
    static const int PER_WORD = 8;
    typedef unsigned short Element;
    static __device__ unsigned pattern(unsigned x, const unsigned*) { return x << 16; }
    static __device__ void patterns(uint4 w, const unsigned*, unsigned* p) {
        const unsigned words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            p[2 * i] = words[i] << 16;
            p[2 * i + 1] = words[i] & 0xFFFF0000u;
        }
    }
};

template <> struct Type<BINARY16> {
    static const int PER_WORD = 8;
    typedef unsigned short Element;
    static __device__ unsigned pattern(unsigned x, const unsigned*) {
        float wide;
        asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"((unsigned short)x));
        return __float_as_uint(wide);
    }
    static __device__ void patterns(uint4 w, const unsigned* table, unsigned* p) {
        const unsigned words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            p[2 * i] = pattern(words[i] & 0xFFFFu, table);
            p[2 * i + 1] = pattern(words[i] >> 16, table);
        }
    }
};

template <> struct Type<TABLE8> {
    static const int PER_WORD = 16;
    typedef unsigned char Element;
    static __device__ unsigned pattern(unsigned x, const unsigned* table) { return table[x]; }
    static __device__ void patterns(uint4 w, const unsigned* table, unsigned* p) {
        const unsigned words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int i = 0; i < 16; i++) p[i] = table[(words[i / 4] >> (8 * (i % 4))) & 255];
    }
};

// The elements of a tensor, one by one or by words of 16 bytes.
template <int KIND> struct Elements {
    static const int PER_WORD = Type<KIND>::PER_WORD;
    const void* data;
    const unsigned* table;
    __device__ unsigned one(i64 i) const {
        return Type<KIND>::pattern(((const typename Type<KIND>::Element*)data)[i], table);
    }
    __device__ uint4 load(i64 i) const { return __ldg((const uint4*)data + i); }
    __device__ void unpack(uint4 word, unsigned* p) const {
        Type<KIND>::patterns(word, table, p);
    }
};

// What a block counts in. The sticky bit is the highest of an index, so that numbers of a few
// binades spread over all banks.
struct Shared {
    unsigned counters[N_MAIN];
    unsigned table[256];
    double totals[THREADS / 32], squares[THREADS / 32];
    unsigned lows[THREADS / 32], highs[THREADS / 32];
};

struct Moments {
    double total, squares;
    unsigned low, high;  // smallest nonzero magnitude - 1, largest magnitude + 1
};

__device__ inline Moments no_moments() { return Moments{0.0, 0.0, 0x7FFFFFFEu, 0u}; }

__device__ inline void clear(Shared& shared) {
    uint4* words = (uint4*)shared.counters;
    for (int i = threadIdx.x; i < N_MAIN / 4; i += THREADS) words[i] = make_uint4(0, 0, 0, 0);
    __syncthreads();
}

template <int KIND> __device__ void prepare(Shared& shared, const unsigned* table) {
    if (KIND == TABLE8) shared.table[threadIdx.x] = table[threadIdx.x];
    clear(shared);
}

__device__ inline unsigned magnitude_of(unsigned pattern) { return pattern & 0x7FFFFFFFu; }

__device__ inline void add_value(unsigned pattern, Moments& m) {
    const double value = __uint_as_float(pattern);
    m.total += value;
    m.squares = fma(value, value, m.squares);
    m.low = min(m.low, magnitude_of(pattern) - 1);  // of zero: the largest number there is
    m.high = max(m.high, magnitude_of(pattern) + 1);
}

__device__ inline void add_one(unsigned pattern, Shared& shared) {
    const unsigned sticky = (pattern & 0xFFFFFu) != 0 ? N_MAIN / 2 : 0;
    atomicAdd(shared.counters + (pattern >> 20 | sticky), 1u);
}

// As a whole number a subnormal magnitude has the leading bits of the number itself.
__device__ inline void count_subnormal(unsigned pattern, u64* row) {
    const unsigned whole = __float_as_uint((float)magnitude_of(pattern));
    const int place = (int)(whole >> 20 << 1 | ((whole & 0xFFFFFu) != 0)) - 127 * 16;
    atomicAdd(row + N_MAIN + (pattern >> 31) * TINY_HALF + place, 1ULL);
}

// Neither zero nor normal.
__device__ inline bool is_rare(unsigned pattern) {
    const unsigned magnitude = magnitude_of(pattern);
    return magnitude != 0 && magnitude - 0x00800000u >= 0x7F000000u;
}

// Returns whether it is a number that is to be added up.
__device__ __noinline__ bool count_rare(unsigned pattern, Shared& shared, u64* row) {
    if (magnitude_of(pattern) >= 0x7F800000u) {
        add_one(pattern, shared);
        return false;
    }
    count_subnormal(pattern, row);
    return true;
}

// Count some elements; only words with a rare one among them look at each.
template <int N>
__device__ inline void count(const unsigned (&p)[N], Shared& shared, u64* row, Moments& m) {
    bool has_rare = false;
#pragma unroll
    for (int k = 0; k < N; k++) has_rare |= is_rare(p[k]);
    if (!has_rare) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            add_one(p[k], shared);
            add_value(p[k], m);
        }
        return;
    }
#pragma unroll
    for (int k = 0; k < N; k++) {
        if (!is_rare(p[k])) {
            add_one(p[k], shared);
            add_value(p[k], m);
        } else if (count_rare(p[k], shared, row)) {
            add_value(p[k], m);
        }
    }
}

__device__ inline void count(unsigned pattern, Shared& shared, u64* row, Moments& m) {
    const unsigned p[1] = {pattern};
    count(p, shared, row, m);
}

__device__ inline void add_counters(const Shared& shared, u64* row) {
    for (int i = threadIdx.x; i < N_MAIN; i += THREADS) {
        const unsigned n = shared.counters[i];
        if (n) atomicAdd(row + ((i & (N_MAIN / 2 - 1)) << 1 | i / (N_MAIN / 2)), (u64)n);
    }
}

__device__ inline void join(Moments& m, double total, double squares, unsigned low, unsigned high) {
    m.total += total;
    m.squares += squares;
    m.low = min(m.low, low);
    m.high = max(m.high, high);
}

// Add the moments of all threads of a block to a row.
__device__ void add_moments(Shared& shared, u64* row, Moments m) {
    for (int step = 16; step; step /= 2)
        join(m, __shfl_xor_sync(~0u, m.total, step), __shfl_xor_sync(~0u, m.squares, step),
             __shfl_xor_sync(~0u, m.low, step), __shfl_xor_sync(~0u, m.high, step));
    const int warp = threadIdx.x / 32;
    if (threadIdx.x % 32 == 0) {
        shared.totals[warp] = m.total;
        shared.squares[warp] = m.squares;
        shared.lows[warp] = m.low;
        shared.highs[warp] = m.high;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 1; i < THREADS / 32; i++)
            join(m, shared.totals[i], shared.squares[i], shared.lows[i], shared.highs[i]);
        atomicAdd((double*)row + SUM_AT, m.total);
        atomicAdd((double*)row + SUM_AT + 1, m.squares);
        atomicMax((i64*)row + LOW_AT, (i64)(0x7FFFFFFEu - m.low));
        atomicMax((i64*)row + HIGH_AT, (i64)m.high);
    }
    __syncthreads();
}

// Add what a block has counted to a row.
__device__ void close(Shared& shared, u64* row, Moments m) {
    add_moments(shared, row, m);
    add_counters(shared, row);
    __syncthreads();
}

// Positive, zero and not finite elements of a channel, ten bits each: 1,023 elements at most.
__device__ inline unsigned signs_of(unsigned pattern) {
    const unsigned magnitude = magnitude_of(pattern);
    if (magnitude >= 0x7F800000u) return 1u << 20;
    if (magnitude == 0) return 1u << 10;
    return 1u - (pattern >> 31);
}

template <class Count>
__device__ void add_signs(Count* counts, int n_channels, int channel, unsigned signs) {
    const unsigned positive = signs & 1023, zero = signs >> 10 & 1023, strange = signs >> 20;
    if (positive) atomicAdd(counts + channel, (Count)positive);
    if (zero) atomicAdd(counts + n_channels + channel, (Count)zero);
    if (strange) atomicAdd(counts + 2 * n_channels + channel, (Count)strange);
}

// A tensor, its row, and where its channels are counted.
struct Job {
    const void* data;
    u64* row;
    u64* counts;  // three for each channel, or nothing
    const unsigned* table;
    i64 n;
    i64 inner;       // elements of a channel that lie side by side
    i64 n_channels;
    i64 columns;     // words (elements, where nothing is read by words) over all channels
};

enum { MOST_SHARED_CHANNELS = 1024 };  // beyond, channels are counted in memory
extern __shared__ unsigned channel_counts[];

// The whole tensor; with channels, one whose channel is the fastest dimension: a thread meets the
// same channels again and again, and counts them in registers.
template <int KIND, bool BY_WORD, bool HAS_CHANNELS>
__global__ void __launch_bounds__(THREADS) count_tensor(const Job job) {
    const int WIDTH = BY_WORD ? Type<KIND>::PER_WORD : 1;
    __shared__ Shared shared;
    const int n_channels = (int)job.n_channels;
    const bool is_near = HAS_CHANNELS && n_channels <= MOST_SHARED_CHANNELS;
    if (is_near)
        for (int i = threadIdx.x; i < 3 * n_channels; i += THREADS) channel_counts[i] = 0;
    prepare<KIND>(shared, job.table);
    const Elements<KIND> x{job.data, shared.table};
    Moments m = no_moments();
    const i64 thread = (i64)blockIdx.x * THREADS + threadIdx.x;
    const i64 n_words = job.n / WIDTH;
    i64 stride = (i64)gridDim.x * THREADS;
    if (HAS_CHANNELS) stride = stride / job.columns * job.columns;
    const int channel = HAS_CHANNELS ? (int)(thread % job.columns) * WIDTH : 0;
    unsigned signs[WIDTH] = {};
    const auto hand_over = [&]() {
#pragma unroll
        for (int k = 0; k < WIDTH; k++) {
            if (is_near) add_signs(channel_counts, n_channels, channel + k, signs[k]);
            else add_signs(job.counts, n_channels, channel + k, signs[k]);
            signs[k] = 0;
        }
    };
    int n_signs = 0;
    i64 i = thread < stride ? thread : n_words;
    uint4 word = make_uint4(0, 0, 0, 0), next = word;
    if (BY_WORD && i < n_words) word = x.load(i);
    for (; i < n_words; i += stride, word = next) {
        unsigned p[WIDTH];
        if (BY_WORD) {
            if (i + stride < n_words) next = x.load(i + stride);
            x.unpack(word, p);
        } else {
            p[0] = x.one(i);
        }
        count(p, shared, job.row, m);
        if (HAS_CHANNELS) {
#pragma unroll
            for (int k = 0; k < WIDTH; k++) signs[k] += signs_of(p[k]);
        }
        if (HAS_CHANNELS && ++n_signs == 1023) {
            hand_over();
            n_signs = 0;
        }
    }
    const i64 rest = n_words * WIDTH + thread;
    if (BY_WORD && rest < job.n) count(x.one(rest), shared, job.row, m);
    if (HAS_CHANNELS) hand_over();
    close(shared, job.row, m);
    if (is_near)
        for (int k = threadIdx.x; k < 3 * n_channels; k += THREADS)
            if (channel_counts[k]) atomicAdd(job.counts + k, (u64)channel_counts[k]);
}

// Eight-bit types without channels: codes are counted, each lane in a bank of its own, and what
// they mean is added up in the end.
template <int KIND> __global__ void __launch_bounds__(THREADS) count_codes(const Job job) {
    __shared__ Shared shared;
    prepare<KIND>(shared, job.table);
    const unsigned lane = threadIdx.x % 32;
    const i64 thread = (i64)blockIdx.x * THREADS + threadIdx.x, stride = (i64)gridDim.x * THREADS;
    const i64 n_words = (i64)job.data % 16 ? 0 : job.n / 16;
    for (i64 i = thread; i < n_words; i += stride) {
        const uint4 word = __ldg((const uint4*)job.data + i);
        const unsigned words[4] = {word.x, word.y, word.z, word.w};
#pragma unroll
        for (int k = 0; k < 16; k++)
            atomicAdd(shared.counters + (words[k / 4] >> 8 * (k % 4) & 255) * 32 + lane, 1u);
    }
    for (i64 i = 16 * n_words + thread; i < job.n; i += stride)
        atomicAdd(shared.counters + ((const unsigned char*)job.data)[i] * 32 + lane, 1u);
    __syncthreads();
    u64 n = 0;  // of the code that has the number of this thread
    for (int k = 0; k < 32; k++) n += shared.counters[threadIdx.x * 32 + (k + lane) % 32];
    const unsigned pattern = shared.table[threadIdx.x], magnitude = magnitude_of(pattern);
    Moments m = no_moments();
    if (n) {
        const int place = (pattern >> 20) << 1 | ((pattern & 0xFFFFFu) != 0);
        atomicAdd(job.row + place, n);
        if (magnitude < 0x7F800000u) {
            add_value(pattern, m);
            m.total *= (double)n;
            m.squares *= (double)n;
        }
    }
    add_moments(shared, job.row, m);
}

// Add three numbers of each thread, and those of the block to places in memory.
__device__ inline void add_up(unsigned a, unsigned b, unsigned c, u64* to, i64 step) {
    __shared__ unsigned sums[3];
    if (threadIdx.x < 3) sums[threadIdx.x] = 0;
    __syncthreads();
    a = __reduce_add_sync(~0u, a);
    b = __reduce_add_sync(~0u, b);
    c = __reduce_add_sync(~0u, c);
    if (threadIdx.x % 32 == 0) {
        if (a) atomicAdd(sums, a);
        if (b) atomicAdd(sums + 1, b);
        if (c) atomicAdd(sums + 2, c);
    }
    __syncthreads();
    if (threadIdx.x < 3 && sums[threadIdx.x])
        atomicAdd(to + threadIdx.x * step, (u64)sums[threadIdx.x]);
    __syncthreads();
}

// A tensor whose channels lie in planes: a block goes from channel to channel.
template <int KIND, bool BY_WORD>
__global__ void __launch_bounds__(THREADS) count_planes(const Job job) {
    const int WIDTH = BY_WORD ? Type<KIND>::PER_WORD : 1;
    __shared__ Shared shared;
    prepare<KIND>(shared, job.table);
    const Elements<KIND> x{job.data, shared.table};
    Moments m = no_moments();
    const unsigned inner = (unsigned)(job.inner / WIDTH);
    const unsigned per_channel = (unsigned)(job.n / job.n_channels / WIDTH);
    const i64 image = (i64)inner * job.n_channels;
    for (int channel = blockIdx.y; channel < (int)job.n_channels; channel += gridDim.y) {
        const auto place = [&](unsigned j) {
            const unsigned outer = j / inner;
            return outer * image + (i64)channel * inner + (j - outer * inner);
        };
        const unsigned step = gridDim.x * THREADS;
        unsigned positive = 0, zero = 0, strange = 0, j = blockIdx.x * THREADS + threadIdx.x;
        uint4 word = make_uint4(0, 0, 0, 0), next = word;
        if (BY_WORD && j < per_channel) word = x.load(place(j));
        for (; j < per_channel; j += step, word = next) {
            unsigned p[WIDTH], signs = 0;
            if (BY_WORD) {
                if (j + step < per_channel) next = x.load(place(j + step));
                x.unpack(word, p);
            } else {
                p[0] = x.one(place(j));
            }
            count(p, shared, job.row, m);
#pragma unroll
            for (int k = 0; k < WIDTH; k++) signs += signs_of(p[k]);
            positive += signs & 1023;
            zero += signs >> 10 & 1023;
            strange += signs >> 20;
        }
        add_up(positive, zero, strange, job.counts + channel, job.n_channels);
    }
    close(shared, job.row, m);
}

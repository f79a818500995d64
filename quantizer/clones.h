// quantizer/clones.h - loops in which quantizing spends its time, compiled once per width of vectors; the loader chooses.
//
// For functions that work element by element with mul and add (fma is off): then every clone gives the same bits. What they
// call has to be inlined, or it stays at the baseline.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)  // resolvers run before the sanitizers are there
#define DGQ_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DGQ_CLONES
#endif

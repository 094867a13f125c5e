// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Every configuration macro of grape. A user may define, before the first include:
/// GRAPE_NO_EXCEPTIONS, to report errors through grape::set_error_handler instead of throwing; it
/// is implied where the compiler has exceptions switched off. All translation units of a program
/// must agree on it: of an inline function that checks its arguments the linker keeps one copy. The
/// others are for the headers' own use.

#if defined(GRAPE_SINGLE_HEADER)
#error "grape: the single header and the separate headers are both included"
#endif

#if !defined(GRAPE_NO_EXCEPTIONS) && !defined(__cpp_exceptions) && !defined(_CPPUNWIND)
#define GRAPE_NO_EXCEPTIONS
#endif

#if defined(__GNUC__) || defined(__clang__)
#define GRAPE_RESTRICT __restrict__
#define GRAPE_COLD __attribute__((cold, noinline))
#define GRAPE_INLINE inline __attribute__((always_inline))
#elif defined(_MSC_VER)
#define GRAPE_RESTRICT __restrict
#define GRAPE_COLD __declspec(noinline)
#define GRAPE_INLINE __forceinline
#else
#define GRAPE_RESTRICT
#define GRAPE_COLD
#define GRAPE_INLINE inline
#endif

/// A parameter that what is returned refers to: clang then warns of a temporary that does not live
/// as long.
#if defined(__clang__) && __has_cpp_attribute(clang::lifetimebound)
#define GRAPE_LIFETIMEBOUND [[clang::lifetimebound]]
#else
#define GRAPE_LIFETIMEBOUND
#endif

/// Kernels live in an inline namespace named after the instruction set that they were compiled for,
/// so that none is taken for another's with vectors of another size. The functions that call them
/// bear no such name, since translation units exchange what these take: of each the linker keeps
/// one copy, whichever flags it was compiled with. Hence one choice of instruction set for a
/// program, as Eigen wants, too: code for an older machine may call what only a newer one has.
/// GRAPE_VECTOR_BYTES is the size of that set's registers.
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__)
#if defined(__AVX512BF16__)
#define GRAPE_ISA isa_avx512_bf16
#else
#define GRAPE_ISA isa_avx512
#endif
#define GRAPE_VECTOR_BYTES 64
#elif defined(__AVX2__) && defined(__FMA__)
#define GRAPE_ISA isa_avx2
#define GRAPE_VECTOR_BYTES 32
#else
#define GRAPE_ISA isa_base
#define GRAPE_VECTOR_BYTES 16
#endif

/// Whether the compiler has vector types built in, on a little-endian machine: the loops over pairs
/// of bfloat16 take the low half of a lane for the first. Others take the scalar loops, which know
/// nothing of the order of bytes.
#if (defined(__GNUC__) || defined(__clang__)) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define GRAPE_VECTORS 1
#else
#define GRAPE_VECTORS 0
#endif

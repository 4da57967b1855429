# Compiler and linker flags, as two interface targets:
#
#   adit_flags     what every translation unit of ours gets: standard, sanitizer, hardening
#   adit_warnings  warnings for product code
#
# Each flag that not every supported compiler knows is probed, never assumed (gcc 12, clang 14 and
# their successors differ).

include(CheckCCompilerFlag)
include(CheckLinkerFlag)

add_library(adit_flags INTERFACE)
add_library(adit_warnings INTERFACE)

# Adds to TARGET each flag the compiler takes.
function(adit_probe_compile target)
  foreach(flag IN LISTS ARGN)
    string(MAKE_C_IDENTIFIER "has${flag}" var)
    check_c_compiler_flag("${flag}" ${var})
    if(${var})
      target_compile_options(${target} INTERFACE "${flag}")
    endif()
  endforeach()
endfunction()

function(adit_probe_link target)
  foreach(flag IN LISTS ARGN)
    string(MAKE_C_IDENTIFIER "has_link${flag}" var)
    check_linker_flag(C "${flag}" ${var})
    if(${var})
      target_link_options(${target} INTERFACE "${flag}")
    endif()
  endforeach()
endfunction()

set(CMAKE_REQUIRED_QUIET ON)

# ---------------------------------------------------------------------------------------------
# Always.

target_include_directories(adit_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(adit_flags INTERFACE _GNU_SOURCE ADIT_VERSION="${ADIT_VERSION}")
if(CMAKE_SIZEOF_VOID_P EQUAL 4)
  # Files of more than 2 GiB; times stay as the libraries have them.
  target_compile_definitions(adit_flags INTERFACE _FILE_OFFSET_BITS=64)
endif()
target_compile_options(
  adit_flags
  INTERFACE -fPIE
            -fno-common
            -fno-strict-aliasing
            -fno-delete-null-pointer-checks
            -fwrapv
            # These four are mistakes in every build.
            -Werror=implicit-function-declaration
            -Werror=incompatible-pointer-types
            -Werror=int-conversion
            -Werror=return-type
            -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=)
target_link_options(adit_flags INTERFACE -pie)
adit_probe_compile(adit_flags -fvisibility=hidden -fstrict-flex-arrays=3 -fzero-init-padding-bits=all)

# ---------------------------------------------------------------------------------------------
# Sanitizers. Pools and arenas turn themselves off under AddressSanitizer, or an overrun inside a
# chunk would stay invisible. They ask for __SANITIZE_ADDRESS__, which clang does not define.

if(ADIT_SANITIZE)
  # Lines for their reports, and nothing for a debugger: a fifth of the compiler's work.
  target_compile_options(adit_flags INTERFACE -g1)
endif()
if(ADIT_SANITIZE STREQUAL "address" OR ADIT_SANITIZE STREQUAL "fuzzer")
  # -fwrapv would hide signed overflow from UBSan.
  set(_sanitize -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
                -fno-wrapv)
  target_compile_options(adit_flags INTERFACE ${_sanitize} -O1)
  target_link_options(adit_flags INTERFACE -fsanitize=address,undefined)
  if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    target_compile_definitions(adit_flags INTERFACE __SANITIZE_ADDRESS__=1)
  endif()
  if(ADIT_SANITIZE STREQUAL "fuzzer")
    target_compile_options(adit_flags INTERFACE -fsanitize=fuzzer-no-link)
  endif()
elseif(ADIT_SANITIZE STREQUAL "thread")
  target_compile_options(adit_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer -O1)
  target_link_options(adit_flags INTERFACE -fsanitize=thread)
  # gcc warns of fences it cannot follow.
  adit_probe_compile(adit_flags -Wno-tsan)
elseif(ADIT_SANITIZE STREQUAL "memory")
  target_compile_options(adit_flags INTERFACE -fsanitize=memory -fsanitize-memory-track-origins
                                              -fno-omit-frame-pointer -O1)
  target_link_options(adit_flags INTERFACE -fsanitize=memory)
elseif(ADIT_SANITIZE)
  message(FATAL_ERROR "ADIT_SANITIZE must be empty, address, thread, memory or fuzzer")
elseif(NOT ADIT_HARDENED)
  # A forgotten initialisation should show.
  adit_probe_compile(adit_flags -ftrivial-auto-var-init=pattern)
endif()

# ---------------------------------------------------------------------------------------------
# Coverage. The counters are a file of the build folder, mapped before main() begins (%c) and shared by all processes of
# a program (%m): what is killed, shut in by its sandbox or forked has counted, and nothing is written at the end.

if(ADIT_COVERAGE)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "ADIT_COVERAGE needs clang")
  endif()
  set(_counters -fprofile-instr-generate=${CMAKE_BINARY_DIR}/raw/%c%m.profraw)
  target_compile_options(
    adit_flags INTERFACE ${_counters} -fcoverage-mapping -fprofile-update=atomic
                         "SHELL:-mllvm -runtime-counter-relocation")
  target_link_options(adit_flags INTERFACE ${_counters})
endif()

# ---------------------------------------------------------------------------------------------
# Release.

if(ADIT_HARDENED)
  # The map keeps the build folder out of the binary; debuggers of the other presets need it.
  target_compile_options(
    adit_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
                         -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
  adit_probe_compile(
    adit_flags
    -fstack-protector-strong
    -fstack-clash-protection
    -fcf-protection=full
    -mbranch-protection=standard
    -ftrivial-auto-var-init=zero
    -fzero-call-used-regs=used-gpr)
  adit_probe_link(adit_flags -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code
                  -Wl,--as-needed -Wl,--gc-sections)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|i.86)$")
    # For other machines the linkers of Debian 12 take the option and warn that they do nothing.
    adit_probe_link(adit_flags -Wl,-z,pack-relative-relocs)
  endif()
  adit_probe_compile(adit_flags -ffunction-sections -fdata-sections)

  include(CheckIPOSupported)
  check_ipo_supported(RESULT ADIT_LTO LANGUAGES C OUTPUT _ipo_why)
  if(ADIT_LTO)
    set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
    # Code is made at link time then, and names its folder there.
    target_link_options(adit_flags INTERFACE -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
  else()
    message(STATUS "no link-time optimisation: ${_ipo_why}")
  endif()
endif()

# ---------------------------------------------------------------------------------------------
# Warnings. -Wconversion is added for base, wire and http, where numbers come from peers.

adit_probe_compile(
  adit_warnings
  -Wall
  -Wextra
  -Wshadow
  -Wformat=2
  -Wvla
  -Walloca
  -Wcast-qual
  -Wstrict-prototypes
  -Wmissing-prototypes
  -Wold-style-definition
  -Wimplicit-fallthrough
  -Wundef
  -Wpointer-arith
  -Wwrite-strings
  -Wbidi-chars=any
  -Wunterminated-string-initialization
  -Wflex-array-member-not-at-end)
# Empty initialisers and callbacks with arguments they do not need are house style.
target_compile_options(adit_warnings INTERFACE -Wno-missing-field-initializers -Wno-unused-parameter)
if(ADIT_WERROR)
  target_compile_options(adit_warnings INTERFACE -Werror)
  # Flow analysis that guesses wrong at -Og and under sanitizers: shown, not fatal.
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(
      adit_warnings
      INTERFACE -Wno-error=maybe-uninitialized -Wno-error=stringop-overflow
                -Wno-error=stringop-truncation -Wno-error=array-bounds
                -Wno-error=format-truncation -Wno-error=null-dereference)
  endif()
endif()

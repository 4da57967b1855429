# Tests, found by their place:
#
#   tests/unit/**/test_X.c   one cmocka program each, linked with every layer and tests/fake/*.c
#   tests/fuzz/fuzz_X.c      one libFuzzer program each in the fuzz preset; elsewhere a replay
#                            program that runs the target over tests/fuzz/corpus/X
#
# All run in the root of the tree, so that tests/data/... opens.

set(_test_env
    "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:abort_on_error=0"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1"
    "MALLOC_PERTURB_=165")
if(EXISTS ${CMAKE_SOURCE_DIR}/tests/lsan.supp)
  list(APPEND _test_env "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/lsan.supp")
endif()

# cmocka casts const away in its macros, and a test may hold a long table: no -Wcast-qual.
add_library(adit_test_flags INTERFACE)
target_link_libraries(adit_test_flags INTERFACE adit_flags)
target_include_directories(adit_test_flags INTERFACE ${CMAKE_SOURCE_DIR}/tests)
target_compile_options(
  adit_test_flags
  INTERFACE -Wall -Wextra -Wshadow -Wformat=2 -Wvla -Wstrict-prototypes
            -Wno-missing-field-initializers -Wno-unused-parameter)
if(ADIT_WERROR)
  target_compile_options(adit_test_flags INTERFACE -Werror)
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(
      adit_test_flags INTERFACE -Wno-error=maybe-uninitialized -Wno-error=stringop-overflow
                                -Wno-error=array-bounds -Wno-error=format-truncation)
  endif()
endif()

# Tests may look at libraries directly (an nghttp2 peer, a certificate), whatever layer owns them.
set(_test_libs
    PkgConfig::UV
    PkgConfig::GNUTLS
    PkgConfig::NGHTTP2
    PkgConfig::NGHTTP3
    PkgConfig::NGTCP2
    PkgConfig::FYAML
    PkgConfig::PCRE2
    PkgConfig::JANSSON
    PkgConfig::SODIUM
    PkgConfig::SQLITE
    Threads::Threads)

include(cmake/msan.cmake)

file(GLOB _fakes CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fake/*.c)
if(_fakes)
  add_library(adit_fake STATIC ${_fakes})
  target_link_libraries(adit_fake PUBLIC ${ADIT_LAYERS} PRIVATE adit_test_flags ${_test_libs})
else()
  add_library(adit_fake INTERFACE)
  target_link_libraries(adit_fake INTERFACE ${ADIT_LAYERS})
endif()

# ---------------------------------------------------------------------------------------------

file(GLOB_RECURSE _unit CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/test_*.c)
if(_unit AND NOT ADIT_SANITIZE STREQUAL "fuzzer")
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
  foreach(source IN LISTS _unit)
    file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR}/tests/unit ${source})
    string(REGEX REPLACE "test_([^/]*)\\.c$" "\\1" path ${path})
    if(ADIT_SANITIZE STREQUAL "memory" AND "unit/${path}" IN_LIST ADIT_MSAN_NOT)
      continue()
    endif()
    string(REPLACE "/" "-" target "unit-${path}")
    add_executable(${target} ${source})
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_libraries(
      ${target} PRIVATE adit_fake ${ADIT_LAYERS} ${_test_libs} PkgConfig::CMOCKA adit_test_flags)
    add_test(
      NAME unit/${path}
      COMMAND ${target}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(unit/${path} PROPERTIES LABELS unit TIMEOUT 120 ENVIRONMENT
                                                                         "${_test_env}")
    adit_msan_test(${target} unit/${path})
  endforeach()
  # These take longest: they begin first.
  foreach(path transport/quic_transport transport/quic_udp quic/paths base/log_files edge/access/countries)
    if(TEST unit/${path})
      set_tests_properties(unit/${path} PROPERTIES COST 100)
    endif()
  endforeach()
endif()

# ---------------------------------------------------------------------------------------------

file(GLOB _fuzz CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
foreach(source IN LISTS _fuzz)
  get_filename_component(target ${source} NAME_WE)
  string(REGEX REPLACE "^fuzz_" "" name ${target})
  if(ADIT_SANITIZE STREQUAL "memory" AND "fuzz/${name}" IN_LIST ADIT_MSAN_NOT)
    continue()
  endif()
  if(ADIT_SANITIZE STREQUAL "fuzzer")
    add_executable(${target} ${source})
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${target} ${source} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c)
    add_test(
      NAME fuzz/${name}
      COMMAND ${target} tests/fuzz/corpus/${name}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(fuzz/${name} PROPERTIES LABELS fuzz TIMEOUT 120 ENVIRONMENT
                                                                         "${_test_env}")
    adit_msan_test(${target} fuzz/${name})
  endif()
  # These have replies in the place of a web server (tests/fuzz/replies.h).
  if(name MATCHES "^(oauth|acme_order)$")
    target_link_options(${target} PRIVATE LINKER:--wrap=fetch)
  endif()
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  target_link_libraries(${target} PRIVATE adit_fake ${ADIT_LAYERS} ${_test_libs} adit_test_flags)
endforeach()

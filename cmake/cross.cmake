# Compiles for another architecture of Debian's, whose libraries are installed beside the machine's own (multiarch):
#
#   cmake -DCMAKE_TOOLCHAIN_FILE=cmake/cross.cmake -DADIT_TRIPLET=aarch64-linux-gnu …      (./dev cross arm64)

set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ADIT_TRIPLET)
string(REGEX REPLACE "-.*" "" CMAKE_SYSTEM_PROCESSOR "${ADIT_TRIPLET}")
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_LIBRARY_ARCHITECTURE ${ADIT_TRIPLET})
foreach(tool AR RANLIB NM)
  string(TOLOWER ${tool} name)
  # Link-time optimisation wants GCC's own.
  find_program(ADIT_CROSS_${tool} ${ADIT_TRIPLET}-gcc-${name})
  set(CMAKE_${tool} ${ADIT_CROSS_${tool}})
  set(CMAKE_C_COMPILER_${tool} ${ADIT_CROSS_${tool}})
endforeach()
set(CMAKE_C_COMPILER ${ADIT_TRIPLET}-gcc)
set(PKG_CONFIG_EXECUTABLE /usr/bin/${ADIT_TRIPLET}-pkg-config)

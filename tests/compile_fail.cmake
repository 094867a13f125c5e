# SPDX-License-Identifier: Apache-2.0
cmake_minimum_required(VERSION 3.24)
# cmake -DCOMPILER= -DSOURCE= -DINCLUDE_DIR= -DSYSTEM_DIRS=a:b -P compile_fail.cmake
# SOURCE opens with `// expect: <text>`; compiling it must fail, and the compiler must say <text>.
file(READ "${SOURCE}" text)
if(NOT text MATCHES "^// expect: ([^\n]+)\n")
  message(FATAL_ERROR "${SOURCE}: the first line must be `// expect: <text>`")
endif()
set(expected "${CMAKE_MATCH_1}")

string(REPLACE ":" ";-isystem;" system_flags ":${SYSTEM_DIRS}")
execute_process(
  COMMAND "${COMPILER}" -std=c++20 -fsyntax-only "-I${INCLUDE_DIR}" ${system_flags} "${SOURCE}"
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} compiles, but must fail with: ${expected}")
endif()
string(FIND "${output}" "${expected}" position)
if(position EQUAL -1)
  message(FATAL_ERROR "${SOURCE} fails without saying: ${expected}\n${output}")
endif()

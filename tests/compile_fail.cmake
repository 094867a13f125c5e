# SPDX-License-Identifier: Apache-2.0
cmake_minimum_required(VERSION 3.24)
# cmake -DCOMPILER= -DSOURCE= -DINCLUDE_DIR= -DSYSTEM_DIRS=a:b -P compile_fail.cmake
# SOURCE opens with `// expect: <text>`; compiling it must fail, <text> must stand in the first three
# messages (errors and the notes after them), and at most one error may follow the first.
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

string(REPLACE ";" "," lines "${output}") # a list of lines, whatever they hold
string(REGEX REPLACE "[][]" "|" lines "${lines}")
string(REPLACE "\n" ";" lines "${lines}")
string(REGEX REPLACE "[][]" "|" wanted "${expected}")
set(said FALSE)
set(errors 0)
set(messages 0)
foreach(line IN LISTS lines)
  if(line MATCHES ": (fatal )?error: ")
    math(EXPR errors "${errors} + 1")
  elseif(NOT errors OR NOT line MATCHES ": note: ")
    continue()
  endif()
  math(EXPR messages "${messages} + 1")
  string(FIND "${line}" "${wanted}" position)
  if(messages LESS_EQUAL 3 AND NOT position EQUAL -1)
    set(said TRUE)
  endif()
endforeach()
if(NOT said)
  message(FATAL_ERROR "${SOURCE}: the first three messages do not say: ${expected}\n${output}")
elseif(errors GREATER 2)
  message(FATAL_ERROR "${SOURCE}: ${errors} errors for one mistake\n${output}")
endif()

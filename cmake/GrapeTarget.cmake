# SPDX-License-Identifier: Apache-2.0
# What the project's own targets have in common; nothing here reaches a user's target.
include(CheckCXXCompilerFlag)

set(GRAPE_WARNINGS -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
# For the headers alone, which meet other projects' flags; tests mix integers and long double freely.
# packaging.warnings holds what users instantiate to these.
set(GRAPE_HEADER_WARNINGS -Wsign-conversion -Wdouble-promotion -Wold-style-cast -Wcast-qual
  -Wcast-align -Wnon-virtual-dtor -Woverloaded-virtual -Wextra-semi -Wformat=2 -Wundef)

# The folder that holds Eigen/Core; its headers are the text that examples read by default.
get_target_property(GRAPE_EIGEN_DIR Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
list(GET GRAPE_EIGEN_DIR 0 GRAPE_EIGEN_DIR)

# grape_own_target(target): warnings as errors, and GRAPE_SANITIZE.
function(grape_own_target target)
  target_compile_options(${target} PRIVATE ${GRAPE_WARNINGS})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 takes the "undefined" registers of its own AVX-512 intrinsics, which Eigen uses, for
    # uninitialized variables of ours, and their reads of small fixed matrices for reads beyond them.
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized -Wno-uninitialized -Wno-array-bounds)
  endif()
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  if(GRAPE_SANITIZE)
    target_compile_options(${target} PRIVATE
      "-fsanitize=${GRAPE_SANITIZE}" -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE "-fsanitize=${GRAPE_SANITIZE}")
  endif()
endfunction()

# grape_add_program(target LIBRARIES lib... SOURCES file...): the executable alone.
function(grape_add_program target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBRARIES;SOURCES")
  check_cxx_compiler_flag(-march=native GRAPE_HAS_MARCH_NATIVE)
  add_executable(${target} ${arg_SOURCES})
  grape_own_target(${target})
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_link_libraries(${target} PRIVATE grape::grape ${arg_LIBRARIES})
  target_compile_definitions(${target} PRIVATE GRAPE_EIGEN_DIR="${GRAPE_EIGEN_DIR}")
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O3>)
  if(GRAPE_NATIVE AND GRAPE_HAS_MARCH_NATIVE)
    target_compile_options(${target} PRIVATE -march=native)
  endif()
endfunction()

# grape_add_programs(PREFIX prefix LIBRARIES lib... EXCEPT name...): one executable <prefix><name> for
# each folder <name>/ that holds .cpp files and each single <name>.cpp in the current directory, and a
# CTest entry <prefix><name>.smoke (label smoke) that runs it with GRAPE_SMOKE=1 in the environment,
# which asks for a run of seconds. It may write its files into the folder in which it is run.
function(grape_add_programs)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "PREFIX" "LIBRARIES;EXCEPT")
  file(GLOB entries CONFIGURE_DEPENDS LIST_DIRECTORIES ON *)
  foreach(entry IN LISTS entries)
    cmake_path(GET entry STEM name)
    set(sources "${entry}")
    if(IS_DIRECTORY "${entry}")
      file(GLOB sources CONFIGURE_DEPENDS "${entry}/*.cpp")
    elseif(NOT entry MATCHES "\\.cpp$")
      continue()
    endif()
    if(NOT sources OR name IN_LIST arg_EXCEPT)
      continue()
    endif()
    set(target "${arg_PREFIX}${name}")
    grape_add_program(${target} SOURCES ${sources} LIBRARIES ${arg_LIBRARIES})

    set(run_dir "${CMAKE_CURRENT_BINARY_DIR}/smoke/${target}")
    file(MAKE_DIRECTORY "${run_dir}")
    add_test(NAME "${target}.smoke" COMMAND ${target} WORKING_DIRECTORY "${run_dir}")
    set_tests_properties("${target}.smoke" PROPERTIES
      LABELS smoke ENVIRONMENT GRAPE_SMOKE=1 TIMEOUT 300 RUN_SERIAL ON)
  endforeach()
endfunction()

# SPDX-License-Identifier: Apache-2.0
# The target `tidy`: clang-tidy, by the profile .clang-tidy, over all headers of include/ and over the
# examples. There is none where clang-tidy is not found.
find_program(GRAPE_CLANG_TIDY NAMES clang-tidy-14 clang-tidy)
mark_as_advanced(GRAPE_CLANG_TIDY)
function(grape_add_tidy)
  set(headers ${grape_headers} ${grape_conformance_headers})
  if(GRAPE_HAS_NLOHMANN_JSON)
    list(APPEND headers ${grape_json_headers})
  endif()
  list(TRANSFORM headers REPLACE "(.+)" "#include \"\\1\"")
  list(JOIN headers "\n" text)
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/tidy.cpp" CONTENT "${text}\n" @ONLY)
  file(GLOB_RECURSE examples CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/examples/*.cpp")
  list(FILTER examples EXCLUDE REGEX "/context_parallel/")  # needs MPI's headers
  set(flags -std=c++20 "-I${PROJECT_SOURCE_DIR}/include" "-I${PROJECT_SOURCE_DIR}/examples"
    "-DGRAPE_EIGEN_DIR=\"${GRAPE_EIGEN_DIR}\"")
  get_target_property(dirs Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
  foreach(dir IN LISTS dirs)
    list(APPEND flags -isystem "${dir}")
  endforeach()
  add_custom_target(tidy)
  foreach(source IN ITEMS "${PROJECT_BINARY_DIR}/tidy.cpp" LISTS examples)
    cmake_path(GET source PARENT_PATH name)
    cmake_path(GET name FILENAME name)
    add_custom_target("tidy_${name}" COMMAND "${GRAPE_CLANG_TIDY}" --quiet
      "--config-file=${PROJECT_SOURCE_DIR}/.clang-tidy" "${source}" -- ${flags} VERBATIM)
    add_dependencies(tidy "tidy_${name}")
  endforeach()
endfunction()
if(GRAPE_CLANG_TIDY)
  grape_add_tidy()
endif()

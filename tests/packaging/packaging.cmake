# SPDX-License-Identifier: Apache-2.0
cmake_minimum_required(VERSION 3.24)
# cmake -DSTEP= -DNAME= -DCOMPILER= -DGENERATOR= -DSOURCE_DIR= -DWORK_DIR= -DVERSION= -DEIGEN_DIRS=a:b
#       -DEIGEN_PACKAGE= -DGTEST_DIRS=a:b -DHEADER_WARNINGS=a:b -P packaging.cmake
# One way in which a user gets grape. `install` fills WORK_DIR/moved, which others use: the tree is
# installed elsewhere first and then moved there.
set(consumer "${CMAKE_CURRENT_LIST_DIR}/consumer")
set(dir "${WORK_DIR}/${NAME}")
set(moved "${WORK_DIR}/moved")
string(REPLACE ":" ";-isystem;" eigen_flags ":${EIGEN_DIRS}")
list(REMOVE_AT eigen_flags 0)
set(flags -std=c++20 -Wall -Wextra -Werror)
file(REMOVE_RECURSE "${dir}")
file(MAKE_DIRECTORY "${dir}")
# The user's environment must not find another grape for us, nor a cross compiler's flags.
foreach(name IN ITEMS CMAKE_PREFIX_PATH CXXFLAGS CPPFLAGS LDFLAGS CPATH CPLUS_INCLUDE_PATH DESTDIR)
  unset(ENV{${name}})
endforeach()

# run(command...): its output in `output`; fails with it unless the command succeeds.
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output
                  ERROR_VARIABLE errors WORKING_DIRECTORY "${dir}")
  if(NOT result EQUAL 0)
    list(JOIN ARGV " " command)
    message(FATAL_ERROR "${command}\n${result}\n${output}${errors}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

function(configure_consumer)
  run("${CMAKE_COMMAND}" -S "${consumer}" -B "${dir}/build" -G "${GENERATOR}"
    "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DEigen3_DIR=${EIGEN_PACKAGE}"
    -DCMAKE_EXPORT_NO_PACKAGE_REGISTRY=ON -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF ${ARGV})
endfunction()

function(build_and_run_consumer)
  run("${CMAKE_COMMAND}" --build "${dir}/build")
  run("${dir}/build/consumer")
  run("${dir}/build/kernel")
endfunction()

# compile_and_run(flag...): the consumer without a build system, in one call of the compiler.
function(compile_and_run)
  run("${COMPILER}" ${flags} ${ARGV} "${consumer}/main.cpp" "${consumer}/other.cpp" -o "${dir}/main")
  run("${dir}/main")
endfunction()

if(STEP STREQUAL "install")
  run("${CMAKE_COMMAND}" -S "${SOURCE_DIR}" -B "${dir}/build" -G "${GENERATOR}"
    "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DEigen3_DIR=${EIGEN_PACKAGE}"
    "-DCMAKE_INSTALL_PREFIX=${dir}/prefix" -DGRAPE_INSTALL=ON -DGRAPE_INSTALL_SINGLE_HEADER=ON
    -DGRAPE_BUILD_TESTS=OFF -DGRAPE_BUILD_BENCH=OFF -DGRAPE_BUILD_EXAMPLES=OFF)
  run("${CMAKE_COMMAND}" --install "${dir}/build")
  file(REMOVE_RECURSE "${moved}")
  file(RENAME "${dir}/prefix" "${moved}")
  file(GLOB_RECURSE installed "${moved}/*")
  foreach(file IN LISTS installed)
    file(READ "${file}" text)
    foreach(place IN ITEMS "${dir}" "${SOURCE_DIR}" "${EIGEN_PACKAGE}")
      string(FIND "${text}" "${place}" position)
      if(NOT position EQUAL -1)
        message(FATAL_ERROR "${file} names ${place}")
      endif()
    endforeach()
  endforeach()
  file(GLOB_RECURSE wanted RELATIVE "${SOURCE_DIR}/include" "${SOURCE_DIR}/include/*.hpp")
  foreach(header IN LISTS wanted)
    if(NOT EXISTS "${moved}/include/${header}")
      message(FATAL_ERROR "not installed: ${header}")
    endif()
  endforeach()

elseif(STEP STREQUAL "package")
  # Versions: those that fit are found, others refused (before 1.0 each minor version is its own).
  string(REPLACE "." ";" parts "${VERSION}")
  list(GET parts 0 major)
  list(GET parts 1 minor)
  math(EXPR next_minor "${minor} + 1")
  math(EXPR next_major "${major} + 1")
  set(refused ${next_major} ${major}.${next_minor} ${major}.${next_minor}...${next_major})
  if(major EQUAL 0 AND minor GREATER 0)
    math(EXPR last_minor "${minor} - 1")
    list(APPEND refused ${major}.${last_minor})
  endif()
  foreach(wanted IN LISTS refused)
    execute_process(COMMAND "${CMAKE_COMMAND}" -S "${consumer}" -B "${dir}/refused" -G "${GENERATOR}"
      "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DCMAKE_PREFIX_PATH=${moved}"
      -DWAY=package "-DWANTED=${wanted}" RESULT_VARIABLE result OUTPUT_QUIET ERROR_VARIABLE errors)
    if(result EQUAL 0 OR NOT errors MATCHES "compatible with requested|considered but not accepted")
      message(FATAL_ERROR "find_package(grape ${wanted}) finds ${VERSION}\n${errors}")
    endif()
  endforeach()
  foreach(wanted IN ITEMS "" ${VERSION} ${major}.${minor} ${VERSION}...${major}.${minor}.99)
    configure_consumer(-DWAY=package "-DWANTED=${wanted}" "-DCMAKE_PREFIX_PATH=${moved}")
  endforeach()
  build_and_run_consumer()

elseif(STEP STREQUAL "components")
  # Without the component grape_conformance there is no grape::conformance, and asking for it says so.
  run("${CMAKE_COMMAND}" --install "${WORK_DIR}/install/build" --prefix "${dir}/prefix"
    --component grape_Development)
  configure_consumer(-DWAY=package "-DCMAKE_PREFIX_PATH=${dir}/prefix")
  run("${CMAKE_COMMAND}" --build "${dir}/build")
  run("${dir}/build/consumer")
  execute_process(COMMAND "${CMAKE_COMMAND}" -S "${consumer}" -B "${dir}/refused" -G "${GENERATOR}"
    "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DCMAKE_PREFIX_PATH=${dir}/prefix"
    "-DEigen3_DIR=${EIGEN_PACKAGE}" -DWAY=package -DCOMPONENTS=conformance
    RESULT_VARIABLE result OUTPUT_QUIET ERROR_VARIABLE errors)
  if(result EQUAL 0 OR EXISTS "${dir}/build/kernel")
    message(FATAL_ERROR "the component conformance is found without being installed")
  endif()
  # With it, and as CMake before 3.23 reads the package: it skips the file sets.
  run("${CMAKE_COMMAND}" --install "${WORK_DIR}/install/build" --prefix "${dir}/prefix"
    --component grape_conformance)
  file(GLOB_RECURSE files "${dir}/prefix/*-targets.cmake")
  foreach(file IN LISTS files)
    file(READ "${file}" text)
    string(REPLACE [[if(NOT CMAKE_VERSION VERSION_LESS "3.23.0")]] "if(FALSE)" old "${text}")
    if(old STREQUAL text)
      message(FATAL_ERROR "${file}: no branch for file sets")
    endif()
    file(WRITE "${file}" "${old}")
  endforeach()
  configure_consumer(-DWAY=package -DCOMPONENTS=conformance "-DCMAKE_PREFIX_PATH=${dir}/prefix")
  build_and_run_consumer()

elseif(STEP STREQUAL "subdirectory" OR STEP STREQUAL "fetch")
  configure_consumer("-DWAY=${STEP}" "-DGRAPE=${SOURCE_DIR}" -DFETCHCONTENT_FULLY_DISCONNECTED=ON)
  build_and_run_consumer()

elseif(STEP STREQUAL "exports")
  # A project that installs a library linked to grape installs grape, by GRAPE_INSTALL.
  configure_consumer(-DWAY=subdirectory "-DGRAPE=${SOURCE_DIR}" -DEXPORTS=ON -DGRAPE_INSTALL=ON
    "-DCMAKE_INSTALL_PREFIX=${dir}/prefix")
  run("${CMAKE_COMMAND}" --build "${dir}/build" --target other)
  run("${CMAKE_COMMAND}" --install "${dir}/build")
  file(GLOB_RECURSE exported "${dir}/prefix/other-targets.cmake")
  file(READ "${exported}" text)
  file(GLOB_RECURSE package "${dir}/prefix/grape-config.cmake")
  if(NOT text MATCHES "INTERFACE_LINK_LIBRARIES \"grape::grape\"" OR NOT package)
    message(FATAL_ERROR "the exported library does not find grape::grape\n${text}")
  endif()

elseif(STEP STREQUAL "pkg_config")
  find_program(pkg_config NAMES pkgconf pkg-config)
  if(NOT pkg_config)
    message("grape: skipped, there is no pkg-config")
    return()
  endif()
  execute_process(COMMAND "${pkg_config}" --exists "eigen3 >= 3.4" RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message("grape: skipped, pkg-config does not know eigen3")
    return()
  endif()
  set(ENV{PKG_CONFIG_PATH} "${moved}/share/pkgconfig:$ENV{PKG_CONFIG_PATH}")
  run("${pkg_config}" --modversion grape)
  string(STRIP "${output}" output)
  if(NOT output STREQUAL VERSION)
    message(FATAL_ERROR "pkg-config says ${output}, not ${VERSION}")
  endif()
  run("${pkg_config}" --cflags grape)
  string(STRIP "${output}" output)
  separate_arguments(output UNIX_COMMAND "${output}")
  compile_and_run(${output})

elseif(STEP STREQUAL "include_path")
  compile_and_run("-I${SOURCE_DIR}/include" ${eigen_flags})

elseif(STEP STREQUAL "single_header")
  set(header "${moved}/include/grape_single.hpp")
  # One copy of each header, none of them missing, nothing else of ours included.
  file(STRINGS "${header}" marks REGEX "^// ---- grape/")
  list(LENGTH marks count)
  list(REMOVE_DUPLICATES marks)
  list(LENGTH marks different)
  file(STRINGS "${header}" includes REGEX "#[ \t]*include[ \t]*[<\"]grape/")
  if(NOT count EQUAL different OR count LESS 20 OR includes)
    message(FATAL_ERROR "${header}: ${count} headers, ${different} different; ${includes}")
  endif()
  file(MAKE_DIRECTORY "${dir}/alone")
  file(COPY "${header}" DESTINATION "${dir}/alone")
  compile_and_run(-DCONSUMER_SINGLE_HEADER "-I${dir}/alone" ${eigen_flags}
    -fno-exceptions -fno-rtti)
  # A separate header beside it is refused, before and after.
  foreach(order IN ITEMS "grape_single.hpp;grape/grape.hpp" "grape/grape.hpp;grape_single.hpp"
                         "grape/core/config.hpp;grape_single.hpp")
    list(TRANSFORM order REPLACE "(.+)" "#include <\\1>\n" OUTPUT_VARIABLE text)
    string(CONCAT text ${text})
    file(WRITE "${dir}/both.cpp" "${text}")
    execute_process(COMMAND "${COMPILER}" -std=c++20 -fsyntax-only "-I${dir}/alone"
      "-I${SOURCE_DIR}/include" ${eigen_flags} "${dir}/both.cpp"
      RESULT_VARIABLE result ERROR_VARIABLE errors)
    if(result EQUAL 0 OR NOT errors MATCHES "#?error:? \"?grape: the single header and the separate")
      message(FATAL_ERROR "${order}: not refused by name\n${errors}")
    endif()
  endforeach()
  # No macro of ours is left but the version (and what says that it is this header).
  file(WRITE "${dir}/empty.cpp" "#include <grape_single.hpp>\n")
  run("${COMPILER}" -std=c++20 -dM -E "-I${dir}/alone" ${eigen_flags} "${dir}/empty.cpp")
  string(REGEX MATCHALL "#define GRAPE_[A-Za-z0-9_]+" macros "${output}")
  list(FILTER macros EXCLUDE REGEX "GRAPE_(VERSION_(MAJOR|MINOR|PATCH)|SINGLE_HEADER)$")
  if(macros)
    message(FATAL_ERROR "macros that the single header leaves: ${macros}")
  endif()

elseif(STEP STREQUAL "odr")
  # Two translation units with one set of flags: type by type the same in both (g++ compares them
  # when it links).
  set(include "-I${SOURCE_DIR}/include" ${eigen_flags})
  if(NOT COMPILER MATCHES "clang")
    compile_and_run(${include} -flto -Wodr -Werror=odr)
  endif()
  # With flags that choose different kernels, in either order of linking: what one packs and the
  # other reads looks the same to both, as long as Eigen's allocations do.
  execute_process(COMMAND "${COMPILER}" -march=native -dM -E -x c++ /dev/null
                  OUTPUT_VARIABLE native RESULT_VARIABLE result ERROR_QUIET)
  if(NOT result EQUAL 0 OR NOT native MATCHES "__AVX2__ 1" OR NOT native MATCHES "__FMA__ 1")
    message("grape: skipped, this machine has no second instruction set")
    return()
  endif()
  set(mixed "${CMAKE_CURRENT_LIST_DIR}/mixed")
  list(APPEND include -std=c++20 -DEIGEN_MAX_ALIGN_BYTES=64)
  run("${COMPILER}" ${flags} ${include} -O1 -DSIDE=plain -c "${mixed}/side.cpp" -o "${dir}/plain.o")
  run("${COMPILER}" ${flags} ${include} -O1 -c "${mixed}/main.cpp" -o "${dir}/main.o")
  run("${COMPILER}" ${flags} ${include} -O3 -mavx2 -mfma -DSIDE=vectorized -c "${mixed}/side.cpp"
    -o "${dir}/vectorized.o")
  foreach(order IN ITEMS "plain;vectorized" "vectorized;plain")
    list(TRANSFORM order REPLACE "(.+)" "${dir}/\\1.o")
    run("${COMPILER}" ${order} "${dir}/main.o" -o "${dir}/main")
    run("${dir}/main")
  endforeach()
  # No kernel of one is taken for the other's: what both have is in no instruction set's namespace.
  find_program(nm nm)
  if(nm)
    run("${nm}" "${dir}/plain.o")
    string(REGEX MATCHALL "isa_[a-z0-9_]+" base "${output}")
    run("${nm}" "${dir}/vectorized.o")
    string(REGEX MATCHALL "isa_[a-z0-9_]+" native "${output}")
    list(REMOVE_DUPLICATES base)
    list(REMOVE_DUPLICATES native)
    if(NOT base OR NOT native)
      message(FATAL_ERROR "no kernels among the symbols: '${base}' and '${native}'")
    endif()
    foreach(name IN LISTS base)
      if(name IN_LIST native)
        message(FATAL_ERROR "both translation units have kernels in ${name}")
      endif()
    endforeach()
  endif()

elseif(STEP STREQUAL "warnings")
  # Strict flags in a project that does not take grape for a system's header: what the README shows and
  # what attends, forward and backward, warns of nothing within grape.
  string(REPLACE ":" ";" warnings "${HEADER_WARNINGS}")
  set(gtest_flags "")
  if(GTEST_DIRS)
    string(REPLACE ":" ";-isystem;" gtest_flags ":${GTEST_DIRS}")
    list(REMOVE_AT gtest_flags 0)
  endif()
  list(REMOVE_ITEM flags -Werror)
  foreach(source IN ITEMS readme/readme_test.cpp packaging/mixed/side.cpp
                          packaging/consumer/conformance.cpp)
    execute_process(COMMAND "${COMPILER}" ${flags} -Wpedantic -Wconversion -Wshadow ${warnings}
      -fsyntax-only -DSIDE=plain "-I${SOURCE_DIR}/include" "-I${SOURCE_DIR}/tests" ${eigen_flags}
      ${gtest_flags} "${SOURCE_DIR}/tests/${source}"
      RESULT_VARIABLE result OUTPUT_QUIET ERROR_VARIABLE errors)
    string(REGEX MATCHALL "[^\n]*include/grape/[^\n]* warning: [^\n]*" found "${errors}")
    if(NOT result EQUAL 0 OR found)
      list(JOIN found "\n" found)
      string(REGEX MATCHALL "[^\n]* error: [^\n]*" failed "${errors}")
      message(FATAL_ERROR "${source}: ${result}\n${failed}\n${found}")
    endif()
  endforeach()

elseif(STEP STREQUAL "macros")
  run("${COMPILER}" ${flags} "-I${SOURCE_DIR}/include" ${eigen_flags} -fsyntax-only
    "${CMAKE_CURRENT_LIST_DIR}/hostile_macros.cpp")

elseif(STEP STREQUAL "versions")
  # The version stands in core/version.hpp; the files that must repeat it agree.
  foreach(file IN ITEMS cmake/vcpkg/grape/vcpkg.json cmake/bazel/MODULE.bazel)
    file(READ "${SOURCE_DIR}/${file}" text)
    if(NOT text MATCHES "version\"?[ ]*[:=][ ]*\"([0-9.]+)\"" OR NOT CMAKE_MATCH_1 STREQUAL VERSION)
      message(FATAL_ERROR "${file} says ${CMAKE_MATCH_1}, core/version.hpp ${VERSION}")
    endif()
  endforeach()

elseif(STEP STREQUAL "conan")
  # The Conan recipe up to its package, which then serves the consumer.
  find_program(python NAMES python3)
  if(NOT python)
    message("grape: skipped, there is no python3")
    return()
  endif()
  run("${python}" "${CMAKE_CURRENT_LIST_DIR}/conan_recipe.py"
    "${SOURCE_DIR}/cmake/conan/conanfile.py" "${dir}" "${VERSION}")
  compile_and_run("-I${dir}/package/include" ${eigen_flags})

elseif(STEP STREQUAL "port")
  # The vcpkg port with vcpkg's helpers played by what they do.
  macro(vcpkg_cmake_configure)
    cmake_parse_arguments(arg "" "SOURCE_PATH" "OPTIONS" ${ARGN})
    run("${CMAKE_COMMAND}" -S "${arg_SOURCE_PATH}" -B "${dir}/build" -G "${GENERATOR}"
      "-DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR}" "-DCMAKE_CXX_COMPILER=${COMPILER}"
      "-DEigen3_DIR=${EIGEN_PACKAGE}" ${arg_OPTIONS})
  endmacro()
  macro(vcpkg_cmake_install)
    run("${CMAKE_COMMAND}" --install "${dir}/build")
  endmacro()
  macro(vcpkg_cmake_config_fixup)
    cmake_parse_arguments(arg "" "CONFIG_PATH" "" ${ARGN})
    file(MAKE_DIRECTORY "${CURRENT_PACKAGES_DIR}/share")
    file(RENAME "${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}" "${CURRENT_PACKAGES_DIR}/share/${PORT}")
  endmacro()
  macro(vcpkg_fixup_pkgconfig)
  endmacro()
  macro(vcpkg_install_copyright)
    cmake_parse_arguments(arg "" "" "FILE_LIST" ${ARGN})
    file(COPY_FILE "${arg_FILE_LIST}" "${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright")
  endmacro()
  set(PORT grape)
  set(CURRENT_PACKAGES_DIR "${dir}/package")
  include("${SOURCE_DIR}/cmake/vcpkg/grape/portfile.cmake")
  foreach(file IN ITEMS include/grape/grape.hpp share/grape/grape-config.cmake share/grape/copyright
                        share/grape/usage share/pkgconfig/grape.pc)
    if(NOT EXISTS "${CURRENT_PACKAGES_DIR}/${file}")
      message(FATAL_ERROR "the port lacks ${file}")
    endif()
  endforeach()
  if(EXISTS "${CURRENT_PACKAGES_DIR}/lib" OR EXISTS "${CURRENT_PACKAGES_DIR}/debug")
    message(FATAL_ERROR "a header-only port has neither lib nor debug")
  endif()

else()
  message(FATAL_ERROR "no step '${STEP}'")
endif()

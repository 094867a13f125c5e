# SPDX-License-Identifier: Apache-2.0
# `cmake --build build --target docs`: the reference as HTML under build/docs/html. It fails on a
# public name without a comment.
set(GRAPE_MATHJAX "https://cdn.jsdelivr.net/npm/mathjax@3" CACHE STRING
  "Where a browser finds MathJax, which draws the formulas: an address, or a folder relative to the pages")
set(GRAPE_MATHJAX_VERSION 3 CACHE STRING "Its major version: 2 (Debian's libjs-mathjax) or 3")
find_package(Doxygen QUIET)
if(NOT DOXYGEN_FOUND)
  add_custom_target(docs COMMAND "${CMAKE_COMMAND}" -E echo
    "docs skipped: there is no doxygen on this machine (Debian: apt-get install doxygen), then configure again" VERBATIM)
  return()
endif()
set(GRAPE_DOCS_DIR "${PROJECT_BINARY_DIR}/docs")
file(MAKE_DIRECTORY "${GRAPE_DOCS_DIR}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/docs/Doxyfile.in" "${GRAPE_DOCS_DIR}/Doxyfile" @ONLY)
add_custom_target(docs
  COMMAND "${DOXYGEN_EXECUTABLE}" "${GRAPE_DOCS_DIR}/Doxyfile"
  WORKING_DIRECTORY "${GRAPE_DOCS_DIR}"
  COMMENT "Reference: ${GRAPE_DOCS_DIR}/html/index.html"
  VERBATIM)

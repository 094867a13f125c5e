# SPDX-License-Identifier: Apache-2.0
# find_package(grape): the target grape::grape. Eigen is searched for without a version and then
# checked: a versioned search for 3.4 rejects Eigen 5.
include(CMakeFindDependencyMacro)
if(NOT TARGET Eigen3::Eigen)
  find_dependency(Eigen3 NO_MODULE)
  if(Eigen3_VERSION VERSION_LESS 3.4)
    set(grape_FOUND OFF)
    set(grape_NOT_FOUND_MESSAGE
      "grape needs Eigen 3.4 or newer, found '${Eigen3_VERSION}' in ${Eigen3_DIR}")
    return()
  endif()
endif()
include("${CMAKE_CURRENT_LIST_DIR}/grape-targets.cmake")

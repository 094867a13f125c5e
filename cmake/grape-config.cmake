# SPDX-License-Identifier: Apache-2.0
include(CMakeFindDependencyMacro)
find_dependency(Eigen3 NO_MODULE)
include("${CMAKE_CURRENT_LIST_DIR}/grape-targets.cmake")

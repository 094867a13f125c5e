# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` writes: the headers, the CMake package, the pkg-config file and, where asked
# for, the single header. Nothing in it names this machine: an installed tree may be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Headers only: the same files serve every architecture. Two install components: grape_Development,
# and grape_conformance for those who check kernels of their own. INCLUDES names the directory for
# users' CMake before 3.23, which knows no file sets.
set(grape_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/grape")
install(TARGETS grape EXPORT grape-targets
  FILE_SET HEADERS COMPONENT grape_Development
  FILE_SET json COMPONENT grape_Development
  INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT grape-targets NAMESPACE grape:: DESTINATION "${grape_package_dir}"
  COMPONENT grape_Development)
install(TARGETS grape_conformance EXPORT grape-conformance-targets
  FILE_SET HEADERS COMPONENT grape_conformance
  INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT grape-conformance-targets NAMESPACE grape:: DESTINATION "${grape_package_dir}"
  COMPONENT grape_conformance)
# Before 1.0 a new minor version may break its users, afterwards a new major one.
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(grape_compatibility SameMinorVersion)
else()
  set(grape_compatibility SameMajorVersion)
endif()
write_basic_package_version_file("${PROJECT_BINARY_DIR}/grape-config-version.cmake"
  COMPATIBILITY ${grape_compatibility} ARCH_INDEPENDENT)
configure_package_config_file(cmake/grape-config.cmake.in "${PROJECT_BINARY_DIR}/grape-config.cmake"
  INSTALL_DESTINATION "${grape_package_dir}" NO_SET_AND_CHECK_MACRO)
install(FILES "${PROJECT_BINARY_DIR}/grape-config.cmake"
  "${PROJECT_BINARY_DIR}/grape-config-version.cmake"
  DESTINATION "${grape_package_dir}" COMPONENT grape_Development)

# pkg-config finds the prefix from where its file lies, unless the include directory is absolute.
set(grape_pc_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")
cmake_path(IS_ABSOLUTE CMAKE_INSTALL_INCLUDEDIR grape_include_is_absolute)
cmake_path(IS_ABSOLUTE grape_pc_dir grape_pc_is_absolute)
set(grape_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
if(grape_include_is_absolute OR grape_pc_is_absolute)
  set(grape_pc_prefix "${CMAKE_INSTALL_PREFIX}")
  set(grape_pc_includedir "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
  file(RELATIVE_PATH grape_pc_prefix "/prefix/${grape_pc_dir}" /prefix)
  string(REGEX REPLACE "/$" "" grape_pc_prefix "\${pcfiledir}/${grape_pc_prefix}")
endif()
configure_file(cmake/grape.pc.in "${PROJECT_BINARY_DIR}/grape.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/grape.pc" DESTINATION "${grape_pc_dir}"
  COMPONENT grape_Development)

if(GRAPE_INSTALL_SINGLE_HEADER)
  install(CODE "execute_process(COMMAND \"${CMAKE_COMMAND}\"
    \"-DOUTPUT=${PROJECT_BINARY_DIR}/grape_single.hpp\"
    -P \"${PROJECT_SOURCE_DIR}/cmake/amalgamate.cmake\" COMMAND_ERROR_IS_FATAL ANY)"
    COMPONENT grape_Development)
  install(FILES "${PROJECT_BINARY_DIR}/grape_single.hpp" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    COMPONENT grape_Development)
endif()

# SPDX-License-Identifier: Apache-2.0
# An overlay port of the checkout that it lies in: vcpkg install grape --overlay-ports=<grape>/cmake/vcpkg,
# or in a manifest project "overlay-ports": ["<grape>/cmake/vcpkg"] of vcpkg-configuration.json and
# "grape" among the dependencies of vcpkg.json.
# vcpkg's binary cache knows a port by its own files, not by the headers beside it: after a change of
# the checkout install with --no-binarycaching. Where caches are shared, copy this folder into a
# registry of yours and take a tag instead of the checkout, which has a hash:
#   vcpkg_from_github(OUT_SOURCE_PATH SOURCE_PATH REPO <owner>/grape REF "v${VERSION}"
#     SHA512 <that vcpkg prints when this is 0> HEAD_REF main)
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
set(VCPKG_BUILD_TYPE release)  # headers only

vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS
    -DGRAPE_BUILD_TESTS=OFF
    -DGRAPE_BUILD_BENCH=OFF
    -DGRAPE_BUILD_EXAMPLES=OFF
    -DGRAPE_INSTALL=ON)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/grape)
vcpkg_fixup_pkgconfig()

file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/lib" "${CURRENT_PACKAGES_DIR}/debug")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")

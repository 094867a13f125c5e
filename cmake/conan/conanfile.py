# SPDX-License-Identifier: Apache-2.0
# Conan 2: conan create <grape>/cmake/conan -s compiler.cppstd=20
# Packages the checkout that it lies in, and builds tests/packaging/consumer with the result.
import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load
from conan.tools.layout import basic_layout

required_conan_version = ">=2.0"


class GrapeConan(ConanFile):
    name = "grape"
    description = "Position encodings of transformers as group actions: header-only C++20 on Eigen"
    license = "Apache-2.0"
    homepage = "https://arxiv.org/abs/2512.07805"
    topics = ("transformer", "position-encoding", "rope", "alibi", "eigen", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    no_copy_source = True

    def _root(self):
        return os.path.join(self.recipe_folder, "..", "..")

    def set_version(self):
        text = load(self, os.path.join(self._root(), "include", "grape", "core", "version.hpp"))
        parts = (re.search(rf"GRAPE_VERSION_{p} (\d+)", text) for p in ("MAJOR", "MINOR", "PATCH"))
        self.version = ".".join(part.group(1) for part in parts)

    def export_sources(self):
        copy(self, "include/*", self._root(), self.export_sources_folder)
        copy(self, "LICENSE", self._root(), self.export_sources_folder)

    def layout(self):
        basic_layout(self, src_folder=".")

    def requirements(self):
        self.requires("eigen/[>=3.4.0 <6]", transitive_headers=True)

    def validate(self):
        check_min_cppstd(self, 20)

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "*.hpp", os.path.join(self.source_folder, "include"),
             os.path.join(self.package_folder, "include"))

    def package_id(self):
        self.info.clear()

    def package_info(self):
        # Both targets are the same headers here, with the same requirements.
        self.cpp_info.set_property("cmake_file_name", "grape")
        self.cpp_info.set_property("cmake_target_name", "grape::grape")
        self.cpp_info.set_property("cmake_target_aliases", ["grape::conformance"])
        self.cpp_info.set_property("pkg_config_name", "grape")
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []

# SPDX-License-Identifier: Apache-2.0
# `conan create` builds a user's project with the package: both of its programs, by their targets.
import os

from conan import ConanFile
from conan.tools.build import can_run
from conan.tools.cmake import CMake, cmake_layout


class GrapeTestPackage(ConanFile):
    settings = "os", "arch", "compiler", "build_type"
    generators = "CMakeDeps", "CMakeToolchain"

    def requirements(self):
        self.requires(self.tested_reference_str)

    def layout(self):
        cmake_layout(self)

    def build(self):
        cmake = CMake(self)
        cmake.configure(variables={"WAY": "conan"}, build_script_folder=os.path.join(
            self.recipe_folder, "..", "..", "..", "tests", "packaging", "consumer"))
        cmake.build()

    def test(self):
        if can_run(self):
            for program in ("consumer", "kernel"):
                self.run(os.path.join(self.cpp.build.bindir, program), env="conanrun")

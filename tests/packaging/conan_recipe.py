# SPDX-License-Identifier: Apache-2.0
# conan_recipe.py RECIPE FOLDER VERSION
# What `conan create` does with a recipe up to its package, in FOLDER/package, with Conan's helpers
# played by what they do. The test package is loaded, too, and its project must exist.
import fnmatch
import importlib.util
import os
import re
import shutil
import sys
import types

recipe, folder, version = sys.argv[1:]


def copy(conanfile, pattern, src, dst):
    for base, _, files in os.walk(src):
        for name in files:
            path = os.path.relpath(os.path.join(base, name), src)
            if fnmatch.fnmatch(path, pattern):
                os.makedirs(os.path.dirname(os.path.join(dst, path)), exist_ok=True)
                shutil.copy(os.path.join(src, path), os.path.join(dst, path))


def load(conanfile, path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class ConanFile:
    def requires(self, reference, **traits):
        self.required = getattr(self, "required", []) + [reference]


class CppInfo:
    def __init__(self):
        self.properties = {}

    def set_property(self, name, value):
        self.properties[name] = value


class CMake:
    project = None

    def __init__(self, conanfile):
        pass

    def configure(self, variables, build_script_folder):
        CMake.project = build_script_folder

    def build(self):
        pass


def module(name, **members):
    made = types.ModuleType(name)
    vars(made).update(members)
    sys.modules[name] = made


def no(*arguments):
    return False


module("conan", ConanFile=ConanFile)
module("conan.tools")
module("conan.tools.build", check_min_cppstd=no, can_run=no)
module("conan.tools.cmake", CMake=CMake, cmake_layout=no)
module("conan.tools.files", copy=copy, load=load)
module("conan.tools.layout", basic_layout=lambda conanfile, src_folder: None)
sys.dont_write_bytecode = True


def make(path):
    """The one recipe class of the file, made."""
    spec = importlib.util.spec_from_file_location("recipe", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    classes = [c for c in vars(loaded).values()
               if isinstance(c, type) and issubclass(c, ConanFile) and c is not ConanFile]
    assert len(classes) == 1, classes
    made = classes[0]()
    made.recipe_folder = os.path.dirname(path)
    return made


grape = make(recipe)
grape.set_version()
assert grape.version == version, f"the recipe says {grape.version}, core/version.hpp {version}"
grape.export_sources_folder = grape.source_folder = os.path.join(folder, "source")
grape.package_folder = os.path.join(folder, "package")
grape.cpp_info = CppInfo()
grape.export_sources()
grape.layout()
grape.requirements()
grape.validate()
grape.package()
grape.package_info()
assert [r for r in grape.required if re.match(r"eigen/", r)], grape.required
targets = [grape.cpp_info.properties["cmake_target_name"],
           *grape.cpp_info.properties["cmake_target_aliases"]]
assert targets == ["grape::grape", "grape::conformance"], targets
assert os.path.exists(os.path.join(grape.package_folder, "licenses", "LICENSE"))

test = make(os.path.join(os.path.dirname(recipe), "test_package", "conanfile.py"))
test.tested_reference_str = f"grape/{version}"
test.requirements()
test.build()
test.test()
assert os.path.exists(os.path.join(CMake.project, "CMakeLists.txt")), CMake.project

"""Objects named by where they live: "pkg.mod:attr" or "path/file.py:attr"."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from zmax.core.errors import InputError, UnknownNameError

FORMS = '"pkg.mod:attr" or "path/file.py:attr"'

_files: dict[str, ModuleType] = {}
"""Modules that were loaded by path, by path and version of the file."""


def looks_like_import(spec: str) -> bool:
    """Say whether `spec` names Python code rather than something in a registry.

    True for "anything.py:attr", for dotted modules, and for a top-level module that exists here.

    Example:
        >>> looks_like_import("my/file.py:f"), looks_like_import("math:pi"), looks_like_import("attribute:glasses")
        (True, True, False)
    """
    place, colon, attribute = spec.rpartition(":")
    if not colon or not attribute or not place:
        return False
    if place.endswith(".py"):
        return True
    if not all(part.isidentifier() for part in place.split(".")):
        return False
    return "." in place or _exists(place)


def load_attribute(spec: str) -> object:
    """Import the object that `spec` names.

    A file is imported once for each version of it, with its folder on the import path; a module is looked for in the
    working directory too.

    Args:
        spec: "pkg.mod:attr" or "path/file.py:attr"; the attribute may be dotted, "file.py:Class.method".

    Raises:
        InputError: no such file or module, or importing it raises; the message gives the original error and its line.
        UnknownNameError: it holds no such attribute; the message offers the nearest.

    Example:
        >>> load_attribute("math:pi")
        3.141592653589793
    """
    place, colon, attribute = spec.rpartition(":")
    if not colon or not place or not attribute:
        remedy = f"say which object of the file is meant: {spec.rstrip(':')}:name" if ".py" in spec else ""
        raise InputError(f"the name of a Python object: {spec!r}", expected=FORMS, got=repr(spec), remedy=remedy)
    value: object = _file(Path(place).expanduser()) if place.endswith(".py") else _module(place)
    for part in attribute.split("."):
        if not hasattr(value, part):
            known = [name for name in dir(value) if not name.startswith("_")]
            raise UnknownNameError(f"attribute of {place}", part, known, remedy="check the spelling")
        value = getattr(value, part)
    return value


def loaded_files() -> dict[str, str]:
    """Return the files that were loaded by path, by the names of their modules."""
    return {module.__name__: str(module.__file__) for module in _files.values()}


def _exists(module: str) -> bool:
    here = Path.cwd()
    if (here / f"{module}.py").is_file() or (here / module / "__init__.py").is_file():
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        near = _nearest_file(path)
        raise InputError(
            f"no file {str(path)!r}",
            expected="an existing Python file",
            remedy=f"did you mean {near!r}?" if near else f"paths are relative to {Path.cwd()}",
        )
    path = path.resolve()
    version = f"{path}:{path.stat().st_mtime_ns}:{path.stat().st_size}"
    if version in _files:
        return _files[version]
    _extend_path(path.parent)
    name = path.stem if _free(path) else f"_{path.stem}_{hashlib.blake2b(version.encode(), digest_size=6).hexdigest()}"
    plan = importlib.util.spec_from_file_location(name, path)
    assert plan is not None, "a .py file always has a loader"
    assert plan.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(plan)
    _files[version] = sys.modules[name] = (
        module  # dataclasses and pickle look their module up while it is being imported
    )
    try:
        plan.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name], _files[version]
        raise _failed(str(path), error) from error
    return module


def _free(path: Path) -> bool:
    """Say whether a file can have its own name as a module, by which processes that its code starts find it, too."""
    if path.stem in sys.modules or not path.stem.isidentifier():
        return False
    importlib.invalidate_caches()
    found = importlib.util.find_spec(path.stem)
    return found is not None and found.origin == str(path)


def _module(name: str) -> ModuleType:
    _extend_path(Path.cwd())
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _failed(name, error) from error
        raise InputError(
            f"no module {error.name!r}",
            expected=FORMS,
            got=repr(name),
            remedy="install the package, or give the path of the file: path/file.py:attr",
        ) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _failed(what: str, error: BaseException) -> InputError:
    """Say in one message what an import raised, and on which line."""
    if isinstance(error, SyntaxError):
        where, message = f"{error.filename}, line {error.lineno}", error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == what] or list(frames)
        where, message = f"{own[-1].filename}, line {own[-1].lineno}: {own[-1].line}", str(error)
    return InputError(
        f"importing {what} fails",
        expected="a module that imports",
        got=f"{type(error).__name__}: {message}",
        remedy=f"see {where}",
    )


def _nearest_file(path: Path) -> str | None:
    if not path.parent.is_dir():
        return None
    close = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=1)
    return str(path.parent / close[0]) if close else None


def _extend_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last, so that it never hides an installed package

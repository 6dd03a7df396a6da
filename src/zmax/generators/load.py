"""Generators by name, by path, or by import."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from zmax.core.errors import InputError, UnknownNameError
from zmax.core.generator import Generator
from zmax.core.global_random import left_as_found
from zmax.core.imports import load_attribute
from zmax.core.registry import Registry

generators: Registry[Callable[..., Generator]] = Registry("generator", "zmax.generators")
generators.add("avatars-gan", "zmax.generators.avatars:avatars_gan")
generators.add("avatars-flow", "zmax.generators.avatars:avatars_flow")
generators.add("avatars-vae", "zmax.generators.avatars:avatars_vae")
generators.add("diffusers", "zmax.generators.diffusers.adapter:load_diffusers")
generators.add("onnx", "zmax.generators.files:load_onnx")
generators.add("torchscript", "zmax.generators.files:load_script")
generators.add("export", "zmax.generators.files:load_program")
generators.add("tuned", "zmax.finetune.weights.tuned:load_tuned")
generators.add("conditioned", "zmax.finetune.weights.tuned:load_conditioned")
generators.add("words", "zmax.generators.words:words")
generators.add("scratch", "zmax.condition.scratch:scratch")


def load_generator(spec: str) -> Generator:
    """Load a generator.

    Args:
        spec: a name of the zoo ("avatars-gan"; some take an argument, "avatars-flow:50" for 50 steps),
            "diffusers:DIR_OR_ID" (see :func:`~zmax.generators.diffusers.adapter.load_diffusers`; the folder of a saved
            pipeline alone does), "onnx:FILE", "torchscript:FILE?shape=100" or "export:FILE" (a decoder in a file,
            perhaps with `&modality=image`; see :mod:`~zmax.generators.files`), "words:a {red|blue} hat" (texts with
            alternatives), "tuned:RUN" (the
            child of a finetune), "conditioned:RUN" (the generator of a condition; "conditioned:RUN?score=X" is held at
            that score), or
            "pkg.mod:attr" or "file.py:attr" naming a Generator or a function of no arguments that makes one.

    Returns:
        The generator, ready to decode.

    Raises:
        UnknownNameError: nothing is called so; the message offers the nearest names.
        InputError: the file, module or attribute cannot be used, or the generator takes no argument.

    Example:
        >>> import zmax
        >>> zmax.load_generator("avatars-gan").space.dim
        128
    """
    if not isinstance(spec, str):
        raise InputError("the name of a generator", expected='a string such as "avatars-gan"', got=repr(spec))
    if spec.partition(":")[0] not in generators and (Path(spec.partition("?")[0]) / "model_index.json").is_file():
        spec = f"diffusers:{spec}"
    with left_as_found():
        made = _made_of(spec)
    made.source = spec
    return made


def _made_of(spec: str) -> Generator:
    name, _, argument = spec.partition(":")
    if name in generators:
        return _named(name, argument)
    if ":" in spec:
        return _imported(spec)
    raise UnknownNameError("generator", spec, generators, remedy='or give "file.py:attr" or "package.module:attr"')


def _named(name: str, argument: str) -> Generator:
    factory = generators.load(name)
    if not argument:
        return factory()
    if not inspect.signature(factory).parameters:
        raise InputError(f"generator {name!r} takes no argument", got=repr(argument), remedy=f"{name!r} alone")
    return factory(argument)


def _made(spec: str, factory: Callable[[], object]) -> object:
    try:
        return factory()
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise InputError(f"{spec!r} raises", expected="a function that returns a Generator", got=got) from error


def _imported(spec: str) -> Generator:
    found = load_attribute(spec)
    if inspect.isclass(found) or inspect.isfunction(found):
        wanted = [p for p in inspect.signature(found).parameters.values() if p.default is p.empty]
        found = found if wanted else _made(spec, found)
    if not isinstance(found, Generator):
        raise InputError(
            f"{spec!r} is not a generator",
            expected="a zmax Generator, or a function of no arguments that returns one",
            got=type(found).__name__,
            remedy="wrap the decoder in that file: G = zmax.generator(decode, shape=(100,))",
        )
    return found

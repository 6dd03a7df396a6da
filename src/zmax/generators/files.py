"""Decoders in files that need no Python code: ONNX, TorchScript, exported programs; and functions of jax."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import torch
import torch.utils.dlpack
from torch import Tensor, nn

from zmax.core.errors import InputError, MissingExtraError
from zmax.core.generator import Generator
from zmax.core.networks import InBatches
from zmax.generators.module import generator

OPTIONS = ("shape", "prior", "modality")


def load_onnx(where: str = "") -> Generator:
    """Load a decoder in ONNX; its first input takes latents, its first output is the samples.

    Args:
        where: the file, perhaps with what it does not say: "decoder.onnx?modality=image&prior=uniform&shape=100".

    Raises:
        InputError: the file cannot be read, or says no shape of the latents.
        MissingExtraError: `onnxruntime` is not installed.
    """
    file, options = _read(where, "onnx:decoder.onnx")
    network = OnnxNetwork(file)
    options = {"shape": network.shape, **options}
    if options["shape"] is None:
        raise _shapeless("onnx", where)
    decode: nn.Module = network if network.rows is None else InBatches(network, network.rows)
    return generator(decode, name=file.stem, differentiable=False, **options)


def load_script(where: str = "") -> Generator:
    """Load a decoder in TorchScript, as `torch.jit.save` writes it.

    Args:
        where: the file and the shape of its latents, "decoder.pt?shape=100&modality=image".

    Raises:
        InputError: the file cannot be read, or no shape is given.
    """
    file, options = _read(where, "torchscript:decoder.pt?shape=100")
    if "shape" not in options:
        raise _shapeless("torchscript", where)
    return generator(_loaded(torch.jit.load, file, "TorchScript", map_location="cpu"), name=file.stem, **options)


def load_program(where: str = "") -> Generator:
    """Load a decoder that was written by `torch.export.save`; it knows the shape of its latents.

    Args:
        where: the file, perhaps with more, "decoder.pt2?modality=image".

    Raises:
        InputError: the file cannot be read.
    """
    file, options = _read(where, "export:decoder.pt2")
    program = _loaded(torch.export.load, file, "an exported program")
    (latents, *_), _ = program.example_inputs
    return generator(program, name=file.stem, **{"shape": tuple(latents.shape[1:]), **options})


def from_jax(function: Callable[[Any], Any]) -> Callable[[Tensor], Tensor]:
    """Return a function of jax arrays as one of tensors, for `zmax.generator` and `zmax.score`; memory is shared.

    No gradient passes: say `differentiable=False`.

    Raises:
        MissingExtraError: `jax` is not installed.
    """
    try:
        import jax
    except ImportError as error:
        raise MissingExtraError("jax", "jax", "a decoder of jax") from error

    def called(x: Tensor) -> Tensor:
        return torch.utils.dlpack.from_dlpack(function(jax.dlpack.from_dlpack(x.detach().contiguous())))

    called.__name__ = getattr(function, "__name__", "jax")
    return called


class OnnxNetwork(nn.Module):
    """A model of ONNX as a network.

    Args:
        file: where it is.

    Attributes:
        rows: of the batches that it takes, None if it takes any.
        shape: of one latent, None where it does not say.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "onnx", f"the decoder {file.name!r}") from error
        self._session = _loaded(onnxruntime.InferenceSession, file, "an ONNX model", providers=_PROVIDERS)
        first = self._session.get_inputs()[0]
        rows, *shape = first.shape
        self._name, self._type = first.name, _TYPES.get(first.type, np.float32)
        self.rows = rows if isinstance(rows, int) else None
        self.shape = tuple(shape) if shape and all(isinstance(size, int) for size in shape) else None

    def forward(self, z: Tensor) -> Tensor:
        """Return the first output."""
        made = self._session.run(None, {self._name: z.detach().cpu().numpy().astype(self._type)})[0]
        return torch.from_numpy(np.asarray(made))


_PROVIDERS = ["CPUExecutionProvider"]
_TYPES = {"tensor(double)": np.float64, "tensor(float16)": np.float16}


def _read(where: str, example: str) -> tuple[Path, dict[str, Any]]:
    """Return a file and the options behind its name.

    Raises:
        InputError: there is no such file, or option.
    """
    name, _, query = where.partition("?")
    file, options = Path(name).expanduser(), dict[str, Any](parse_qsl(query, keep_blank_values=True))
    if not name or not file.is_file():
        raise InputError("a decoder in a file", expected=example, got=f"no file {name!r}")
    if unknown := set(options) - set(OPTIONS):
        raise InputError(f"options of {name!r}", expected=", ".join(OPTIONS), got=", ".join(sorted(unknown)))
    if "shape" in options:
        sizes = options["shape"].replace("x", ",").split(",")
        if not all(size.isdecimal() and int(size) for size in sizes):
            raise InputError(f"shape of {name!r}", expected="sizes, such as 100 or 4x8x8", got=options["shape"])
        options["shape"] = tuple(map(int, sizes))
    return file, options


def _loaded(load: Callable[..., Any], file: Path, what: str, **options: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, whose files stay
            return load(str(file), **options)
    except Exception as error:
        got = f"{type(error).__name__}: {str(error)[:300]}"
        raise InputError(f"the decoder {str(file)!r} cannot be read", expected=what, got=got) from error


def _shapeless(kind: str, where: str) -> InputError:
    remedy = f"say it: {kind}:{where.partition('?')[0]}?shape=100"
    return InputError(f"the shape of the latents of {where!r}", expected="one", got="none", remedy=remedy)

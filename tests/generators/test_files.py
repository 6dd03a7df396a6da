"""Decoders in files: what the file says of them, what it does not, and files that are something else."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import zmax
from zmax.core.errors import InputError, MissingExtraError
from zmax.generators import from_jax

pytestmark = pytest.mark.filterwarnings(r"ignore:.*torch\.jit:DeprecationWarning")

LATENTS = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))


def network() -> nn.Module:
    torch.manual_seed(0)  # noqa: TID251 - the weights only have to be the same in a test
    return nn.Linear(8, 2).eval()


def script(folder: Path) -> Path:
    torch.jit.save(torch.jit.script(network()), folder / "decoder.pt")
    return folder / "decoder.pt"


def program(folder: Path) -> Path:
    example = (torch.zeros(2, 8),)
    dynamic = ({0: torch.export.Dim("n")},)
    torch.export.save(torch.export.export(network(), example, dynamic_shapes=dynamic), folder / "decoder.pt2")
    return folder / "decoder.pt2"


class Session:
    """A stand-in for a session of onnxruntime: x W, for batches of one size perhaps, in one precision."""

    shape: tuple[Any, ...] = ("batch", 8)
    kind = "tensor(float)"

    def __init__(self, path: str, providers: list[str]) -> None:
        if Path(path).read_bytes() != b"onnx":
            raise RuntimeError("no such model")
        assert providers == ["CPUExecutionProvider"]

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="z", shape=list(self.shape), type=self.kind)]

    def run(self, outputs: None, given: dict[str, Any]) -> list[Any]:
        (z,) = given.values()
        assert list(given) == ["z"]
        assert z.dtype == (np.float64 if "double" in self.kind else np.float32)
        assert isinstance(self.shape[0], str) or len(z) == self.shape[0]
        return [2 * z, z]


@pytest.fixture
def onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made: Any = ModuleType("onnxruntime")
    made.InferenceSession = Session
    monkeypatch.setitem(sys.modules, "onnxruntime", made)
    (tmp_path / "decoder.onnx").write_bytes(b"onnx")
    return tmp_path / "decoder.onnx"


def test_a_script_needs_the_shape_of_its_latents(tmp_path: Path) -> None:
    file = script(tmp_path)
    G = zmax.load_generator(f"torchscript:{file}?shape=8&modality=vector&prior=uniform")
    torch.testing.assert_close(G.decode(LATENTS), network()(LATENTS))
    assert (G.name, G.modality, G.space.blocks[0].shape) == ("decoder", "vector", (8,))
    with pytest.raises(InputError, match=r"torchscript:.*decoder\.pt\?shape=100"):
        zmax.load_generator(f"torchscript:{file}")


def test_a_program_says_the_shape_of_its_latents(tmp_path: Path) -> None:
    G = zmax.load_generator(f"export:{program(tmp_path)}?modality=vector")
    torch.testing.assert_close(G.decode(LATENTS), network()(LATENTS))
    assert G.space.blocks[0].shape == (8,)


def test_runs_of_files_are_resumed_unless_the_file_changed(tmp_path: Path) -> None:
    file = script(tmp_path)
    spec = f"torchscript:{file}?shape=8&modality=vector"
    r = zmax.maximize(spec, lambda x: x[:, 0], "random", budget=40, out=tmp_path / "run")
    assert r.spec.generator == spec
    torch.jit.save(torch.jit.script(nn.Linear(8, 2)), file)
    with pytest.raises(zmax.core.errors.StoreError, match=r"decoder\.pt of the generator"):
        zmax.resume(tmp_path / "run", score=lambda x: x[:, 0], budget=80)


@pytest.mark.parametrize("shape", [("batch", 8), (1, 8), (3, 8)])
@pytest.mark.parametrize("kind", ["tensor(float)", "tensor(double)"])
def test_onnx_models_take_their_own_batches_and_precision(onnx: Path, monkeypatch, shape, kind) -> None:
    monkeypatch.setattr(Session, "shape", shape)
    monkeypatch.setattr(Session, "kind", kind)
    G = zmax.load_generator(f"onnx:{onnx}?modality=vector")
    assert G.space.blocks[0].shape == (8,)
    torch.testing.assert_close(G.decode(LATENTS).float(), 2 * LATENTS)
    assert zmax.maximize(G, lambda x: x[:, 0], "auto", budget=40).ledger.failures == 0


def test_onnx_models_without_a_shape_are_told_one(onnx: Path, monkeypatch) -> None:
    monkeypatch.setattr(Session, "shape", ("batch", "d"))
    with pytest.raises(InputError, match="shape=100"):
        zmax.load_generator(f"onnx:{onnx}")
    assert zmax.load_generator(f"onnx:{onnx}?shape=2x4").space.blocks[0].shape == (2, 4)


def test_what_is_wrong_with_a_file_is_said(onnx: Path) -> None:
    onnx.write_bytes(b"something else")
    for kind in ("onnx", "torchscript", "export"):
        with pytest.raises(InputError, match=r"decoder\.onnx' cannot be read"):
            zmax.load_generator(f"{kind}:{onnx}?shape=8")
    with pytest.raises(InputError, match="no file"):
        zmax.load_generator("onnx:nowhere.onnx")
    with pytest.raises(InputError, match="shapes"):
        zmax.load_generator(f"onnx:{onnx}?shapes=8")
    with pytest.raises(InputError, match="4x8x8"):
        zmax.load_generator(f"onnx:{onnx}?shape=8xd")


@pytest.mark.parametrize("package", ["onnxruntime", "jax"])
def test_missing_packages_name_their_extra(onnx: Path, monkeypatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"zmax\[onnx\]" if package == "onnxruntime" else r"zmax\[jax\]"):
        zmax.load_generator(f"onnx:{onnx}") if package == "onnxruntime" else from_jax(lambda x: x)


def test_functions_of_jax_are_handed_arrays_by_dlpack(monkeypatch) -> None:
    """With a stand-in whose arrays are numpy's, which exchange memory in the same way."""
    made: Any = ModuleType("jax")
    made.dlpack = SimpleNamespace(from_dlpack=np.from_dlpack)
    monkeypatch.setitem(sys.modules, "jax", made)

    def double(x: Any) -> Any:
        assert isinstance(x, np.ndarray)
        return np.array(2 * x)

    decode = from_jax(double)
    assert decode.__name__ == "double"
    assert torch.equal(decode(LATENTS.clone().requires_grad_()), 2 * LATENTS)
    G = zmax.generator(decode, shape=(8,), differentiable=False, modality="vector")
    assert zmax.maximize(G, zmax.score(from_jax(lambda x: np.array(x[:, 0]))), "random", budget=40).best.score > 1


def test_real_onnx_models(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    weight, number = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["z", "w"], ["x"])],
        "linear",
        [onnx.helper.make_tensor_value_info("z", number, ["n", 8])],
        [onnx.helper.make_tensor_value_info("x", number, ["n", 3])],
        [onnx.numpy_helper.from_array(weight.numpy(), "w")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "m.onnx")
    G = zmax.load_generator(f"onnx:{tmp_path / 'm.onnx'}")
    torch.testing.assert_close(G.decode(LATENTS), LATENTS @ weight)


def test_real_functions_of_jax() -> None:
    jax = pytest.importorskip("jax")
    decode = from_jax(jax.jit(lambda z: jax.numpy.tanh(z)))
    torch.testing.assert_close(decode(LATENTS), LATENTS.tanh())

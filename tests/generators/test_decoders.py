"""Decoders of every kind that people have: compiled, exported, of mixed precision, and whatever samples come in."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import zmax
from zmax.core.networks import InBatches, as_network
from zmax.generators.outputs import as_samples

pytestmark = pytest.mark.filterwarnings(r"ignore:.*(torch\.jit|torch\.ao):DeprecationWarning")

DIM = torch.export.Dim("n")


def network() -> nn.Sequential:
    made = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(), nn.Linear(16, 2))
    rng = torch.Generator().manual_seed(0)
    for weight in made.parameters():
        weight.data = torch.randn(weight.shape, generator=rng) / 3
    return made.eval()


def exported(rows: int | None = None) -> torch.export.ExportedProgram:
    dynamic = ({0: DIM},) if rows is None else None
    return torch.export.export(network(), (torch.zeros(rows or 2, 8),), dynamic_shapes=dynamic)


KINDS = {
    "script": lambda: torch.jit.script(network().train()),
    "trace": lambda: torch.jit.trace(network(), torch.zeros(2, 8)),
    "frozen": lambda: torch.jit.freeze(torch.jit.script(network())),
    "program": exported,
    "program of one row": lambda: exported(1),
    "program of three rows": lambda: exported(3),
    "exported module": lambda: exported().module(),
}
LATENTS = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=KINDS)
def compiled(request: pytest.FixtureRequest) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch would have all scripts be programs by now
        return KINDS[request.param]()


def test_compiled_decoders_are_searched_and_counted_as_plain_ones(compiled: Any) -> None:
    runs = [
        zmax.maximize(
            zmax.generator(net, shape=(8,), modality="vector"), lambda x: x[:, 0], "gradient", budget=30, seed=0
        )
        for net in (network(), compiled)
    ]
    plain, found = (r.history.score for r in runs)
    np.testing.assert_allclose(found, plain, rtol=1e-4, atol=1e-5)
    assert runs[0].ledger.nfe == runs[1].ledger.nfe == runs[1].ledger.decodes
    assert runs[0].ledger.nfe_backward == runs[1].ledger.nfe_backward > 0


def test_compiled_networks_score_too(compiled: Any) -> None:
    S = zmax.score(compiled)
    torch.testing.assert_close(S.networks[0](LATENTS), network()(LATENTS))
    assert as_network(S.networks[0]) is S.networks[0]


def test_a_function_around_a_compiled_network_counts_its_decodes() -> None:
    script = torch.jit.script(network())
    G = zmax.generator(lambda z: script(z) * 2, shape=(8,), networks=[script], modality="vector")
    r = zmax.maximize(G, lambda x: x[:, 0], "random", budget=40)
    assert r.ledger.nfe == r.ledger.decodes > 30
    torch.testing.assert_close(G.decode(LATENTS), 2 * network()(LATENTS))


def test_scripts_are_put_into_evaluation_mode_and_back() -> None:
    script = torch.jit.script(network().train())
    G = zmax.generator(lambda z: script(z), shape=(8,), networks=[script])
    script.train()
    zmax.maximize(G, lambda x: x[:, 0], "random", budget=40)
    assert script.training


def test_batches_of_another_size_come_in_parts() -> None:
    seen: list[int] = []

    class Three(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            seen.append(len(z))
            return 2 * z

    x = torch.arange(7.0)[:, None]
    assert torch.equal(InBatches(Three(), 3)(x), 2 * x)
    assert seen == [3, 3, 3]


@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor:UserWarning")
def test_quantised_networks_are_black_boxes() -> None:
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm" if "fbgemm" in torch.backends.quantized.supported_engines else engine
    net = torch.ao.quantization.quantize_dynamic(network(), {nn.Linear}, dtype=torch.qint8)
    G = zmax.generator(net, shape=(8,), modality="vector")
    r = zmax.maximize(G, lambda x: x[:, 0], "auto", budget=40)
    torch.backends.quantized.engine = engine
    assert r.spec.method != "gradient"
    assert r.ledger.failures == 0
    script = torch.jit.script(net)
    torch.testing.assert_close(zmax.generator(script, shape=(8,)).decode(LATENTS), net(LATENTS))


class Mixed(nn.Module):
    """Weights of one precision that come first, before a network of another that takes the latents."""

    def __init__(self, other: torch.dtype, net: torch.dtype) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=other))
        self.net = network().to(net)

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z) * self.scale.to(z.dtype)


@pytest.mark.parametrize(("other", "net"), [(torch.float64, torch.float32), (torch.float32, torch.float64)])
def test_latents_come_in_the_precision_that_the_decoder_takes(other: torch.dtype, net: torch.dtype) -> None:
    G = zmax.generator(Mixed(other, net), shape=(8,))
    torch.testing.assert_close(G.decode(LATENTS), network().to(net)(LATENTS.to(net)))
    assert G.decode(LATENTS).dtype == net
    assert copy.deepcopy(G).decode(LATENTS).dtype == net


def test_a_decoder_that_no_precision_helps_raises_its_own_error() -> None:
    G = zmax.generator(Mixed(torch.float64, torch.float32), shape=(9,))
    with pytest.raises(RuntimeError, match="dtype"):
        G.decode(torch.zeros(2, 9))


@dataclass
class Output:
    sample: Tensor
    loss: float = 0.0


X = torch.arange(6.0).reshape(3, 2)


def decoder_output() -> Any:
    from diffusers.models.autoencoders.vae import DecoderOutput

    return DecoderOutput(sample=X)


@pytest.mark.parametrize(
    "made",
    [
        X.numpy(),
        (X,),
        {"sample": X},
        {"sample": X, "loss": None},
        {"images": X.numpy(), "nsfw": None},
        Output(X),
        SimpleNamespace(images=X),
        decoder_output(),
        X.numpy().view(type("Array", (np.ndarray,), {})),
    ],
    ids=lambda made: type(made).__name__,
)
def test_samples_are_taken_from_what_holds_them(made: Any) -> None:
    assert torch.equal(as_samples(made, 3), X)


def test_what_exports_its_memory_becomes_a_tensor() -> None:
    class Foreign:
        def __dlpack__(self, **options: Any) -> Any:
            return X.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return X.__dlpack_device__()

    assert torch.equal(as_samples(Foreign(), 3), X)


def test_lists_and_arrays_of_texts_stay_lists() -> None:
    assert as_samples(["a", "b"], 2) == ["a", "b"]
    assert as_samples(np.array(["a", "b"]), 2) == ["a", "b"]
    assert as_samples(np.array([{"a": 1}, None], dtype=object), 2) == [{"a": 1}, None]


def columns(z: Tensor) -> dict[str, Any]:
    return {"length": z[:, 0], "width": z[:, 1].numpy(), "name": [f"{v:.2f}" for v in z[:, 2]]}


@pytest.mark.parametrize("table", [columns, lambda z: pd.DataFrame(columns(z))], ids=["columns", "frame"])
@pytest.mark.parametrize("single", [True, False])
def test_tables_are_searched_row_by_row_and_by_columns(table, single, tmp_path) -> None:
    G = zmax.generator(table, shape=(4,))
    S = zmax.score(
        (lambda row: row["length"] - row["width"]) if single else (lambda x: x["length"] - x["width"]),
        per_sample=single,
    )
    judge = zmax.score(lambda x: x["width"], name="width")
    r = zmax.maximize(G, S, "random", budget=60, out=tmp_path / "run", held_out=judge)
    row = r.best.sample
    assert set(row) == {"length", "width", "name"}
    assert r.best.score == pytest.approx(row["length"] - row["width"])
    assert zmax.load_result(tmp_path / "run").best.sample == row
    assert r.best.held_out == pytest.approx(row["width"])
    assert r.ledger.failures == 0

"""Low rank on layers: memory shared with the parent, layers by type, and files that diffusers loads by itself."""

import copy
import functools

import pytest
import torch
from torch import nn

import zmax
from tests.support.parents import decoded, filled, module_generator, perceptron, same, shaken, state
from tests.support.pipelines import CALLS
from zmax.core.errors import CapabilityError, MissingExtraError
from zmax.finetune.weights import child_of, read, restored, save_lora, written
from zmax.generators import from_diffusers
from zmax.testing import tiny_pipeline

each = pytest.mark.parametrize("kind", CALLS)
LOADING = [kind for kind in CALLS if kind not in ("ddpm", "pixart")]
"""Pipelines whose class loads a LoRA."""


@functools.cache
def pipeline(kind: str):
    return from_diffusers(tiny_pipeline(kind), **CALLS[kind])


def storage(network: nn.Module) -> dict[str, int]:
    tensors = (*network.named_parameters(), *network.named_buffers())
    return {name.replace("base_layer.", ""): tensor.data_ptr() for name, tensor in tensors if ".lora_" not in name}


def test_what_is_frozen_shares_its_memory_with_the_parent():
    for G in (module_generator(), pipeline("sdxl"), zmax.load_generator("avatars-flow")):
        child = child_of(G, "lora:2")
        (old,), (new,) = G.networks, child.generator.networks
        assert storage(new) == storage(old)
        assert not set(storage(old).values()) & {w.data_ptr() for w in child.weights.values()}


def test_low_rank_is_the_sum_that_it_says():
    G = module_generator()
    child = child_of(G, "lora:2", alpha=6.0)
    child.load(shaken(child))
    merged = perceptron().eval()
    moved = child.tensors()
    with torch.no_grad():
        for layer in (0, 4):
            a, b = (moved[f"0.{layer}.lora_{m}.default.weight"] for m in "AB")
            merged[layer].weight.add_(6.0 / 2 * b @ a)
    by_hand = zmax.generator(merged, (6,))
    assert torch.allclose(decoded(child.generator), decoded(by_hand), atol=1e-6)


def test_the_first_matrix_is_uniform_and_the_second_zero():
    tensors = child_of(zmax.load_generator("avatars-flow"), "lora:64").tensors()
    for name, weight in tensors.items():
        if ".lora_B." in name:
            assert not weight.any()
        else:
            edge = weight.shape[1] ** -0.5
            assert weight.abs().max() <= edge
            assert abs(float(weight.std()) / edge - 3**-0.5) < 0.02
    firsts = [w for n, w in tensors.items() if n.endswith("qkv.lora_A.default.weight")]
    assert len({float(w[0, 0]) for w in firsts}) == len(firsts) == 6


def test_layers_are_found_by_type_and_name():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.ConvTranspose2d(4, 4, 2, stride=2),
        nn.Sequential(nn.Conv2d(4, 1, 1, stride=2), nn.Flatten(), nn.Linear(16, 2)),
    )
    G = zmax.generator(filled(net), (1, 4, 4))
    assert child_of(G, "lora:2").targets == (("0", "4.0", "4.2"),)
    assert child_of(G, "lora:2", layers=("0.4",)).targets == (("4.0", "4.2"),)
    assert child_of(G, "lora:2", layers="4.2").targets == (("4.2",),)


def test_networks_that_share_layers_get_them_once():
    for order in (slice(None), slice(None, None, -1)):
        whole = nn.Sequential(filled(nn.Linear(6, 6)), perceptron().eval())
        G = zmax.generator(whole, (6,))
        G.networks = (whole[1], whole)[order]
        child = child_of(G, "lora:2")
        assert child.targets == ((("0", "4"), ("0",)), (("0", "1.0", "1.4"), ()))[order.step == -1]
        assert len(child.weights) == 6


def test_transformers_of_torch_use_it_without_gradients_too():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    G = zmax.generator(filled(nn.Sequential(nn.Unflatten(1, (2, 8)), layer)), (16,))
    child = child_of(G, "lora:2", layers="linear1")
    assert child.targets == (("1.linear1",),)
    child.load(shaken(child))
    z = G.space.latents(G.space.sample(3, torch.Generator().manual_seed(7)))
    assert torch.allclose(decoded(child.generator), child.generator.decode(z), atol=1e-6)
    assert not torch.allclose(decoded(child.generator), decoded(G), atol=1e-3)
    assert child_of(G, "lora:2").targets == (("1.linear1", "1.linear2"),)


def test_low_rank_needs_layers_that_are_plain_and_inside():
    with pytest.raises(CapabilityError, match='weights="full"'):
        child_of(zmax.generator(filled(nn.Linear(4, 2)), (4,)), "lora")
    with pytest.raises(CapabilityError, match="LoRA already"):
        child_of(child_of(module_generator(), "lora:2").generator, "lora")


def test_full_weights_move_on_from_low_rank():
    first = child_of(module_generator(), "lora:2")
    first.load(shaken(first))
    second = child_of(first.generator, "full")
    assert torch.equal(decoded(second.generator), decoded(first.generator))
    assert len(second.weights) == len(first.weights) + 6


def test_without_peft_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"zmax\[finetune\]"):
        child_of(module_generator(), "lora")
    assert child_of(module_generator()).kind == "full"


@each
@pytest.mark.parametrize("weights", ["full", "lora:2"])
def test_only_the_denoiser_of_a_pipeline_moves(kind, weights, tmp_path):
    G = pipeline(kind)
    then, samples = state(G), decoded(G)
    child = child_of(G, weights)
    assert torch.equal(decoded(child.generator), samples)
    child.load(shaken(child))
    moved = decoded(child.generator)
    assert not torch.allclose(moved, samples, atol=1e-3)
    assert torch.equal(decoded(G), samples)
    assert same(state(G), then)
    old, new = G.pipe.components, child.generator.pipe.components
    differ = {name for name in old if old[name] is not new[name]}
    assert {id(new[name]) for name in differ} == {id(network) for network in child.generator.networks}
    assert torch.allclose(decoded(restored(G, *read(written(child, {}))).generator), moved, atol=1e-5)


@each
def test_a_path_along_a_pipeline_moves_too(kind):
    G = pipeline(kind).stochastic(0.5)
    child = child_of(G, "lora:2")
    samples = decoded(G)
    assert torch.equal(decoded(child.generator), samples)
    child.load(shaken(child))
    assert not torch.allclose(decoded(child.generator), samples, atol=1e-3)
    assert torch.equal(decoded(G), samples)


@pytest.mark.parametrize("kind", LOADING)
def test_diffusers_loads_the_file_by_itself(kind, tmp_path):
    child = child_of(pipeline(kind), "lora:3", alpha=4.5)
    child.load(shaken(child))
    save_lora(child, tmp_path)
    pipe = tiny_pipeline(kind)
    plain = images(pipe, kind)
    pipe.load_lora_weights(tmp_path)
    assert torch.allclose(images(pipe, kind), images(child.generator.pipe, kind), atol=1e-5)
    assert not torch.allclose(images(pipe, kind), plain, atol=1e-3)
    assert torch.allclose(decoded(from_diffusers(pipe, **CALLS[kind])), decoded(child.generator), atol=1e-5)


def images(pipe, kind: str) -> torch.Tensor:
    with torch.no_grad():
        return pipe(**CALLS[kind], output_type="pt", generator=torch.Generator().manual_seed(3)).images


def test_pipelines_of_other_classes_keep_our_own_file(tmp_path):
    for kind in ("ddpm", "pixart"):
        assert not hasattr(tiny_pipeline(kind), "load_lora_weights")
        with pytest.raises(CapabilityError, match="load_lora_weights"):
            save_lora(child_of(pipeline(kind), "lora:2"), tmp_path)
    for child in (child_of(pipeline("sdxl"), "full"), child_of(module_generator(), "lora:2")):
        with pytest.raises(CapabilityError, match="LoRA of a diffusers pipeline"):
            save_lora(child, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("weights", ["full", "lora:2"])
@pytest.mark.parametrize("kind", ["stable-diffusion", "flux"])
def test_half_pipelines_move_in_float32(kind, weights):
    G = from_diffusers(tiny_pipeline(kind, dtype=torch.bfloat16), **CALLS[kind])
    child = child_of(G, weights)
    assert {w.dtype for w in child.weights.values()} == {torch.float32}
    start = decoded(child.generator)
    assert float((start - decoded(G)).abs().max()) < (0.1 if weights == "full" else 1e-9)
    (child.generator.decode(G.space.latents(G.space.sample(1, torch.Generator().manual_seed(0)))).sum()).backward()
    assert any(w.grad is not None and w.grad.any() for w in child.weights.values())
    assert {w.dtype for w in G.networks[0].parameters()} == {torch.bfloat16}


def test_a_copied_pipeline_is_one_generator():
    G = pipeline("sd3").stochastic()
    again = copy.deepcopy(G)
    assert again.networks[0] is again.pipe.transformer is not G.networks[0]
    assert again.pipe.vae is G.pipe.vae
    assert torch.equal(again.schedule.times(5), G.schedule.times(5))

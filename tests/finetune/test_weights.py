"""A child begins as its parent, moves alone, and comes back from its file as it was."""

import copy

import pytest
import torch
from torch import nn

import zmax
from tests.support.parents import (
    KINDS,
    PARENTS,
    Images,
    Words,
    decoded,
    filled,
    mixture,
    module_generator,
    perceptron,
    same,
    shaken,
    state,
)
from zmax.core.errors import CapabilityError, InputError, ShapeError
from zmax.finetune.weights import child_of

each = pytest.mark.parametrize("parent", PARENTS)
each_kind = pytest.mark.parametrize(("parent", "weights"), KINDS)


@each_kind
def test_a_child_begins_as_its_parent_and_moves_alone(parent, weights):
    G = PARENTS[parent]()
    then, samples = state(G), decoded(G)
    frozen = [w.requires_grad for net in G.networks for w in net.parameters()]
    child = child_of(G, weights)
    assert type(child.generator) is type(G)
    assert child.generator.space is G.space
    assert torch.equal(decoded(child.generator), samples)
    assert not any(module.training for net in child.generator.networks for module in net.modules())
    child.load(shaken(child))
    assert not torch.allclose(decoded(child.generator), samples, atol=1e-3)
    assert torch.equal(decoded(G), samples)
    assert same(state(G), then)
    assert [w.requires_grad for net in G.networks for w in net.parameters()] == frozen


@each
def test_training_a_child_leaves_no_trace_in_its_parent(parent):
    G = PARENTS[parent]()
    then, child = state(G), child_of(G)
    u = G.space.sample(2, torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(child.weights.values(), lr=0.1)
    before = decoded(child.generator)
    child.generator.decode(G.space.latents(u)).square().sum().backward()
    optimiser.step()
    assert not torch.equal(decoded(child.generator), before)
    assert same(state(G), then)
    assert all(w.grad is None for net in G.networks for w in net.parameters())
    assert not any(module.training for net in child.generator.networks for module in net.modules())


@pytest.mark.parametrize("parent", [*PARENTS, "mixture"])
def test_a_deep_copy_is_a_generator_of_its_own(parent):
    G = mixture() if parent == "mixture" else PARENTS[parent]()
    again, samples = copy.deepcopy(G), decoded(G)
    assert torch.equal(decoded(again), samples)
    with torch.no_grad():
        for network in again.networks:
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.add_(tensor if tensor.is_floating_point() else 0)
    assert not torch.equal(decoded(again), samples)
    assert torch.equal(decoded(G), samples)


def test_names_are_those_of_the_networks():
    G = Images()
    assert list(child_of(G).weights) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    names = list(child_of(module_generator(), "lora:2").weights)
    assert names == [f"0.{i}.lora_{m}.default.weight" for i in (0, 4) for m in "AB"]
    assert names == list(child_of(module_generator(), "lora:4").weights)


def test_the_same_child_is_born_every_time_and_no_global_stream_moves():
    G, before = module_generator(), torch.random.get_rng_state()
    one, other = (child_of(G, "lora:2").tensors() for _ in range(2))
    assert same(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_loading_is_strict():
    child = child_of(module_generator())
    tensors = child.tensors()
    with pytest.raises(InputError, match=r"1 missing, 1 unknown.*0\.0\.weight"):
        child.load({("w" if name == "0.0.weight" else name): value for name, value in tensors.items()})
    with pytest.raises(ShapeError, match=r"(?s)'0\.0\.weight'.*\(8, 6\).*\(6, 8\)"):
        child.load({**tensors, "0.0.weight": torch.zeros(6, 8)})
    assert same(child.tensors(), tensors)


def test_frozen_layers_stay_and_share_their_memory():
    G = zmax.load_generator("avatars-gan")
    child = child_of(G, "full", layers=("0.convs.4", "to_rgb"))
    assert set(child.weights) == {
        f"0.{layer}.{part}"
        for layer in ("convs.4", "to_rgb")
        for part in ("weight", "bias", "style.weight", "style.bias")
    }
    old, new = (dict(g.networks[0].named_parameters()) for g in (G, child.generator))
    shared = {name for name in old if old[name].data_ptr() == new[name].data_ptr()}
    assert {f"0.{name}" for name in old.keys() - shared} == set(child.weights)
    assert not any(new[name].requires_grad for name in shared)
    assert "weights of 0.convs.4, to_rgb: " in child.describe()


def test_layers_are_named_from_dot_to_dot():
    net = filled(nn.Sequential(*(nn.Linear(2, 2) for _ in range(12))))
    child = child_of(zmax.generator(net, (2,)), layers=("0.1", "11.bias"))
    assert list(child.weights) == ["0.1.weight", "0.1.bias", "0.11.bias"]


def test_a_network_that_decoding_does_not_run_may_be_left_out():
    G = Images()
    G.networks = (*G.networks, filled(nn.Linear(2, 2)))
    assert list(child_of(G, layers=("0.weight", "1.bias")).weights) == ["0.weight", "1.bias"]


@pytest.mark.parametrize("layers", [("convs.9",), (), "nothing"])
def test_unknown_layers_are_refused_with_those_there_are(layers):
    with pytest.raises(InputError, match=r"0\.hidden\.0.*0\.convs\.4.*0\.to_rgb"):
        child_of(zmax.load_generator("avatars-gan"), layers=layers)


def test_auto_is_full_for_small_networks_and_low_rank_for_large_ones():
    large = nn.Sequential(nn.Linear(4, 2000), nn.ReLU(), nn.Linear(2000, 2500), nn.Linear(2500, 2))
    child = child_of(zmax.generator(filled(large), (4,)))
    assert child.kind == "lora"
    moving = 8 * (4 + 2000 + 2000 + 2500 + 2500 + 2)
    assert child.describe() == f"LoRA of rank 8 on 3 layers: {moving:,} of 5,017,502 weights move"
    assert child_of(module_generator()).describe() == "full weights: 99 of 99 weights move"
    alone = zmax.generator(filled(nn.Linear(2, 2_000_000)), (2,))
    assert child_of(alone).kind == "full"


def test_networks_behind_a_function_are_refused():
    net = perceptron().eval()
    then = copy.deepcopy(net.state_dict())
    G = zmax.generator(lambda z: net(z), shape=(6,), networks=[net])
    with pytest.raises(CapabilityError, match=r"zmax\.generator\(module"):
        child_of(G)
    assert same(then, net.state_dict())
    path = zmax.diffusion(
        lambda x, t: net(torch.cat([x, x], 1)), shape=(3,), schedule="vp-linear", steps=2, networks=[net]
    )
    with pytest.raises(CapabilityError, match="no sample"):
        child_of(path)


def test_a_network_without_effect_is_refused_by_its_number():
    G = Images()
    G.networks = (*G.networks, filled(nn.Linear(2, 2)))
    with pytest.raises(CapabilityError, match="network 2"):
        child_of(G)


def test_a_copy_that_is_the_parent_is_refused_and_the_parent_stays():
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo):
            return self

    G = zmax.generator(filled(Stubborn(4, 2)), (4,))
    then = state(G)
    with pytest.raises(CapabilityError, match="change the parent"):
        child_of(G)
    assert same(state(G), then)


@pytest.mark.parametrize("made", [mixture, lambda: zmax.generator(lambda z: z, (3,))])
def test_what_has_no_weights_is_told_of_the_noise_network(made):
    with pytest.raises(CapabilityError, match="law of its noises"):
        child_of(made())


def test_what_cannot_be_copied_is_refused():
    G = module_generator()
    G.lock = (i for i in ())
    with pytest.raises(CapabilityError, match="cannot be copied"):
        child_of(G)


def test_samples_may_be_texts():
    assert child_of(Words()).describe() == "full weights: 15 of 15 weights move"


@pytest.mark.parametrize("weights", ["half", "full:3", "lora:", "lora:x", "lora:0", "auto:2"])
def test_unknown_weights_are_refused(weights):
    with pytest.raises(InputError, match=r"lora|LoRA"):
        child_of(module_generator(), weights)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_that_move_are_float32(dtype):
    G = zmax.generator(perceptron().to(dtype), shape=(6,), modality="vector")
    for weights in ("full", "lora:2"):
        child = child_of(G, weights)
        assert {w.dtype for w in child.weights.values()} == {torch.float32}
        assert decoded(child.generator).dtype == dtype
        assert torch.allclose(decoded(child.generator).float(), decoded(G).float(), atol=2e-2)
    assert {w.dtype for w in G.networks[0].parameters()} == {dtype}

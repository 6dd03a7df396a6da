"""Memory policies agree with full backpropagation where they should, cost what they state, and keep what they state."""

import pytest
import torch
from torch import nn

import zmax
from zmax.core.budget import Ledger
from zmax.core.errors import CapabilityError, InputError
from zmax.generators.diffusion.denoisers import denoised, predicted
from zmax.generators.diffusion.generator import DenoiserGenerator, with_memory
from zmax.generators.diffusion.memory import memory_policy
from zmax.generators.diffusion.multistep import DPMSolver
from zmax.generators.diffusion.reversible import Reversible
from zmax.generators.diffusion.samplers import DDIM, Euler, Heun
from zmax.generators.diffusion.schedules import RectifiedFlow
from zmax.generators.diffusion.steps import ddim_step
from zmax.run.meter import Meter
from zmax.testing import gaussian_mixture

N = 10


class Tiny(nn.Module):
    """A smooth denoiser of vectors, with weights."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3).double()
        rng = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for p in self.layer.parameters():
                p.copy_(0.5 * torch.randn(p.shape, generator=rng))

    def forward(self, x, t):
        return torch.tanh(self.layer(x)) * t[:, None].cos()


def tiny(sampler, memory="none"):
    return DenoiserGenerator(Tiny(), shape=(3,), schedule=RectifiedFlow(), sampler=sampler, name="tiny", memory=memory)


def value_and_gradients(generator, *, n=4):
    u = generator.space.sample(n, torch.Generator().manual_seed(1)).double().requires_grad_()
    x = generator.decode(generator.space.latents(u))
    weights = list(generator.denoiser.parameters())
    return x.detach(), torch.autograd.grad(x.sin().sum(), [u, *weights], allow_unused=True, materialize_grads=True)


EXACT = [
    *((sampler, "checkpoint") for sampler in (DDIM(N, 1.0), Euler(N), Heun(N), DPMSolver(N))),
    *((sampler, "sqrt") for sampler in (DDIM(N, 1.0), Euler(N), Heun(N), DPMSolver(N))),
    *((Reversible(N), policy) for policy in ("checkpoint", "sqrt", "invertible")),
    (Reversible(N, coupling=0.9), "invertible"),
    (Reversible(1), "invertible"),
    (DDIM(1, 1.0), "sqrt"),
    *((sampler, f"truncated:{N}") for sampler in (DDIM(N, 1.0), Heun(N), DPMSolver(N))),
]


@pytest.mark.parametrize(("sampler", "policy"), EXACT)
def test_exact_policies_agree_with_full_backpropagation(sampler, policy):
    x, full = value_and_gradients(tiny(sampler))
    same, found = value_and_gradients(tiny(sampler, policy))
    assert torch.equal(same, x)
    for a, b in zip(found, full, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("sampler", "policy"), [(Euler(20), "checkpoint"), (Euler(20), "sqrt"), (Reversible(20), "invertible")]
)
def test_exact_policies_agree_on_the_avatars_in_single_precision(sampler, policy):
    flow = zmax.load_generator("avatars-flow")
    found = {}
    for memory in ("none", policy):
        G = DenoiserGenerator(
            flow.denoiser, shape=(3, 16, 16), schedule=flow.schedule, sampler=sampler, name="flow", memory=memory
        )
        u = G.space.sample(2, torch.Generator().manual_seed(0)).requires_grad_()
        (found[memory],) = torch.autograd.grad(G.decode(G.space.latents(u)).square().mean((1, 2, 3)).sum(), u)
    assert float((found[policy] - found["none"]).norm() / found["none"].norm()) < 1e-5


@pytest.mark.parametrize("sampler", [DDIM(N, 1.0), Euler(N), DPMSolver(N)])
@pytest.mark.parametrize("last", [0, 1, 4])
def test_truncation_is_backpropagation_with_the_early_answers_taken_as_constant_v(sampler, last):
    G = tiny(sampler)

    def seen(x, t):
        v = predicted(G.denoise(x, t), x, G.schedule, t, "v")
        return denoised(v if float(t[0]) < (last + 0.5) / N else v.detach(), x, G.schedule, t, "v")

    u = G.space.sample(4, torch.Generator().manual_seed(1)).double().requires_grad_()
    z = G.space.latents(u)
    parts = z.values() if isinstance(z, dict) else (z,)
    expected = torch.autograd.grad(sampler(seen, G.schedule, *parts).sin().sum(), u)[0]
    for policy in [f"truncated:{last}", "detached"][: 2 if last == 0 else 1]:
        torch.testing.assert_close(value_and_gradients(tiny(sampler, policy))[1][0], expected)


@pytest.mark.parametrize("levels", ["vp-linear", "rectified-flow", "edm"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_detached_gradients_are_exact_for_standard_normal_data(levels, eta):
    law = gaussian_mixture([[0.0, 0.0]], [torch.eye(2).tolist()], [1.0])
    plain = law.generator(steps=N, eta=eta, schedule=levels)
    exact, found = (value_and_gradients(G)[1][0] for G in (plain, with_memory(plain, "detached")))
    assert float(exact.abs().max()) > 0.1
    torch.testing.assert_close(found, exact)


def test_truncated_gradients_of_the_weights_are_those_of_the_last_steps():
    """DRaFT-K: as if the path began, without gradient, K steps before its end."""
    G = tiny(Euler(N), "truncated:3")
    u = G.space.sample(4, torch.Generator().manual_seed(1)).double()
    x, times = u, G.schedule.times(N)
    for i in range(N):
        with torch.set_grad_enabled(i >= N - 3):
            t, s = times[i].expand(4), times[i + 1].expand(4)
            x = ddim_step(x, G.denoise(x, t), G.schedule, t, s)
    expected = torch.autograd.grad(x.sin().sum(), list(G.denoiser.parameters()))
    for a, b in zip(value_and_gradients(G)[1][1:], expected, strict=True):
        torch.testing.assert_close(a, b)


def test_truncated_gradients_reach_the_initial_noise():
    """They have the sign of the exact ones, here where the networks' Jacobians are small."""
    G = tiny(Euler(N), "truncated:2")
    exact, found = (value_and_gradients(g)[1][0].flatten() for g in (tiny(Euler(N)), G))
    assert float(found @ exact / found.norm() / exact.norm()) > 0.5


@pytest.mark.parametrize(
    ("sampler", "policy", "forward", "backward"),
    [
        (Euler(N), "none", N, N),
        (Euler(N), "checkpoint", 2 * N, N),
        (Euler(N), "sqrt", 3 * N - 3, N),
        (Euler(N), "truncated:3", N, 3),
        (Euler(N), "detached", N, 0),
        (Heun(N), "checkpoint", 2 * (2 * N - 1), 2 * N - 1),
        (Reversible(N), "none", 2 * N - 1, 2 * N - 2),
        (Reversible(N), "invertible", 2 * N - 1 + 2 * N - 2, 2 * N - 1),
    ],
)
def test_the_meter_counts_what_is_computed_again(sampler, policy, forward, backward):
    G, ledger = tiny(sampler, policy), Ledger()
    u = G.space.sample(3, torch.Generator().manual_seed(0)).double().requires_grad_()
    with Meter(G.networks, ledger):
        loss = G.decode(G.space.latents(u)).sum()
        loss.backward()
    assert (ledger.nfe, ledger.nfe_backward) == (3 * forward, 3 * backward)


def test_recomputation_costs_nothing_where_no_gradient_is_asked_for():
    for policy in ("checkpoint", "sqrt"):
        G, ledger = tiny(Euler(N), policy), Ledger()
        with Meter(G.networks, ledger), torch.no_grad():
            G.decode(G.space.latents(torch.zeros(2, 3).double()))
        assert ledger.nfe == 2 * N


def test_kept_activations_grow_as_stated():
    """Numbers held for the backward pass: with checkpoints by a state a step, without by a network's activations."""
    held = {p: [_held(tiny(Reversible(n), p)) for n in (8, 32)] for p in ("none", "checkpoint", "sqrt", "invertible")}
    growth = {policy: (b - a) / 24 for policy, (a, b) in held.items()}
    assert growth["checkpoint"] < growth["none"] / 3
    assert growth["sqrt"] < growth["checkpoint"] / 2
    assert growth["invertible"] == 0


def test_second_derivatives_pass_through_checkpoints():
    def curvature(policy):
        G = tiny(Euler(4), policy)
        u = torch.linspace(-1, 1, 3).double()[None]
        return torch.autograd.functional.hessian(lambda v: G.decode(G.space.latents(v)).sin().sum(), u)

    for policy in ("checkpoint", "sqrt"):
        torch.testing.assert_close(curvature(policy), curvature("none"))


def test_the_policy_is_an_argument_of_the_zoo_and_carries_on():
    G = zmax.load_generator("avatars-flow:5,checkpoint")
    assert (G.sampler.steps, G.memory.name, G.stochastic().memory.name) == (5, "checkpoint", "checkpoint")
    assert zmax.load_generator("avatars-flow:5,truncated:2").memory.jacobians == 2
    law = gaussian_mixture([[0.0]], [[[1.0]]], [1.0])
    plain = law.generator(steps=5)
    assert with_memory(plain, "sqrt").memory.name == "sqrt"
    assert plain.memory.name == "none"


def test_bad_policies_are_named():
    for bad in ("fast", "truncated", "truncated:-1", "checkpoint:3", "truncated:K"):
        with pytest.raises(InputError, match="checkpoint"):
            memory_policy(bad)
    with pytest.raises(CapabilityError, match="Reversible"):
        tiny(Euler(3), "invertible")
    with pytest.raises(CapabilityError, match="Reversible"):
        tiny(Reversible(3), "invertible").stochastic()
    with pytest.raises(CapabilityError, match="memory policies"):
        with_memory(zmax.load_generator("avatars-gan"), "checkpoint")
    with pytest.raises(InputError, match="memory policy"):
        zmax.load_generator("avatars-flow:5,fast")


def _held(generator):
    """Numbers in distinct tensors saved by the forward pass, less the weights."""
    kept, weights = {}, {p.data_ptr() for p in generator.denoiser.parameters()}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor
        return tensor

    u = generator.space.sample(4, torch.Generator().manual_seed(0)).double().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        x = generator.decode(generator.space.latents(u))
    assert x.requires_grad
    return sum(tensor.numel() for tensor in kept.values())

"""Runs whose samples have to meet constraints: the best is the best that does, and all is told of those that do not."""

import math
import warnings

import pytest
import torch

import zmax
from zmax.core.errors import CapabilityError, FailedRunError, InputError, ZmaxWarning
from zmax.report.page import render
from zmax.report.verdict import judge
from zmax.run.limits import DEAREST, FIRST, PATIENCE, SAMPLED, Limits, limits_of
from zmax.store import Chunk

FAR = torch.tensor([-2.0, 3.6] + 14 * [0.0])
BEST = -(4.0**2)


def identity(dim=16):
    return zmax.generator(torch.nn.Identity(), shape=(dim,), modality="vector")


def near(**how):
    """S = -|x - a|^2: of samples whose first coordinate is 2 at least the best is a, but for that one."""
    return zmax.score(lambda x: -(x - FAR.to(x)).square().sum(1), name="near", **how)


FIRST_ONE = zmax.score(lambda x: x[:, 0], name="first", differentiable=True)


def first():
    return FIRST_ONE


@pytest.mark.parametrize(
    ("method", "calls", "short"),
    [("gradient", 800, 0.02), ("cma", 1500, 0.02), ("trust", 800, 0.04), ("auto", 800, 0.02)],
)
def test_the_best_is_the_best_of_those_that_meet_the_constraint(method, calls, short):
    result = zmax.maximize(identity(), near().where(first() >= 2), method, calls)
    best = result.best
    assert best.feasible
    assert best.sample[0] >= 2
    assert BEST - short * 30 < best.score <= BEST + 1e-4
    assert best.parts == {"near": pytest.approx(best.score), "first": pytest.approx(float(best.sample[0]))}
    assert all(entry.feasible for entry in result.leaders)


def test_constraints_may_be_on_latents_and_several():
    second = zmax.score(lambda z: z[:, 1], name="second", latents=True)
    S = near().where(zmax.score(lambda z: z[:, 0], name="z", latents=True) >= 2, second <= 3)
    best = zmax.maximize(identity(), S, "gradient", 1200).best
    assert best.feasible
    assert best.score == pytest.approx(-(4.0**2) - 0.6**2, abs=0.6)
    assert best.parts["second"] == pytest.approx(float(best.z[1]))


def test_a_method_that_looks_between_refuses_constraints_on_latents_and_takes_those_on_samples():
    law = zmax.testing.gaussian_mixture([[-1.5, 0.0], [1.5, 0.5]], 0.2 * torch.eye(2).expand(2, 2, 2), [0.5, 0.5])
    wide = zmax.score(lambda z: z["noise"].flatten(1).norm(dim=1), name="wide", latents=True)
    with pytest.raises(CapabilityError, match="no latent leads to"):
        zmax.maximize(law.generator(steps=4), first().where(wide >= 1), "fk", zmax.Budget(score_calls=100))
    result = zmax.maximize(law.generator(steps=4), first().where(first() <= 0), "fk", zmax.Budget(score_calls=200))
    assert result.best.feasible
    assert -0.5 < result.best.score <= 0


@pytest.mark.parametrize("name", [m.name for m in zmax.methods() if m.road in ("search", "guide")])
def test_the_list_says_what_constraints_may_be_on(name):
    wanted = "samples" if zmax.Need.BETWEEN in _needs(name) else "samples, latents"
    assert {m.name: m.constraints for m in zmax.methods()}[name] == wanted


def _needs(name):
    from zmax.core.methods import registry

    return registry.load(name).needs


def test_where_none_meets_them_the_nearest_is_shown_and_that_is_said():
    with pytest.warns(ZmaxWarning, match="no sample of 118 meets first >= 9"):
        result = zmax.maximize(identity(), near().where(first() >= 9), "random", 120)
    assert not result.best.feasible
    assert result.best.parts["first"] == result.history.parts["first"].max()
    assert f"has first {result.best.parts['first']:.4g}" in result.warnings[0]
    assert math.isinf(result.history.best_so_far()[-1])
    assert not result.history.feasible.any()
    assert "misses a constraint" in repr(result)
    assert not result.summary()["best"]["feasible"]


def test_the_history_has_each_constraint_and_who_meets_all():
    result = zmax.maximize(identity(), near().where(first() >= 0, first() <= 1), "random", 200)
    frame = result.history.to_pandas()
    met = (frame["first"] >= 0) & (frame["first"] <= 1)
    assert (frame["feasible"] == met).all()
    assert ((frame["violation"] == 0) == met).all()
    assert result.best.score == frame["score"][met].max() == result.history.best_so_far()[-1]
    assert (
        result.meeting
        == f"{met.sum()} of {len(frame)} samples meet first >= 0, first <= 1; the best is the best of them"
    )


def test_a_guard_and_a_held_out_judge_go_with_constraints():
    result = zmax.maximize(
        identity(), near().where(first() >= 1), "gradient", 200, guard="penalise", held_out=lambda x: x[:, 1]
    )
    assert result.best.feasible
    assert result.best.held_out == pytest.approx(float(result.best.sample[1]))


def test_a_constraint_without_a_value_makes_a_sample_fail():
    odd = zmax.score(lambda x: torch.where(x[:, 0] > 1, math.nan, x[:, 1]), name="odd")
    result = zmax.maximize(identity(), near().where(odd >= 0), "random", 200)
    assert result.ledger.failures > 0
    assert set(result.history.failures.values()) == {"the score 'odd' of a constraint is nan"}
    assert result.best.sample[0] <= 1


def test_repeats_of_a_noisy_score_go_with_constraints_on_latents():
    rng = torch.Generator().manual_seed(0)
    noisy = zmax.score(lambda x: x[:, 1] + torch.randn(len(x), generator=rng), name="noisy", noisy=True)
    low = zmax.score(lambda z: z[:, 1], name="low", latents=True)
    result = zmax.maximize(identity(2), noisy.where(low <= 0.5), "cma", 400)
    assert result.noise == pytest.approx(1, abs=0.4)
    assert all(float(entry.z[1]) <= 0.5 for entry in result.leaders)


CHUNK = {"round": 0, "offset": 0, "first_id": 0}


def limits(price=FIRST):
    S = near().where(first() >= 2, first() <= 3)
    return Limits(S, [2.0, 4.0], 10.0, price, DEAREST)


def test_what_is_missed_is_measured_in_spreads_and_priced_in_spreads_of_the_score():
    found = limits().violation({"first": torch.tensor([0.0, 2.0, 2.5, 5.0])})
    assert found.tolist() == [1.0, 0.0, 0.0, 0.5]
    assert limits().fine({"first": torch.tensor([0.0])}).tolist() == [FIRST * 10]


def told(score, violation, n=PATIENCE):
    return [Chunk(**CHUNK, score=torch.full((n,), score).double(), violation=torch.full((n,), violation).double())]


def test_the_price_rises_while_one_that_misses_a_constraint_leads_and_not_too_soon():
    held = limits()
    held.learn(told(0.0, 1.0, PATIENCE - 1))
    assert held.price == FIRST
    held.learn(told(-50.0, 0.0, 1))  # -30 leads -50
    assert held.price == 2 * FIRST
    held.learn(told(-50.0, 0.0))  # -60 does not
    assert held.price == 2 * FIRST
    for _ in range(20):
        held.learn(told(1e9, 1.0))
    assert held.price == DEAREST


def test_the_units_are_the_spreads_of_the_first_samples_and_a_law_has_its_temperature():
    score, parts = torch.tensor([0.0, 4.0]).double(), {"first": torch.tensor([1.0, 3.0]).double()}
    chunk = Chunk(**CHUNK, score=score, parts=parts)
    found = limits_of(near().where(first() >= 2), chunk)
    assert found.fine({"first": torch.tensor([2 - 2**0.5])}).item() == pytest.approx(FIRST * 8**0.5)
    drawn = limits_of(near().where(first() >= 2), chunk, 0.5)
    assert drawn.fine({"first": torch.tensor([2 - 2**0.5])}).item() == pytest.approx(SAMPLED * 0.5)
    drawn.learn([Chunk(**CHUNK, score=torch.tensor([9.0]), violation=torch.tensor([9.0]))])
    assert drawn.price == SAMPLED
    assert limits_of(near(), chunk) is None


@pytest.mark.parametrize("method", ["langevin", "elliptical", "isir"])
def test_draws_have_the_law_that_is_cut_off(method):
    """N(0, I) tilted by exp(x_0) and cut off at x_1 >= 1: x_0 ~ N(1, 1), and x_1 has the mean of a normal tail."""
    S = first().where(zmax.score(lambda x: x[:, 1], name="second") >= 1)
    result = zmax.sample(identity(2), S, 1.0, method, budget=3000, batch_size=500)
    population = result.population
    weight = population.log_weight.exp()
    assert float(weight.sum()) == pytest.approx(1, abs=1e-6)
    assert bool((population.u[:, 1] >= 1).all())
    mean = weight.float() @ population.u
    assert mean.tolist() == [pytest.approx(1, abs=0.25), pytest.approx(1.525, abs=0.12)]
    assert all(entry.sample[1] >= 1 for entry in result.draws)
    if population.log_z is not None:
        assert float(population.log_z) == pytest.approx(0.5 + math.log(0.1587), abs=0.25)


def test_where_no_draw_meets_them_that_is_said():
    with pytest.warns(ZmaxWarning) as said:
        result = zmax.sample(identity(2), first().where(first() >= 30), 1.0, "isir", budget=200)
    assert [str(one.message).partition(" meet")[0] for one in said] == ["no draw", "no sample of 198"]
    assert result.warnings == tuple(str(one.message) for one in reversed(said.list))


def test_the_page_tells_who_meets_them():
    S = near().where(first() >= 0)
    page = render(zmax.maximize(identity(), S, "random", 100))
    assert "Some sample meets the constraints." in page
    assert "samples meet first &gt;= 0; the best is the best of them." in page
    with pytest.warns(ZmaxWarning):
        none = zmax.maximize(identity(), near().where(first() >= 9), "random", 100)
    page = render(none)
    assert "met the constraints with no sample; the nearest scores" in page
    assert judge(none).status == "warn"
    assert (
        f"No sample of 98 meets first &gt;= 9; the nearest, shown as the best, has first {none.best.parts['first']:.4g}"
        in page
    )


@pytest.mark.parametrize("method", ["gradient", "cma", "trust", "langevin"])
def test_a_run_goes_on_bit_for_bit(method, tmp_path):
    """Stopped in the midst of a round, and at the end of a smaller budget."""
    S, G = near(differentiable=True).where(first() >= 2), identity()

    class Stops:
        seen = 0

        def __getattr__(self, name):
            return lambda *given: None

        def updated(self, snapshot):
            self.seen += 1
            if self.seen == 9:
                raise KeyboardInterrupt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZmaxWarning)
        whole = zmax.maximize(G, S, method, 320, batch_size=8)
        zmax.maximize(G, S, method, 320, batch_size=8, out=tmp_path / "cut", progress=Stops())
        zmax.resume(tmp_path / "cut", G, S, budget=200)
        again = zmax.resume(tmp_path / "cut", G, S, budget=320)
    assert again.history.score.tolist() == whole.history.score.tolist()
    assert again.history.violation.tolist() == whole.history.violation.tolist()
    assert [e.id for e in again.leaders] == [e.id for e in whole.leaders]
    assert [e.violation for e in zmax.load_result(tmp_path / "cut").reference] == [e.violation for e in whole.reference]


def test_a_score_that_marks_what_must_not_be_by_a_cliff_is_told_of_constraints():
    cliff = zmax.score(lambda x: torch.where(x[:, 0] > 0, x[:, 1], -1e9), name="cliff")
    with pytest.warns(ZmaxWarning, match=r"have the score -1e\+09, far below all others.*S\.where"):
        zmax.maximize(identity(), cliff, "random", 400)


@pytest.mark.parametrize(
    ("ask", "kind", "words"),
    [
        (lambda G, S: zmax.maximize(G, near(), "random", 100, held_out=S), CapabilityError, "judges all samples alike"),
        (lambda G, S: zmax.finetune(G, S, budget=100), CapabilityError, "constraints are for `maximize` and `sample`"),
        (lambda G, S: zmax.condition(G, S, budget=100), CapabilityError, "constraints are for `maximize`"),
        (lambda G, S: zmax.maximize(G, zmax.score(len, latents=True), "random", 100), InputError, "of latents as S"),
    ],
)
def test_what_takes_no_constraints_says_so(ask, kind, words):
    with pytest.raises(kind, match=words):
        ask(identity(), near().where(first() >= 0))


def test_a_black_box_constraint_leaves_no_gradient_and_is_named():
    S = near().where(zmax.score(lambda x: x[:, 0].round(), name="steps", differentiable=False) >= 1)
    with pytest.raises(CapabilityError, match="'steps' gives none"):
        zmax.maximize(identity(), S, "gradient", 100)
    assert zmax.maximize(identity(), S, "auto", 100).spec.method == "cma"


def test_all_failing_is_no_unmet_constraint():
    with pytest.raises((FailedRunError, InputError)):
        zmax.maximize(
            identity(), zmax.score(lambda x: x[:, 0] * math.nan, name="nan").where(first() >= 0), "random", 60
        )

from __future__ import annotations

import resource
from dataclasses import replace

import pytest
import torch

from zmax.core.budget import Ledger
from zmax.core.errors import InputError, StoreError
from zmax.core.strategy import Population
from zmax.store import Chunk, Entry, Journal, Position, new_folder
from zmax.store.records import entry_row
from zmax.store.samples import pack_sample, unpack_sample


def chunk(round_=0, offset=0, first_id=0, n=4):
    rng = torch.Generator().manual_seed(first_id)
    return Chunk(
        round=round_,
        offset=offset,
        first_id=first_id,
        u=torch.randn(n, 3, generator=rng),
        score=torch.tensor([1.0, float("-inf"), 3.0, 4.0][:n]),
        plausibility=torch.rand(n, generator=rng),
        parts={"a": torch.randn(n, generator=rng)},
        grad=torch.randn(n, 3, generator=rng),
        failures={1: "no <good>"},
        ledger=Ledger(score_calls=7, seconds=1.5),
    )


def entry(i, sample, z=None):
    u = torch.randn(3, generator=torch.Generator().manual_seed(i))
    return Entry(i, float(i), 0.5, u, u if z is None else z, sample, {"a": 1.0})


def same(a, b):
    assert (a.round, a.offset, a.first_id, a.failures, a.ledger) == (
        b.round,
        b.offset,
        b.first_id,
        b.failures,
        b.ledger,
    )
    assert torch.equal(a.u, b.u)
    assert torch.equal(a.score, b.score)
    assert torch.equal(a.parts["a"], b.parts["a"])


def test_chunks_come_back_bit_for_bit_after_reopening(tmp_path):
    journal = Journal.create(tmp_path / "run", {"spec": {"x": 1}})
    written = [chunk(0, 0, 0), chunk(0, 4, 4), chunk(1, 0, 8)]
    for c in written:
        journal.append(c)
    journal.close()
    journal = Journal.open(tmp_path / "run")
    assert journal.get("spec") == {"x": 1}
    for a, b in zip(journal.chunks(), written, strict=True):
        same(a, b)
        assert torch.equal(a.grad, b.grad)
    same(journal.find(0, 4), written[1])
    same(journal.last(), written[2])
    assert journal.find(3, 0) is None


@pytest.mark.parametrize(
    "sample",
    [
        torch.ones(3, 4, 4),
        torch.ones(2).bfloat16(),
        torch.eye(3)[:, 1],
        "a <b>text</b>",
        ["a", 1, None],
        {"k": [1.5]},
        3,
    ],
)
def test_samples_round_trip_without_pickle(sample):
    back = unpack_sample(*pack_sample(sample))
    assert torch.equal(back, sample) if isinstance(sample, torch.Tensor) else back == sample


def test_an_object_that_is_no_data_is_kept_as_its_printed_form():
    kind, blob = pack_sample(complex(1, 2))
    assert (kind, unpack_sample(kind, blob)) == ("printed", "(1+2j)")


def test_leaders_come_and_go_while_the_reference_stays():
    journal = Journal(None)
    journal.append(chunk(-1, 0, 0), [entry(1, "one"), entry(2, "two")], [], [entry(1, "one")])
    journal.append(chunk(0, 0, 4), [entry(5, "five", {"a": torch.ones(2), "b": torch.zeros(1)})], [1])
    assert [e.id for e in journal.kept("leader")] == [5, 2]
    assert [e.sample for e in journal.kept("reference")] == ["one"]
    assert set(journal.kept("leader")[0].z) == {"a", "b"}
    journal.set_held_out({1: 0.25, 5: 0.75}, Ledger())
    assert journal.kept("reference")[0].held_out == 0.25
    assert journal.kept("leader")[0].held_out == 0.75


def test_a_chunk_is_written_whole_or_not_at_all():
    journal = Journal(None)
    journal.append(chunk(0, 0, 0), [entry(1, "one")])
    with pytest.raises(StoreError):
        journal.append(chunk(1, 0, 4), [entry(7, "seven"), entry(1, "again")])  # id 1 is taken: the second entry fails
    assert journal.find(1, 0) is None
    assert [e.id for e in journal.kept("leader")] == [1]


def test_a_checkpoint_frees_the_gradients_before_it():
    journal = Journal(None)
    for r in range(3):
        journal.append(chunk(r, 0, 4 * r))
    journal.checkpoint(Position(2, 8, b"state"))
    assert [c.grad is None for c in journal.chunks()] == [True, True, False]
    assert journal.last_checkpoint() == Position(2, 8, b"state")


def test_failures_of_untold_rounds_can_be_tried_again():
    journal = Journal(None)
    for r in range(3):
        journal.append(chunk(r, 0, 4 * r))
    journal.forget_failures(1)
    assert [c.round for c in journal.chunks()] == [0]


def test_a_full_disk_is_said_clearly_and_loses_nothing(tmp_path):
    """Files may grow no further than a quarter of a megabyte, as on a disk that is full then."""
    journal = Journal.create(tmp_path / "run", {})
    journal.append(chunk(0, 0, 0))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        for r in range(1, 2000):
            journal.append(chunk(r, 0, 4 * r))

    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"(full|disk I/O error)[\s\S]*free some space[\s\S]*resume"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    written = [c.round for c in journal.chunks()]
    assert len(written) > 1
    assert written == list(range(len(written)))
    journal.close()
    assert [c.round for c in Journal.open(tmp_path / "run").chunks()] == written


def test_opening_what_is_no_run_says_so(tmp_path):
    with pytest.raises(InputError, match="no run in"):
        Journal.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_ledger_is_that_of_the_end_or_of_a_later_chunk():
    journal = Journal(None)
    assert journal.ledger() == Ledger()
    journal.append(chunk(0, 0, 0))
    assert journal.ledger() == Ledger(score_calls=7, seconds=1.5)
    journal.set("ledger", vars(Ledger(score_calls=7, nfe=0, held_out_calls=3)))
    assert journal.ledger().held_out_calls == 3  # the end counts what came after the last chunk
    journal.append(replace(chunk(1, 0, 4), ledger=Ledger(score_calls=7, nfe=1)))
    assert journal.ledger() == Ledger(score_calls=7, nfe=1)
    journal.set("ledger", vars(Ledger(score_calls=9)))
    assert journal.ledger() == Ledger(score_calls=9)


def test_kept_samples_come_best_first_and_ties_in_the_order_they_were_found():
    journal = Journal(None)
    journal.keep("elite", [replace(entry(i, str(i)), score=s) for i, s in [(4, 1.0), (2, 5.0), (3, 1.0)]])
    assert [e.id for e in journal.kept("elite")] == [2, 3, 4]
    journal.keep("elite", [entry(9, "nine")])
    assert [e.id for e in journal.kept("elite")] == [9]
    assert journal.kept("leader") == []


def test_an_entry_comes_back_with_all_that_is_known_of_it():
    journal = Journal(None)
    journal.keep("draw", [replace(entry(-3, [1, "a"]), plausibility=0.25, held_out=1.5)])
    (back,) = journal.kept("draw")
    assert (back.id, back.score, back.plausibility, back.held_out) == (-3, -3.0, 0.25, 1.5)
    assert (back.parts, back.sample) == ({"a": 1.0}, [1, "a"])
    assert torch.equal(back.u, back.z)


def test_a_held_out_score_that_failed_stays_not_a_number():
    journal = Journal(None)
    journal.append(chunk(), [entry(1, "one"), entry(2, "two"), entry(3, "three")])
    journal.set_held_out({1: float("nan"), 2: float("-inf")}, Ledger())
    found = {e.id: e.held_out for e in journal.kept("leader")}
    assert found[3] is None
    assert found[2] == float("-inf")
    assert found[1] != found[1]


def test_repeats_are_kept_by_sample_in_order_with_what_they_cost():
    journal = Journal(None)
    journal.add_repeats({5: 1.0, 2: float("-inf")}, Ledger(score_calls=2))
    journal.add_repeats({5: 3.0}, Ledger(score_calls=3))
    assert journal.repeats() == {5: [1.0, 3.0], 2: [float("-inf")]}
    assert journal.ledger() == Ledger(score_calls=3)


def test_a_population_comes_back_with_its_weights():
    journal = Journal(None)
    assert journal.population() is None
    for log_z in (None, torch.tensor(2.5)):
        drawn = Population(torch.eye(2), torch.ones(2), torch.tensor([-1.0, -0.5]), log_z)
        journal.set_population(drawn)
        back = journal.population()
        assert torch.equal(back.log_weight, drawn.log_weight)
        assert torch.equal(back.u, drawn.u)
        assert back.log_z == log_z


def test_values_are_replaced_and_what_is_not_there_has_the_default():
    journal = Journal(None)
    journal.set("a", [1, None])
    journal.set("a", {"b": 2})
    assert (journal.get("a"), journal.get("z"), journal.get("z", 7)) == ({"b": 2}, None, 7)


def test_a_later_checkpoint_replaces_the_earlier_one():
    journal = Journal(None)
    assert journal.last_checkpoint() is None
    journal.checkpoint(Position(1, 4, b"one"))
    journal.checkpoint(Position(2, 8, b"two"))
    assert journal.last_checkpoint() == Position(2, 8, b"two")


def test_a_new_run_needs_a_place_without_one(tmp_path):
    assert new_folder(None) is None
    assert new_folder(str(tmp_path / "new")) == tmp_path / "new"
    assert new_folder(tmp_path) == tmp_path  # a folder that holds something else is fine
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a file"):
        new_folder(tmp_path / "file")
    Journal.create(tmp_path / "run", {}).close()
    with pytest.raises(InputError, match="already holds a run"):
        new_folder(tmp_path / "run")
    with pytest.raises(InputError, match="no run can be kept"):
        Journal.create(tmp_path / "file" / "run", {})


def test_a_journal_is_made_whole_or_not_at_all(tmp_path):
    with pytest.raises(TypeError):
        Journal.create(tmp_path / "run", {"spec": object()})
    assert list(tmp_path.iterdir()) == []


def test_the_cost_is_that_of_what_was_written_last_whatever_its_round():
    journal = Journal.create(None, {})
    for round_, calls in ((0, 10), (-2, 14)):
        score = torch.zeros(2)
        journal.append(Chunk(round=round_, offset=0, first_id=0, score=score, u=score[:, None], ledger=Ledger(calls)))
    assert journal.ledger().score_calls == 14


def test_a_zero_keeps_its_checksum_whatever_its_sign(tmp_path):
    entry = Entry(0, -0.0, 0.5, torch.zeros(2), torch.zeros(2), "a", held_out=-0.0)
    journal = Journal.create(tmp_path / "run", {})
    journal.keep("leader", [entry])
    assert [e.score for e in journal.kept("leader")] == [0.0]


def test_latents_that_are_the_coordinates_are_written_once():
    journal = Journal(None)
    u = torch.arange(6.0)
    for i, z in enumerate([u.reshape(2, 3), {"b": u[:2].reshape(1, 2), "a": u[2:]}, {"a": u + 1}]):
        journal.keep("draw", [Entry(-1, 0.0, 0.5, u, z, "x")])
        (back,) = journal.kept("draw")
        blocks = z if isinstance(z, dict) else {"": z}
        found = back.z if isinstance(back.z, dict) else {"": back.z}
        assert list(found) == list(blocks) if i < 2 else set(found) == set(blocks)
        assert all(torch.equal(found[name], part) for name, part in blocks.items())
    big = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    assert len(entry_row("draw", Entry(-1, 0.0, 0.5, big, {"z": big.reshape(100, 100)}, "x"))[5]) < 41_000


def test_minus_zero_is_no_damage():
    journal = Journal(None)
    journal.append(chunk(), [replace(entry(1, "one"), score=-0.0, held_out=-0.0)])
    journal.add_repeats({1: -0.0}, Ledger())
    journal.set_held_out({1: -0.0}, Ledger())
    assert [(e.score, e.held_out) for e in journal.kept("leader")] == [(0.0, 0.0)]
    assert journal.repeats() == {1: [0.0]}


def test_failures_of_a_look_that_was_not_done_are_tried_again():
    journal = Journal.create(None, {"looks": [{}]})
    for round_ in (-2, -3, 0):
        journal.append(chunk(round_, 0, 0))
    journal.forget_failures(5)
    assert [c.round for c in journal.chunks()] == [-2, 0]

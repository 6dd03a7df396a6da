from __future__ import annotations

import pytest
import torch

from zmax.core.budget import Ledger
from zmax.core.errors import InputError, StoreError
from zmax.store import Chunk, Entry, Journal, Position
from zmax.store.codec import pack_sample, unpack_sample


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
    journal.set_held_out({1: 0.25, 5: 0.75})
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
    journal = Journal.create(tmp_path / "run", {})
    journal.append(chunk(0, 0, 0))
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")

    def fill():
        for r in range(1, 200):
            journal.append(chunk(r, 0, 4 * r))

    with pytest.raises(StoreError, match=r"full[\s\S]*resume"):
        fill()
    written = [c.round for c in journal.chunks()]
    assert written == list(range(len(written)))
    journal.close()
    assert [c.round for c in Journal.open(tmp_path / "run").chunks()] == written


def test_opening_what_is_no_run_says_so(tmp_path):
    with pytest.raises(InputError, match="no run in"):
        Journal.open(tmp_path)
    assert list(tmp_path.iterdir()) == []

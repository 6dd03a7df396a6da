"""One run a folder, one process a run."""

from __future__ import annotations

import os
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import zmax
from benchmarks.faults import differences, in_child, picture
from tests.run.toys import first, identity
from zmax.core.errors import InputError
from zmax.store import FILE, Journal, begun, held
from zmax.store.folders import LOCK


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_held_by_one_and_left_as_it_was(tmp_path: Path) -> None:
    with held(tmp_path / "a" / "run") as folder:
        assert files(tmp_path / "a" / "run") == [LOCK]
        with pytest.raises(InputError, match=rf"already running \(pid {os.getpid()}\)"), held(folder):
            pass
        with pytest.raises(InputError, match="already running"), begun(folder):
            pass
    assert files(tmp_path) == []


def test_another_process_is_told_who_runs_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    ready, go_on = os.pipe()
    child = os.fork()
    if not child:
        with held(tmp_path / "run"):
            os.write(go_on, b"x")
            signal.pause()
    os.read(ready, 1)
    with pytest.raises(InputError, match=rf"already running \(pid {child}\)"):
        zmax.maximize(identity(), first, "random", 40, out=tmp_path / "run")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert zmax.maximize(identity(), first, "random", 40, out=tmp_path / "run").folder == tmp_path / "run"
    assert files(tmp_path / "run") == [FILE]


def test_of_two_starts_the_second_is_refused_and_the_first_ends_undisturbed(tmp_path: Path) -> None:
    seen: list[str] = []

    class Again:
        def started(self, spec: object) -> None: ...
        def noted(self, line: str) -> None: ...
        def finished(self, reason: str) -> None: ...
        def updated(self, snapshot: object) -> None:
            for verb in (lambda: zmax.maximize(identity(), first, "random", 40, out=tmp_path / "run"), resumed):
                with pytest.raises(InputError) as error:
                    verb()
                seen.append(str(error.value))

    def resumed() -> object:
        return zmax.resume(tmp_path / "run", identity(), first)

    r = zmax.maximize(identity(), first, "random", 40, out=tmp_path / "run", progress=Again())
    assert seen
    assert all("already" in line for line in seen)
    assert "already running" in seen[1]
    assert r.ledger.score_calls == zmax.load_result(tmp_path / "run").ledger.score_calls == 40


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no value"):
        zmax.maximize(identity(), lambda x: x[:, 0] / 0 * 0, "random", 40, out=tmp_path / "a" / "run")
    assert files(tmp_path) == []


def test_the_rest_of_a_run_without_its_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / f"{FILE}-wal").write_bytes(b"last writes")
    with pytest.raises(InputError, match=f"{FILE}-wal without its"):
        zmax.maximize(identity(), first, "random", 40, out=tmp_path)
    assert (tmp_path / f"{FILE}-wal").read_bytes() == b"last writes"


def test_a_result_holds_no_file_works_from_threads_and_pickles(tmp_path: Path) -> None:
    def open_files() -> list[str]:
        return [
            os.readlink(f"/proc/self/fd/{name}")
            for name in os.listdir("/proc/self/fd")
            if name.isdigit() and os.path.islink(f"/proc/self/fd/{name}")
        ]

    kept = zmax.maximize(identity(), first, "snes", 60, out=tmp_path / "run")
    loaded, inside = zmax.load_result(tmp_path / "run"), zmax.maximize(identity(), first, "snes", 60)
    assert not [name for name in open_files() if str(tmp_path) in name]
    for result in (kept, loaded, inside):
        with ThreadPoolExecutor(1) as threads:
            found = threads.submit(lambda r=result: r.population).result()
        assert torch.equal(found.u, result.population.u)
        back = pickle.loads(pickle.dumps(result))  # noqa: S301 - our own
        assert back.folder == result.folder
        assert {**back.summary()} == {**result.summary()}
        assert torch.equal(back.population.u, result.population.u)


def test_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = tmp_path / "run"
    zmax.maximize(identity(), first, "snes", 60, out=folder)
    before = picture(folder)
    folder.chmod(0o555)
    (folder / FILE).chmod(0o444)

    def nobody() -> None:
        if not os.getuid():
            os.setuid(65534)
        assert not os.access(folder, os.W_OK)
        assert list(differences(before, picture(folder))) == []

    for parent in tmp_path.parents[:3]:
        if parent != Path("/tmp"):
            parent.chmod(0o755)
    assert in_child(nobody) == 0
    folder.chmod(0o755)


def test_a_killed_run_is_read_whole_without_being_changed(tmp_path: Path) -> None:
    def killed() -> None:
        class Kill:
            def started(self, spec: object) -> None: ...
            def noted(self, line: str) -> None: ...
            def finished(self, reason: str) -> None: ...
            def updated(self, snapshot: zmax.Ledger) -> None:
                if snapshot.ledger.score_calls > 60:  # type: ignore[attr-defined]
                    os.kill(os.getpid(), signal.SIGKILL)

        zmax.maximize(identity(), first, "random", 100, batch_size=8, out=tmp_path / "run", progress=Kill())

    assert in_child(killed) == -signal.SIGKILL
    assert zmax.load_result(tmp_path / "run").ledger.score_calls > 60
    assert zmax.load_result(tmp_path / "run").stop_reason == "not finished"
    assert Journal.open(tmp_path / "run").get("failed") == ""

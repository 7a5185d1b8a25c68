"""Workers do not run the user's script again, and know what it defines where they must."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anyformer.compare.run.pool import Pool
from anyformer.compare.run.spawn import Packed

RUN = """
print("the script ran")
pool = Pool(WorkQueue(Path(sys.argv[1])), None, {executor}, size=1, threads=1)
try:
    found = run_units(pool.queue, pool, [Unit(task="t", phase="train", candidate="a", steps=3, seed=1)])
    print([outcome.status for outcome in found.values()])
finally:
    pool.stop()
"""
HEAD = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from fakes import FakeExecutor
from anyformer.compare.run.unit import Unit
from anyformer.compare.run.work_queue import WorkQueue
from anyformer.compare.run.pool import Pool, run_units

class OwnLab(FakeExecutor):
    pass
"""
COMPARE = """
import sys
from anyformer.compare import compare
from anyformer.compare.plan.schema import Plan
from anyformer.tasks import create_task
Plan.measure_seconds = 0.05
{defines}
compare({task}, {models}, out=sys.argv[1], budget="8 steps", parameters=8000, batch_size=8, workers=1, quiet=True)
"""
MIXER = """
import torch
import neighbour
from anyformer import Mixer, MixerInfo

class Scaled(Mixer):
    class Options(Mixer.Options):
        def info(self):
            return MixerInfo(reach=(0, 0), memory="n", state="none")

    def __init__(self, dim, **options):
        super().__init__(dim, **options)
        self.scale = torch.nn.Parameter(torch.ones(dim))

    def _forward(self, x, inputs):
        from neighbour import factor  # when it is called, too
        return x * self.scale * factor
"""


def run(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(script), str(tmp_path / "out")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


def guarded(text: str) -> str:
    return 'if __name__ == "__main__":\n' + "".join(f"    {line}\n" for line in text.splitlines())


def head() -> str:
    return HEAD.format(here=str(Path(__file__).parents[1]))


def test_a_script_without_a_guard(tmp_path):
    done = run(tmp_path, head() + RUN.format(executor="FakeExecutor()"))
    assert done.stdout.split("\n")[:2] == ["the script ran", "['ok']"], done.stderr
    assert done.stdout.count("the script ran") == 1


def test_what_the_script_defines_needs_a_guard(tmp_path):
    done = run(tmp_path, head() + guarded(RUN.format(executor="OwnLab()")))
    assert "['ok']" in done.stdout, done.stderr
    assert done.stdout.count("the script ran") == 1


@pytest.mark.parametrize(
    "fields",
    [
        {
            "defines": "Task = type(create_task('recall'))\nclass Own(Task): pass",
            "task": "Own()",
            "models": "'retnet'",
        },
        {"defines": MIXER, "task": "'recall'", "models": "f'{__file__}:Scaled'"},
    ],
    ids=["a task of the script's", "a mixer of the script's"],
)
def test_without_it_one_sentence_says_so(tmp_path, fields):
    (tmp_path / "neighbour.py").write_text("factor = 1.0\n")
    done = run(tmp_path, COMPARE.format(**fields))
    assert done.returncode == 1
    words = " ".join(done.stderr.split())
    assert "script.py calls compare() whenever it is imported" in words, done.stderr
    assert 'under these lines if __name__ == "__main__": compare(...)' in words


def test_a_mixers_neighbours_are_found_in_workers_too(tmp_path):
    (tmp_path / "neighbour.py").write_text("factor = 1.0\n")
    (tmp_path / "mine.py").write_text(MIXER, encoding="utf-8")
    fields = {"defines": "", "task": "'recall'", "models": repr(f"[{tmp_path / 'mine.py'}:Scaled]*2")}
    done = run(tmp_path, COMPARE.format(**fields))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "winner" / "config.json").exists()


def test_a_lab_that_cannot_travel_is_refused():
    with pytest.raises(ValueError, match="cannot be sent to the worker processes"):
        Packed.of(lambda: None)
    with pytest.raises(ValueError, match="cannot be sent"):
        Pool(None, None, lambda: None, size=1, threads=1)._packed  # type: ignore[arg-type]

"""Costs of a model on this machine: time, memory, state and FLOPs, and their growth with the length."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from anyformer.compare.results import Costs
from anyformer.models import SequenceModel
from anyformer.models.size import flops_per_token
from anyformer.schema import Stream, Values
from anyformer.state import state_bytes
from anyformer.tasks import Task
from anyformer.train import TrainConfig, Trainer

CALIBRATION_SECONDS = 0.6
KNOWN_BATCHES = 3
"""Batches that are read before steps are measured."""
READING = 0.1
"""Largest share of a budget for reading all training data at which steps are measured on data that was read before."""
DOUBLINGS = 5
LONGEST = 8192
LONGEST_PAIRS = 1024
"""The same for models that need facts of all pairs, if their task has no longer sample."""


class PeakMemory(TorchDispatchMode):
    """Mode that counts the peak bytes of tensors made inside it. Temporary memory of single operations is not counted.

    Attributes:
        now: bytes held at present.
        peak: most bytes held at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._held: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._note((args, kwargs), made=False)  # tensors from outside, such as parameters, do not count
        out = func(*args, **kwargs)
        self._note(out, made=True)
        return out

    def _note(self, tree: Any, *, made: bool) -> None:
        for leaf in tree_leaves(tree):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._held:
                    self._hold(storage, storage.nbytes() if made else 0)

    def _hold(self, storage: torch.UntypedStorage, size: int) -> None:
        key = storage._cdata

        def freed(_: Any) -> None:
            self.now -= size
            self._held.pop(key, None)

        self._held[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)


def lengths_for(task: Task, model: SequenceModel) -> list[int]:
    """Return the trained length and its doublings, up to the model's ``max_length``; what is read whole has one."""
    if model.fixed_length is not None:
        return [task.train_length]
    info = model.body.info
    pairs = any(kind.required and kind.of == "pair" for kind in info.side.values())
    limit = min(max(task.train_length, LONGEST_PAIRS) if pairs else LONGEST, info.max_length or LONGEST)
    before = 1 + task.source_length / task.train_length if model.joins else 1
    found = [task.train_length * 2**i for i in range(DOUBLINGS)]
    return [length for length in found if length * before <= limit] or [task.train_length]


def measure(trainer: Trainer, seconds: float) -> Costs:
    """Measure all costs of a model. Longer lengths are left out if they would take more than ``seconds`` in all.

    A measurement that fails is named in the notes, and the others go on.
    """
    meter = _Meter(trainer, seconds)
    for part in (meter.training, meter.flops, meter.streaming, meter.growth):
        try:
            part()
        except (RuntimeError, MemoryError, ValueError) as error:
            meter.costs.notes.append(
                f"{part.__name__} was not measured: {' '.join(str(error).split())[:200]}"
            )
    return meter.costs


class _Meter:
    def __init__(self, trainer: Trainer, seconds: float) -> None:
        self.trainer, self.model, self.task = trainer, trainer.model, trainer.task
        self.costs = Costs()
        self.seconds = seconds
        self.start = time.perf_counter()

    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.start)

    def sample(self, length: int, batch: int = 1) -> Tensor | Values:
        x = self.model.example(batch, length, torch.Generator().manual_seed(0))
        return tree_map(lambda value: value.to(self.trainer.device), x)

    def source(self, length: int) -> Stream | None:
        """Return a source for inputs of a length, as long beside them as in training; None if there is none."""
        length = max(1, round(length * self.task.source_length / self.task.train_length))
        source = self.model.example_source(1, length, torch.Generator().manual_seed(1))
        return None if source is None else source.map(lambda value: value.to(self.trainer.device))

    def timed(self, run: Callable[[], Any], repeats: int, limit: float) -> float:
        """Return the median seconds of up to ``repeats`` calls within ``limit`` seconds, after one to warm up."""
        run()
        self.finish()
        times: list[float] = []
        stop = time.perf_counter() + limit
        while not times or (len(times) < repeats and time.perf_counter() < stop):
            begin = time.perf_counter()
            run()
            self.finish()
            times.append(time.perf_counter() - begin)
        return median(times)

    def finish(self) -> None:
        if self.trainer.device.type == "cuda":
            torch.cuda.synchronize(self.trainer.device)

    def training(self) -> None:
        """Measure throughput and peak memory of training steps with the batch size of the comparison."""
        seconds = self.timed(lambda: train_steps(self.trainer, 1), 10, 0.25 * self.seconds)
        config = self.trainer.config
        self.costs.train_tokens_per_second = config.batch_size * self.task.sample_length / seconds
        base = sum(p.numel() * p.element_size() for p in self.model.parameters())
        base += state_bytes_of(self.trainer.optimizer)
        self.costs.peak_memory_bytes = base + self.peak(lambda: train_steps(self.trainer, 1))

    def peak(self, run: Callable[[], Any]) -> int:
        """Return the peak bytes that ``run`` allocates."""
        if self.trainer.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.trainer.device)
            before = torch.cuda.memory_allocated(self.trainer.device)
            run()
            return torch.cuda.max_memory_allocated(self.trainer.device) - before
        with PeakMemory() as memory:
            run()
        return memory.peak

    def flops(self) -> None:
        length, own = self.task.train_length, self.model.fixed_length
        self.costs.flops_per_token = flops_per_token(
            self.model, self.sample(length), self.source(length), None if own is None else length
        )
        if own not in (None, length):
            self.costs.notes.append(
                f"reads a sample as {own} tokens; figures for each token are for each of the task's {length}"
            )

    @torch.no_grad()
    def streaming(self) -> None:
        """Measure the latency of single tokens after a sequence of the trained length."""
        if self.model.read_whole is not None:
            self.costs.notes.append(f"does not stream: a {self.model.read_whole} is read whole")
            return
        if self.model.body.info.reach[1] is None:
            self.costs.notes.append("does not stream: it looks at all later tokens")
            return
        self.model.eval()
        length = self.task.train_length
        _, state = self.model.start(self.sample(length), source=self.source(length))
        token = self.sample(1)
        self.costs.token_latency_ms = 1e3 * self.timed(
            lambda: self.model.stream(token, state), 30, 0.15 * self.seconds
        )

    def growth(self) -> None:
        """Measure prefill time, state and memory at doubling lengths, as long as time is left."""
        self.model.eval()
        streams = self.model.read_whole is None and self.model.body.info.reach[1] is not None
        needed = 0.0
        for length in lengths_for(self.task, self.model):
            if needed > max(0.0, self.left()):  # the trained length is always measured
                self.costs.notes.append(f"lengths from {length} on were left out for lack of time")
                return
            begin = time.perf_counter()
            self.at_length(length, streams)
            needed = 3 * (time.perf_counter() - begin)

    def at_length(self, length: int, streams: bool) -> None:
        x, source = self.sample(length), self.source(length)
        call = self.model.example_call(1, self.model.length(x, source))

        def run() -> Tensor:
            outputs: Tensor = self.model(x, source=source, call=call)
            return outputs

        with torch.no_grad():
            self.costs.prefill_ms[length] = 1e3 * self.timed(run, 5, 0.05 * self.seconds)
            if streams:
                _, state = self.model.start(x, source=source)
                self.costs.state_bytes[length] = state_bytes(state)
        self.costs.memory_bytes[length] = self.peak(lambda: run().float().square().mean().backward())
        self.model.zero_grad(set_to_none=True)


def train_steps(trainer: Trainer, steps: int) -> float:
    """Run further training steps; returns their seconds. Batches repeat after the planned steps."""
    before = trainer.seconds
    if trainer.step + steps > trainer.config.steps:
        trainer.step = 0
    trainer.run(until=trainer.step + steps)
    return trainer.seconds - before


def median_step_seconds(trainer: Trainer, once: float | None, budget: float) -> float:
    """Return the median seconds of a training step.

    Some models remember what they found in a series. Where all training data is read in a small part of the budget,
    steps are measured on batches that were read before, as most steps of a run are.

    Args:
        trainer: a new one.
        once: steps in which the training data is seen once; None if it is generated without end.
        budget: seconds of the comparison; 0 if it is not one of time.
    """
    first = train_steps(trainer, KNOWN_BATCHES) / KNOWN_BATCHES
    known = once is not None and first * once <= READING * budget

    def step() -> float:
        trainer.step %= KNOWN_BATCHES if known else trainer.config.steps
        return train_steps(trainer, 1)

    return repeated(step, CALIBRATION_SECONDS)


def repeated(measured: Callable[[], float], seconds: float) -> float:
    """Return the median of a measurement that is repeated for so long: 3 to 20 times."""
    times: list[float] = []
    stop = time.perf_counter() + seconds
    while len(times) < 3 or (len(times) < 20 and time.perf_counter() < stop):
        times.append(measured())
    return sorted(times)[len(times) // 2]


def state_bytes_of(optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of an optimiser's state."""
    states = tree_leaves(list(optimizer.state.values()))
    return sum(t.numel() * t.element_size() for t in states if isinstance(t, Tensor))


def bare_trainer(task: Task, model: SequenceModel, batch_size: int, learning_rate: float = 1e-4) -> Trainer:
    """Make a trainer for measurements, with a learning rate too small to diverge."""
    config = TrainConfig(
        steps=10_000, batch_size=batch_size, learning_rate=learning_rate, precision="float32"
    )
    return Trainer(model, task, config)

"""For each law a mixer that breaks it, and is caught by it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from anyformer import Call, Mixer, MixerInfo, Mixing
from anyformer.contract import Inputs
from anyformer.inputs import Layout
from anyformer.laws import LawBroken, cases_of, check_case, check_mixer
from anyformer.ops.linear_attention import linear_attention
from anyformer.ops.scan import scan
from anyformer.state import State

CAUSAL = MixerInfo(reach=(None, 0), cost="n", memory="n", state="constant")


class SquaresInFloat16(Mixer):
    """Divides by a norm whose squares float16 does not hold."""

    class Options(Mixer.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(0, 0))

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.scale = nn.Parameter(torch.ones(dim))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        square = x * x
        return x * square / (square.sum(-1, keepdim=True) + 1e-3) * self.scale


class Sound(Mixer):
    """A gated running sum that obeys every law; the faults below each change one thing."""

    class Options(Mixer.Options):
        def info(self) -> MixerInfo:
            return CAUSAL

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.map = nn.Linear(dim, dim, bias=False)
        self.decay = nn.Parameter(torch.full((dim,), -0.5))

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        decay = -self.decay.float().exp() if x.dtype != torch.float64 else -self.decay.exp()
        a = inputs.zero(decay.expand(*x.shape[:2], -1)).exp()
        h, last = scan(a, self.map(x).to(a.dtype), initial)
        return h.to(x.dtype), last

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self._run(x, self._init_state(x.shape[0], x.device, x.dtype)["h"], inputs)[0]

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        return {"h": torch.zeros(batch_size, self.dim, device=device, dtype=wide)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, h = self._run(x, state["h"], inputs)
        return y, {"h": h}


class WrongFastForm(Sound):
    """Depends on something that the definition does not: a constant of the fast form."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        k = x[:, None].to(torch.promote_types(x.dtype, torch.float32))
        from anyformer.ops import _base

        y, _ = linear_attention(k, k, k)
        factor = 1.0 if _base._definition_depth else 1.001
        return super()._forward(x, inputs) + factor * y[:, 0].to(x.dtype)


class LeakThroughTopK(Sound):
    """Only the largest tokens of the whole sequence are let in: no gradient tells, a later token decides."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        size = x.detach().square().sum(-1)
        kept = size >= size.topk(max(1, x.shape[1] // 2), 1).values[:, -1:]
        return super()._forward(x * kept[..., None], inputs)


class DropsState(Sound):
    """Keeps its state only when tokens come one by one."""

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] > 1:
            state = self._init_state(x.shape[0], x.device, x.dtype)
        return super()._stream(x, state, inputs)


class UsesPaddedLength(Sound):
    """Takes a hyper-parameter from the padded length."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return super()._forward(x, inputs) / x.shape[1]


class FailsOnPrimes(Sound):
    """Reshapes into chunks of two."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y = super()._forward(x, inputs)
        return y.unflatten(1, (-1, 2)).flatten(1, 2) if x.shape[1] > 100 or x.shape[1] == 13 else y


class DeadParameter(Sound):
    """Has a parameter that its output does not depend on."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.unused = nn.Parameter(torch.ones(dim))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return super()._forward(x, inputs) + 0 * self.unused


class SecretlyQuadratic(Sound):
    """Declares linear cost and builds all pairs."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return super()._forward(x, inputs) + 0 * (x @ x.transpose(1, 2) @ x)


class RandomBuffer(Sound):
    """Draws a matrix when built and does not save it."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("draw", torch.randn(dim), persistent=False)

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super()._run(x * self.draw, initial, inputs)


class ReadsANumber(Sound):
    """Reads a tensor back to Python, which no graph can hold."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return super()._forward(x, inputs) * (1.0 if float(x.detach().abs().sum()) >= 0 else 2.0)


class Float32Only(Sound):
    """Gives float32 whatever comes in."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y = super()._forward(x, inputs)
        return y if x.dtype == torch.float64 else y.float()


class DependsOnBatch(Sound):
    """Normalises over the batch."""

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        if x.shape[0] > 1 and inputs.mask is None:
            x = x / x.detach().std(0, keepdim=True).clamp_min(1e-3)
        return super()._run(x, initial, inputs)


class AnyWidth(Sound):
    """Takes what it is given instead of checking."""

    def _check(self, x: Tensor, *args: Any, **kwargs: Any) -> None:
        pass


class WrongMatrix(Sound):
    """Shows a mixing matrix that is not what it does."""

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        eye = torch.eye(x.shape[1], dtype=x.dtype).expand(x.shape[0], 1, -1, -1)
        return Mixing(eye, self.map(x)[:, None], lambda y: y[:, 0])


class WritesBuffer(Sound):
    """Counts its calls in a buffer."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("calls", torch.zeros(()))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        if not torch.compiler.is_compiling():
            self.calls += 1
        return super()._forward(x, inputs)


class WritesState(Sound):
    """Updates the state that it was given in place."""

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, new = super()._stream(x, state, inputs)
        if not torch.is_grad_enabled() and x.shape[1] == 10:
            state["h"].copy_(new["h"])
        return y, new


class OtherInTraining(Sound):
    """Scales its output in training."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return super()._forward(x, inputs) * (2.0 if self.training else 1.0)


class GrowingState(Sound):
    """Declares a constant state and keeps every token."""

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        state = super()._init_state(batch_size, device, dtype)
        return {**state, "tokens": torch.zeros(batch_size, 0, self.dim, device=device, dtype=dtype)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, new = super()._stream(x, state, inputs)
        return y, {**new, "tokens": torch.cat([state["tokens"], x], 1)}


class MeanOfNothing(Sound):
    """Divides by the number of tokens, which may be none."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        mean = self.map(x).sum(1) / inputs.lengths[:, None]
        return super()._forward(x, inputs) + 0 * mean[:, None]


class NarrowInside(Sound):
    """Computes in float32, and gives what it was given."""

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super()._run(x.float().to(x.dtype), initial, inputs)


class StreamsOneDtype(Sound):
    """Puts what autocast made narrow where something wide is kept."""

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        y, new = super()._stream(x, state, inputs)
        if x.shape[1]:
            torch.zeros_like(x, dtype=state["h"].dtype).index_copy_(
                1, torch.zeros(1, dtype=torch.int64), self.map(x[:, :1]).to(y.dtype)
            )
        return y, new


class BuiltInFloat32(Sound):
    """Builds its parameters in float32 whatever the default is."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.decay = nn.Parameter(torch.full((dim,), -0.5, dtype=torch.float32))


class _UnpackedTwice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        if ctx.saved_tensors[0].dtype == torch.float64:
            return 2 * ctx.saved_tensors[0] * grad
        return 2 * ctx.saved_tensors[0] * grad


class UnpacksTwice(Sound):
    """Reads its saved tensors twice, which a checkpoint allows once."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y: Tensor = _UnpackedTwice.apply(x)
        return super()._forward(x, inputs) + y


class DrawsFromNowhere(Sound):
    """Draws in training from a generator that no checkpoint rewinds."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.generator = torch.Generator()

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y = super()._forward(x, inputs)
        return y * torch.rand((), generator=self.generator) if self.training else y


class ForgottenConstant(Sound):
    """Holds a constant that is neither saved nor made again."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("scale", torch.full((dim,), 1.5), persistent=False)

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super()._run(x * self.scale, initial, inputs)


class HoldsALambda(Sound):
    """Holds a function that no pickle can name."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.f = lambda x: 2 * x

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return super()._run(self.f(x), initial, inputs)


class _ZeroTangent(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * grad

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # type: ignore[override]
        return torch.zeros_like(tangent)


class NoTangent(Sound):
    """Has a gradient, and a tangent of zero."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        y: Tensor = _ZeroTangent.apply(x)
        return super()._forward(x, inputs) + y


class _ConstantGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * ctx.saved_tensors[0].detach() * grad


class GradientOnce(Sound):
    """Has a gradient that says it depends on nothing."""

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        from anyformer.ops import _base

        y: Tensor = x.square() if _base._definition_depth else _ConstantGradient.apply(x)
        return super()._forward(x, inputs) + y


class DropsSide(Sound):
    """Reads a side input, but not in a batch with padding."""

    class Options(Sound.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(None, 0), state="constant", side=("scale",))

    def example_side(self, batch_size: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"scale": torch.rand(batch_size, length, generator=generator, dtype=torch.float64)}

    def _run(self, x: Tensor, initial: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        scale = inputs.call.side.get("scale")
        if scale is not None and inputs.mask is None:
            x = x * scale.to(x.dtype)[..., None]
        return super()._run(x, initial, inputs)


class TakesAnySide(Sound):
    """Takes side inputs that it does not know."""

    def _layout(self, x: Tensor, mask: Tensor | None, *_: Any, **__: Any) -> Layout:
        return Layout.of(x, mask)


FAULTS: dict[type[Mixer], str] = {
    WrongFastForm: "definition",
    LeakThroughTopK: "reach",
    DropsState: "streaming",
    GrowingState: "streaming",
    UsesPaddedLength: "padding",
    FailsOnPrimes: "length",
    DeadParameter: "gradient",
    SecretlyQuadratic: "cost",
    RandomBuffer: "persistence",
    ReadsANumber: "compilation",
    Float32Only: "precision",
    DependsOnBatch: "independence",
    AnyWidth: "errors",
    WrongMatrix: "mixing",
    WritesBuffer: "purity",
    WritesState: "purity",
    OtherInTraining: "modes",
    DropsSide: "padding",
    TakesAnySide: "errors",
    MeanOfNothing: "length",
    NarrowInside: "precision",
    SquaresInFloat16: "precision",
    StreamsOneDtype: "precision",
    BuiltInFloat32: "precision",
    UnpacksTwice: "checkpointing",
    DrawsFromNowhere: "checkpointing",
    ForgottenConstant: "construction",
    HoldsALambda: "construction",
    NoTangent: "transforms",
    GradientOnce: "transforms",
}


def test_the_sound_mixer_obeys_all_laws() -> None:
    check_mixer(Sound)


@pytest.mark.parametrize(("fault", "law"), FAULTS.items(), ids=lambda v: getattr(v, "__name__", v))
def test_the_law_catches_the_fault(fault: type[Mixer], law: str) -> None:
    (case,) = cases_of(fault)
    (result,) = check_case(case, [law])
    assert result.outcome == "broken", f"{fault.__name__} is not caught by {law}"
    with pytest.raises(LawBroken, match=law):
        check_mixer(fault, only=[law])


def test_there_is_a_fault_for_every_law() -> None:
    from anyformer.laws import LAWS

    assert set(FAULTS.values()) == set(LAWS)


class Excused(Sound):
    """Excuses a law that it obeys."""

    class Options(Sound.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(None, 0), state="constant", exceptions={"modes": "no reason"})


def test_an_excused_law_must_fail() -> None:
    with pytest.raises(LawBroken, match="wrongly excused"):
        check_mixer(Excused, only=["modes"])


def test_call_none_is_the_same_as_an_empty_call() -> None:
    mixer = Sound(4)
    x = torch.randn(1, 3, 4)
    assert torch.equal(mixer(x), mixer(x, call=Call()))

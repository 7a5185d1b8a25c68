"""Identities of Dynamic position encoding."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.contract import Call, Inputs, Mixer, MixerInfo
from anyformer.laws.measures import close
from anyformer.layers.waves import waves
from anyformer.models import EncoderDecoder, load_spec
from anyformer.models.build import Backbone
from anyformer.wrappers.dynamic_positions import DynamicPositions
from anyformer_papers.identity import identity


class Says(Mixer):
    """Says what it was given, whatever comes in."""

    class Options(Mixer.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(None, None))

    def __init__(self, dim: int, said: Tensor) -> None:
        super().__init__(dim)
        self.said = said

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        return self.said


@identity("the loss is zero for the sinusoids of the target's order, and only for them")
def loss() -> None:
    order = torch.stack([torch.randperm(9), torch.randperm(9)])
    right = waves(order.double(), 16)
    for said, expected in ((right, 0.0), (right.roll(1, 1), None), (right + 0.5, 0.5 * 0.25)):
        call = Call(side={"order": order})
        DynamicPositions(16, Says(16, said), weight=0.5)(torch.zeros(2, 9, 16), call=call)
        if expected is None:
            assert call.losses["order"] > 0.01
        else:
            close("loss", call.losses["order"], torch.tensor(expected), 1e-6)


@identity("with a module that says nothing it is the plain encoder-decoder with sinusoids")
def silent() -> None:
    fields = load_spec("dynamic_positions", dim=16).model_dump()
    model = EncoderDecoder(fields, vocab_size=12).double().eval()
    plain = EncoderDecoder({**fields, "encoder": "[attention]*2"}, vocab_size=12).double().eval()
    blocks = [m for m in model.encoder.stack.mixers if isinstance(m, DynamicPositions)]
    blocks[0].inner = Says(16, torch.zeros(2, 7, 16, dtype=torch.float64))
    own, theirs = model.state_dict(), plain.state_dict()
    for name in theirs:  # the plain stack has one sublayer less
        parts = name.split(".")
        at = next((i for i, part in enumerate(parts) if part.isdigit()), None)
        if name.startswith("encoder.") and at is not None:
            parts[at] = str(int(parts[at]) + 1)
        theirs[name] = own[".".join(parts)]
    plain.load_state_dict(theirs)
    source, target = torch.randint(12, (2, 7)), torch.randint(12, (2, 5))
    close("logits", model(source, target), plain(source, target), 1e-12)


@identity("in a made-up language whose verb goes last, the vectors learn to tell the target's order")
def learns() -> None:
    def sentences(count: int) -> tuple[Tensor, Tensor]:
        x, verb = torch.randint(1, 8, (count, 8)), torch.randint(0, 8, (count, 1))
        x.scatter_(1, verb, 0)
        place = torch.arange(8).expand(count, 8)
        return x, torch.where(place == verb, 7, place - (place > verb).long())

    spec = load_spec("[dynamic_positions([attention], weight=1.0)]", dim=16, positions="none", causal=False)
    embed, body = torch.nn.Embedding(8, 16), Backbone(spec)
    optimizer = torch.optim.Adam([*embed.parameters(), *body.parameters()], 1e-2)
    for _ in range(150):
        x, order = sentences(32)
        call = Call(side={"order": order})
        body(embed(x), call=call)
        optimizer.zero_grad()
        call.losses["order"].backward()
        optimizer.step()
    x, order = sentences(200)
    block = next(m for m in body.stack.mixers if isinstance(m, DynamicPositions))
    heard: list[Tensor] = []
    block.inner.register_forward_hook(lambda module, given, y: heard.append(y))
    body(embed(x))
    found = torch.cdist(heard[0], waves(torch.arange(8.0), 16)).argmin(-1)
    right = float((found == order).double().mean())
    same = float((torch.arange(8) == order).double().mean())
    assert right > same + 0.3, f"{right:.2f} right, {same:.2f} by leaving the order as it is"

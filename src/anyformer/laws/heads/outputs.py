"""Laws on which hidden states outputs, losses and answers depend."""

from __future__ import annotations

import torch

from anyformer.laws.case import LawBroken
from anyformer.laws.heads.cases import ELEMENTS, HeadCase
from anyformer.laws.measures import close
from anyformer.laws.registry import register_head_law


@register_head_law("outputs")
@torch.no_grad()
def outputs(case: HeadCase) -> bool:
    """Outputs are as many as the objective asks, for hidden states with any number of axes before the last."""
    head, width = case.head().eval(), case.objective.num_outputs
    for shape in ((3, case.dim), (2, 3, case.dim), (2, 2, 3, case.dim), (0, 4, case.dim)):
        y = case.run(head, torch.ones(shape, dtype=torch.float64))
        if y.shape != (*shape[:-1], width):
            raise LawBroken(
                f"outputs of hidden states {shape} have shape {tuple(y.shape)}, asked are {width}"
            )
    return True


@register_head_law("elements")
@torch.no_grad()
def elements(case: HeadCase) -> bool:
    """An element's outputs depend on its own hidden state alone, so that models stream, and make only those needed."""
    head, h = case.head().eval(), torch.randn(2, ELEMENTS, case.dim, dtype=torch.float64)
    y = case.run(head, h)
    close("a second call", case.run(head, h), y, 0.0)
    for start, stop in ((0, 1), (1, 4), (4, ELEMENTS)):
        close(
            f"elements {start} to {stop} against the whole",
            case.run(head, h, slice(start, stop)),
            y[:, start:stop],
        )
    return True


@register_head_law("independence")
@torch.no_grad()
def independence(case: HeadCase) -> bool:
    """A sample's loss and answers do not depend on its batch."""
    head, targets = case.head().eval(), case.targets(3)
    y = case.run(head, case.hidden(3))
    sums, counts = head.loss_items(y, targets, case.objective)
    answers = head.answer(y, case.asked(targets))
    for b in range(3):
        one = slice(b, b + 1)
        alone, number = head.loss_items(y[one], targets[one], case.objective)
        close("the loss of a sample alone against it in a batch", alone, sums[one])
        close("the number of a sample's targets", number, counts[one])
        mine = head.answer(y[one], case.asked(targets[one]))
        close("the answers of a sample alone against it in a batch", mine, answers[one])
    return True


@register_head_law("ignored")
@torch.no_grad()
def ignored(case: HeadCase) -> bool:
    """Outputs at elements that are not asked about change no loss, and no answer at the others."""
    head, targets = case.head().eval(), case.targets(3)
    asked = case.asked(targets)
    if asked is None:
        return False
    y = case.run(head, case.hidden(3))
    other = torch.where(asked[..., None], y, y + torch.randn_like(y))
    loss, again = (head.loss(one, targets, case.objective) for one in (y, other))
    close("the loss after a change where nothing is asked", again, loss)
    answers, changed = head.answer(y, asked), head.answer(other, asked)
    close("answers after a change where nothing is asked", changed[asked], answers[asked])
    return True


@register_head_law("answers")
@torch.no_grad()
def answers(case: HeadCase) -> bool:
    """Answers have the shape of the outputs; without a word on which are asked for, all are."""
    head = case.head().eval()
    y = case.run(head, case.hidden(3))
    found = head.answer(y)
    close(
        "answers where all are asked for", head.answer(y, torch.ones(y.shape[:-1], dtype=torch.bool)), found
    )
    if found.shape != y.shape:
        raise LawBroken(f"answers have shape {tuple(found.shape)}, and outputs {tuple(y.shape)}")
    return True

"""Laws of the loss: its value, its gradient, and that less of it means better answers."""

from __future__ import annotations

import torch

from anyformer.laws.case import LawBroken
from anyformer.laws.heads.cases import HeadCase
from anyformer.laws.measures import close, close_in_bfloat16, every_parameter_learns
from anyformer.laws.registry import register_head_law
from anyformer.precision import widen

STEPS = 300
"""Steps in which a batch is fitted."""


@register_head_law("mean")
@torch.no_grad()
def mean(case: HeadCase) -> bool:
    """The loss is a scalar: the sums of ``loss_items`` over their numbers; it is 0 where nothing is asked."""
    head, targets = case.head().eval(), case.targets(4)
    y = case.run(head, case.hidden(4))
    loss = head.loss(y, targets, case.objective)
    if loss.dim():
        raise LawBroken(f"the loss has shape {tuple(loss.shape)}, and should be a scalar")
    sums, counts = head.loss_items(y, targets, case.objective)
    for what, found in (("sums", sums), ("numbers", counts)):
        if found.shape != (4,) or found.dtype != torch.float64:
            raise LawBroken(f"{what} of loss_items are {tuple(found.shape)} {found.dtype}, not (4,) float64")
    close("the loss against the sums over their numbers", loss, sums.sum() / counts.sum(), 1e-6)
    nothing = torch.full_like(targets, -100) if case.classes else torch.full_like(targets, torch.nan)
    close("the loss where nothing is asked", head.loss(y, nothing, case.objective), torch.zeros(()))
    return True


@register_head_law("gradient")
def gradient(case: HeadCase) -> bool:
    """Every parameter and every hidden state that is asked about gets a finite gradient that is not zero, the one of
    finite differences."""
    head, targets = case.head().train(), case.targets(2)
    h = case.hidden(2).requires_grad_()
    head.loss(case.run(head, h), targets, case.objective).backward()
    every_parameter_learns(head)
    assert h.grad is not None
    if not bool((h.grad[0] != 0).any(-1).all()):
        raise LawBroken("a hidden state that is asked about gets no gradient")
    torch.autograd.gradcheck(
        lambda h: head.loss(case.run(head, h), targets, case.objective), (case.hidden(2).requires_grad_(),)
    )
    return True


@register_head_law("precision")
@torch.no_grad()
def precision(case: HeadCase) -> bool:
    """The loss of outputs in bfloat16 is in at least float32, and near the one in float64."""
    targets, h = case.targets(4), case.hidden(4)
    wide = case.head().eval()
    expected = wide.loss(case.run(wide, h), targets, case.objective)
    head = case.head(torch.bfloat16).eval()
    y = case.run(head, h.bfloat16())
    if y.dtype != torch.bfloat16:
        raise LawBroken(f"outputs of parameters in bfloat16 are {y.dtype}")
    loss = head.loss(widen(y), targets if case.classes else targets.float(), case.objective)
    if loss.dtype not in (torch.float32, torch.float64):
        raise LawBroken(f"the loss is {loss.dtype}, and should be in at least float32")
    close_in_bfloat16("the loss in bfloat16", loss, expected)
    return True


@register_head_law("fit")
def fit(case: HeadCase) -> bool:
    """Less loss means better answers: hidden states that are trained on one batch give its targets as answers."""
    head, targets = case.head().train(), case.targets(4)
    h = case.hidden(4).requires_grad_()
    optimizer = torch.optim.Adam([h, *head.parameters()], lr=0.05)
    for _ in range(STEPS):
        optimizer.zero_grad()
        head.loss(case.run(head, h), targets, case.objective).backward()
        optimizer.step()
    found = head.eval().answer(case.run(head, h), case.asked(targets)).detach()
    kind = case.objective.question.kind
    if kind in ("class", "labels"):
        asked = targets >= 0
        told = found.argmax(-1) if kind == "class" else found > 0
        wrong = int((told != targets)[asked].sum())
        if wrong:
            raise LawBroken(
                f"{wrong} of {int(asked.sum())} answers are wrong on the batch that was trained on"
            )
        return True
    levels = case.objective.num_outputs * len(found) // targets.numel() if not case.each else 1
    away = (found.reshape(*targets.shape, levels) - targets[..., None]).abs()
    if float(away[~targets.isnan()].median()) > 0.1:
        raise LawBroken("answers are away from the numbers that were trained on")
    return True

"""Laws of building and saving heads."""

from __future__ import annotations

import copy

import torch

from anyformer.laws.heads.cases import HeadCase
from anyformer.laws.measures import close, expect_error
from anyformer.laws.registry import register_head_law


@register_head_law("persistence")
@torch.no_grad()
def persistence(case: HeadCase) -> bool:
    """Saved weights in a head built anew, and a deep copy, give the same outputs and loss bit for bit."""
    head, h, targets = case.head().eval(), case.hidden(2), case.targets(2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)  # parameters that are drawn but not saved would differ
        again = case.make(case.objective.num_outputs).double().eval()
    again.load_state_dict(head.state_dict())
    for words, other in (("loaded weights", again), ("a deep copy", copy.deepcopy(head))):
        close(f"outputs of {words}", case.run(other, h), case.run(head, h), 0.0)
        loss = head.loss(case.run(head, h), targets, case.objective)
        close(f"the loss of {words}", other.loss(case.run(other, h), targets, case.objective), loss, 0.0)
    return True


@register_head_law("errors")
def errors(case: HeadCase) -> bool:
    """An unknown option raises a ``ValueError`` that names it."""
    if case.reject is None:
        return False
    expect_error("an unknown option", "no_such_option", case.reject)
    return True

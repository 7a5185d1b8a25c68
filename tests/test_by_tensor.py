from __future__ import annotations

import gc

import torch

from anyformer.by_tensor import ByTensor


def test_remembers_a_tensor_and_no_other_that_equals_it() -> None:
    known, x = ByTensor[str](), torch.zeros(2)
    assert known.put(x, "x") == "x"
    assert known.get(x) == "x" and known.get(torch.zeros(2)) is None and known.get(x.view(2)) is None
    known.put(x, "again")
    assert known.pop(x) == "again" and known.get(x) is None and known.pop(x) is None


def test_forgets_with_the_tensor() -> None:
    known = ByTensor[str]()
    for _ in range(100):  # places in memory are used again
        x = torch.zeros(2)
        assert known.get(x) is None
        known.put(x, "x")
        del x
    gc.collect()
    assert not known._entries


def test_a_tensor_that_only_pytorch_holds_is_safe() -> None:
    known, x = ByTensor[str](), torch.zeros(2, requires_grad=True)
    y = x * 2
    known.put(x, "x")
    del x
    assert y.grad_fn is not None
    again = y.grad_fn.next_functions[0][0].variable  # type: ignore[union-attr]
    assert known.get(again) in (None, "x")
    y.sum().backward()
    assert torch.equal(again.grad, torch.full((2,), 2.0))

"""What the user asks for is checked before anything is run, and sizes are matched."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fakes import request

from anyformer.compare import compare, resume
from anyformer.compare.plan.make import make_plan
from anyformer.compare.plan.names import named_models
from anyformer.compare.plan.sizes import _flops as flops
from anyformer.compare.plan.sizes import common_size, plan_candidate, with_tables
from anyformer.models import load_spec, match_parameters
from anyformer.tasks import create_task
from anyformer.train import model_for
from anyformer.train.models import io_for


def test_wrong_folders(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="out must be a folder"):
        compare("recall", out=tmp_path / "file", quiet=True)
    with pytest.raises(ValueError, match="holds no comparison to resume"):
        resume(tmp_path, quiet=True)
    with pytest.raises(ValueError, match="out must name the folder"):
        compare(resume=True, quiet=True)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(ValueError, match="already holds a comparison"):
        compare("recall", out=tmp_path, quiet=True)


def test_sizes_match():
    task = create_task("recall")
    models = named_models("transformer, retnet, [retention, attention]")
    plan = make_plan(request(parameters=30_000), [(task, "recall", None, {})], models)
    for candidate in plan.tasks[0].candidates:
        assert not candidate.problem
        assert abs(candidate.parameters / 30_000 - 1) <= 0.02
        assert model_for(task, candidate.spec).num_parameters() == candidate.parameters


def test_a_stated_width_is_the_size_to_match():
    task = create_task("recall")
    models = named_models("retnet, transformer dim=48")
    plan = make_plan(request(), [(task, "recall", None, {})], models)
    retnet, transformer = plan.tasks[0].candidates
    assert abs(retnet.parameters / transformer.parameters - 1) <= 0.04
    assert transformer.width == 48


def test_a_size_of_our_choosing_suits_the_coarsest_widths():
    """At 20,000 parameters four layers of mamba alone have no width within 2%; the others can follow it."""
    task = create_task("recall")
    specs = [load_spec(name) for name in ("transformer", "mamba", "retnet", "s4")]
    with pytest.raises(ValueError, match="comes within 2% of 20,000"):
        match_parameters(specs[1], 20_000, **io_for(task))
    size = common_size(task, specs, 20_000)
    assert 0.9 < size / 20_000 < 1.1
    for spec in specs:
        match_parameters(spec, size, **io_for(task))


def test_tables_of_a_catalogue_have_one_width_and_bodies_are_matched(tmp_path):
    """With 3,000 items, bodies of any size would match within 2% of all parameters."""
    draw = np.random.default_rng(0)
    log = pd.DataFrame({"user": np.repeat(np.arange(200), 40), "item": draw.integers(3000, size=8000)})
    log.to_csv(tmp_path / "log.csv", index=False)
    options = {"kind": "next", "group": "user"}
    task = create_task(tmp_path / "log.csv", target="item", **options)
    models = named_models("transformer, mamba, [lstm]*2, transformer embed=field_sum(rank=16)")
    plan = make_plan(request(), [(task, None, "item", options)], models).tasks[0]
    items = task.objective.num_outputs
    assert plan.tables == 64 * (2 * items + 2) + items and plan.wanted > plan.tables
    *held, own = plan.candidates
    for candidate in held:
        assert not candidate.problem
        rest = (candidate.parameters - plan.tables) / (plan.wanted - plan.tables)
        assert abs(rest - 1) <= 0.02
        model = model_for(task, candidate.spec)
        assert (
            model.embed.fields[0][0].weight.numel() + sum(p.numel() for p in model.head.up.parameters())
            == plan.tables
        )
    assert own.spec["embed"]["options"] == {"rank": 16} and own.spec["head"]["name"] == "linear"


def test_small_tables_stay_with_the_model():
    task = create_task("recall")
    specs = {"mamba": load_spec("mamba")}
    assert with_tables(task, specs, 10) == (specs, 0)


def test_flops_match():
    task = create_task("recall")
    models = named_models("transformer, retnet")
    plan = make_plan(request(hold="flops", parameters=30_000), [(task, "recall", None, {})], models)
    costs = [flops(task, load_spec(c.spec)) for c in plan.tasks[0].candidates]
    assert abs(costs[0] / costs[1] - 1) <= 0.04


def test_a_bidirectional_model_cannot_predict_the_next_token():
    task = create_task("recall")
    found = plan_candidate(task, "a", "a", load_spec("transformer causal=false"), 20_000, None)
    assert "must not depend on later tokens" in found.problem

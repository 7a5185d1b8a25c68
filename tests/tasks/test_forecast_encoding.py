"""Windows with covariates as inputs of a model."""

from __future__ import annotations

import numpy as np

from anyformer.tasks.categories import Category
from anyformer.tasks.encoding import DataLayout, Standard
from anyformer.tasks.forecast_encoding import Covariates, ForecastEncoding

STANDARD = Standard(mean=[[1.0, 2.0]], scale=[[1.0, 2.0]], marks=False)
CATEGORIES = [Category(name=name, values=["x", "y"]) for name in ("kind", "sky")]


def encoding(covariates: Covariates, **fields: object) -> ForecastEncoding:
    layout = DataLayout(kind="series", columns=["y", "z"])
    return ForecastEncoding(
        layout=layout,
        targets=["y"],
        context=3,
        horizon=2,
        floor=[1, 1],
        marks=True,
        covariates=covariates,
        **fields,
    )  # type: ignore[arg-type]


def given() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    codes = {name: np.arange(5)[None] % 4 for name in ("kind", "sky")}
    return np.zeros((1, 3, 4)), np.arange(10.0).reshape(1, 5, 2), codes


def test_without_covariates_inputs_are_numbers() -> None:
    made = encoding(Covariates())
    x, _, _ = given()
    inputs, source = made.streams(x, np.empty((1, 5, 0)), {})
    assert inputs is x and source is None
    facts, before = made.facts()
    assert facts.num_features == 4 and before is None


def test_of_the_past_alone_inputs_are_the_fields_of_the_window() -> None:
    made = encoding(Covariates(categories=["kind", "sky"], static=["kind"]), categories=CATEGORIES)
    x, _, codes = given()
    inputs, source = made.streams(x, np.empty((1, 5, 0)), codes)
    assert isinstance(inputs, dict) and source is None
    assert list(inputs) == ["(numbers)", "kind", "sky"] and inputs["sky"].tolist() == [[0, 1, 2]]
    facts, before = made.facts()
    assert before is None and facts.stream is not None and facts.stream.names == list(inputs)


def test_what_is_known_ahead_is_the_horizon_and_the_window_its_source() -> None:
    covariates = Covariates(
        numbers=["price", "size"], categories=["kind", "sky"], ahead=["price"], static=["size", "kind"]
    )
    made = encoding(covariates, categories=CATEGORIES, standard=STANDARD)
    x, numbers, codes = given()
    inputs, source = made.streams(x, numbers, codes)
    assert isinstance(inputs, dict) and isinstance(source, dict)
    assert list(inputs) == ["(covariates)", "kind"]  # the sky is not known ahead
    assert list(source) == ["(numbers)", "kind", "sky", "(covariates)"]
    assert inputs["kind"].tolist() == [[3, 0]] and source["kind"].tolist() == [[0, 1, 2]]
    assert inputs["(covariates)"].tolist() == [[[5, 2.5], [7, 3.5]]]
    facts, before = made.facts()
    assert facts.stream is not None and before is not None and before.stream is not None
    assert facts.stream.names == list(inputs) and set(before.stream.names) == set(source)
    assert next(iter(source)) == before.stream.names[0] == "(numbers)"
    shared = {field.name: field for field in before.stream.fields}
    assert all(
        shared[field.name] == field for field in facts.stream.fields
    )  # so that models share their vectors


def test_no_field_of_numbers_has_the_name_of_a_category() -> None:
    made = encoding(
        Covariates(categories=["(numbers)"], ahead=["(numbers)"]),
        categories=[Category(name="(numbers)", values=["x", "y"])],
    )
    inputs, source = made.streams(
        np.zeros((1, 3, 4)), np.empty((1, 5, 0)), {"(numbers)": np.ones((1, 5), int)}
    )
    assert isinstance(source, dict) and list(source) == ["((numbers))", "(numbers)"]
    assert isinstance(inputs, dict) and list(inputs) == ["(numbers)"]


def test_what_was_saved_before_there_were_covariates_is_read() -> None:
    fields = encoding(Covariates()).model_dump()
    for name in ("covariates", "standard", "categories", "levels"):
        del fields[name]
    assert ForecastEncoding.model_validate(fields) == encoding(Covariates())

from __future__ import annotations

import pytest

from tftrain.config import registry
from tftrain.config.export import component_listing


def test_every_kind_and_every_name_is_in_it():
    text = component_listing()
    for kind, entry in registry.COMPONENT_KINDS.items():
        assert f"{kind}: {entry.says}" in text
        for name in registry.names_of_kind(kind):
            assert f"\n  {name} " in text or f"\n  {name}\n" in text, name


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("model", "      hidden = [128, 64]"),
        ("model", "      layers: a list (each item a layer), required"),
        (
            "data",
            "  module:name               your own (it can ask for seed by keyword-only arguments)",
        ),
        ("data", "      flat = false"),
        ("data", "      dataset: text, required"),
        ("clip", "      limit: a number above 0, required"),
        ("clip", "      percent = 10.0"),
        ("clip", "      only = null"),
        ("optimizer", "      weight_decay = null"),
        (
            "schedule",
            "      decay_steps: a number of steps above 0 or text such as '2 epochs', required",
        ),
        ("loss", "      from_logits = auto"),
        ("activation", "      negative_slope = 0.2"),
    ],
)
def test_arguments_are_shown_with_their_defaults(kind, line):
    assert line in component_listing(kind).splitlines()


def test_a_kind_alone():
    assert (
        component_listing("clip").splitlines()[0]
        == "clip: a bound on the gradients, applied before the update"
    )
    assert "optimizer" not in component_listing("clip")


def test_what_is_refused_is_not_offered():
    assert "clipnorm" not in component_listing("optimizer")

"""The whole messages are in wrong_configs.txt; here is what agrees, and what each rule looks at."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tftrain.config.field_types import PROBABILITIES
from tftrain.config.rules import (
    RULES,
    logits_clash,
    metric_labels,
    output_activation,
)


@pytest.mark.parametrize("ends", PROBABILITIES)
def test_probabilities_are_no_logits(ends):
    assert f"ends in {ends}" in logits_clash(ends, True)
    assert (
        logits_clash(ends, False) is None and logits_clash(ends, "auto") is None
    )


@pytest.mark.parametrize(
    ("ends", "from_logits", "clash"),
    [("linear", False, True), ("linear", True, False), (None, True, False)],
)
def test_logits_are_no_probabilities(ends, from_logits, clash):
    assert bool(logits_clash(ends, from_logits)) is clash


@pytest.mark.parametrize(
    ("model", "ends"),
    [
        ("mlp", "linear"),
        ("{name: mlp, output_activation: softmax}", "softmax"),
        ("{name: mlp, output_activation: {name: sigmoid}}", "sigmoid"),
        ("{name: sequential, layers: [{name: dense, units: 3}]}", "linear"),
        (
            "{name: sequential, layers: [{name: dense, units: 3, activation: softmax}]}",
            "softmax",
        ),
        (
            "{name: sequential, layers: [{name: dense, units: 3}, softmax]}",
            "softmax",
        ),
        ("{name: sequential, layers: [flatten]}", None),
        ("{name: sequential, layers: []}", None),
        ("{name: 'mine:Child', units: 3}", None),
    ],
)
def test_what_a_model_ends_in(desk, model, ends):
    assert (
        output_activation(desk.load(desk.good, f"model={model}").model) == ends
    )


@pytest.mark.parametrize(
    "text",
    [
        "training: {epochs: 3}",
        "training: {steps: 3}",
        "training: {epochs: 3, steps: null}",
        "data: {validation: 0.5, test: 0.4}",
        "checkpoint: {best: val_accuracy}",
        "checkpoint: {best: clip_rate}",
        "metrics: [auc]\ncheckpoint: {best: val_auc}",
        "metrics: ['mine:loss']\ncheckpoint: {best: loss}\ntraining: {early_stopping: {monitor: val_loss}}",
        "model: {output_activation: softmax}\nloss: {name: sparse_categorical_crossentropy, from_logits: false}",
        "loss: {name: sparse_categorical_crossentropy, from_logits: auto}",
    ],
)
def test_what_agrees(desk, text):
    desk.write(desk.good, "base.yaml")
    assert desk.load(f"base: base.yaml\n{text}\n")


def test_metrics_are_logged_by_their_names_or_numbered(desk):
    given = "metrics=['mine:loss', auc, 'mine:loss', auc]"
    labels = [
        "loss_2",
        "auc",
        "loss_3",
        "auc_2",
    ]  # the loss has its own name in every run
    for label in labels:
        assert (
            metric_labels(
                desk.load(
                    desk.good, given, f"checkpoint.best=val_{label}"
                ).metrics
            )
            == labels
        )


def test_no_metric_is_taken_for_one_of_validation():
    assert metric_labels(
        [
            SimpleNamespace(name="mine:val_loss"),
            SimpleNamespace(name="mine:value"),
        ]
    ) == [
        "metric_val_loss",
        "value",
    ]


def test_every_rule_needs_what_the_schema_has(desk):
    known = desk.load(desk.good, "training.early_stopping={}")
    for rule in RULES:
        for path in rule.needs:
            found = known
            for key in path.split("."):
                assert hasattr(found, key), path
                found = getattr(found, key)

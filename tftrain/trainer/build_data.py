"""Builds the data of a run: its source, and the steps of preprocessing."""

from __future__ import annotations

import dataclasses

from tftrain.config.component import Component
from tftrain.config.error_context import error_context, with_error_context
from tftrain.config.loss_kinds import loss_kind
from tftrain.config.schema import Config
from tftrain.data.loader import Data, DataOptions, build_data
from tftrain.data.preprocessing import Preprocess
from tftrain.trainer.user_code import expect


def read_data(config: Config) -> Data:
    part, options = config.data.source, config.data
    with error_context(part, "data"):
        source = part.build(seed=config.training.seed)
        named = {
            field.name: getattr(options, field.name)
            for field in dataclasses.fields(DataOptions)
            if field.name != "preprocess"
        }
        regression = loss_kind(config.loss.target).compares in (
            "numbers",
            "margins",
            "own",
        )
        ignored = (
            config.loss.given.get("ignore_class")
            if config.loss.target.startswith("keras.")
            else None
        )
        options = DataOptions(**named, preprocess=preprocessing(config))
        return build_data(
            source,
            options,
            config.training.seed,
            regression=regression,
            ignored_label=ignored,
        )


def preprocessing(config: Config) -> tuple[Preprocess, ...]:
    """The steps that a config names, built; raises InputError or UserCodeError."""
    return tuple(map(_build_step, config.data.preprocess))


def _build_step(part: Component) -> Preprocess:
    with error_context(part, part.path):
        step = part.build()
        expect(
            step,
            Preprocess,
            "a Preprocess(apply, fit) of tftrain.data.preprocessing",
        )
    return step._replace(
        apply=with_error_context(step.apply, part),
        fit=with_error_context(step.fit, part),
    )

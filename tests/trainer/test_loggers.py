import warnings

import pytest

import tftrain
from tftrain.trainer.build import build_run
from tftrain.trainer.loggers import run_hparams, warn_of_hidden_points

TEXT = """
model: {name: mlp, hidden: [4]}
data: {name: iris, batch_size: 50, validation: 0.2}
optimizer: {name: sgd, learning_rate: 0.1}
training: {steps: 20}
"""


def run(tmp_path, *changed):
    (tmp_path / "a.yaml").write_text(TEXT)
    return build_run(tftrain.load(tmp_path / "a.yaml", changed))


def warn_of(run):
    steps_per_epoch = run.data.train.steps_per_epoch
    has_validation = run.data.validation is not None
    warn_of_hidden_points(
        run.config, run.total_steps, steps_per_epoch, has_validation
    )


def hparams_of(run):
    metrics = [metric.name for metric in run.step_spec.metrics]
    return run_hparams(run.config, metrics, run.data.splits)


FIGURES = [
    f"results/{split}/{name}"
    for split in ("validation", "train", "test")
    for name in ("accuracy", "loss")
]


def test_what_was_changed_is_shown_first_and_then_what_one_looks_for(tmp_path):
    shown = hparams_of(run(tmp_path, "training.seed=3"))
    assert shown.first == [
        *(
            "training.seed",
            "optimizer.learning_rate",
            "optimizer",
            "data.batch_size",
            "gradients.clip",
        )
    ]
    assert (
        set(shown.first) <= shown.settings.keys()
        and shown.settings["training.seed"] == 3
    )
    assert shown.metrics == [*FIGURES, "Overview/log10_grad_norm"]


def test_the_first_figure_is_of_a_split_that_the_run_has(tmp_path):
    bare = hparams_of(run(tmp_path, "data.validation=0"))
    assert bare.metrics[0] == "results/train/accuracy"
    assert {*bare.metrics} == {*FIGURES, "Overview/log10_grad_norm"}, (
        "one record stands for all runs"
    )
    nothing_but_loss = hparams_of(run(tmp_path, "metrics=[]", "data.test=0.2"))
    assert nothing_but_loss.metrics == [
        *(
            "results/validation/loss",
            "results/test/loss",
            "results/train/loss",
            "Overview/log10_grad_norm",
        )
    ]


def test_more_pictures_than_tensorboard_keeps_are_told(tmp_path):
    with pytest.warns(
        UserWarning,
        match=r"^log.plots: weights is drawn some 21 times, of which TensorBoard shows 10",
    ):
        warn_of(run(tmp_path, "log.plots=[{name: weights, every: 1}]"))


def test_more_points_than_tensorboard_keeps_are_told(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of(run(tmp_path, "log.scalars=1"))
    with pytest.warns(
        UserWarning,
        match=r"^log.scalars: 2 makes some 1500 points, of which TensorBoard shows 1000",
    ):
        warn_of(run(tmp_path, "log.scalars=2", "training.steps=3000"))
    with pytest.warns(
        UserWarning,
        match=r"_every: 1 epoch makes some 150 .* --samples_per_plugin histograms=150",
    ):
        warn_of(
            run(tmp_path, "log.histograms_every=1 epoch", "training.steps=450")
        )
    with pytest.warns(
        UserWarning, match=r"^training.validate_every: 1 makes some 3000 points"
    ):
        warn_of(
            run(tmp_path, "training.validate_every=1", "training.steps=3000")
        )

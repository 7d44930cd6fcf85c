"""The example configs of gradient methods, beside reverse mode."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tftrain

CONFIGS = Path(__file__).parent.parent.parent.parent / "configs"


def trained(name, tmp_path, *flags):
    return tftrain.train(
        tftrain.load(CONFIGS / f"{name}.yaml", flags),
        tmp_path / f"{name}{len(flags)}",
    )


def test_other_methods_train_as_backprop_does(tmp_path):
    exact = trained("numeric", tmp_path, "gradients.method=backprop")
    for name, limit in (
        ("numeric", 1e-4),
        ("forward", 1e-6),
    ):  # float32 over the step; float32 summed in another order
        found = trained(name, tmp_path)
        assert found.results["train"]["accuracy"] == 1
        np.testing.assert_allclose(
            found.history["loss"].values,
            exact.history["loss"].values,
            atol=limit,
            rtol=0,
        )

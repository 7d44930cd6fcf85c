from __future__ import annotations

import keras
import pytest


@pytest.fixture
def float64():
    """Models, losses and gradients in double precision."""
    policy = keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy(
        "float64"
    )  # goes by floatx only where it was never asked for
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy(policy)

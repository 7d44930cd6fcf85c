"""The runs that are tortured: a few seconds each, with many checkpoints, points and validations on the way."""

from __future__ import annotations

import shutil
from pathlib import Path

TAIL = """
checkpoint: {every: 10, max_to_keep: 3}
log: {scalars: 3, histograms_every: 12, console: 6}
"""
OWN = ("torture_parts.py", "torture_waves.py")
CONFIGS = {
    "dense": """
model: {name: mlp, hidden: [384, 384]}
data: {name: "torture_parts:blobs", batch_size: 64, validation: 0.1, test: 0.1}
optimizer: {name: adam, learning_rate: {name: cosine_decay, initial_learning_rate: 1e-3, decay_steps: 12 epochs}}
gradients: {clip: {name: global_norm, limit: 1.0}}
training: {epochs: 12}
""",
    "convolutional": """
model: {name: cnn, filters: [16, 32], hidden: [32], dropout: 0.3, batch_norm: true}
data: {name: "torture_parts:images", batch_size: 32, validation: 0.1, preprocess: {name: crop, height: 10, width: 10}}
optimizer: {name: adamw, learning_rate: 1e-3}
training: {epochs: 10, validate_every: 7}
""",
    "recurrent": """
model:
  name: sequential
  layers:
    - {name: lstm, units: 32, dropout: 0.1, recurrent_dropout: 0.1, return_sequences: true}
    - {name: gru, units: 24}
    - {name: dense, units: 3}
data: {name: "torture_parts:series", batch_size: 32, validation: 0.1}
optimizer: {name: rmsprop, learning_rate: 1e-3}
gradients: {clip: [{name: value, limit: 0.5}, {name: norm, limit: 0.2}]}
training: {epochs: 10}
""",
    "tfds": """
model: {name: cnn, filters: [16], hidden: [32], dropout: 0.2}
data:
  name: tfds
  dataset: waves
  builder: torture_waves
  data_dir: prepared
  download: true
  test: test
  batch_size: 32
  shuffle_buffer: 100
  preprocess: {name: resize, height: 10, width: 10}
optimizer: {name: adam, learning_rate: 1e-3}
training: {epochs: 12}
""",
    "stream": """
model: {name: mlp, hidden: [256, 256], dropout: 0.2}
data: {name: "torture_parts:stream", batch_size: 48, shuffle_buffer: 200, validation: 0.1}
optimizer: {name: sgd, learning_rate: 1e-2, momentum: 0.9}
training: {epochs: 12}
""",
    "accumulate": """
model: {name: mlp, hidden: [256, 256], dropout: 0.2}
data: {name: "torture_parts:blobs", batch_size: 60, validation: 0.1}
optimizer: {name: adam, learning_rate: {name: inverse_norm, then: 1e-3}}
gradients: {accumulate_steps: 4, clip: {name: percentile, percent: 30, window: 50}}
training: {epochs: 12, ema: 0.98}
""",
    "half": """
model: {name: mlp, hidden: [128, 128]}
data: {name: "torture_parts:blobs", batch_size: 64, validation: 0.1}
optimizer: {name: adam, learning_rate: {name: backoff, then: 1e-3, steps: 20}}
training: {epochs: 12, precision: mixed_float16}
""",
    "one_by_one": """
model: {name: mlp, hidden: [256, 256], dropout: 0.5}
data: {name: "torture_parts:blobs", batch_size: 64}
optimizer: {name: adamw, learning_rate: 1e-3, weight_decay: 0.01, weight_decay_only: kernel}
training: {steps: 150, steps_per_call: 1}
""",
    "by_sevens": """
model: {name: mlp, hidden: [256, 256], dropout: 0.5}
data: {name: "torture_parts:blobs", batch_size: 64, drop_remainder: true, validation: 0.1}
optimizer: {name: lion, learning_rate: {name: warmup, steps: 2 epochs, then: 3e-4}}
training: {steps: 160, steps_per_call: 7}
""",
    "skip": """
model: {name: mlp, hidden: [256, 256]}
data: {name: "torture_parts:marked", batch_size: 32, shuffle: true}
loss: "torture_parts:marked_error"
metrics: [mean_absolute_error]
optimizer: {name: adam, learning_rate: 1e-3}
training: {epochs: 8, on_bad_step: skip}
""",
    "plateau": """
model: {name: mlp, hidden: [256, 256], batch_norm: true}
data: {name: "torture_parts:blobs", batch_size: 64, validation: 0.2}
optimizer: {name: sgd, learning_rate: {name: plateau, monitor: val_loss, patience: 2, factor: 0.5, then: 0.3}}
training: {epochs: 40, validate_every: 5, early_stopping: {monitor: val_loss, patience: 12, min_delta: 1e-3}}
""",
}


def write_configs(folder: Path, names: list[str]) -> dict[str, Path]:
    """The configs as files, with the modules that they name beside them."""
    for module in OWN:
        shutil.copy(Path(__file__).with_name(module), folder)
    paths = {name: folder / f"{name}.yaml" for name in names}
    for name, path in paths.items():
        tail = (
            TAIL
            if name != "plateau"
            else TAIL.replace(
                "max_to_keep: 3", "max_to_keep: 3, restore_best: true"
            )
        )
        path.write_text(
            CONFIGS[name].lstrip() + tail.lstrip(), encoding="utf-8"
        )
    return paths

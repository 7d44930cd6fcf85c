"""A small set of tensorflow-datasets for scripts/torture/run; its images differ in size, so that it is streamed."""

from __future__ import annotations

import numpy as np
import tensorflow_datasets as tfds


class Waves(tfds.core.GeneratorBasedBuilder):
    """Images of 8 to 12 rows, in four classes."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Tensor(shape=(None, 12, 1), dtype=np.float32)
        features = {
            "image": image,
            "label": tfds.features.ClassLabel(num_classes=4),
        }
        features = tfds.features.FeaturesDict(features)
        return tfds.core.DatasetInfo(
            builder=self, features=features, supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(400),
            "test": self._generate_examples(80),
        }

    def _generate_examples(self, examples: int):
        random = np.random.default_rng(examples)
        for number in range(examples):
            label = int(random.integers(4))
            noise = random.normal(size=(8 + number % 5, 12, 1))
            yield (
                number,
                {"image": (noise + label).astype(np.float32), "label": label},
            )

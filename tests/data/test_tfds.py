"""Real tensorflow-datasets builders made on the spot from scikit-learn's digits; no network is used."""

import shutil
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as library

from tftrain.data.datasets.bundled import digits
from tftrain.data.datasets.tfds import tfds
from tftrain.data.loader import build_data
from tftrain.data.preprocessors import flip
from tftrain.data.records import RandomAccessRecords
from tftrain.data.survey import DataOptions
from tftrain.runtime.errors import DataError

BUILDER = """
import numpy as np
import tensorflow_datasets as tfds
from sklearn import datasets

class LocalDigits(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({
                "image": tfds.features.Image(shape=(8, 8, 1)),
                "label": tfds.features.ClassLabel(num_classes=10),
                "ink": np.float32,
            }),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, manager):
        return {"train": self._generate_examples(0, 100), "test": self._generate_examples(100, 140)}

    def _generate_examples(self, start, stop):
        images, labels = datasets.load_digits(return_X_y=True)
        for i in range(start, stop):
            image = images[i].reshape(8, 8, 1).astype(np.uint8)
            yield i, {"image": image, "label": labels[i], "ink": float(image.sum())}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the user's module in it, and the data prepared by `download: true`."""
    folder = tmp_path_factory.mktemp("tfds")
    (folder / "local_digits_builder.py").write_text(BUILDER)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        tfds(
            "local_digits",
            data_dir=str(folder),
            download=True,
            builder="local_digits_builder:LocalDigits",
        )
        yield str(folder)


def listed(split):
    dataset = (
        split.dataset()
        if isinstance(split, RandomAccessRecords)
        else tf.data.Dataset.from_tensor_slices(split)
    )
    return list(dataset.as_numpy_iterator())


def test_supervised_pairs_and_slices(place):
    found = tfds(
        "local_digits",
        train="train[:60%]",
        validation="train[60%:]",
        test="test",
        data_dir=place,
    )
    sizes = {name: len(listed(split)) for name, split in found.items()}
    assert sizes == {"train": 60, "validation": 40, "test": 40}
    images, labels = digits()
    truth = {
        image.astype(np.uint8).tobytes(): label
        for image, label in zip(images, labels, strict=True)
    }
    for image, label in listed(found["train"]) + listed(found["validation"]):
        assert image.shape == (8, 8, 1) and truth[image.tobytes()] == label


def test_a_list_of_splits_is_their_sum(place):
    assert (
        len(
            listed(
                tfds(
                    "local_digits",
                    train=["train[:10]", "test[:5]"],
                    data_dir=place,
                )["train"]
            )
        )
        == 15
    )


def test_feature_mapping(place):
    x, y = listed(
        tfds("local_digits", data_dir=place, inputs="image", target="ink")[
            "train"
        ]
    )[0]
    assert x.sum() == y
    x, y = listed(
        tfds(
            "local_digits",
            data_dir=place,
            inputs=["image", "ink"],
            target="label",
        )["train"]
    )[0]
    assert (
        set(x) == {"image", "ink"}
        and x["image"].sum() == x["ink"]
        and y in range(10)
    )


def test_it_feeds_a_run(place):
    source = tfds("local_digits", test="test", data_dir=place)
    data = build_data(source, DataOptions(batch_size=10, validation=0.2), 0)
    assert data.facts[:3] == ((8, 8, 1), (), 10)
    assert (
        data.train.examples,
        data.validation.examples,
        data.test.examples,
    ) == (
        80,
        20,
        40,
    )
    assert data.sample.x.dtype == np.float32 and data.sample.x.max() == 16


@pytest.mark.parametrize("inputs", ["image", ["image", "ink"]])
def test_small_splits_are_read_into_arrays_and_large_ones_are_streamed(
    place, monkeypatch, inputs
):
    asked = {"data_dir": place, "inputs": inputs, "target": "label"}
    small = tfds("local_digits", **asked)["train"]
    monkeypatch.setattr(
        "tftrain.data.datasets.tfds.SMALL_BYTES", 100 * 64
    )  # the images alone, without their labels
    large = tfds("local_digits", **asked)["train"]
    assert (
        isinstance(small, tuple)
        and small[1].shape == (100,)
        and isinstance(large, RandomAccessRecords)
    )
    for ours, theirs in zip(listed(small), listed(large), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, ours, theirs)


def test_array_record_files_are_read_into_arrays(place, tmp_path):
    maker = library.builder(
        "local_digits", data_dir=tmp_path, file_format="array_record"
    )
    maker.download_and_prepare()
    x, y = tfds("local_digits", train="train[:30]", data_dir=str(tmp_path))[
        "train"
    ]
    expected = listed(
        tfds("local_digits", train="train[:30]", data_dir=place)["train"]
    )
    assert x.shape == (30, 8, 8, 1) and x.dtype == np.uint8
    np.testing.assert_array_equal(x, [image for image, _ in expected])
    np.testing.assert_array_equal(y, [label for _, label in expected])


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_what_is_streamed_is_positioned_and_equals_what_is_read_into_arrays(
    place, tmp_path, monkeypatch, file_format
):
    """Of a part of several files, from the middle of one to that of another."""
    maker = library.builder(
        "local_digits", data_dir=tmp_path, file_format=file_format
    )
    maker.download_and_prepare(
        download_config=library.download.DownloadConfig(num_shards=3)
    )
    asked = {
        "dataset": "local_digits",
        "train": "train[10:80]",
        "data_dir": str(tmp_path),
    }
    images, labels = tfds(**asked)["train"]
    for limit in ("SMALL_BYTES", "ARRAY_BYTES"):
        monkeypatch.setattr(f"tftrain.data.datasets.tfds.{limit}", 0)
    options = DataOptions(
        batch_size=16, shuffle_buffer=32, preprocess=(flip(),)
    )
    feed = build_data(tfds(**asked), options, 0).train
    whole = [
        feed.batch(feed.serve(step, 1), tf.constant(0)) for step in range(10)
    ]
    for start in (3, 9):
        feed = build_data(tfds(**asked), options, 0).train
        found = [
            feed.batch(feed.serve(step, 1), tf.constant(0))
            for step in range(start, 10)
        ]
        for ours, theirs in zip(found, whole[start:], strict=True):
            np.testing.assert_array_equal(ours.x, theirs.x)
            np.testing.assert_array_equal(ours.y, theirs.y)
    assert feed.replayed == 0 and len(whole) == 10
    for epoch in (whole[:5], whole[5:]):
        assert sorted(np.concatenate([batch.y for batch in epoch])) == sorted(
            labels
        )
    unshuffled = build_data(
        tfds(**asked), DataOptions(batch_size=70, shuffle=False), 0
    ).train
    np.testing.assert_array_equal(
        unshuffled.batch(unshuffled.serve(0, 1), tf.constant(0)).x, images
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"train": "trian"},
            "'trian' is no split of 'local_digits': Unknown split 'trian'",
        ),
        (
            {"train": "train[:500]"},
            "Requested slice [:500] incompatible with 100 examples. (its splits: test, train)",
        ),
        ({"train": "train[:x]"}, "'train[:x]' is no split of 'local_digits'"),
        (
            {"inputs": "imag", "target": "label"},
            "no feature 'imag'; did you mean 'image'?",
        ),
        (
            {"inputs": "image"},
            "`inputs` and `target` go together; 'local_digits' has image, ink, label",
        ),
    ],
)
def test_wrong_splits_and_features_are_named(place, arguments, message):
    with pytest.raises(DataError) as caught:
        tfds("local_digits", data_dir=place, **arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args):
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"dataset": "mnist"},
            "there is no {dir}/mnist/3.0.1; set `download: true`, or run `tfds build mnist --data_dir {dir}`",
        ),
        (
            {"dataset": "mnist", "download": True},
            "is not prepared: there is no {dir}/mnist/3.0.1, and no network to download it",
        ),
        (
            {"dataset": "mnits"},
            "tensorflow-datasets has no data set 'mnits'; did you mean 'mnist'?",
        ),
        (
            {"dataset": "zzzzzzzz"},
            "no data set 'zzzzzzzz'; a builder of your own is named by `builder: module:Class`",
        ),
        (
            {"dataset": "mnist:9.9.9"},
            "Dataset mnist cannot be loaded at version 9.9.9",
        ),
        ({"dataset": "mnist/other"}, "BuilderConfig other not found"),
        (
            {"dataset": "huggingface:mnist"},
            "'huggingface:mnist' is no name of a data set",
        ),
        (
            {"dataset": "mine", "builder": "no_such_module"},
            "builder 'no_such_module' cannot be imported",
        ),
        (
            {"dataset": "mine", "builder": "json:JSONDecodr"},
            "module 'json' has no 'JSONDecodr'; did you mean 'JSONDecoder'?",
        ),
    ],
)
def test_what_is_not_there_is_said_at_once(
    offline, tmp_path, arguments, message
):
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        tfds(**arguments, data_dir=str(tmp_path))
    assert (
        time.monotonic() - start < 60
    )  # and not the minutes that TFDS would try for
    assert message.format(dir=tmp_path) in str(
        caught.value
    ) and "\n" not in str(caught.value)


def test_a_silent_network_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr("tftrain.data.datasets.tfds.PROBE_SECONDS", 0.2)
    monkeypatch.setattr(
        socket,
        "create_connection",
        lambda *args: time.sleep(20) or socket.socket(),
    )
    start = time.monotonic()
    with pytest.raises(DataError, match="no network to download it"):
        tfds("mnist", data_dir=str(tmp_path), download=True)
    assert time.monotonic() - start < 15


@pytest.mark.parametrize(
    ("tear", "message"),
    [
        (lambda file: file.unlink(), "is damaged in .*1.0.0: .*; No such file"),
        (
            lambda file: file.write_bytes(file.read_bytes()[:5000]),
            "is damaged in .*1.0.0: .*truncated record at ",
        ),
        (
            lambda file: file.write_bytes(b""),
            "is damaged in .*1.0.0: .* expected to contain 100 elements but",
        ),
        (
            lambda file: (file.parent / "dataset_info.json").unlink(),
            "is not prepared: .*1.0.0 holds no dataset_info.json; set `download: true`",
        ),
    ],
)
def test_torn_data_is_told(place, tmp_path, tear, message):
    shutil.copytree(Path(place) / "local_digits", tmp_path / "local_digits")
    tear(next(tmp_path.rglob("*train.tfrecord*")))
    with pytest.raises(DataError, match=f"^data set 'local_digits' {message}"):
        tfds("local_digits", data_dir=str(tmp_path))

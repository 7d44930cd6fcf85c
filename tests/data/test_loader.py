"""What both feeds promise, and what `open_data` checks; served through a compiled loop as a run does."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.types import Batch
from tftrain.data import preprocessors
from tftrain.data.array_source import CALL_ROWS, ArraySource
from tftrain.data.datasets.bundled import digits, iris
from tftrain.data.datasets.synthetic import xor
from tftrain.data.loader import build_data
from tftrain.data.preprocessing import Preprocess
from tftrain.data.records import tfrecords
from tftrain.data.sampler import BatchOrder
from tftrain.data.survey import DataOptions
from tftrain.runtime.errors import DataError


def noise():
    """Random preprocessing of any shape."""

    def add(x, y, state, seed, training):
        return (
            x + tf.random.stateless_uniform(tf.shape(x), seed)
            if training
            else x
        ), y

    return Preprocess(add, random=True)


X = np.arange(23, dtype=np.float32)[:, None]
Y = np.arange(23)
CROPPED = (
    preprocessors.scale(0.1),
    preprocessors.crop(5, 5),
    preprocessors.flip(),
)


def arrays(x, y):
    return (x, y)


def stream(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y))


class Examples:
    """What a user writes to give examples by their numbers."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, number):
        return self.x[number], self.y[number]


def records(x, y):
    """Examples in three TFRecord files, each with one more before and after those that are asked for."""
    folder, files = Path(tempfile.mkdtemp(dir=FOLDER.name)), []
    for numbers in np.array_split(np.arange(len(y)), 3):
        path = str(folder / f"{numbers[0]}.tfrecord")
        with tf.io.TFRecordWriter(path) as file:
            for i in (0, *numbers, 0):
                file.write(
                    int(y[i]).to_bytes(8, "little")
                    + tf.io.serialize_tensor(x[i]).numpy()
                )
        files.append((path, 1, 1 + len(numbers)))

    def decode(record):
        row = tf.io.parse_tensor(tf.strings.substr(record, 8, -1), x.dtype)
        label = tf.io.decode_raw(tf.strings.substr(record, 0, 8), tf.int64)
        return tf.ensure_shape(row, x.shape[1:]), tf.reshape(label, [])

    return tfrecords(files, decode, together=4)


FOLDER = tempfile.TemporaryDirectory()
FORMS = pytest.mark.parametrize("form", [arrays, stream, records, Examples])


def collected(feed, start, stop):
    """The batches of steps [start, stop), each call as long as it may be."""

    @tf.function(input_signature=[feed.signature, tf.TensorSpec([], tf.int32)])
    def one(handle, index):
        return feed.batch(handle, index)

    found = []
    while start < stop:
        count = min(feed.run_length(start), stop - start)
        handle = feed.serve(start, count)
        found += [one(handle, tf.constant(i)) for i in range(count)]
        start += count
    return found


def generated(images, labels):
    spec = (tf.TensorSpec([None, 5, 1], tf.uint8), tf.TensorSpec([], tf.int32))
    return tf.data.Dataset.from_generator(
        lambda: zip(images, labels, strict=True), output_signature=spec
    )


def opened(form, seed=0, x=X, y=Y, **options):
    return build_data(
        form(x, y), DataOptions(**{"batch_size": 5, **options}), seed
    )


@FORMS
@pytest.mark.parametrize("cache, buffer", [(False, 4), (True, 4), (False, 100)])
def test_each_epoch_visits_every_example_once_in_an_order_of_its_own(
    form, cache, buffer
):
    feed = opened(form, cache=cache, shuffle_buffer=buffer).train
    assert (feed.examples, feed.steps_per_epoch) == (23, 5)
    batches = collected(feed, 0, 10)
    assert [len(batch.y) for batch in batches] == [5, 5, 5, 5, 3] * 2
    first, second = (
        np.concatenate([b.y for b in batches[i : i + 5]]) for i in (0, 5)
    )
    assert sorted(first) == sorted(second) == list(range(23)) and list(
        first
    ) != list(second)
    for batch in batches:
        np.testing.assert_array_equal(batch.x[:, 0], batch.y)


@FORMS
def test_seeds_give_different_orders_and_the_same_seed_the_same(form):
    orders = [
        np.concatenate(
            [b.y for b in collected(opened(form, seed).train, 0, 5)]
        ).tolist()
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]


@FORMS
def test_without_shuffle_the_order_is_the_data_s_own(form):
    batches = collected(opened(form, shuffle=False).train, 5, 10)
    np.testing.assert_array_equal(
        np.concatenate([batch.y for batch in batches]), Y
    )


@FORMS
def test_any_position_is_reached_directly(form):
    """Serving from step k equals serving from 0 and going on, byte for byte, random preprocessing included."""
    x, y = (part[:60] for part in digits())
    options = {"batch_size": 8, "preprocess": CROPPED, "x": x, "y": y}
    whole = collected(opened(form, **options).train, 0, 20)
    for start in (3, 15):
        found = collected(opened(form, **options).train, start, 20)
        for ours, theirs in zip(found, whole[start:], strict=True):
            assert (
                np.asarray(ours.x).tobytes() == np.asarray(theirs.x).tobytes()
            )
            assert (
                np.asarray(ours.y).tobytes() == np.asarray(theirs.y).tobytes()
            )


@pytest.mark.parametrize(
    "form, options",
    [
        (arrays, {}),
        (stream, {"drop_remainder": True}),
        (stream, {"cache": True}),
        (records, {"shuffle_buffer": 7}),
        (records, {"drop_remainder": True}),
        (records, {"shuffle": False}),
        (Examples, {"shuffle_buffer": 7}),
    ],
)
def test_a_resume_at_every_step_of_two_epochs_goes_on_as_if_nothing_had_been(
    form, options
):
    options = {"preprocess": (noise(),), **options}
    whole = collected(opened(form, **options).train, 0, 10)
    feed = opened(form, **options).train
    for start in reversed(range(10)):
        for ours, theirs in zip(
            collected(feed, start, min(start + 3, 10)),
            whole[start:],
            strict=False,
        ):
            np.testing.assert_array_equal(ours.x, theirs.x)
            np.testing.assert_array_equal(ours.y, theirs.y)


@FORMS
def test_going_back_serves_the_same_again(form):
    feed = opened(form).train
    first = [batch.y.numpy().tolist() for batch in collected(feed, 2, 5)]
    assert [
        batch.y.numpy().tolist() for batch in collected(feed, 2, 5)
    ] == first


@FORMS
def test_augmentation_differs_from_epoch_to_epoch(form):
    x, y = (part[:16] for part in digits())
    feed = opened(
        form,
        x=x,
        y=y,
        batch_size=16,
        shuffle=False,
        preprocess=(preprocessors.flip(),),
    ).train
    one, other = collected(feed, 0, 2)
    assert not np.array_equal(one.x, other.x)


@FORMS
def test_dropped_remainders_give_fixed_shapes(form):
    feed = opened(form, drop_remainder=True).train
    assert (
        feed.steps_per_epoch == 4
        and [len(b.y) for b in collected(feed, 0, 8)] == [5] * 8
    )
    graph = tf.function(
        lambda handle: feed.batch(handle, tf.constant(0)),
        input_signature=[feed.signature],
    )
    assert graph.get_concrete_function().structured_outputs.x.shape == (5, 1)


@FORMS
def test_evaluation_is_in_order_without_augmentation_and_repeats(form):
    data = opened(
        form,
        x=digits()[0][:60],
        y=digits()[1][:60],
        test=0.5,
        split="tail",
        batch_size=30,
        preprocess=CROPPED,
    )
    passes = [
        collected(data.test, 0, data.test.steps_per_epoch) for _ in range(2)
    ]
    assert (
        data.test.examples == 30
        and data.test.steps_per_epoch == 1
        and data.validation is None
    )
    np.testing.assert_array_equal(passes[0][0].x, passes[1][0].x)
    np.testing.assert_allclose(
        passes[0][0].x, digits()[0][30:60, 1:6, 1:6] * np.float32(0.1)
    )


@FORMS
def test_dicts_and_weights_go_along(form):
    weight = np.arange(23) / 10
    source = ({"a": X, "b": X[:, 0]}, Y, weight)
    data = build_data(
        source
        if form is arrays
        else tf.data.Dataset.from_tensor_slices(source),
        DataOptions(5),
        0,
    )
    for batch in collected(data.train, 0, 5):
        np.testing.assert_array_equal(batch.x["a"][:, 0], batch.x["b"])
        np.testing.assert_allclose(
            batch.weight, np.asarray(batch.y) / 10, rtol=1e-6
        )  # float32 of a tenth
    assert (
        data.facts.input_shape == {"a": (1,), "b": ()}
        and data.sample.weight.dtype == np.float32
    )


@FORMS
def test_facts_and_sample_are_of_the_prepared_data(form):
    steps = (preprocessors.resize(4, 4), preprocessors.one_hot())
    x, y = (part[:40] for part in digits())
    data = opened(form, x=x, y=y, batch_size=40, preprocess=steps)
    assert data.facts[:3] == ((4, 4, 1), (10,), 10) and data.label_range == (
        0,
        9,
    )
    assert data.sample.x.shape == (32, 4, 4, 1) and data.sample.y.shape == (
        32,
        10,
    )
    first = collected(data.train, 0, 1)[0]
    np.testing.assert_array_equal(data.sample.x, first.x[:32])


def test_classes_are_those_of_all_splits_and_none_for_floats():
    data = build_data(
        {"train": (X, Y % 3), "test": (X, Y % 5)}, DataOptions(5), 0
    )
    assert data.facts.classes == 5 and data.label_range == (0, 4)
    assert build_data((X, Y * 1.0), DataOptions(5), 0).facts[:3] == (
        (1,),
        (),
        None,
    )


def test_even_batches_let_a_call_span_epochs():
    feed = build_data(xor(), DataOptions("full"), 0).train
    assert feed.run_length(0) == CALL_ROWS // 4 and feed.steps_per_epoch == 1
    assert set(feed.signature) == {"step"}  # there are no rows to choose
    batches = collected(feed, 7, 20)
    assert len(batches) == 13 and all(
        np.array_equal(b.y, [0, 1, 1, 0]) for b in batches
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"drop_remainder": True}, {"shuffle": False}, {"batch_size": 23}],
)
def test_one_call_serves_what_many_do(options, monkeypatch):
    """Short batches, ends of epochs and blocks of epochs within a call change nothing."""
    whole = opened(arrays, **options).train
    one = collected(whole, 2, 60)
    assert whole.run_length(2) > 60
    monkeypatch.setattr(whole, "run_length", lambda step: 1 + step % 7)
    for ours, theirs in zip(collected(whole, 2, 60), one, strict=True):
        np.testing.assert_array_equal(ours.y, theirs.y)


def test_orders_of_small_data_are_drawn_many_at_once(monkeypatch):
    """Whatever is drawn together, an epoch is its own permutation, and the first is that of its seed."""
    monkeypatch.setattr("tftrain.data.array_source.DRAWN_ROWS", 3 * 23)
    order = BatchOrder(23, 5, training=True, seed=7, shuffle=True)
    feed = ArraySource(Batch(X, Y), order, [])
    epochs = [
        np.concatenate(
            [b.y for b in collected(feed, 5 * e, 5 * e + 5)]
        ).tolist()
        for e in range(9)
    ]
    assert len({tuple(epoch) for epoch in epochs}) == 9 and all(
        sorted(epoch) == list(range(23)) for epoch in epochs
    )
    for block in range(3):
        first = np.arange(23)
        np.random.default_rng(order.epoch_seed(block)).shuffle(first)
        assert epochs[3 * block] == first.tolist()


def test_steps_that_would_fill_the_memory_are_left_to_the_graph(monkeypatch):
    x, y = (part[:20] for part in digits())
    steps = (preprocessors.resize(32, 32), preprocessors.standardize())
    ahead = collected(opened(arrays, x=x, y=y, preprocess=steps).train, 0, 4)
    monkeypatch.setattr("tftrain.data.preprocessing.AHEAD_BYTES", 2 * x.nbytes)
    within = collected(opened(arrays, x=x, y=y, preprocess=steps).train, 0, 4)
    for one, other in zip(ahead, within, strict=True):
        np.testing.assert_allclose(
            one.x, other.x, rtol=1e-5, atol=1e-5
        )  # float32 rounding of the same formula


@pytest.mark.parametrize(
    "form", [generated, lambda images, labels: Examples(list(images), labels)]
)
def test_images_of_many_sizes_are_prepared_one_by_one(form):
    source = form(
        [np.full((4 + i % 3, 5, 1), i, np.uint8) for i in range(12)],
        np.arange(12),
    )
    options = DataOptions(
        batch_size=5,
        preprocess=(
            preprocessors.resize(6, 6),
            preprocessors.standardize(),
            preprocessors.flip(),
        ),
    )
    data = build_data(source, options, 0)
    whole = collected(data.train, 0, 6)
    assert (
        data.facts.input_shape == (6, 6, 1)
        and [b.x.shape[0] for b in whole] == [5, 5, 2] * 2
    )
    levels = np.concatenate([b.x[:, 0, 0, 0] for b in whole[:3]])
    labels = np.concatenate([b.y for b in whole[:3]])
    np.testing.assert_array_equal(np.argsort(levels), np.argsort(labels))
    again = build_data(source, options, 0).train
    for start in (4, 1, 5, 2):
        for ours, theirs in zip(
            collected(again, start, 6), whole[start:], strict=True
        ):
            np.testing.assert_array_equal(ours.x, theirs.x)
    with pytest.raises(
        DataError, match=r"no fixed shape .*any.*; add `resize`"
    ):
        build_data(source, DataOptions(batch_size=5), 0)


def test_a_stream_of_unknown_length_is_counted():
    source = (
        tf.data.Dataset.range(50)
        .filter(lambda i: i % 2 == 0)
        .map(lambda i: (tf.cast(i, tf.float32)[None], i))
    )
    data = build_data(source, DataOptions(batch_size=4, validation=0.2), 0)
    assert (data.train.examples, data.validation.examples) == (20, 5)
    assert data.validation.steps_per_epoch == 1


def test_a_cached_stream_is_read_once():
    reads = []

    def make():
        reads.append(1)
        yield from ((np.array([i], np.float32), i) for i in range(10))

    spec = (tf.TensorSpec([1], tf.float32), tf.TensorSpec([], tf.int32))
    source = tf.data.Dataset.from_generator(make, output_signature=spec)
    data = build_data(
        source, DataOptions(batch_size=3, test=0.3, cache=True), 0
    )
    collected(data.train, 0, 9), collected(data.test, 0, 1)
    assert len(reads) == 1


def test_only_a_dataset_of_the_user_s_own_is_read_again():
    assert [
        opened(form).train.replayed for form in (stream, records, Examples)
    ] == [
        23,
        0,
        0,
    ]


@pytest.mark.parametrize("buffer", [20, 200])
def test_shuffled_records_are_mixed_no_less_than_by_a_shuffle_buffer(buffer):
    """Sorted labels stay sorted where they are mixed too little; a rank correlation of 1 is the order of the files."""
    x, y = np.arange(1000, dtype=np.float32)[:, None], np.arange(1000)
    mixed = {}
    for form in (stream, records):
        feed = opened(
            form, x=x, y=y, batch_size=50, shuffle_buffer=buffer
        ).train
        order = np.concatenate([batch.y for batch in collected(feed, 0, 20)])
        mixed[form] = abs(np.corrcoef(order, np.arange(1000))[0, 1])
    assert (
        mixed[records] < 0.2 < 0.8 < mixed[stream]
    )  # by chance alone it is below 0.1 in 99 of 100 orders


def test_a_batch_larger_than_the_training_split_is_refused():
    with pytest.raises(
        DataError,
        match="batch_size 200 is more than the 120 examples .* `batch_size: full`",
    ):
        build_data(iris(), DataOptions(batch_size=200, test=0.2), 0)


def test_a_dataset_of_batches_is_no_dataset_of_examples():
    batches = tf.data.Dataset.from_tensor_slices(
        (np.ones((64, 4), np.float32), np.arange(64) % 2)
    ).batch(32)
    with pytest.raises(
        DataError,
        match=r"batch_size 32 is more than the 2 examples .*; if .* remove \.batch\(\)",
    ):
        build_data(
            batches.map(lambda x, y: (x, tf.cast(y, tf.float32))),
            DataOptions(batch_size=32),
            0,
        )


def test_full_takes_the_whole_training_split_in_one_step():
    data = build_data(
        iris(), DataOptions(batch_size="full", test=0.2, split_seed=42), 0
    )
    assert (
        data.train.steps_per_epoch == 1
        and data.train.examples == 120
        and data.test.examples == 30
    )


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_rows_with_a_single_1_are_of_classes_in_a_stream_too(kind):
    x, y = X[:20], np.eye(4, dtype=kind)[Y[:20] % 4]
    several = np.tile(np.array([[1, 1, 0, 0], [0, 1, 0, 0]], kind), (10, 1))
    for form in (arrays, stream):
        assert (
            build_data(form(x, y), DataOptions(batch_size=4), 0).facts.classes
            == 4
        )
        assert (
            build_data(
                form(x, several), DataOptions(batch_size=4), 0
            ).facts.classes
            is None
        )

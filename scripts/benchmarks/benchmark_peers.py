"""Those who run in a benchmark: tftrain, and other loops that train the same model on the same arrays."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from benchmark_runner import Entry, Runner
from benchmark_workloads import (
    CLIP_NORM,
    LEARNING_RATE,
    NEVER,
    Workload,
    workload,
    write_config,
)

BATCHES_AHEAD = 64  # of the bare loop, in memory
STEPS_PER_CALL = 256  # of the bare loop


def tftrain(entry: Entry, observed: bool = True) -> Runner:
    """What `python -m tftrain` runs, with its files."""
    import tftrain
    from tftrain.trainer import trainer

    log_every = entry.log_every if observed else None
    path = write_config(
        entry.folder / "config.yaml", entry.workload_name, log_every
    )
    config = tftrain.load(path, entry.settings)
    assemble, facts, runs = trainer.build_run, {}, []

    def assemble_and_keep(config):
        began = time.perf_counter()
        runs.append(assemble(config))
        facts["assemble_seconds"] = time.perf_counter() - began
        return runs[0]

    trainer.build_run = (
        assemble_and_keep  # a run does not show its step from outside
    )
    train = functools.partial(tftrain.train, config, entry.folder / "run")
    return Runner(
        train, lambda: int(runs[0].state.step.numpy()) if runs else 0, facts
    )


def limit(entry: Entry) -> Runner:
    """The bare loop within the graph, on batches from memory: nothing is measured, clipped or logged."""
    chosen = workload(entry.workload_name)
    x, y = map(tf.constant, chosen.arrays())
    model, loss_of = keras_model(tf.keras, chosen, x.shape[1:])
    optimizer = tf.keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(model.trainable_variables)
    order = np.random.default_rng(0).integers(
        0, len(x), (BATCHES_AHEAD, chosen.batch)
    )
    order = tf.constant(order, tf.int32)

    @tf.function
    def call():
        for index in tf.range(STEPS_PER_CALL):
            rows = order[index % BATCHES_AHEAD]
            with tf.GradientTape() as tape:
                loss = loss_of(
                    tf.gather(y, rows), model(tf.gather(x, rows), training=True)
                )
            grads = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(
                zip(grads, model.trainable_variables, strict=True)
            )

    return Runner(_for_ever(call), _iterations(optimizer))


def fit(entry: Entry, steps_per_execution: int) -> Runner:
    """Keras' own loop, which logs nothing."""
    chosen = workload(entry.workload_name)
    x, y = chosen.arrays()
    model, loss_of = keras_model(tf.keras, chosen, x.shape[1:])
    optimizer = tf.keras.optimizers.Adam(LEARNING_RATE)
    model.compile(
        optimizer,
        loss_of,
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    batches = dataset(x, y, chosen.batch)
    steps = NEVER // 64 * 64
    return Runner(
        lambda: model.fit(batches, steps_per_epoch=steps, verbose=0),
        _iterations(optimizer),
    )


def tutorial_observed(entry: Entry) -> Runner:
    """The loop of TensorFlow's guides, with stock summaries of loss, norms and gradients in the step."""
    chosen = workload(entry.workload_name)
    x, y = chosen.arrays()
    model, loss_of = keras_model(tf.keras, chosen, x.shape[1:])
    optimizer = tf.keras.optimizers.Adam(LEARNING_RATE)
    mean, accuracy = (
        tf.keras.metrics.Mean(),
        tf.keras.metrics.SparseCategoricalAccuracy(),
    )
    writer = tf.summary.create_file_writer(str(entry.folder / "events"))
    step = tf.Variable(0, dtype=tf.int64)
    names = [variable.path for variable in model.trainable_variables]

    @tf.function
    def train_step(batch_x, batch_y):
        with tf.GradientTape() as tape:
            outputs = model(batch_x, training=True)
            loss = loss_of(batch_y, outputs)
        grads, norm = tf.clip_by_global_norm(
            tape.gradient(loss, model.trainable_variables), CLIP_NORM
        )
        optimizer.apply_gradients(
            zip(grads, model.trainable_variables, strict=True)
        )
        mean.update_state(loss)
        accuracy.update_state(batch_y, outputs)
        with (
            writer.as_default(step),
            tf.summary.record_if(lambda: step % entry.log_every == 0),
        ):
            summarize(loss, norm, names, grads)
        step.assign_add(1)

    def train() -> None:
        for batch_x, batch_y in dataset(x, y, chosen.batch):
            train_step(batch_x, batch_y)

    return Runner(train, lambda: int(step.numpy()))


def orbit_observed(entry: Entry) -> Runner:
    """Orbit's controller and trainer, with its two programs: one for steps with summaries, one for those without."""
    import orbit
    import tf_keras

    chosen = workload(entry.workload_name)
    x, y = chosen.arrays()
    model, loss_of = keras_model(tf_keras, chosen, x.shape[1:])
    optimizer = tf_keras.optimizers.Adam(LEARNING_RATE)
    mean, accuracy = (
        tf_keras.metrics.Mean(),
        tf_keras.metrics.SparseCategoricalAccuracy(),
    )
    step = tf.Variable(0, dtype=tf.int64)
    names = [variable.name for variable in model.trainable_variables]

    class Trainer(orbit.StandardTrainer):
        def train_loop_begin(self):
            mean.reset_state()
            accuracy.reset_state()

        def train_step(self, iterator):
            batch_x, batch_y = next(iterator)
            with tf.GradientTape() as tape:
                outputs = model(batch_x, training=True)
                loss = loss_of(batch_y, outputs)
            grads, norm = tf.clip_by_global_norm(
                tape.gradient(loss, model.trainable_variables), CLIP_NORM
            )
            optimizer.apply_gradients(
                list(zip(grads, model.trainable_variables, strict=True))
            )
            mean.update_state(loss)
            accuracy.update_state(batch_y, outputs)
            summarize(loss, norm, names, grads)
            step.assign_add(1)

        def train_loop_end(self):
            return {"loss": mean.result(), "accuracy": accuracy.result()}

    options = orbit.StandardTrainerOptions(use_tpu_summary_optimization=True)
    controller = orbit.Controller(
        trainer=Trainer(dataset(x, y, chosen.batch), options=options),
        global_step=step,
        steps_per_loop=entry.log_every,
        summary_dir=str(entry.folder / "events"),
        summary_interval=entry.log_every,
    )
    return Runner(
        lambda: controller.train(NEVER, checkpoint_at_completion=False),
        lambda: int(step.numpy()),
    )


def keras_model(keras, chosen: Workload, input_shape):
    """The model of a workload in this Keras, and its loss."""
    kinds = {
        "dense": keras.layers.Dense,
        "conv2d": keras.layers.Conv2D,
        "max_pooling2d": keras.layers.MaxPooling2D,
        "flatten": keras.layers.Flatten,
        "lstm": keras.layers.LSTM,
    }
    layers = [
        kinds[layer["name"]](**{k: v for k, v in layer.items() if k != "name"})
        for layer in chosen.layers
    ]
    model = keras.Sequential([keras.Input(tuple(input_shape)), *layers])
    return model, keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def dataset(x, y, batch: int) -> tf.data.Dataset:
    examples = (
        tf.data.Dataset.from_tensor_slices((x, y))
        .shuffle(len(x), seed=1)
        .repeat()
    )
    return examples.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def summarize(loss, norm, names: list[str], grads: list) -> None:
    tf.summary.scalar("loss", loss)
    tf.summary.scalar("grad_norm", norm)
    for name, grad in zip(names, grads, strict=True):
        tf.summary.scalar(f"grad_norm/{name}", tf.norm(grad))
        tf.summary.histogram(f"grad/{name}", grad)


def _for_ever(call: Callable) -> Callable[[], None]:
    def train() -> None:
        while True:
            call()

    return train


def _iterations(optimizer) -> Callable[[], int]:
    return lambda: int(optimizer.iterations.numpy())


PEERS: dict[str, Callable[[Entry], Runner]] = {
    "tftrain": tftrain,
    "tftrain_unlogged": functools.partial(tftrain, observed=False),
    "limit": limit,
    "fit": functools.partial(fit, steps_per_execution=1),
    "fit_spe32": functools.partial(fit, steps_per_execution=32),
    "tutorial_observed": tutorial_observed,
    "orbit_observed": orbit_observed,
}

import functools
import os
import resource
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tftrain.core.checkpoint import CheckpointManager
from tftrain.core.compiled_steps import CompiledSteps
from tftrain.core.schedule import Segment
from tftrain.core.state import TrainState
from tftrain.core.types import Transform
from tftrain.optim.schedules import constant
from tftrain.optim.transforms import chain
from tftrain.runtime.atomic_files import WriteError


@pytest.fixture
def trained(house):
    """A run of 3 steps with all kinds of state, ready to go on."""

    def make(steps=3, seed=1):
        counting = Transform(
            lambda params: {"sum": params[0] * 0.0},
            lambda grads, state, params: (
                [grads[0] + 0.01 * state["sum"], *grads[1:]],
                {"sum": state["sum"] + grads[0]},
                {},
            ),
        )
        run, run.feed = (
            house.small_run(chain([("counting", counting)]), seed=seed),
            house.classes_feed(),
        )
        run.compiled_steps = CompiledSteps(run.state, run.step_spec, run.feed)
        run.go = lambda step, count: (
            run.compiled_steps.run(
                run.feed.serve(step, count), [Segment(count)]
            ).rows
        )
        if steps:
            run.go(0, steps)
        return run

    return make


def test_a_restored_run_goes_on_to_the_same_bits(house, trained, tmp_path):
    whole = trained()
    whole.state.host.text = '{"patience": 2}'
    CheckpointManager(tmp_path, whole.state).save(3)
    other = trained(0, seed=2)
    assert CheckpointManager(tmp_path, other.state).restore_latest() == 3
    house.assert_same(
        house.everything(whole.state), house.everything(other.state)
    )
    assert other.state.host.text == '{"patience": 2}'
    whole.go(3, 4)
    other.go(3, 4)
    house.assert_same(
        house.everything(whole.state), house.everything(other.state)
    )


def test_nothing_to_restore(trained, tmp_path):
    checkpoints = CheckpointManager(tmp_path / "none", trained(0).state)
    assert checkpoints.newest() is None
    assert checkpoints.restore_latest() is None
    assert checkpoints.restore_best() is None
    assert not (tmp_path / "none").exists()


def test_the_newest_are_kept_and_the_best_lies_apart(trained, tmp_path):
    run = trained(1)
    checkpoints = CheckpointManager(tmp_path, run.state, keep=2)
    checkpoints.save_best(1)
    for step in (1, 2, 3):
        checkpoints.save(step)
        run.go(step, 1)
    assert sorted(path.stem for path in tmp_path.glob("*.index")) == [
        "step-2",
        "step-3",
    ]
    checkpoints.save_best(4)
    run.go(4, 1)
    assert [path.stem for path in (tmp_path / "best").glob("*.index")] == [
        "step-4"
    ]
    assert checkpoints.newest() == 3
    assert checkpoints.restore_latest() == 3
    assert checkpoints.restore_best() == 4


def test_a_misfit_names_variable_shape_and_expected_shape(trained, tmp_path):
    def state_of(units, **options):
        model = keras.Sequential(
            [
                keras.Input((2,)),
                keras.layers.Dense(units, name="wide", **options),
            ],
            name="net",
        )
        return TrainState(
            model, keras.optimizers.SGD(), chain([]), constant(0.1)
        )

    CheckpointManager(tmp_path, state_of(3)).save(1)
    with pytest.raises(ValueError, match="belongs to another model") as caught:
        CheckpointManager(tmp_path, state_of(4)).restore_latest()
    message = str(caught.value)
    assert (
        "model/000_kernel (net/wide/kernel) has shape (2, 3) in the checkpoint, expected (2, 4)"
        in message
    )
    assert (
        "model/001_bias (net/wide/bias) has shape (3,) in the checkpoint, expected (4,)"
        in message
    )
    with pytest.raises(
        ValueError,
        match=r"model/001_bias of shape \(3,\) is only in the checkpoint",
    ):
        CheckpointManager(
            tmp_path, state_of(3, use_bias=False)
        ).restore_latest()
    with pytest.raises(
        ValueError,
        match=r"model/002_gamma .* is not in the checkpoint(\n.*)*\n  and 19 more",
    ):
        CheckpointManager(tmp_path, trained(0).state).restore_latest()


@pytest.fixture
def damaged(trained, tmp_path):
    """A folder with the checkpoints of steps 1, 2 and 3, each time as new, and a way to restore from it."""
    run, whole = trained(1), tmp_path / "whole"
    checkpoints, kept = CheckpointManager(whole, run.state, keep=3), {}
    for step in (1, 2, 3):
        checkpoints.save(step)
        kept[step] = (
            run.state.optimizer.iterations.numpy(),
            run.state.step.numpy(),
        )
        run.go(step, 1)
    other = trained(0, seed=2)

    def restore(folder):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            step = CheckpointManager(folder, other.state).restore_latest()
        assert (
            step == other.state.step.numpy()
            and kept[step][0] == other.state.optimizer.iterations.numpy()
        )
        return step, [str(one.message) for one in said]

    def copy():
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        return Path(shutil.copytree(whole, tmp_path / "copy"))

    return SimpleNamespace(copy=copy, restore=restore, state=other.state)


def test_a_damaged_newest_one_is_named_and_the_one_before_is_used(damaged):
    random = np.random.default_rng(0)
    for name in ("step-3.index", "step-3.data-00000-of-00001"):
        content = (damaged.copy() / name).read_bytes()
        cuts = [content[: len(content) // 2], b"", None, bytes(len(content))]
        for place in random.integers(
            0, len(content) - 60, 20
        ):  # the end of the index is padding
            cuts.append(
                content[:place]
                + bytes([content[place] ^ (1 << random.integers(8))])
                + content[place + 1 :]
            )
        for cut in cuts:
            folder = damaged.copy()
            (folder / name).unlink() if cut is None else (
                folder / name
            ).write_bytes(cut)
            step, (line,) = damaged.restore(folder)
            assert step == 2, name
            assert line.startswith(
                f"the checkpoint {folder / 'step-3'} is damaged; the one before it is used ("
            )
            assert "\n" not in line and "function_node" not in line


def test_a_damaged_list_is_named_and_what_lies_beside_it_is_used(damaged):
    for content in (b"", b"\xff\x00garbage", None):
        folder = damaged.copy()
        pointer = folder / "checkpoint"
        pointer.unlink() if content is None else pointer.write_bytes(content)
        assert damaged.restore(folder) == (
            3,
            [
                f"{pointer} is missing or damaged; the checkpoints beside it are used"
            ],
        )
    folder = damaged.copy()
    (folder / "checkpoint").write_bytes(
        (folder / "checkpoint").read_bytes().replace(b"step-3", b"step-8")
    )
    step, (line,) = damaged.restore(folder)
    assert step == 3 and "step-8 is damaged" in line


def test_where_none_is_whole_the_state_stays_as_it_was(damaged, house):
    folder, before = damaged.copy(), house.everything(damaged.state)
    for step in (1, 2, 3):
        (folder / f"step-{step}.data-00000-of-00001").write_bytes(b"")
    with (
        pytest.warns(UserWarning),
        pytest.raises(
            ValueError, match=f"^no checkpoint in {folder} is whole$"
        ),
    ):
        CheckpointManager(folder, damaged.state).restore_latest()
    house.assert_same(before, house.everything(damaged.state))


def test_a_damaged_one_and_what_came_after_give_way_to_new_ones(damaged):
    folder = damaged.copy()
    (folder / "step-3.index").write_bytes(b"")
    checkpoints = CheckpointManager(folder, damaged.state, keep=2)
    with pytest.warns(UserWarning, match="step-3 is damaged"):
        assert checkpoints.restore_latest() == 2
    checkpoints.save(3)
    assert (
        names_in(folder) == ["step-2", "step-3"]
        and damaged.restore(folder)[1] == []
    )
    CheckpointManager(folder, damaged.state, keep=2).save(
        2
    )  # gone back from step 3, and at a step that is there
    assert names_in(folder) == ["step-2", "step-2-2"]
    assert CheckpointManager(folder, damaged.state).newest() == 2


def test_what_a_killed_write_left_is_swept(damaged):
    folder = damaged.copy()
    names = {path.name for path in folder.iterdir()}
    for name in (
        "step-4.data-00000-of-00001",
        "step-4.index.tempstate42",
        "step-5.data-00000-of-00001.tempstate42",
    ):
        (folder / name).write_bytes(b"half")
    (folder / "notes.txt").write_text("not ours")
    (folder / ".draft.checkpoint").write_text("half")
    assert damaged.restore(folder) == (3, [])
    CheckpointManager(folder, damaged.state).sweep()
    assert {path.name for path in folder.iterdir()} == names | {"notes.txt"}
    CheckpointManager(folder, damaged.state, keep=1).save(4)
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint",
        "step-4.index",
        "step-4.data-00000-of-00001",
        "notes.txt",
    }


@pytest.mark.parametrize("keep", [1, 2])
def test_cut_off_anywhere_in_a_write_the_old_or_the_new_one_is_there(
    trained, tmp_path, monkeypatch, keep
):
    """Every call that changes the disk is cut off in turn, before and after it was done."""
    run, other = trained(1), trained(0, seed=2)
    kept = {
        name: getattr(os, name)
        for name in ("fsync", "replace", "unlink", "mkdir")
    }
    kept["SaveV2"] = tf.raw_ops.SaveV2
    calls = []

    class Cut(BaseException):
        pass

    def cut_off(at):
        """Raises at this call, counted twice: before and after."""
        calls.clear()

        def act(name, *given, **named):
            for done in (False, True):
                calls.append(name)
                if len(calls) == at:
                    raise Cut
                if not done:
                    found = kept[name](*given, **named)
            return found

        for name in kept:
            owner = tf.raw_ops if name == "SaveV2" else os
            monkeypatch.setattr(owner, name, functools.partial(act, name))

    restored = set()
    for at in range(1, 100):
        folder = tmp_path / str(at)
        CheckpointManager(folder, run.state, keep).save(1)
        cut_off(at)
        try:
            CheckpointManager(folder, run.state, keep).save(2)
        except Cut:
            pass
        else:
            break
        finally:
            monkeypatch.undo()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert (
                CheckpointManager(folder, other.state).restore_latest() == 1
            )  # the state's own step
        newest = CheckpointManager(folder, other.state).newest()
        restored.add(newest)
        CheckpointManager(folder, run.state, keep).save(3)
        assert names_in(folder)[-1] == "step-3" and len(
            names_in(folder)
        ) == min(keep, newest + 1)
    assert restored == {1, 2}
    assert (
        calls.count("fsync") == 10
        and calls.count("replace") == 2
        and calls.count("unlink") == (4 if keep == 1 else 0)
    )


def test_tensorflow_reads_them_too(trained, tmp_path):
    run = trained(1)
    CheckpointManager(tmp_path, run.state).save(1)
    reader = tf.train.load_checkpoint(tmp_path)
    assert reader.get_tensor("step/.ATTRIBUTES/VARIABLE_VALUE") == 1
    assert tf.train.latest_checkpoint(tmp_path) == str(tmp_path / "step-1")


def test_a_checkpoint_that_cannot_be_written_says_where_and_why(
    trained, tmp_path
):
    state = trained(1).state
    with pytest.raises(
        WriteError,
        match=f"{tmp_path}/gone/checkpoints cannot be written: No such file or directory",
    ):
        CheckpointManager(tmp_path / "gone" / "checkpoints", state).save(1)
    checkpoints = CheckpointManager(tmp_path, state)
    checkpoints.save(1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        with pytest.raises(
            WriteError, match=f"^{tmp_path} cannot be written: File too large$"
        ):
            checkpoints.save(2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names_in(tmp_path) == ["step-1"]
    checkpoints.save(2)
    assert names_in(tmp_path) == ["step-1", "step-2"]


def names_in(folder):
    return sorted(path.stem for path in folder.glob("*.index"))

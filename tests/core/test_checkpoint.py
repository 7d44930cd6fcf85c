import keras
import pytest

from tftrain.core.checkpoint import Checkpoints
from tftrain.core.plan import Stretch
from tftrain.core.programs import Programs
from tftrain.core.state import TrainState
from tftrain.core.types import Transform
from tftrain.rates import constant
from tftrain.transforms.chain import chain


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
        run, run.feed = house.small_run(chain([("counting", counting)]), seed=seed), house.classes_feed()
        run.programs = Programs(run.state, run.recipe, run.feed)
        run.go = lambda step, count: run.programs.run(run.feed.serve(step, count), [Stretch(count)]).rows
        if steps:
            run.go(0, steps)
        return run

    return make


def test_a_restored_run_goes_on_to_the_same_bits(house, trained, tmp_path):
    whole = trained()
    whole.state.host.text = '{"patience": 2}'
    Checkpoints(tmp_path, whole.state).save(3)
    other = trained(0, seed=2)
    assert Checkpoints(tmp_path, other.state).restore_latest() == 3
    house.assert_same(house.everything(whole.state), house.everything(other.state))
    assert other.state.host.text == '{"patience": 2}'
    whole.go(3, 4)
    other.go(3, 4)
    house.assert_same(house.everything(whole.state), house.everything(other.state))


def test_nothing_to_restore(trained, tmp_path):
    checkpoints = Checkpoints(tmp_path / "none", trained(0).state)
    assert checkpoints.newest() is None
    assert checkpoints.restore_latest() is None
    assert checkpoints.restore_best() is None
    assert not (tmp_path / "none").exists()


def test_the_newest_are_kept_and_the_best_lies_apart(trained, tmp_path):
    run = trained(1)
    checkpoints = Checkpoints(tmp_path, run.state, keep=2)
    checkpoints.save_best(1)
    for step in (1, 2, 3):
        checkpoints.save(step)
        run.go(step, 1)
    assert sorted(path.stem for path in tmp_path.glob("*.index")) == ["step-2", "step-3"]
    checkpoints.save_best(4)
    run.go(4, 1)
    assert [path.stem for path in (tmp_path / "best").glob("*.index")] == ["step-4"]
    assert checkpoints.newest() == 3
    assert checkpoints.restore_latest() == 3
    assert checkpoints.restore_best() == 4


def test_a_misfit_names_variable_shape_and_expected_shape(trained, tmp_path):
    def state_of(units, **options):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units, name="wide", **options)], name="net")
        return TrainState(model, keras.optimizers.SGD(), chain([]), constant(0.1))

    Checkpoints(tmp_path, state_of(3)).save(1)
    with pytest.raises(ValueError, match="belongs to another model") as caught:
        Checkpoints(tmp_path, state_of(4)).restore_latest()
    message = str(caught.value)
    assert "model/000_kernel (net/wide/kernel) has shape (2, 3) in the checkpoint, expected (2, 4)" in message
    assert "model/001_bias (net/wide/bias) has shape (3,) in the checkpoint, expected (4,)" in message
    with pytest.raises(ValueError, match=r"model/001_bias of shape \(3,\) is only in the checkpoint"):
        Checkpoints(tmp_path, state_of(3, use_bias=False)).restore_latest()
    with pytest.raises(ValueError, match=r"model/002_gamma .* is not in the checkpoint(\n.*)*\n  and 19 more"):
        Checkpoints(tmp_path, trained(0).state).restore_latest()

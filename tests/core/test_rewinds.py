import json

import numpy as np
import pytest

from tftrain.core.bad_steps import MAX_REWINDS, RewindPolicy
from tftrain.core.callback import LambdaCallback
from tftrain.core.checkpoint import CheckpointManager
from tftrain.core.compiled_steps import CompiledSteps
from tftrain.core.loop import train
from tftrain.core.schedule import Schedule, every
from tftrain.core.types import BadStep, NotFinite


def rewound(
    house, folder, poisoned, steps=12, checkpoints=4, steps_per_call=1000
):
    run, feed, told = (
        house.small_run(),
        house.classes_feed(steps=steps, poisoned=poisoned),
        [],
    )
    compiled_steps, saves = (
        CompiledSteps(run.state, run.step_spec, feed),
        CheckpointManager(folder, run.state),
    )
    saves.save(0)
    rewinds = RewindPolicy(run.state, saves.restore_latest, told.append)
    callbacks = [rewinds, LambdaCallback(on_checkpoint=saves.save)]
    plan = Schedule(
        steps,
        every(3),
        checkpoints=every(checkpoints),
        on_bad_step="rewind",
        steps_per_call=steps_per_call,
    )
    return (
        run,
        told,
        train(compiled_steps, run.state, feed, plan, callbacks),
        rewinds,
    )


@pytest.mark.parametrize("steps_per_call", [1, 5])
def test_a_run_goes_back_and_on_with_the_next_batches(
    house, tmp_path, steps_per_call
):
    run, told, ended, rewinds = rewound(
        house, tmp_path / "run", [7], steps_per_call=steps_per_call
    )
    assert ended is None and rewinds.count == 1 and int(run.state.step) == 12
    assert (
        int(run.state.optimizer.iterations) == 12 - 3
    )  # 5 and 6 are forgotten, 7 was not applied
    assert told[0].startswith(
        "the loss or a gradient was not finite at step 7; that update was not applied"
    )
    assert told[0].endswith(
        "; the run continues from the checkpoint of step 4, with the next batches"
    )

    # The same without any trouble: the steps 1 to 4, then 8 to 12.
    twin, feed = house.small_run(), house.classes_feed(steps=12)
    compiled_steps = CompiledSteps(twin.state, twin.step_spec, feed)
    train(compiled_steps, twin.state, feed, Schedule(4, every(3)))
    twin.state.step.assign(7)
    train(compiled_steps, twin.state, feed, Schedule(12, every(3)))
    ends = [
        {
            name: value
            for name, value in house.everything(one.state).items()
            if not name.startswith("metrics/")
        }
        for one in (run, twin)
    ]
    house.assert_same(*ends)


def test_a_run_that_goes_back_to_the_same_checkpoint_again_and_again_stops(
    house, tmp_path
):
    poisoned = [2, 3, 5, 6]
    run, told, ended, rewinds = rewound(
        house, tmp_path / "run", poisoned, checkpoints=20
    )
    assert (
        isinstance(ended, NotFinite)
        and len(told) == rewinds.count == MAX_REWINDS
    )
    assert str(ended).startswith(
        "the loss or a gradient was not finite at step 6"
    )
    assert str(ended).endswith(
        "stopped after 3 rewinds to the checkpoint of step 0"
    )
    assert int(run.state.step) == 6 and all(
        np.isfinite(one).all() for one in run.model.get_weights()
    )
    _, told, ended, _ = rewound(
        house, tmp_path / "often", poisoned, checkpoints=1
    )
    assert ended is None and len(told) == 4  # to another one each time


def test_the_count_goes_on_from_its_state(house):
    run = house.small_run()
    bad_step = BadStep(7, "loss", "it went wrong", {})
    first = RewindPolicy(run.state, lambda: 4, list)
    for _ in range(MAX_REWINDS):
        first.on_bad_step(bad_step)
    second = RewindPolicy(run.state, lambda: 4, list)
    second.restore(json.loads(json.dumps(first.state())))
    assert second.count == MAX_REWINDS
    with pytest.raises(
        NotFinite, match="it went wrong; stopped after 3 rewinds"
    ):
        second.on_bad_step(bad_step)
    elsewhere = RewindPolicy(run.state, lambda: 5, list)
    elsewhere.restore(first.state())
    elsewhere.on_bad_step(bad_step)  # to another checkpoint
    assert elsewhere.count == MAX_REWINDS + 1

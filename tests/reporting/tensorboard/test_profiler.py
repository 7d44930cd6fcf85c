import numpy as np
import pytest
import tensorflow as tf

from tftrain.reporting.tensorboard.profiler import Profiler


def work():
    tf.linalg.matmul(tf.ones([8, 8]), tf.ones([8, 8])).numpy()


def traces(folder):
    return [
        path.stat().st_size
        for path in folder.glob("plugins/profile/*/*.xplane.pb")
    ]


def no_profiler_runs():
    with pytest.raises(tf.errors.UnavailableError):
        tf.profiler.experimental.stop()
    return True


def test_from_the_first_step_to_the_last(tmp_path, capsys):
    profile = Profiler(tmp_path, 3, 4)
    profile.on_call_end(0, {})
    profile.on_call_end(1, {})
    assert no_profiler_runs()
    for step in (2, 4):
        profile.on_call_end(step, {})
        work()
    assert no_profiler_runs()
    profile.on_call_end(5, {})
    profile.close()
    (size,) = traces(tmp_path)
    assert size > 100
    assert (
        capsys.readouterr().out
        == f"profile of steps 3 to 4: {tmp_path / 'plugins' / 'profile'}\n"
    )


def test_a_run_that_ends_before(tmp_path, capsys):
    profile = Profiler(tmp_path, 1, 9)
    profile.on_call_end(0, {})
    profile.on_call_end(5, {"loss": np.float32(1)})
    profile.close()
    assert no_profiler_runs() and len(traces(tmp_path)) == 1
    assert capsys.readouterr().out.startswith("profile of steps 1 to 5: ")


def test_where_no_step_was_done_nothing_is_written(tmp_path, capsys):
    profile = Profiler(tmp_path, 1, 9)
    profile.on_call_end(0, {})
    profile.close()
    assert (
        no_profiler_runs()
        and not traces(tmp_path)
        and not capsys.readouterr().out
    )


def test_a_run_that_goes_on_from_within_the_steps(tmp_path, capsys):
    profile = Profiler(tmp_path, 3, 9)
    for step in (6, 9):
        profile.on_call_end(step, {})
    assert capsys.readouterr().out.startswith("profile of steps 7 to 9: ")
    after = Profiler(tmp_path / "after", 3, 9)
    after.on_call_end(12, {})
    after.close()
    assert no_profiler_runs() and not traces(tmp_path / "after")


def test_another_profiler_is_left_alone(tmp_path):
    tf.profiler.experimental.start(str(tmp_path / "other"))
    profile = Profiler(tmp_path, 1, 2)
    with pytest.warns(UserWarning, match="another profiler is running"):
        profile.on_call_end(0, {})
    profile.on_call_end(1, {})
    profile.close()
    tf.profiler.experimental.stop()
    assert not traces(tmp_path) and traces(tmp_path / "other")

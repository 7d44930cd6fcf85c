import numpy as np
import tensorflow as tf

from tftrain.core.types import Transform
from tftrain.optim.clipping import clip_global_norm
from tftrain.optim.transforms import chain, masked

GRADS = [tf.constant([3.0]), tf.constant([100.0]), tf.constant([4.0])]


def test_the_others_pass_by_and_count_for_nothing():
    after, _, told = masked(clip_global_norm(2.5), [0, 2]).update(
        GRADS, (), GRADS
    )
    assert [float(grad[0]) for grad in after] == [1.5, 100, 2]
    assert after[1] is GRADS[1]
    found = {name: float(value) for name, value in told.items()}
    assert found == {
        "norm_before": 5,
        "norm_after": 2.5,
        "factor": 0.5,
        "limit": 2.5,
        "clipped": 1,
    }


def test_a_chain_shows_the_norms_of_the_part():
    both = chain(
        [
            ("global_norm", masked(clip_global_norm(2.5), [0, 2])),
            ("global_norm", clip_global_norm(1000.0)),
        ]
    )
    _, _, told = both.update(GRADS, both.init(GRADS), GRADS)
    assert told["clip/global_norm/norm_before"] == 5
    np.testing.assert_allclose(
        told["clip/global_norm_2/norm_before"],
        np.sqrt(100**2 + 2.5**2),
        rtol=1e-6,
    )
    assert (
        told["clip/global_norm/clipped"],
        told["clip/global_norm_2/clipped"],
    ) == (
        1,
        0,
    )


def test_it_is_given_its_own_parameters_and_its_own_state():
    def update(grads, state, params):
        moved = [
            grad + seen + param
            for grad, seen, param in zip(grads, state, params, strict=True)
        ]
        return moved, [seen + 1 for seen in state], {}

    transform = masked(
        Transform(lambda params: [param * 0 for param in params], update), [1]
    )
    params = [tf.constant([1.0]), tf.constant([10.0]), tf.constant([2.0])]
    state = transform.init(params)
    assert len(state) == 1
    for expected in (110, 111):
        after, state, _ = transform.update(GRADS, state, params)
        assert [float(grad[0]) for grad in after] == [3, expected, 4]

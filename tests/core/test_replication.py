"""Replicas, micro-batches, precisions and clips: the same weights as from one device and the whole batch at once."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent
WORKER = Path(__file__).parent / "on_devices.py"
STEPS = 4
GRID = list(itertools.product((1, 2, 4), (1, 4)))  # replicas and micro-batches
QUICK = (1, 1), (2, 4)  # the others are for `long`
CLIPS = ("value", "norm", "global_norm", "layer_norm", "adaptive", "percentile")
# Sums over at most 16 examples run in another order, which moves a weight below 1 by some 1e-7 in each of four steps;
# where nothing is clipped, the way is longer than 1, and so much more.
FLOAT32_ROUNDING = 1e-6
LIMIT, RATIO, EPSILON, PERCENT, WINDOW = (
    0.05,
    0.05,
    0.1,
    30.0,
    3,
)  # as in the worker


def case(**given):
    return {"task": "trained", "pieces": 1} | given


FLOAT32 = [case(clip=clip) for clip in CLIPS]
HALF = [
    case(clip=clip, precision=name)
    for name in ("mixed_bfloat16", "mixed_float16")
    for clip in CLIPS
]
WEIGHTED = [
    case(reduction="sum_over_batch_size", weighted=False),
    case(reduction="mean_with_sample_weight", weighted=True),
]
SPARSE = [case(model="embedding", clip=clip) for clip in ("norm", "adaptive")]
ADAPTIVE = [
    case(model="embedding", optimizer=name)
    for name in ("adam", "rmsprop", "adagrad")
]
MASKED = [
    case(model="masked", weighted=False),
    case(model="masked", reduction="mean_with_sample_weight"),
]
VOID = [
    case(model="void", reduction=name, clip=clip)
    for name, clip in [
        ("sum_over_batch_size", "none"),
        ("mean_with_sample_weight", "none"),
        ("sum", "global_norm"),
    ]
]
TWINS = [one | {"model": "embedding_twin"} for one in SPARSE]
NORM, CUT_NORM, JOINED_NORM = (
    case(model="batch_norm"),
    case(model="batch_norm", pieces=2),
    case(model="synchronized"),
)
DROPPING = case(model="dropping")
AGAIN = [(one, one | {"again": True}) for one in (JOINED_NORM, NORM, DROPPING)]
GROUPED = [
    case(optimizer=name, multiples=[0.3, 1, 0, 2])
    for name in ("adamw", "ftrl", "nadam")
]
MASKS, FAR = {"task": "masks"}, {"task": "far"}
LOOPED = [{"task": "looped", "optimizer": name} for name in ("sgd", "adam")]


def runs(quick):
    """Pairs of a number of replicas and a case."""
    for cases in (FLOAT32, WEIGHTED, SPARSE, ADAPTIVE, MASKED, VOID, HALF):
        at_once = () if cases is HALF else QUICK
        places = [place for place in GRID if (place in at_once) == quick]
        yield from (
            (replicas, one | {"pieces": pieces})
            for one in cases
            for replicas, pieces in places
        )
    if quick:
        yield from (
            (replicas, one)
            for replicas in (1, 2, 4)
            for one in (NORM, JOINED_NORM, MASKS, FAR, *LOOPED)
        )
        yield from (
            (2, one) for one in (DROPPING, *(again for _, again in AGAIN))
        )
        yield from ((1, one) for one in (CUT_NORM, *TWINS))
        yield from ((replicas, one) for replicas in (1, 2) for one in GROUPED)


class Answers:
    """What the worker finds for each number of replicas and case; the long half of them is computed when asked for."""

    def __init__(self, new_folder):
        self._new_folder = new_folder
        self._runs = {quick: list(runs(quick)) for quick in (True, False)}
        self._found = {}

    def of(self, replicas, given):
        quick = (replicas, given) in self._runs[True]
        if quick not in self._found:
            self._found[quick] = self._compute(quick)
        mine = [one for count, one in self._runs[quick] if count == replicas]
        head, found = f"{mine.index(given)}/", self._found[quick][replicas]
        return {
            name.removeprefix(head): value
            for name, value in found.items()
            if name.startswith(head)
        }

    def _compute(self, quick):
        folder, running = self._new_folder("answers"), {}
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        for count in (4, 2, 1):  # a process each, at the same time
            command = [
                sys.executable,
                str(WORKER),
                str(count),
                str(folder / f"{count}.npz"),
            ]
            with open(folder / f"{count}.log", "wb") as log:
                running[count] = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stderr=log, env=environment
                )
            running[count].stdin.write(
                json.dumps(
                    [one for to, one in self._runs[quick] if to == count]
                ).encode()
            )
            running[count].stdin.close()
        for count, process in running.items():
            assert process.wait(500) == 0, (
                folder / f"{count}.log"
            ).read_text()[-3000:]
        return {
            count: dict(np.load(folder / f"{count}.npz")) for count in running
        }


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return Answers(tmp_path_factory.mktemp)


def weights(answer, step):
    """The weights after a step, in float64."""
    count = len([name for name in answer if name.startswith("weight/0/")])
    return [
        np.asarray(answer[f"weight/{step}/{index}"], np.float64)
        for index in range(count)
    ]


def updates(answer, step):
    return [
        after - before
        for after, before in zip(
            weights(answer, step), weights(answer, step - 1), strict=True
        )
    ]


def flat(arrays):
    return np.concatenate([np.ravel(one) for one in arrays])


def path_length(answer):
    """How far the weights went, step by step."""
    return sum(
        np.linalg.norm(flat(updates(answer, step)))
        for step in range(1, STEPS + 1)
    )


def deviation(answer, reference, steps=STEPS):
    return max(
        np.abs(
            flat(weights(answer, step)) - flat(weights(reference, step))
        ).max()
        for step in range(1, steps + 1)
    )


def sizes_and_limits(clip, answer, step):
    """What the clip bounds of an update, and by what."""
    update, before = updates(answer, step), weights(answer, step - 1)
    if clip == "value":
        return np.abs(flat(update)), LIMIT / 5
    if clip == "norm":
        return np.array([np.linalg.norm(one) for one in update]), LIMIT
    if clip == "layer_norm":  # a kernel and its bias
        return np.array(
            [
                np.linalg.norm(flat(update[index : index + 2]))
                for index in (0, 2)
            ]
        ), LIMIT
    if clip == "adaptive":
        units = [
            np.linalg.norm(one, axis=0 if one.ndim > 1 else None)
            for one in update
        ]
        sizes = [
            np.linalg.norm(one, axis=0 if one.ndim > 1 else None)
            for one in before
        ]
        return flat(units), RATIO * np.maximum(flat(sizes), EPSILON)
    norms = [answer[f"row/{number}/grad_norm"] for number in range(1, step + 1)]
    limit = (
        LIMIT
        if clip == "global_norm"
        else np.percentile(norms[-WINDOW:], PERCENT)
    )
    return np.array([np.linalg.norm(flat(update))]), limit


def assert_within_limits(clip, answer):
    for step in range(1, STEPS + 1):
        found, most = sizes_and_limits(clip, answer, step)
        # Rounding an update of 0.01 into a weight of 1 moves it by 6e-8.
        assert np.all(found <= most * (1 + 1e-5)), (
            f"step {step}: {found} is above {most}"
        )
    bit = [answer[f"row/{step}/clip_rate"] for step in range(1, STEPS + 1)]
    assert sum(bit) >= STEPS / 2


def same_as_one(given):
    return given | {"pieces": 1}


def table(cases, quick=QUICK):
    """Every case on every number of replicas, in every number of micro-batches."""
    return pytest.mark.parametrize(
        "replicas, given",
        [
            pytest.param(
                replicas,
                one | {"pieces": pieces},
                marks=() if (replicas, pieces) in quick else pytest.mark.long,
                id="-".join(
                    str(value)
                    for value in (
                        f"{replicas}x{pieces}",
                        *list(one.values())[2:],
                    )
                ),
            )
            for one in cases
            for replicas, pieces in GRID
        ],
    )


@table(FLOAT32)
def test_in_float32(answers, replicas, given):
    answer, reference = (
        answers.of(replicas, given),
        answers.of(1, same_as_one(given)),
    )
    assert_within_limits(given["clip"], answer)
    assert deviation(answer, reference) < FLOAT32_ROUNDING * max(
        1, path_length(reference)
    )


@table(HALF, ())
def test_in_half_precision(answers, replicas, given):
    answer, reference = (
        answers.of(replicas, given),
        answers.of(1, same_as_one(given)),
    )
    assert_within_limits(given["clip"], answer)
    # Each share of a gradient is rounded to a relative 2^-9 (bfloat16) or 2^-12 (float16) where it leaves the layer,
    # and activations behind rounded weights are too: some few of these roundings, of the whole way.
    rounding = {"mixed_bfloat16": 2**-9, "mixed_float16": 2**-12}[
        given["precision"]
    ]
    assert deviation(answer, reference) < 4 * rounding * path_length(reference)


@table(WEIGHTED)
def test_weighted_examples(answers, replicas, given):
    reference = answers.of(1, same_as_one(given))
    assert deviation(
        answers.of(replicas, given), reference
    ) < FLOAT32_ROUNDING * path_length(reference)


@table(SPARSE)
def test_sparse_gradients_equal_those_of_the_dense_twin(
    answers, replicas, given
):
    answer, twin = (
        answers.of(replicas, given),
        answers.of(1, same_as_one(given) | {"model": "embedding_twin"}),
    )
    assert deviation(answer, twin) < FLOAT32_ROUNDING
    for name in ("grad_norms", "clipped_grad_norms", "clip_rate", "loss"):
        for step in range(1, STEPS + 1):
            np.testing.assert_allclose(
                answer[f"row/{step}/{name}"],
                twin[f"row/{step}/{name}"],
                rtol=1e-5,
            )


@table(ADAPTIVE)
def test_optimizers_that_square_sparse_gradients(answers, replicas, given):
    reference = answers.of(1, same_as_one(given))
    # The root of a mean of squares can be of a size with its rounding where these are next to nothing.
    assert deviation(
        answers.of(replicas, given), reference
    ) < 10 * FLOAT32_ROUNDING * max(1, path_length(reference))


@table(MASKED)
def test_masked_sequences(answers, replicas, given):
    answer, reference = (
        answers.of(replicas, given),
        answers.of(1, same_as_one(given)),
    )
    assert deviation(answer, reference) < FLOAT32_ROUNDING * max(
        1, path_length(reference)
    )
    np.testing.assert_allclose(
        answer["mean_squared_error"], reference["mean_squared_error"], rtol=1e-5
    )


@table(VOID)
def test_what_the_loss_leaves_out_and_what_is_a_sum(answers, replicas, given):
    answer, reference = (
        answers.of(replicas, given),
        answers.of(1, same_as_one(given)),
    )
    assert deviation(answer, reference) < FLOAT32_ROUNDING * max(
        1, path_length(reference)
    )
    for step in range(1, STEPS + 1):
        np.testing.assert_allclose(
            answer[f"row/{step}/loss"], reference[f"row/{step}/loss"], rtol=1e-5
        )
    name = "sparse_categorical_accuracy"
    np.testing.assert_allclose(answer[name], reference[name], rtol=1e-6)


def test_batch_statistics_are_those_of_each_replica(answers):
    """So two replicas see what two micro-batches see; the moving averages are the mean of what each replica saw."""
    two, whole, cut = (
        answers.of(2, NORM),
        answers.of(1, NORM),
        answers.of(1, CUT_NORM),
    )
    kernel, bias, gamma, beta, mean, variance, *_ = range(8)
    first = weights(two, 1)
    assert np.abs(first[gamma] - weights(whole, 1)[gamma]).max() > 1e-3
    for index in (kernel, bias, gamma, beta):
        np.testing.assert_allclose(
            first[index], weights(cut, 1)[index], atol=FLOAT32_ROUNDING
        )
    np.testing.assert_allclose(
        first[mean], weights(whole, 1)[mean], atol=FLOAT32_ROUNDING
    )
    assert np.all(
        first[variance] < weights(whole, 1)[variance]
    )  # each is around the mean of its own half
    assert all(
        np.all(np.isfinite(one)) for one in weights(answers.of(4, NORM), STEPS)
    )  # one had no example at all


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_flags_and_counters_are_those_of_one_replica(answers, replicas):
    for step in range(STEPS + 1):
        *_, ever, times = weights(answers.of(replicas, NORM), step)
        assert (ever, times) == (step > 0, step)


@pytest.mark.parametrize(
    "replicas, steps", [(2, STEPS), (4, STEPS - 1)]
)  # not with fewer examples than replicas
def test_synchronized_batch_statistics_are_those_of_the_whole(
    answers, replicas, steps
):
    reference = answers.of(1, JOINED_NORM)
    assert deviation(
        answers.of(replicas, JOINED_NORM), reference, steps
    ) < FLOAT32_ROUNDING * path_length(reference)


@pytest.mark.parametrize("replicas", [2, 4])
def test_each_replica_draws_for_itself_and_the_first_as_ever(answers, replicas):
    alone, outputs = (
        answers.of(1, MASKS)["outputs"],
        answers.of(replicas, MASKS)["outputs"],
    )
    assert outputs.shape == (3, replicas, 20)
    np.testing.assert_array_equal(outputs[:, :1], alone)
    assert len(np.unique(outputs.reshape(-1, 20), axis=0)) == 3 * replicas


def test_a_limit_of_1_is_one_where_keras_lets_2_through(answers):
    found = answers.of(2, FAR)
    assert found["keras"] == pytest.approx(2.0, rel=1e-6)
    assert found["ours"] == pytest.approx(1.0, rel=1e-6)
    alone = answers.of(1, FAR)
    assert (alone["keras"], alone["ours"]) == (
        pytest.approx(1.0, rel=1e-6),
        pytest.approx(1.0, rel=1e-6),
    )


@pytest.mark.parametrize(("plain", "again"), AGAIN)
def test_what_is_computed_again_is_the_same_on_each_replica(
    answers, plain, again
):
    found, expected = answers.of(2, again), answers.of(2, plain)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name], value, rtol=1e-5, atol=1e-6, err_msg=name
        )


@pytest.mark.parametrize("replicas", [2, 4])
@pytest.mark.parametrize("given", LOOPED)
def test_sparse_gradients_of_many_sizes_add_up_within_one_call(
    answers, replicas, given
):
    """Several steps in a call are a loop in the graph, and a collective may not change its size between its turns."""
    found, expected = answers.of(replicas, given), answers.of(1, given)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # Float32 sums in another order; Adam divides a gradient near 0 by its own size.
        np.testing.assert_allclose(
            found[name],
            value,
            rtol=1e-4,
            atol=1e-6 if given["optimizer"] == "sgd" else 3e-3,
        )


@pytest.mark.parametrize("given", GROUPED, ids=lambda given: given["optimizer"])
def test_parameters_with_rates_of_their_own(answers, given):
    found = answers.of(2, given)
    assert (
        deviation(found, answers.of(1, given)) < 10 * FLOAT32_ROUNDING
    )  # an adaptive optimizer divides by small sums
    assert (
        np.array_equal(found["weight/4/2"], found["weight/0/2"])
        and path_length(found) > 0.1
    )

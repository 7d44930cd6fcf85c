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
REPLICAS, PIECES, STEPS = (1, 2, 4), (1, 4), 4
CLIPS = ("value", "norm", "global_norm", "layer_norm", "adaptive", "percentile")
# Sums over at most 16 examples run in another order, which moves a weight below 1 by some 1e-7 in each of four steps;
# where nothing is clipped, the way is longer than 1, and so much more.
FLOAT32_ROUNDING = 1e-6
LIMIT, RATIO, EPSILON, PERCENT, WINDOW = 0.05, 0.05, 0.1, 30.0, 3  # as in the worker


def case(**given):
    return {"task": "trained"} | given


FLOAT32 = [case(clip=clip, pieces=pieces) for clip, pieces in itertools.product(CLIPS, PIECES)]
HALF = [
    case(clip=clip, pieces=pieces, precision=precision)
    for precision, clip, pieces in itertools.product(("mixed_bfloat16", "mixed_float16"), CLIPS, PIECES)
]
WEIGHTED = [
    case(reduction=reduction, weighted=weighted, pieces=pieces)
    for (reduction, weighted), pieces in itertools.product(
        [("sum_over_batch_size", False), ("mean_with_sample_weight", True)], PIECES
    )
]
SPARSE = [case(model="embedding", clip=clip, pieces=pieces) for clip in ("norm", "adaptive") for pieces in PIECES]
NORMALIZED = [case(model="batch_norm"), case(model="batch_norm", pieces=2), case(model="synchronized")]
OTHERS = [{"task": "masks"}, {"task": "far"}]
TWINS = [case(model="embedding_twin", clip=one["clip"]) for one in SPARSE[:: len(PIECES)]]


class Answers:
    """What the worker found for each case, by number of replicas."""

    def __init__(self, folder, cases):
        self._cases = cases
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        running = {}
        for count in REPLICAS:
            command = [sys.executable, str(WORKER), str(count), str(folder / f"{count}.npz")]
            log = open(folder / f"{count}.log", "wb")
            running[count] = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log, env=environment)
            running[count].stdin.write(json.dumps(cases).encode())
            running[count].stdin.close()
        for count, process in running.items():
            assert process.wait(300) == 0, (folder / f"{count}.log").read_text()[-3000:]
        self._found = {count: dict(np.load(folder / f"{count}.npz")) for count in REPLICAS}

    def of(self, replicas, given):
        head = f"{self._cases.index(given)}/"
        found = self._found[replicas]
        return {name.removeprefix(head): value for name, value in found.items() if name.startswith(head)}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    cases = [*FLOAT32, *WEIGHTED, *SPARSE, *NORMALIZED, *OTHERS, *TWINS]
    return Answers(tmp_path_factory.mktemp("answers"), cases)


@pytest.fixture(scope="module")
def half_answers(tmp_path_factory):
    return Answers(tmp_path_factory.mktemp("half"), HALF)


def weights(answer, step):
    """The weights after a step, in float64."""
    count = len([name for name in answer if name.startswith("weight/0/")])
    return [np.asarray(answer[f"weight/{step}/{index}"], np.float64) for index in range(count)]


def updates(answer, step):
    return [after - before for after, before in zip(weights(answer, step), weights(answer, step - 1), strict=True)]


def flat(arrays):
    return np.concatenate([np.ravel(one) for one in arrays])


def path_length(answer):
    """How far the weights went, step by step."""
    return sum(np.linalg.norm(flat(updates(answer, step))) for step in range(1, STEPS + 1))


def deviation(answer, reference, steps=STEPS):
    return max(
        np.abs(flat(weights(answer, step)) - flat(weights(reference, step))).max() for step in range(1, steps + 1)
    )


def sizes_and_limits(clip, answer, step):
    """What the clip bounds of an update, and by what."""
    update, before = updates(answer, step), weights(answer, step - 1)
    if clip == "value":
        return np.abs(flat(update)), LIMIT / 5
    if clip == "norm":
        return np.array([np.linalg.norm(one) for one in update]), LIMIT
    if clip == "layer_norm":  # a kernel and its bias
        return np.array([np.linalg.norm(flat(update[index : index + 2])) for index in (0, 2)]), LIMIT
    if clip == "adaptive":
        units = [np.linalg.norm(one, axis=0 if one.ndim > 1 else None) for one in update]
        sizes = [np.linalg.norm(one, axis=0 if one.ndim > 1 else None) for one in before]
        return flat(units), RATIO * np.maximum(flat(sizes), EPSILON)
    norms = [answer[f"row/{number}/grad_norm"] for number in range(1, step + 1)]
    limit = LIMIT if clip == "global_norm" else np.percentile(norms[-WINDOW:], PERCENT)
    return np.array([np.linalg.norm(flat(update))]), limit


def assert_within_limits(clip, answer):
    for step in range(1, STEPS + 1):
        found, most = sizes_and_limits(clip, answer, step)
        # Rounding an update of 0.01 into a weight of 1 moves it by 6e-8.
        assert np.all(found <= most * (1 + 1e-5)), f"step {step}: {found} is above {most}"
    bit = [answer[f"row/{step}/clip_rate"] for step in range(1, STEPS + 1)]
    assert sum(bit) >= STEPS / 2


def same_as_one(given):
    return given | {"pieces": 1}


table = pytest.mark.parametrize("replicas", REPLICAS)


def named(cases):
    return pytest.mark.parametrize(
        "given", cases, ids=lambda one: "-".join(str(value) for key, value in one.items() if key != "task")
    )


@table
@named(FLOAT32)
def test_in_float32(answers, replicas, given):
    answer = answers.of(replicas, given)
    assert_within_limits(given["clip"], answer)
    assert deviation(answer, answers.of(1, same_as_one(given))) < FLOAT32_ROUNDING


@pytest.mark.long
@table
@named(HALF)
def test_in_half_precision(half_answers, replicas, given):
    answer, reference = half_answers.of(replicas, given), half_answers.of(1, same_as_one(given))
    assert_within_limits(given["clip"], answer)
    # Each share of a gradient is rounded to a relative 2^-9 (bfloat16) or 2^-12 (float16) where it leaves the layer,
    # and activations behind rounded weights are too: some few of these roundings, of the whole way.
    rounding = {"mixed_bfloat16": 2**-9, "mixed_float16": 2**-12}[given["precision"]]
    assert deviation(answer, reference) < 4 * rounding * path_length(reference)


@table
@named(WEIGHTED)
def test_weighted_examples(answers, replicas, given):
    reference = answers.of(1, same_as_one(given))
    assert deviation(answers.of(replicas, given), reference) < FLOAT32_ROUNDING * path_length(reference)


@table
@named(SPARSE)
def test_sparse_gradients_equal_those_of_the_dense_twin(answers, replicas, given):
    answer, twin = answers.of(replicas, given), answers.of(1, case(model="embedding_twin", clip=given["clip"]))
    assert deviation(answer, twin) < FLOAT32_ROUNDING
    for name in ("grad_norms", "clipped_grad_norms", "clip_rate", "loss"):
        for step in range(1, STEPS + 1):
            np.testing.assert_allclose(answer[f"row/{step}/{name}"], twin[f"row/{step}/{name}"], rtol=1e-5)


def test_batch_statistics_are_those_of_each_replica(answers):
    """So two replicas see what two micro-batches see; the moving averages are the mean of what each replica saw."""
    plain = NORMALIZED[0]
    two, whole, cut = answers.of(2, plain), answers.of(1, plain), answers.of(1, NORMALIZED[1])
    kernel, bias, gamma, beta, mean, variance, *_ = range(8)
    first = weights(two, 1)
    assert np.abs(first[gamma] - weights(whole, 1)[gamma]).max() > 1e-3
    for index in (kernel, bias, gamma, beta):
        np.testing.assert_allclose(first[index], weights(cut, 1)[index], atol=FLOAT32_ROUNDING)
    np.testing.assert_allclose(first[mean], weights(whole, 1)[mean], atol=FLOAT32_ROUNDING)
    assert np.all(first[variance] < weights(whole, 1)[variance])  # each is around the mean of its own half
    assert all(np.all(np.isfinite(one)) for one in weights(answers.of(4, plain), STEPS))  # one had no example at all


@pytest.mark.parametrize("replicas, steps", [(2, STEPS), (4, STEPS - 1)])  # not with fewer examples than replicas
def test_synchronized_batch_statistics_are_those_of_the_whole(answers, replicas, steps):
    given = NORMALIZED[2]
    reference = answers.of(1, given)
    assert deviation(answers.of(replicas, given), reference, steps) < FLOAT32_ROUNDING * path_length(reference)


@pytest.mark.parametrize("replicas", REPLICAS[1:])
def test_each_replica_draws_for_itself_and_the_first_as_ever(answers, replicas):
    alone, outputs = answers.of(1, OTHERS[0])["outputs"], answers.of(replicas, OTHERS[0])["outputs"]
    assert outputs.shape == (3, replicas, 20)
    np.testing.assert_array_equal(outputs[:, :1], alone)
    assert len(np.unique(outputs.reshape(-1, 20), axis=0)) == 3 * replicas


def test_a_limit_of_1_is_one_where_keras_lets_2_through(answers):
    found = answers.of(2, OTHERS[1])
    assert found["keras"] == pytest.approx(2.0, rel=1e-6)
    assert found["ours"] == pytest.approx(1.0, rel=1e-6)
    alone = answers.of(1, OTHERS[1])
    assert (alone["keras"], alone["ours"]) == (pytest.approx(1.0, rel=1e-6), pytest.approx(1.0, rel=1e-6))

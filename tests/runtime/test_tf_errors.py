import pytest
import tensorflow as tf

from tftrain.runtime.tf_errors import short_message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Out of memory\nmore", "Out of memory"),
        (
            "Graph execution error:\n\nDetected at node a/b defined at (most recent call last):\n"
            '<stack traces unavailable>\n  File "x.py", line 3, in f\nToo  large {{node a/b}} here\n\t [[{{node}}]]',
            "Too large here",
        ),
        (
            "Failed getting HLO text: 'Expected size[0] in [0, 80]\n\t [[{{node x}}]]'",
            "Expected size[0] in [0, 80]",
        ),
        (
            "Graph execution error:\n\nindices[2,3] = 9 is not in [0, 5) [Op:__inference__run_1485]",
            "indices[2,3] = 9 is not in [0, 5)",
        ),
        (
            'Graph execution error:\n\nDetected at node a defined at (most recent call last):\n  File "x.py", line 3\n'
            "    x = y\n\n2 root error(s) found.\n  (0) INVALID_ARGUMENT:  bad size\n\t [[{{node a}}]]\n"
            "  (1) CANCELLED:  Function was cancelled\n0 successful operations.",
            "bad size",
        ),
        ("Graph execution error:", "Graph execution error:"),
        (
            "End of sequence [Op:__inference__run_1]",
            "the data gave fewer examples than when they were counted",
        ),
    ],
)
def test_one_line_that_says_something(text, said):
    assert short_message(text) == said


def test_what_xla_does_not_know():
    @tf.function(jit_compile=True)
    def step(x):
        return tf.numpy_function(lambda x: x, [x], tf.float32)

    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        step(tf.constant(1.0))
    assert (
        short_message(str(caught.value))
        == "XLA does not know the TensorFlow operation PyFunc"
    )

import subprocess
import sys

import numpy as np
import pytest
from sklearn import datasets

from tftrain.data.datasets import bundled, synthetic


@pytest.mark.parametrize(
    "builder, loader, examples, width, classes",
    [
        (bundled.iris, datasets.load_iris, 150, 4, 3),
        (bundled.wine, datasets.load_wine, 178, 13, 3),
        (bundled.breast_cancer, datasets.load_breast_cancer, 569, 30, 2),
        (lambda: bundled.digits(flat=True), datasets.load_digits, 1797, 64, 10),
    ],
)
def test_tables_have_their_published_sizes_and_scikit_learn_s_values(
    builder, loader, examples, width, classes
):
    x, y = builder()
    assert x.shape == (examples, width) and x.dtype == np.float32
    assert sorted(set(y)) == list(range(classes)) and len(y) == examples
    theirs, labels = loader(return_X_y=True)
    np.testing.assert_array_equal(x, theirs.astype(np.float32))
    np.testing.assert_array_equal(y, labels)


def test_digits_are_images_or_rows_of_the_same_raw_values():
    images, labels = bundled.digits()
    rows, _ = bundled.digits(flat=True)
    assert images.shape == (1797, 8, 8, 1) and rows.shape == (1797, 64)
    np.testing.assert_array_equal(images.reshape(1797, 64), rows)
    assert (rows.min(), rows.max()) == (0, 16) and set(labels) == set(range(10))


def test_scikit_learn_itself_is_not_imported():
    code = "import sys; from tftrain.data.datasets.bundled import iris; iris(); sys.exit('sklearn' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
    )


def test_xor_is_the_truth_table():
    x, y = synthetic.xor()
    np.testing.assert_array_equal(y, [int(a) ^ int(b) for a, b in x])
    assert x.shape == (4, 2) and y.shape == (4,)


def test_they_are_read_also_where_the_working_directory_was_deleted(
    tmp_path, monkeypatch
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert bundled.iris()[0].shape == (150, 4) and bundled.digits()[
        0
    ].shape == (
        1797,
        8,
        8,
        1,
    )

import pytest

from tftrain.runtime.metric_mode import metric_mode


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("val_loss", "min"),
        ("loss", "min"),
        ("val_accuracy", "max"),
        ("sparse_top_k_categorical_accuracy", "max"),
        ("val_auc", "max"),
        ("auc_1", "max"),
        ("auc_loss", "min"),
        ("f1_score", "max"),
        ("fbeta_score", "max"),
        ("r2_score", "max"),
        ("mean_io_u", "max"),
        ("binary_iou", "max"),
        ("recall", "max"),
        ("cosine_similarity", "max"),
        ("mean_absolute_error", "min"),
        ("mape", "min"),
        ("false_positives", "min"),
        ("true_positives", "max"),
        ("grad_norm", "min"),
        ("grad_norm/002.layer2/kernel", "min"),
    ],
)
def test_direction(name, better):
    assert metric_mode(name) == better


def test_a_given_mode_is_obeyed():
    assert metric_mode("val_accuracy", "min") == "min"
    assert metric_mode("loss", "max") == "max"

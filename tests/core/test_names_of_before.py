"""Names under which users may have imported what has another name now."""

from __future__ import annotations

from tftrain.core import numerics, sparse, types
from tftrain.data import chain, preprocessing


def test_types():
    assert types.Facts is types.DataSpec
    assert types.Moment is types.StepOutputs
    assert types.Evaluation is types.LossAndGrads
    assert types.Terms is types.LossTerms
    assert types.Carrying is types.StatefulMethod
    assert types.Signals is types.LogData
    assert types.Scene is types.PlotContext
    assert types.Feed is types.BatchSource


def test_modules():
    assert chain.Preprocess is preprocessing.Preprocess
    assert sparse.unique_rows is numerics.sum_duplicate_rows
    assert sparse.joined is numerics.concat_sparse
    assert sparse.values_of is numerics.stored_values

"""The names that Keras gives layers by itself, such as dense_1, which it counts through a whole process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from keras.src.backend.common import (
    global_state,
)  # there is no public way to set the counts alone
from keras.src.utils import naming


@contextmanager
def reset_layer_names() -> Iterator[None]:
    """Keras names layers made inside as in a new process; those made later have none of the names made before."""
    old_counts = dict(global_state.get_global_attribute("object_name_uids", {}))
    scopes = len(global_state.get_global_attribute("name_scope_stack") or ())
    naming.reset_uids()
    try:
        yield
    finally:
        # A layer whose name TensorFlow refuses leaves its scope open, and would be in the names of all later ones.
        del (global_state.get_global_attribute("name_scope_stack") or [])[
            scopes:
        ]
        new_counts = global_state.get_global_attribute("object_name_uids", {})
        counts = {
            name: max(new_counts.get(name, 0), old_counts.get(name, 0))
            for name in new_counts | old_counts
        }
        global_state.set_global_attribute(
            "object_name_uids", defaultdict(int, counts)
        )

class Net:
    """Imported through its package."""

    def __init__(self, width: int, *, classes: int):
        pass


def small(width: int = 2, *, outputs: int):
    """A function of a package."""

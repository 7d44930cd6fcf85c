from pack.inner import Net as Network  # noqa: F401
from pack.inner import small  # noqa: F401

"""Builds the images that take long and stay the same: the servers' of all stacks, the bases, and the proxy.

They are kept outside the clone. The suites build what they do not find, but have only the time of a test for it.
"""

import sys
from collections.abc import Iterator
from time import monotonic

from tests.image.store import CACHE, Image, Store
from tests.stacks import STACKS


def built(store: Store) -> Iterator[Image]:
    """One after the other."""
    for stack in STACKS:
        yield store.server(stack)
        if stack.base is not None:
            yield store.base(stack.base)
    yield store.proxy()


def main() -> None:
    """Build them, and tell how long each took."""
    with Store() as store:
        began = monotonic()
        for image in built(store):
            sys.stdout.write(f"{monotonic() - began:5.0f} s  {image.name}\n")
            sys.stdout.flush()
            began = monotonic()
    sys.stdout.write(f"{CACHE}\n")


if __name__ == "__main__":
    main()

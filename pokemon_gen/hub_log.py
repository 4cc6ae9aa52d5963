"""The log of the hub's client: without a network it warns of every retry, before our error says it all."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hide_retries() -> Iterator[None]:
    """Hide the warnings of `huggingface_hub`."""
    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)

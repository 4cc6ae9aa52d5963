"""The browser for the tests of the report, and the inputs of a scorecard."""

from tests.browser import browser, page
from tests.evaluation.conftest import inputs

__all__ = ["browser", "inputs", "page"]

"""The inputs of a scorecard, for the tests of the comparison."""

from tests.evaluation.conftest import inputs

__all__ = ["inputs"]

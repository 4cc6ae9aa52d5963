"""The browser for the tests of the live page."""

from tests.browser import browser, page

__all__ = ["browser", "page"]

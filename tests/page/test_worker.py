"""The page's worker in Chromium: every message gets its answer, also in the middle of a completion."""

from typing import Any

import numpy as np
import pytest

from pokemon_gen.page.export import export_models
from tests.model_builders import V
from tests.page.engines import GREEDY, SCRIPTS, as_arguments, odd_model

pytestmark = pytest.mark.browser
PROMPT = np.random.default_rng(0).integers(0, V, 350).tolist()
_START = """(source) => {
    globalThis.answers = [];
    globalThis.worker = new Worker(URL.createObjectURL(new Blob([source])));
    worker.onmessage = ({ data }) => {
        answers.push(data);
        if (data.type !== globalThis.awaited?.type) return;
        worker.postMessage(awaited.then);
        awaited = null;
    };
}"""
_LOAD = """(members) => worker.postMessage({ type: "load", id: 0, members: members.map(([spec, text]) =>
    ({ spec, weights: Uint8Array.fromBase64(text).buffer })) })"""


@pytest.fixture
def worker(page: Any) -> Any:
    """Return a page with a worker that has a small model, and whose answers are collected in `answers`."""
    page.evaluate(_START, SCRIPTS["engine.js"] + SCRIPTS["worker.js"])
    page.evaluate(_LOAD, as_arguments(export_models(odd_model("llama"))))
    return page


def send(page: Any, kind: str, number: int, **fields: Any) -> None:
    page.evaluate("(message) => worker.postMessage(message)", {"type": kind, "id": number, **fields})


def wait_for(page: Any, kind: str, number: int) -> list[list[Any]]:
    """Wait for an answer, and return the types and ids of all so far."""
    script = "([type, id]) => answers.some((answer) => answer.type === type && answer.id === id)"
    page.wait_for_function(script, arg=[kind, number], timeout=20_000)
    return page.evaluate("() => answers.map(({ type, id }) => [type, id])")


def test_a_completion_is_answered_pixel_by_pixel(worker: Any) -> None:
    send(worker, "complete", 1, **GREEDY, prompt=PROMPT, pace=0)
    order = wait_for(worker, "completed", 1)
    assert order == [["loaded", 0], *[["tokens", 1]] * 50, ["completed", 1]]
    positions = worker.evaluate("() => answers.filter((a) => a.type === 'tokens').map((a) => a.position)")
    assert positions == list(range(350, 400))
    assert worker.evaluate("() => answers[0].simd") is True


def test_completions_wait_for_one_another(worker: Any) -> None:
    for number in (1, 2):
        send(worker, "complete", number, **GREEDY, prompt=PROMPT, pace=0)
    order = wait_for(worker, "completed", 2)
    assert order[52] == ["tokens", 2]
    assert order[51] == ["completed", 1]


def test_a_cancelled_completion_stops_at_once_and_the_next_begins(worker: Any) -> None:
    worker.evaluate("() => { globalThis.awaited = { type: 'tokens', then: { type: 'cancel', id: 1 } }; }")
    send(worker, "complete", 1, **GREEDY, prompt=PROMPT, pace=20)
    send(worker, "complete", 2, **GREEDY, prompt=PROMPT, pace=0)
    order = wait_for(worker, "completed", 2)
    assert ["cancelled", 1] in order
    assert ["completed", 1] not in order
    assert order.count(["tokens", 1]) < 5
    assert order.count(["tokens", 2]) == 50


def test_a_completion_that_waits_can_be_cancelled(worker: Any) -> None:
    for number in (1, 2):
        send(worker, "complete", number, **GREEDY, prompt=PROMPT, pace=1)
    send(worker, "cancel", 2)
    send(worker, "cancel", 77)  # none of this id: no answer
    order = wait_for(worker, "cancelled", 2)
    assert order[-2:] == [["completed", 1], ["cancelled", 2]]


def test_pixels_are_inspected_while_a_completion_runs(worker: Any) -> None:
    ask = "{ type: 'inspect', id: 5, tokens: [1, 2, 3], members: 1 }"
    worker.evaluate(f"() => {{ globalThis.awaited = {{ type: 'tokens', then: {ask} }}; }}")
    send(worker, "complete", 1, **GREEDY, prompt=PROMPT, pace=5)
    order = wait_for(worker, "completed", 1)
    assert ["inspected", 5] in order[:-1]
    send(worker, "complete", 2, **GREEDY, prompt=PROMPT, pace=0)
    wait_for(worker, "completed", 2)
    drawn = "(id) => answers.filter((a) => a.type === 'tokens' && a.id === id).map((a) => a.tokens[0])"
    assert worker.evaluate(drawn, 1) == worker.evaluate(drawn, 2)


def test_pixels_come_no_faster_than_the_pace(worker: Any) -> None:
    wait_for(worker, "loaded", 0)
    start = worker.evaluate("() => performance.now()")
    send(worker, "complete", 1, **GREEDY, prompt=PROMPT, pace=10)
    wait_for(worker, "completed", 1)
    assert worker.evaluate("() => performance.now()") - start > 490


def test_attention_has_the_shape_that_it_states(worker: Any) -> None:
    send(worker, "attend", 3, tokens=PROMPT, position=40)
    wait_for(worker, "attention", 3)
    assert worker.evaluate(
        "() => { const a = answers.at(-1); return [a.layers, a.heads, a.weights.length]; }"
    ) == [2, 4, 320]


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("inspect", {"tokens": [V], "members": 1}, f"token {V} has no colour"),
        ("complete", {**GREEDY, "prompt": [], "pace": 0}, "0 pixels"),
        ("paint", {}, "unknown message paint"),
    ],
)
def test_a_bad_message_is_answered_with_an_error(
    worker: Any, kind: str, fields: dict[str, Any], message: str
) -> None:
    send(worker, kind, 9, **fields)
    wait_for(worker, "error", 9)
    assert message in worker.evaluate("() => answers.at(-1).message")
    send(worker, "complete", 10, **GREEDY, prompt=PROMPT, pace=0)  # the worker still works
    wait_for(worker, "completed", 10)


def test_a_worker_without_a_model_says_so(page: Any) -> None:
    page.evaluate(_START, SCRIPTS["engine.js"] + SCRIPTS["worker.js"])
    send(page, "inspect", 1, tokens=[0], members=1)
    wait_for(page, "error", 1)
    assert page.evaluate("() => answers[0].message") == "no model is loaded"

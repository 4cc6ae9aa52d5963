"use strict";
/**
 * The worker of the live page: answers messages by `engine.js`, whose text comes before this one.
 *
 * Messages and answers carry an `id`. One completion runs at a time; between two pixels the worker takes
 * other messages, so that it can be stopped and asked about pixels meanwhile.
 *
 *   load      members: [{spec, weights}]   → loaded: simd, milliseconds
 *   complete  prompt, count, temperature, topK, topP, seed, members, pace
 *                                          → tokens: position, tokens, logProbs, each time; completed
 *   cancel    id of the completion         → cancelled, by that completion
 *   inspect   tokens, members              → inspected: nll, probabilities
 *   attend    tokens, position             → attention: layers, heads, weights
 *   anything that fails                    → error: message
 */

let engine = null;
/** The last of the completions, which run one after the other. */
let completions = Promise.resolve();
/** The ids of completions that wait or run, and of those among them that are to stop. */
const running = new Set();
const stopping = new Set();

const HANDLERS = {
  load({ id, members }) {
    const start = performance.now();
    engine = new Engine(members);
    postMessage({ type: "loaded", id, simd: engine.simd, milliseconds: performance.now() - start });
  },

  complete(message) {
    requireEngine();
    running.add(message.id);
    completions = completions.then(() => complete(message)).catch((error) => answerError(message.id, error));
  },

  cancel({ id }) {
    if (running.has(id)) stopping.add(id);
  },

  inspect({ id, tokens, members }) {
    const { nll, probabilities } = requireEngine().inspect(tokens, members);
    postMessage({ type: "inspected", id, nll, probabilities }, [nll.buffer, probabilities.buffer]);
  },

  attend({ id, tokens, position }) {
    const { layers, heads, weights } = requireEngine().attend(tokens, position);
    postMessage({ type: "attention", id, layers, heads, weights }, [weights.buffer]);
  },
};

onmessage = ({ data }) => {
  try {
    const handler = HANDLERS[data.type];
    if (!handler) throw new Error(`unknown message ${data.type}`);
    handler(data);
  } catch (error) {
    answerError(data.id, error);
  }
};

function requireEngine() {
  if (!engine) throw new Error("no model is loaded");
  return engine;
}

function answerError(id, error) {
  postMessage({ type: "error", id, message: error.message });
}

/** Draw one completion pixel by pixel, at least `pace` milliseconds apart, until it ends or is cancelled. */
async function complete(message) {
  const { id, pace } = message;
  try {
    let shown = -Infinity;
    for (const drawn of engine.complete(message)) {
      if (drawn) {
        await pause(shown + pace - performance.now());
        shown = performance.now();
      } else await pause(0);
      if (stopping.has(id)) break;
      if (drawn) postMessage({ type: "tokens", id, ...drawn });
    }
    postMessage({ type: stopping.has(id) ? "cancelled" : "completed", id });
  } finally {
    running.delete(id);
    stopping.delete(id);
  }
}

const channel = new MessageChannel();

/** Let other messages in, and wait this many milliseconds if that is more than none. */
function pause(milliseconds) {
  return new Promise((resolve) => {
    if (milliseconds > 0) return setTimeout(resolve, milliseconds);
    channel.port1.onmessage = resolve; // a timer of 0 ms would wait 4
    return channel.port2.postMessage(null);
  });
}

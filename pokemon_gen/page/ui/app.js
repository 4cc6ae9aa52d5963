// The page: connects the picture, the worker that runs the model, and what people press.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const PALETTE = new Palette(DATA.palette);
const BACKGROUND = 0;
const CANDIDATE_SCALE = 4, START_SCALE = 3;
const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const $ = (id) => document.getElementById(id);

const history_ = new History(new Picture(new Int32Array(LENGTH).fill(BACKGROUND), 240, 240));
let tool = "paint", colour = 0, mirror = false, cursor = null, cell = 24;
let candidates = null; // {id, from, tokens: Int32Array(400) each, nll: number each, known, chosen}
let asked = null; // the pixel that is looked into
let overlay = null; // {kind: "surprise" | "attention", values: Float32Array(400), most}
let attention = null; // the last answer of the worker

const picture = () => history_.picture;

// ---------------------------------------------------------------- the worker

const waiting = new Map();
let lastId = 0, worker = null, ready = false;

/** Start the worker from the text in this page, and give it the weights. */
async function startWorker() {
  const source = $("worker").textContent;
  worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  worker.onmessage = ({ data }) => {
    const handler = waiting.get(data.id);
    if (data.type === "error") {
      waiting.delete(data.id);
      say(data.message, true);
      handler?.({ ...data, failed: true });
    } else handler?.(data);
  };
  worker.onerror = (event) => say(`The model stopped: ${event.message}. Reload the page.`, true);
  const members = DATA.members.map((spec, number) => {
    const element = $(`weights-${number}`), weights = bytesOf(element.textContent);
    element.remove(); // the text is no longer needed
    return { spec, weights: weights.buffer };
  });
  const loaded = await ask({ type: "load", members }, members.map((member) => member.weights));
  if (loaded.failed) return;
  ready = true;
  const faulty = $("status").classList.contains("wrong"); // such as a link that does not fit
  if (!faulty) say("Ready. Paint, or choose a sprite to start from, then press Complete.");
  refresh();
}

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i); // ten times as fast as Uint8Array.from
  return bytes;
}

/** Send a message; `onAnswer` hears every answer, until it returns true. */
function send(message, onAnswer, transfer = []) {
  const id = ++lastId;
  waiting.set(id, (answer) => {
    if (onAnswer(answer) || answer.failed) waiting.delete(id);
  });
  worker.postMessage({ ...message, id }, transfer);
  return id;
}

/** Send a message that has one answer. */
function ask(message, transfer = []) {
  return new Promise((resolve) => send(message, (answer) => (resolve(answer), true), transfer));
}

// ---------------------------------------------------------------- messages

let said = 0; // messages so far

function say(text, wrong = false) {
  said++;
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

function placeOf(position) {
  return `row ${Math.floor(position / SIDE) + 1}, column ${(position % SIDE) + 1}`;
}

// ---------------------------------------------------------------- the focus

/** Replace the children of an element; the keyboard stays at the same place among them, or goes to the board. */
function replaceChildren(element, ...children) {
  const at = [...element.querySelectorAll("button")].indexOf(document.activeElement);
  element.replaceChildren(...children);
  if (at >= 0) ([...element.querySelectorAll("button")][at] ?? board).focus();
}

/** Disable or enable a button; the keyboard goes on from another element if the button had the focus. */
function disable(id, disabled, heir = board) {
  if (disabled && document.activeElement === $(id)) heir.focus();
  $(id).disabled = disabled;
}

// ---------------------------------------------------------------- drawing

const board = $("board");

function fitBoard() {
  const style = getComputedStyle(board.closest(".easel"));
  const width = Math.min(board.closest(".easel").clientWidth - parseFloat(style.paddingLeft) - 16, 520);
  cell = Math.max(12, Math.floor(width / SIDE));
  const ratio = Math.max(1, Math.round(devicePixelRatio));
  board.width = board.height = SIDE * cell * ratio;
  board.style.width = board.style.height = `${SIDE * cell}px`;
  board.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
}

function drawBoard() {
  const context = board.getContext("2d"), shown = picture(), size = SIDE * cell;
  const css = getComputedStyle(document.documentElement);
  hatch(context, size, css.getPropertyValue("--hatch"), css.getPropertyValue("--hatch-line"));
  drawTokens(context, shown.tokens, 0, shown.filled, PALETTE, cell);
  if (overlay) drawOverlay(context);
  drawLine(context, shown.line, css.getPropertyValue("--accent"));
  if (asked !== null) frame(context, asked, "#000", "#fff");
  if (cursor !== null && document.activeElement === board) frame(context, cursor, css.getPropertyValue("--accent"), "#fff");
  $("grip").style.top = `${Math.min(size, (shown.line / SIDE) * cell)}px`;
  $("rows").value = Math.floor(shown.line / SIDE);
  const rest = shown.line % SIDE;
  $("rows-value").textContent = Math.floor(shown.line / SIDE) + (rest ? ` + ${rest} px` : "");
  disable("undo", !history_.before.length);
  disable("redo", !history_.after.length);
  for (const name of ["png-1", "png-16", "gif", "copy-tokens"]) disable(name, shown.filled < LENGTH);
}

/** Stripes for pixels that nobody has painted yet. */
function hatch(context, size, paper, stripe) {
  context.fillStyle = paper;
  context.fillRect(0, 0, size, size);
  context.strokeStyle = stripe;
  context.lineWidth = 1;
  context.beginPath();
  for (let at = -size; at < size; at += cell / 2) {
    context.moveTo(at, size);
    context.lineTo(at + size, 0);
  }
  context.stroke();
}

/** The border between what was given and what the model paints; it has a step where a row is half given. */
function drawLine(context, line, style) {
  const row = Math.floor(line / SIDE) * cell, step = (line % SIDE) * cell;
  context.strokeStyle = style;
  context.lineWidth = 3;
  context.beginPath();
  context.moveTo(0, step ? row + cell : row);
  if (step) {
    context.lineTo(step, row + cell);
    context.lineTo(step, row);
  }
  context.lineTo(SIDE * cell, row);
  context.stroke();
}

function frame(context, position, outer, inner) {
  const x = (position % SIDE) * cell, y = Math.floor(position / SIDE) * cell;
  context.lineWidth = 2;
  context.strokeStyle = outer;
  context.strokeRect(x - 1, y - 1, cell + 2, cell + 2);
  context.strokeStyle = inner;
  context.strokeRect(x + 1, y + 1, cell - 2, cell - 2);
}

/** Grey out the picture and show values by squares of red, whose size counts too, so that hue is not needed. */
function drawOverlay(context) {
  context.fillStyle = "rgb(255 255 255 / 0.72)";
  context.fillRect(0, 0, SIDE * cell, SIDE * cell);
  context.fillStyle = "rgb(170 10 50 / 0.92)";
  overlay.values.forEach((value, position) => {
    if (!(value > 0)) return;
    const side = Math.sqrt(Math.min(1, value / overlay.most)) * cell;
    const x = (position % SIDE) * cell + (cell - side) / 2, y = Math.floor(position / SIDE) * cell + (cell - side) / 2;
    context.fillRect(x, y, side, side);
  });
}

/** Make a small canvas of a sprite. */
function thumbnail(tokens, count, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE * scale;
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--hatch");
  context.fillRect(0, 0, canvas.width, canvas.height);
  drawTokens(context, tokens, 0, count, PALETTE, scale);
  return canvas;
}

let drawing = false;

/** Draw the board with the next frame, once. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawBoard();
  });
}

/** The picture has changed: draw it, forget what was known of the old one, and look again where asked. */
function refresh() {
  overlay = null;
  draw();
  lookAgain();
}

// ---------------------------------------------------------------- painting

/** Stop painting and remember the picture, before it changes. */
function beginChange() {
  stop();
  history_.keep();
}

/** Change the picture, as one step that can be undone. */
function change(action) {
  beginChange();
  action(picture());
  refresh();
}

function use(position, first) {
  if (["pick", "fill"].includes(tool) && position >= picture().filled) {
    say(`${placeOf(position)} is open, so it has no colour yet.`, true);
  } else if (tool === "pick") {
    chooseColour(picture().tokens[position]);
    chooseTool("paint");
  } else if (tool === "ask") {
    lookInto(position);
  } else {
    if (first) beginChange();
    const twin = Picture.mirrored(position), places = mirror && twin !== position ? [position, twin] : [position];
    const open = Math.max(0, Math.max(...places) - picture().filled);
    for (const place of places.sort((a, b) => a - b)) {
      if (tool === "paint") picture().paint(place, colour);
      else if (tool === "fill") picture().fill(place, colour);
      else picture().erase(place);
    }
    if (tool === "paint" && open >= SIDE) {
      say(`${open} pixels between the line and here are given now, in the colours that they had before they were open. Undo opens them again.`);
    } else if (tool !== "erase" && picture().filled === LENGTH && position >= picture().line) {
      say("Complete paints all pixels below the line again. To keep yours, move the line below it or erase what follows.");
    }
    refresh();
  }
}

function chooseTool(name) {
  tool = name;
  choose("[data-tool]", (button) => button.dataset.tool === name);
}

/** Choose a tool by its letter, which nothing near the picture shows to those who do not see the buttons. */
function takeTool(name) {
  chooseTool(name);
  say(`Tool: ${document.querySelector(`[data-tool=${name}]`).textContent}.`);
}

function chooseColour(token) {
  colour = token;
  choose("#palette button", (button) => Number(button.dataset.token) === token);
}

/** Check one radio button of a group, and make it the one that Tab reaches. */
function choose(selector, isChosen) {
  for (const button of document.querySelectorAll(selector)) {
    const chosen = isChosen(button);
    button.setAttribute("aria-checked", chosen);
    button.tabIndex = chosen ? 0 : -1;
  }
}

function pixelAt(event) {
  const box = board.getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left) / cell), row = Math.floor((event.clientY - box.top) / cell);
  return column >= 0 && row >= 0 && column < SIDE && row < SIDE ? row * SIDE + column : null;
}

let last = null;
board.addEventListener("pointerdown", (event) => {
  last = pixelAt(event);
  if (last === null || event.button > 0) return;
  board.setPointerCapture(event.pointerId);
  cursor = last;
  use(last, true);
});
board.addEventListener("pointermove", (event) => {
  if (!board.hasPointerCapture(event.pointerId) || !["paint", "erase"].includes(tool)) return;
  const position = pixelAt(event);
  if (position === null || position === last) return;
  for (const place of between(last ?? position, position)) use(place, false);
  last = cursor = position;
});

/** The pixels on a straight stroke from one pixel to another, without the first. */
function between(from, to) {
  const [x, y] = [from % SIDE, Math.floor(from / SIDE)];
  const [dx, dy] = [(to % SIDE) - x, Math.floor(to / SIDE) - y], steps = Math.max(Math.abs(dx), Math.abs(dy), 1);
  return Array.from({ length: steps }, (_, i) => {
    const share = (i + 1) / steps;
    return Math.round(y + dy * share) * SIDE + Math.round(x + dx * share);
  });
}

function moveCursor(dx, dy) {
  const x = Math.min(SIDE - 1, Math.max(0, (cursor % SIDE) + dx)), y = Math.min(SIDE - 1, Math.max(0, Math.floor(cursor / SIDE) + dy));
  cursor = y * SIDE + x;
  say(describe(cursor));
  draw();
}

/** Use the tool at the cursor, and say what is there then, unless the tool has said more. */
function useAtCursor() {
  const before = said;
  use(cursor, true);
  if (said === before) say(describe(cursor));
}

function describe(position) {
  return `${placeOf(position)}: ${position < picture().filled ? PALETTE.hex(picture().tokens[position]) : "open"}`;
}

board.addEventListener("keydown", (event) => {
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (arrows[event.key]) moveCursor(...arrows[event.key]);
  else if (event.key === " " || event.key === "Enter") useAtCursor();
  else return;
  event.preventDefault();
});
board.addEventListener("focus", () => {
  cursor ??= picture().filled % LENGTH;
  draw();
});
board.addEventListener("blur", draw);

// ---------------------------------------------------------------- the line

let moving = false; // one drag is one step of the history

function give(rows) {
  picture().give(Math.min(SIDE, Math.max(0, rows)) * SIDE);
  refresh();
}

$("rows").addEventListener("input", (event) => {
  const rows = Number(event.target.value);
  if (!moving) beginChange();
  moving = true;
  give(rows);
});
for (const end of ["change", "pointerup", "pointercancel", "keyup", "blur"]) {
  $("rows").addEventListener(end, () => (moving = false)); // a drag there and back again changes nothing
}
$("grip").addEventListener("pointerdown", (event) => {
  event.target.setPointerCapture(event.pointerId);
  moving = false;
});
$("grip").addEventListener("pointermove", (event) => {
  if (!event.target.hasPointerCapture(event.pointerId)) return;
  const rows = Math.round((event.clientY - board.getBoundingClientRect().top) / cell);
  if (!moving && rows === Math.round(picture().line / SIDE)) return; // a click on the grip changes nothing
  if (!moving) beginChange();
  moving = true;
  give(rows);
});

// ---------------------------------------------------------------- completing

/** A number of the form, within its limits. */
function number(id) {
  const field = $(id), value = Number(field.value);
  const low = Number(field.min), high = Number(field.max), whole = Number(field.step) >= 1;
  const clamped = field.value === "" || Number.isNaN(value) ? Number(field.defaultValue) : Math.min(high, Math.max(low, value));
  const kept = whole ? Math.round(clamped) : clamped;
  field.value = kept;
  return kept;
}

function settings() {
  return {
    temperature: number("temperature"), topK: number("top-k"), topP: number("top-p"), seed: number("seed"),
    count: number("count"), members: Number($("members")?.value ?? 1),
  };
}

function complete() {
  stop();
  if (!ready) return;
  const prompt = picture().prompt();
  if (!prompt.length) return say("Give at least one pixel: the model needs something to begin with.", true);
  if (prompt.length === LENGTH) return say("All rows are given, so nothing is left to paint. Move the line up.", true);
  history_.keep();
  const asking = settings(), begun = performance.now(), alone = asking.temperature === 0 && asking.count > 1;
  if (alone) asking.count = 1;
  picture().filled = prompt.length;
  const own = (candidates = {
    from: prompt.length, known: prompt.length, chosen: 0, running: true, alone, line: picture().line,
    tokens: Array.from({ length: asking.count }, () => Int32Array.from(picture().tokens)),
    nll: new Float64Array(asking.count),
  });
  showCandidates();
  $("stop").disabled = false;
  say(`Painting ${LENGTH - own.from} pixels${asking.count > 1 ? `, ${asking.count} times` : ""} …`);
  own.id = send({ type: "complete", prompt, ...asking }, (answer) => {
    if (answer.type === "tokens") paintCandidates(own, answer);
    else finish(own, answer, performance.now() - begun);
    return answer.type !== "tokens";
  });
}

function paintCandidates(own, { position, tokens, logProbs }) {
  if (!own.running) return;
  own.tokens.forEach((sprite, i) => {
    sprite[position] = tokens[i];
    own.nll[i] -= logProbs[i];
  });
  own.known = position + 1;
  if (CALM.matches && own.known % SIDE) return;
  const from = Math.max(0, CALM.matches ? own.known - SIDE : position);
  own.tokens.forEach((sprite, i) => drawTokens(own.contexts[i], sprite, from, own.known, PALETTE, CANDIDATE_SCALE));
  showChosen();
  $("progress").textContent = `pixel ${own.known} of ${LENGTH}`;
}

function finish(own, answer, milliseconds) {
  if (!own.running) return;
  end(own);
  if (!answer.failed) tell(own, `Done in ${(milliseconds / 1000).toFixed(1)} s.`);
}

/** Stop the completion that is running, at once: what the worker still sends of it is ignored. */
function stop() {
  if (!candidates?.running) return false;
  worker.postMessage({ type: "cancel", id: candidates.id });
  end(candidates);
  return true;
}

/** Show a completion that no longer runs, as far as it came. */
function end(own) {
  own.running = false;
  disable("stop", true, $("complete"));
  $("progress").textContent = "";
  showCandidates();
  showChosen();
}

function tell(own, what) {
  const alone = own.alone ? " At temperature 0 all candidates are equal, so one was painted." : "";
  say(`${what} Candidate ${own.chosen + 1} is on the canvas; choose another, erase a part, or complete again.${alone}`);
  refresh();
}

/** Stop the completion and say where; without one, stop asking for a pixel. */
function stopAndTell() {
  if (stop()) tell(candidates, `Stopped at pixel ${candidates.known}.`);
  else if (asked !== null) {
    asked = null;
    lookAgain();
  }
}

/** Put the chosen candidate on the board. */
function showChosen() {
  picture().tokens.set(candidates.tokens[candidates.chosen]);
  picture().filled = candidates.known;
  overlay = null;
  draw();
}

function showCandidates() {
  const own = candidates, painted = own.known - own.from;
  own.contexts = [];
  replaceChildren($("candidates"), ...own.tokens.map((sprite, i) => {
    const button = document.createElement("button"), canvas = thumbnail(sprite, own.known, CANDIDATE_SCALE);
    own.contexts.push(canvas.getContext("2d"));
    const score = painted ? (own.nll[i] / painted).toFixed(2) : "–";
    const label = document.createElement("span");
    label.textContent = painted && !own.running ? `${i + 1}: ${score}` : String(i + 1);
    button.type = "button";
    button.title = "Mean surprise of its pixels, in nats; lower is more expected";
    button.setAttribute("aria-label", `Candidate ${i + 1}` + (painted ? `, surprise ${score} nats a pixel` : ""));
    button.setAttribute("aria-pressed", i === own.chosen);
    button.append(canvas, label);
    button.addEventListener("click", () => keepCandidate(own, i));
    return button;
  }));
}

function keepCandidate(own, chosen) {
  if (!own.running) history_.keep();
  own.chosen = chosen;
  picture().line = own.line;
  showChosen();
  [...$("candidates").children].forEach((button, i) => button.setAttribute("aria-pressed", i === chosen));
  if (!own.running) lookAgain();
}

// ---------------------------------------------------------------- looking inside

const pressed = (id) => $(id).getAttribute("aria-pressed") === "true";

function lookInto(position) {
  if (position > picture().filled) {
    return say(`The model reads row by row, so it can say nothing of ${placeOf(position)} yet: pixels before it are open.`, true);
  }
  if (position === 0) return say("The first pixel is never predicted: the model needs something to begin with.", true);
  asked = position;
  if (!pressed("surprise") && !pressed("attention")) say(`Asked for ${placeOf(position)}.`);
  lookAgain();
}

let looking = false, outdated = false;

/** Ask the model again for whatever is shown, one question at a time: the worker answers none before the last. */
async function lookAgain() {
  outdated = true;
  if (looking) return;
  looking = true;
  while (outdated) {
    outdated = false;
    await look();
  }
  looking = false;
}

/** Ask for the likeliest colours, the surprise, the attention. An answer about an earlier picture is not shown. */
async function look() {
  if (!ready || candidates?.running) return;
  const shown = picture(), tokens = Array.from(shown.tokens.subarray(0, shown.filled));
  if (asked !== null && asked > shown.filled) asked = null;
  if (asked === null) replaceChildren($("likeliest"));
  if (!tokens.length || (asked === null && !pressed("surprise"))) return showOverlay(null);
  const seen = await ask({ type: "inspect", tokens, members: settings().members });
  if (outdated || seen.failed || candidates?.running) return;
  if (asked !== null) showLikeliest(seen.probabilities.subarray(asked * PALETTE.rgb.length, (asked + 1) * PALETTE.rgb.length));
  if (pressed("surprise")) showSurprise(seen.nll);
  else if (pressed("attention") && asked !== null) {
    attention = await ask({ type: "attend", tokens: tokens.slice(0, asked), position: asked });
    if (!outdated && !attention.failed) showAttention();
  } else showOverlay(null);
}

const HINT = $("legend").innerHTML;

function showOverlay(found) {
  if (!found) $("legend").innerHTML = HINT;
  overlay = found;
  draw();
}

function showSurprise(nll) {
  const values = Float32Array.from(nll, (value) => (Number.isNaN(value) ? 0 : value));
  const most = Math.max(1, ...values), mean = values.reduce((a, b) => a + b, 0) / Math.max(1, values.length - 1);
  $("legend").textContent = `Surprise: −log p of each pixel. A full square is ${most.toFixed(1)} nats; the mean is ${mean.toFixed(2)}.`;
  showOverlay({ values, most });
}

function showAttention() {
  const { layers, heads, weights } = attention, count = asked;
  fillSelect("layer", layers, "all");
  fillSelect("head", heads, "all");
  const [layer, head] = [$("layer").value, $("head").value], values = new Float32Array(LENGTH);
  let used = 0;
  for (let l = 0; l < layers; l++) {
    for (let h = 0; h < heads; h++) {
      if ((layer !== "all" && Number(layer) !== l) || (head !== "all" && Number(head) !== h)) continue;
      used++;
      for (let i = 0; i < count; i++) values[i] += weights[(l * heads + h) * count + i];
    }
  }
  for (let i = 0; i < count; i++) values[i] /= used;
  const most = Math.max(1e-6, ...values);
  $("legend").textContent = `Attention when ${placeOf(asked)} is predicted: a full square is ${(100 * most).toFixed(0)} % of the ${settings().members > 1 ? "first " : ""}model's look back.`;
  showOverlay({ values, most });
}

function fillSelect(id, count, all) {
  const select = $(id);
  if (select.options.length === count + 1) return;
  select.replaceChildren(new Option(all, all), ...Array.from({ length: count }, (_, i) => new Option(i + 1, i)));
}

function showLikeliest(probabilities) {
  const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 10);
  const highest = probabilities[order[0]];
  replaceChildren($("likeliest"), ...order.map((token) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const share = `${(100 * probabilities[token]).toFixed(1)} %`, here = asked < picture().filled && picture().tokens[asked] === token;
    button.type = "button";
    button.setAttribute("aria-label", `${PALETTE.hex(token)}, ${share}${here ? ", painted here" : ""}: put it here and go on`);
    button.title = "Put this colour here and go on from it";
    const swatch = span("swatch", ""), bar = span("bar", "");
    swatch.style.background = PALETTE.hex(token);
    bar.style.width = `${(100 * probabilities[token]) / highest}%`;
    button.append(swatch, span("name", PALETTE.hex(token) + (here ? " ✓" : "")), bar, span("share", share));
    button.addEventListener("click", () => whatIf(token));
    item.append(button);
    return item;
  }));
}

function span(name, text) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = text;
  return element;
}

/** Put another colour at the pixel that was asked for, and go on from it. */
function whatIf(token) {
  const position = asked;
  change((shown) => {
    shown.tokens[position] = token;
    shown.filled = position + 1;
    shown.line = Math.min(shown.line, shown.filled);
  });
  if (position + 1 < LENGTH) complete();
}

for (const id of ["surprise", "attention"]) {
  $(id).addEventListener("click", () => {
    const on = !pressed(id);
    for (const each of ["surprise", "attention"]) $(each).setAttribute("aria-pressed", each === id && on);
    if (on && id === "attention" && asked === null) say("Choose the tool Ask and tap a pixel to see what the model looked at.");
    lookAgain();
  });
}
for (const id of ["layer", "head"]) $(id).addEventListener("change", () => attention && pressed("attention") && showAttention());

// ---------------------------------------------------------------- pictures from outside

async function open(file) {
  try {
    const { image, animated } = await decodePicture(file);
    const { tokens, done } = toTokens(image, PALETTE);
    if (animated) done.unshift("only its first frame");
    beginChange();
    const line = Math.max(picture().line, 1);
    history_.picture = new Picture(tokens, line, line);
    forget();
    say(["Opened the picture", ...done, "its colours are the nearest of the palette"].join("; ") + ".");
    refresh();
  } catch (error) {
    say(error.message, true);
  }
}

$("upload").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", (event) => {
  if (event.target.files.length) open(event.target.files[0]);
  event.target.value = "";
});
addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])][0];
  if (file) open(file);
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
});

function begin(tokens) {
  const whole = new Int32Array(LENGTH).fill(BACKGROUND);
  whole.set(tokens);
  change((shown) => {
    shown.tokens.set(whole);
    shown.line = shown.filled = Math.min(tokens.length, 240);
  });
  forget();
  refresh();
}

/** Forget the candidates and the pixel that was asked for: they belong to another picture. */
function forget() {
  candidates = asked = null;
  replaceChildren($("candidates"));
}

// ---------------------------------------------------------------- saving

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  say(`Saved ${name}.`);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied ${what}.`);
  } catch {
    prompt(`Copy ${what}:`, text); // a page from a file may not reach the clipboard
  }
}

function fragment() {
  return toFragment(picture(), settings(), DATA.palette_fingerprint);
}

const fileName = (suffix) => `${DATA.name}-${number("seed")}${suffix}`;
$("png-1").addEventListener("click", async () => save(await toPng(picture().tokens, PALETTE, 1), fileName(".png")));
$("png-16").addEventListener("click", async () => save(await toPng(picture().tokens, PALETTE, 16), fileName("-x16.png")));
$("gif").addEventListener("click", () => {
  try {
    save(toGif(picture().tokens, picture().line, PALETTE), fileName(".gif"));
  } catch (error) {
    say(error.message, true);
  }
});
$("copy-tokens").addEventListener("click", () => copy(picture().tokens.join(" "), "the tokens"));
$("copy-link").addEventListener("click", () => {
  if (!["file:", "http:", "https:"].includes(location.protocol)) {
    return say("Inside a notebook the page has no address of its own. Open page.html itself to copy a link.", true);
  }
  history.replaceState(null, "", `#${fragment()}`);
  copy(location.href, "the link");
});

/** Set a field of the form, unless it lacks this choice: a link may come from a page of another model. */
function setField(field, value) {
  if (!field || !value) return;
  if (!field.options || [...field.options].some((option) => option.value === value)) field.value = value;
}

/** Show what a link describes. */
function readFragment() {
  try {
    const found = fromFragment(location.hash.slice(1), DATA.palette_fingerprint, PALETTE.rgb.length);
    if (!found) return false;
    beginChange();
    history_.picture = found.picture;
    forget();
    const fields = { temperature: "temperature", topK: "top-k", topP: "top-p", seed: "seed", count: "count", members: "members" };
    for (const [name, id] of Object.entries(fields)) setField($(id), found.settings[name]);
    return true;
  } catch (error) {
    say(error.message, true);
    return false;
  }
}

// ---------------------------------------------------------------- the page

function buildPalette() {
  $("palette").replaceChildren(...PALETTE.sorted().map((token) => {
    const button = document.createElement("button");
    button.type = "button";
    button.role = "radio";
    button.dataset.token = token;
    button.style.background = PALETTE.hex(token);
    button.title = button.ariaLabel = `${PALETTE.hex(token)} (token ${token})`;
    button.addEventListener("click", () => chooseColour(token));
    return button;
  }));
  const dark = PALETTE.lab.reduce((best, lab, token) => (lab[0] < PALETTE.lab[best][0] ? token : best), 0);
  chooseColour(dark);
}

/** Arrow keys move within a group of radio buttons. */
function moveWithArrows(group, take) {
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const buttons = [...group.querySelectorAll("[role=radio]")], at = buttons.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = buttons[(at + step + buttons.length) % buttons.length];
    take(next);
    next.focus();
  });
}

function buildStarts() {
  $("starts").replaceChildren(...DATA.starts.map(({ name, tokens }) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = button.ariaLabel = name;
    button.append(thumbnail(tokens, Math.min(tokens.length, 240), START_SCALE));
    button.addEventListener("click", () => begin(tokens));
    return button;
  }));
}

/** Single letters work while the picture has the focus, so that speech input elsewhere does not press them. */
const KEYS = {
  b: () => takeTool("paint"), f: () => takeTool("fill"), e: () => takeTool("erase"), p: () => takeTool("pick"),
  i: () => takeTool("ask"), m: () => $("mirror").click(), c: complete, s: () => $("surprise").click(), a: () => $("attention").click(),
};

addEventListener("keydown", (event) => {
  if (event.key === "Escape") stopAndTell();
  if (event.target.matches("input[type=number], select")) return; // they have an undo of their own
  const key = event.key.toLowerCase(), command = event.ctrlKey || event.metaKey;
  if (command && key === "z") (event.shiftKey ? redo : undo)();
  else if (command && key === "y") redo();
  else if (!command && !event.altKey && document.activeElement === board && KEYS[key]) KEYS[key]();
  else return;
  event.preventDefault();
});

function undo() {
  stop();
  if (history_.undo()) refresh();
}

function redo() {
  stop();
  if (history_.redo()) refresh();
}

function setUp() {
  buildPalette();
  buildStarts();
  chooseTool("paint");
  moveWithArrows($("palette"), (button) => chooseColour(Number(button.dataset.token)));
  const tools = document.querySelector("[aria-label=Tool]");
  moveWithArrows(tools, (button) => chooseTool(button.dataset.tool));
  for (const button of tools.children) button.addEventListener("click", () => chooseTool(button.dataset.tool));
  fillSelect("layer", 0, "all");
  fillSelect("head", 0, "all");
  const defaults = { temperature: DATA.completion.temperature, "top-k": DATA.completion.top_k, "top-p": DATA.completion.top_p, seed: DATA.completion.seed };
  for (const [id, value] of Object.entries(defaults)) $(id).value = $(id).defaultValue = value;
  $("mirror").addEventListener("click", () => {
    mirror = !mirror;
    $("mirror").setAttribute("aria-pressed", mirror);
  });
  $("undo").addEventListener("click", undo);
  $("redo").addEventListener("click", redo);
  $("blank").addEventListener("click", () => begin(new Int32Array(240).fill(BACKGROUND)));
  $("complete").addEventListener("click", complete);
  $("stop").addEventListener("click", stopAndTell);
  $("dice").addEventListener("click", () => ($("seed").value = crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000));
  addEventListener("resize", () => (fitBoard(), draw()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (buildStarts(), draw()));
  addEventListener("hashchange", () => readFragment() && refresh());
  fitBoard();
  if (!readFragment() && DATA.starts.length) {
    history_.picture.tokens.set(DATA.starts[0].tokens);
    history_.picture.line = history_.picture.filled = 240;
  }
  drawBoard();
  startWorker().catch((error) => say(`The model could not start: ${error.message}`, true));
}

setUp();

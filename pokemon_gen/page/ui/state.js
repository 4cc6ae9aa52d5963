// The picture that is being painted, its history, and its form in a link.
// A model reads row by row, so what it is given is always the first `filled` pixels; what follows is open.
"use strict";

const SIDE = 20;
const LENGTH = SIDE * SIDE;
const HISTORY = 200;

/**
 * A picture: 400 tokens, the line (the number of tokens that were given, where the red line is drawn) and
 * `filled`, the number of tokens that are known. Tokens from `filled` on are open; they remember what was there.
 */
class Picture {
  constructor(tokens, line, filled) {
    this.tokens = Int32Array.from(tokens);
    this.line = line;
    this.filled = filled;
  }

  copy() {
    return new Picture(this.tokens, this.line, this.filled);
  }

  /** Move the line. Rows below it are open, unless the whole picture is known. */
  give(line) {
    this.line = line;
    if (this.filled < LENGTH) this.filled = line;
  }

  /** Paint one pixel. A pixel beyond the known ones makes all pixels before it known. */
  paint(position, token) {
    this.tokens[position] = token;
    if (position >= this.filled) this.filled = position + 1;
    if (this.filled < LENGTH && this.filled > this.line) this.line = this.filled;
  }

  /** Open a pixel and all that follow it, since the model reads in this order. */
  erase(position) {
    this.filled = Math.min(this.filled, position);
    this.line = Math.min(this.line, this.filled);
  }

  /** Paint the connected known pixels of one colour; returns their number. */
  fill(position, token) {
    const old = this.tokens[position];
    if (position >= this.filled || old === token) return 0;
    const queue = [position];
    let painted = 0;
    while (queue.length) {
      const here = queue.pop();
      if (here >= this.filled || this.tokens[here] !== old) continue;
      this.tokens[here] = token;
      painted++;
      const column = here % SIDE;
      if (column > 0) queue.push(here - 1);
      if (column < SIDE - 1) queue.push(here + 1);
      if (here >= SIDE) queue.push(here - SIDE);
      if (here + SIDE < LENGTH) queue.push(here + SIDE);
    }
    return painted;
  }

  /** The pixel that mirrors a pixel left to right. */
  static mirrored(position) {
    const column = position % SIDE;
    return position - column + (SIDE - 1 - column);
  }

  /** What a completion starts from: the known pixels, or those above the line if the whole picture is known. */
  prompt() {
    return Array.from(this.tokens.subarray(0, this.filled < LENGTH ? this.filled : this.line));
  }
}

/** Undo and redo: pictures before and after the current one. */
class History {
  constructor(picture) {
    this.picture = picture;
    this.before = [];
    this.after = [];
  }

  /** Remember the current picture before it changes. */
  keep() {
    this.before.push(this.picture.copy());
    if (this.before.length > HISTORY) this.before.shift();
    this.after = [];
  }

  undo() {
    if (!this.before.length) return false;
    this.after.push(this.picture);
    this.picture = this.before.pop();
    return true;
  }

  redo() {
    if (!this.after.length) return false;
    this.before.push(this.picture);
    this.picture = this.after.pop();
    return true;
  }
}

/** Write a picture and settings as the fragment of a link. Tokens take two bytes, so any palette fits. */
function toFragment(picture, settings, palette) {
  const bytes = new Uint8Array(picture.filled * 2);
  for (let i = 0; i < picture.filled; i++) {
    bytes[2 * i] = picture.tokens[i] & 255;
    bytes[2 * i + 1] = picture.tokens[i] >> 8;
  }
  const pixels = btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return new URLSearchParams({ palette, line: picture.line, ...settings, pixels }).toString();
}

/**
 * Read a fragment that `toFragment` wrote.
 * @returns {{picture: Picture, settings: Object}|null} null for an empty fragment.
 * @throws {Error} with a message for people if the fragment does not fit this page.
 */
function fromFragment(fragment, palette, colours) {
  const fields = new URLSearchParams(fragment);
  if (!fields.has("pixels")) return null;
  if (fields.get("palette") !== palette) {
    throw new Error("This link belongs to a page with another palette, so its picture cannot be shown.");
  }
  let text;
  try {
    text = atob(fields.get("pixels").replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    throw new Error("This link is damaged: its pixels cannot be read.");
  }
  const filled = text.length / 2, line = Number(fields.get("line"));
  if (!Number.isInteger(filled) || filled > LENGTH || !Number.isInteger(line) || line < 0 || line > LENGTH) {
    throw new Error("This link is damaged: it does not describe a picture of 20 by 20 pixels.");
  }
  const tokens = new Int32Array(LENGTH);
  for (let i = 0; i < filled; i++) {
    tokens[i] = text.charCodeAt(2 * i) | (text.charCodeAt(2 * i + 1) << 8);
    if (tokens[i] >= colours) throw new Error(`This link has colour ${tokens[i]}, which the palette of ${colours} lacks.`);
  }
  const settings = {};
  for (const [name, value] of fields) {
    if (!["palette", "pixels", "line"].includes(name)) settings[name] = value;
  }
  return { picture: new Picture(tokens, Math.min(line, filled), filled), settings };
}

"use strict";
/**
 * The arithmetic of the live page: trained decoders, run in the browser without any library.
 *
 * Read it in this order:
 *   1. Assembler   a few opcodes of WebAssembly, so that no compiler and no binary file is needed
 *   2. Kernel      one matrix product, in WebAssembly SIMD or in plain JavaScript; everything large is one
 *   3. Memory      weights, keys and values, and scratch, all in one array of 32-bit floats
 *   4. Decoder     one model: embedding, blocks of attention and MLP, logits
 *   5. Sampling    temperature, top-k, top-p, Gumbel noise
 *   6. Engine      one or more decoders that complete, inspect and show their attention
 *
 * Only `Engine` is meant for other scripts. Offsets, strides and sizes count floats, unless a comment says
 * bytes. `pokemon_gen/page/export.py` describes the models; its `spec` is read here.
 */

const SIDE = 20;
/** The pixels of a sprite, row by row. */
const LENGTH = SIDE * SIDE;

// 1. Assembler --------------------------------------------------------------------------------------------

/**
 * Opcodes by their names in the specification:
 * https://webassembly.github.io/spec/core/appendix/index-instructions.html
 */
const OP = {
  block: [0x02, 0x40], loop: [0x03, 0x40], branch: [0x0c], branchIf: [0x0d], end: [0x0b],
  localGet: [0x20], localSet: [0x21], localTee: [0x22],
  i32Const: [0x41], i32LessThan: [0x48], i32Add: [0x6a], i32ShiftLeft: [0x74],
  v128Load: [0xfd, 0x00], v128LoadSplat32: [0xfd, 0x09], v128Store: [0xfd, 0x0b], v128Const: [0xfd, 0x0c],
  f32x4Add: [0xfd, 0xe4, 0x01], f32x4Mul: [0xfd, 0xe6, 0x01],
};
const I32 = 0x7f;
const V128 = 0x7b;

/** Encode an integer as LEB128, which both signed and unsigned readers understand. @returns {number[]} */
function leb(value) {
  const bytes = [];
  for (;;) {
    const byte = value & 0x7f;
    value >>= 7;
    if ((value === 0 && !(byte & 0x40)) || (value === -1 && byte & 0x40)) return [...bytes, byte];
    bytes.push(byte | 0x80);
  }
}

/** Encode a list whose items are already encoded. @param {number[][]} items */
const list = (items) => [...leb(items.length), ...items.flat()];
/** Encode something after its size in bytes. @param {number[]} bytes */
const sized = (bytes) => [...leb(bytes.length), ...bytes];
const text = (string) => sized([...string].map((letter) => letter.charCodeAt(0)));

/** The names of a function's parameters and locals → code that reads and changes them. */
class Locals {
  constructor(names) {
    this.names = names;
  }

  get(name) {
    return [...OP.localGet, ...leb(this.names.indexOf(name))];
  }

  set(name) {
    return [...OP.localSet, ...leb(this.names.indexOf(name))];
  }

  copy(from, to) {
    return [...this.get(from), ...this.set(to)];
  }

  /** Add a constant. */
  add(name, amount) {
    return [...this.get(name), ...OP.i32Const, ...leb(amount), ...OP.i32Add, ...this.set(name)];
  }

  /** Add another local, times a power of two. */
  addLocal(name, other, shift = 0) {
    const shifted = shift ? [...OP.i32Const, ...leb(shift), ...OP.i32ShiftLeft] : [];
    return [...this.get(name), ...this.get(other), ...shifted, ...OP.i32Add, ...this.set(name)];
  }

  /** Repeat a body, which lowers the local, as long as the local is at least `least`. */
  whileAtLeast(name, least, body) {
    const leave = [...this.get(name), ...OP.i32Const, ...leb(least), ...OP.i32LessThan, ...OP.branchIf, 1];
    return [...OP.block, ...OP.loop, ...leave, ...body, ...OP.branch, 0, ...OP.end, ...OP.end];
  }

  /** Load 16 bytes, or one float into all four lanes, from a constant distance after a local's address. */
  load(opcode, name, distance) {
    return [...this.get(name), ...opcode, 2, ...leb(distance)];
  }
}

/** Return a module that exports one function, `run`, and imports its memory as `page.memory`. */
function assembleModule(parameters, integers, vectors, body) {
  const section = (id, bytes) => [id, ...sized(bytes)];
  const locals = list([[...leb(integers), I32], [...leb(vectors), V128]]);
  return new Uint8Array([
    0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, // "\0asm", version 1
    ...section(1, list([[0x60, ...list(Array(parameters).fill([I32])), ...list([])]])), // types
    ...section(2, list([[...text("page"), ...text("memory"), 2, 0, 1]])), // imports: a memory
    ...section(3, list([[0]])), // functions, by their types
    ...section(7, list([[...text("run"), 0, 0]])), // exports
    ...section(10, list([sized([...locals, ...body, ...OP.end])])), // code
  ]);
}

// 2. Kernel -----------------------------------------------------------------------------------------------

/**
 * Columns of a panel. A matrix (inner, columns) is stored as panels of 8 columns, each (inner, 8), because
 * the kernel then reads it once, from front to back, for all rows.
 */
const PANEL = 8;
/** Rows that share what is read of a panel; their 4 x 8 sums stay in registers. */
const TILE = 4;

const roundUp = (value, multiple) => Math.ceil(value / multiple) * multiple;

/** The kernel's parameters: addresses and strides in bytes; how many `rows`, `inner` indices and panels. */
const PARAMETERS = ["x", "xStride", "panels", "panelStride", "y", "yStride", "rows", "inner", "count"];

/**
 * Assemble y = x @ panels: for each panel, for each tile of rows, the sums over `inner`.
 *
 * x (rows, inner), y (rows, count * 8).
 */
function assembleKernel() {
  const rowAddresses = Array.from({ length: TILE }, (_, row) => `x${row}`);
  const integers = ["xTile", "yTile", "left", "k", "w", ...rowAddresses];
  const sums = Array.from({ length: 2 * TILE }, (_, number) => `sum${number}`);
  const vectors = ["w0", "w1", "splat", ...sums];
  const local = new Locals([...PARAMETERS, ...integers, ...vectors]);
  const accumulate = (sum, half) => [
    ...local.get(sum), ...local.get("splat"), ...local.get(half), ...OP.f32x4Mul,
    ...OP.f32x4Add, ...local.set(sum),
  ];

  /** Add the products of `steps` consecutive inner indices to the sums. */
  const products = (rows, steps) => {
    const code = [];
    for (let step = 0; step < steps; step++) {
      code.push(...local.load(OP.v128Load, "w", 32 * step), ...local.set("w0"));
      code.push(...local.load(OP.v128Load, "w", 32 * step + 16), ...local.set("w1"));
      for (let row = 0; row < rows; row++) {
        code.push(...local.load(OP.v128LoadSplat32, `x${row}`, 4 * step), ...local.set("splat"));
        code.push(...accumulate(sums[2 * row], "w0"), ...accumulate(sums[2 * row + 1], "w1"));
      }
    }
    code.push(...local.add("w", 32 * steps), ...local.add("k", -steps));
    for (let row = 0; row < rows; row++) code.push(...local.add(`x${row}`, 4 * steps));
    return code;
  };

  /** Compute `rows` rows of y in one panel, and go to the next rows. */
  const tile = (rows) => {
    const code = [...local.copy("panels", "w"), ...local.copy("inner", "k"), ...local.copy("xTile", "x0")];
    for (let row = 1; row < rows; row++) {
      code.push(...local.copy(`x${row - 1}`, `x${row}`), ...local.addLocal(`x${row}`, "xStride"));
    }
    for (const sum of sums.slice(0, 2 * rows)) {
      code.push(...OP.v128Const, ...Array(16).fill(0), ...local.set(sum));
    }
    for (const steps of [4, 1]) code.push(...local.whileAtLeast("k", steps, products(rows, steps)));
    for (let row = 0; row < rows; row++) {
      for (const half of [0, 1]) {
        code.push(...local.get("yTile"), ...local.get(sums[2 * row + half]), ...OP.v128Store, 2, 16 * half);
      }
      code.push(...local.addLocal("yTile", "yStride"));
    }
    return [...code, ...local.addLocal("xTile", "xStride", Math.log2(rows)), ...local.add("left", -rows)];
  };

  const body = local.whileAtLeast("count", 1, [
    ...local.copy("x", "xTile"), ...local.copy("y", "yTile"), ...local.copy("rows", "left"),
    ...local.whileAtLeast("left", TILE, tile(TILE)), ...local.whileAtLeast("left", 1, tile(1)),
    ...local.addLocal("panels", "panelStride"), ...local.add("y", 4 * PANEL), ...local.add("count", -1),
  ]);
  return assembleModule(PARAMETERS.length, integers.length, vectors.length, body);
}

/** The same product in plain JavaScript, in one array of floats; its sums are 64-bit. */
function multiplyPlain(f, x, xStride, panels, panelStride, y, yStride, rows, inner, count) {
  for (let panel = 0; panel < count; panel++, panels += panelStride, y += PANEL) {
    for (let row = 0; row < rows; row++) {
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
      for (let k = 0, w = panels, from = x + row * xStride; k < inner; k++, w += PANEL) {
        const value = f[from + k];
        s0 += value * f[w];
        s1 += value * f[w + 1];
        s2 += value * f[w + 2];
        s3 += value * f[w + 3];
        s4 += value * f[w + 4];
        s5 += value * f[w + 5];
        s6 += value * f[w + 6];
        s7 += value * f[w + 7];
      }
      const to = y + row * yStride;
      f[to] = s0;
      f[to + 1] = s1;
      f[to + 2] = s2;
      f[to + 3] = s3;
      f[to + 4] = s4;
      f[to + 5] = s5;
      f[to + 6] = s6;
      f[to + 7] = s7;
    }
  }
}

// 3. Memory -----------------------------------------------------------------------------------------------

const WASM_PAGE = 65536;

/** One array of floats, `floats`, that grows, and the kernel that works in it. */
class Memory {
  /** @param {boolean} simd use WebAssembly SIMD where the browser has it and allows it */
  constructor(simd) {
    this.used = PANEL; // offset 0 is never given out
    this.floats = new Float32Array(PANEL);
    this.simd = simd && this.compile();
  }

  /** Compile the kernel, and tell whether that worked. */
  compile() {
    try {
      this.wasm = new WebAssembly.Memory({ initial: 1 });
      const module = new WebAssembly.Module(assembleKernel());
      this.run = new WebAssembly.Instance(module, { page: { memory: this.wasm } }).exports.run;
    } catch {
      return false; // an old browser, or a policy that forbids WebAssembly
    }
    this.floats = new Float32Array(this.wasm.buffer);
    return true;
  }

  /** Return the offset of new floats, all zero. `floats` may be another array afterwards. */
  allocate(size) {
    const offset = this.used;
    this.used += roundUp(size, PANEL);
    if (this.used > this.floats.length) this.grow();
    return offset;
  }

  grow() {
    if (this.simd) {
      this.wasm.grow(Math.ceil((4 * (this.used - this.floats.length)) / WASM_PAGE));
      this.floats = new Float32Array(this.wasm.buffer);
    } else {
      const grown = new Float32Array(Math.max(this.used, 2 * this.floats.length));
      grown.set(this.floats);
      this.floats = grown;
    }
  }

  /** y (rows, count * 8) = x (rows, inner) @ panels; offsets and strides in floats. */
  multiply(x, xStride, panels, panelStride, y, yStride, rows, inner, count) {
    if (this.simd) {
      this.run(4 * x, 4 * xStride, 4 * panels, 4 * panelStride, 4 * y, 4 * yStride, rows, inner, count);
    } else multiplyPlain(this.floats, x, xStride, panels, panelStride, y, yStride, rows, inner, count);
  }
}

/** A matrix of rows in memory: row r begins at `at + r * stride`. */
class Rows {
  constructor(memory, rows, columns) {
    this.stride = roundUp(columns, PANEL);
    this.at = memory.allocate(rows * this.stride);
  }
}

/** All values of IEEE 754 half precision, by their 16 bits: (65536,). */
function halfPrecisionTable() {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction;
    table[bits] = bits & 0x8000 ? -size : size;
  }
  return table; // exponent 31, infinity and NaN, is refused at the export
}

/** Return a function that reads a tensor of an exported model by its name, as a Float32Array. */
function tensorReader(spec, weights) {
  const table = spec.precision === "fp16" ? halfPrecisionTable() : null;
  return (name) => {
    const { offset, shape } = spec.tensors[name];
    const size = shape.reduce((product, length) => product * length, 1);
    if (!table) return new Float32Array(weights, offset, size);
    const bits = new Uint16Array(weights, offset, size), values = new Float32Array(size);
    for (let i = 0; i < size; i++) values[i] = table[bits[i]]; // several times as fast as `Float32Array.from`
    return values;
  };
}

// 4. Decoder ----------------------------------------------------------------------------------------------

/** Positions that are read at once: their scratch fits into the processor's cache, and a stop acts soon. */
const CHUNK = 32;
const GELU_SCALE = Math.sqrt(2 / Math.PI);
/** Elementwise functions by the names that `export.py` uses. */
const ACTIVATIONS = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => 0.5 * x * (1 + Math.tanh(GELU_SCALE * (x + 0.044715 * x * x * x))),
  relu: (x) => Math.max(x, 0),
};

/** Keys and values of several sequences of one decoder. */
class Cache {
  /**
   * Keys are panels of 8 positions, (positions / 8, head size, 8), so that queries @ keys is one product;
   * values are panels of 8 dimensions, (head size / 8, positions, 8), so that weights @ values is one.
   */
  constructor(decoder, sequences) {
    const { headSize, keyValueHeads, windows } = decoder.spec;
    this.capacity = roundUp(decoder.capacity, PANEL);
    this.sequences = sequences;
    this.length = 0;
    this.keySize = this.capacity * headSize;
    this.valueSize = this.capacity * roundUp(headSize, PANEL);
    this.heads = keyValueHeads;
    this.layers = windows.length;
    this.keys = decoder.memory.allocate(this.layers * sequences * this.heads * this.keySize);
    this.values = decoder.memory.allocate(this.layers * sequences * this.heads * this.valueSize);
  }

  /** Return the number of one head's part among all. */
  part(layer, sequence, head) {
    return (layer * this.sequences + sequence) * this.heads + head;
  }

  /** Give the first sequences the keys and values of the very first one. */
  fork(floats, sequences) {
    for (let layer = 0; layer < this.layers; layer++) {
      for (const [at, size] of [[this.keys, this.keySize], [this.values, this.valueSize]]) {
        const first = at + this.part(layer, 0, 0) * size;
        for (let sequence = 1; sequence < sequences; sequence++) {
          floats.copyWithin(at + this.part(layer, sequence, 0) * size, first, first + this.heads * size);
        }
      }
    }
  }
}

/** One model: tokens → logits of the next colour. */
class Decoder {
  /**
   * @param {object} spec of `export.py`
   * @param {ArrayBuffer} weights
   * @param {boolean} simd
   */
  constructor(spec, weights, simd) {
    this.spec = spec;
    this.memory = new Memory(simd);
    this.capacity = spec.prefix.length + LENGTH;
    this.activate = ACTIVATIONS[spec.activation];
    this.loadWeights(tensorReader(spec, weights));
    this.makeRotations();
    this.scores = new Rows(this.memory, CHUNK, this.capacity + PANEL); // a window may begin inside a panel
    this.reserved = 0;
  }

  loadWeights(read) {
    const { spec } = this;
    const has = (name) => name in spec.tensors;
    this.embedding = read("embedding");
    this.positions = has("positions") ? read("positions") : null;
    const head = read(has("head") ? "head" : "embedding");
    this.head = this.packLinear([head.subarray(0, spec.colours * spec.width)], [], spec.width);
    const optional = (name) => (has(name) ? read(name) : null);
    const norm = (name, kind = spec.norm) => ({
      ...kind,
      weight: read(`${name}.weight`),
      bias: optional(`${name}.bias`),
    });
    const headNorm = (name) => (spec.headNorm ? norm(name, spec.headNorm) : null);
    const linear = (layer, names, inner) => {
      const parts = names.map((name) => `layers.${layer}.${name}`);
      const matrices = parts.map((part) => read(`${part}.weight`));
      return this.packLinear(matrices, parts.map((part) => optional(`${part}.bias`)), inner);
    };
    this.norm = norm("norm");
    this.layers = spec.windows.map((window, layer) => ({
      window: window ?? Infinity,
      attentionNorm: norm(`layers.${layer}.attentionNorm`),
      mlpNorm: norm(`layers.${layer}.mlpNorm`),
      queryNorm: headNorm(`layers.${layer}.queryNorm`),
      keyNorm: headNorm(`layers.${layer}.keyNorm`),
      queryKeyValue: linear(layer, ["query", "key", "value"], spec.width),
      output: linear(layer, ["output"], spec.heads * spec.headSize),
      up: linear(layer, spec.gated ? ["up", "gate"] : ["up"], spec.width),
      down: linear(layer, ["down"], spec.inner),
    }));
  }

  /** Store matrices (outputs, inner), one below the other, as the panels of one; a bias may be null. */
  packLinear(matrices, biases, inner) {
    const columns = matrices.reduce((sum, matrix) => sum + matrix.length / inner, 0);
    const count = Math.ceil(columns / PANEL);
    const panels = this.memory.allocate(count * inner * PANEL);
    const { floats } = this.memory, bias = biases.some(Boolean) ? new Float32Array(columns) : null;
    let column = 0;
    matrices.forEach((matrix, number) => {
      if (biases[number]) bias.set(biases[number], column);
      for (let from = 0; from < matrix.length; from += inner, column++) {
        const to = panels + Math.floor(column / PANEL) * inner * PANEL + (column % PANEL);
        for (let k = 0; k < inner; k++) floats[to + k * PANEL] = matrix[from + k];
      }
    });
    return { panels, inner, columns, count, bias };
  }

  /** Compute the cosines and sines of rotary positions, (capacity, pairs), with the roundings of PyTorch. */
  makeRotations() {
    const frequencies = Float32Array.from(this.spec.frequencies ?? []);
    const angles = new Float32Array(this.capacity * frequencies.length);
    angles.forEach((_, i) => {
      angles[i] = Math.floor(i / frequencies.length) * frequencies[i % frequencies.length];
    });
    const cosines = angles.map(Math.cos), sines = angles.map(Math.sin);
    this.rotations = { pairs: frequencies.length, cosines, sines };
  }

  /** Make the scratch large enough for this many rows. */
  reserve(rows) {
    if (rows <= this.reserved) return;
    const { memory, spec } = this;
    this.reserved = rows;
    this.hidden = new Rows(memory, rows, spec.width);
    this.normed = new Rows(memory, rows, spec.width);
    this.projected = new Rows(memory, rows, spec.width);
    this.queryKeyValue = new Rows(memory, rows, this.layers[0].queryKeyValue.columns);
    this.mixed = new Rows(memory, rows, spec.heads * spec.headSize + PANEL); // the last panel may end later
    this.inner = new Rows(memory, rows, (spec.gated ? 2 : 1) * spec.inner);
    this.logits = new Rows(memory, rows, spec.colours);
  }

  /**
   * Read the next tokens of each sequence, and leave the logits of the token after them in `logits`.
   *
   * @param {Cache} cache
   * @param {ArrayLike<number>} tokens (sequences, count <= CHUNK), of the first sequences of the cache
   * @param {number} sequences
   * @param {boolean} all logits after every token, (sequences * count, colours), not only after the last one
   * @param {?Float32Array} attention (layers, heads, tokens so far), to be filled for the last token
   */
  forward(cache, tokens, sequences, all = false, attention = null) {
    const rows = tokens.length, count = rows / sequences;
    this.reserve(rows);
    this.embed(tokens, count, cache.length);
    this.layers.forEach((layer, number) => {
      this.attentionBlock(layer, number, cache, sequences, count, attention);
      this.mlpBlock(layer, rows);
    });
    cache.length += count;
    const step = all ? 1 : count;
    for (let row = step - 1, to = 0; row < rows; row += step, to++) this.normalizeRow(this.norm, row, to);
    this.linear(this.head, this.normed, this.logits, rows / step);
  }

  /** Return the logits of one row of the last `forward`, (colours,); a view that the next one overwrites. */
  logitsOf(row) {
    const at = this.logits.at + row * this.logits.stride;
    return this.memory.floats.subarray(at, at + this.spec.colours);
  }

  /** hidden = embedding of each token, plus that of its position where the model learns them. */
  embed(tokens, count, start) {
    const { width } = this.spec, f = this.memory.floats;
    for (let row = 0; row < tokens.length; row++) {
      const to = this.hidden.at + row * this.hidden.stride;
      f.set(this.embedding.subarray(tokens[row] * width, (tokens[row] + 1) * width), to);
      if (!this.positions) continue;
      const from = (start + (row % count)) * width;
      for (let i = 0; i < width; i++) f[to + i] += this.positions[from + i];
    }
  }

  /** hidden += attention(norm(hidden)) */
  attentionBlock(layer, number, cache, sequences, count, attention) {
    const rows = sequences * count;
    for (let row = 0; row < rows; row++) this.normalizeRow(layer.attentionNorm, row, row);
    this.linear(layer.queryKeyValue, this.normed, this.queryKeyValue, rows);
    for (let row = 0; row < rows; row++) {
      const position = cache.length + (row % count);
      this.prepareHeads(layer, row, position);
      this.store(cache, number, Math.floor(row / count), row, position);
    }
    for (let sequence = 0; sequence < sequences; sequence++) {
      this.attend(layer, number, cache, sequence, sequence * count, count, attention);
    }
    this.linear(layer.output, this.mixed, this.projected, rows);
    this.addProjected(rows);
  }

  /** hidden += down(activation(gate(norm(hidden))) * up(norm(hidden))), or without the gate */
  mlpBlock(layer, rows) {
    const { inner, gated } = this.spec, f = this.memory.floats, { activate } = this;
    for (let row = 0; row < rows; row++) this.normalizeRow(layer.mlpNorm, row, row);
    this.linear(layer.up, this.normed, this.inner, rows);
    for (let row = 0; row < rows; row++) {
      const up = this.inner.at + row * this.inner.stride, gate = up + inner;
      if (gated) for (let i = 0; i < inner; i++) f[up + i] *= activate(f[gate + i]);
      else for (let i = 0; i < inner; i++) f[up + i] = activate(f[up + i]);
    }
    this.linear(layer.down, this.inner, this.projected, rows);
    this.addProjected(rows);
  }

  addProjected(rows) {
    const f = this.memory.floats, { at, stride } = this.hidden; // `projected` has the same stride
    for (let i = 0; i < rows * stride; i++) f[at + i] += f[this.projected.at + i];
  }

  /** to = from @ linear + bias, for the first rows of both. */
  linear(linear, from, to, rows) {
    const { panels, inner, count, bias } = linear;
    this.memory.multiply(from.at, from.stride, panels, inner * PANEL, to.at, to.stride, rows, inner, count);
    if (!bias) return;
    const f = this.memory.floats;
    for (let row = 0; row < rows; row++) {
      const at = to.at + row * to.stride;
      for (let i = 0; i < bias.length; i++) f[at + i] += bias[i];
    }
  }

  /** normed[to] = norm(hidden[from]) */
  normalizeRow(norm, from, to) {
    const { hidden, normed } = this;
    const target = normed.at + to * normed.stride;
    normalize(this.memory.floats, hidden.at + from * hidden.stride, target, this.spec.width, norm, 0);
  }

  /** Normalize (where the model does) and rotate the queries and keys of one row. */
  prepareHeads(layer, row, position) {
    const { heads, keyValueHeads, headSize } = this.spec, f = this.memory.floats;
    const at = this.queryKeyValue.at + row * this.queryKeyValue.stride;
    for (let head = 0; head < heads + keyValueHeads; head++) {
      const part = at + head * headSize; // the queries of all heads, then their keys
      const [norm, number] = head < heads ? [layer.queryNorm, head] : [layer.keyNorm, head - heads];
      if (norm) normalize(f, part, part, headSize, norm, number * headSize);
      this.rotate(part, position);
    }
  }

  /** Rotate the pairs (i, i + pairs) of one head by the angles of a position. */
  rotate(at, position) {
    const { pairs, cosines, sines } = this.rotations, f = this.memory.floats;
    for (let i = 0, angle = position * pairs; i < pairs; i++, angle++) {
      const a = f[at + i], b = f[at + i + pairs];
      f[at + i] = a * cosines[angle] - b * sines[angle];
      f[at + i + pairs] = b * cosines[angle] + a * sines[angle];
    }
  }

  /** Put the keys and values of one row into the cache. */
  store(cache, layer, sequence, row, position) {
    const { heads, keyValueHeads, headSize } = this.spec, f = this.memory.floats;
    const keys = this.queryKeyValue.at + row * this.queryKeyValue.stride + heads * headSize;
    const values = keys + keyValueHeads * headSize;
    const lane = position % PANEL;
    for (let head = 0; head < keyValueHeads; head++) {
      const part = cache.part(layer, sequence, head), from = head * headSize;
      const toKey = cache.keys + part * cache.keySize + (position - lane) * headSize + lane;
      const toValue = cache.values + part * cache.valueSize + position * PANEL;
      for (let i = 0; i < headSize; i++) {
        f[toKey + i * PANEL] = f[keys + from + i];
        f[toValue + (i - (i % PANEL)) * cache.capacity + (i % PANEL)] = f[values + from + i];
      }
    }
  }

  /** mixed = softmax(queries @ keys) @ values, for `count` consecutive rows of one sequence. */
  attend(layer, number, cache, sequence, row, count, attention) {
    const { heads, keyValueHeads, headSize } = this.spec, { memory, queryKeyValue, mixed, scores } = this;
    const end = cache.length + count, oldest = Math.max(0, cache.length + 1 - layer.window);
    const start = oldest - (oldest % PANEL), seen = end - start;
    for (let head = 0; head < heads; head++) {
      const part = cache.part(number, sequence, Math.floor((head * keyValueHeads) / heads));
      const queries = queryKeyValue.at + row * queryKeyValue.stride + head * headSize;
      const keys = cache.keys + part * cache.keySize + start * headSize;
      const values = cache.values + part * cache.valueSize + start * PANEL;
      const to = mixed.at + row * mixed.stride + head * headSize;
      memory.multiply(
        queries, queryKeyValue.stride, keys, headSize * PANEL, scores.at, scores.stride,
        count, headSize, Math.ceil(seen / PANEL),
      );
      this.softmaxRows(layer.window, cache.length, start, count, seen);
      memory.multiply(
        scores.at, scores.stride, values, cache.capacity * PANEL, to, mixed.stride,
        count, seen, Math.ceil(headSize / PANEL),
      );
      if (attention) this.copyWeights(attention, number * heads + head, start, end, count);
    }
  }

  /** Turn the scores of consecutive rows, whose columns begin at position `start`, into weights. */
  softmaxRows(window, position, start, count, seen) {
    for (let row = 0; row < count; row++, position++) {
      const oldest = Math.max(0, position + 1 - window);
      this.softmax(this.scores.at + row * this.scores.stride, oldest - start, position + 1 - start, seen);
    }
  }

  /** Turn the scores [from, to) of one row into weights that sum to 1, and the rest of `size` into 0. */
  softmax(at, from, to, size) {
    const f = this.memory.floats, { scale } = this.spec;
    let largest = -Infinity, sum = 0;
    for (let i = at + from; i < at + to; i++) if (f[i] > largest) largest = f[i];
    for (let i = at + from; i < at + to; i++) sum += f[i] = Math.exp((f[i] - largest) * scale);
    for (let i = at + from; i < at + to; i++) f[i] /= sum;
    f.fill(0, at, at + from);
    f.fill(0, at + to, at + size);
  }

  /** Copy the weights of the last row; (layers * heads, tokens so far). */
  copyWeights(attention, number, start, end, count) {
    const at = this.scores.at + (count - 1) * this.scores.stride;
    attention.set(this.memory.floats.subarray(at, at + end - start), number * end + start);
  }
}

/** f[to...] = norm of f[from...], by the weights from `offset` on. */
function normalize(f, from, to, size, norm, offset) {
  const { kind, epsilon, weight, bias } = norm;
  let mean = 0, squares = 0;
  if (kind === "layer") for (let i = 0; i < size; i++) mean += f[from + i] / size;
  for (let i = 0; i < size; i++) squares += (f[from + i] - mean) ** 2;
  const scale = 1 / Math.sqrt(squares / size + epsilon);
  for (let i = 0; i < size; i++) f[to + i] = (f[from + i] - mean) * scale * weight[offset + i];
  if (bias) for (let i = 0; i < size; i++) f[to + i] += bias[i];
}

// 5. Sampling ---------------------------------------------------------------------------------------------

/** Return log-softmax of logits. @param {ArrayLike<number>} logits @returns {Float64Array} */
function logSoftmax(logits) {
  let largest = -Infinity, sum = 0;
  for (let i = 0; i < logits.length; i++) largest = Math.max(largest, logits[i]);
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - largest);
  const shift = largest + Math.log(sum);
  return Float64Array.from(logits, (logit) => logit - shift);
}

/** Return the logarithm of several decoders' mean probabilities, as `average_probabilities` in Python. */
function averageLogProbabilities(allLogits) {
  const members = allLogits.map(logSoftmax);
  if (members.length === 1) return members[0];
  const mean = (i) => members.reduce((sum, member) => sum + Math.exp(member[i]), 0) / members.length;
  return members[0].map((_, i) => Math.log(mean(i)));
}

function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/**
 * Return scores at a temperature, with -Infinity for what top-k and then top-p exclude, as in `transformers`.
 *
 * @param {ArrayLike<number>} logProbabilities (colours,)
 * @param {{temperature: number, topK: number, topP: number}} settings topK 0 and topP 1 exclude nothing
 */
function warp(logProbabilities, { temperature, topK, topP }) {
  let scores = Float64Array.from(logProbabilities, (value) => value / temperature);
  if (topK > 0 && topK < scores.length) {
    const least = Float64Array.from(scores).sort()[scores.length - topK];
    scores = scores.map((score) => (score < least ? -Infinity : score));
  }
  if (topP < 1) {
    const all = logSoftmax(scores);
    const ascending = [...all.keys()].sort((a, b) => all[a] - all[b]);
    let below = 0;
    for (const colour of ascending.slice(0, -1)) {
      below += Math.exp(all[colour]);
      if (below > 1 - topP) break;
      scores[colour] = -Infinity;
    }
  }
  return scores;
}

/**
 * Return a generator of uniform numbers in (0, 1): sfc32 of PractRand (Chris Doty-Humphrey), a small chaotic
 * generator that passes the usual tests. It is seeded by three 32-bit integers.
 */
function uniforms(seed, candidate, position) {
  let a = seed | 0, b = candidate | 0, c = position | 0, counter = 1;
  const next = () => {
    const drawn = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + drawn) | 0;
    return ((drawn >>> 0) + 0.5) / 2 ** 32;
  };
  for (let round = 0; round < 15; round++) next();
  return next;
}

/**
 * Draw one colour: the likeliest at temperature 0, otherwise by Gumbel noise (Gumbel 1954), as `sampling.py`.
 *
 * The noise belongs to (seed, candidate, position), so neither the other candidates nor the length of the
 * prompt changes it.
 */
function drawColour(logProbabilities, settings, candidate, position) {
  if (settings.temperature === 0) return argmax(logProbabilities);
  const uniform = uniforms(settings.seed, candidate, position);
  return argmax(warp(logProbabilities, settings).map((score) => score - Math.log(-Math.log(uniform()))));
}

// 6. Engine -----------------------------------------------------------------------------------------------

/** The most candidates at once: each needs its keys and values. */
const MAX_CANDIDATES = 64;

/** One or more decoders over the same colours, whose probabilities are averaged. */
class Engine {
  /**
   * @param {{spec: object, weights: ArrayBuffer}[]} members
   * @param {boolean} simd use WebAssembly SIMD where possible
   */
  constructor(members, simd = true) {
    this.decoders = members.map(({ spec, weights }) => new Decoder(spec, weights, simd));
    this.colours = members[0].spec.colours;
    this.caches = new Map();
  }

  /** Whether WebAssembly SIMD is used. */
  get simd() {
    return this.decoders[0].memory.simd;
  }

  /**
   * Complete a sprite; a generator, so that the caller can pause or stop after each position.
   *
   * It yields null while it reads the prompt, then for each position
   * `{position, tokens: Int32Array(count), logProbs: Float32Array(count)}`.
   *
   * @param {{prompt: number[], count: number, temperature: number, topK: number, topP: number, seed: number,
   *   members: number}} request temperature 0 is greedy; see `warp`
   */
  *complete(request) {
    const { prompt, count } = request;
    this.checkTokens(prompt, LENGTH - 1);
    checkSampling(request);
    const readers = this.readers("complete", count, request.members);
    for (const { decoder, cache } of readers) {
      for (const _ of readChunks(decoder, cache, prompt)) yield null;
      cache.fork(decoder.memory.floats, count);
    }
    let rowOf = () => 0; // all candidates begin with the same distribution
    for (let position = prompt.length; position < LENGTH; position++) {
      const event = this.drawAll(readers, request, position, rowOf);
      yield event;
      if (position === LENGTH - 1) return;
      for (const { decoder, cache } of readers) decoder.forward(cache, event.tokens, count);
      rowOf = (candidate) => candidate;
    }
  }

  /** Draw the colour of each candidate at one position. */
  drawAll(readers, request, position, rowOf) {
    const tokens = new Int32Array(request.count), logProbs = new Float32Array(request.count);
    for (let candidate = 0; candidate < request.count; candidate++) {
      const found = averageLogProbabilities(readers.map(({ decoder }) => decoder.logitsOf(rowOf(candidate))));
      tokens[candidate] = drawColour(found, request, candidate, position);
      logProbs[candidate] = found[tokens[candidate]];
    }
    return { position, tokens, logProbs };
  }

  /**
   * Return how likely each pixel is, given those before it.
   *
   * @param {number[]} tokens T of them
   * @returns {{nll: Float32Array, probabilities: Float32Array, rows: number}} (T,) in nats, NaN for the first
   *   pixel; (rows, colours) with rows = T + 1 but at most 400, row t for pixel t, zeros for the first pixel
   */
  inspect(tokens, members) {
    const logs = this.logProbabilities(tokens, members);
    const probabilities = new Float32Array((logs.length + 1) * this.colours);
    const nll = new Float32Array(tokens.length).fill(NaN);
    logs.forEach((log, i) => {
      probabilities.set(log.map(Math.exp), (i + 1) * this.colours);
      if (i + 1 < tokens.length) nll[i + 1] = -log[tokens[i + 1]];
    });
    return { nll, probabilities, rows: logs.length + 1 };
  }

  /** Return the log-probabilities of the pixels 1 to T, at most to the last one, (colours,) each. */
  logProbabilities(tokens, members) {
    this.checkTokens(tokens, LENGTH);
    const given = tokens.slice(0, LENGTH - 1);
    const readers = this.readers("inspect", 1, members);
    const logits = readers.map(({ decoder, cache }) => allLogits(decoder, cache, given));
    return logits[0].map((_, i) => averageLogProbabilities(logits.map((ofMember) => ofMember[i])));
  }

  /**
   * Return how much the first decoder looks at each earlier pixel when it predicts one.
   *
   * @param {number[]} tokens at least `position` of them
   * @param {number} position of the predicted pixel, from 1
   * @returns {{layers: number, heads: number, weights: Float32Array}} (layers, heads, position). The
   *   conditioning tokens are left out, so a row may sum to less than 1.
   */
  attend(tokens, position) {
    if (!(position >= 1 && position <= tokens.length)) {
      throw new Error(`position ${position}: use 1 to the number of given pixels, ${tokens.length}`);
    }
    const given = tokens.slice(0, position);
    this.checkTokens(given, LENGTH - 1);
    const [{ decoder, cache }] = this.readers("inspect", 1, 1);
    const { heads, prefix } = decoder.spec, layers = decoder.layers.length, seen = prefix.length + position;
    const attention = new Float32Array(layers * heads * seen);
    for (const _ of readChunks(decoder, cache, given, false, attention));
    const weights = new Float32Array(layers * heads * position);
    for (let row = 0; row < layers * heads; row++) {
      weights.set(attention.subarray(row * seen + prefix.length, (row + 1) * seen), row * position);
    }
    return { layers, heads, weights };
  }

  /** Return the first decoders with empty caches; a purpose keeps its caches from call to call. */
  readers(purpose, sequences, members) {
    if (!(Number.isInteger(sequences) && sequences >= 1 && sequences <= MAX_CANDIDATES)) {
      throw new Error(`${sequences} candidates: draw 1 to ${MAX_CANDIDATES}`);
    }
    return this.decoders.slice(0, members).map((decoder, number) => {
      const name = `${purpose} ${number}`;
      let cache = this.caches.get(name);
      if (!cache || cache.sequences < sequences) {
        cache = new Cache(decoder, 2 ** Math.ceil(Math.log2(sequences))); // powers of two: few are outgrown
        this.caches.set(name, cache);
      }
      cache.length = 0;
      return { decoder, cache };
    });
  }

  checkTokens(tokens, most) {
    if (!(tokens.length >= 1 && tokens.length <= most)) {
      throw new Error(`${tokens.length} pixels: give 1 to ${most}`);
    }
    for (const token of tokens) {
      if (!(Number.isInteger(token) && token >= 0 && token < this.colours)) {
        throw new Error(`token ${token} has no colour: the palette's are 0 to ${this.colours - 1}`);
      }
    }
  }
}

function checkSampling({ temperature, topK, topP }) {
  const require = (holds, message) => {
    if (!holds) throw new Error(message);
  };
  require(temperature >= 0 && temperature < Infinity, `temperature ${temperature}: use 0 or more`);
  require(Number.isInteger(topK) && topK >= 0, `top-k ${topK}: use a whole number, 0 for no limit`);
  require(topP > 0 && topP <= 1, `top-p ${topP}: use more than 0 and at most 1`);
}

/** Read the conditioning tokens and then a sprite's; yields where each chunk began, once it is read. */
function* readChunks(decoder, cache, tokens, all = false, attention = null) {
  const input = [...decoder.spec.prefix, ...tokens];
  for (let start = 0; start < input.length; start += CHUNK) {
    const last = start + CHUNK >= input.length;
    decoder.forward(cache, input.slice(start, start + CHUNK), 1, all, last ? attention : null);
    yield start;
  }
}

/** Return copies of the logits that follow each of the tokens, (colours,) each. */
function allLogits(decoder, cache, tokens) {
  const skipped = decoder.spec.prefix.length, found = [];
  for (const start of readChunks(decoder, cache, tokens, true)) {
    for (let row = 0; row < CHUNK && found.length < tokens.length; row++) {
      if (start + row >= skipped) found.push(decoder.logitsOf(row).slice());
    }
  }
  return found;
}

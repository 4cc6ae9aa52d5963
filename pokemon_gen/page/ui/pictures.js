// Pictures in and out: any picture → 400 tokens of the palette, as `images:` does; tokens → PNG and GIF.
"use strict";

const SAMPLES = 10; // along each side of a cell
const LINE_SHARE = 0.14, LINE_LIGHTNESS = 0.42, LINE_CONTRAST = 0.18; // as in sprites/pictures.py
const LONGEST_SIDE = 4096;

/** sRGB bytes → OKLab (Björn Ottosson, 2020); distances in it match perceived differences. */
function oklab([red, green, blue]) {
  const [r, g, b] = [red, green, blue].map((byte) => {
    const value = byte / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
  ];
}

/** The colours of a run, with what is needed to find one: the nearest to any colour, and an order for the eye. */
class Palette {
  constructor(rgb) {
    this.rgb = rgb;
    this.lab = rgb.map(oklab);
    this.known = new Map();
  }

  /** The token of the nearest colour to 0xRRGGBB. */
  nearest(key) {
    if (!this.known.has(key)) {
      const lab = oklab([key >> 16, (key >> 8) & 255, key & 255]);
      let best = 0, least = Infinity;
      this.lab.forEach((other, token) => {
        const distance = (lab[0] - other[0]) ** 2 + (lab[1] - other[1]) ** 2 + (lab[2] - other[2]) ** 2;
        if (distance < least) [best, least] = [token, distance];
      });
      this.known.set(key, best);
    }
    return this.known.get(key);
  }

  hex(token) {
    return "#" + this.rgb[token].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  /** Tokens for display: greys from light to dark first, then hues around the circle, each from light to dark. */
  sorted() {
    const place = this.lab.map(([light, a, b]) => {
      const chroma = Math.hypot(a, b), hue = (Math.atan2(b, a) + 2 * Math.PI) % (2 * Math.PI);
      return [chroma < 0.03 ? -1 : Math.floor(hue / (Math.PI / 6)), -light];
    });
    return this.rgb.map((_, token) => token).sort((x, y) => place[x][0] - place[y][0] || place[x][1] - place[y][1]);
  }
}

/**
 * Bring a picture to 20 by 20 tokens: padded to a square with white; exact if it is enlarged pixel art, else each
 * cell takes its most common colour, or that of a dark line through it.
 * @param {ImageData} image
 * @returns {{tokens: Int32Array, done: string[]}} `done` says what was changed.
 */
function toTokens(image, palette) {
  const square = padded(image), size = square.size, done = [];
  if (image.width !== image.height || image.width < SIDE) done.push("padded with white to a square");
  if (size === SIDE) return { tokens: square.tokens(palette, 1), done };
  const step = size / SIDE;
  if (Number.isInteger(step) && square.isEnlarged(step)) {
    done.push(`read as pixel art enlarged ${step} times`);
    return { tokens: square.tokens(palette, step), done };
  }
  done.push(`shrunk from ${image.width}×${image.height} to 20×20`);
  return { tokens: square.vote(palette), done };
}

/** A picture centred on a white square of at least 20 by 20; transparent pixels show the white. */
function padded(image) {
  const size = Math.max(image.width, image.height, SIDE);
  const top = Math.floor((size - image.height) / 2), left = Math.floor((size - image.width) / 2);
  const { width, height, data } = image;
  const over = (byte, alpha) => Math.round((byte * alpha + 255 * (255 - alpha)) / 255);
  /** 0xRRGGBB: one number, since a picture may have 16 million pixels. */
  const colour = (row, column) => {
    const y = row - top, x = column - left;
    if (y < 0 || x < 0 || y >= height || x >= width) return 0xffffff;
    const at = 4 * (y * width + x), alpha = data[at + 3];
    if (alpha === 255) return (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
    return (over(data[at], alpha) << 16) | (over(data[at + 1], alpha) << 8) | over(data[at + 2], alpha);
  };
  return {
    size,
    tokens: (palette, step) =>
      Int32Array.from({ length: LENGTH }, (_, i) =>
        palette.nearest(colour(Math.floor(i / SIDE) * step, (i % SIDE) * step))),
    isEnlarged: (step) => {
      for (let row = 0; row < size; row++) {
        for (let column = 0; column < size; column++) {
          if (colour(row, column) !== colour(row - (row % step), column - (column % step))) return false;
        }
      }
      return true;
    },
    vote: (palette) =>
      Int32Array.from({ length: LENGTH }, (_, i) => {
        const counts = new Map();
        for (let sample = 0; sample < SAMPLES * SAMPLES; sample++) {
          const row = Math.floor(i / SIDE) + (Math.floor(sample / SAMPLES) + 0.5) / SAMPLES;
          const column = (i % SIDE) + ((sample % SAMPLES) + 0.5) / SAMPLES;
          const token = palette.nearest(colour(Math.floor((row * size) / SIDE), Math.floor((column * size) / SIDE)));
          counts.set(token, (counts.get(token) ?? 0) + 1);
        }
        return winner(counts, palette);
      }),
  };
}

/** The most common token of a cell, or the darkest line's if lines take a seventh of the cell. */
function winner(counts, palette) {
  const most = (entries) => entries.reduce((a, b) => (b[1] > a[1] ? b : a));
  const all = [...counts], common = most(all);
  const lightness = palette.lab[common[0]][0];
  const lines = all.filter(([token]) => {
    const own = palette.lab[token][0];
    return own < LINE_LIGHTNESS && own < lightness - LINE_CONTRAST;
  });
  const share = lines.reduce((sum, [, count]) => sum + count, 0);
  return share >= LINE_SHARE * SAMPLES * SAMPLES ? most(lines)[0] : common[0];
}

/**
 * Decode a file or blob that a person chose.
 * @returns {Promise<{image: ImageData, animated: boolean}>} the first frame, and whether there are more.
 * @throws {Error} with a message for people.
 */
async function decodePicture(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name || "This"} is not a picture that the browser can read (PNG, GIF, JPEG, WebP or BMP).`);
  }
  if (Math.max(bitmap.width, bitmap.height) > LONGEST_SIDE) {
    const size = `${bitmap.width}×${bitmap.height}`;
    bitmap.close();
    throw new Error(`The picture is too large (${size} pixels). Shrink it to at most ${LONGEST_SIDE} pixels a side.`);
  }
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const animated = isAnimated(new Uint8Array(await file.arrayBuffer()));
  return { image: context.getImageData(0, 0, canvas.width, canvas.height), animated };
}

/** Whether a file has several frames: two images of a GIF, APNG's acTL, WebP's ANIM chunk. */
function isAnimated(bytes) {
  const begin = new TextDecoder("latin1").decode(bytes.subarray(0, 4096));
  if (begin.startsWith("GIF8")) return countImages(bytes) > 1;
  if (begin.startsWith("PNG", 1)) return begin.includes("acTL");
  return begin.startsWith("RIFF") && begin.includes("ANIM");
}

/** The images of a GIF, at most two: a header with a table of colours, then blocks (GIF89a specification). */
function countImages(bytes) {
  const table = (flags) => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  let at = 13 + table(bytes[10]), images = 0;
  while (images < 2 && (bytes[at] === 0x21 || bytes[at] === 0x2c)) {
    const isImage = bytes[at] === 0x2c;
    images += isImage;
    at += isImage ? 11 + table(bytes[at + 9]) : 2; // to its first block of data
    while (bytes[at]) at += bytes[at] + 1;
    at++;
  }
  return images;
}

/** Draw the tokens from one place to another on a canvas, `scale` screen pixels each; others stay as they were. */
function drawTokens(context, tokens, from, to, palette, scale) {
  for (let i = from; i < to; i++) {
    context.fillStyle = palette.hex(tokens[i]);
    context.fillRect((i % SIDE) * scale, Math.floor(i / SIDE) * scale, scale, scale);
  }
}

/** A PNG of a picture. @returns {Promise<Blob>} */
function toPng(tokens, palette, scale) {
  const canvas = new OffscreenCanvas(SIDE * scale, SIDE * scale);
  drawTokens(canvas.getContext("2d"), tokens, 0, LENGTH, palette, scale);
  return canvas.convertToBlob({ type: "image/png" });
}

const GIF_SCALE = 10, GIF_STEP = 4, GIF_DELAY = 6, GIF_LAST_DELAY = 250; // pixels, pixels a frame, 1/100 s

/**
 * An animated GIF (GIF89a) of the painting: the first `from` pixels, then four more with each frame.
 * @throws {Error} if the picture has more than 255 colours, which GIF cannot hold beside the open pixels' own.
 */
function toGif(tokens, from, palette) {
  const used = [...new Set(tokens)];
  if (used.length > 255) throw new Error("The picture has more than 255 colours, which a GIF cannot hold.");
  const index = new Map(used.map((token, i) => [token, i]));
  const open = used.length; // the colour of pixels that are not painted yet
  const bits = Math.max(2, Math.ceil(Math.log2(used.length + 1)));
  const size = SIDE * GIF_SCALE, bytes = [];
  const short = (value) => bytes.push(value & 255, value >> 8);
  bytes.push(...new TextEncoder().encode("GIF89a"));
  short(size);
  short(size);
  bytes.push(0x80 | ((bits - 1) * 0x11), 0, 0);
  for (let i = 0; i < 1 << bits; i++) bytes.push(...(i < used.length ? palette.rgb[used[i]] : [224, 222, 216]));
  bytes.push(0x21, 0xff, 11, ...new TextEncoder().encode("NETSCAPE2.0"), 3, 1, 0, 0, 0); // repeat for ever
  for (let known = from; ; known = Math.min(known + GIF_STEP, LENGTH)) {
    const last = known === LENGTH;
    bytes.push(0x21, 0xf9, 4, 0);
    short(last ? GIF_LAST_DELAY : GIF_DELAY);
    bytes.push(0, 0, 0x2c);
    [0, 0, size, size].forEach(short);
    bytes.push(0, bits);
    const pixels = new Uint8Array(size * size);
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const i = Math.floor(y / GIF_SCALE) * SIDE + Math.floor(x / GIF_SCALE);
        pixels[y * size + x] = i < known ? index.get(tokens[i]) : open;
      }
    }
    const packed = lzw(pixels, bits);
    for (let at = 0; at < packed.length; at += 255) {
      const block = packed.slice(at, at + 255);
      bytes.push(block.length, ...block);
    }
    bytes.push(0);
    if (last) break;
  }
  bytes.push(0x3b);
  return new Blob([Uint8Array.from(bytes)], { type: "image/gif" });
}

/** GIF's variable-length LZW (GIF89a specification, appendix F). */
function lzw(pixels, bits) {
  const clear = 1 << bits, end = clear + 1, out = [];
  let width = bits + 1, next = end + 1, codes = new Map(), buffer = 0, held = 0;
  const put = (code) => {
    buffer |= code << held;
    held += width;
    while (held >= 8) {
      out.push(buffer & 255);
      buffer >>>= 8;
      held -= 8;
    }
  };
  put(clear);
  let prefix = pixels[0];
  for (let i = 1; i < pixels.length; i++) {
    const key = prefix * 256 + pixels[i];
    if (codes.has(key)) {
      prefix = codes.get(key);
      continue;
    }
    put(prefix);
    prefix = pixels[i];
    if (next === 4096) {
      put(clear);
      [width, next, codes] = [bits + 1, end + 1, new Map()];
    } else {
      if (next === 1 << width) width++;
      codes.set(key, next++);
    }
  }
  put(prefix);
  put(end);
  if (held) out.push(buffer & 255);
  return out;
}

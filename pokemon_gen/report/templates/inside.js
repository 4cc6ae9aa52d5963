"use strict";
// The attention of a chosen pixel or token. Without this script the page shows that of the first choice.
{
  /** Attention from the bytes of `attention_bytes` (inside_pictures.py): of query q, to all conditioning tokens and to keys 0 to q. */
  function weightsOf(data, map, query) {
    const start = map * data.size + query * (query + 3) / 2;
    const values = Array.from(data.bytes.subarray(start, start + query + 2), (byte) => (byte / 255) ** 2);
    return { conditioning: values[0], keys: values.slice(1) };
  }
  function read(id) {
    const element = document.getElementById(id);
    if (!element) return null;
    const data = JSON.parse(element.textContent);
    data.bytes = Uint8Array.from(atob(data.attention), (letter) => letter.charCodeAt(0));
    data.size = data.bytes.length / data.maps;
    return data;
  }
  const canvas = document.createElement("canvas");
  /** A picture of `width` columns as an address; `colours` are RGB of each pixel. */
  function addressOf(colours, width) {
    canvas.width = width;
    canvas.height = colours.length / width;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(canvas.width, canvas.height);
    colours.forEach((colour, place) => picture.data.set([...colour.map(Math.round), 255], 4 * place));
    context.putImageData(picture, 0, 0);
    return canvas.toDataURL();
  }
  const percent = (share) => `${(100 * share).toFixed(0)}\u00a0%`;

  const sprite = read("sprite-attention");
  if (sprite) {
    const SIDE = 20, LENGTH = 400;
    const chooser = document.getElementById("chooser");
    const frame = chooser.querySelector(".frame");
    const images = [...document.querySelectorAll("[data-map]")];
    let chosen = sprite.start;
    const place = (pixel) => `row ${Math.floor(pixel / SIDE) + 1}, column ${pixel % SIDE + 1}`;
    function choose(pixel) {
      chosen = pixel;
      for (const mark of document.querySelectorAll("#chooser .pixel, #maps .pixel")) {
        mark.style.setProperty("--row", Math.floor(pixel / SIDE));
        mark.style.setProperty("--column", pixel % SIDE);
      }
      for (const image of images) {
        const { conditioning, keys } = weightsOf(sprite, Number(image.dataset.map), pixel);
        const most = Math.max(...keys, 1e-9);
        const colours = Array.from({ length: LENGTH }, (_, key) => {
          if (key > pixel) return sprite.paper;
          const strength = keys[key] / most;
          return sprite.red.map((red) => sprite.pale[key] * (1 - strength) + red * strength);
        });
        image.src = addressOf(colours, SIDE);
        const best = keys.indexOf(Math.max(...keys));
        image.alt = `Most attention, ${percent(most)}, on ${place(best)}`;
        const lines = image.closest("figure").querySelectorAll("figcaption span");
        lines[2].textContent = `most ${percent(most)}`;
        if (sprite.skip) lines[3].textContent = `conditioning ${percent(conditioning)}`;
      }
      document.getElementById("chosen-pixel").textContent = `Pixel at ${place(pixel)}.`;
    }
    frame.addEventListener("click", (event) => {
      const box = frame.querySelector("img").getBoundingClientRect();
      const at = (value) => Math.min(SIDE - 1, Math.max(0, Math.floor(value * SIDE)));
      choose(at((event.clientY - box.top) / box.height) * SIDE + at((event.clientX - box.left) / box.width));
    });
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -SIDE, ArrowDown: SIDE };
    chooser.addEventListener("keydown", (event) => {
      const next = chosen + (steps[event.key] ?? NaN);
      if (!(event.key in steps)) return;
      event.preventDefault();
      if (next >= 0 && next < LENGTH) choose(next);
    });
  }

  const text = read("text-attention");
  if (text) {
    const tokens = [...document.querySelectorAll("#tokens .token")];
    const select = document.getElementById("head");
    const matrix = document.getElementById("matrix");
    function heat(value) {
      const level = Math.min(value, 1) * (text.heat.length - 1);
      const low = Math.min(Math.floor(level), text.heat.length - 2);
      return text.heat[low].map((part, channel) => part + (text.heat[low + 1][channel] - part) * (level - low));
    }
    function show() {
      const map = Number(select.value);
      const rows = tokens.map((_, query) => weightsOf(text, map, query).keys);
      matrix.src = addressOf(rows.flatMap((keys) => tokens.map((_, key) => (key < keys.length ? heat(keys[key]) : text.paper))), tokens.length);
      matrix.alt = `Attention of ${select.selectedOptions[0].textContent}`;
      const query = tokens.findIndex((token) => token.getAttribute("aria-pressed") === "true");
      const keys = rows[query];
      const most = Math.max(...keys);
      tokens.forEach((token, place) => token.style.setProperty("--strength", `${Math.round(100 * (keys[place] ?? 0) / most)}%`));
      const best = keys.indexOf(most);
      document.getElementById("chosen-token").textContent = `Token ${query + 1} “${tokens[query].textContent}” looks most at token ${best + 1} “${tokens[best].textContent}”: ${percent(most)}.`;
    }
    select.addEventListener("change", show);
    for (const token of tokens) {
      token.addEventListener("click", () => {
        for (const other of tokens) other.setAttribute("aria-pressed", String(other === token));
        show();
      });
    }
    show();
  }
}

"use strict";

// ── drawing: maps in colour ──

// matplotlib's inferno (N. Smith and S. van der Walt, CC0), the same as in scorecam's own pictures.
const COLOURS = bytesOfHex(
  "00000401000501010601010802010a02020c02020e03021004031204031405041706041907051b08051d09061f" +
  "0a07220b07240c08260d08290e092b10092d110a30120a32140b34150b37160b39180c3c190c3e1b0c411c0c43" +
  "1e0c451f0c48210c4a230c4c240c4f260c51280b53290b552b0b572d0b592f0a5b310a5c320a5e340a5f360961" +
  "3809623909633b09643d09653e0966400a67420a68440a68450a69470b6a490b6a4a0c6b4c0c6b4d0d6c4f0d6c" +
  "510e6c520e6d540f6d550f6d57106e59106e5a116e5c126e5d126e5f136e61136e62146e64156e65156e67166e" +
  "69166e6a176e6c186e6d186e6f196e71196e721a6e741a6e751b6e771c6d781c6d7a1d6d7c1d6d7d1e6d7f1e6c" +
  "801f6c82206c84206b85216b87216b88226a8a226a8c23698d23698f2469902568922568932667952667972766" +
  "9827669a28659b29649d29649f2a63a02a63a22b62a32c61a52c60a62d60a82e5fa92e5eab2f5ead305dae305c" +
  "b0315bb1325ab3325ab43359b63458b73557b93556ba3655bc3754bd3853bf3952c03a51c13a50c33b4fc43c4e" +
  "c63d4dc73e4cc83f4bca404acb4149cc4248ce4347cf4446d04545d24644d34743d44842d54a41d74b3fd84c3e" +
  "d94d3dda4e3cdb503bdd513ade5238df5337e05536e15635e25734e35933e45a31e55c30e65d2fe75e2ee8602d" +
  "e9612bea632aeb6429eb6628ec6726ed6925ee6a24ef6c23ef6e21f06f20f1711ff1731df2741cf3761bf37819" +
  "f47918f57b17f57d15f67e14f68013f78212f78410f8850ff8870ef8890cf98b0bf98c0af98e09fa9008fa9207" +
  "fa9407fb9606fb9706fb9906fb9b06fb9d07fc9f07fca108fca309fca50afca60cfca80dfcaa0ffcac11fcae12" +
  "fcb014fcb216fcb418fbb61afbb81dfbba1ffbbc21fbbe23fac026fac228fac42afac62df9c72ff9c932f9cb35" +
  "f8cd37f8cf3af7d13df7d340f6d543f6d746f5d949f5db4cf4dd4ff4df53f4e156f3e35af3e55df2e661f2e865" +
  "f2ea69f1ec6df1ed71f1ef75f1f179f2f27df2f482f3f586f3f68af4f88ef5f992f6fa96f8fb9af9fc9dfafda1" +
  "fcffa4"
);

function bytesOfHex(text) {
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.substr(2 * i, 2), 16));
}

// The rows, columns and cells in a text such as "7x7,BASE64".
function gridOf(text) {
  const comma = text.indexOf(",");
  const [rows, columns] = text.slice(0, comma).split("x").map(Number);
  const bytes = atob(text.slice(comma + 1));
  return { rows, columns, cells: Uint8Array.from(bytes, (letter) => letter.charCodeAt(0)) };
}

function isFlat(grid) {
  return !grid.cells.some(Boolean);
}

// Linear interpolation along an axis, with half-pixel centres as in scorecam: for each pixel, the first
// of the two cells that it is between, and the weight of the second.
function axis(cells, pixels) {
  const first = new Uint16Array(pixels);
  const part = new Float32Array(pixels);
  for (let pixel = 0; pixel < pixels; pixel += 1) {
    const where = Math.min(Math.max(((pixel + 0.5) * cells) / pixels - 0.5, 0), cells - 1);
    first[pixel] = Math.min(Math.floor(where), Math.max(cells - 2, 0));
    part[pixel] = where - first[pixel];
  }
  return { first, part };
}

// Draw a map on the whole canvas; larger values are more opaque.
function paint(canvas, grid, width, height) {
  canvas.width = width;
  canvas.height = height;
  const { columns, cells } = grid;
  const x = axis(columns, width);
  const y = axis(grid.rows, height);
  const right = columns > 1 ? 1 : 0;
  const below = grid.rows > 1 ? columns : 0;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let row = 0, at = 0; row < height; row += 1) {
    const start = y.first[row] * columns;
    for (let column = 0; column < width; column += 1, at += 4) {
      const cell = start + x.first[column];
      const part = x.part[column];
      const upper = cells[cell] + part * (cells[cell + right] - cells[cell]);
      const under = cell + below;
      const lower = cells[under] + part * (cells[under + right] - cells[under]);
      const value = Math.round(upper + y.part[row] * (lower - upper));
      image.data[at] = COLOURS[3 * value];
      image.data[at + 1] = COLOURS[3 * value + 1];
      image.data[at + 2] = COLOURS[3 * value + 2];
      image.data[at + 3] = value;
    }
  }
  context.putImageData(image, 0, 0);
}

function paintScale(canvas) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  for (let value = 0; value < 256; value += 1) {
    image.data.set(COLOURS.subarray(3 * value, 3 * value + 3), 4 * value);
    image.data[4 * value + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

// ── elements; text is always set through textContent ──

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null));
  return element;
}

function percent(probability) {
  if (probability === null) return "";
  const hundred = 100 * probability;
  return `${hundred >= 9.95 ? hundred.toFixed(0) : hundred.toFixed(1)} %`;
}

function numberText(value) {
  if (value === null || value === undefined) return "undefined";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e7)) return value.toExponential(2);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

// A name inside a sentence, isolated so that its writing direction does not reorder the rest.
const isolated = (name) => `\u2068${name}\u2069`;

const valueText = (shown) => shown.value || percent(shown.probability);

// The caption of a class, "tabby 84 %": as a string, and as an element.
function classText(shown) {
  return [isolated(shown.name), valueText(shown)].filter(Boolean).join(" ");
}

function classLine(shown) {
  const value = valueText(shown);
  return make("b", "", make("bdi", "", shown.name), value ? ` ${value}` : null);
}

function badges(roles) {
  return make("span", "badges", ...roles.map((role) => make("span", "badge", role)));
}

// Width and height of a picture's map with the long side `side`.
function drawnSize(picture, grid, side) {
  const [width, height] = picture.size ?? [grid.columns, grid.rows];
  const scale = side / Math.max(width, height);
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

// The photo under an empty canvas. `describe` is the text alternative of both.
function frame(picture, describe) {
  const box = make("span", "frame");
  if (picture.jpeg === null) {
    const tile = make("span", "tile");
    tile.setAttribute("role", "img");
    tile.setAttribute("aria-label", describe);
    box.append(tile);
  } else {
    const photo = make("img", "photo");
    photo.alt = describe;
    photo.decoding = "async";
    [photo.width, photo.height] = picture.size;
    photo.src = `data:image/jpeg;base64,${picture.jpeg}`;
    box.append(photo);
  }
  const canvas = make("canvas", "map");
  canvas.setAttribute("aria-hidden", "true");
  canvas.width = 1;
  canvas.height = 1;
  box.append(canvas);
  return box;
}

// Draw the outline of a class's box or region over its map, or remove the former one.
function outline(box, shown) {
  box.querySelector("svg")?.remove();
  if (!shown?.outline) return;
  const drawing = document.getElementById("outline").content.firstElementChild.cloneNode(true);
  drawing.setAttribute("viewBox", `0 0 ${shown.outline.size.join(" ")}`);
  for (const path of drawing.children) path.setAttribute("d", shown.outline.path);
  box.append(drawing);
}

// Draw a map into a frame, or clear it if there is no map. Returns a remark for the caption.
function fill(box, picture, text, side) {
  const canvas = box.querySelector("canvas");
  const grid = text ? gridOf(text) : { rows: 1, columns: 1, cells: Uint8Array.of(0) };
  paint(canvas, grid, ...drawnSize(picture, grid, side));
  box.classList.toggle("empty", !text);
  return text && isFlat(grid) ? "flat map" : text ? "" : "no map";
}

// One exhibit as a picture to share, 1200 by 630: drawn here, on a canvas, with the machine's own fonts.

import { mark } from "./categories.js";
import { lossThen, pointsOf } from "./exhibit.js";
import { age, continuation } from "./format.js";
import { token } from "./palette.js";

const [WIDTH, HEIGHT, EDGE] = [1200, 630, 64];
const FOOT = 118;
/** Sizes of the words that are tried, the largest that fits is taken, with the height of its lines. */
const SIZES = [[46, 66], [40, 58], [35, 51], [31, 45], [28, 41]];
const MOST = 2500;
const RIGHT_TO_LEFT = /^[^\p{L}]*[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}]/u;
const pieces = new Intl.Segmenter(undefined, { granularity: "word" });

/** The exhibit as a PNG; throws where the browser makes none. */
export async function picture(one, curve) {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  draw(canvas.getContext("2d"), one, curve);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!blob) throw new Error("This browser could not make the picture.");
  return blob;
}

function draw(pen, one, curve) {
  const font = (weight, size, family) => { pen.font = `${weight} ${size}px ${token(family)}`; };
  const published = one.run_kind === "published";
  pen.textBaseline = "alphabetic";
  pen.fillStyle = token("--surface");
  pen.fillRect(0, 0, WIDTH, HEIGHT);
  pen.fillStyle = token("--accent");
  pen.fillRect(0, 0, WIDTH, 8);
  category(pen, one, font);
  font(650, 30, "--sans");
  pen.fillStyle = token("--ink");
  direct(pen, one.title);
  put(pen, fitted(pen, one.title, WIDTH - 2 * EDGE), 146);
  const top = 172;
  const bottom = HEIGHT - FOOT - 28;
  const said = one.text ? continuation(one.prompt, one.text, published) : one.note;
  words(pen, one.prompt, said, top, bottom, font);
  foot(pen, one, curve, font, published);
}

/** The category's sign and word, and whose page this is. */
function category(pen, one, font) {
  const sign = mark(one.category);
  const kind = [...sign.classList].find((name) => name !== "mark");
  pen.strokeStyle = pen.fillStyle = token(`--${kind}`);
  pen.save();
  pen.translate(EDGE - 4, 62);
  pen.scale(1.5, 1.5);
  pen.lineWidth = 1.8;
  pen.lineCap = pen.lineJoin = "round";
  pen.stroke(new Path2D(sign.querySelector("path").getAttribute("d")));
  pen.restore();
  font(600, 24, "--sans");
  pen.direction = "ltr";
  pen.textAlign = "left";
  pen.fillText(fitted(pen, sign.textContent, 700), EDGE + 36, 86);
  font(500, 22, "--sans");
  pen.fillStyle = token("--muted");
  pen.textAlign = "right";
  pen.fillText("Blueberry Studio", WIDTH - EDGE, 86);
}

/** Write towards the side on which the text begins. */
function direct(pen, text) {
  pen.direction = RIGHT_TO_LEFT.test(text) ? "rtl" : "ltr";
  pen.textAlign = "start";
}

const begin = (pen) => (pen.direction === "rtl" ? WIDTH - EDGE : EDGE);
const put = (pen, text, y) => pen.fillText(text, begin(pen), y);

/** A text in one line, cut where it is too wide. */
function fitted(pen, text, width) {
  const line = text.replace(/\s+/g, " ").trim();
  if (pen.measureText(line.slice(0, 400)).width <= width && line.length <= 400) return line;
  const signs = [...line.slice(0, 400)];
  while (signs.length && pen.measureText(`${signs.join("")}…`).width > width) signs.pop();
  return `${signs.join("").trimEnd()}…`;
}

/** Prompt and answer, as large as they fit between the two heights. */
function words(pen, prompt, said, top, bottom, font) {
  const text = (prompt + said).slice(0, MOST);
  direct(pen, text);
  for (const [size, height] of SIZES) {
    font(400, size, "--serif");
    const room = Math.floor((bottom - top) / height);
    const lines = wrapped(pen, text, WIDTH - 2 * EDGE, room + 1);
    const last = size === SIZES.at(-1)[0];
    if (lines.length > room && !last) continue;
    const cut = lines.length > room || prompt.length + said.length > MOST;
    lines.slice(0, room).forEach((line, number) => {
      const whole = cut && number === room - 1 ? fitted(pen, `${line.text} …`, WIDTH - 2 * EDGE) : line.text;
      write(pen, whole, Math.max(0, Math.min(whole.length, prompt.length - line.from)), top + height * (number + 1) - height * 0.28);
    });
    return;
  }
}

/** A line, its first part, which belongs to the prompt, in another colour. */
function write(pen, line, asked, y) {
  const first = line.slice(0, asked);
  pen.fillStyle = token("--muted");
  put(pen, first, y);
  const width = pen.measureText(first).width;
  pen.fillStyle = token("--ink");
  pen.fillText(line.slice(asked), begin(pen) + (pen.direction === "rtl" ? -width : width), y);
}

/** Up to `most` lines, as where they begin in the text and what is in them; a word that is too wide is broken. */
function wrapped(pen, text, width, most) {
  const lines = [];
  let line = { from: 0, text: "" };
  const end = (from) => { lines.push({ ...line, text: line.text.trimEnd() }); line = { from, text: "" }; };
  for (const { segment, index } of pieces.segment(text)) {
    if (lines.length >= most) return lines;
    if (segment.includes("\n")) { end(index + segment.length); continue; }
    if (pen.measureText(line.text + segment).width <= width) { line.text += segment; continue; }
    if (!segment.trim()) continue; // a blank at the end of a line
    if (line.text) end(index);
    for (const sign of broken(segment)) {
      if (line.text && pen.measureText(line.text + sign.text).width > width) end(index + sign.at);
      if (lines.length >= most) return lines;
      line.text += sign.text;
    }
  }
  if (line.text.trim()) end(0);
  return lines;
}

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const broken = (word) => Array.from(graphemes.segment(word), ({ segment, index }) => ({ text: segment, at: index }));

/** The run's curve with its age, and who said it. */
function foot(pen, one, curve, font, published) {
  const top = HEIGHT - FOOT;
  pen.fillStyle = token("--line");
  pen.fillRect(EDGE, top, WIDTH - 2 * EDGE, 1);
  const found = pointsOf(curve, one);
  let left = EDGE;
  if (found) {
    const place = ([x, y]) => [EDGE + x * 1.9, top + 22 + y * 1.9];
    pen.beginPath();
    found.places.map(place).forEach(([x, y], number) => (number ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.lineWidth = 3;
    pen.lineJoin = "round";
    pen.strokeStyle = token("--edge");
    pen.stroke();
    pen.beginPath();
    pen.arc(...place(found.dot), 8, 0, 2 * Math.PI);
    pen.fillStyle = token("--accent");
    pen.fill();
    left += 228 + 32;
  }
  pen.direction = "ltr";
  pen.textAlign = "left";
  font(650, 24, "--sans");
  pen.fillStyle = token("--ink");
  pen.fillText(fitted(pen, one.run_name, WIDTH - EDGE - left), left, top + 54);
  font(400, 22, "--sans");
  pen.fillStyle = token("--muted");
  pen.fillText(fitted(pen, published ? "published, December 2025" : `${age(one.tokens)}, ${lossThen(one)}`, WIDTH - EDGE - left), left, top + 86);
}

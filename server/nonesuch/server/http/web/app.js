// What the page does without being loaded again. A face is {seed, psi, model, mix, drawn}; each entry of the browser's
// history keeps its own, and `drawn` says that the server chose the seed, so that a refresh draws another.

const $ = (id) => document.getElementById(id);
const ALT = "Computer-generated face of a person who does not exist";
const DEFAULT_PSI = 0.7;
const MOST_SEED = 2 ** 32 - 1;
const GRID_SIDE = 256;
const WALK_SIDE = 512;
const WALK_FRAMES = 24;
const FRAME_MS = 80;

const run = history.state?.run ?? crypto.getRandomValues(new Uint32Array(1))[0];
const main = $("main");
const stage = $("stage");
const models = [...$("model").options];
const still = matchMedia("(prefers-reduced-motion: reduce)");

let face = null; // what is shown
let turn = 0; // of the loads; only the latest may show what it got
let loading = new AbortController(); // and those before it are given up, so that nobody renders for nobody
let again = () => load({}, "push");
let stop = () => {}; // ends the grid or the walk

const facts = (name) => (models.find((one) => one.value === name) ?? models[0])?.dataset ?? {};

/* Addresses */

function query({ psi = DEFAULT_PSI, model = "", mix = [] }) {
  const pairs = new URLSearchParams();
  if (psi !== DEFAULT_PSI) pairs.set("psi", psi);
  if (model && model !== main.dataset.default) pairs.set("model", model);
  mix.forEach((one) => pairs.append("mix", one));
  return pairs;
}

function withQuery(path, pairs) {
  const text = pairs.toString().replaceAll("%3A", ":");
  return text ? `${path}?${text}` : path;
}

function permalink({ seed, psi, model, mix }) {
  const pairs = new URLSearchParams({ seed, psi });
  if (main.dataset.several) pairs.set("model", model);
  mix.forEach((one) => pairs.append("mix", one));
  return withQuery("/", pairs);
}

const place = (one) => (one.drawn ? withQuery("/", query({ ...one, mix: [] })) : permalink(one));

/* Asking */

class Trouble extends Error {}

async function ask(address, options) {
  let reply;
  try {
    reply = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble(navigator.onLine ? "The server does not answer." : "You are offline.");
  }
  if (reply.ok) return reply;
  const wait = reply.headers.get("Retry-After") ?? 2;
  if (reply.status === 429) throw new Trouble(`The server is busy; try again in ${wait} s.`);
  if (reply.status === 503) throw new Trouble(`The server is starting or stopping; try again in ${wait} s.`);
  const problem = await reply.json().catch(() => ({}));
  throw new Trouble(problem.detail ?? `The server answered ${reply.status}.`);
}

function fail(error, retry) {
  if (error.name === "AbortError") return;
  again = retry;
  $("trouble").textContent = error instanceof Trouble ? error.message : "The picture could not be shown.";
  $("retry").hidden = false;
}

function clear() {
  $("trouble").textContent = "";
  if (document.activeElement === $("retry")) $("new").focus();
  $("retry").hidden = true;
}

const say = (text) => ($("said").textContent = text);

/* One face */

async function load(wanted, how) {
  const mine = ++turn;
  stop();
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  stage.setAttribute("aria-busy", "true");
  try {
    let address;
    let got = { psi: DEFAULT_PSI, model: face?.model ?? models[0]?.value ?? "", mix: [], ...wanted };
    if (got.seed === undefined) {
      const next = await (await ask(withQuery("/next", query(got)), { signal })).json();
      got = { ...got, seed: next.seed, model: next.model, drawn: true };
      address = next.image;
    } else {
      address = withQuery(`/face/${got.seed}.jpg`, query(got));
    }
    const reply = await ask(address, { signal });
    await reply.blob(); // the cache has it now
    const picture = new Image();
    picture.src = reply.url;
    await picture.decode();
    if (mine !== turn) return;
    hang(picture);
    show(got, reply, how);
    say(`New face, seed ${got.seed}`);
  } catch (error) {
    if (mine === turn) fail(error, () => load(wanted, how));
  } finally {
    if (mine === turn) stage.removeAttribute("aria-busy");
  }
}

function hang(picture) {
  const old = $("face");
  Object.assign(picture, { id: "face", alt: ALT, className: "next", width: picture.naturalWidth, height: picture.naturalHeight });
  if (old?.complete && old.naturalWidth) stage.style.backgroundImage = `url("${old.src}")`; // until the new one has appeared
  if (old) old.replaceWith(picture);
  else stage.prepend(picture);
}

function show(got, reply, how) {
  clear();
  face = got;
  const { seed, psi, model, mix } = got;
  const known = facts(model);
  const link = permalink(got);
  document.title = `Nobody ${seed}`;
  $("number").hidden = $("download").hidden = false;
  $("number").textContent = seed;
  $("number").href = link;
  const ms = /total;dur=([\d.]+)/.exec(reply.headers.get("Server-Timing") ?? "")?.[1];
  const mixed = mix.map((one) => ` With ${one.replace(/(.*):(.*)/, "$2 styles of $1")}.`).join("");
  $("line").textContent =
    "This person does not exist." + (ms ? ` Made in ${Math.round(ms)} ms on ${known.backend}.` : "") + mixed;
  $("psi").value = psi;
  $("psi-out").textContent = psi;
  $("model").value = model;
  $("licence").textContent = known.licence;
  $("download").href = reply.url;
  const mixes = mix.map((one) => one.replace(/(.*):(.*)/, "-$2$1")).join("");
  $("download").download = `nonesuch-${seed}-psi${psi}${mixes}.jpg`;
  $("mixing").hidden = !(Number(known.ws) > 1);
  const at = history.state?.at ?? 0;
  if (how === "push") {
    history.pushState({ face: got, at: at + 1, run }, "", place(got));
    remember(at + 1);
  } else if (how === "replace") {
    history.replaceState({ face: got, at, run }, "", place(got));
  }
  $("previous").disabled = !history.state?.at;
  $("next").disabled = (history.state?.at ?? 0) >= last();
  paint($("face"));
}

// How far the history goes that began where this page was opened, its run; where nothing can be kept, Next does
// nothing at its end.
function remember(at) {
  try {
    sessionStorage.setItem(`last ${run}`, at);
  } catch {}
}

function last() {
  try {
    return Number(sessionStorage.getItem(`last ${run}`));
  } catch {
    return Infinity;
  }
}

/* The wall: the hue of the picture's upper corners, which are background and not the face */

function paint(picture) {
  const side = 16;
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const brush = canvas.getContext("2d");
  brush.drawImage(picture, 0, 0, side, side);
  const pixels = brush.getImageData(0, 0, side, side).data;
  let [a, b, weight] = [0, 0, 0];
  for (let y = 0; y < side / 2; y++) {
    for (let x = 0; x < side; x++) {
      if (x > 1 && x < side - 2) continue;
      const [u, v] = oklab(...pixels.slice((y * side + x) * 4, (y * side + x) * 4 + 3));
      const vivid = 0.01 + Math.hypot(u, v);
      [a, b, weight] = [a + u * vivid, b + v * vivid, weight + vivid];
    }
  }
  const hue = (Math.atan2(b, a) * 180) / Math.PI;
  const chroma = Math.min(0.075, (Math.hypot(a, b) / weight) * 0.9);
  document.documentElement.style.setProperty("--hue", hue.toFixed(1));
  document.documentElement.style.setProperty("--chroma", chroma.toFixed(3));
}

// sRGB to the a and b of OKLab, https://bottosson.github.io/posts/oklab/
function oklab(...rgb) {
  const [r, g, b] = rgb.map((value) => {
    const x = value / 255;
    return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  });
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

/* Nine faces */

async function openGrid() {
  stop();
  const ending = new AbortController();
  const tiles = $("tiles");
  const { psi, model } = face ?? { psi: DEFAULT_PSI, model: models[0]?.value };
  const pairs = query({ psi, model });
  if (Number(facts(model).resolution) > GRID_SIDE) pairs.set("size", GRID_SIDE);
  pairs.set("priority", "bulk");
  stop = () => {
    ending.abort();
    if (tiles.contains(document.activeElement)) $("new").focus();
    tiles.hidden = true;
    tiles.replaceChildren();
    $("grid").setAttribute("aria-pressed", "false");
    stop = () => {};
  };
  $("grid").setAttribute("aria-pressed", "true");
  tiles.hidden = false;
  clear();
  stage.scrollIntoView({ block: "nearest" });
  const fill = async (seed) => {
    const tile = document.createElement("button");
    tile.disabled = true;
    tile.setAttribute("aria-label", `Keep the face of seed ${seed}`);
    tile.onclick = () => load({ seed, psi, model, drawn: true }, "push");
    tiles.append(tile);
    const reply = await ask(withQuery(`/face/${seed}.jpg`, pairs), { signal: ending.signal });
    await reply.blob();
    const picture = new Image();
    Object.assign(picture, { alt: ALT, src: reply.url });
    await picture.decode();
    tile.append(picture);
    tile.disabled = false;
  };
  try {
    await Promise.all([...crypto.getRandomValues(new Uint32Array(9))].map(fill));
    if (ending.signal.aborted) return;
    say("Nine faces; choose one to keep");
    if (document.activeElement === $("grid")) tiles.firstChild.focus();
  } catch (error) {
    if (ending.signal.aborted) return;
    stop();
    fail(error, openGrid);
  }
}

/* A walk: the Connect protocol's server stream, envelopes of 1 byte of flags, 4 of length, and JSON */

async function* frames(request, signal) {
  const body = new TextEncoder().encode(JSON.stringify(request));
  const envelope = new Uint8Array(5 + body.length);
  new DataView(envelope.buffer).setUint32(1, body.length);
  envelope.set(body, 5);
  const reply = await ask("/nonesuch.v1.GenerationService/Walk", {
    method: "POST",
    headers: { "Content-Type": "application/connect+json", "Connect-Protocol-Version": "1" },
    body: envelope,
    signal,
  });
  let held = new Uint8Array();
  for (const reader = reply.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) throw new Trouble("The walk broke off.");
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    held = joined;
    while (held.length >= 5) {
      const size = new DataView(held.buffer, held.byteOffset).getUint32(1);
      if (held.length < 5 + size) break;
      const message = JSON.parse(new TextDecoder().decode(held.subarray(5, 5 + size)));
      if (held[0] & 2) {
        const code = message.error?.code;
        if (code === "resource_exhausted") throw new Trouble(`The server is busy; try again in ${reply.headers.get("Retry-After") ?? 2} s.`);
        if (code) throw new Trouble(message.error.message ?? code);
        return;
      }
      held = held.slice(5 + size);
      yield Uint8Array.from(atob(message.image.data), (one) => one.charCodeAt(0));
    }
  }
}

async function walk(to) {
  stop();
  if (!face) return;
  const from = face;
  const ending = new AbortController();
  const canvas = $("canvas");
  const brush = canvas.getContext("2d");
  const stepwise = still.matches; // then each frame is asked for
  let step = () => {};
  stop = () => {
    ending.abort();
    step();
    if ([$("walk-stop"), $("walk-step")].includes(document.activeElement)) $("walk-start").focus();
    canvas.hidden = $("walk-stop").hidden = $("walk-step").hidden = true;
    stop = () => {};
  };
  canvas.width = canvas.height = Math.min(WALK_SIDE, Number(facts(from.model).resolution) || WALK_SIDE);
  clear();
  $("walk-stop").hidden = false;
  $("walk-step").hidden = !stepwise;
  $("walk-step").onclick = () => step();
  stage.scrollIntoView({ block: "nearest" });
  say(`Walking from ${from.seed} to ${to}`);
  try {
    const request = {
      model: from.model,
      keyframes: [{ seed: from.seed }, { seed: to }],
      framesPerStep: stepwise ? WALK_FRAMES / 3 : WALK_FRAMES,
      image: { format: "IMAGE_FORMAT_WEBP", size: canvas.width },
      synthesis: {
        psi: from.psi,
        mixing: from.mix.map((one) => {
          const [seed, group] = one.split(":");
          return { source: { seed: Number(seed) }, group: `LAYER_GROUP_${group.toUpperCase()}` };
        }),
      },
    };
    for await (const data of frames(request, ending.signal)) {
      const bitmap = await createImageBitmap(new Blob([data], { type: "image/webp" }));
      if (ending.signal.aborted) return;
      brush.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      canvas.hidden = false;
      canvas.dataset.frames = Number(canvas.dataset.frames ?? 0) + 1;
      await new Promise((next) => (stepwise ? (step = next) : setTimeout(next, FRAME_MS)));
      if (ending.signal.aborted) return;
    }
    load({ ...from, seed: to }, "push");
  } catch (error) {
    if (ending.signal.aborted) return;
    stop();
    fail(error, () => walk(to));
  }
}

/* Controls */

const settings = () => ({ psi: face?.psi ?? Number($("psi").value), model: $("model").value });
const fresh = () => load(settings(), "push");

function seedOf(input) {
  const seed = Number(input.value);
  const fits = seed <= MOST_SEED;
  input.setCustomValidity(fits ? "" : `A seed is at most ${MOST_SEED}.`);
  if (!fits) input.reportValidity();
  return fits ? seed : null;
}

function on(id, event, handle) {
  $(id).addEventListener(event, (happened) => {
    if (event === "submit") happened.preventDefault();
    handle(happened);
  });
}

on("fresh", "submit", fresh);
on("retry", "click", () => {
  clear();
  again();
});
on("chosen", "submit", () => {
  if (!$("seed").value) return fresh();
  const seed = seedOf($("seed"));
  if (seed !== null) load({ ...settings(), seed }, "push");
});
on("psi", "input", () => ($("psi-out").textContent = $("psi").value));
on("psi", "change", () => load({ ...face, psi: Number($("psi").value) }, face ? "replace" : "push"));
on("model", "change", () => load({ ...face, model: $("model").value, mix: [] }, "push"));
on("previous", "click", () => history.back());
on("next", "click", () => history.forward());
on("grid", "click", () => ($("tiles").hidden ? openGrid() : stop()));
on("walk", "submit", () => {
  const seed = $("walk-to").value ? seedOf($("walk-to")) : crypto.getRandomValues(new Uint32Array(1))[0];
  if (seed !== null) walk(seed);
});
on("walk-stop", "click", () => stop());
on("mixing", "submit", () => {
  const seed = seedOf($("mix-seed"));
  if (seed === null || !face) return;
  load({ ...face, drawn: false, mix: $("mix-seed").value ? [`${seed}:${$("mix-group").value}`] : [] }, "push");
});
on("copy", "click", async () => {
  const link = new URL(permalink(face), location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    $("copy").textContent = "Copied";
    say("Link copied");
    setTimeout(() => ($("copy").textContent = "Copy link"), 2000);
  } catch {
    prompt("The link to this face:", link); // where the clipboard is not given to pages
  }
});
for (const id of ["seed", "walk-to", "mix-seed"]) on(id, "input", () => $(id).setCustomValidity(""));

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.repeat) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "Escape") stop();
  else if (typing) return;
  else if (event.key === "ArrowRight" || (event.key === " " && !event.target.closest("button, a, summary"))) {
    event.preventDefault();
    fresh();
  } else if (event.key === "ArrowLeft" && history.state?.at) history.back();
});

addEventListener("popstate", (event) => {
  if (event.state?.face) load(event.state.face, "none");
});

/* The face that came with the page */

async function begin() {
  document.querySelectorAll("[data-js]").forEach((one) => (one.hidden = false));
  const { seed, psi, model, drawn } = main.dataset;
  const kept = history.state?.face;
  if (kept && performance.getEntriesByType("navigation")[0]?.type === "back_forward") return load(kept, "none");
  if (!seed) return fail(new Trouble($("trouble").textContent), () => load({}, "replace"));
  const mix = new URLSearchParams(location.search).getAll("mix");
  const first = { seed: Number(seed), psi: Number(psi), model, mix, drawn: Boolean(drawn) };
  const mine = ++turn;
  try {
    await $("face").decode();
    const reply = await ask($("face").src, { cache: "force-cache" });
    if (mine === turn) show(first, reply, "replace");
  } catch {
    if (mine === turn) load(first, "replace"); // which says what is wrong, if it still is
  }
}

begin();

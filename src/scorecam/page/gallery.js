
// ── the gallery: filters and cards ──

const BATCH = 60; // cards added at a time
const CARD = 112; // pixels of a card's map
const FIRST = 12; // cards drawn at once
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const { views, pictures, findings } = data;

const KINDS = {
  target: `Explained ${data.columns[0]}`,
  predicted: "Prediction",
  label: "Label",
};

const state = {
  kind: "",
  view: 0,
  compare: data.sides,
  text: "",
  name: "",
  tags: new Set(),
  finding: null,
  fact: "",
  least: null,
  most: null,
  sort: "",
  down: true,
};

// ── the class of a picture whose map is shown ──

// Places of the classes, most probable first; in the given order if there are no probabilities.
function ranked(picture) {
  const places = picture.classes.map((_, place) => place);
  if (picture.classes.some((shown) => shown.probability === null)) return places;
  const of = (place) => picture.classes[place].probability;
  return places.sort((one, two) => of(two) - of(one));
}

// The place of the chosen class; -1 if the picture does not have it.
function placeOf(picture, kind) {
  if (!Object.hasOwn(KINDS, kind)) return ranked(picture)[Number(kind)] ?? -1;
  return picture.classes.findIndex((shown) => shown.roles.includes(kind));
}

// The caption of a picture that does not have the chosen class.
function missing(picture, kind) {
  const role = picture.classes.length && Object.hasOwn(KINDS, kind);
  return role ? `no ${KINDS[kind].toLowerCase()}` : "no map";
}

// ── filtering and sorting ──

const haystacks = new Map();

function haystack(picture) {
  if (!haystacks.has(picture)) {
    const names = picture.classes.map((shown) => shown.name);
    haystacks.set(picture, [picture.name, ...names].join("\n").toLowerCase());
  }
  return haystacks.get(picture);
}

// The classes to filter a picture by: those with a role, or all if none has one.
function namesOf(picture) {
  const known = picture.classes.filter((shown) => shown.roles.length);
  return new Set((known.length ? known : picture.classes).map((shown) => shown.name));
}

function factOf(picture, name) {
  return Object.hasOwn(picture.facts, name) ? picture.facts[name] : null;
}

function inRange(picture) {
  if (state.least === null && state.most === null) return true;
  const value = factOf(picture, state.fact);
  if (value === null) return false;
  return !(state.least !== null && value < state.least) && !(state.most !== null && value > state.most);
}

function matches(picture, place) {
  return (
    (state.finding === null || chosenPlaces().has(place)) &&
    (!state.text || haystack(picture).includes(state.text)) &&
    (!state.name || namesOf(picture).has(state.name)) &&
    [...state.tags].every((tag) => picture.tags.includes(tag)) &&
    inRange(picture)
  );
}

const placesOfFindings = new Map();

function chosenPlaces() {
  if (!placesOfFindings.has(state.finding)) {
    placesOfFindings.set(state.finding, new Set(findings[state.finding].places));
  }
  return placesOfFindings.get(state.finding);
}

function sorted(places) {
  if (!state.sort) return places;
  const value = (place) => factOf(pictures[place], state.sort);
  const known = places.filter((place) => value(place) !== null);
  const direction = state.down ? -1 : 1;
  known.sort((one, two) => direction * (value(one) - value(two)) || one - two);
  return [...known, ...places.filter((place) => value(place) === null)];
}

// ── cards ──

const gallery = byId("gallery");
let shownPlaces = [];
let cardCount = 0;
let current = 0; // the card in the tab order

// The roles to show: "target" is left out if the class is the label or the prediction.
function shownRoles(shown) {
  const roles = shown.roles.filter((role) => role !== "target");
  return roles.length ? roles : shown.roles;
}

function cardFigure(picture) {
  const place = placeOf(picture, state.kind);
  const shown = picture.classes[place];
  const box = frame(picture, describe(picture, shown));
  const mapRemark = fill(box, picture, shown?.maps[state.view], CARD);
  outline(box, shown);
  const remark = shown ? mapRemark : missing(picture, state.kind);
  const caption = make("span", "caption");
  if (shown) caption.append(classLine(shown), badges(shownRoles(shown)));
  if (remark) caption.append(make("span", "quiet", remark));
  return make("span", "one", box, caption);
}

// The sides of a comparison, or the label, prediction and contrast, if the picture has them.
function wideFigure(picture) {
  if (picture.sides) return sideBySide(picture, views, placeOf(picture, state.kind), CARD);
  return picture.contrast === null ? cardFigure(picture) : trio(picture, state.view, CARD);
}

function draw(card) {
  const picture = pictures[Number(card.dataset.place)];
  const button = card.querySelector(".open");
  button.replaceChildren(state.compare ? wideFigure(picture) : cardFigure(picture));
  card.classList.add("drawn");
  delete card.dataset.stale;
}

function factLine(picture) {
  if (!state.sort) return null;
  return make("p", "fact", `${state.sort} `, make("b", "", numberText(factOf(picture, state.sort))));
}

function card(place, index) {
  const picture = pictures[place];
  const button = make("button", "open");
  button.type = "button";
  button.tabIndex = index === current ? 0 : -1;
  const name = make("p", "name", picture.name.split("/").pop());
  name.title = picture.name;
  const marks = make("p", "tagline", ...picture.tags.map((tag) => make("span", "tag", tag)));
  const item = make("li", "card", button, name, factLine(picture), picture.tags.length ? marks : null);
  item.dataset.place = place;
  item.dataset.stale = "";
  button.addEventListener("click", () => open(Number(item.dataset.index)));
  button.addEventListener("focus", () => settle(Number(item.dataset.index)));
  item.dataset.index = index;
  return item;
}

// Cards are drawn when they come near the viewport, and redrawn there after a change.
const near = new Set();
const watch = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) near.delete(target);
      else {
        near.add(target);
        if ("stale" in target.dataset) draw(target);
      }
    }
  },
  { rootMargin: "300px" },
);

// Draw the first cards at once. The performance mark is set when they are visible.
function drawFirst() {
  const first = [...gallery.children].slice(0, FIRST);
  first.forEach(draw);
  const photos = first.flatMap((item) => [...item.querySelectorAll("img")]);
  Promise.allSettled(photos.map((photo) => photo.decode())).then(() => {
    requestAnimationFrame(() => performance.mark("first-cards"));
  });
}

function repaint() {
  gallery.classList.toggle("wide", state.compare);
  for (const item of gallery.children) item.dataset.stale = "";
  for (const item of near) draw(item);
}

function addCards() {
  const end = Math.min(cardCount + BATCH, shownPlaces.length);
  const cards = [];
  for (; cardCount < end; cardCount += 1) cards.push(card(shownPlaces[cardCount], cardCount));
  gallery.append(...cards);
  for (const item of cards) watch.observe(item);
  byId("more").hidden = cardCount >= shownPlaces.length;
}

// ── the filtered gallery ──

function filtered() {
  return (
    state.text || state.name || state.tags.size || state.finding !== null ||
    state.least !== null || state.most !== null
  );
}

function showCounts() {
  const all = pictures.length.toLocaleString("en");
  const some = shownPlaces.length.toLocaleString("en");
  byId("count").textContent = filtered() ? `${some} of ${all} pictures` : `All ${all} pictures`;
  byId("clear").hidden = !filtered() || !shownPlaces.length;
  byId("none").hidden = shownPlaces.length > 0;
  const leave = byId("leave-finding");
  leave.hidden = state.finding === null;
  if (state.finding !== null) leave.textContent = `Finding: ${findings[state.finding].name} ✕`;
  for (const button of document.querySelectorAll("[data-finding]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.finding) === state.finding));
  }
}

function refresh() {
  const places = pictures.map((_, place) => place);
  shownPlaces = sorted(places.filter((place) => matches(pictures[place], place)));
  watch.disconnect();
  near.clear();
  gallery.replaceChildren();
  cardCount = 0;
  current = 0;
  addCards();
  showCounts();
}

function clear() {
  Object.assign(state, { text: "", name: "", finding: null, least: null, most: null });
  state.tags.clear();
  for (const id of ["text", "class", "least", "most"]) byId(id).value = "";
  for (const button of byId("tags").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", "false");
  }
  refresh();
  byId(byId("filters").open ? "text" : "count").focus(); // the pressed button is hidden now
}

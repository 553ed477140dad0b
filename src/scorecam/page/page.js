
// ── the page: keyboard, dialog, controls ──

// ── moving between cards by keyboard ──

const opener = (index) => gallery.children[index]?.querySelector(".open");

function settle(index) {
  const before = opener(current);
  if (before) before.tabIndex = -1;
  current = index;
  opener(index).tabIndex = 0;
}

function moveTo(index) {
  const place = Math.min(Math.max(index, 0), shownPlaces.length - 1);
  while (place >= cardCount) addCards();
  opener(place)?.focus();
}

function columns() {
  return getComputedStyle(gallery).gridTemplateColumns.split(" ").length;
}

const STEPS = {
  ArrowLeft: () => current - 1,
  ArrowRight: () => current + 1,
  ArrowUp: () => current - columns(),
  ArrowDown: () => current + columns(),
  Home: () => 0,
  End: () => shownPlaces.length - 1,
};

// Whether a key is pressed without modifiers, which belong to the browser.
const alone = (event) => !(event.ctrlKey || event.altKey || event.metaKey || event.shiftKey);

function onArrow(event) {
  if (!(event.key in STEPS) || !alone(event)) return;
  event.preventDefault();
  const index = STEPS[event.key]();
  if (index >= 0 && index < shownPlaces.length) moveTo(index);
}

// ── the dialog ──

const dialog = byId("dialog");
const content = byId("detail");
let opened = 0;

function open(index) {
  show(index);
  if (!leaving) remember();
}

function show(index) {
  opened = index;
  while (index >= cardCount) addCards();
  const picture = pictures[shownPlaces[index]];
  const { kind, view } = state;
  const focused = document.activeElement;
  const lost = !dialog.open || content.contains(focused); // the focused element is replaced
  const place = placeOf(picture, kind);
  content.replaceChildren(detail(picture, views, place, view, missing(picture, kind)));
  byId("previous").setAttribute("aria-disabled", String(index === 0));
  byId("next").setAttribute("aria-disabled", String(index === shownPlaces.length - 1));
  const name = make("span", "hidden", `: ${picture.name}`);
  byId("place").replaceChildren(`${index + 1} of ${shownPlaces.length}`, name);
  if (!dialog.open) dialog.showModal();
  content.scrollTop = 0;
  if (lost) (content.querySelector(`[data-pick="${focused.dataset.pick}"]`) ?? content).focus();
}

function turn(step) {
  const index = opened + step;
  if (index >= 0 && index < shownPlaces.length) show(index);
}

// ── the browser's history: Back closes the dialog ──

let leaving = false; // the dialog was closed, and its history entry is about to be left

const remembered = () => history.state?.picture !== undefined;

function remember() {
  history.scrollRestoration = "manual"; // closing scrolls to the current card
  const entry = { picture: shownPlaces[opened] };
  if (remembered()) history.replaceState(entry, "");
  else history.pushState(entry, "");
}

function forget() {
  if (dialog.open) return; // reopened in the meantime
  moveTo(opened);
  leaving = remembered();
  if (leaving) history.back();
}

// Back closes the dialog; Forward and reloading open it again.
function follow() {
  const index = shownPlaces.indexOf(history.state?.picture);
  if (index >= 0) show(index);
  else dialog.close();
}

function onHistory() {
  if (!leaving) follow();
  else if (dialog.open) remember(); // reopened in the meantime
  leaving = false;
  if (!dialog.open) history.scrollRestoration = "auto";
}

function listenToDialog() {
  byId("close").addEventListener("click", () => dialog.close());
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // a click outside the dialog
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft" && alone(event)) turn(-1);
    if (event.key === "ArrowRight" && alone(event)) turn(1);
  });
  dialog.addEventListener("close", forget);
  window.addEventListener("popstate", onHistory);
}

// ── controls ──

function choices(select, rows) {
  select.replaceChildren(
    ...rows.map(([value, text]) => {
      const option = make("option", "", text);
      option.value = value;
      return option;
    }),
  );
}

function hideControl(id) {
  byId(id).closest(".control, fieldset").hidden = true;
}

function setKinds() {
  const roles = new Set(pictures.flatMap((p) => p.classes.flatMap((shown) => shown.roles)));
  const mostClasses = pictures.reduce((most, { classes }) => Math.max(most, classes.length), 0);
  const rows = Object.entries(KINDS).filter(([role]) => roles.has(role));
  const ranks = ["Highest score", "2nd highest", "3rd highest", "4th highest", "5th highest"];
  rows.push(...ranks.slice(0, mostClasses).map((text, rank) => [String(rank), text]));
  choices(byId("kind"), rows);
  state.kind = rows[0]?.[0] ?? "0";
  if (!rows.length) hideControl("kind");
}

// Choose the class with a role, if it can be chosen.
function chooseKind(role) {
  const select = byId("kind");
  if (![...select.options].some((option) => option.value === role)) return;
  select.value = role;
  state.kind = role;
}

function setViews() {
  choices(byId("view"), views.map((view, place) => [String(place), view]));
  if (!views.length) hideControl("view");
  if (data.sides) {
    byId("compare").checked = true;
    byId("compare-text").textContent = "All sides next to each other";
    gallery.classList.add("wide");
  } else if (!pictures.some((picture) => picture.contrast)) hideControl("compare");
}

function listenToTools() {
  const style = document.documentElement.style;
  byId("opacity").addEventListener("input", (event) => {
    style.setProperty("--opacity", String(Number(event.target.value) / 100));
  });
  byId("map").addEventListener("change", (event) => {
    document.body.classList.toggle("no-map", !event.target.checked);
    byId("opacity").disabled = !event.target.checked;
  });
  byId("kind").addEventListener("change", (event) => {
    state.kind = event.target.value;
    repaint();
  });
  byId("view").addEventListener("change", (event) => {
    state.view = Number(event.target.value);
    repaint();
  });
  byId("compare").addEventListener("change", (event) => {
    state.compare = event.target.checked;
    repaint();
  });
}

function counted(lists) {
  const counts = new Map();
  for (const names of lists) {
    for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts];
}

function setFilters() {
  const names = counted(pictures.map(namesOf)).sort(([one], [two]) => one.localeCompare(two));
  choices(byId("class"), [["", `All ${data.columns[1]}`], ...names.map(([name, n]) => [name, `${isolated(name)} (${n})`])]);
  const facts = [...new Set(pictures.flatMap((picture) => Object.keys(picture.facts)))];
  choices(byId("sort"), [["", "As listed"], ...facts.map((fact) => [fact, fact])]);
  choices(byId("fact"), facts.map((fact) => [fact, fact]));
  state.fact = facts[0] ?? "";
  byId("order").disabled = true;
  if (!facts.length) for (const id of ["sort", "order", "range"]) hideControl(id);
  const tags = counted(pictures.map((picture) => picture.tags));
  byId("tags").append(...tags.map(([tag, count]) => tagButton(tag, count)));
  if (!tags.length) hideControl("tags");
  if (window.matchMedia("(max-width: 640px)").matches) byId("filters").open = false;
}

function tagButton(tag, count) {
  const button = make("button", "tag", make("bdi", "", tag), " ", make("span", "quiet", String(count)));
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const on = !state.tags.delete(tag);
    if (on) state.tags.add(tag);
    button.setAttribute("aria-pressed", String(on));
    refresh();
  });
  return button;
}

function onChange(id, event, change) {
  byId(id).addEventListener(event, () => {
    change(byId(id).value);
    refresh();
  });
}

const numberOrNull = (text) => (text.trim() === "" || Number.isNaN(Number(text)) ? null : Number(text));

function listenToFilters() {
  onChange("text", "input", (value) => { state.text = value.trim().toLowerCase(); });
  onChange("class", "change", (value) => { state.name = value; });
  onChange("fact", "change", (value) => { state.fact = value; });
  onChange("least", "input", (value) => { state.least = numberOrNull(value); });
  onChange("most", "input", (value) => { state.most = numberOrNull(value); });
  onChange("order", "change", (value) => { state.down = value === "down"; });
  onChange("sort", "change", (value) => {
    state.sort = value;
    byId("order").disabled = !value;
  });
  byId("clear").addEventListener("click", clear);
  byId("clear-none").addEventListener("click", clear);
  onChange("leave-finding", "click", () => { state.finding = null; });
  byId("leave-finding").addEventListener("click", () => byId("count").focus()); // the pressed button is hidden now
}

function listenToFindings() {
  for (const button of document.querySelectorAll("[data-finding]")) {
    button.addEventListener("click", () => {
      const finding = Number(button.dataset.finding);
      state.finding = state.finding === finding ? null : finding;
      if (state.finding !== null) chooseKind(findings[finding].role);
      refresh();
      if (state.finding === null) return;
      byId("count").scrollIntoView();
      byId("leave-finding").focus({ preventScroll: true });
    });
  }
}

// ── start ──

function showMany() {
  setKinds();
  setViews();
  setFilters();
  listenToTools();
  listenToFilters();
  listenToFindings();
  listenToDialog();
  gallery.addEventListener("keydown", onArrow);
  byId("more").addEventListener("click", () => {
    const index = cardCount;
    addCards();
    moveTo(index);
  });
  new IntersectionObserver(
    ([{ isIntersecting }]) => { if (isIntersecting && !byId("more").hidden) addCards(); },
    { rootMargin: "600px" },
  ).observe(byId("more"));
  refresh();
  drawFirst();
  follow();
}

function showOne() {
  document.body.classList.add("single");
  listenToTools();
  const picture = pictures[0];
  const kind = Object.keys(KINDS).find((role) => roleOf(picture, role)) ?? "0";
  byId("alone").append(detail(picture, views, placeOf(picture, kind), 0));
  byId("alone").hidden = false;
  gallery.hidden = true;
  for (const button of document.querySelectorAll("[data-finding]")) button.hidden = true;
  performance.mark("first-cards");
}

if (pictures.length) paintScale(byId("scale"));
if (pictures.length === 1) showOne();
else if (pictures.length > 1) showMany();

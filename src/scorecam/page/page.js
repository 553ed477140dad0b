
// ── the page: keyboard, dialog, controls ──

// ── from card to card by keyboard ──

const opener = (index) => gallery.children[index]?.querySelector(".open");

function settle(index) {
  const before = opener(current);
  if (before) before.tabIndex = -1;
  current = index;
  opener(index).tabIndex = 0;
}

function moveTo(index) {
  const place = Math.min(Math.max(index, 0), shownPlaces.length - 1);
  while (place >= made) addCards();
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

function onArrow(event) {
  if (!(event.key in STEPS) || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  const index = STEPS[event.key]();
  if (index >= 0 && index < shownPlaces.length) moveTo(index);
}

// ── the dialog ──

const dialog = byId("dialog");
let opened = 0;

function open(index) {
  opened = index;
  const picture = pictures[shownPlaces[index]];
  byId("detail").replaceChildren(detail(picture, views, placeOf(picture, state.kind), state.view));
  byId("previous").disabled = index === 0;
  byId("next").disabled = index === shownPlaces.length - 1;
  byId("place").textContent = `${index + 1} of ${shownPlaces.length}`;
  if (!dialog.open) dialog.showModal();
  byId("detail").scrollTop = 0;
}

function turn(step) {
  const index = opened + step;
  if (index < 0 || index >= shownPlaces.length) return;
  while (index >= made) addCards();
  open(index);
}

function listenToDialog() {
  byId("close").addEventListener("click", () => dialog.close());
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
  });
  dialog.addEventListener("close", () => moveTo(opened));
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
  const most = pictures.reduce((sofar, { classes }) => Math.max(sofar, classes.length), 0);
  const rows = Object.entries(KINDS).filter(([role]) => roles.has(role));
  const ranks = ["Largest class", "2nd largest", "3rd largest", "4th largest", "5th largest"];
  rows.push(...ranks.slice(0, most).map((text, rank) => [String(rank), text]));
  choices(byId("kind"), rows);
  state.kind = rows[0]?.[0] ?? "0";
  if (!rows.length) hideControl("kind");
}

function setViews() {
  choices(byId("view"), views.map((view, place) => [String(place), view]));
  if (!views.length) hideControl("view");
  if (!pictures.some((picture) => picture.contrast)) hideControl("beside");
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
  byId("beside").addEventListener("change", (event) => {
    state.beside = event.target.checked;
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
  choices(byId("class"), [["", "All classes"], ...names.map(([name, n]) => [name, `${name} (${n})`])]);
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
  const button = make("button", "tag", `${tag} `, make("span", "quiet", String(count)));
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
  onChange("unfind", "click", () => { state.finding = null; });
}

function listenToFindings() {
  for (const button of document.querySelectorAll("[data-finding]")) {
    button.addEventListener("click", () => {
      const finding = Number(button.dataset.finding);
      state.finding = state.finding === finding ? null : finding;
      refresh();
      if (state.finding === null) return;
      byId("count").scrollIntoView();
      byId("unfind").focus({ preventScroll: true });
    });
  }
}

// ── beginning ──

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
    const index = made;
    addCards();
    moveTo(index);
  });
  new IntersectionObserver(
    ([{ isIntersecting }]) => { if (isIntersecting && !byId("more").hidden) addCards(); },
    { rootMargin: "600px" },
  ).observe(byId("more"));
  refresh();
  drawFirst();
}

function showOne() {
  document.body.classList.add("single");
  listenToTools();
  const picture = pictures[0];
  const kind = Object.keys(KINDS).find((role) => roleOf(picture, role)) ?? "0";
  const alone = byId("alone");
  alone.append(detail(picture, views, placeOf(picture, kind), 0));
  alone.hidden = false;
  gallery.hidden = true;
  for (const button of document.querySelectorAll("[data-finding]")) button.hidden = true;
  performance.mark("first-cards");
}

if (pictures.length) paintScale(byId("scale"));
if (pictures.length === 1) showOne();
else if (pictures.length > 1) showMany();

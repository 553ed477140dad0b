
// ── detail: everything about one picture, in the dialog or on a page of its own ──

function roleOf(picture, role) {
  return picture.classes.find((shown) => shown.roles.includes(role)) ?? null;
}

// The text alternative of a picture with the map of a class.
function describe(picture, shown) {
  return shown ? `${isolated(picture.name)}: ${classText(shown)}` : picture.name;
}

// A picture with a map and a caption.
function figure(picture, title, text, side, ...under) {
  const box = frame(picture, `${isolated(picture.name)}: ${title}`);
  const remark = fill(box, picture, text, side);
  const caption = make("figcaption", "", ...under);
  if (remark) caption.append(make("span", "quiet", remark));
  return make("figure", "", box, caption);
}

function classCaption(shown, what) {
  return [make("span", "what", what), classLine(shown)];
}

// Label (or explained class), prediction and contrast, side by side.
function trio(picture, view, side) {
  const row = make("div", "trio");
  const first = roleOf(picture, "label");
  const known = [
    first ? [first, "label"] : [roleOf(picture, "target"), "explained"],
    [roleOf(picture, "predicted"), "prediction"],
  ];
  const added = new Set([null]);
  for (const [shown, what] of known) {
    if (added.has(shown)) continue;
    added.add(shown);
    const title = `${what}, ${classText(shown)}`;
    const drawn = figure(picture, title, shown.maps[view], side, ...classCaption(shown, what));
    outline(drawn.firstChild, shown);
    row.append(drawn);
  }
  if (picture.contrast) {
    const { name, map } = picture.contrast;
    const caption = [make("span", "what", "contrast"), make("b", "", make("bdi", "", name))];
    row.append(figure(picture, `contrast, ${name}`, map, side, ...caption));
  }
  return row;
}

// The class of a picture that a side explains: the chosen one, or else one with a map of that side.
function explained(picture, view, place) {
  const chosen = picture.classes[place];
  return chosen?.maps[view] ? chosen : picture.classes.find((shown) => shown.maps[view]);
}

// The maps of all sides of a comparison, side by side, with what each side predicts.
function sideBySide(picture, views, place, side) {
  const row = make("div", "sides");
  views.forEach((name, view) => {
    const prediction = picture.sides[view];
    if (prediction === null) return;
    const shown = explained(picture, view, place);
    const caption = [make("span", "what", name), make("b", "", make("bdi", "", prediction))];
    const other = shown && place >= 0 && shown !== picture.classes[place];
    if (other) caption.push(make("span", "quiet", `map of ${shown.name}`));
    const title = `${name} predicts ${prediction}`;
    const drawn = figure(picture, title, shown?.maps[view], side, ...caption);
    outline(drawn.firstChild, shown);
    row.append(drawn);
  });
  return row;
}

// All classes × views as small maps; each is a button that shows the large map.
function table(picture, views, choose) {
  const head = make("tr", "", make("td", ""));
  for (const view of views) {
    const cell = make("th", "", view);
    cell.scope = "col";
    head.append(cell);
  }
  const body = make("tbody", "");
  picture.classes.forEach((shown, place) => {
    const name = make("th", "", make("span", "", make("bdi", "", shown.name)));
    name.scope = "row";
    const value = valueText(shown);
    if (value) name.append(make("span", "quiet", value));
    name.append(badges(shown.roles));
    const row = make("tr", "", name);
    views.forEach((view, column) => {
      row.append(make("td", "", mapButton(picture, [place, column], view, choose)));
    });
    body.append(row);
  });
  const maps = make("table", "maps", make("thead", "", head), body);
  return make("div", "scroll", maps);
}

function mapButton(picture, [place, column], view, choose) {
  const shown = picture.classes[place];
  const text = shown.maps[column];
  if (!text) return make("span", "quiet", "no map");
  const box = frame(picture, "");
  const remark = fill(box, picture, text, 64);
  outline(box, shown);
  const button = make("button", "pick", box);
  button.type = "button";
  button.dataset.pick = `${place} ${column}`;
  button.setAttribute("aria-label", `Show ${classText(shown)}, ${view}${remark ? `, ${remark}` : ""}`);
  button.addEventListener("click", () => choose(place, column));
  return button;
}

function channelList(picture) {
  const list = make("ul", "channels");
  for (const channel of picture.channels) {
    const share = channel.share === null ? "" : `${(100 * channel.share).toFixed(1)} %`;
    const title = `${channel.name}, ${share} of the weights`;
    const caption = [make("b", "", channel.name), make("span", "quiet", share)];
    list.append(make("li", "", figure(picture, title, channel.map, 96, ...caption)));
  }
  return list;
}

function factTable(picture) {
  const body = make("tbody", "");
  for (const [name, value] of Object.entries(picture.facts)) {
    const head = make("th", "", name);
    head.scope = "row";
    body.append(make("tr", "", head, make("td", value === null ? "quiet" : "", numberText(value))));
  }
  return make("table", "facts", body);
}

function part(title, content, ...more) {
  return make("section", "part", make("h3", "", title), content, ...more);
}

// The large picture with its caption, and a function that shows a class and view in it. `missing` is
// the caption if there is no such class.
function largePicture(picture, views, missing) {
  const box = frame(picture, picture.name);
  const caption = make("figcaption", "");
  const large = make("figure", "large", box, caption);
  const choose = (place, column) => {
    const shown = picture.classes[place];
    const remark = fill(box, picture, shown?.maps[column], 384);
    outline(box, shown);
    const described = describe(picture, shown);
    const image = box.querySelector("img");
    if (image) image.alt = described;
    else box.querySelector(".tile").setAttribute("aria-label", described);
    caption.replaceChildren();
    if (shown) caption.append(classLine(shown), badges(shown.roles));
    const how = shown ? [views[column], remark].filter(Boolean).join(", ") : missing;
    if (how) caption.append(make("span", "quiet", how));
    const root = large.closest(".detail");
    for (const button of root?.querySelectorAll("[data-pick]") ?? []) {
      const chosen = button.dataset.pick === `${place} ${column}`;
      button.setAttribute("aria-pressed", String(chosen));
    }
  };
  return { large, choose };
}

// Everything known about one picture. The large picture shows class `place` and view `column`, or the
// caption `missing`.
function detail(picture, views, place, column, missing = "") {
  const title = make("h2", "name", picture.name);
  title.id = "detail-title";
  const { large, choose } = largePicture(picture, views, missing);
  const aside = make("div", "aside", title);
  if (picture.tags.length) {
    aside.append(make("p", "tagline", ...picture.tags.map((tag) => make("span", "tag", tag))));
  }
  if (picture.words.length) {
    const words = make("ul", "words", ...picture.words.map((word) => make("li", "", word)));
    aside.append(part("Notes", words));
  }
  if (Object.keys(picture.facts).length) aside.append(part("Numbers", factTable(picture)));
  const root = make("div", "detail", make("div", "top", large, aside));
  const parts = make("div", "parts");
  if (picture.sides) {
    const compared = part("Side by side", sideBySide(picture, views, place, 224));
    compared.classList.add("compared");
    parts.append(compared);
  }
  if (picture.classes.length && views.length) {
    parts.append(part(`All ${data.columns[1]} and maps`, table(picture, views, choose)));
  }
  if (picture.contrast) {
    const contrast = part("Side by side", trio(picture, column, 224));
    contrast.classList.add("contrast");
    parts.append(contrast);
  }
  if (parts.children.length) root.append(parts);
  if (picture.channels.length) {
    const hint = make("p", "quiet", "Each channel's share of the weights, and where it is active.");
    root.append(part("Channels with the largest weights", hint, channelList(picture)));
  }
  choose(place, column);
  return root;
}

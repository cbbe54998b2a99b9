// A click on a column's name sorts its table; a second click turns the order round.
for (const table of document.querySelectorAll("table.sortable")) {
  for (const [column, button] of table.querySelectorAll("thead th button").entries()) {
    button.addEventListener("click", () => {
      const header = button.parentElement, body = table.tBodies[0];
      const down = header.getAttribute("aria-sort") === "ascending";
      for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = row => row.children[column].dataset.value;
      const order = column ? (a, b) => value(a) - value(b) : (a, b) => value(a).localeCompare(value(b));
      body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * order(a, b)));
    });
  }
}

// The map: pointing at a clip, or walking with the arrow keys, tells what it is; a class can be brought out.
const map = document.querySelector("#map");
if (map) {
  const points = [...map.querySelectorAll(".point")];
  const says = document.querySelector("#map-says"), ring = map.querySelector(".ring");
  const at = point => [Number(point.getAttribute("cx")), Number(point.getAttribute("cy"))];
  let current = null;
  const show = point => {
    current = point;
    const [x, y] = at(point), { clip, truth, heard } = point.dataset;
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    ring.removeAttribute("hidden");
    const parts = [["b", clip], ["span", `is ${truth || "none of the classes"}`], ["span", `heard as ${heard || "none of them"}`]];
    says.replaceChildren(...parts.map(([tag, text]) => Object.assign(document.createElement(tag), { textContent: text })));
    says.classList.toggle("wrong", point.classList.contains("miss"));
  };
  for (const kind of ["pointerover", "click"])
    map.addEventListener(kind, event => event.target.classList.contains("point") && show(event.target));
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  map.addEventListener("keydown", event => {
    const way = ways[event.key];
    if (!way) return;
    event.preventDefault();
    if (!current) return show(points[0]);
    const [x, y] = at(current);
    let best = null, least = Infinity;
    for (const point of points) {
      if (point.classList.contains("dim")) continue;
      const [px, py] = at(point), ahead = (px - x) * way[0] + (py - y) * way[1];
      const aside = Math.abs((px - x) * way[1]) + Math.abs((py - y) * way[0]);
      if (ahead > 0 && ahead + 2 * aside < least) [best, least] = [point, ahead + 2 * aside];
    }
    if (best) show(best);
  });
  map.addEventListener("focus", () => current || show(points[0]));
  const bringOut = chosen => {
    for (const point of points)
      point.classList.toggle("dim", chosen !== "" && !point.dataset.classes.split(" ").includes(chosen));
    map.classList.toggle("choosing", chosen !== "");
  };
  const buttons = [...document.querySelectorAll("#map-classes button")];
  for (const button of buttons)
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      for (const other of buttons) other.setAttribute("aria-pressed", String(on && other === button));
      bringOut(on ? button.value : "");
    });
  document.querySelector("#map-class")?.addEventListener("change", event => bringOut(event.target.value));
}

// A line runs over the picture while its clip plays; a click on the picture plays from there.
for (const card of document.querySelectorAll(".mistake")) {
  const audio = card.querySelector("audio"), picture = card.querySelector(".picture"), line = card.querySelector(".playhead");
  if (!audio) continue;
  const length = Number(audio.dataset.seconds);
  const follow = () => {
    line.style.left = `${Math.min(100, 100 * audio.currentTime / length)}%`;
    if (!audio.paused) requestAnimationFrame(follow);
  };
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    line.hidden = false;
    follow();
  });
  audio.addEventListener("seeked", follow);
  picture.addEventListener("click", event => {
    const box = picture.getBoundingClientRect();
    audio.currentTime = length * (event.clientX - box.left) / box.width;
    audio.play();
  });
}

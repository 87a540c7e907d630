// Explanations that appear beside what they explain: at a click on a badge, else when the mouse rests or the keyboard stops on it.

const REST_MS = 350; // the mouse crosses many things on its way to one
const tip = make("div", { id: "tip", role: "tooltip", hidden: true });
const explanations = new WeakMap(); // element -> [title, text]
let explained = null, resting = 0, isPinned = false;

/** The same element, with an explanation. */
function withTip(node, title, text) {
  if (!text && !title) return node;
  explanations.set(node, [title, text]);
  node.setAttribute("data-tip", "");
  return node;
}

function showTip(node) {
  const [title, text] = explanations.get(node);
  hideTip();
  explained = node;
  tip.replaceChildren(...(title ? [make("strong", {}, title)] : []), ...(text ? [make("p", {}, text)] : []));
  tip.hidden = false;
  node.setAttribute("aria-describedby", "tip");
  const at = node.getBoundingClientRect(), own = tip.getBoundingClientRect(), gap = 8;
  const isBelow = at.bottom + gap + own.height < innerHeight || at.top < own.height + gap;
  tip.style.left = `${Math.max(gap, Math.min(at.left, innerWidth - own.width - gap))}px`;
  tip.style.top = `${Math.max(gap, isBelow ? at.bottom + gap : at.top - own.height - gap)}px`;
}

function hideTip() {
  clearTimeout(resting);
  explained?.removeAttribute("aria-describedby");
  explained = null;
  isPinned = false;
  tip.hidden = true;
}

function startTips() {
  document.body.append(tip);
  const under = (event) => event.target.closest?.("[data-tip]");
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse" || isPinned) return;
    const node = under(event);
    clearTimeout(resting);
    if (node && node !== explained) resting = setTimeout(() => showTip(node), REST_MS);
    else if (!node && explained && !tip.contains(event.target)) hideTip();
  });
  document.addEventListener("focusin", (event) => {
    const node = under(event);
    if (node && node === event.target && node.matches(":focus-visible")) showTip(node);
    else if (explained && !isPinned) hideTip();
  });
  document.addEventListener("click", (event) => {
    const node = under(event), wasPinned = isPinned && node === explained;
    if (tip.contains(event.target)) return;
    if (node && !wasPinned && (node.matches(".badge") || event.pointerType === "touch")) {
      showTip(node);
      isPinned = true;
    } else hideTip();
  });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
  addEventListener("scroll", () => explained && !isPinned && hideTip(), { passive: true });
}

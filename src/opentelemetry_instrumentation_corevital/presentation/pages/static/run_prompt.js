// Who looked at which token of the prompt: the largest attention weights of the prompt's last token.

import { element, readData } from "./page.js";

/** Let a reader choose a head, and see its tokens; or a token, and see the heads. */
export function mountPrompt() {
  const kept = readData("prompt-data");
  const byId = (id) => document.getElementById(id);
  const parts = { layer: byId("prompt-layer"), head: byId("prompt-head"), token: byId("prompt-token") };
  const showHead = () => {
    const [layer, head] = [Number(parts.layer.value), Number(parts.head.value)];
    const tokens = kept.index[layer]?.[head] ?? [];
    const rows = tokens.flatMap((token, rank) => token < 0 ? [] : [row(`token ${token}`, kept.weight[layer][head][rank])]);
    fill(byId("prompt-of-head"), rows, "Nothing is stored of this head.");
  };
  const showToken = () => {
    const token = Number(parts.token.value);
    const found = kept.index.flatMap((heads, layer) => heads.flatMap((tokens, head) => {
      const rank = tokens.indexOf(token);
      return rank < 0 ? [] : [{ layer, head, weight: kept.weight[layer][head][rank] }];
    })).sort((a, b) => b.weight - a.weight);
    const rows = found.slice(0, 20).map((each) => row(`layer ${each.layer}, head ${each.head}`, each.weight));
    fill(byId("prompt-of-token"), rows, "No head has it among its 8 largest weights.");
    byId("prompt-token-count").textContent = found.length > rows.length ? `The first ${rows.length} of ${found.length} heads.` : "";
  };
  parts.layer.addEventListener("input", showHead);
  parts.head.addEventListener("input", showHead);
  parts.token.addEventListener("input", showToken);
  showHead();
  showToken();
}

function row(name, weight) {
  const bar = element("meter", { min: "0", max: "1", value: String(weight), "aria-label": name });
  return element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "factor-bar" }, bar), element("td", { class: "num" }, weight.toFixed(3)));
}

function fill(body, rows, otherwise) {
  body.replaceChildren(...(rows.length ? rows : [element("tr", {}, element("td", {}, otherwise))]));
}

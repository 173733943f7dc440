const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)").matches;
const buttons = [["toImage", "zoom2d", "pan2d", "resetScale2d"]];
const printedWidth = 680;

function place(id, figure, printed) {
  const template = figures.themes[dark.matches && !printed ? "dark" : "light"];
  // A finger that scrolls the page must not zoom the figure.
  const layout = { ...figure.layout, template, dragmode: touch ? false : "zoom", width: printed ? printedWidth : undefined };
  const modeBarButtons = figure.layout.scene ? [["toImage"]] : buttons;
  Plotly.react(id, figure.data, layout, { responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover", modeBarButtons });
}

const current = {}; // by the name of a figure: what its section has it show now, where that is not for a switch to say

function draw(name, printed) {
  const chosen = document.querySelector(`input[name="${name}"]:checked, select[name="${name}"]`);
  const which = chosen ? Number(chosen.value) : 0;
  place(`figure-${name}`, current[name] ? current[name]() : figures.drawn[name][which], printed);
  for (const caption of document.querySelectorAll(`#figure-${name} + figcaption > [data-choice]`)) caption.hidden = Number(caption.dataset.choice) !== which;
}

function drawAll(printed) {
  for (const name of Object.keys(figures.drawn)) draw(name, printed);
}

for (const choice of document.querySelectorAll("figure input[type=radio], figure select")) choice.addEventListener("change", () => draw(choice.name, false));

// A function that draws all figures, for the screen or for paper.
function redrawing(all) {
  all(false);
  dark.addEventListener("change", () => all(false));
  addEventListener("beforeprint", () => all(true));
  addEventListener("afterprint", () => all(false));
}

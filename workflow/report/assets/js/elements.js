// Elements are built from nodes and text, never from markup, so no value is parsed.

const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return fill(
    document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

const DASH = "–";

function formatNumber(value, digits = 0) {
  if (value === null || value === undefined) return DASH;
  // No one can read nineteen digits of an energy.
  if (Math.abs(value) >= 1e9) {
    const [mantissa, power] = Number(value).toExponential(1).split("e+");
    return `${mantissa} × 10^${power}`;
  }
  return Number(value).toLocaleString("en-GB", {
    minimumFractionDigits: digits, maximumFractionDigits: digits,
  });
}

function formatValue(value, field) {
  if (value === null || value === undefined || value === "") return DASH;
  if (field.kind === "number") return formatNumber(value, field.digits);
  if (field.kind === "flag") return value ? "yes" : "no";
  return String(value).replaceAll("_", " ");
}

// AlphaFold's four bands of pLDDT, best first.
const PLDDT_BANDS = [
  { from: 90, colour: "#0053d6", label: "Very high, 90 and above" },
  { from: 70, colour: "#65cbf3", label: "Confident, 70 to 90" },
  { from: 50, colour: "#ffdb13", label: "Low, 50 to 70" },
  { from: -Infinity, colour: "#ff7d45", label: "Very low, below 50" },
];

const plddtColour = (plddt) => PLDDT_BANDS.find((band) => plddt >= band.from).colour;

// Okabe and Ito's palette without black, safe for the colour-blind.
const CHAIN_COLOURS = [
  "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a600", "#7f7f7f",
];

const chainColour = (index) => CHAIN_COLOURS[index % CHAIN_COLOURS.length];

function saveAs(blob, name) {
  const anchor = make("a", { href: URL.createObjectURL(blob), download: name });
  anchor.click();
  URL.revokeObjectURL(anchor.href);
}
